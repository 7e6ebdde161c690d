"""The same harmonies in any key and at nearly any tempo, by sequences of chroma.

Conventions
    wave is float [samples], mono, at fingerprint.RATE; a feature is float32 [frames, 12], one frame
    every 0.1 s: pitch activations (activations.py) folded into pitch classes, their roots, each
    frame of length 1 and without its mean; zeros where nothing sounds.

Metrics
    * `Chroma.search`: for each clip its best match at any offset in the training music, in all 12
      keys, up to about 12 % faster or slower, forwards or backwards.
      score = similarity - COMMON * that of the RANK-th likeliest other piece: a cadence that RANK
      pieces share belongs to none. Similarity is the cosine of the middle 88 % of the clip (of a
      longer one: the best 8 s) with the music.

How: rotation of chroma stands for transposition, as in cover song detection (Serra et al., IEEE
TASLP 16, 2008), a few tempi for warping: over 8 s the nearest is at most 70 ms off at the ends.
Stretches as long as the clip are projected on their principal components and compared with all;
the likeliest places are compared frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.audio.activations import HOP_SECONDS, LOWEST_NOTE, NOTES, PitchActivations
from etude.metrics.memorisation.catalogue import Match, unit
from etude.metrics.memorisation.fingerprint import RATE
from etude.storage import atomic

VERSION = 2  # raised when scores change

Array = NDArray[np.float32]
Integers = NDArray[np.int64]

CLASSES = 12
LONGEST = 80  # frames of a clip that are compared at once: 8 s
BEYOND = 20  # frames between such stretches of a longer clip
ROUND = 5  # lengths of clips go by half seconds, so that few indices are made
MIDDLE = 0.88  # of a clip, that its fastest version still fills
TEMPI = (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)
FEW_TEMPI = (0.9, 1.0, 1.1)  # of short clips, in which a tempo shifts less than a frame
SHORT = 30  # frames
STEP = 2  # frames between stretches of the training music
COMPONENTS = 64
SAMPLE = 6000  # stretches of which the components are
BLOCK = 2**16  # stretches that are compared at once, about
LIKELY, PLACES = 16, 3  # pieces, places of each, that are compared frame by frame
RANK, COMMON = 10, 0.5  # tried on chorales: see docs/decisions.md

_activations = PitchActivations(RATE)


def features(wave: NDArray[np.floating]) -> Array:
    """float [samples] at RATE -> float32 [frames, 12].

    Raises:
        ValueError: samples that are not finite.

    Example:
        >>> import numpy as np
        >>> wave = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
        >>> found = features(wave)
        >>> found.shape[1], int(found.mean(0).argmax())  # 9: A
        (12, 9)
    """
    if not np.isfinite(wave).all():
        raise ValueError("samples are not finite")
    amplitude = np.sqrt(_activations(np.asarray(wave, np.float64)).power)
    folded = np.zeros((len(amplitude), CLASSES))
    np.add.at(folded.T, (LOWEST_NOTE + np.arange(NOTES)) % CLASSES, amplitude.T)
    frames = unit(folded)
    return (frames - frames.mean(1, keepdims=True)).astype(np.float32)


@dataclass
class Chroma:
    """The training music.

    Attributes: pieces (names), bounds (int64 [pieces + 1], first frame of each), frames (float16
    [frames, 12]). Each piece has LONGEST frames of silence after it, so that a short one is a
    stretch as well.
    """

    pieces: list[str]
    bounds: Integers
    frames: NDArray[np.float16]
    _indices: dict[int, _StretchIndex] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, named: Iterable[tuple[str, Array]]) -> Chroma:
        """Of (piece, feature)."""
        kept = [(name, feature) for name, feature in named if feature.any()]
        padded = [np.pad(feature, ((0, LONGEST), (0, 0))).astype(np.float16) for _, feature in kept]
        bounds = np.cumsum([0, *map(len, padded)], dtype=np.int64)
        frames = np.concatenate(padded) if padded else np.zeros((0, CLASSES), np.float16)
        return cls([name for name, _ in kept], bounds, frames)

    def save(self, path: Path) -> None:
        """Write it as one .npz."""
        with atomic(path) as temporary:
            names = np.array(self.pieces, str)
            np.savez(
                temporary,
                allow_pickle=False,
                pieces=names,
                bounds=self.bounds,
                frames=self.frames,
            )

    @classmethod
    def load(cls, path: Path) -> Chroma:
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(file["pieces"].tolist(), file["bounds"], file["frames"])

    def search(self, clips: Sequence[Array]) -> list[Match]:
        """The best match of each clip's feature."""
        return [max(self._parts(clip), key=lambda match: match.score) for clip in clips]

    def _parts(self, clip: Array) -> Iterator[Match]:
        """The match of each stretch of a clip; of silence, or in no music, none."""
        yield Match()
        if not self.pieces:
            return
        whole = min(len(clip), LONGEST)
        length = max(whole // ROUND * ROUND, min(whole, ROUND))
        for begin in range(0, len(clip) - length + 1, BEYOND):
            part = clip[begin : begin + length]
            if part.any():  # forwards and backwards: no distance of harmony hears which
                yield self._index(length).match(part, begin)
                yield self._index(length).match(part[::-1], begin)

    def _index(self, length: int) -> _StretchIndex:
        if length not in self._indices:
            self._indices.clear()  # clips of a set are of one length: one is enough
            self._indices[length] = _StretchIndex(self, length)
        return self._indices[length]


class _StretchIndex:
    """All stretches of the training music that a clip of some length may be a copy of."""

    def __init__(self, music: Chroma, length: int) -> None:
        self.music = music
        self.size = max(1, int(MIDDLE * length))
        self.tempi = np.array(FEW_TEMPI if length <= SHORT else TEMPI)
        places = [
            np.arange(first, max(first + 1, last - LONGEST - self.size + 1), STEP)
            for first, last in zip(music.bounds, music.bounds[1:], strict=False)
        ]
        self.edges = np.cumsum([0, *map(len, places)])
        self.begins = np.concatenate(places)
        sample = self._stretches(self.begins[:: max(1, len(self.begins) // SAMPLE)]).astype(float)
        _, axes = np.linalg.eigh(sample.T @ sample)
        self.axes = axes[:, ::-1][:, :COMPONENTS].astype(np.float32)
        self.vectors = np.concatenate([unit(self._stretches(p) @ self.axes) for p in places])

    def _stretches(self, places: Integers) -> Array:
        """The stretches that begin at some frames, of length 1: [n, size * 12]."""
        frames = self.music.frames[places[:, None] + np.arange(self.size)]
        return unit(frames.reshape(len(places), -1).astype(np.float32))

    def match(self, part: Array, begin: int) -> Match:
        """The best match of a stretch of a clip, that begins at a frame of it."""
        queries = self._queries(part)
        likely, which = self._compare(unit(queries @ self.axes))
        best = np.maximum.reduceat(likely, self.edges[:-1])
        pieces = np.argsort(-best, kind="stable")[:LIKELY]
        found = self._closest(pieces, likely, which, queries)
        found.sort(key=lambda one: -one[0])
        common = max(0.0, found[RANK][0]) if len(found) > RANK else 0.0
        similarity, piece, place, query = found[0]
        tempo, key = divmod(query, CLASSES)
        # The middle of the clip lies on that of the stretch, whatever the tempo.
        inside = (len(part) - 1) / 2 - self.tempi[tempo] * (self.size - 1) / 2
        lower = (key + 5) % CLASSES - 5  # the music is so much higher: the clip so much lower
        return Match(
            score=similarity - COMMON * common,
            piece=self.music.pieces[piece],
            start_s=(place - int(self.music.bounds[piece])) * HOP_SECONDS,
            clip_start_s=(begin + float(inside)) * HOP_SECONDS,
            thirds=-3 * lower,
        )

    def _queries(self, part: Array) -> Array:
        """The clip's middle at each tempo and in each key: [tempi * 12, size * 12]."""
        steps = np.arange(self.size) - (self.size - 1) / 2
        times = (len(part) - 1) / 2 + steps * self.tempi[:, None]
        first = np.floor(times).astype(int).clip(0, max(0, len(part) - 2))
        weight = (times - first)[..., None]
        frames = part[first] * (1 - weight) + part[np.minimum(first + 1, len(part) - 1)] * weight
        keys = [np.roll(frames, key, axis=2) for key in range(CLASSES)]
        return unit(np.stack(keys, 1).reshape(len(self.tempi) * CLASSES, -1))

    def _compare(self, queries: Array) -> tuple[Array, Integers]:
        """Of each stretch the likeness to the likeliest query, and which that is."""
        likely = np.empty(len(self.vectors), np.float32)
        which = np.empty(len(self.vectors), np.int64)
        for first in range(0, len(self.vectors), BLOCK):
            rows = slice(first, first + BLOCK)
            alike = self.vectors[rows] @ queries.T
            likely[rows], which[rows] = alike.max(1), alike.argmax(1)
        return likely, which

    def _closest(
        self, pieces: Integers, likely: Array, which: Integers, queries: Array
    ) -> list[tuple[float, int, int, int]]:
        """(similarity, piece, frame, query) of the best of each piece's likeliest places."""
        rows = [self._likeliest(likely, piece) for piece in pieces]
        owners = np.repeat(np.arange(len(pieces)), [len(part) for part in rows])
        every = np.concatenate(rows)
        asked = which[every]
        low, high = self.music.bounds[pieces], self.music.bounds[pieces + 1] - self.size
        around = self.begins[every][:, None] + np.array([-1, 0, 1])
        places = around.clip(low[owners, None], np.maximum(low, high)[owners, None])
        music = self._stretches(places.ravel()).astype(np.float64).reshape(*places.shape, -1)
        scores = np.einsum("nsd,nd->ns", music, queries[asked].astype(np.float64))
        found = []
        for i, piece in enumerate(pieces):
            mine = np.flatnonzero(owners == i)
            row, side = divmod(int(scores[mine].argmax()), scores.shape[1])
            at = mine[row]
            found.append(
                (float(scores[at, side]), int(piece), int(places[at, side]), int(asked[at]))
            )
        return found

    def _likeliest(self, likely: Array, piece: int) -> Integers:
        """The likeliest stretches of a piece."""
        first, last = self.edges[piece], self.edges[piece + 1]
        rows: Integers = first + np.argsort(-likely[first:last], kind="stable")[:PLACES]
        return rows
