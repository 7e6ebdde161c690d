"""Clip sets that give a distance its meaning: what is perfect, and what is worthless.

reference       held-out segments of the test split: what all sets are measured against
real            held-out music of the valid split, ten times as many clips as are generated:
                the floor, real against real, is the mean over draws of as many as are generated
reconstruction  the first real clips through the codec: the best that a model of its tokens can do
shuffled        those clips' tokens in random order: right sounds, no music
untrained       the networks before training, sampled alike
noise           white noise at the level of those clips
copies          clips of the training split, as many as are generated: what a model would make that
                does nothing but copy. Its distances are small, so small distances alone are no
                proof of a good model; the memorisation test has to tell it from one

A set that a small corpus cannot have gets a folder without clips and the reason in note.txt.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etude.audio.cuts import why_nothing
from etude.audio.files import read_audio, write_wav
from etude.audio.levels import rms
from etude.config import CorpusBase, Cut
from etude.config.systems.audiolm import AudioLm, Generate
from etude.config.systems.external import External
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.storage import atomic_directory, read_csv, read_json, write_csv, write_text
from etude.systems.audiolm.building import STAGES, build_stage
from etude.systems.audiolm.player import Instrument, generate_clips, instrument

VERSION = 2  # raised when the clip sets change

log = logging.getLogger(__name__)
Wave = NDArray[np.float32]

SETS = ("reference", "real", "reconstruction", "shuffled", "untrained", "noise", "copies")
CUT_FROM_MUSIC = ("reference", "real", "noise", "copies")  # at the rate of the cut
AUDIO_ONLY = ("reference", "real", "noise")  # made of audio alone, whatever the system
COLUMNS = ["clip", "file", "piece", "start_s", "seconds"]
REFERENCE_CLIPS = 1000  # enough for a stable covariance; a larger reference changes nothing
FLOOR_DRAWS = 10  # real clips per generated one: one draw of few clips is no floor, see score.py


@dataclass(frozen=True)
class Span:
    """A stretch of real music."""

    piece: str
    start_s: float
    wav: Path


@dataclass
class ClipSet:
    """Clips with their rows, or none and the reason."""

    clips: Iterable[tuple[dict[str, Any], Wave]]
    note: str = ""


def find_spans(
    pieces: Path, wav: list[Path], cuts: list[Path], cut: Cut, seconds: float
) -> dict[str, list[Span]]:
    """All stretches of `seconds` that lie on kept segments only, by split, pieces in order."""
    split = {row["piece"]: row["split"] for row in read_csv(pieces)}
    step = max(int(-(-cut.seconds // cut.hop)), 1)  # segments to the next one without overlap
    needed = max(int(-(-seconds // cut.seconds)), 1)
    spans: dict[str, list[Span]] = {"train": [], "valid": [], "test": []}
    for wav_folder, cut_folder in zip(wav, cuts, strict=True):
        kept: dict[str, dict[int, float]] = {}
        for row in read_csv(cut_folder / "index.csv"):
            if row["status"] == "kept":
                number = int(row["segment"].rsplit("_", 1)[1])
                kept.setdefault(row["piece"], {})[number] = float(row["start_s"])
        for piece, starts in kept.items():
            if split.get(piece) not in spans:  # a duplicate: rendered, but on no side
                continue
            numbers = sorted(starts)
            taken = -1
            for number in numbers:
                run = [number + k * step for k in range(needed)]
                if number > taken and all(n in starts for n in run):
                    spans[split[piece]].append(
                        Span(piece, starts[number], wav_folder / f"{piece}.wav")
                    )
                    taken = run[-1] + step - 1
    return {name: sorted(s, key=lambda x: (x.piece, x.start_s)) for name, s in spans.items()}


def choose(spans: list[Span], count: int, seed: int) -> list[Span]:
    """A seeded choice without replacement, all spans alike: what a perfect model would give."""
    order = np.random.default_rng(seed).permutation(len(spans))
    return [spans[i] for i in order[:count]]


def read_spans(
    spans: list[Span], rate: int, seconds: float
) -> Iterator[tuple[dict[str, Any], Wave]]:
    """The audio of spans, with rows."""
    for span in spans:
        wave = read_audio(span.wav, rate, start_s=span.start_s, seconds=seconds)
        yield {"piece": span.piece, "start_s": span.start_s}, wave


class Baselines:
    """Makes the sets of one experiment."""

    def __init__(
        self,
        spans: dict[str, list[Span]],
        reasons: dict[str, str],
        cut: Cut,
        settings: Generate,
        seed: int,
        untrained: Instrument | None,
    ) -> None:
        self.spans, self.reasons = spans, reasons
        self.cut, self.settings, self.seed = cut, settings, seed
        self.untrained = untrained
        self.rate = untrained.rate if untrained else cut.rate
        wanted = settings.clips * FLOOR_DRAWS
        # Never the test split: what is measured against it must not be made of it.
        self.material = choose(spans["valid"] or spans["train"], wanted, seed)
        first = self.material[: settings.clips]
        self.real = list(read_spans(first, cut.rate, settings.seconds))

    def make(self, name: str) -> ClipSet:
        """One of SETS."""
        made: ClipSet = getattr(self, f"_{name}")()
        return made

    def _reference(self) -> ClipSet:
        chosen = choose(self.spans["test"], REFERENCE_CLIPS, self.seed)
        if not chosen:
            return ClipSet([], self._missing("test", "two"))
        return ClipSet(read_spans(chosen, self.cut.rate, self.settings.seconds))

    def _real(self) -> ClipSet:
        if not self.spans["valid"]:
            return ClipSet([], self._missing("valid", "three"))
        return ClipSet(read_spans(self.material, self.cut.rate, self.settings.seconds))

    def _missing(self, split: str, groups: str) -> str:
        """Why there is no real music of a split."""
        if split in self.reasons:
            what = f"no stretch of {self.settings.seconds:g} s in the {split} split is kept whole"
            return what + f" ({self.reasons[split]})" * bool(self.reasons[split])
        return (
            f"no {split} split: the corpus has fewer than {groups} tune groups, "
            "or its `split` leaves none"
        )

    def _reconstruction(self) -> ClipSet:
        if self.untrained is None:
            return ClipSet([], "this system has no codec")
        codec = self.untrained.acoustic
        return ClipSet(
            (row, self._decode(codec.encode(self._heard(row, wave)))) for row, wave in self.real
        )

    def _shuffled(self) -> ClipSet:
        if self.untrained is None:
            return ClipSet([], "this system has no tokens")
        codec = self.untrained.acoustic
        if not self.real:
            return ClipSet([], "no real clips")
        codes = torch.cat([codec.encode(self._heard(row, wave)) for row, wave in self.real], dim=2)
        generator = torch.Generator().manual_seed(self.seed)
        # Each quantizer on its own: the codes keep their frequencies and lose all else.
        mixed = torch.stack(
            [q[:, torch.randperm(q.shape[1], generator=generator)] for q in codes.unbind(1)], 1
        )
        parts = mixed.split(mixed.shape[2] // len(self.real), dim=2)[: len(self.real)]
        return ClipSet(({}, self._decode(part)) for part in parts)

    def _untrained(self) -> ClipSet:
        if self.untrained is None:
            return ClipSet([], "this system has no networks of ours")
        made = generate_clips(self.untrained, self.settings, self.seed, self.seed)
        return ClipSet(({}, clip.wave) for clip in made)

    def _noise(self) -> ClipSet:
        generator = np.random.default_rng(self.seed)
        return ClipSet(
            ({}, (generator.standard_normal(len(wave)) * rms(wave)).astype(np.float32))
            for _, wave in self.real
        )

    def _copies(self) -> ClipSet:
        chosen = choose(self.spans["train"], self.settings.clips, self.seed)
        if not chosen:
            return ClipSet([], self._missing("train", "one"))
        return ClipSet(read_spans(chosen, self.cut.rate, self.settings.seconds))

    def _heard(self, row: dict[str, Any], wave: Wave) -> torch.Tensor:
        """A real clip as the codec reads it, [1, samples]."""
        span = next(
            s for s in self.material if (s.piece, s.start_s) == (row["piece"], row["start_s"])
        )
        heard = wave if self.rate == self.cut.rate else read_audio(
            span.wav, self.rate, start_s=span.start_s, seconds=self.settings.seconds, upsample=True
        )  # fmt: skip
        return torch.from_numpy(heard)[None]

    def _decode(self, codes: torch.Tensor) -> Wave:
        assert self.untrained is not None
        wave: Wave = self.untrained.acoustic.decode(codes)[0].cpu().numpy()
        return wave


def write_set(made: ClipSet, folder: Path, rate: int) -> int:
    """Write a clip set; an empty one keeps its reason in note.txt."""
    rows = []
    with atomic_directory(folder) as temporary:
        for index, (row, wave) in enumerate(made.clips):
            name = f"clip-{index:04d}"
            write_wav(temporary / f"{name}.wav", wave, rate)
            seconds = f"{len(wave) / rate:.3f}"
            rows.append({"clip": name, "file": f"{name}.wav", "seconds": seconds, **row})
        write_csv(temporary / "clips.csv", COLUMNS, rows)
        write_text(temporary / "note.txt", made.note + "\n" if made.note else "")
    return len(rows)


def make_baselines(
    experiment: AudioLm | SymbolicLm | External,
    cut: Cut,
    *,
    pieces: Path,
    wav: list[Path],
    cuts: list[Path],
    packed: Path | None,
    semantic: Path | None,
    acoustic: Path | None,
    tokenizer: Path | None = None,
    corpus: CorpusBase | None = None,
    seed: int,
    folder: Path,
) -> None:
    """All sets of an experiment, each in a folder of its name.

    Args:
        tokenizer, corpus: of symbolic experiments, which render what they decode.
    """
    settings = _lengths(experiment)
    spans = find_spans(pieces, wav, cuts, cut, settings.seconds)
    reasons = _reasons(pieces, wav, cuts, [name for name in spans if not spans[name]])
    untrained = None
    if isinstance(experiment, AudioLm) and packed and semantic and acoustic:
        untrained = untrained_instrument(experiment, packed, semantic, acoustic)
    baselines = Baselines(spans, reasons, cut, settings, seed, untrained)
    with atomic_directory(folder) as temporary:
        symbolic = isinstance(experiment, SymbolicLm)
        for name in AUDIO_ONLY if symbolic else SETS:
            rate = cut.rate if name in CUT_FROM_MUSIC else baselines.rate
            count = write_set(baselines.make(name), temporary / name, rate)
            log.info("%s: %d clips", name, count)
        if isinstance(experiment, SymbolicLm) and packed and tokenizer and corpus:
            _add_symbolic(experiment, packed, tokenizer, corpus, seed, temporary)


def _lengths(experiment: AudioLm | SymbolicLm | External) -> Generate:
    """How many clips of what length an experiment has."""
    if isinstance(experiment, AudioLm):
        return experiment.generate
    if isinstance(experiment, SymbolicLm):
        return Generate(clips=experiment.generate.clips, seconds=experiment.generate.seconds)
    return Generate(seconds=experiment.seconds)


def _add_symbolic(
    experiment: SymbolicLm,
    packed: Path,
    tokenizer: Path,
    corpus: CorpusBase,
    seed: int,
    folder: Path,
) -> None:
    from etude.systems.symbolic_lm import baselines as symbolic

    made = symbolic.SymbolicBaselines(experiment, packed, tokenizer, corpus, seed)
    for name in symbolic.SYMBOLIC_SETS:
        log.info("%s: %d clips", name, symbolic.write_symbolic_set(made, name, folder / name))


def _reasons(pieces: Path, wav: list[Path], cuts: list[Path], splits: list[str]) -> dict[str, str]:
    """For those of the splits that have pieces, why nothing of them was kept, as far as known."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for row in read_csv(pieces):
        if row["split"] in splits:
            names[row["split"]].add(row["piece"])
    return {split: why_nothing(wav, cuts, members) for split, members in names.items()}


def untrained_instrument(
    experiment: AudioLm, packed: Path, semantic: Path, acoustic: Path
) -> Instrument:
    """The experiment's networks as they are before training, with its tokenizers."""
    info = read_json(packed / "info.json")
    settings = experiment.model_copy(update={"end_of_sequence": "none"})
    seed = experiment.seeds.train[0]
    stages = {name: build_stage(settings, name, info, seed).eval() for name in STAGES}
    return instrument(stages, semantic, acoustic)
