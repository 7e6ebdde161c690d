# What an experiment was wanted to reach -> whether it did.


rule check_criteria:
    input:
        histories=histories_of,
        hashes=of_draws("results/metrics/{experiment}/{clips}/hashes"),
        tables=of_draws("results/metrics/{experiment}/{clips}/fad.csv"),
    output:
        table=report(
            "results/criteria/{experiment}.csv",
            caption="../docs/captions/criteria.rst",
            category="Results",
        ),
        text="results/criteria/{experiment}.txt",
    log:
        "results/logs/check_criteria/{experiment}.log",
    benchmark:
        "results/benchmarks/check_criteria/{experiment}.tsv"
    wildcard_constraints:
        experiment=either(name for name in CONFIG.run if name in CONFIG.criteria),
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        version=version("results/criteria"),
        criteria=lambda w: CONFIG.criteria[w.experiment].params(),
    message:
        "Did {wildcards.experiment} reach what its criteria ask?"
    script:
        "../scripts/check_criteria.py"
