# Everything -> one page.


rule build_report:
    input:
        fad="results/fad.txt",
        leaderboard="results/leaderboard.csv",
        differences="results/differences.csv",
        memorisation=tables_if_made("memorisation.csv"),
        symbolic=tables_if_made("symbolic.csv"),
        tables=of_all_runs("results/metrics/{experiment}/{clips}/fad.csv"),
        signals=of_all_runs("results/metrics/{experiment}/{clips}/signals.csv"),
        baseline_signals=collect(
            "results/metrics/{experiment}/baselines/signals.csv", experiment=CONFIG.run
        ),
        clips=of_all_runs("results/clips/{experiment}/{clips}"),
        baselines=collect("results/clips/{experiment}/baselines", experiment=CONFIG.run),
        histories=histories(),
        pieces=collect("results/corpora/{corpus}/pieces.csv", corpus=corpora_run()),
        wav=[f"results/corpora/{c}/wav/{shard}" for c in corpora_run() for shard in shards_of(c)],
        cuts=cut_folders_run(),
        packed=[
            f"results/packed/{CONFIG.experiments[name].corpus}/{CONFIG.experiments[name].tokens}"
            for name in CONFIG.run
            if CONFIG.experiments[name].trained
        ],
    output:
        page=report(
            "results/report/index.html",
            caption="../docs/captions/page.rst",
            category="Results",
        ),
        media=directory("results/report/media"),
    log:
        "results/logs/build_report.log",
    benchmark:
        "results/benchmarks/build_report.tsv"
    conda:
        "../envs/report.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        version=version("report/page"),
        run=CONFIG.run,
        evaluation=CONFIG.evaluation.params(),
        page=CONFIG.report.params(),
    message:
        "Building the report page"
    script:
        "../scripts/build_report.py"
