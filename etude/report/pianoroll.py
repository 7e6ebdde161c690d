"""What a symbolic clip looks like: a piano roll as a small SVG, sharp at any size.

The time axis is as long as the sound, so that the player's head moves over the notes; the pitch
axis is the clip's own range, an octave at least, with a line at every C.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etude.midi.notes import DRUMS, NoteTable
from etude.report.spectrogram import HEIGHT, WIDTH
from etude.storage import write_text

PAPER = "#0e1120"  # the darkest of the spectrograms, so that both can stand side by side
GRID = "#2b3048"
# Programs in the order of their notes: the first has the colour of a spectrogram's peaks.
COLOURS = ("#f6a958", "#8fbbea", "#db604f", "#74c99a", "#c58be0", "#fdeec5")
DRUM_COLOUR = "#8b90a5"
LEAST_RANGE = 12
MARGIN = 2  # semitones above and below
THINNEST = 0.7  # of a pixel, in which even the shortest note is seen


def write_roll(table: NoteTable, seconds: float, path: Path, start_s: float = 0.0) -> None:
    """Draw the notes of a clip.

    Args:
        seconds: length of the time axis.
        start_s: where in the notes it begins.
    """
    write_text(path, roll(table, seconds, start_s))


def roll(table: NoteTable, seconds: float, start_s: float = 0.0) -> str:
    """The SVG: one path for each program."""
    begin, end = table.onset_s - start_s, table.end_s - start_s
    seen = (end > 0) & (begin < seconds)
    pitches = table.pitch[seen].astype(np.int64)
    low, high = _range(pitches)
    tall = HEIGHT / (high - low + 1)
    scale = WIDTH / max(seconds, 1e-9)
    left = (begin[seen].clip(0) * scale).round(1)
    right = np.maximum((end[seen].clip(max=seconds) * scale).round(1), left + THINNEST)
    # A gap shows that a repeated note is struck again.
    widths = np.maximum(right - left - 0.4, THINNEST).round(1)
    tops = ((high - pitches) * tall + tall / 2).round(1)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}"><path fill="{PAPER}" d="M0 0h{WIDTH}v{HEIGHT}H0z"/>'
    )
    parts = [head, _octaves(low, high, tall)]
    programs = table.program[seen]
    for index, program in enumerate(dict.fromkeys(programs.tolist())):
        own = programs == program
        lines = [
            f"M{x:g} {y:g}h{w:g}" for x, y, w in zip(left[own], tops[own], widths[own], strict=True)
        ]
        colour = DRUM_COLOUR if program == DRUMS else COLOURS[index % len(COLOURS)]
        thick = round(max(0.8 * tall, 1.2), 2)
        parts.append(f'<path stroke="{colour}" stroke-width="{thick:g}" d="{"".join(lines)}"/>')
    return "".join([*parts, "</svg>\n"])


def _range(pitches: np.ndarray) -> tuple[int, int]:
    if not len(pitches):
        return 60 - MARGIN, 72 + MARGIN
    low, high = int(pitches.min()), int(pitches.max())
    missing = max(LEAST_RANGE - (high - low), 0)
    return low - MARGIN - missing // 2, high + MARGIN + (missing + 1) // 2


def _octaves(low: int, high: int, tall: float) -> str:
    lines = [
        f"M0 {(high - pitch + 1) * tall:.1f}h{WIDTH}"
        for pitch in range(low, high + 1)
        if pitch % 12 == 0
    ]
    return f'<path stroke="{GRID}" stroke-width=".6" d="{"".join(lines)}"/>' if lines else ""
