"""The gate judges what is no model: real clips, real arithmetic, small sets."""

from __future__ import annotations

import numpy as np
import pytest
from impostors import REAL, Corpus, Court

from etude.config import Memorisation
from etude.metrics.memorisation import null
from etude.midi.writing import plain_table, write_midi
from etude.storage import write_csv
from tests.unit.test_ladder import chorale

pytestmark = pytest.mark.slow

CLIPS, PIECES, TICKS_A_SECOND = 24, 36, 960


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    """Chorales made by code, each a tune of its own."""
    folder = tmp_path_factory.mktemp("impostors")
    source, rows = folder / "source", []
    source.mkdir()
    for number in range(PIECES):
        notes = chorale(number, bars=8)
        start, length = (
            np.round(t * TICKS_A_SECOND) for t in (notes.onset, notes.end - notes.onset)
        )
        table = plain_table(start, length, notes.pitch, velocity=80, track=notes.voice)
        write_midi(table, source / f"{number}.mid")
        rows.append({"path": f"{number}.mid", "tune": str(number)})
    write_csv(source / "metadata.csv", ["path", "tune"], rows)
    limits = {"gate_clips": CLIPS, "gate_silent": 0.1, "gate_copied": 0.1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(null, "MIN_CLIPS", 40)
        patch.setattr(null, "MIN_PIECES", 8)
        memorisation = Memorisation(null_clips=80)
        yield Court(Corpus(source, folder / "made"), folder / "clips", CLIPS, memorisation, limits)


# As 64 clips of real music are judged: benchmarks/bench_impostors.py, docs/metrics.md.
PINNED = {  # by gate: audio, notes, time
    REAL: ("holds", "holds", "holds"),
    "random_notes": ("undecided", "undecided", "undecided"),
    "copies": ("fails", "fails", "fails"),
    # Of real chorales the search for harmonies finds enough backwards; these are all too alike.
    "reversed": ("holds", "holds", "fails"),
}


def test_what_becomes_of_impostors(court):
    found = {
        name: tuple(v.word for v in by_gate.values())
        for name, (_, by_gate) in court.try_all(tuple(PINNED)).items()
    }
    assert found == PINNED
