"""Learned words, judged: likelihood of held-out music, distance and a classifier by what is asked.

Conventions
    The figure to gate on is paired: for each held-out segment the nats per token under a condition,
    less those under none, averaged by piece; its interval is a percentile bootstrap over pieces. It
    needs no clips. In a control's row `word_less` is the learned word's nats less the control's, in
    the same pairs: a word is worth something where that interval ends below 0 for every control.

    Distance (Fréchet, embedding `timbre`) and classifier hear real music *through the codec*, as
    the clips are: a judge of other sounds would hear the codec first. The classifier is a linear
    discriminant over the means of clips (pooled covariance, shrunk by SHRINKAGE; Hastie et al., The
    Elements of Statistical Learning, 4.3), trained on training segments of the concept and of all
    other sounds of the corpus. The row `real` is the ceiling: how far training segments are
    from held-out ones, and how many held-out ones are recognised. With few clips a distance may
    favour a condition by chance; it stands beside the likelihood, not in its place.

    kNN: `neighbours` is the share of the K nearest training clips, of all sounds, that are of the
    concept; `originality` how far a clip is from the K nearest training clips of the concept, on
    average, as a multiple of what held-out ones are: 1 is as new as real music, near 0 a copy.
    Where CLAP's weights are there, `clap` is the cosine of a clip and the concept's description.

    First of all the codec is tried: where held-out clips of a concept are not recognised behind it,
    no word can make it heard, and the rows say so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.config import ConceptMetrics
from etude.config.concepts import LEARNED, NULL
from etude.metrics.frechet import Reference
from etude.metrics.registry import open_embedding
from etude.metrics.space import Space
from etude.storage import write_csv
from etude.systems.asked import Asked

VERSION = 2  # raised when the figures change

Array = NDArray[np.float64]
Row = dict[str, Any]

COLUMNS = [
    *("concept", "tokens", "condition", "text", "segments", "pieces", "nats", "against_null"),
    *("ci_low", "ci_high", "better_share", "word_less", "word_ci_low", "word_ci_high"),
    *("clips", "distance", "recognised", "neighbours", "originality", "copied", "clap", "note"),
]
# The learned word's nats less those of a control, as `paired` calls them.
OF_WORD = {"word_less": "against_null", "word_ci_low": "ci_low", "word_ci_high": "ci_high"}
EMBEDDING = "timbre"
SHRINKAGE = 0.1
NEIGHBOURS = 5  # the original's K
REAL = "real"  # held-out clips through the codec

log = logging.getLogger(__name__)


def write_concepts(
    asked: Iterable[Asked], settings: ConceptMetrics, table: Path, clap: Path | None = None
) -> list[Row]:
    """Write concept.csv: a row for each concept and condition, and one of real music.

    Args:
        clap: the folder of a CLAP, where there is one.
    """
    reader = None if clap is None else open_embedding("clap", 0, weights=clap)
    heard: dict[str, Array] = {}  # other sounds, which several concepts are told from
    rows = [row for one in asked for row in judge(one, settings, reader, heard)]
    write_csv(table, COLUMNS, rows)
    return rows


def judge(
    asked: Asked, settings: ConceptMetrics, clap: Any = None, heard: dict[str, Array] | None = None
) -> Iterator[Row]:
    """The rows of one concept.

    Args:
        clap: an embedding that has `similarity`, or none.
        heard: embeddings of other sounds by name, which are added to.
    """
    ear = Ear(asked, clap, heard)
    share = ear.recognised(ear.held_out)
    deaf = share < settings.recognised
    note = ""
    if deaf:
        note = (
            f"the codec cannot say it: {share:.0%} of held-out clips are recognised behind it; fit "
            "the tokenizer on a corpus that has such sounds, or take one with more quantizers"
        )
        log.warning("%s: %s", asked.concept, note)
    recognised = {} if np.isnan(share) else {"recognised": f"{share:.4f}"}
    real = ear.figures(ear.learned) | ear.of_real() | recognised | {"copied": "", "note": note}
    yield row_of(asked, REAL, "") | real
    nats = {condition: asked.nats(condition) for condition in asked.conditions}
    for condition, text in asked.conditions.items():
        row = row_of(asked, condition, text)
        row |= paired(nats[condition], nats[NULL], asked.pieces, settings.replicates)
        if condition != LEARNED:
            word = paired(nats[LEARNED], nats[condition], asked.pieces, settings.replicates)
            row |= {new: word[old] for new, old in OF_WORD.items() if old in word}
        waves = list(asked.clips(condition))
        row |= ear.figures(ear.hear(waves)) | ear.described(waves)
        yield row | {"note": note if condition == LEARNED else ""}


def row_of(asked: Asked, condition: str, text: str) -> Row:
    """What a row is about."""
    return dict.fromkeys(COLUMNS, "") | {
        "concept": asked.concept,
        "tokens": asked.tokens,
        "condition": condition,
        "text": text,
    }


def paired(nats: Array, null: Array, pieces: Sequence[str], replicates: int) -> Row:
    """Nats under a condition and under none, of the same segments; pieces are the units.

    Args:
        nats, null: [segments].

    Example:
        >>> row = paired(np.array([1.0, 2.0]), np.array([2.0, 3.0]), ["a", "b"], 100)
        >>> row["against_null"], row["better_share"]
        ('-1.000000', '1.0000')
    """
    if not len(nats):
        return {"segments": 0, "pieces": 0}
    names, place = np.unique(np.asarray(pieces), return_inverse=True)
    counts = np.bincount(place)
    means = np.bincount(place, weights=nats - null) / counts
    row: Row = {
        "segments": len(nats),
        "pieces": len(names),
        "nats": f"{nats.mean():.6f}",
        "against_null": f"{means.mean():.6f}",
        "better_share": f"{(nats < null).mean():.4f}",
    }
    if len(names) > 1:
        chosen = np.random.default_rng(0).integers(0, len(names), (replicates, len(names)))
        low, high = np.percentile(means[chosen].mean(1), [2.5, 97.5])
        row |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
    return row


class Ear:
    """Hears clips as the concept's held-out music sounds behind the codec."""

    def __init__(
        self, asked: Asked, clap: Any = None, heard: dict[str, Array] | None = None
    ) -> None:
        self.model, self.clap = open_embedding(EMBEDDING, asked.rate), clap
        self.rate, self.description = asked.rate, asked.description or asked.concept
        learned, waves = self.hear(asked.real("train")), list(asked.real("test"))
        self.held_out, self._real = self.hear(waves), self.described(waves)
        self.space: Space | None = None
        if len(set(asked.pieces_of["test"])) > 1 and len(self.held_out) > 1:
            kind = self.model
            how = (kind.components, kind.deviation_floor, getattr(kind, "residual", 0.0))
            self.space = Space(self.held_out, *how, asked.pieces_of["test"])
            self.reference = Reference(self.space.rows)
        known = {} if heard is None else heard
        known |= {name: self.hear(w()) for name, w in asked.others.items() if name not in known}
        classes = {asked.concept: learned} | {name: known[name] for name in asked.others}
        self.discriminant = Discriminant({n: rows for n, rows in classes.items() if len(rows) > 1})
        self.concept, self.learned = asked.concept, learned
        self.every = np.concatenate(
            [learned, *(r for n, r in classes.items() if n != self.concept)]
        )

    def hear(self, waves: Iterable[NDArray[np.float32]]) -> Array:
        """The mean over windows of each wave's embedding [clips, dim]."""
        rows = [self.model.embed(wave[None].astype(np.float64))[0].mean(0) for wave in waves]
        return np.stack(rows) if rows else np.zeros((0, self.model.dim))

    def recognised(self, rows: Array) -> float:
        """The share of clips that are taken for the concept; NaN where there is nothing to ask."""
        names = self.discriminant.names
        if not len(rows) or self.concept not in names or len(names) < 2:
            return float("nan")
        return float((self.discriminant(rows) == self.concept).mean())

    def figures(self, rows: Array) -> Row:
        """Of clips that were made: all that needs no text."""
        row: Row = {"clips": len(rows)}
        if self.space is not None and len(rows) > 1:
            row["distance"] = f"{self.reference.distance(self.space(rows)):.6f}"
        if (share := self.recognised(rows)) == share:
            row["recognised"] = f"{share:.4f}"
        if len(self.learned) > 1 and len(rows):
            row |= self.neighbourhood(rows)
        return row

    def neighbourhood(self, rows: Array) -> Row:
        """`neighbours`, `originality` and `copied` of clips."""
        middle = self.learned.mean(0)
        scale = np.maximum(self.learned.std(0), self.model.deviation_floor)
        learned, every, real, made = (
            (r - middle) / scale for r in (self.learned, self.every, self.held_out, rows)
        )
        k = min(NEIGHBOURS, len(learned))
        near = np.argpartition(away(made, every), k - 1, axis=1)[:, :k]
        found: Row = {}
        if len(every) > len(learned):
            found["neighbours"] = f"{(near < len(learned)).mean():.4f}"  # they stand first
        if len(real) > 1:
            limit = np.percentile(away(real, learned).min(1), 5)
            found["copied"] = f"{(away(made, learned).min(1) < limit).mean():.4f}"
            new, usual = (np.sort(away(r, learned), 1)[:, :k].mean() for r in (made, real))
            found["originality"] = f"{new / max(usual, 1e-12):.4f}"
        return found

    def of_real(self) -> Row:
        """What held-out clips have where training ones would be asked about themselves."""
        of = (
            self.neighbourhood(self.held_out)
            if len(self.held_out) and len(self.learned) > 1
            else {}
        )
        return of | self._real

    def described(self, waves: Sequence[NDArray[np.float32]]) -> Row:
        """How near clips are to the concept's description, by CLAP; nothing where there is none."""
        if self.clap is None or not len(waves):
            return {}
        cosines = self.clap.similarity(waves, self.rate, self.description)
        return {"clap": f"{cosines.mean():.4f}"}


def distance(
    clips: Sequence[NDArray[np.float32]], real: Sequence[NDArray[np.float32]], rate: int
) -> float:
    """The Fréchet distance of clips from real ones, for curves while a word is learned.

    Of few clips it is biased upwards, so its course counts, not its value. NaN for less than two.
    """
    if min(len(clips), len(real)) < 2:
        return float("nan")
    model = open_embedding(EMBEDDING, rate)
    held_out, made = (
        np.stack([model.embed(w[None].astype(np.float64))[0].mean(0) for w in waves])
        for waves in (real, clips)
    )
    space = Space(held_out, model.components, model.deviation_floor)
    return Reference(space.rows).distance(space(made))


def away(rows: Array, others: Array) -> Array:
    """The distances of rows [n, d] from others [m, d] -> [n, m]."""
    squares = (rows**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * rows @ others.T
    distances: Array = np.sqrt(squares.clip(0))
    return distances


class Discriminant:
    """A linear discriminant with a pooled, shrunk covariance; classes alike often.

    Args:
        classes: rows [n, d] by name.
    """

    def __init__(self, classes: dict[str, Array]) -> None:
        self.names = np.array(list(classes))
        rows = np.concatenate(list(classes.values())) if classes else np.zeros((0, 1))
        self.middle = rows.mean(0) if len(rows) else 0.0
        self.scale = np.maximum(rows.std(0), 1e-9) if len(rows) else 1.0
        self.means = np.stack([self._plain(r).mean(0) for r in classes.values()] or [np.zeros(1)])
        centred = [self._plain(r) - m for r, m in zip(classes.values(), self.means, strict=False)]
        within = np.concatenate(centred) if centred else np.zeros((1, 1))
        covariance = within.T @ within / max(len(within) - len(classes), 1)
        trace = np.trace(covariance) / len(covariance)
        shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * max(trace, 1e-9) * np.eye(
            len(covariance)
        )
        self.inverse = np.linalg.inv(shrunk)

    def _plain(self, rows: Array) -> Array:
        plain: Array = (rows - self.middle) / self.scale
        return plain

    def __call__(self, rows: Array) -> NDArray[np.str_]:
        """The name of the nearest class of each row."""
        away = self._plain(rows)[:, None] - self.means[None]
        squares = np.einsum("ncd,de,nce->nc", away, self.inverse, away)
        found: NDArray[np.str_] = self.names[squares.argmin(1)]
        return found
