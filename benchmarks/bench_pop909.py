"""Real music's own figures on POP909, beside those that PhraseLDM's authors have measured.

    python benchmarks/bench_pop909.py FOLDER
    ETUDE_POP909=FOLDER pytest benchmarks/bench_pop909.py -m proof

FOLDER holds a folder of each song with its MIDI and beat_midi.txt (https://github.com/music-x-lab/
POP909-Dataset); it is not part of Étude, and without it the benchmark is skipped. Notes are brought
to four places a beat, as theirs are; bars of four beats. What needs their trained weights, the
Fréchet distances of their latents, is not measured here.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

if __name__ == "__main__":  # pytest has these folders on its path
    home = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(home), str(home / "tests")]

from record import record, table

from etude.metrics.memorisation.bar_runs import BarRuns
from etude.metrics.memorisation.melody import NEW, Melodies
from etude.metrics.notes.recurrence import evaluate, piano_roll, similarity_matrix
from etude.metrics.notes.whole_bars import whole_bars
from etude.midi.beats import on_beats, read_beats
from etude.midi.keys import find_key
from etude.midi.notes import NoteTable, read_midi

pytestmark = pytest.mark.proof

VARIABLE = "ETUDE_POP909"
COMMAND = f"{VARIABLE}=FOLDER pytest benchmarks/bench_pop909.py -m proof"
PLACES = 4  # of a beat
GROUP, GROUPS = 20, 5  # songs that are compared with all others, as theirs were; and how often
PADDED = 128  # bars of the latents over which the original's figures of 20 songs were taken
HELD_OUT, BARS = 100, 16  # songs, and bars of an excerpt, for the control of the two rungs
# Theirs, of 857 songs (bars), of 10 (bright) and of 20 (the others).
THEIRS = {
    "median": 79, "p95": 127, "most": 196, "bright": 0.153, "recurrence": 0.445,
    "similarity": 0.431, "top_two": 0.937, "new": 0.95,
}  # fmt: skip


@dataclass(frozen=True)
class Song:
    """Notes on beats, in C major or A minor; `melody` are those of the track of that name."""

    name: str
    notes: NoteTable
    melody: NoteTable


def read_songs(folder: Path) -> list[Song]:
    """All songs that have both files, by name."""
    found = []
    for path in sorted(folder.glob("*/*.mid")):
        beats = path.with_name("beat_midi.txt")
        if path.stem == path.parent.name and beats.is_file():
            notes, _ = on_beats(read_midi(path), read_beats(beats.read_text()), PLACES)
            shift = find_key(notes, "integer").shift
            notes = replace(notes, pitch=(notes.pitch + shift).astype(np.int16))
            found.append(Song(path.stem, notes, notes.at(notes.track == 0)))
    return found


# ------------------------------------------------------------------------------------------- form


def form(songs: list[Song]) -> tuple[list[list[object]], list[int]]:
    """Rows of recurrence: of all bars and the first ones, real and in random order; bars a song."""
    random, counts = np.random.default_rng(0), []
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for song in songs:
        bars = whole_bars(song.notes, 0.0, song.notes.seconds + 9)
        counts.append(bars.count)
        roll = piano_roll(bars)
        for most in (None, 64, 32, 16):
            part = roll[:most]
            for order, some in (("real", part), ("shuffled", part[random.permutation(len(part))])):
                figures = evaluate(similarity_matrix(some))
                figures["padded"] = figures["section_recurrence"] * len(some) / PADDED
                found.setdefault((f"first {most}" if most else "all", order), []).append(figures)
    names = ("bar_similarity", "bright_ratio", "section_recurrence", "padded")
    rows = [
        [*key, *(_mean([one[name] for one in some]) for name in names)]
        for key, some in found.items()
    ]
    return rows, counts


def _mean(values: list[float]) -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.3f} ± {1.96 * error:.3f}"


# ----------------------------------------------------------------------------------------- melody


def words_of(song: Song) -> list[int]:
    """The words of a song's melody as REMI-z writes them: i-, o-, p-, d-, and b-1 for each bar."""
    at = song.melody.places()
    twelfth = song.melody.ticks_per_quarter // 12
    place = 4 * 12 * at.offset // at.length
    length = (song.melody.duration // twelfth).clip(1, 127)
    words: list[int] = []
    for bar in range(int(song.notes.places().bar.max()) + 1):
        inside = np.flatnonzero(at.bar == bar)
        before = -1
        words += [10_000] * bool(len(inside))
        for note in inside[np.lexsort((-song.melody.pitch[inside], place[inside]))]:
            if place[note] != before:
                words.append(1000 + int(place[note]))
                before = place[note]
            words += [2000 + int(song.melody.pitch[note]), 3000 + int(length[note])]
        words.append(20_000)
    return words


def edits(one: list[int], other: list[int]) -> int:
    """Levenshtein's distance, a column in a few operations on one long number (Hyyrö 2003)."""
    places: dict[int, int] = {}
    for i, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << i
    full, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    up, down, distance = full, 0, len(one)
    for word in other:
        same = places.get(word, 0)
        diagonal = (((same & up) + up) ^ up) | same | down
        right_up, right_down = down | ~(diagonal | up), up & diagonal
        distance += bool(right_up & last) - bool(right_down & last)
        right_up, right_down = right_up << 1 | 1, right_down << 1
        up = (right_down | ~(diagonal | right_up)) & full
        down = right_up & diagonal & full
    return distance


def nearest_two(song: list[int], others: list[list[int]]) -> tuple[float, float, int]:
    """Least and second least word error rate to others, and which is the nearest."""
    rates: list[tuple[float, int]] = []
    apart = [abs(len(song) - len(other)) / len(other) for other in others]
    for i in np.argsort(apart, kind="stable").tolist():
        if len(rates) > 1 and apart[i] >= rates[1][0]:
            break  # words that are too many or too few are errors already
        rates = sorted([*rates, (edits(others[i], song) / len(others[i]), i)])[:2]
    return rates[0][0], rates[1][0], rates[0][1]


def as_phraseldm(songs: list[Song]) -> tuple[list[list[object]], list[str]]:
    """Its three figures of groups of 20 songs against all others, and near duplicates."""
    words = [words_of(song) for song in songs]
    order = np.random.default_rng(0).permutation(len(songs))
    rows: list[list[object]] = []
    duplicates = []
    for group in range(GROUPS):
        chosen = order[group * GROUP : (group + 1) * GROUP]
        rest = [i for i in range(len(songs)) if i not in chosen]
        found = [nearest_two(words[i], [words[k] for k in rest]) for i in chosen]
        least, second = (np.array([one[k] for one in found]) for k in (0, 1))
        ratio = np.divide(least, second, out=np.zeros(GROUP), where=second > 0)
        rows.append(
            [f"group {group + 1}", *(f"{np.mean(x):.3f}" for x in (1 - least, ratio, ratio > NEW))]
        )
        duplicates += [
            f"{songs[i].name} of {songs[rest[one[2]]].name}: {1 - one[0]:.3f}, ratio {r:.3f}"
            for i, one, r in zip(chosen, found, ratio, strict=True)
            if r <= NEW
        ]
    every = [f"{np.mean([float(row[k]) for row in rows]):.3f}" for k in (1, 2, 3)]
    return [*rows, [f"mean of {GROUPS * GROUP} songs", *every]], duplicates


def control(songs: list[Song]) -> list[list[object]]:
    """The two rungs' own control: excerpts of held-out songs against the others, and copies."""
    order = np.random.default_rng(1).permutation(len(songs))
    held, known = ([songs[i].notes for i in part] for part in (order[:HELD_OUT], order[HELD_OUT:]))
    melodies, bars = Melodies(known), BarRuns(known)
    rows: list[list[object]] = []
    for name, some in (("held out", held), ("training (copies)", known[:HELD_OUT])):
        parts = [_excerpt(notes, i) for i, notes in enumerate(some)]
        tunes = [one for part in parts if (one := melodies.search(part))]
        runs = [float(one.length) for part in parts if (one := bars.search(part))]
        similarity = np.array([one.similarity for one in tunes])
        ratio = np.array([one.top_two for one in tunes])
        usual, longest = (f"{np.quantile(runs, q, method='higher'):.0f}" for q in (0.99, 1))
        cells = (
            similarity.mean(),
            np.quantile(similarity, 0.99),
            ratio.mean(),
            (ratio > NEW).mean(),
        )
        said = [f"{x:.3f}" for x in (*cells, np.mean(runs))]
        rows.append([name, len(parts), *said, usual, longest])
    return rows


def _excerpt(notes: NoteTable, seed: int) -> NoteTable:
    """BARS bars somewhere in a song."""
    bar = notes.places().bar
    room = max(int(bar.max()) - BARS, 0)
    first = int(np.random.default_rng([seed, 3]).integers(0, room + 1))
    return notes.at((bar >= first) & (bar < first + BARS))


# ------------------------------------------------------------------------------------------ report


def lines(folder: Path) -> list[str]:
    """The tables as Markdown."""
    songs = read_songs(folder)
    forms, counts = form(songs)
    melody, duplicates = as_phraseldm(songs)
    ours = (f"{np.median(counts):.0f}", f"{np.percentile(counts, 95):.0f}", max(counts))
    recurrence = (
        f"Form, by piano rolls (theirs by latents: recurrence {THEIRS['recurrence']}, bright ratio "
        f"{THEIRS['bright']}). Their recurrence is of latents padded to {PADDED} bars and divided "
        "by as many: the last column."
    )
    rungs = f"The rungs `melody` and `bars`: {BARS} bars against {len(songs) - HELD_OUT} songs."
    return [
        f"{len(songs)} songs. Theirs is of 857; it needs their weights where it is of latents.",
        "",
        *table(
            ["bars a song", "median", "95 %", "most"],
            [["here", *ours], ["theirs", THEIRS["median"], THEIRS["p95"], THEIRS["most"]]],
        ),
        "",
        recurrence,
        "",
        *table(
            ["bars", "order", "bar similarity", "bright ratio", "section recurrence", "over 128"],
            forms,
        ),
        "",
        "Melody as PhraseLDM measures it: words of REMI-z, whole songs, over the other's words.",
        "",
        *table(
            ["20 songs against all others", "1 - least rate", "top two", "new"],
            [*melody, ["theirs", THEIRS["similarity"], THEIRS["top_two"], THEIRS["new"]]],
        ),
        "",
        f"Songs that are not new by their rule: {'; '.join(duplicates) or 'none'}.",
        "",
        rungs,
        "",
        *table(
            ["of", "n", "similarity", "99 %", "top two", "new", "mean run", "99 %", "longest"],
            control(songs),
        ),
    ]


def test_real_musics_own_figures():
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} names no folder of POP909")
    record("POP909: real music's own figures", COMMAND, lines(Path(os.environ[VARIABLE])))


if __name__ == "__main__":
    began = time.perf_counter()
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get(VARIABLE)
    if not given:
        sys.exit(f"name the folder of POP909: python {sys.argv[0]} FOLDER, or {VARIABLE}=FOLDER")
    print("\n".join(lines(Path(given))))
    print(f"\n{time.perf_counter() - began:.0f} s", file=sys.stderr)
