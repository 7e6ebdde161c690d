"""Learned words, judged: likelihood of held-out music, distance and a classifier by what is asked.

Conventions
    The figure to gate on is paired: for each held-out segment the nats per token under a condition,
    less those under none, averaged by piece; its interval is Student's t over pieces, which are
    few: the percentile bootstrap's would be too narrow (of ten pieces it holds 90 %, not 95). It
    needs no clips. In a control's row `word_less` is the learned word's nats less the control's, in
    the same pairs: a word is worth something where that interval ends below 0 for every control.

    Distances and classifier hear real music *through the codec*, as the clips are: a judge of other
    sounds would hear the codec first. `distance` is Fréchet's on `timbre`, which is what a word
    for a sound is about; `primary` is the run's primary metric, whose name stands beside it, to the
    same held-out segments (on `harmony` it hears whether clips are music, and no sound). The
    classifier is a linear discriminant over the means of clips, trained on training segments of the
    concept and of all other sounds of the corpus. The row `real` is the ceiling: how far training
    segments are from held-out ones, and how many held-out ones are recognised. With few clips a
    distance may favour a condition by chance; it stands beside the likelihood, not in its place.

    kNN: `neighbours` is the share of the K nearest training clips, of all sounds, that are of the
    concept; `originality` how far a clip is from the K nearest training clips of the concept, on
    average, as a multiple of what held-out ones are: 1 is as new as real music, near 0 a copy.
    Where CLAP's weights are there, `clap` is the cosine of a clip and the concept's description.

    First of all the codec is tried: where held-out clips of a concept are not recognised after it,
    no word can make it heard, and the rows say so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from etude.config import ConceptMetrics
from etude.config.concepts import LEARNED, NULL, REAL
from etude.config.embeddings import why_not
from etude.errors import UserError
from etude.metrics.discriminant import Discriminant, away
from etude.metrics.distances import Yardstick
from etude.metrics.frechet import Reference
from etude.metrics.registry import Options, open_embedding
from etude.metrics.samples import Clips
from etude.metrics.space import Space
from etude.plugins import plugin_label
from etude.storage import write_csv
from etude.systems.base import Wave
from etude.systems.concept_queries import ConceptQuery

VERSION = 3  # raised when the figures change

Array = NDArray[np.float64]
Row = dict[str, Any]

COLUMNS = [
    *("concept", "tokens", "condition", "text", "segments", "pieces", "nats", "against_null"),
    *("ci_low", "ci_high", "better_share", "word_less", "word_ci_low", "word_ci_high"),
    *("clips", "distance", "primary_metric", "primary", "primary_ci_low", "primary_ci_high"),
    *("recognised", "neighbours", "originality", "copied", "clap", "note"),
]
# The learned word's nats less those of a control, as `paired` calls them.
OF_WORD = {"word_less": "against_null", "word_ci_low": "ci_low", "word_ci_high": "ci_high"}
EMBEDDING = "timbre"
NEIGHBOURS = 5  # the original's K

log = logging.getLogger(__name__)


@dataclass
class Means:
    """What clips are measured by besides `timbre`, and what is known of other concepts already.

    Attributes:
        primary: metric and embedding (its whole name) that decide between systems.
        options: of the user's embeddings.
        clap: an embedding that has `similarity`, or none.
        others: embeddings of other sounds by name, which several concepts are told from.
        made: clips by their text, and their embeddings: equal texts give equal clips.
    """

    primary: tuple[str, str] = ("kad", "harmony")
    options: Options | None = None
    clap: Any = None
    others: dict[str, Array] = field(default_factory=dict)
    made: dict[str, tuple[list[Wave], Array]] = field(default_factory=dict)


def write_concepts(
    asked: Iterable[ConceptQuery], settings: ConceptMetrics, table: Path, means: Means | None = None
) -> list[Row]:
    """Write concept.csv: a row for each concept and condition, and one of real music."""
    means = means or Means()
    rows = [row for one in asked for row in judge(one, settings, means)]
    write_csv(table, COLUMNS, rows)
    return rows


def judge(
    asked: ConceptQuery, settings: ConceptMetrics, means: Means | None = None
) -> Iterator[Row]:
    """The rows of one concept."""
    means = means or Means()
    ear = Ear(asked, means)
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
    real = ear.of_real() | recognised | {"copied": "", "note": note}
    yield row_of(asked, REAL, "") | real
    nats = {condition: asked.nats(condition) for condition in asked.conditions}
    for condition, text in asked.conditions.items():
        row = row_of(asked, condition, text)
        row |= paired(nats[condition], nats[NULL], asked.pieces)
        if condition != LEARNED:
            word = paired(nats[LEARNED], nats[condition], asked.pieces)
            row |= {new: word[old] for new, old in OF_WORD.items() if old in word}
        if text not in means.made:
            waves = list(asked.clips(condition))
            means.made[text] = waves, ear.hear(waves)
        waves, audible = means.made[text]
        row |= ear.figures(audible) | ear.by_primary(waves) | ear.described(waves)
        yield row | {"note": note if condition == LEARNED else ""}


def row_of(asked: ConceptQuery, condition: str, text: str) -> Row:
    """What a row is about."""
    return dict.fromkeys(COLUMNS, "") | {
        "concept": asked.concept,
        "tokens": asked.tokens,
        "condition": condition,
        "text": text,
    }


def paired(nats: Array, null: Array, pieces: Sequence[str]) -> Row:
    """Nats under a condition and under none, of the same segments; pieces are the units.

    Args:
        nats, null: [segments].

    Example:
        >>> row = paired(np.array([1.0, 2.0]), np.array([2.0, 3.0]), ["a", "b"])
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
        half = float(stdtrit(len(names) - 1, 0.975)) * means.std(ddof=1) / len(names) ** 0.5
        ends = {"ci_low": means.mean() - half, "ci_high": means.mean() + half}
        row |= {name: f"{end:.6f}" for name, end in ends.items()}
    return row


class Ear:
    """Hears clips as the concept's held-out music sounds after the codec."""

    def __init__(self, asked: ConceptQuery, means: Means) -> None:
        self.model, self.clap = open_embedding(EMBEDDING, asked.rate), means.clap
        self.rate, self.description = asked.rate, asked.description or asked.concept
        train, waves = list(asked.real("train")), list(asked.real("test"))
        learned, self.held_out = self.hear(train), self.hear(waves)
        self.primary = PrimaryDistance(means, asked.rate, waves, asked.pieces_of["test"])
        self._real = self.described(waves) | self.primary(train, asked.pieces_of["train"])
        self.space: Space | None = None
        if len(set(asked.pieces_of["test"])) > 1 and len(self.held_out) > 1:
            kind = self.model
            how = (kind.components, kind.deviation_floor, getattr(kind, "residual", 0.0))
            self.space = Space(self.held_out, *how, asked.pieces_of["test"])
            self.reference = Reference(self.space.rows)
        known = means.others
        known |= {name: self.hear(w()) for name, w in asked.others.items() if name not in known}
        classes = {asked.concept: learned} | {name: known[name] for name in asked.others}
        self.discriminant = Discriminant({n: rows for n, rows in classes.items() if len(rows) > 1})
        self.concept, self.learned = asked.concept, learned
        self.every = np.concatenate(
            [learned, *(r for n, r in classes.items() if n != self.concept)]
        )

    def hear(self, waves: Iterable[Wave]) -> Array:
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
        """Distances of training clips; and what of held-out ones: training ones know themselves."""
        of = self.figures(self.learned)
        if len(self.held_out) and len(self.learned) > 1:
            of |= self.neighbourhood(self.held_out)
        return of | self._real

    def by_primary(self, waves: Sequence[Wave]) -> Row:
        """The primary metric of clips that were made."""
        return self.primary(waves, [])

    def described(self, waves: Sequence[Wave]) -> Row:
        """How near clips are to the concept's description, by CLAP; nothing where there is none."""
        if self.clap is None or not len(waves):
            return {}
        cosines = self.clap.similarity(waves, self.rate, [self.description])[:, 0]
        return {"clap": f"{cosines.mean():.4f}"}


class PrimaryDistance:
    """The run's primary metric to a concept's held-out music after the codec.

    Args:
        held_out, pieces: waves at `rate`, and the piece of each.
    """

    def __init__(
        self, means: Means, rate: int, held_out: Sequence[Wave], pieces: Sequence[str]
    ) -> None:
        metric, name = means.primary
        self.metric, self.name = metric, f"{plugin_label(name)} {metric}"
        self.rate, self.yardstick = rate, None
        if why_not(name) or not len(held_out):
            return  # of pretrained embeddings: they are not opened here
        self.model = open_embedding(name, rate, means.options)
        kind = self.model
        how = (kind.components, kind.deviation_floor, getattr(kind, "residual", 0.0))
        try:
            self.yardstick = Yardstick(self.embed(held_out, pieces), *how)
        except UserError as error:  # of too little music there is no figure
            log.warning("no %s: %s", self.name, error.what)

    def embed(self, waves: Sequence[Wave], pieces: Sequence[str]) -> Clips:
        """All windows of some waves."""
        rows = [self.model.embed(wave[None].astype(np.float64))[0] for wave in waves]
        clips = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        return Clips(np.concatenate(rows), clips, list(pieces))

    def __call__(self, waves: Sequence[Wave], pieces: Sequence[str]) -> Row:
        """Figure and interval of some waves; pieces: of real ones."""
        if self.yardstick is None or len(waves) < 2:
            return {}
        try:
            found = self.yardstick.measure(self.metric, self.embed(waves, pieces), len(waves))
        except UserError:
            return {"primary_metric": self.name}
        cells = found.cells()
        keys = {"primary": "value", "primary_ci_low": "ci_low", "primary_ci_high": "ci_high"}
        return {"primary_metric": self.name} | {k: cells.get(v, "") for k, v in keys.items()}


def distance(clips: Sequence[Wave], real: Sequence[Wave], rate: int) -> float:
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
