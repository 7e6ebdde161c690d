"""What a configured run will still take, as far as is known before it begins.

Read when Snakemake starts a run and by `etude doctor`, so: only the configuration is
imported, and no file of music is opened. What is not known is reported as unknown.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from etude.config import Config, CorpusBase, ExperimentBase, FolderCorpus, Music21Corpus
from etude.corpus.chorales import CHORALES
from etude.corpus.estimate import (
    MADE_BYTES,
    corpus_bytes,
    training_seconds,
    work_seconds,
)
from etude.corpus.scan import list_files, music_kind

RESULTS = Path("results")
CHORALE_S = 5221 / 160  # mean length of a rendered chorale
CD_BYTES = 4 * 44100  # a second of a recording whose size is not known any more
USUAL_NETWORK = 12 * 192**2 * 3  # weights of the blocks that TRAINED_TOKENS was measured with
STATE_BYTES = 20  # a weight: the model, the finished state, the rolling one with AdamW's moments


@dataclass(frozen=True)
class CorpusSize:
    """What a corpus holds: seconds of MIDI and of recordings, and files."""

    midi_s: float
    audio_s: float
    files: int


@dataclass(frozen=True)
class Forecast:
    """What is still to come: bytes, core-seconds up to tokens, seconds of training on two cores.

    `unknown` names corpora of which nothing is known; the figures leave them out.
    """

    disk: float
    work_s: float
    training_s: float
    unknown: tuple[str, ...]


def forecast(config: Config, results: Path = RESULTS) -> Forecast:
    """What the configured run will still take; what lies in `results` already is left out."""
    disk = work = training = 0.0
    unknown: list[str] = []
    for name, cuts in _to_make(config, results).items():
        corpus = config.corpora[name]
        music = music_of(name, corpus, results)
        if music is None:
            unknown.append(name)
            continue
        work += work_seconds(music.midi_s, music.audio_s, music.files, corpus.shards)
        for cut in cuts:
            stored, rate = music.audio_s * CD_BYTES, corpus.render.rate
            disk += corpus_bytes(music.midi_s, music.audio_s, stored, rate, config.cuts[cut])
    for name in config.run:
        experiment = config.experiments.get(name)
        if experiment is not None and experiment.trained:
            made, seconds = _experiment(name, experiment, config, results)
            disk, training = disk + made, training + seconds
    return Forecast(disk, work, training, tuple(unknown))


def music_of(name: str, corpus: CorpusBase, results: Path = RESULTS) -> CorpusSize | None:
    """From the table of pieces, if there is one; None if it has not been made yet."""
    table = results / "corpora" / name / "pieces.csv"
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["status"] == "kept"]
        midi, audio = (
            sum(float(row["seconds"] or 0) for row in kept if row["kind"] == kind)
            for kind in ("midi", "audio")
        )
        return CorpusSize(midi, audio, len(kept))
    if isinstance(corpus, Music21Corpus):
        scores = min(corpus.limit or len(CHORALES), len(CHORALES))
        return CorpusSize(scores * CHORALE_S, 0.0, scores)
    return None


def weight_count(network: object) -> int:
    """Weights of a transformer's blocks, nearly; 0 for a network of the user's."""
    depth: int = getattr(network, "depth", 0) or getattr(network, "layers", 0)
    width: int = getattr(network, "dim", 0)
    return 12 * width**2 * depth


def _to_make(config: Config, results: Path) -> dict[str, set[str]]:
    """The corpora of the run whose tokens are not all packed yet, and the cuts of each."""
    found: dict[str, set[str]] = {}
    for name in config.run:
        experiment = config.experiments.get(name)
        if experiment is None:
            continue
        packed = results / "packed" / experiment.corpus / experiment.tokens / "info.json"
        if not packed.is_file():
            found.setdefault(experiment.corpus, set()).add(experiment.cut_name(config))
    return found


def _experiment(
    name: str, experiment: ExperimentBase, config: Config, results: Path
) -> tuple[float, float]:
    """Bytes and seconds that are still to come of an experiment."""
    stages = {plan.name: plan.settings for plan in experiment.stage_plans()}
    todo = {
        stage: [
            seed
            for seed in experiment.seeds.train
            if not (results / f"models/{name}/{stage}/seed-{seed}/model.safetensors").is_file()
        ]
        for stage in stages
    }
    disk = 0.0 if (results / "metrics" / name).is_dir() else MADE_BYTES
    disk += sum(
        STATE_BYTES * weight_count(stages[stage].network) * len(seeds)
        for stage, seeds in todo.items()
    )
    share = sum(map(len, todo.values())) / len(todo)  # stages of one experiment take about as long
    return disk, share * _training(experiment, config)


def _training(experiment: ExperimentBase, config: Config) -> float:
    """Seconds of one training of all stages; a larger network is slower by its weights."""
    networks = [plan.settings.network for plan in experiment.stage_plans()]
    weights = sum(map(weight_count, networks)) / len(networks)
    return training_seconds(experiment, config) * max(1.0, weights / USUAL_NETWORK)


# ------------------------------------------------------------------------------------- in words


def to_stderr(text: str) -> None:
    """Write a line to the terminal."""
    print(text, file=sys.stderr)


def announce(
    config: Config, results: Path = RESULTS, tell: Callable[[str], None] = to_stderr
) -> None:
    """Say before a run what it will take; in the sub-processes of its jobs, nothing."""
    if "--mode" not in sys.argv:
        tell("\n".join(forecast_lines(forecast(config, results), config, results)))


def forecast_lines(found: Forecast, config: Config, results: Path = RESULTS) -> list[str]:
    """A forecast in lines, with a warning where the disk is too small."""
    free = free_bytes(results)
    least = "at least " if found.unknown else "about "
    coming = (
        f"still to come, {least}{size(found.disk)} of disk ({size(free)} free), "
        f"{found.work_s / 60:.0f} core-minutes up to tokens, {found.training_s / 60:.0f} minutes "
        "of training on two CPU cores (speeds of another machine; yours may differ twofold)"
    )
    lines = [coming]
    for name in found.unknown:
        corpus = config.corpora[name]
        how = f": python -m etude audit {corpus.path}" if isinstance(corpus, FolderCorpus) else ""
        lines.append(f"not counted: the corpus {name!r}, whose music nobody has measured yet{how}")
    lines += _left_out(config)
    if found.disk > free:
        lines.append(
            f"warning: {size(found.disk)} of disk are expected and {size(free)} are free; free "
            "some space (python -m etude clean), or let results/ be a link to a larger disk"
        )
    return lines


def _left_out(config: Config) -> Iterator[str]:
    """What a `limit` leaves out of the run's corpora, as far as that is known already."""
    for name in sorted(
        {config.experiments[e].corpus for e in config.run if e in config.experiments}
    ):
        corpus, there = config.corpora[name], 0
        if corpus.limit is None:
            continue
        if isinstance(corpus, Music21Corpus):
            there = len(CHORALES)
        elif isinstance(corpus, FolderCorpus) and corpus.path.is_dir():
            there = sum(1 for file in list_files(corpus.path) if music_kind(file))
        if there > corpus.limit:
            yield (
                f"left out: of the corpus {name!r} the run takes {corpus.limit} of {there} files "
                f"of music, since its `limit` is {corpus.limit}"
            )


def free_bytes(results: Path = RESULTS) -> float:
    """Free space where the results will lie, for this user."""
    folder = results.absolute()
    while not folder.exists():
        folder = folder.parent
    return float(shutil.disk_usage(folder).free)


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
