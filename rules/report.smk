# Everything -> one page.


rule build_report:
    input:
        fad="results/fad.txt",
        leaderboard="results/leaderboard.csv",
        differences="results/differences.csv",
        memorisation=plan.tables_if_made("memorisation.csv"),
        symbolic=plan.tables_if_made("symbolic.csv"),
        perplexity=plan.tables_if_made("perplexity.csv"),
        rivals=plan.tables_if_made("rivals.csv"),
        concepts=plan.tables_if_made("concept.csv"),
        over_steps=plan.over_steps_tables(),
        tables=plan.of_all_runs("results/metrics/{experiment}/{clips}/fad.csv"),
        signals=plan.of_all_runs("results/metrics/{experiment}/{clips}/signals.csv"),
        baseline_signals=collect(
            "results/metrics/{experiment}/baselines/signals.csv", experiment=CONFIG.run
        ),
        clips=plan.of_all_runs("results/clips/{experiment}/{clips}"),
        baselines=collect("results/clips/{experiment}/baselines", experiment=CONFIG.run),
        histories=plan.histories(),
        pieces=collect("results/corpora/{corpus}/pieces.csv", corpus=plan.corpora_run()),
        wav=plan.wav_run(),
        cuts=plan.cut_folders_run(),
        tokens=plan.token_summaries(),
        packed=plan.packed_run(),
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
        version=version(
            "build_report",
            *("page", "results.table", "results.rates", "results.gate", "results.wording"),
        ),
        run=CONFIG.run,
        configs=[Path(path).stem for path in FILES],
        evaluation=CONFIG.evaluation.params(),
        page=CONFIG.report.params(),
    message:
        "Building the report page"
    script:
        "../scripts/build_report.py"
