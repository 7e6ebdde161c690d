"""What each figure of notes hears: the ladder of corruptions on real music, by notes.

    python benchmarks/bench_notes_ladder.py                  chorales of music21, clips of 8 s
    python benchmarks/bench_notes_ladder.py FOLDER SECONDS   a folder of MIDI, say POP909

Nothing is rendered; all of it takes a minute. A third of the pieces stand for the training
split (whose changes of chord are known), a third are the reference, a third are corrupted. Form is
of whole pieces, of their first 16 bars.
"""

from __future__ import annotations

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

COMMAND = "pytest benchmarks/bench_notes_ladder.py -m proof"
SECONDS = 8.0
PIECES = 240  # at the most
DECIDING = (*UNITS, FRECHET)
FIGURES = (*DECIDING, "scale_consistency", "pitch_class_entropy", "polyphony")
# Issue 14: controls are neither punished nor rewarded beyond the floor (draws share a pool).
PUNISHED = 0.25
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


def _cell(found: Heard, figure: str) -> str:
    powers = (f"{found.power[n][figure]:.2f}" for n in (32, 64))
    return f"{found.value[figure]:.2f} ({', '.join(powers)})".replace("nan (nan, nan)", "n/a")


def test_what_the_figures_of_notes_hear():
    from record import record

    heard = listen(chorales(), SECONDS)
    told = [*lines(heard), "", "Form, of whole pieces: mean (power at n = 32, 64).", ""]
    record("The ladder of corruptions, by notes", COMMAND, [*told, *form(chorales())])
    for row, (rungs, _) in ROWS.items():
        power = np.array([heard[row].power[64][figure] for figure in DECIDING])
        if rungs.role == "damage":
            assert np.nanmax(power) >= 0.9, row
        else:
            assert np.nanmax(power) <= PUNISHED, row


if __name__ == "__main__":
    began = time.perf_counter()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else chorales()
    length = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    print("\n".join([*lines(listen(folder, length)), "", *form(folder)]))
    print(f"\n{time.perf_counter() - began:.0f} s", file=sys.stderr)
