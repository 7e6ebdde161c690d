"""Two searches for clips with notes: the nearest training melody, and the longest run of its bars.

They are told, and the gate is not decided by them: a melody under another harmony, or four bars of
a tune, is what a musician calls a quotation. Clips are searched entire, not only what is heard of
them. Held-out excerpts as long, or as long as half of the held-out pieces where clips are longer,
say what is usual; their figures are in rows of the set `real`.

Figures (of clips, and of the held-out excerpts)
    melody_similarity   mean of 1 - the least word error rate to a training melody
    melody_top_two      mean of the least over the second least rate
    melody_new          share of clips where that is above a third
    longest_run         the most bars in a row that one training piece has, of all clips
    mean_run            mean over the clips of their longest run
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.config import Memorisation
from etude.metrics.memorisation.bar_runs import BarRun, BarRuns
from etude.metrics.memorisation.excerpts import HELD_OUT
from etude.metrics.memorisation.find import SearchedClips, Verdicts, notes_of
from etude.metrics.memorisation.melody import FEWEST, NEW, Melodies, Tune, melody_words
from etude.metrics.memorisation.notes import NoteIndex
from etude.metrics.memorisation.null import Null, exact_interval
from etude.metrics.notes import means
from etude.midi.notes import NoteTable, top_voice
from etude.pool import Failed, tried

VERSION = 1  # raised when figures change

MELODY, BARS = "melody", "bars"
REPLICATES = 200
CONTROL = "real"  # held-out music against the training music
AUDIO_ONLY = "the clips are audio only"
NO_MUSIC = "there is no training music with notes"

Row = dict[str, Any]
Array = NDArray[np.float64]


@dataclass
class TuneMatches:
    """What was found of some clips or excerpts: of each a Tune and a Run; None: it is too short."""

    pieces: list[str]
    tunes: list[Tune | None] = field(default_factory=list)
    runs: list[BarRun | None] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # why one could not be searched

    def scores(self, rung: str) -> Array:
        """What the search judges each clip by; NaN where it has none."""
        if rung == MELODY:
            return np.array([np.nan if t is None else t.similarity for t in self.tunes])
        return np.array([np.nan if r is None else float(r.length) for r in self.runs])


class Tunes:
    """The training pieces' melodies and bars."""

    def __init__(self, scores: NoteIndex) -> None:
        self.scores = scores
        tables = [scores.tables[name] for name in scores.names]
        self.melodies, self.bars = Melodies(tables), BarRuns(tables)

    def search(self, tables: Sequence[NoteTable | None], names: list[str]) -> TuneMatches:
        """The nearest melody and the longest run of each."""
        made = TuneMatches(names)
        for name, table in zip(names, tables, strict=True):
            found = (None, None) if table is None else tried(self.nearest, table)
            if isinstance(found, Failed):
                made.failed[name] = found.reason
                found = (None, None)
            made.tunes.append(found[0])
            made.runs.append(found[1])
        return made

    def nearest(self, table: NoteTable) -> tuple[Tune | None, BarRun | None]:
        """The nearest melody and the longest run of some notes."""
        pieces = self.melodies.candidates(melody_words(table))
        return self.melodies.search(table), self.bars.search(table, pieces)

    def held_out(self, seconds: float, count: int, seed: int) -> TuneMatches:
        """Held-out excerpts of this length, or of half of the pieces', searched as clips are."""
        music = self.scores.music
        whole = [music.seconds[name] for name in music.names(*HELD_OUT)]
        length = min(seconds, float(np.median(whole))) if whole else seconds
        chosen = self.scores.held_out(length, count, seed)
        return self.search([notes for _, notes in chosen], [piece for piece, _ in chosen])

    def verdicts(self, clips: SearchedClips, count: int, seed: int) -> list[Verdicts]:
        """Both searches for the clips of a set, with a null of `count` excerpts."""
        tables, faults = notes_of(clips, "entire")
        lengths = [float(np.ptp(t.onset_s)) for t in tables if t is not None and len(t)]
        known = any(len(words) for words in self.melodies.words)
        if not lengths or not known:
            why = AUDIO_ONLY if known else NO_MUSIC
            return [Verdicts(rung, note=why) for rung in (MELODY, BARS)]
        made = self.search(tables, clips.names)
        control = self.held_out(float(np.median(lengths)), count, seed)
        faults |= made.failed
        return [self._verdict(rung, made, control, clips, dict(faults)) for rung in (MELODY, BARS)]

    def study(
        self, seconds: float, settings: Memorisation, seed: int
    ) -> Iterator[tuple[str, str, Array, Null]]:
        """(search, attack, scores, null) of planted copies as long as a clip."""
        control = self.held_out(seconds, settings.null_clips, seed)
        for attack, copies in self.scores.copies(seconds, settings.planted, seed):
            found = self.search(copies, [""] * len(copies))
            for rung in (MELODY, BARS):
                scores = found.scores(rung)
                yield rung, attack, scores[np.isfinite(scores)], null_of(control, rung)

    def _verdict(
        self,
        rung: str,
        made: TuneMatches,
        control: TuneMatches,
        clips: SearchedClips,
        faults: dict[str, str],
    ) -> Verdicts:
        scores, null = made.scores(rung), null_of(control, rung)
        short = (
            f"fewer than {FEWEST + 1} notes of a melody"
            if rung == MELODY
            else "fewer than two bars"
        )
        for name, score in zip(clips.names, scores, strict=True):
            if np.isnan(score):
                faults.setdefault(name, short)
        most = 1.0 if rung == MELODY else max((r.bars for r in made.runs if r), default=0)
        note = ""
        if np.isnan(scores).all():
            note = f"clips are too short: {short}"
        elif not null.reason and null.threshold >= most:
            note = "clips are too short: 1 % of held-out ones are found whole in the training music"
        places = [self._place(rung, made, i) for i in range(len(scores))]
        figures = [*rows(made, rung, ""), *rows(control, rung, CONTROL)]
        return Verdicts(rung, "", scores, null, places, note, faults, figures)

    def _place(self, rung: str, found: TuneMatches, i: int) -> tuple[str, float]:
        """Piece and second of what a clip is nearest to."""
        tune, run = found.tunes[i], found.runs[i]
        if rung == MELODY and tune is not None:
            name = self.scores.names[tune.piece]
            return name, float(top_voice(self.scores.tables[name]).onset_s[tune.at])
        if rung == BARS and run is not None and run.piece >= 0:
            name = self.scores.names[run.piece]
            notes = self.scores.tables[name].without_drums()
            return name, float(notes.onset_s[notes.places().bar >= run.bar].min(initial=np.inf))
        return "", 0.0


def null_of(control: TuneMatches, rung: str) -> Null:
    """The scores of held-out excerpts; those that have none are left out."""
    scores = control.scores(rung)
    known = np.isfinite(scores)
    pieces = [piece for piece, kept in zip(control.pieces, known, strict=True) if kept]
    return Null(scores[known], pieces)


def rows(found: TuneMatches, rung: str, clips: str) -> Iterator[Row]:
    """The search's own figures of some clips.

    Args:
        clips: the set's name; empty: that of the search's other rows.
    """
    common: Row = {"clips": clips} if clips else {}
    if clips:
        common["note"] = f"held-out excerpts of {len(set(found.pieces))} pieces"
    scores = found.scores(rung)
    known = np.isfinite(scores)
    common["n"] = int(known.sum())
    if not known.any():
        return
    pieces = [piece for piece, kept in zip(found.pieces, known, strict=True) if kept]
    if rung == BARS:
        yield common | {
            "metric": "longest_run",
            "unit": "bars",
            "value": f"{np.nanmax(scores):.6f}",
        }
        yield common | {"metric": "mean_run", "unit": "bars"} | _mean(scores[known], pieces)
        return
    yield common | {"metric": "melody_similarity", "unit": "share"} | _mean(scores[known], pieces)
    ratios = np.array([t.top_two for t in found.tunes if t is not None])
    if np.isnan(ratios).any():  # of one training piece alone there is no second
        return
    yield common | {"metric": "melody_top_two", "unit": "ratio"} | _mean(ratios, pieces)
    new = int((ratios > NEW).sum())
    ends = exact_interval(new, len(ratios))
    figures = (f"{x:.6f}" for x in (new / len(ratios), *ends))
    cells = dict(zip(("value", "ci_low", "ci_high"), figures, strict=True))
    yield common | {"metric": "melody_new", "unit": "share"} | cells


def _mean(values: Array, pieces: list[str]) -> Row:
    """A mean, and its interval by a bootstrap over pieces; generated clips stand for themselves."""
    value = float(values.mean())
    weights = means.drawn_weights(pieces, REPLICATES, 1)
    drawn = means.weighted_means(values[:, None], weights)[:, 0]
    cells = {"value": f"{value:.6f}"}
    if len(set(pieces)) > 1 and (ends := means.interval(value, drawn)):
        cells |= {"ci_low": f"{max(ends[0], 0.0):.6f}", "ci_high": f"{ends[1]:.6f}"}
    return cells
