"""What was measured of clip sets as arrays, and what can be compared of two of them.

A `Measured` has one row per clip; `compare` gives every figure of some clips against some real ones
and is called with all clips, with draws of them, and with bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes import (
    counterpoint,
    divergence,
    features,
    frechet,
    recurrence,
    structure,
)
from etude.metrics.notes.counts import NEUROMUSIC, seeds_distance
from etude.metrics.notes.divergence import kl, shares
from etude.metrics.notes.harmony import mean_vector, similarity
from etude.metrics.notes.means import FROM_REAL

VERSION = 3  # raised when the figures change

Array = NDArray[np.float64]
Index = NDArray[np.int64]

SHARES = ("pitch_class", "duration", "harmony")
# How names begin of what shuffled music has as real music does: told, and last.
LAST = ("scale_consistency", "pitch_class", "polyphony")
UNITS = counterpoint.UNITS | features.UNITS | structure.UNITS | recurrence.UNITS
# Real music has a value of these, and what is nearer to it is better.
COMPARED = tuple(n for n in (*counterpoint.UNITS, *recurrence.UNITS) if n != recurrence.COUNT)
# What depends on how long a beat is; structureness, whose frames are half seconds, does as well.
OF_TEMPO = ("notes", "note_density", "mean_ioi", "pitches_used", "pitch_entropy", *structure.UNITS)
# A clip's vector for the Fréchet distance: nothing in it knows the key, the tempo or the length.
VECTOR = tuple(
    n for n in UNITS if not n.startswith(LAST) and n not in OF_TEMPO and n not in recurrence.UNITS
)
NOTES = {
    "groove_consistency": f"{features.POSITIONS} positions a bar (muspy: one a tick)",
    "groove_similarity": f"{features.POSITIONS} positions a bar",
    "empty_bars": "bars of 4 quarters, from the first note's to the last's (muspy: from tick 0 to "
    "the last end)",
}
# Differences that matter, by unit or by figure: less counts little in the Fréchet distance.
# Shares of a clip's few beats are coarse: where most of the reference have 1, one beat less is no
# outlier.
STEPS = {
    "semitones": 1.0, "pitches": 1.0, "share": 0.02, "velocity": 8.0, "sd": 0.1,
    "per 16 beats": 1.0, "similarity": 0.05,
    "chord_share": 0.1, "known_changes": 0.1, "voice_crossing": 0.1,
}  # fmt: skip
OTHER = "other"  # words that the training split does not have
# Fixed bins of the distances from a clip's beginning to what follows: nats, nats, cosine.
_NATS = np.array([0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2, np.inf])
EDGES = {"pitch_class": _NATS, "duration": _NATS, "harmony": np.linspace(-1, 1, 21)}
SEEDS_BINS = 100  # edges between the smallest value and the largest + 1


@dataclass
class Measured:
    """A clip set. Arrays have a row per clip; NaN (or a row of zeros) where it has no value.

    Attributes: pieces, counts (by SHARES: [n, bins]), distances (by SHARES: [n]), scalars [n,
    features], vectors (MGEval's histograms: [n, bins]), reduced (indices of the clips whose harmony
    was reduced), unknown words, projected (vectors for the
    Fréchet distance, set when the reference is known), dropped, note.
    """

    pieces: list[str]
    counts: dict[str, Array]
    distances: dict[str, Array]
    scalars: Array
    vectors: dict[str, Array]
    reduced: Index
    unknown: int
    dropped: Mapping[str, int]
    note: str
    projected: Array | None = None

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def frechet_rows(self) -> Array:
        """A clip's vector for the Fréchet distance, in the steps that matter: [n, d]."""
        steps = np.array([STEPS[name if name in STEPS else UNITS[name]] for name in VECTOR])
        names = list(UNITS)
        scalars = self.scalars[:, [names.index(name) for name in VECTOR]]
        durations = shares(self.counts["duration"], "none") / STEPS["share"]
        return np.concatenate([scalars / steps, durations], 1)


def measured(
    rows: Mapping[str, Any], words: Mapping[str, Array], known: Index, *, compat: str, real: bool
) -> Measured:
    """What `measure_folder` wrote of a set, as arrays.

    Args:
        words: vectors by word; their order is that of the bins.
        known: the changes of chord that the training split has.
        real: whether this is the reference (Neuromusic's original begins with its prompt).
    """
    clips = rows["clips"]
    bins = {word: i for i, word in enumerate([*words, OTHER])}
    harmony = np.zeros((len(clips), len(bins)))
    for i, clip in enumerate(clips):
        for word in (clip["words"] or {}).get("music", ()):
            harmony[i, bins.get(word, bins[OTHER])] += 1
    follows = "whole" if compat == NEUROMUSIC and real else "tail"
    return Measured(
        pieces=[clip["piece"] for clip in clips],
        counts={
            "pitch_class": _rows([clip["pitch_classes"]["music"] for clip in clips]),
            "duration": _rows([clip["durations"]["music"] for clip in clips]),
            "harmony": harmony,
        },
        distances=_distances(clips, words, follows, compat),
        scalars=_rows([_scalars(clip, known) for clip in clips]),
        vectors={
            name: _rows([clip["vectors"][name] for clip in clips])
            for name in (clips[0]["vectors"] if clips else ())
        },
        reduced=np.array([i for i, c in enumerate(clips) if c["words"] is not None], dtype=int),
        unknown=int(harmony[:, -1].sum()),
        dropped=rows["dropped"],
        note=rows["note"],
    )


def _scalars(clip: Mapping[str, Any], known: Index) -> list[float]:
    """The figures of a clip in the order of UNITS."""
    changes = np.array(clip["changes"], dtype=np.int64)
    share = float(np.isin(changes, known).mean()) if len(changes) else None
    found = clip["features"] | {"known_changes": share}
    return [_number(found[name]) for name in UNITS]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _rows(values: list[Any]) -> Array:
    return np.array(values, dtype=np.float64) if values else np.zeros((0, 1))


def _distances(
    clips: list[Any], words: Mapping[str, Array], follows: str, compat: str
) -> dict[str, Array]:
    """Per clip, how far what follows is from its beginning: KL of shares, cosine of harmony."""
    found: dict[str, list[float]] = {name: [] for name in SHARES}
    for clip in clips:
        for name, key in (("pitch_class", "pitch_classes"), ("duration", "durations")):
            head, tail = (np.array(clip[key][part], dtype=float) for part in ("head", follows))
            found[name].append(_kl_of(head, tail, compat))
        found["harmony"].append(_cosine(clip["words"], follows, words, compat))
    return {name: np.array(values) for name, values in found.items()}


def _kl_of(head: Array, tail: Array, compat: str) -> float:
    if compat == NEUROMUSIC:
        return seeds_distance(head, tail)
    if not head.sum() or not tail.sum():
        return float("nan")
    return float(kl(shares(head), shares(tail)))


def _cosine(
    parts: Mapping[str, list[str]] | None, follows: str, words: Mapping[str, Array], compat: str
) -> float:
    if parts is None:
        return float("nan")
    means = [mean_vector(parts[part], dict(words)) for part in ("head", follows)]
    if compat == NEUROMUSIC and any(unknown for _, unknown in means):
        return float("nan")  # gensim raises at a word that it does not know
    return similarity(means[0][0], means[1][0])


def histogram(values: Array, name: str) -> Array:
    """How many finite distances fall into each fixed bin.

    Example:
        >>> import numpy as np
        >>> histogram(np.array([0.01, 0.03, 0.03, np.inf]), "duration").tolist()[:3]
        [1.0, 2.0, 0.0]
    """
    kept = values[np.isfinite(values)]
    return np.histogram(kept, EDGES[name])[0].astype(np.float64)


def seeds_kl(real: Array, made: Array) -> float:
    """KL(original || generated) of distances as Neuromusic bins them; infinite or NaN as there.

    Example:
        >>> import numpy as np
        >>> seeds_kl(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        0.0
    """
    both = np.isfinite(real), np.isfinite(made)
    real, made = real[both[0]], made[both[1]]
    if not len(real) or not len(made):
        return float("nan")
    pooled = np.concatenate([real, made])
    edges = np.linspace(pooled.min(), pooled.max() + 1, SEEDS_BINS)
    p, q = (shares(np.histogram(v, edges)[0].astype(np.float64), "none") for v in (real, made))
    return float(kl(p, q))


@dataclass(frozen=True)
class Chosen:
    """Clips that take part, as indices; harmony is reduced for some clips of a set only."""

    clips: Index
    harmony: Index

    def of(self, name: str) -> Index:
        """The clips of one of SHARES."""
        return self.harmony if name == "harmony" else self.clips


def compare(
    real: Measured, made: Measured, i: Chosen, j: Chosen, *, smoothing: str, compat: str
) -> dict[str, float]:
    """The distances of the clips `j` of a set to the clips `i` of the reference."""
    found: dict[str, float] = {}
    for name in SHARES:
        found |= _divergences(real, made, name, (i.of(name), j.of(name)), smoothing, compat)
    if real.projected is not None and made.projected is not None:
        pair = real.projected[i.clips], made.projected[j.clips]
        found["symbolic_frechet"] = frechet.distance(*pair)
    return found


def _divergences(
    real: Measured, made: Measured, name: str, chosen: tuple[Index, Index], smoothing: str,
    compat: str,
) -> dict[str, float]:  # fmt: skip
    """Of the shares, and of the distances from a clip's beginning to what follows."""
    i, j = chosen
    found: dict[str, float] = {}
    counts = real.counts[name][i].sum(0), made.counts[name][j].sum(0)
    if min(c.sum() for c in counts) > 0:
        p, q = (shares(c, smoothing) for c in counts)
        found |= {f"{name}_kl": float(kl(p, q)), f"{name}_js": float(divergence.js(p, q))}
    pair = real.distances[name][i], made.distances[name][j]
    if compat == NEUROMUSIC:
        found[f"{name}_distance_kl"] = seeds_kl(*pair)
    elif all(np.isfinite(values).any() for values in pair):
        p, q = (shares(histogram(values, name), smoothing) for values in pair)
        found[f"{name}_distance_kl"] = float(kl(p, q))
        found[f"{name}_distance_js"] = float(divergence.js(p, q))
    if np.isfinite(pair[1]).any():
        found[f"{name}_distance"] = float(np.nanmean(pair[1]))
    return found


def unit_of(metric: str) -> str:
    """The unit of a figure of `compare`.

    Example:
        >>> unit_of("duration_kl"), unit_of("note_density")
        ('nats', 'notes/s')
    """
    if metric.endswith(("_kl", "_js")):
        return "nats"
    if metric.endswith("_overlap"):
        return "share"
    if metric == "symbolic_frechet":
        return "distance"
    if metric == "harmony_distance":
        return "cosine"
    return UNITS.get(metric.removesuffix(FROM_REAL), "nats")
