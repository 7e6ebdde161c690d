"""Harmony and voices of a clip, in one number each: what tells music from shuffled music.

Each figure is the mean over a clip's beats (etude.metrics.notes.beats) or over its ends of phrases.
None has a good side: real music has a value, and what is nearer to it is better, so score.py gives
the difference to the held-out music beside each.

    chord_share      of the beats with three pitch classes or more, the share whose classes are a
                     triad (major, minor, diminished, augmented) or a seventh chord (dominant,
                     major, minor, half and fully diminished, minor with major seventh), inverted
                     or not; a seventh chord may lack its fifth. The vocabulary is that of harmony
                     textbooks (Aldwell and Schachter, Harmony and Voice Leading).
    dissonance       mean over pairs of sounding pitches of the interval class's dissonance: Huron's
                     consonance (Interval-class content in equally tempered pitch-class sets, Music
                     Perception 11, 1994) with the sign turned. Unisons and octaves are no pair.
    known_changes    of the changes of chord from a beat to the next, the share that the training
                     split has, in any transposition. A chord is the set of its pitch classes, so
                     that the change is of sets (Tymoczko, A Geometry of Music, 2011, for changes of
                     chord free of transposition).
    voices           pitches sounding at a beat, over the beats at which any is.
    voice_crossing   share of the beats with two tracks or more at which a track is below one that
                     is lower than it on average; NaN where notes have no tracks, since voices that
                     are numbered from the top never cross.
    bar_leap         semitones that the highest and the lowest note move over a bar line, less what
                     they move from beat to beat within a bar (shuffled bars do not join).
    cadences         ends of phrases that come to rest, per 16 beats: chords that last two beats or
                     more, or are followed by a rest, and are a triad in root position.
    self_similarity  Jaccard similarity of the pitch-class sets of beats one, two and four bars
                     apart: the self-similarity matrix of Foote (ACM Multimedia 1999) at bars.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes.beats import ClipBeats
from etude.midi.notes import NoteTable

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

UNITS = {
    "chord_share": "share", "dissonance": "sd", "known_changes": "share",
    "voices": "pitches", "voice_crossing": "share", "bar_leap": "semitones",
    "cadences": "per 16 beats", "self_similarity": "similarity",
}  # fmt: skip
TRIADS = ((0, 4, 7), (0, 3, 7), (0, 3, 6), (0, 4, 8))
SEVENTHS = (
    (0, 4, 7, 10), (0, 4, 7, 11), (0, 3, 7, 10), (0, 3, 6, 10), (0, 3, 6, 9), (0, 3, 7, 11),
    (0, 4, 10), (0, 4, 11), (0, 3, 10),
)  # fmt: skip
# Huron 1994: mean of three studies' consonance of the interval classes 1 to 6, standardised.
CONSONANCE = np.array([-1.428, -0.582, 0.594, 0.386, 1.240, -0.453])
BAR = 4  # beats
REST_BEATS = 2 - 1 / 8  # a chord of two beats is an end, and a performed one may be short
PER = 16  # beats


def _in_all_keys(chords: tuple[tuple[int, ...], ...]) -> NDArray[np.bool_]:
    """Whether each of the 4096 sets of pitch classes is one of some chords in some key."""
    found = np.zeros(4096, dtype=bool)
    for chord in chords:
        for root in range(12):
            found[sum(1 << (tone + root) % 12 for tone in chord)] = True
    return found


CHORDS = _in_all_keys(TRIADS + SEVENTHS)
SIZES = np.array([mask.bit_count() for mask in range(4096)])


def counterpoint(table: NoteTable, beats: ClipBeats) -> dict[str, float]:
    """All figures of a clip but `known_changes`, which needs the corpus; NaN where it has none.

    Args:
        table: the notes that sound in the clip, those included that began before.
        beats: of the same notes (`read_beats`).

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> chord = plain_table(np.zeros(4, int), np.full(4, 7680), np.array([48, 60, 64, 67]))
        >>> found = counterpoint(chord, read_beats(chord, 0.0, 8.0))
        >>> {name: found[name] for name in ("chord_share", "voices", "self_similarity")}
        {'chord_share': 1.0, 'voices': 4.0, 'self_similarity': 1.0}
    """
    return {
        "chord_share": chord_share(beats),
        "dissonance": dissonance(beats),
        "voices": voices(beats),
        "voice_crossing": voice_crossing(beats),
        "bar_leap": bar_leap(beats),
        "cadences": cadences(table, beats),
        "self_similarity": self_similarity(beats),
    }


def chord_share(beats: ClipBeats) -> float:
    """Share of the beats of three pitch classes or more that are a triad or a seventh chord.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> at = np.arange(4).repeat(3) * 480  # I, IV, V, I in C major
        >>> pitches = np.array([[60, 64, 67], [65, 69, 72], [67, 71, 74], [60, 64, 67]]).ravel()
        >>> beats = read_beats(plain_table(at, np.full(12, 480), pitches), 0.0, 2.0)
        >>> chord_share(beats)
        1.0
    """
    masks = beats.masks
    full = masks[SIZES[masks] > 2]
    return _mean(CHORDS.take(full))


def dissonance(beats: ClipBeats) -> float:
    """Mean dissonance of pairs of sounding pitches, by Huron: -1.24 (fifths) to 1.43 (seconds).

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> at = np.arange(4).repeat(3) * 480  # I, IV, V, I in C major
        >>> pitches = np.array([[60, 64, 67], [65, 69, 72], [67, 71, 74], [60, 64, 67]]).ravel()
        >>> beats = read_beats(plain_table(at, np.full(12, 480), pitches), 0.0, 2.0)
        >>> round(dissonance(beats), 3)  # thirds and fifths alone: consonant
        -0.74
    """
    classes = beats.classes.astype(np.float64)
    pairs = np.stack([(classes * np.roll(classes, -k, 1)).sum(1) for k in range(1, 7)], 1)
    pairs[:, 5] /= 2  # a tritone is met from either side
    total = pairs.sum(1)
    return _mean(-(pairs @ CONSONANCE)[total > 0] / total[total > 0])


def changes(beats: ClipBeats) -> Integers:
    """The changes of chord from each beat to the next, each a number that no transposition alters.

    Two sets of pitch classes as 24 bits, the least number of their twelve common transpositions.
    Beats without notes, and beats that keep the chord of the last, are none.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> at = np.arange(4).repeat(3) * 480  # I, IV, V, I in C major
        >>> pitches = np.array([[60, 64, 67], [65, 69, 72], [67, 71, 74], [60, 64, 67]]).ravel()
        >>> beats = read_beats(plain_table(at, np.full(12, 480), pitches), 0.0, 2.0)
        >>> len(changes(beats)), len(np.unique(changes(beats)))  # I to IV is as V to I
        (3, 2)
    """
    masks = beats.masks
    first, second = masks[:-1], masks[1:]
    kept = (first > 0) & (second > 0) & (first != second)
    return least_transposition(first[kept], second[kept])


def least_transposition(first: Integers, second: Integers) -> Integers:
    """Pairs of sets, turned so that they are the least number: int64 [n].

    Example:
        >>> import numpy as np
        >>> c, g, a = 1 << np.array([[0, 4, 7], [7, 11, 2], [9, 1, 4]])  # triads of C, G and A
        >>> first, second = (np.array([x.sum() for x in xs]) for xs in ([c, g, g], [g, a, c]))
        >>> np.unique(least_transposition(first, second)).size  # up a fifth, a tone, a fourth
        3
    """
    turn = np.arange(12)[:, None]

    def turned(mask: Integers) -> Integers:
        return (mask << turn | mask >> (12 - turn)) & 4095

    return (turned(first) << 12 | turned(second)).min(0, initial=1 << 24)


def voices(beats: ClipBeats) -> float:
    """Mean number of pitches at the beats that have any.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> at = np.arange(4).repeat(3) * 480  # I, IV, V, I in C major
        >>> pitches = np.array([[60, 64, 67], [65, 69, 72], [67, 71, 74], [60, 64, 67]]).ravel()
        >>> beats = read_beats(plain_table(at, np.full(12, 480), pitches), 0.0, 2.0)
        >>> voices(beats)
        3.0
    """
    sounding = beats.sounding.sum(1)
    return _mean(sounding[sounding > 0])


def voice_crossing(beats: ClipBeats) -> float:
    """Share of the beats with two tracks at which a higher track is below a lower one.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> at = np.arange(2).repeat(2) * 480  # two voices, which cross at the second beat
        >>> pitches, track = np.array([72, 60, 64, 67]), np.array([0, 1, 0, 1])
        >>> table = plain_table(at, np.full(4, 480), pitches, track=track)
        >>> voice_crossing(read_beats(table, 0.0, 1.0))
        0.5
    """
    there = beats.tracks >= 0
    mean = np.where(there, beats.tracks, 0).sum(0) / np.maximum(there.sum(0), 1)
    order = np.argsort(-mean, kind="stable")
    pitch, there = beats.tracks[:, order], there[:, order]
    # The lowest of the tracks above, at each track: a crossing is a track over that.
    above = np.minimum.accumulate(np.where(there, pitch, 128), axis=1)[:, :-1]
    crossed = np.any(there[:, 1:] & (pitch[:, 1:] > above), axis=1)
    return _mean(np.compress(there.sum(1) > 1, crossed))


def bar_leap(beats: ClipBeats) -> float:
    """Movement of the outer voices over bar lines less that within bars, in semitones.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> tune = np.array([60, 62, 64, 65, 77, 76, 74, 72])  # an octave between the bars
        >>> table = plain_table(np.arange(8) * 480, np.full(8, 480), tune)
        >>> round(bar_leap(read_beats(table, 0.0, 4.0)), 2)
        10.33
    """
    audible: NDArray[np.bool_] = np.any(beats.sounding, axis=1)
    top = 127 - beats.sounding[:, ::-1].argmax(1)
    moved = (np.abs(np.diff(top)) + np.abs(np.diff(beats.sounding.argmax(1)))) / 2
    joined = audible[1:] & audible[:-1]
    line = np.diff(beats.bar) > 0
    return _mean(moved[joined & line]) - _mean(moved[joined & ~line])


def cadences(table: NoteTable, beats: ClipBeats) -> float:
    """Rests on a triad in root position, per 16 beats.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> table = plain_table(np.zeros(3, int), np.full(3, 1920), np.array([60, 64, 67]))
        >>> cadences(table, read_beats(table, 0.0, 2.0))  # one in four beats
        4.0
    """
    if not len(beats):
        return float("nan")
    notes = table.without_drums()
    quarter = notes.ticks_per_quarter
    onset = np.unique(notes.onset)
    ends = notes.onset + notes.duration
    until = np.append(onset[1:], ends.max(initial=0))
    inside = (onset >= beats.number[0] * quarter) & (onset < (beats.number[-1] + 1) * quarter)
    held = onset[inside & (until - onset >= REST_BEATS * quarter)]
    there = (notes.onset <= held[:, None]) & (ends > held[:, None])
    masks = np.zeros((len(held), 12), dtype=bool)
    chord, note = np.nonzero(there)
    masks[chord, notes.pitch[note] % 12] = True
    bass = np.where(there, notes.pitch, 128).min(1, initial=128) % 12
    turned = masks[np.arange(len(held))[:, None], (np.arange(12) + bass[:, None]) % 12]
    mask = turned @ (1 << np.arange(12))
    resting = np.isin(mask, ROOT_POSITION)
    return float(resting.sum() * PER / len(beats))


# Over the bass: root and third, with or without the fifth.
ROOT_POSITION = np.array(
    [sum(1 << tone for tone in chord) for chord in ((0, 4, 7), (0, 3, 7), (0, 4), (0, 3))]
)


def self_similarity(beats: ClipBeats) -> float:
    """Similarity (0 to 1) of the pitch-class sets of beats one, two and four bars apart.

    All pairs count alike, so that a clip of a beat more, which has one pair four bars apart, is
    not another case.

    Example:
        >>> import numpy as np
        >>> from etude.midi.writing import plain_table
        >>> from etude.metrics.notes.beats import read_beats
        >>> tune = np.tile([60, 62, 64, 65], 8)  # the same bar eight times
        >>> table = plain_table(np.arange(32) * 480, np.full(32, 480), tune)
        >>> self_similarity(read_beats(table, 0.0, 16.0))
        1.0
    """
    masks = beats.masks
    pairs = [(masks[:-apart], masks[apart:]) for apart in (BAR, 2 * BAR, 4 * BAR)]
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    either, both = np.bitwise_or(first, second), np.bitwise_and(first, second)
    audible = either > 0
    return _mean(SIZES[both[audible]] / SIZES[either[audible]])


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
