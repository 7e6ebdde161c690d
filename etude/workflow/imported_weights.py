"""Weights that a user names in place of a training: which file is meant, and whether it exists.

Read when Snakemake parses the workflow: standard library and pydantic only.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from etude.config import Weights
from etude.errors import UserError

MODEL = "model.safetensors"
PICKLES = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (".safetensors", *PICKLES)


def weights_file(settings: Weights | None, stage: str, seed: str | int) -> list[str]:
    """The file of a stage's weights as a rule's input; nothing where none are given.

    A folder may be an exported one, a stage's with a folder per training seed, or the stage's
    with that seed, in this order. What is not there yet may be what another experiment makes.
    """
    if settings is None:
        return []
    if (path := settings.path) is None:
        return [f"results/pretrained/{settings.pretrained}"]  # which a rule makes
    if path.suffix in SUFFIXES and not path.is_dir():
        return [str(path)]
    folders = (path / "models" / stage, path / f"seed-{seed}", path)
    found = (folder / MODEL for folder in folders)
    return [str(next((file for file in found if file.is_file()), path / MODEL))]


def check_weights(
    settings: Weights | None, stage: str, seed: str | int, experiments: Container[str] = ()
) -> None:
    """See that the weights are there, and whether they may be loaded.

    Args:
        experiments: what they make under results/models/ need not be there yet.

    Raises:
        UserError: there is no such file, or it is a pickle without `sha256` or `trust`.
    """
    made = settings is not None and settings.path is None
    for file in map(Path, () if made else weights_file(settings, stage, seed)):
        ours = file.parts[:2] == ("results", "models") and file.parts[2] in experiments
        if not file.is_file() and not ours:
            raise UserError(
                f"the weights for the {stage} stage are not there",
                code="weights-not-found",
                where=str(file.absolute()),
                why="there is no such file",
                do=f"check `weights` of this stage: a folder with {MODEL}, a folder of "
                f"`etude export`, or a file that ends in {', '.join(SUFFIXES)}",
            )
        check_pickle(file, settings)


def check_pickle(file: Path, settings: Weights | None) -> None:
    """Refuse a pickle without `sha256` or `trust`.

    Raises:
        UserError: saying why a pickle is no harmless file.
    """
    vouched = settings is not None and (settings.sha256 is not None or settings.trust)
    if file.suffix != ".safetensors" and not vouched:
        raise UserError(
            "these weights are a pickle, which nobody vouches for",
            code="unvouched-pickle",
            where=str(file),
            why="a pickle can run any code when it is loaded; .safetensors cannot",
            do="get them as .safetensors, or write the `sha256` that their author states beside "
            "`path`, or `trust: true` where you made the file yourself",
        )
