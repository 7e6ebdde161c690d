"""A trained experiment as its parts on disk: in results/, or in a folder that was exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from etude.config import AudioLm, Config, Generate
from etude.errors import UserError
from etude.generation.clips import Instrument, load_instrument
from etude.models.audiolm import STAGES
from etude.storage import hash_file, read_json

FORMAT = 1  # of an exported folder; raised when older programs could not read it
ABOUT = "export.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Trained:
    """Where the stages and tokenizers lie, and how clips are made of them."""

    models: dict[str, Path]
    semantic: Path
    acoustic: Path
    generate: Generate
    seed: int

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

    def load(self) -> Instrument:
        """The parts as one instrument.

        Raises:
            UserError: there are no weights yet, or they do not fit.
        """
        self.require()
        return load_instrument(self.models, self.semantic, self.acoustic)


def find_experiment(settings: Config, name: str) -> AudioLm:
    """The settings of an experiment that Étude trains.

    Raises:
        UserError: there is none of that name.
    """
    experiment = settings.experiments.get(name)
    if not isinstance(experiment, AudioLm):
        names = [n for n, e in settings.experiments.items() if isinstance(e, AudioLm)]
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
    tokens = settings.audio_tokens(experiment.tokens)
    semantic, acoustic = (
        Path("results/tokenizers", settings.tokenizers[t].fit.corpus or experiment.corpus, t)
        for t in (tokens.semantic, tokens.acoustic)
    )
    models = {stage: Path("results/models", name, stage, f"seed-{seed}") for stage in STAGES}
    return Trained(models, semantic, acoustic, experiment.generate, seed)


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
        settings = Generate(**generate)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(
            "this is no exported experiment",
            where=str(folder),
            why=f"{ABOUT} cannot be used: {str(error).splitlines()[0]}",
            do="make one: python -m etude export --experiment … --output …",
        ) from None
    _check_files(folder, hashes)
    models = {stage: folder / "models" / stage for stage in STAGES}
    tokenizers = folder / "tokenizers"
    return Trained(models, tokenizers / "semantic", tokenizers / "acoustic", settings, int(seed))


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
