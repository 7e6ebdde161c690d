"""The training music's fingerprints, searched for what a clip repeats.

Conventions
    features as in fingerprint.py; score = similarity - PENALTY * exp(-novelty / ENOUGH), of the
    best 1.7 s. An equal stretch has similarity 1, whatever it is; but a held chord is in every
    second piece, so a stretch in which little begins counts for less.

Metrics
    * `Catalogue.search`: for each clip its best match, at any offset of both, transposed by up to
      a semitone, played up to about 2 % faster or slower.

How: a stretch of 1.5 s is a vector of ten moments by semitones, projected on its principal
components, and looked for among all stretches of the training music (FAISS, inner product). The
nearest stand for alignments of the whole clip, which are compared frame by frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from etude.metrics.memorisation.fingerprint import (
    BINS,
    FRAME_SECONDS,
    blurred,
    novelty,
    semitones,
    shifted,
)
from etude.storage import atomic

VERSION = 1  # raised when scores change

Array = NDArray[np.float32]
Integers = NDArray[np.int64]

STRETCH = 30  # frames of a vector: 1.5 s
SLOT = 3  # frames in a moment of it
STEP, QUERY_STEP = 2, 4  # frames between stretches of the training music, of a clip
COMPONENTS = 64
SHIFTS = (-3, -1, 0, 1, 3)  # thirds of a semitone
NEAREST = 8  # of one stretch at one shift
ALIGNMENTS = 12  # of a clip that are compared frame by frame
WINDOW = 34  # frames that are compared: 1.7 s
PENALTY, ENOUGH = 0.1, 120.0  # tried on chorales: see docs/decisions.md
NOTHING = -1.0  # the score of silence, and against no training music


@dataclass(frozen=True)
class Match:
    """Where the training music is most like a clip."""

    score: float = NOTHING
    piece: str = ""
    start_s: float = 0.0
    clip_start_s: float = 0.0
    thirds: int = 0


@dataclass
class Catalogue:
    """The training music.

    Attributes: pieces (names), bounds (int64 [pieces + 1], first frame of each, with silence after
    it), frames (float16 [frames, BINS], blurred, mean taken off, 0 in between), mean [BINS], and
    of the vectors: centre [d], axes [d, components], places (int64 [n], first frame), vectors
    (float32 [n, components], of length 1).
    """

    pieces: list[str]
    bounds: Integers
    frames: NDArray[np.float16]
    mean: Array
    centre: Array
    axes: Array
    places: Integers
    vectors: Array

    @classmethod
    def build(cls, named: Iterable[tuple[str, Array]]) -> Catalogue:
        """Of (piece, feature)."""
        names, features = [], []
        for name, feature in named:
            if feature.any():
                names.append(name)
                short = max(0, STRETCH - len(feature))
                features.append(np.pad(feature, ((0, short), (0, 0))))
        lengths = np.array([len(f) + WINDOW for f in features], dtype=np.int64)
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        smooth = [blurred(feature) for feature in features]
        mean = np.mean(np.concatenate(smooth), axis=0) if smooth else np.zeros(BINS, np.float32)
        frames = np.zeros((int(bounds[-1]), BINS), np.float16)
        for first, rows in zip(bounds, smooth, strict=False):
            frames[first : first + len(rows)] = rows - mean
        return cls(names, bounds, frames, mean.astype(np.float32), *_vectors(features, bounds))

    def save(self, path: Path) -> None:
        """Write it as one .npz."""
        with atomic(path) as temporary:
            np.savez(
                temporary, allow_pickle=False, **{**vars(self), "pieces": np.array(self.pieces)}
            )

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(**{**file, "pieces": file["pieces"].tolist()})

    def search(self, clips: Sequence[Array]) -> list[Match]:
        """The best match of each clip's feature."""
        if not len(self.vectors):
            return [Match()] * len(clips)
        near = self._near(clips, SHIFTS)
        return [self._best(clip, *found[:2]) for clip, found in zip(clips, near, strict=True)]

    def alignments(self, clips: Sequence[Array], count: int) -> list[list[tuple[str, float]]]:
        """Where each clip would begin if it were a copy, untransposed: the likeliest, best first.

        Each is (piece, seconds), below 0 where the clip would begin before the piece.
        """
        if not len(self.vectors):
            return [[] for _ in clips]
        found = []
        for begins, _, places in self._near(clips, (0,)):
            pieces = np.searchsorted(self.bounds, places[:count], side="right") - 1
            starts = (begins[:count] - self.bounds[pieces]) * FRAME_SECONDS
            found.append(
                [(self.pieces[i], float(at)) for i, at in zip(pieces, starts, strict=True)]
            )
        return found

    def _near(
        self, clips: Sequence[Array], shifts: Sequence[int]
    ) -> list[tuple[Integers, Integers, Integers]]:
        """For each clip the likely alignments, the likeliest first.

        Each is [n]: training frame at the clip's first frame, shift, first training frame of the
        stretch that spoke for it.
        """
        index = faiss.IndexFlatIP(self.vectors.shape[1])
        index.add(self.vectors)
        found: list[list[tuple[Array, Integers, Integers, Integers]]] = [[] for _ in clips]
        for thirds in shifts:
            rows, owners, starts = _queries(clips, thirds)
            if not len(rows):
                continue
            vectors = unit((rows - self.centre) @ self.axes)
            scores, nearest = index.search(vectors, min(NEAREST, len(self.vectors)))
            places = self.places[nearest]
            begins = places - starts[:, None]
            bounds = np.searchsorted(owners, np.arange(len(clips) + 1))
            for clip, (a, b) in enumerate(itertools.pairwise(bounds)):
                same = np.full((b - a) * scores.shape[1], thirds)
                one = scores[a:b].ravel(), begins[a:b].ravel(), same, places[a:b].ravel()
                found[clip].append(one)
        return [_distinct(parts) for parts in found]

    def _best(self, clip: Array, begins: Integers, shifts: Integers) -> Match:
        """The best 1.7 s of the best of some alignments."""
        clip = np.pad(clip, ((0, max(0, WINDOW - len(clip))), (0, 0)))
        doubt = PENALTY * np.exp(-_running(novelty(clip)) / ENOUGH)
        best = Match()
        for thirds in np.unique(shifts):
            query = blurred(shifted(clip, -int(thirds))) - self.mean
            tried = np.unique(begins[shifts == thirds][:, None] + np.array([-1, 0, 1]))
            scores = self._similarity(query, tried) - doubt
            row, at = np.unravel_index(int(scores.argmax()), scores.shape)
            if scores[row, at] > best.score:
                place = int(tried[row] + at)
                best = self._match(float(scores[row, at]), place, int(at), int(thirds))
        return best

    def _similarity(self, query: Array, begins: Integers) -> Array:
        """Cosine of each 1.7 s of a clip with the music beside it: [alignments, places]."""
        at = begins[:, None] + np.arange(len(query))
        inside = (at >= 0) & (at < len(self.frames))
        music = self.frames[np.where(inside, at, 0)].astype(np.float32) * inside[:, :, None]
        dot = _running(np.einsum("fb,nfb->nf", query, music))
        power = _running(np.einsum("nfb,nfb->nf", music, music))
        own = _running(np.einsum("fb,fb->f", query, query))
        cosine: Array = dot / np.sqrt(np.maximum(power * own, 1e-6))
        return cosine

    def _match(self, score: float, place: int, start: int, thirds: int) -> Match:
        piece = int(np.searchsorted(self.bounds, place, side="right")) - 1
        piece = min(max(piece, 0), len(self.pieces) - 1)
        at = max(0, place - int(self.bounds[piece])) * FRAME_SECONDS
        return Match(score, self.pieces[piece], at, start * FRAME_SECONDS, thirds)


def _vectors(features: list[Array], bounds: Integers) -> tuple[Array, Array, Integers, Array]:
    """Centre, axes, places and vectors of all stretches that sound."""
    parts = [stretches(feature, STEP) for feature in features]
    rows = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    starts = [first + STEP * np.arange(len(p)) for first, p in zip(bounds, parts, strict=False)]
    sounding = rows.any(1)
    rows = rows[sounding]
    if not len(rows):
        none = np.zeros((0, 0), np.float32)
        return np.zeros(0, np.float32), none, np.zeros(0, np.int64), none
    centre = rows.mean(0)
    sample = (rows[:: max(1, len(rows) // 20000)] - centre).astype(np.float64)
    _, axes = np.linalg.eigh(sample.T @ sample)
    kept = axes[:, ::-1][:, :COMPONENTS].astype(np.float32)
    places = np.concatenate(starts)[sounding].astype(np.int64)
    return centre, kept, places, unit((rows - centre) @ kept)


def stretches(feature: Array, step: int) -> Array:
    """All stretches of a feature, flat and at semitones: [n, moments * semitones].

    Example:
        >>> import numpy as np
        >>> feature = np.zeros((2 * STRETCH, 3 * 48), np.float32)
        >>> len(stretches(feature, step=STRETCH))
        2
    """
    pooled = semitones(feature)
    sums = np.cumsum(np.pad(pooled, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    moments = ((sums[SLOT:] - sums[:-SLOT]) / SLOT).astype(np.float32)
    starts = np.arange(0, len(feature) - STRETCH + 1, step)
    places = starts[:, None] + np.arange(0, STRETCH, SLOT)
    return moments[places].reshape(len(starts), -1)


def _queries(clips: Sequence[Array], thirds: int) -> tuple[Array, Integers, Integers]:
    """The sounding stretches of all clips, lowered by a shift: rows, clip and first frame."""
    rows, owners, starts = [], [], []
    for owner, clip in enumerate(clips):
        padded = np.pad(clip, ((0, max(0, STRETCH - len(clip))), (0, 0)))
        found = stretches(shifted(padded, -thirds), QUERY_STEP)
        sounding = np.flatnonzero(found.any(1))
        rows.append(found[sounding])
        owners.append(np.full(len(sounding), owner))
        starts.append(QUERY_STEP * sounding)
    if not rows:
        return np.zeros((0, 0), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(rows), np.concatenate(owners), np.concatenate(starts)


def _distinct(
    parts: list[tuple[Array, Integers, Integers, Integers]],
) -> tuple[Integers, Integers, Integers]:
    """The best alignments, those that are within 0.2 s of a better one left out."""
    if not parts:
        none = np.zeros(0, np.int64)
        return none, none, none
    scores, begins, shifts, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")
    keys = np.stack([begins[order] // 4, shifts[order]], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    kept = order[np.sort(first)[:ALIGNMENTS]]
    return begins[kept], shifts[kept], places[kept]


def _running(values: Array) -> Array:
    """Sums over WINDOW neighbours along the last axis."""
    pad = [(0, 0)] * (values.ndim - 1) + [(1, 0)]
    sums = np.cumsum(np.pad(values, pad), axis=-1, dtype=np.float64)
    return (sums[..., WINDOW:] - sums[..., :-WINDOW]).astype(np.float32)


def unit(rows: NDArray[np.floating]) -> Array:
    """Rows of length 1; zeros stay.

    Example:
        >>> import numpy as np
        >>> unit(np.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)
