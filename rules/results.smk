# Figures of all experiments, seeds and draws -> the leaderboard and its readable summary.


rule write_fad:
    input:
        tables=of_all_runs("results/metrics/{experiment}/{clips}/fad.csv"),
    output:
        text=report(
            "results/fad.txt",
            caption="../docs/captions/fad.rst",
            category="Results",
        ),
        leaderboard=report(
            "results/leaderboard.csv",
            caption="../docs/captions/leaderboard.rst",
            category="Results",
        ),
        differences=report(
            "results/differences.csv",
            caption="../docs/captions/differences.rst",
            category="Results",
        ),
    log:
        "results/logs/write_fad.log",
    benchmark:
        "results/benchmarks/write_fad.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        version=version(
            "metrics/table",
            "metrics/summary",
            "metrics/leaderboard",
            "metrics/differences",
            "metrics/statistics",
        ),
        evaluation=CONFIG.evaluation.params(),
        gated=[n for n in CONFIG.run if CONFIG.experiments[n].trained],
        hashes={"code_hash": code_hash(), "env_hash": environment_hash()},
    message:
        "Writing results/leaderboard.csv and results/fad.txt"
    script:
        "../scripts/write_fad.py"
