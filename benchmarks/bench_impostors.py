"""The gate against impostors: 64 clips of what is no model, of music21's chorales.

    python benchmarks/bench_impostors.py

Chorales, audio and the catalogue of copies are kept in $ETUDE_LADDER, as bench_ladder's.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":  # pytest has these folders on its path
    home = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(home), str(home / "tests")]

from bench_ladder import KEPT, chorales
from impostors import EMBEDDED, GATES, NAMES, REAL, Corpus, Court, Found, reasons

from etude.results.rates import COPIED
from etude.results.table import Table

pytestmark = pytest.mark.proof

COMMAND = "pytest benchmarks/bench_impostors.py -m proof"
LIMIT = 160  # chorales, as in the default configuration
# What the gate lets through: named in docs/metrics.md, "The gate".
LET_THROUGH = {
    "audio": ("grains", "held-out bars shuffled"),
    "notes": ("grains", "held-out bars shuffled"),
    "time": ("held-out bars shuffled",),
}


def verdicts() -> dict[str, tuple[Table, Found]]:
    """What became of each set."""
    corpus = Corpus(chorales(), KEPT / "impostors" / "corpus", LIMIT)
    clips = KEPT / "impostors" / "clips"
    shutil.rmtree(clips, ignore_errors=True)
    return Court(corpus, clips).try_all()


def lines(found: dict[str, tuple[Table, Found]]) -> list[str]:
    """The table as Markdown."""
    from record import table

    rows: list[list[object]] = []
    for name in NAMES:
        tables, by_gate = found[name]
        kads = [tables.value("generated", "kad", embedding) for embedding in EMBEDDED]
        searches = ("fingerprint", "waveform", "chroma")
        copied = [tables.value("generated", COPIED + search) for search in searches]
        rows.append([
            name,
            *(f"{kad:.2f}" for kad in kads),
            " / ".join(f"{share:.0%}" for share in copied),
            *(by_gate[gate].word for gate in GATES),
            reasons(by_gate["time"]) or "nothing against it",
        ])  # fmt: skip
    head = [f"KAD {name}" for name in EMBEDDED]
    said = (
        "Gates: audio (rivals random_notes, spectrum_noise), notes (ngram and one_chord besides), "
        "time (as notes, `time` gated too). "
        "Copies by fingerprint / waveform / chroma."
    )
    return [
        said,
        "",
        *table(["in the place of `generated`", *head, "copies", *GATES, "why (time)"], rows),
    ]


def test_only_known_impostors_hold_the_gate():
    from record import record

    found = verdicts()
    record("The gate against impostors", COMMAND, lines(found))
    for gate, known in LET_THROUGH.items():
        words = {name: by_gate[gate].word for name, (_, by_gate) in found.items()}
        assert words.pop(REAL) != "fails"
        assert {name for name, word in words.items() if word == "holds"} <= {*known}, gate


if __name__ == "__main__":
    print("\n".join(lines(verdicts())))
