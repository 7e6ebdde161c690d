# Whose music a corpus is: consent before anything runs, shares, and files that were withdrawn.

from etude.corpus import consent
from etude.withdrawal import removal


def withdrawals(wildcards):
    """For a `version`: changes with the files that were withdrawn, and is nothing without any."""
    return withdrawn.version_of(corpus_of(wildcards))


def owner_tables(corpus):
    """Where the tables about owners lie, as the JSON of a corpus."""
    places = {"ownership": corpus.ownership, "withdrawn": corpus.withdrawn}
    return json.dumps({key: str(path) for key, path in places.items() if path})


def forget_withdrawn():
    """Delete what knew a file whose owner took the consent back, before anything else is made."""
    if not workflow.is_main_process:
        return
    try:
        said = removal.carry_out(CONFIG)
    except UserError as error:
        raise WorkflowError(str(error))
    if said:
        logger.warning("\n".join(said))
    kept = (job for job in workflow.dag.jobs if not workflow.dag.needrun(job))
    if said and not all(Path(str(file)).exists() for job in kept for file in job.output):
        raise WorkflowError("That was more than this run had planned for: start it again.")


if workflow.is_main_process:
    try:
        consent.check_run(CONFIG)
    except UserError as error:
        raise WorkflowError(str(error))


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
