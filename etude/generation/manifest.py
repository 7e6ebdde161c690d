"""What an exported folder says of itself (export.json), read without opening any network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from etude.config import CorpusBase, Experiment, ExperimentBase
from etude.errors import UserError
from etude.storage import hash_file, read_json

FORMAT = 1  # of an exported folder; raised when older programs could not read it
ABOUT = "export.json"


@dataclass(frozen=True)
class Exported:
    """An exported experiment as its folder describes it.

    Attributes: folder, name, experiment (its settings), corpus (how its notes are read and played;
    None without notes), seed (of training), hashes (sha256 of each file that plays, by its place).
    """

    folder: Path
    name: str
    experiment: ExperimentBase
    corpus: CorpusBase | None
    seed: int
    hashes: dict[str, str]

    def check_files(self) -> None:
        """See that what plays is what was exported.

        A copy that broke off would play noise, or not at all.

        Raises:
            UserError: naming the first file that is missing or another.
        """
        for name, expected in self.hashes.items():
            file = self.folder / name
            found = hash_file(file) if file.is_file() else "nothing"
            if found != expected:
                raise UserError(
                    "a file of the exported experiment is missing or damaged",
                    where=str(file),
                    why=f"sha256 should be {expected}, there is {found}",
                    do="copy the folder again, or export it again",
                )


def read_exported(folder: Path) -> Exported:
    """What `python -m etude export` wrote about an experiment.

    Raises:
        UserError: it is no such folder, or one of another format.
    """
    try:
        about = read_json(folder / ABOUT)
        form, seed = about["format"], int(about["train_seed"])
        hashes = dict(about["sha256"])
        if form != FORMAT:
            raise UserError(
                "the folder was exported by another version of Étude",
                where=str(folder),
                why=f"its format is {form}, this program's is {FORMAT}",
                do="export it again with this version",
            )
        experiment = _experiment(about)
        corpus = CorpusBase.model_validate(about["corpus"]) if "corpus" in about else None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(
            "this is no exported experiment",
            where=str(folder),
            why=f"{ABOUT} cannot be used: {str(error).splitlines()[0]}",
            do="make one: python -m etude export --experiment … --output …",
        ) from None
    name = str(about.get("experiment", folder))
    return Exported(folder, name, experiment, corpus, seed, hashes)


def _experiment(about: dict[str, Any]) -> ExperimentBase:
    """The settings of an exported experiment.

    Older folders have no more of them than how clips are made; the rest decided the training alone.
    """
    unnamed = {"corpus": "", "tokens": ""}
    values = unnamed | about.get("settings", {}) | {"generate": about["generate"]}
    values["system"] = about["system"]
    experiment: ExperimentBase = TypeAdapter(Experiment).validate_python(values)
    return experiment
