# Whose music a corpus is; consent and withdrawals are seen to before anything runs (common.smk).


rule list_owners:
    input:
        pieces="results/corpora/{corpus}/pieces.csv",
        table=lambda w: str(corpus_of(w).ownership),
    output:
        owners=report(
            "results/corpora/{corpus}/owners.csv",
            caption="../docs/captions/owners.rst",
            category="Corpus",
            labels={"corpus": "{corpus}"},
        ),
    log:
        "results/logs/list_owners/{corpus}.log",
    benchmark:
        "results/benchmarks/list_owners/{corpus}.tsv"
    wildcard_constraints:
        corpus=either(name for name in CONFIG.corpora if CONFIG.corpora[name].ownership),
    conda:
        "../envs/corpus.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        version=version("list_owners", "owners"),
    message:
        "Counting whose music {wildcards.corpus} is"
    script:
        "../scripts/list_owners.py"
