"""What each figure of notes hears: the ladder of corruptions on real music, by notes.

    python benchmarks/bench_notes_ladder.py                  chorales of music21, clips of 8 s
    python benchmarks/bench_notes_ladder.py FOLDER SECONDS   a folder of MIDI, say POP909

Nothing is rendered; all of it takes a minute. $ETUDE_POP909 may name the folder of POP909 (Wang et
al., ISMIR 2020), for the tests to measure that as well. A third of the pieces stand for the
training split (whose changes of chord are known), a third are the reference, a third are corrupted.
Form is of whole pieces, of their first 16 bars.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

if __name__ == "__main__":  # pytest has these folders on its path
    home = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(home), str(home / "tests")]

import ladder
from bench_ladder import chorales
from ladder import Excerpt
from notes_ladder import (
    FORM,
    FRECHET,
    ROWS,
    FormEar,
    Heard,
    NotesEar,
    clips_of,
    form_of,
    known_changes,
    measure,
    orders,
)

from etude.metrics.notes.counterpoint import UNITS

pytestmark = pytest.mark.proof

SECONDS, SHORT, SONGS = 8.0, 2.0, 16.0  # clips of chorales, short ones, clips of pop songs
PIECES = 240  # at the most
DECIDING = (*UNITS, FRECHET)
FIGURES = (*DECIDING, "scale_consistency", "pitch_class_entropy", "polyphony")
# Issue 14: controls are neither punished nor rewarded beyond the floor (draws share a pool).
PUNISHED = 0.25
HEARD = 0.9
COMMAND = "pytest benchmarks/bench_notes_ladder.py -m proof"
FORM_SIZES = (32, 64)


def thirds(source: Path) -> tuple[dict[str, ladder.Notes], list[list[str]]]:
    """Some pieces, and their names in three parts."""
    paths = sorted(source.rglob("*.mid"))
    order = np.random.default_rng(0).permutation(len(paths))[:PIECES]
    pieces = {paths[i].stem: ladder.read(paths[i]) for i in order}
    names, third = list(pieces), len(pieces) // 3
    return pieces, [names[:third], names[third : 2 * third], names[2 * third :]]


def form(source: Path) -> list[str]:
    """What the figures of form hear, as Markdown."""
    from record import table

    pieces, (_, held, made) = thirds(source)
    reference, chosen = (
        [Excerpt(name, pieces[name], 0.0, SECONDS) for name in names] for names in (held, made)
    )
    real = form_of(clips_of(chosen))
    ears = [FormEar(form_of(clips_of(reference)), real, n) for n in FORM_SIZES]
    cells = []
    for row in ("", *ROWS):
        found = form_of(clips_of(chosen, row))
        powers = [ear.power(found) for ear in ears]
        means = dict(zip(FORM, np.nanmean(found, axis=0), strict=True))
        said = [
            f"{means[name]:.3f} ({', '.join(f'{power[name]:.2f}' for power in powers)})"
            for name in FORM
        ]
        cells.append([row or "real", *said])
    return table(["", *(name.replace("_", " ") for name in FORM)], cells)


def listen(source: Path, seconds: float) -> dict[str, Heard]:
    """What is heard of every row, and of real music."""
    pieces, (train, held, made) = thirds(source)
    known = known_changes([pieces[name] for name in train])
    reference = ladder.excerpts({k: pieces[k] for k in held}, 2, seconds, 1)
    chosen = ladder.excerpts({k: pieces[k] for k in made}, 2, seconds, 2)
    real = measure(clips_of(chosen), known)
    ear = NotesEar(measure(clips_of(reference), known), real)
    return {
        "real": ear.hear(real),
        **{row: ear.hear(measure(clips_of(chosen, row), known)) for row in ROWS},
    }


def lines(heard: dict[str, Heard]) -> list[str]:
    """The tables as Markdown."""
    from record import table

    names = [name.replace("_", " ") for name in FIGURES]
    cells = [[row, *(_cell(found, figure) for figure in FIGURES)] for row, found in heard.items()]
    ranks = {figure: orders(heard, figure) for figure in FIGURES}
    doses = list(ranks[FIGURES[0]])
    return [
        "Mean (power at n = 32, 64).",
        "",
        *table(["", *names], cells),
        "",
        "Rank correlation of the distance to real music with the dose.",
        "",
        *table(["", *names], [[k, *(f"{ranks[f][k]:.1f}" for f in FIGURES)] for k in doses]),
    ]


def powers(heard: dict[str, Heard], names: tuple[str, ...] = DECIDING) -> list[str]:
    """Power at n = 64 of every row, and the means of real music."""
    from record import table

    real = [_number(heard["real"].value[name]) for name in names]
    rows = [[row, *(_number(heard[row].power[64][name]) for name in names)] for row in ROWS]
    return table(["", *(n.replace("_", " ") for n in names)], [["real, mean", *real], *rows])


def _number(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.2f}"


def told(heard: dict[str, Heard], figure: str) -> set[str]:
    """The damages that a figure tells from real music, n = 64."""
    return {
        row
        for row, (rungs, _) in ROWS.items()
        if rungs.role == "damage" and heard[row].power[64][figure] >= HEARD
    }


def beside(heard: dict[str, Heard], other: dict[str, Heard]) -> list[str]:
    """Of each figure the damages that it hears in one corpus and not in the other."""
    from record import table

    rows: list[list[object]] = []
    for figure in DECIDING:
        here, there = told(heard, figure), told(other, figure)
        alone = [", ".join(r for r in ROWS if r in some) for some in (here - there, there - here)]
        cells = [len(here), len(there), *(said or "none" for said in alone)]
        rows.append([figure.replace("_", " "), *cells])
    return table(["", "chorales", "POP909", "in chorales alone", "in POP909 alone"], rows)


def best(heard: dict[str, Heard], row: str) -> float:
    """The highest power that a deciding figure has of a row, n = 64."""
    return float(np.nanmax([heard[row].power[64][figure] for figure in DECIDING]))


def _cell(found: Heard, figure: str) -> str:
    powers = (f"{found.power[n][figure]:.2f}" for n in (32, 64))
    return f"{found.value[figure]:.2f} ({', '.join(powers)})".replace("nan (nan, nan)", "n/a")


@pytest.fixture(scope="module")
def heard() -> dict[str, Heard]:
    return listen(chorales(), SECONDS)


def test_what_the_figures_of_form_hear():
    from record import record

    record("Form by notes, of whole pieces", COMMAND, form(chorales()))


def test_what_the_figures_of_notes_hear(heard):
    from record import fill

    fill("ladder by notes", lines(heard))
    for row, (rungs, _) in ROWS.items():
        if rungs.role == "damage":
            assert best(heard, row) >= HEARD, row
        else:
            assert best(heard, row) <= PUNISHED, row


def test_what_they_hear_of_two_seconds():
    from record import fill

    short = listen(chorales(), SHORT)
    fill("ladder by notes, short clips", powers(short))
    for row, (rungs, _) in ROWS.items():
        if rungs.role == "control":
            assert best(short, row) <= PUNISHED, row


@pytest.mark.skipif("ETUDE_POP909" not in os.environ, reason="$ETUDE_POP909 names no folder")
def test_what_they_hear_of_another_corpus(heard):
    from record import fill

    songs = listen(Path(os.environ["ETUDE_POP909"]), SONGS)
    fill("ladder by notes, POP909", [*powers(songs, FIGURES), "", *beside(heard, songs)])
    for row, (rungs, _) in ROWS.items():
        if rungs.role == "damage":
            assert best(songs, row) >= HEARD, row


if __name__ == "__main__":
    began = time.perf_counter()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else chorales()
    length = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    print("\n".join([*lines(listen(folder, length)), "", *form(folder)]))
    print(f"\n{time.perf_counter() - began:.0f} s", file=sys.stderr)
