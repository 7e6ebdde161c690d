"""Before a run: have the owners of its files agreed? Read when Snakemake parses the workflow."""

from __future__ import annotations

import json
from pathlib import Path

from etude.config import Config, CorpusBase
from etude.corpus.ownership import check_consent
from etude.corpus.scan import corpus_files
from etude.corpus.withdrawn import left_out
from etude.workflow.lineage import corpora_used
from etude.workflow.sources import is_fetched


def check_run(config: Config) -> None:
    """Check that every file of the run's corpora that is here already may be trained on.

    What is still to be fetched is checked afterwards.

    Raises:
        UserError: naming all files without consent.
    """
    for name in corpora_used(config):
        settings = config.corpora[name]
        root = root_of(settings, name)
        if settings.ownership is not None and root.is_dir():
            out = left_out(settings, root)
            files = corpus_files(root, settings.limit, settings.metadata, out=out)
            check_consent(settings.ownership, files)


def root_of(settings: CorpusBase, name: str, results: Path = Path("results")) -> Path:
    """Where the files of a corpus lie: the user's own folder, or what was fetched."""
    fetched = results / "corpora" / name / "source"
    return fetched if is_fetched(settings) else Path(getattr(settings, "path", fetched))


def table_params(settings: CorpusBase) -> str:
    """Where the tables about owners lie, as the JSON that a job reads its corpus from."""
    places = {"ownership": settings.ownership, "withdrawn": settings.withdrawn}
    return json.dumps({key: str(path) for key, path in places.items() if path})
