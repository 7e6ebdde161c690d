"""The figures of all experiments -> results/leaderboard.csv, differences.csv and fad.txt."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Evaluation, parse_section
    from etude.results.summary import RunSummary, write_results

    run = RunSummary(
        tables=[Path(p) for p in snakemake.input.tables],
        replicates=[Path(p) for p in snakemake.input.get("replicates", [])],
        rivals=[Path(p) for p in snakemake.input.get("rivals", [])],
        concepts=[Path(p) for p in snakemake.input.get("concepts", [])],
        settings=parse_section(Evaluation, snakemake.params.evaluation),
        gated=frozenset(snakemake.params.gated),
        hashes=dict(snakemake.params.hashes),
    )
    write_results(run, Path(snakemake.output.text).parent)
