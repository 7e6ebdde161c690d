"""Pieces, and the table that says whose they are -> minutes and shares of each owner."""

from pathlib import Path

from adapter import job

with job(snakemake):
    from etude.corpus.owners import write_owners
    from etude.corpus.ownership import read_ownership
    from etude.storage import read_csv

    pieces, table = Path(snakemake.input.pieces), Path(snakemake.input.table)
    owned = read_ownership(table, [row["path"] for row in read_csv(pieces)])
    write_owners(pieces, owned.rights, Path(snakemake.output.owners))
