"""MidiLM's files of a piece: the text of each step, the durations, the chords."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from etude.midi import we_sharp
from etude.midi.cleaning import Lines, NoteArrays

EVENTS, SORTED, DURATIONS = ".events.txt", ".sorted.txt", ".durations.csv"
CLEANED, DELETED, MELODY = ".cleaned.txt", ".deleted.txt", ".melody.txt"
CHORDS, TOKENS = ".chords.csv", ".tokens.txt"


def text_of(rows: Iterable[Sequence[object]]) -> str:
    """One row a line, its words apart by spaces."""
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def chords_text(chords: Mapping[tuple[int, ...], int]) -> str:
    """`Chord,Count`, by size and then by notes."""
    order = sorted(chords, key=lambda notes: (len(notes), "_".join(map(str, notes))))
    return "Chord,Count\n" + "".join(f"{'_'.join(map(str, c))},{chords[c]}\n" for c in order)


def durations_text(rows: Iterable[Sequence[int]]) -> str:
    """`note,on_line,off_line,duration`: lines of the sorted text, counted from 1."""
    return "note,on_line,off_line,duration\n" + "".join(
        ",".join(map(str, row)) + "\n" for row in rows
    )


def cleaned_files(
    lines: Lines,
    pairs: tuple[np.ndarray, np.ndarray],
    doubled: NoteArrays,
    cleaned: NoteArrays,
    melody: NoteArrays | None,
    chords: Sequence[tuple[int, ...]],
) -> dict[str, str]:
    """The files of a piece as `cleaning` sees it; times at the common resolution."""
    delta = np.diff(lines.tick, prepend=0).tolist()
    kind = ["note_on" if on else "note_off" for on in lines.on.tolist()]
    channel, pitch, velocity = (
        column.tolist() for column in (lines.channel, lines.pitch, lines.velocity)
    )
    begin, end = pairs
    duration = lines.tick[end] - lines.tick[begin]
    rows = zip(lines.pitch[begin], begin + 1, end + 1, duration, strict=True)
    files = {
        EVENTS: text_of(zip(kind, channel, pitch, velocity, delta, strict=True)),
        SORTED: text_of(zip(kind, pitch, velocity, delta, strict=True)),
        DURATIONS: durations_text([list(map(int, row)) for row in rows]),
        DELETED: notes_text(doubled),
        CLEANED: notes_text(cleaned),
        CHORDS: chords_text(Counter(chords)),
    }
    return files if melody is None else files | {MELODY: notes_text(melody)}


def notes_text(notes: NoteArrays) -> str:
    """`note_on|note_off note velocity delta`, in the order of tokens."""
    n = len(notes)
    tick = np.concatenate([notes.start, notes.end])
    pitch = np.tile(notes.pitch, 2)
    on = np.arange(2 * n) < n
    order = np.argsort(tick * 256 + pitch * 2 + on, kind="stable")
    delta = np.diff(tick[order], prepend=0).tolist()
    velocity = np.concatenate([notes.velocity, np.zeros(n, np.int64)])[order].tolist()
    kind = ["note_on" if begins else "note_off" for begins in on[order].tolist()]
    return text_of(zip(kind, pitch[order].tolist(), velocity, delta, strict=True))


def seed_files(
    lines: Sequence[we_sharp.NoteLine],
    ordered: Sequence[we_sharp.NoteLine],
    pairs: Sequence[we_sharp.EventPair],
    cleaned: tuple[Sequence[we_sharp.NoteLine], Sequence[we_sharp.NoteLine]],
    melody: Sequence[we_sharp.NoteLine] | None,
    chords: Mapping[tuple[int, ...], int],
) -> dict[str, str]:
    """The files of a piece as we-sharp sees it."""
    kept, gone = cleaned
    files = {
        EVENTS: text_of((x.kind, x.channel, x.note, x.velocity, x.delta) for x in lines),
        SORTED: _text(ordered),
        DURATIONS: durations_text((p.note, p.on_line, p.off_line, p.duration) for p in pairs),
        DELETED: _text(gone),
        CLEANED: _text(kept),
        CHORDS: chords_text(chords),
    }
    return files if melody is None else files | {MELODY: _text(melody)}


def _text(lines: Iterable[we_sharp.NoteLine]) -> str:
    return text_of((x.kind, x.note, x.velocity, x.delta) for x in lines)
