"""Everything that a run made -> one page that opens from disk."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.config import Evaluation, Page, parse_section
    from etude.report.page import RunOutputs, build_report

    kinds = ("tables", "histories", "pieces", "wav", "cuts", "tokens", "packed")
    # Some runs lack these.
    kinds += ("leaderboard", "differences", "memorisation", "symbolic", "perplexity", "rivals")
    kinds += ("concepts", "over_steps")
    given = {kind: snakemake.input.get(kind, []) for kind in kinds}
    paths = {kind: [f] if isinstance(f, str) else f for kind, f in given.items()}
    build_report(
        Path("results"),
        snakemake.params.run,
        Path(snakemake.output.page).parent,
        RunOutputs(**{kind: list(map(Path, found)) for kind, found in paths.items()}),
        parse_section(Evaluation, snakemake.params.evaluation),
        page=parse_section(Page, snakemake.params.page),
        configs=list(snakemake.params.configs),
        threads=snakemake.threads,
    )
