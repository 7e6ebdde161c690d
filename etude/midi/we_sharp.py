"""MidiLM's own preprocessing, step by step, with its defects: the `we_sharp` option.

So that the seed's counts can be reproduced on the seed's files. What is wrong in each step is said
there; `cleaning` does what was meant. Two things the facts about the seed leave open: in step 3 a
line that is already marked is passed over, and in step 4 the time of deleted lines is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from etude.midi.messages import Messages

VERSION = 1  # raised when lines or counts change
CLAMP = (21, 109)  # 109 is not in the vocabulary
CHORD = 3  # notes


@dataclass(frozen=True)
class Line:
    """A note message; `delta` is in ticks of whatever resolution the file has."""

    on: bool
    channel: int
    note: int
    velocity: int
    delta: int

    @property
    def kind(self) -> str:
        """As mido names it."""
        return "note_on" if self.on else "note_off"


@dataclass(frozen=True)
class Pair:
    """A row of step 2's table: line numbers count from 1."""

    note: int
    on_line: int
    off_line: int
    duration: int


def read_lines(messages: Messages) -> list[Line]:
    """Tracks one after another, not merged; the time of other messages is lost, the resolution
    ignored, and a note-on of velocity 0 stays one.
    """
    columns = (messages.on, messages.channel, messages.pitch, messages.velocity, messages.since)
    return [Line(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def sort_blocks(lines: Sequence[Line]) -> list[Line]:
    """Step 1: a line and the lines of delta 0 after it, by note; the first gets the block's delta.

    Lines at one moment, but in several tracks, are not together yet.
    """
    result: list[Line] = []
    at = 0
    while at < len(lines):
        stop = at + 1
        while stop < len(lines) and lines[stop].delta == 0:
            stop += 1
        block = sorted(lines[at:stop], key=lambda line: line.note)
        deltas = [lines[at].delta, *[0] * (stop - at - 1)]
        result += [replace(line, delta=d) for line, d in zip(block, deltas, strict=True)]
        at = stop
    return result


def map_pairs(lines: Sequence[Line]) -> list[Pair]:
    """Step 2: for each note-on the first later note-off of its note, though it be used already."""
    following: dict[int, int] = {}
    ends = [0] * len(lines)
    for i in range(len(lines) - 1, -1, -1):
        if lines[i].on:
            ends[i] = following.get(lines[i].note, -1)
        else:
            following[lines[i].note] = i
    times, now = [], 0
    for line in lines:
        now += line.delta
        times.append(now)
    return [
        Pair(line.note, i + 1, ends[i] + 1, times[ends[i]] - times[i])
        for i, line in enumerate(lines)
        if line.on and ends[i] >= 0
    ]


def drop_doubled(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Step 3: a second note-on before the note-off goes, with that note-off; until none is left.

    A deleted line's time moves to the next line only where that one stays; else it is lost.

    Returns:
        what stays, and what was deleted.
    """
    kept, gone = list(lines), []
    while marked := _doubled(kept):
        for i in sorted(marked):
            if i + 1 < len(kept) and i + 1 not in marked:
                kept[i + 1] = replace(kept[i + 1], delta=kept[i + 1].delta + kept[i].delta)
        gone += [kept[i] for i in sorted(marked)]
        kept = [line for i, line in enumerate(kept) if i not in marked]
    return kept, gone


def _doubled(lines: Sequence[Line]) -> set[int]:
    marked: set[int] = set()
    by_note: dict[int, list[int]] = {}
    for i, line in enumerate(lines):
        by_note.setdefault(line.note, []).append(i)
    for indices in by_note.values():
        for place, i in enumerate(indices):
            if not lines[i].on or i in marked:
                continue
            second = -1
            for j in indices[place + 1 :]:
                if j in marked:
                    continue
                if lines[j].on:
                    second = j if second < 0 else second
                    continue
                if second >= 0:
                    marked |= {second, j}
                break
    return marked


def drop_chords(
    lines: Sequence[Line], pairs: Sequence[Pair]
) -> tuple[list[Line], Counter[tuple[int, ...]]]:
    """Step 4: among neighbours of delta 0, three or more note-ons of one duration go.

    The chord's first note has a delta, so it is not among them: triads survive. `pairs` are step
    2's, and their line numbers are those from before step 3.
    """
    by_line = {pair.on_line: pair for pair in pairs}
    gone: set[int] = set()
    chords: Counter[tuple[int, ...]] = Counter()
    groups: dict[int, list[int]] = {}
    for number, line in enumerate([*lines, Line(False, 0, 0, 0, 1)], 1):
        if line.delta:
            for members in groups.values():
                if len(members) >= CHORD:
                    chords[tuple(sorted(lines[n - 1].note for n in members))] += 1
                    gone |= {*members, *(by_line[n].off_line for n in members)}
            groups = {}
        elif line.on and number in by_line:
            groups.setdefault(by_line[number].duration, []).append(number)
    return [line for n, line in enumerate(lines, 1) if n not in gone], chords


def words(lines: Sequence[Line], transpose: int = 0) -> list[str]:
    """`on|off_<pitch>_<delta>`: the pitch is clamped to 21 ... 109, the delta is as it is."""
    low, high = CLAMP
    return [
        f"{'on' if line.on else 'off'}_{min(max(line.note + transpose, low), high)}_{line.delta}"
        for line in lines
    ]
