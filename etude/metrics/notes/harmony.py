"""Harmonic reduction: one Roman numeral per bar, and vectors for such words.

The reduction is Neuromusic's, which has it from a well-known notebook: chordify, the key of the
whole (Aarden and Essen's weights, music21's default), per bar the four pitches that sound longest,
their chord as a Roman numeral with its inversion. Words of chords that are no triad or seventh keep
the numeral alone; an empty bar is `-`.

music21 spends nearly all of its time on parsing, chordifying and sorting streams. Here notes are
quantised, merged and summed per bar as music21 does it, in arrays, and music21 is asked only for
the numeral of each different chord. `words_by_music21` is the slow way; tests compare the two.

Conventions
    Bars are as long as the file's time signature says, without one four quarters, and the same
    throughout; they count from the beginning of the file, an upbeat is the end of the first.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes.counts import quantise
from etude.midi import bars
from etude.midi.notes import NoteTable

VERSION = 3  # raised when the words change

Array = NDArray[np.float64]

KEPT = 4  # pitches of a bar's chord
EMPTY = "-"
NAMES = ("C", "C#", "D", "E-", "E", "F", "F#", "G", "G#", "A", "B-", "B")  # music21's spelling
MAJOR = (
    17.7661, 0.145624, 14.9265, 0.160186, 19.8049, 11.3587, 0.291248, 22.062, 0.145624, 8.15494,
    0.232998, 4.95122,
)  # fmt: skip
MINOR = (
    18.2648, 0.737619, 14.0499, 16.8599, 0.702494, 14.4362, 0.702494, 18.6161, 4.56621, 1.93186,
    7.37619, 1.75623,
)  # fmt: skip


def spans(table: NoteTable) -> tuple[Array, Array, NDArray[np.int64]]:
    """Stretches in which a pitch sounds, overlaps merged: onset, end (quarters), pitch.

    In the order of onset, then pitch.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.array([0, 240]), np.array([480, 480]), np.array([60, 60]))
        >>> [x.tolist() for x in spans(table)]  # the two overlap
        [[0.0], [1.5], [60]]
    """
    pitched = table.without_drums()
    if not len(pitched):
        return np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    onset = quantise(pitched.onset / pitched.ticks_per_quarter)
    length = quantise(pitched.duration / pitched.ticks_per_quarter, smallest=0.25)
    order = np.lexsort((onset, pitched.pitch))
    onset, end, pitch = onset[order], (onset + length)[order], pitched.pitch[order].astype(np.int64)
    # Each pitch on a time line of its own, so that one running maximum serves all.
    lane = pitch * (end.max() + 1)
    reach = np.maximum.accumulate(lane + end)
    begins = np.append(True, (lane + onset)[1:] > reach[:-1] + 1e-9)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(onset)) - 1
    onset, end, pitch = onset[first], (reach - lane)[last], pitch[first]
    order = np.lexsort((pitch, onset))
    return onset[order], end[order], pitch[order]


def find_key(seconds: Array) -> tuple[int, str]:
    """The key of a distribution of pitch classes [12]: tonic and mode, by correlation.

    Example:
        >>> import numpy as np
        >>> seconds = np.zeros(12)
        >>> seconds[[7, 9, 11, 0, 2, 4, 6]] = [4, 1, 2, 1, 3, 1, 1]  # G major
        >>> find_key(seconds)
        (7, 'major')
    """
    best: list[tuple[float, int, str]] = []
    for mode, weights in (("major", MAJOR), ("minor", MINOR)):
        for tonic in range(12):
            profile = np.roll(weights, tonic) - np.mean(weights)
            centred = seconds - seconds.mean()
            scale = np.sqrt((profile @ profile) * (centred @ centred))
            best.append((float(profile @ centred / scale) if scale > 0 else 0.0, tonic, mode))
    # To the tenth digit, so that the order of a sum decides no tie.
    return max(((round(c, 10), tonic, mode) for c, tonic, mode in best))[1:]


def chords(table: NoteTable) -> tuple[list[tuple[int, ...]], tuple[int, str]]:
    """Per bar the pitches that sound longest (at most four), and the key of the whole.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> table = plain_table(np.zeros(3, int), np.full(3, 1920), np.array([60, 64, 67]))
        >>> chords(table)
        ([(60, 64, 67)], (0, 'major'))
    """
    onset, end, pitch = spans(table)
    if not len(onset):
        return [], (0, "major")
    quarter = table.ticks_per_quarter
    length = bars.bar_ticks(table.signatures, quarter) / quarter
    late = -table.upbeat / quarter % length
    onset, end = onset + late, end + late
    weights = np.bincount(pitch % 12, weights=end - onset, minlength=12).astype(np.float64)
    sums: list[dict[int, float]] = [{} for _ in range(int(np.ceil(end.max() / length - 1e-9)))]
    starts: list[dict[int, float]] = [{} for _ in sums]
    for a, b, p in zip(onset.tolist(), end.tolist(), pitch.tolist(), strict=True):
        for bar in range(int(a / length + 1e-9), int(np.ceil(b / length - 1e-9))):
            low, high = max(a, bar * length), min(b, (bar + 1) * length)
            sums[bar][p] = sums[bar].get(p, 0.0) + high - low
            starts[bar].setdefault(p, low)
    return [_longest(*pair) for pair in zip(sums, starts, strict=True)], find_key(weights)


def _longest(length: dict[int, float], start: dict[int, float]) -> tuple[int, ...]:
    """The four longest, of equal ones the later: as Neuromusic's stable sort leaves them."""
    order = sorted(length, key=lambda p: (start[p], p))
    kept = sorted(order, key=lambda p: round(length[p], 6))[-KEPT:]
    return tuple(sorted(kept))


def words(table: NoteTable) -> list[str]:
    """The harmonic reduction of a clip: one word per bar; none without notes.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> at = np.repeat([0, 1920, 3840], 3)  # a bar each
        >>> pitches = np.array([60, 64, 67, 67, 71, 74, 60, 64, 67])
        >>> words(plain_table(at, np.full(9, 1920), pitches))
        ['I53', 'V53', 'I53']
    """
    found, (tonic, mode) = chords(table)
    return [numeral(chord, tonic, mode) if chord else EMPTY for chord in found]


@functools.lru_cache(maxsize=100_000)
def numeral(pitches: tuple[int, ...], tonic: int, mode: str) -> str:
    """The Roman numeral of a chord of MIDI pitches in a key, by music21."""
    from music21 import chord, pitch, roman

    # Not by one name: in the lowest octave, -1, the sign would be read as a flat.
    notes = [pitch.Pitch(NAMES[p % 12], octave=p // 12 - 1) for p in pitches]
    return simplified(roman.romanNumeralFromChord(chord.Chord(notes), _key(tonic, mode)))


@functools.cache
def _key(tonic: int, mode: str) -> Any:
    from music21 import key

    return key.Key(_tonic_name(tonic, mode), mode)


def _tonic_name(tonic: int, mode: str) -> str:
    """As music21's key analysis spells it: G# major does not exist there, so it is A-."""
    return "A-" if (tonic, mode) == (8, "major") else NAMES[tonic]


def simplified(figure: Any) -> str:
    """A word of a music21 RomanNumeral, by Neuromusic's rule."""
    name = str(figure.romanNumeral)
    inversion = figure.inversion()
    seventh = figure.seventh is not None or figure.isSeventh()
    if (figure.isTriad() and inversion < 3) or (inversion < 4 and seventh):
        found = figure.inversionName()
        if found is not None:
            return name + str(found)
    if figure.isDominantSeventh():
        return name + "M7"
    if figure.isDiminishedSeventh():
        return name + "o7"
    return name


def words_by_music21(path: Path) -> list[str]:
    """The harmonic reduction of a file by music21 alone, as Neuromusic has it: takes seconds."""
    from music21 import chord, midi, roman, stream

    file = midi.MidiFile()
    file.open(path)
    file.read()
    file.close()
    for track in file.tracks:
        track.events = [event for event in track.events if event.channel != 10]
    chordified = midi.translate.midiFileToStream(file).chordify()
    score = stream.Score()
    score.insert(0, chordified)
    key = score.analyze("key")
    found = []
    for measure in chordified.measures(0, None):
        if type(measure) is not stream.Measure:
            continue
        lengths: dict[str, float] = {}
        for sounding in measure.recurse().getElementsByClass("Chord"):
            for pitch in sounding.pitches:
                lengths[str(pitch)] = lengths.get(str(pitch), 0) + sounding.quarterLength
        kept = [name for name, _ in sorted(lengths.items(), key=lambda x: x[1])[-KEPT:]]
        if kept:
            found.append(simplified(roman.romanNumeralFromChord(chord.Chord(kept), key)))
        else:
            found.append(EMPTY)
    return found


def mean_vector(found: Sequence[str], vectors: dict[str, Array]) -> tuple[Array | None, int]:
    """The mean of the words' vectors [d], and how many words have none; None where all have none.

    One unknown word cost Neuromusic the whole pair.

    Example:
        >>> import numpy as np
        >>> vectors = {"I": np.array([1.0, 0.0]), "V": np.array([0.0, 1.0])}
        >>> mean_vector(["I", "V", "xii"], vectors)
        (array([0.5, 0.5]), 1)
    """
    known = [vectors[word] for word in found if word in vectors]
    return (np.mean(known, 0) if known else None), len(found) - len(known)


def similarity(first: Array | None, second: Array | None) -> float:
    """Cosine of two mean vectors; NaN where there is none.

    Example:
        >>> import numpy as np
        >>> similarity(np.array([0.0, 1.0]), np.array([0.0, 2.0])), similarity(None, np.ones(2))
        (1.0, nan)
    """
    if first is None or second is None:
        return float("nan")
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / scale if scale else float("nan")
