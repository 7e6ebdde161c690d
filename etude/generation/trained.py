"""A trained experiment as its parts on disk: in results/, or in a folder that was exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from etude.config import Config, CorpusBase, TrainedExperiment
from etude.config.systems.audiolm import AudioLm, Generate
from etude.config.systems.symbolic_lm import SymbolicGenerate
from etude.errors import UserError
from etude.storage import hash_file, read_json
from etude.systems.audiolm.building import STAGES
from etude.systems.audiolm.player import Instrument, load_instrument
from etude.systems.symbolic_lm.player import SymbolicInstrument, load_symbolic

FORMAT = 1  # of an exported folder; raised when older programs could not read it
ABOUT = "export.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Trained:
    """Where the stages and tokenizers lie, and how clips are made of them.

    Attributes: models (by stage), tokenizers (by role), generate, seed (of training), corpus (how
    a symbolic system's notes are played; None for audio).
    """

    models: dict[str, Path]
    tokenizers: dict[str, Path]
    generate: Generate | SymbolicGenerate
    seed: int
    corpus: CorpusBase | None = None

    def require(self) -> None:
        """Raises UserError where weights are missing.

        They are named one by one: where clips of them are left, Snakemake would find that there
        is nothing to be done.
        """
        weights = [folder / WEIGHTS for folder in self.models.values()]
        if missing := [str(path) for path in weights if not path.is_file()]:
            raise UserError(
                "this experiment is not trained yet",
                where=", ".join(missing),
                why="results/ is looked for where the command runs",
                do="train it first, or run this where you did: snakemake --cores all "
                f"{' '.join(missing)} --configfile with the files that this command had",
            )

    def load(self) -> Instrument | SymbolicInstrument:
        """The parts as one instrument.

        Raises:
            UserError: there are no weights yet, or they do not fit.
        """
        self.require()
        if self.corpus is not None:
            return load_symbolic(self.models["lm"], self.tokenizers["tokenizer"], self.corpus)
        return load_instrument(self.models, **self.tokenizers)


def find_experiment(settings: Config, name: str) -> TrainedExperiment:
    """The settings of an experiment that Étude trains.

    Raises:
        UserError: there is none of that name.
    """
    experiment = settings.experiments.get(name)
    if not isinstance(experiment, TrainedExperiment):
        names = [n for n, e in settings.experiments.items() if isinstance(e, TrainedExperiment)]
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
        for role, t in roles(settings, experiment).items()
    }
    names = [plan.name for plan in experiment.stage_plans()]
    models = {stage: Path("results/models", name, stage, f"seed-{seed}") for stage in names}
    is_audio = isinstance(experiment, AudioLm)
    corpus = None if is_audio else settings.corpora[experiment.corpus]
    return Trained(models, tokenizers, experiment.generate, seed, corpus)


def roles(settings: Config, experiment: TrainedExperiment) -> dict[str, str]:
    """Which tokenizers an experiment's token set names, by role."""
    tokens = settings.tokens[experiment.tokens]
    known = ("semantic", "acoustic", "tokenizer")
    return {role: getattr(tokens, role) for role in known if hasattr(tokens, role)}


def in_export(folder: Path) -> Trained:
    """What `python -m etude export` wrote.

    Raises:
        UserError: it is no such folder, one of another format, or a file in it is damaged.
    """
    try:
        about = read_json(folder / ABOUT)
        form, seed, generate = (about[key] for key in ("format", "train_seed", "generate"))
        hashes = dict(about["sha256"])
        if form != FORMAT:
            raise UserError(
                "the folder was exported by another version of Étude",
                where=str(folder),
                why=f"its format is {form}, this program's is {FORMAT}",
                do="export it again with this version",
            )
        corpus = CorpusBase.model_validate(about["corpus"]) if "corpus" in about else None
        settings = (Generate if corpus is None else SymbolicGenerate)(**generate)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(
            "this is no exported experiment",
            where=str(folder),
            why=f"{ABOUT} cannot be used: {str(error).splitlines()[0]}",
            do="make one: python -m etude export --experiment … --output …",
        ) from None
    _check_files(folder, hashes)
    stages = STAGES if corpus is None else ("lm",)
    models = {stage: folder / "models" / stage for stage in stages}
    roles_ = ("semantic", "acoustic") if corpus is None else ("tokenizer",)
    tokenizers = {role: folder / "tokenizers" / role for role in roles_}
    return Trained(models, tokenizers, settings, int(seed), corpus)


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
