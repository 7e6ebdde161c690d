"""MidiLM's own preprocessing, step by step, with its defects: the `we_sharp` option.

So that we-sharp's counts can be reproduced on its own files, line by line. What is wrong in each
step is said there; `cleaning` does what was meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from etude.midi.messages import Messages

VERSION = 2  # raised when lines or counts change
CLAMP = (21, 109)  # 109 is not in the vocabulary
CHORD = 3  # notes


@dataclass(frozen=True)
class NoteLine:
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
class EventPair:
    """A row of step 2's table: line numbers count from 1."""

    note: int
    on_line: int
    off_line: int
    duration: int


def read_lines(messages: Messages) -> list[NoteLine]:
    """Tracks one after another, not merged; the time of other messages is lost, the resolution
    ignored, and a note-on of velocity 0 stays one.
    """
    columns = (messages.on, messages.channel, messages.pitch, messages.velocity, messages.since)
    return [NoteLine(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def sort_blocks(lines: Sequence[NoteLine]) -> list[NoteLine]:
    """Step 1: a line and the lines of delta 0 after it, by note; the first gets the block's delta.

    Lines at one moment, but in several tracks, are not together yet.
    """
    result: list[NoteLine] = []
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


def map_pairs(lines: Sequence[NoteLine]) -> list[EventPair]:
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
        EventPair(line.note, i + 1, ends[i] + 1, times[ends[i]] - times[i])
        for i, line in enumerate(lines)
        if line.on and ends[i] >= 0
    ]


def drop_doubled(lines: Sequence[NoteLine]) -> tuple[list[NoteLine], list[NoteLine]]:
    """Step 3: a second note-on before the note-off goes, with that note-off; until none is left.

    Returns:
        what stays, and what was deleted.
    """
    kept, gone = list(lines), []
    while marked := _doubled(kept):
        gone += [kept[i] for i in sorted(marked)]
        kept = _without(kept, marked)
    return kept, gone


def _doubled(lines: Sequence[NoteLine]) -> set[int]:
    """What one pass marks: what it has marked already still begins, and ends, a note."""
    marked: set[int] = set()
    next_on: dict[int, int] = {}
    next_off: dict[int, int] = {}
    for i in range(len(lines) - 1, -1, -1):
        note = lines[i].note
        if not lines[i].on:
            next_off[note] = i
            continue
        second, off = next_on.get(note), next_off.get(note)
        if second is not None and off is not None and second < off:
            marked |= {second, off}
        next_on[note] = i
    return marked


def _without(lines: Sequence[NoteLine], gone: set[int]) -> list[NoteLine]:
    """The other lines; the time of one that is gone goes to the next if that stays, or is lost."""
    return [
        replace(line, delta=line.delta + lines[i - 1].delta) if i - 1 in gone else line
        for i, line in enumerate(lines)
        if i not in gone
    ]


def drop_chords(
    lines: Sequence[NoteLine], pairs: Sequence[EventPair]
) -> tuple[list[NoteLine], Counter[tuple[int, ...]]]:
    """Step 4: among neighbours of delta 0, three or more note-ons of one duration go.

    The chord's first note has a delta, so it is not among them: triads survive. `pairs` are step
    2's, and their numbers are those from before step 3: what stands under a number now may be
    another note, or the end of one. It goes all the same, and counts as the table's note.
    """
    by_line = {pair.on_line - 1: pair for pair in pairs}
    gone: set[int] = set()
    chords: Counter[tuple[int, ...]] = Counter()
    groups: dict[int, list[EventPair]] = {}
    for i, delta in enumerate([*(line.delta for line in lines), 1]):
        if delta:
            for members in groups.values():
                if len(members) >= CHORD:
                    chords[tuple(sorted(pair.note for pair in members))] += 1
                    gone |= {n - 1 for pair in members for n in (pair.on_line, pair.off_line)}
            groups = {}
        elif i in by_line:
            groups.setdefault(by_line[i].duration, []).append(by_line[i])
    return _without(lines, gone), chords


def words(lines: Sequence[NoteLine], transpose: int = 0) -> list[str]:
    """`on|off_<pitch>_<delta>`: the pitch is clamped to 21 ... 109, the delta is as it is."""
    low, high = CLAMP
    return [
        f"{'on' if line.on else 'off'}_{min(max(line.note + transpose, low), high)}_{line.delta}"
        for line in lines
    ]
