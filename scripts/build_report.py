"""Everything that a run made -> one page that opens from disk."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Evaluation, parse
    from etude.report.page import Made, build_report

    kinds = ("tables", "histories", "pieces", "wav", "cuts", "packed")
    made = Made(**{kind: [Path(p) for p in snakemake.input.get(kind, [])] for kind in kinds})
    build_report(
        Path("results"),
        snakemake.params.run,
        Path(snakemake.output.page).parent,
        made,
        parse(Evaluation, snakemake.params.evaluation),
    )
