# Figures of all experiments, seeds and draws -> the leaderboard and its readable summary.


rule write_fad:
    input:
        **plan.of_each_kind(),
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
            "write_fad",
            *("results.table", "results.rates", "results.gate", "results.wording"),
            *("results.summary", "results.leaderboard"),
            *("results.differences", "results.statistics", "results.preference"),
        ),
        evaluation=CONFIG.evaluation.params(),
        gated=plan.gated,
        hashes=HASHES,
    message:
        "Writing results/leaderboard.csv and results/fad.txt"
    script:
        "../scripts/write_fad.py"
