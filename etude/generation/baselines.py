"""Clip sets that give a distance its meaning: what is perfect, and what is worthless.

reference  held-out segments of the test split: what all sets are measured against
real       held-out music of the valid split, ten times as many clips as are generated:
           the floor, real against real, is the mean over draws of as many as are generated
noise      white noise at the level of the first real clips
copies     clips of the training split, as many as are generated: what a model would make that
           does nothing but copy. Its distances are small, so small distances alone are no proof
           of a good model; the memorisation test has to tell it from one

The dumb sets that every model must beat are made in `dumb`: random notes, one chord, noise with the
corpus's spectrum, grains.

A system adds its own (`SystemBase.baselines`), copies of its own kind among them where it makes
notes. A set that a small corpus cannot have gets a folder without clips and the reason in note.txt.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from etude.audio.cuts import kept_segments, why_nothing
from etude.audio.files import read_audio
from etude.audio.levels import rms
from etude.clips.clip import Clip
from etude.clips.writing import COMPARED, write_clips
from etude.config import CorpusBase, Cut, ExperimentBase
from etude.generation.dumb import CorpusFiles, Dumb
from etude.storage import atomic_directory, read_csv
from etude.systems import open_system
from etude.systems.base import ClipSet, Parts, Span, Wave

VERSION = 3  # raised when the clip sets change

log = logging.getLogger(__name__)

REFERENCE_CLIPS = 1000  # enough for a stable covariance; a larger reference changes nothing
GROUPS = {"train": "one", "test": "two", "valid": "three"}  # tune groups that a split takes
FLOOR_DRAWS = 10  # real clips per generated one: one draw of few clips is no floor
LEAD_SECONDS = 1.0  # of a piece's beginning, which clips are not cut from
ROUNDING = 1e-6  # of seconds in tables


def find_spans(
    pieces: Path, wav: list[Path], cuts: list[Path], cut: Cut, seconds: float, seed: int = 0
) -> dict[str, list[Span]]:
    """Stretches of `seconds` that lie on kept segments only, by split, pieces in order.

    They do not overlap and begin at random places, so that neither the grid of segments nor that
    of bars is heard; at least 1 s after the piece's beginning where it is long enough, since no
    other clip begins from silence.
    """
    split = {row["piece"]: row["split"] for row in read_csv(pieces)}
    spans: dict[str, list[Span]] = {"train": [], "valid": [], "test": []}
    for wav_folder, cut_folder in zip(wav, cuts, strict=True):
        kept: dict[str, list[float]] = {}
        for row in kept_segments(cut_folder):
            kept.setdefault(row["piece"], []).append(float(row["start_s"]))
        for piece, starts in kept.items():
            if split.get(piece) not in spans:  # a duplicate: rendered, but on no side
                continue
            generator = np.random.default_rng([seed, zlib.crc32(piece.encode())])
            for first, last in _runs(sorted(starts), cut):
                for start in places(first, last, seconds, generator):
                    spans[split[piece]].append(Span(piece, start, wav_folder / f"{piece}.wav"))
    return {name: sorted(s, key=lambda x: (x.piece, x.start_s)) for name, s in spans.items()}


def _runs(starts: list[float], cut: Cut) -> Iterator[tuple[float, float]]:
    """First and last second of segments that follow each other without a gap."""
    begin = starts[0]
    for this, following in pairwise([*starts, math.inf]):
        if following > this + max(cut.hop, cut.seconds) + ROUNDING:
            yield begin, this + cut.seconds
            begin = following


def places(
    first: float, last: float, seconds: float, generator: np.random.Generator
) -> list[float]:
    """Where stretches begin in a run: as many as leave half a stretch of play, in milliseconds."""
    if first < LEAD_SECONDS <= last - seconds:
        first = LEAD_SECONDS
    room = last - first + ROUNDING
    count = max(int(room / seconds - 0.5), int(room >= seconds))
    play = np.sort(generator.random(count)) * (room - count * seconds)
    return [math.floor((first + i * seconds + x) * 1000) / 1000 for i, x in enumerate(play)]


def choose_spans(spans: list[Span], count: int, seed: int) -> list[Span]:
    """A seeded choice without replacement, all spans alike: what a perfect model would give."""
    order = np.random.default_rng(seed).permutation(len(spans))
    return [spans[i] for i in order[:count]]


@dataclass
class Real:
    """Real music, as the sets are made of it.

    Attributes:
        all_spans: stretches by split.
        reasons: for splits that have pieces and no stretch, why (may be empty).
        cut: by which clips are compared with real music.
        seconds: length of a clip.
        count: how many clips are generated.
        seed: of what is chosen.
    """

    all_spans: dict[str, list[Span]]
    reasons: dict[str, str]
    cut: Cut
    seconds: float
    count: int
    seed: int

    @cached_property
    def floor(self) -> list[Span]:
        """Ten stretches for each clip, never of the test split: it is what all is measured by."""
        spans = self.all_spans["valid"] or self.all_spans["train"]
        return choose_spans(spans, self.count * FLOOR_DRAWS, self.seed)

    @property
    def spans(self) -> list[Span]:
        """The first of these, as many as clips are generated, where there are that many."""
        return self.floor[: self.count]

    @property
    def rate(self) -> int:
        """Samples per second at which clips are compared with it."""
        return self.cut.rate

    def waves(self, rate: int) -> Iterator[Wave]:
        """Their sound at a rate, float32 [samples] each."""
        for span in self.spans:
            yield self._wave(span, rate)

    def _wave(self, span: Span, rate: int) -> Wave:
        upsample = rate != self.rate
        return read_audio(span.wav, rate, span.start_s, self.seconds, upsample=upsample)

    def _clips(self, spans: list[Span]) -> Iterator[Clip]:
        for span in spans:
            yield Clip(self._wave(span, self.rate), span.row)

    def _of(self, spans: list[Span], split: str) -> ClipSet:
        """A set of stretches, or why the corpus has none."""
        why = self.missing(split)
        return ClipSet(() if why else self._clips(spans), self.rate, why)

    def missing(self, split: str) -> str:
        """Why a split has no stretches; empty where it has."""
        if self.all_spans[split]:
            return ""
        if split in self.reasons:
            why = self.reasons[split]
            note = f"no stretch of {self.seconds:g} s in the {split} split is kept whole"
            return note + f" ({why})" * bool(why)
        return (
            f"no {split} split: the corpus has fewer than {GROUPS[split]} tune groups, "
            "or its `split` leaves none"
        )

    def _noise(self) -> Iterator[Clip]:
        generator = np.random.default_rng(self.seed)
        for wave in self.waves(self.rate):
            noise = generator.standard_normal(len(wave)) * rms(wave)
            yield Clip(noise.astype(np.float32))

    def sets(self) -> Iterator[tuple[str, ClipSet]]:
        """The sets that every system has, each with its name."""
        train, test = self.all_spans["train"], self.all_spans["test"]
        yield "reference", self._of(choose_spans(test, REFERENCE_CLIPS, self.seed), "test")
        yield "real", self._of(self.floor, "valid")
        yield "noise", ClipSet(self._noise(), self.rate)
        yield "copies", self._of(choose_spans(train, self.count, self.seed), "train")


def make_baselines(
    experiment: ExperimentBase,
    parts: Parts,
    cut: Cut,
    *,
    files: CorpusFiles,
    wav: list[Path],
    cuts: list[Path],
    seed: int,
    folder: Path,
) -> None:
    """All sets of an experiment, each in a folder of its name.

    Args:
        files: the split, and where the notes of its training side are.

    Raises:
        UserError: a set of the system's own is not what it says.
    """
    settings, pieces = experiment.generate, files.pieces
    spans = find_spans(pieces, wav, cuts, cut, settings.seconds, seed)
    reasons = _reasons(pieces, wav, cuts, [name for name in spans if not spans[name]])
    real = Real(spans, reasons, cut, settings.seconds, settings.clips, seed)
    system = open_system(experiment.system)
    dumb = Dumb(
        spans=choose_spans(spans["train"], len(spans["train"]), seed),
        missing=real.missing("train"),
        files=files,
        corpus=parts.corpus or CorpusBase(),
        rate=cut.rate,
        seconds=settings.seconds,
        count=settings.clips,
        seed=seed,
        notes="notes" in experiment.makes,
        codec=system.codec(parts),
    )
    with atomic_directory(folder) as temporary:
        for name, made in (*real.sets(), *dumb.sets()):
            if name not in experiment.sets:  # the system's own are of its own kind
                _write(name, made, temporary, "Étude")
        for name, made in system.baselines(experiment, parts, real, seed):
            _write(name, made, temporary, f"the system {experiment.system} (set {name})")


def _write(name: str, made: ClipSet, folder: Path, maker: str) -> None:
    write_clips(
        *(made.clips, folder / name, made.rate, COMPARED),
        maker=maker,
        notes=made.midi,
        note=made.note,
    )


def _reasons(pieces: Path, wav: list[Path], cuts: list[Path], splits: list[str]) -> dict[str, str]:
    """For those of the splits that have pieces, why nothing of them was kept, as far as known."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for row in read_csv(pieces):
        if row["split"] in splits:
            names[row["split"]].add(row["piece"])
    return {split: why_nothing(wav, cuts, members) for split, members in names.items()}
