"""All searches for an experiment's clips: shares of flagged ones, and the neighbour of each."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from etude.config import Cut, Memorisation
from etude.errors import UserError
from etude.metrics.clip_sets import hear
from etude.metrics.memorisation import chroma
from etude.metrics.memorisation.catalogue import NOTHING, Catalogue, Match
from etude.metrics.memorisation.exact import Probe, crossing, matches
from etude.metrics.memorisation.excerpts import HELD_OUT, CorpusPieces, Excerpt, Wave
from etude.metrics.memorisation.fingerprint import RATE, features
from etude.metrics.memorisation.neighbours import NearestWindow, Neighbours
from etude.metrics.memorisation.notes import NoteIndex
from etude.metrics.memorisation.null import Null
from etude.metrics.memorisation.reference import Places
from etude.metrics.memorisation.sequences import Common, SuffixIndex
from etude.metrics.memorisation.waveform import Waveforms
from etude.metrics.notes.clips import parted
from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.pool import Failed, tried, tried_together
from etude.storage import read_csv

VERSION = 5  # raised when figures change

log = logging.getLogger(__name__)

LENGTH_STEPS = 4  # a null's clips are as long as the clips, to a quarter of a second
SILENT_RMS = 1e-4


@dataclass
class Verdicts:
    """What a search says of the clips of a set.

    Attributes: `rung` (the search), embedding, scores (float [clips], NaN where a clip cannot be
    judged), null,
    places (piece and second of the nearest training music, per clip), note (why there is nothing),
    faults (why a clip cannot be judged, by name), figures (more rows of this search and its null).
    """

    rung: str
    embedding: str = ""
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    null: Null | None = None
    places: list[tuple[str, float]] = field(default_factory=list)
    note: str = ""
    faults: dict[str, str] = field(default_factory=dict)
    figures: list[dict[str, Any]] = field(default_factory=list)

    @property
    def threshold(self) -> float:
        """A clip above it is flagged; equal samples need no null."""
        return self.null.threshold if self.null else 0.0

    @property
    def reason(self) -> str:
        """Why the search decides nothing; empty where it does."""
        return self.note or (self.null.reason if self.null else "")


@dataclass
class SearchedClips:
    """The clips of a set as they are heard: names, waves at `rate`, notes on those that are not."""

    folder: Path
    rate: int
    names: list[str] = field(default_factory=list)
    waves: list[Wave] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, rate: int) -> SearchedClips:
        """Every clip; one that cannot be read, or is silent, has a fault and an empty wave."""
        made = cls(folder, rate)
        for row in read_csv(folder / "clips.csv"):
            found = tried(lambda row: hear(folder, row, rate), row)
            wave = np.zeros(0, np.float32) if isinstance(found, Failed) else found
            if isinstance(found, Failed):
                made.faults[row["clip"]] = found.reason
            elif not len(wave) or float(np.sqrt(np.mean(np.square(wave)))) < SILENT_RMS:
                made.faults[row["clip"]] = "silent"
            made.names.append(row["clip"])
            made.waves.append(wave)
            made.rows.append(row)
        return made

    @property
    def seconds(self) -> float:
        """The median length of the clips that can be heard, in quarters of a second."""
        lengths = [len(w) / self.rate for w in self.waves if len(w)]
        return round(float(np.median(lengths)) * LENGTH_STEPS) / LENGTH_STEPS if lengths else 0.0


@dataclass
class Search:
    """What clips are searched in."""

    music: CorpusPieces
    cut: Cut
    settings: Memorisation
    seed: int
    nulls: dict[tuple[str, float], Null] = field(default_factory=dict)  # of all sets of one length
    held_out: dict[float, list[tuple[Excerpt, Wave]]] = field(default_factory=dict)  # as heard

    def null_excerpts(self, seconds: float) -> list[Excerpt]:
        """Held-out excerpts as long as the clips."""
        return self.music.excerpts(HELD_OUT, seconds, self.settings.null_clips, self.seed)

    def exact(self, clips: SearchedClips, hashes: Places) -> tuple[Verdicts, list[Probe]]:
        """The same samples; `hashes` of all splits."""
        training = {
            digest: kept
            for digest, places in hashes.items()
            if (kept := [p for p in places if self.music.split.get(p[0]) == "train"])
        }
        named = zip(clips.names, clips.waves, strict=True)
        sounding = [(name, wave) for name, wave in named if name not in clips.faults]
        hop = self.cut.hop or self.cut.seconds
        probes = matches(sounding, training, self.cut.rate, self.cut.seconds, hop)
        first = {p.clip: p.found[0] for p in reversed(probes) if p.found}
        scores = np.array(
            [float(n in first) if n not in clips.faults else np.nan for n in clips.names]
        )
        log.info(
            "%d held-out segments equal a training segment", crossing(hashes, self.music.split)
        )
        return Verdicts(
            "exact", "", scores, None, [first.get(n, ("", 0.0)) for n in clips.names]
        ), probes

    def fingerprint(self, clips: SearchedClips, catalogue: Catalogue) -> Verdicts:
        """The same music."""
        return self._matched(
            "fingerprint",
            clips,
            lambda ws: catalogue.search([features(w) for w in ws]),
            len(catalogue.vectors) > 0,
        )

    def chroma(self, clips: SearchedClips, known: chroma.Chroma) -> Verdicts:
        """The same harmonies, in any key."""
        return self._matched(
            "chroma",
            clips,
            lambda ws: known.search([chroma.features(w) for w in ws]),
            len(known.pieces) > 0,
        )

    def waveform(self, clips: SearchedClips, catalogue: Catalogue) -> Verdicts:
        """The same sound."""
        search = Waveforms(self.music, catalogue).search
        return self._matched("waveform", clips, search, len(catalogue.vectors) > 0)

    def _matched(
        self,
        rung: str,
        clips: SearchedClips,
        search: Callable[[Sequence[Wave]], list[Match]],
        known: bool,
    ) -> Verdicts:
        """What a search of waves in the training music says."""
        if not known:
            return Verdicts(rung, note="there is no training music")
        sounding = [soxr.resample(w, clips.rate, RATE) if len(w) else w for w in clips.waves]
        faults: dict[str, str] = {}
        found = []
        for name, match in zip(clips.names, tried_together(search, sounding), strict=True):
            if isinstance(match, Failed):
                faults[name] = match.reason
            found.append(Match() if isinstance(match, Failed) else match)
        scores = np.array([m.score if m.score > NOTHING else np.nan for m in found])
        places = [(m.piece, m.start_s) for m in found]
        null = self._null(rung, clips.seconds, search)
        return Verdicts(rung, "", scores, null, places, faults=faults)

    def _null(
        self, rung: str, seconds: float, search: Callable[[Sequence[Wave]], list[Match]]
    ) -> Null:
        """Scores of held-out music, searched once for all sets of clips of one length."""
        if (rung, seconds) not in self.nulls:
            sounding = self._held_out(seconds)
            scores, pieces = [], []
            found = tried_together(search, [wave for _, wave in sounding]) if sounding else []
            for (excerpt, _), match in zip(sounding, found, strict=True):
                if isinstance(match, Failed):
                    self.music.leave_out(excerpt.piece, match.reason)
                else:
                    scores.append(match.score)
                    pieces.append(excerpt.piece)
            self.nulls[rung, seconds] = Null(np.array(scores), pieces)
        return self.nulls[rung, seconds]

    def _held_out(self, seconds: float) -> list[tuple[Excerpt, Wave]]:
        """Held-out music at RATE, read once for all searches."""
        if seconds not in self.held_out:
            excerpts = self.null_excerpts(seconds) if seconds else []
            read = self.music.each(lambda e: self.music.read(e, RATE), excerpts)
            self.held_out = {seconds: list(read)}
        return self.held_out[seconds]

    def neighbours(
        self, clips: SearchedClips, name: str, floor: float, corpus: Path, embedded: Path, key: str
    ) -> Verdicts:
        """Nearest windows; the null is of held-out segments that follow each other."""
        with np.load(corpus) as file:
            windows, pieces, starts = file["windows"], file["piece"], file["start_s"]
        with np.load(embedded) as file:
            made, owners = file[key], file[f"{key}/clips"]
        split = np.array([self.music.split.get(str(piece), "") for piece in pieces])
        train = np.flatnonzero(split == "train")
        space = Neighbours(windows[train], floor)
        found = space.search(made, owners, len(clips.names))
        null_windows, null_owners, null_pieces = self._null_windows(
            windows, pieces, starts, split, clips.seconds
        )
        null = space.search(null_windows, null_owners, len(null_pieces))
        kept = [(n.score, p) for n, p in zip(null, null_pieces, strict=True) if n is not None]
        return Verdicts(
            "neighbours",
            name,
            np.array([np.nan if n is None else n.score for n in found]),
            Null(np.array([score for score, _ in kept]), [piece for _, piece in kept]),
            [self._place(n, pieces[train], starts[train]) for n in found],
        )

    def _null_windows(
        self, windows: Any, pieces: Any, starts: Any, split: Any, seconds: float
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Windows of held-out clips, the clip of each, the piece of each clip."""
        each = max(1, round(seconds / self.cut.seconds))
        parts: list[np.ndarray] = []
        owners: list[int] = []
        names: list[str] = []
        for piece in self.music.names(*HELD_OUT):
            mine = np.flatnonzero((pieces == piece) & np.isin(split, HELD_OUT))
            begins = np.unique(starts[mine])
            for first in range(len(begins) - each + 1):
                inside = mine[np.isin(starts[mine], begins[first : first + each])]
                parts.append(windows[inside])
                owners += [len(names)] * len(inside)
                names.append(piece)
        rows = np.concatenate(parts) if parts else windows[:0]
        return rows, np.array(owners, dtype=np.int64), names

    def _place(self, near: NearestWindow | None, pieces: Any, starts: Any) -> tuple[str, float]:
        return ("", 0.0) if near is None else (str(pieces[near.window]), float(starts[near.window]))

    def tokens(
        self, clips: SearchedClips, made: dict[str, list[int]], known: dict[str, Any]
    ) -> Verdicts:
        """Semantic tokens: longest common run and edit distance; null clips of equal length."""
        train = [(p, s) for p in self.music.names("train") for s in known.get(p, ())]
        if not train:
            return Verdicts("tokens", note="there are no training tokens")
        index = SuffixIndex([ids for _, ids in train])
        length = int(np.median([len(ids) for ids in made.values() if ids] or [0]))
        null_scores, pieces = [], []
        for piece in self.music.names(*HELD_OUT):
            for ids in known.get(piece, ()):
                for first in range(0, len(ids) - length + 1, max(1, length // 2)):
                    null_scores.append(index.search(ids[first : first + length]).score)
                    pieces.append(piece)
        scores, places = [], []
        frame = self.cut.seconds / max(1, min(len(ids) for ids in made.values()) if made else 1)
        for name in clips.names:
            found = index.search(np.array(made.get(name, []), dtype=np.int64))
            empty = name in clips.faults or not made.get(name)
            scores.append(np.nan if empty else found.score)
            piece = train[found.sequence][0] if found.sequence >= 0 else ""
            places.append((piece, max(0, found.position) * frame))
        return Verdicts("tokens", "", np.array(scores), Null(np.array(null_scores), pieces), places)

    def notes(self, clips: SearchedClips, scores: NoteIndex) -> Verdicts:
        """Notes of clips that have a .mid beside them: those that metrics hear, as the null's."""
        found: list[Common | None] = []
        tables, faults = notes_of(clips)
        for name, table in zip(clips.names, tables, strict=True):
            judged = None if table is None else tried(scores.search, table)
            if isinstance(judged, Failed):
                faults[name] = judged.reason
            found.append(judged if isinstance(judged, Common) else None)
        if not any(found):
            return Verdicts("notes", note="the clips are audio only")
        null = scores.null(clips.seconds, self.settings.null_clips, self.seed)
        values = np.array([np.nan if one is None else one.score for one in found])
        places = [("", 0.0) if one is None else scores.place(one) for one in found]
        return Verdicts("notes", "", values, null, places, faults=faults)


def notes_of(
    clips: SearchedClips, part: str = "music"
) -> tuple[list[NoteTable | None], dict[str, str]]:
    """The notes of each clip that has a .mid, and why one has none, by name.

    Args:
        part: `music`, what metrics hear of it, or `entire`.
    """
    tables: list[NoteTable | None] = []
    faults: dict[str, str] = {}
    for row in clips.rows:
        path = (clips.folder / row["file"]).with_suffix(".mid")
        found = tried(partial(_notes, path, part), row) if path.is_file() else None
        reason = found.reason if isinstance(found, Failed) else found
        if isinstance(reason, str):
            faults[row["clip"]] = reason
        tables.append(found if isinstance(found, NoteTable) else None)
    return tables, faults


def _notes(path: Path, part: str, row: Mapping[str, str]) -> NoteTable | str:
    """A clip's notes, or why they are not read."""
    try:
        clip = parted(row, read_midi(path))
    except MidiError as error:
        return str(error)
    return clip.entire if part == "entire" else clip.music


def guarded(rung: str, embedding: str, search: Callable[[], Verdicts]) -> Verdicts:
    """The verdicts of a search, or why it has none: the others go on."""
    try:
        return search()
    except UserError as error:
        return Verdicts(rung, embedding, note=error.what)
    except ValueError as error:
        return Verdicts(rung, embedding, note=str(error))


def read_clip_tokens(path: Path) -> dict[str, dict[str, list[int]]]:
    """{set: {clip: semantic tokens}} as tokenize_clips writes them."""
    found: dict[str, dict[str, list[int]]] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            item = json.loads(line)
            found.setdefault(item["clips"], {})[item["clip"]] = item["semantic"]
    return found


def nearest_files(
    music: CorpusPieces, results: Path, places: Iterable[tuple[str, float]]
) -> list[str]:
    """Of each place the piece's WAV, relative to the results folder."""
    return [
        music.files[p].absolute().relative_to(results.absolute()).as_posix() if p else ""
        for p, _ in places
    ]
