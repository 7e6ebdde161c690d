"""A trained experiment as its parts on disk: in results/, or in a folder that was exported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from etude.config import Config, CorpusBase, ExperimentBase
from etude.errors import UserError
from etude.generation.manifest import read_exported
from etude.systems import open_system
from etude.systems.base import Parts, Player
from etude.workflow.imported_weights import MODEL


@dataclass(frozen=True)
class LoadedExperiment:
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


def open_player(trained: LoadedExperiment) -> Player:
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


def in_results(settings: Config, name: str, seed: int | None) -> LoadedExperiment:
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
    return LoadedExperiment(name, experiment, parts, seed)


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


def in_export(folder: Path) -> LoadedExperiment:
    """What `python -m etude export` wrote.

    Raises:
        UserError: it is no such folder, one of another format, or a file in it is damaged.
    """
    found = read_exported(folder)
    found.check_files()
    tokenizers = {role: folder / "tokenizers" / role for role in _roles(found.hashes)}
    models, latents = folder / "models", folder / "latents"
    parts = _parts(found.experiment, models, latents, "", tokenizers, found.corpus)
    return LoadedExperiment(found.name, found.experiment, parts, found.seed)


def _roles(files: Iterable[str]) -> list[str]:
    """The roles of the tokenizers that are among the files."""
    parts = (name.split("/") for name in files)
    return sorted({part[1] for part in parts if part[0] == "tokenizers"})
