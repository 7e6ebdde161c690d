"""Fitted tokenizers that a user names instead of fitting: their files, and whether they exist.

Read when Snakemake parses the workflow: standard library and pydantic only.
"""

from __future__ import annotations

from etude.config import Fit, SymbolicFit
from etude.errors import UserError
from etude.storage import visible_files


def fitted_files(fit: Fit | SymbolicFit) -> list[str]:
    """The files of a given tokenizer as a rule's input; nothing where it is fitted here."""
    if fit.folder is None or not fit.folder.is_dir():
        return []
    network = fit.folder / "model"  # of a pretrained tokenizer
    inner = visible_files(network) if network.is_dir() else []
    return [str(file) for file in [*visible_files(fit.folder), *inner]]


def check_fitted(fit: Fit | SymbolicFit) -> None:
    """See that a given tokenizer is there.

    Raises:
        UserError: it is not.
    """
    if fit.folder is not None and not (fit.folder / "config.json").is_file():
        raise UserError(
            "the fitted tokenizer that is to be taken over is not there",
            code="tokenizer-not-found",
            where=str(fit.folder.absolute()),
            why="there is no folder with a config.json",
            do="check `fit.folder`: a folder of results/tokenizers/<corpus>/, or of tokenizers/ in "
            "a folder of `etude export`",
        )
