"""A trained experiment as its parts on disk: in results/, or in a folder that was exported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from etude.config import Config, CorpusBase, Experiment, ExperimentBase
from etude.errors import UserError
from etude.storage import hash_file, read_json
from etude.systems import open_system
from etude.systems.base import Parts, Player
from etude.workflow.given_weights import MODEL

FORMAT = 1  # of an exported folder; raised when older programs could not read it
ABOUT = "export.json"


@dataclass(frozen=True)
class Trained:
    """A trained experiment.

    Attributes: name, experiment (its settings), parts (where stages and tokenizers lie), seed (of
    training).
    """

    name: str
    experiment: ExperimentBase
    parts: Parts
    seed: int

    def require(self) -> None:
        """Raises UserError where weights are missing.

        They are named one by one: where clips of them are left, Snakemake would find that there
        is nothing to be done.
        """
        weights = [folder / MODEL for folder in self.parts.models.values()]
        if missing := [str(path) for path in weights if not path.is_file()]:
            raise UserError(
                "this experiment is not trained yet",
                where=", ".join(missing),
                why="results/ is looked for where the command runs",
                do="train it first, or run this where you did: snakemake --cores all "
                f"{' '.join(missing)} --configfile with the files that this command had",
            )


def open_player(trained: Trained) -> Player:
    """What makes clips of a trained experiment.

    Raises:
        UserError: there are no weights yet, or they do not fit.
    """
    trained.require()
    return open_system(trained.experiment.system).open(trained.experiment, trained.parts)


def find_experiment(settings: Config, name: str) -> ExperimentBase:
    """The settings of an experiment that Étude trains.

    Raises:
        UserError: there is none of that name.
    """
    experiment = settings.experiments.get(name)
    if experiment is None or not experiment.trained:
        names = [name for name, found in settings.experiments.items() if found.trained]
        raise UserError(
            f"there is no experiment {name!r} that can generate",
            do=f"choose one of: {', '.join(names)}; add --configfile for your own",
        )
    return experiment


def in_results(settings: Config, name: str, seed: int | None) -> Trained:
    """An experiment of this folder's results/.

    Args:
        seed: of training; None: the first that config names.
    """
    experiment = find_experiment(settings, name)
    seed = experiment.seeds.train[0] if seed is None else seed
    tokenizers = {
        role: Path("results/tokenizers", settings.tokenizers[t].fit.corpus or experiment.corpus, t)
        for role, t in experiment.roles(settings).items()
    }
    models, latents = Path("results/models", name), Path("results/latents", name)
    corpus = settings.corpora[experiment.corpus] if "notes" in experiment.makes else None
    parts = _parts(experiment, models, latents, f"seed-{seed}", tokenizers, corpus)
    return Trained(name, experiment, parts, seed)


def _parts(
    experiment: ExperimentBase,
    models: Path,
    latents: Path,
    below: str,
    tokenizers: dict[str, Path],
    corpus: CorpusBase | None,
) -> Parts:
    plans = experiment.stage_plans()
    return Parts(
        models={plan.name: models / plan.name / below for plan in plans},
        latents={plan.name: latents / plan.name / below for plan in plans if plan.encodes},
        tokenizers=tokenizers,
        corpus=corpus,
    )


def in_export(folder: Path) -> Trained:
    """What `python -m etude export` wrote.

    Raises:
        UserError: it is no such folder, one of another format, or a file in it is damaged.
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
    _check_files(folder, hashes)
    tokenizers = {role: folder / "tokenizers" / role for role in _roles(hashes)}
    parts = _parts(experiment, folder / "models", folder / "latents", "", tokenizers, corpus)
    return Trained(about.get("experiment", str(folder)), experiment, parts, seed)


def _experiment(about: dict[str, Any]) -> ExperimentBase:
    """The settings of an exported experiment.

    Older folders have no more of them than how clips are made; the rest decided the training alone.
    """
    unnamed = {"corpus": "", "tokens": ""}
    values = unnamed | about.get("settings", {}) | {"generate": about["generate"]}
    values["system"] = about["system"]
    experiment: ExperimentBase = TypeAdapter(Experiment).validate_python(values)
    return experiment


def _roles(files: Iterable[str]) -> list[str]:
    """The roles of the tokenizers that are among the files."""
    parts = (name.split("/") for name in files)
    return sorted({part[1] for part in parts if part[0] == "tokenizers"})


def _check_files(folder: Path, hashes: dict[str, str]) -> None:
    """What plays is what was exported: a copy that broke off would play noise, or not at all."""
    for name, expected in hashes.items():
        file = folder / name
        found = hash_file(file) if file.is_file() else "nothing"
        if found != expected:
            raise UserError(
                "a file of the exported experiment is missing or damaged",
                where=str(file),
                why=f"sha256 should be {expected}, there is {found}",
                do="copy the folder again, or export it again",
            )
