"""What each metric hears: the ladder of corruptions on real music, with the goals beside it.

    python benchmarks/bench_ladder.py            chorales of music21, rendered as the default corpus
    python benchmarks/bench_ladder.py FOLDER     a folder of MIDI, say POP909

Waves and embeddings are kept in $ETUDE_LADDER (or a folder in /tmp), so that a second run takes
seconds; $ETUDE_LADDER_PIECES pieces are corrupted (96; at least 65, so that 64 clips of 8 s are a
draw), twice as many are the reference.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

if __name__ == "__main__":  # pytest has these folders on its path
    home = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(home), str(home / "tests")]

import ladder
from hearing import Ear, Rows, embed, holm

import etude.metrics
from etude.config import Music21Corpus
from etude.corpus.fetch import fetch

pytestmark = pytest.mark.proof

COMMAND = "pytest benchmarks/bench_ladder.py -m proof"
EMBEDDED = ("timbre", "harmony", "time", "progression", "form")
DECIDING = ("timbre", "harmony", "time")
SECONDS = 8.0
PIECES = int(os.environ.get("ETUDE_LADDER_PIECES", "96"))
KEPT = Path(os.environ.get("ETUDE_LADDER", Path(tempfile.gettempdir()) / "etude-ladder"))
# Issue 14: of the damages that 64 clips of 2 s must tell from real music; of the FD that another
# instrument of the family may have over real music's.
HEARD_SHARE, FAMILY = 0.97, 1.2
# What a change of each embedding's figures can come from.
MODULES = {
    "timbre": ("loudness", "logmel", "timbre"),
    "harmony": ("../audio/activations", "harmony"),
    "time": ("loudness", "logmel", "timbre", "timing"),
    "progression": ("../audio/activations", "harmony", "progression"),
    "form": ("loudness", "logmel", "timbre", "../audio/activations", "harmony", "form"),
}

Figures = dict[str, dict[str, float]]  # by row of the ladder


def chorales() -> Path:
    """All chorales of music21 as MIDI, exported once."""
    folder = KEPT / "chorales"
    if not folder.is_dir():
        KEPT.mkdir(parents=True, exist_ok=True)
        fetch(Music21Corpus(), folder, 1)
    return folder


class Pool:
    """Rendered excerpts of a folder of MIDI: a reference, the same number of real ones, damages."""

    def __init__(self, source: Path) -> None:
        self.folder = KEPT / f"{source.name}-{PIECES}"
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = sorted(source.rglob("*.mid"))
        order = np.random.default_rng(0).permutation(len(paths))
        chosen = [paths[i] for i in order[: 3 * PIECES]]
        pieces = {path.stem: ladder.read(path) for path in chosen}
        names = list(pieces)
        held, made = names[: 2 * PIECES], names[2 * PIECES :]
        self.reference = ladder.excerpts({k: pieces[k] for k in held}, 2, SECONDS, 1)
        self.real = ladder.excerpts({k: pieces[k] for k in made}, 1, SECONDS, 2)

    def waves(self, row: str) -> np.ndarray:
        """[excerpts, samples] of `reference`, `real` or a row of the ladder."""
        path = self.folder / f"{row}.npy"
        if not path.exists():
            np.save(path, np.stack(self._make(row)).astype(np.float32))
        return np.load(path, mmap_mode="r")

    def _make(self, row: str) -> list[np.ndarray]:
        if row in ("reference", "real"):
            chosen = getattr(self, row)
            return [ladder.play(e.notes, e.start, e.seconds) for e in chosen]
        rungs, dose = ROWS[row]
        return ladder.made(rungs, dose, self.real, list(self.waves("real")))

    def rows(self, embedding: str, row: str) -> Rows:
        """A row of the ladder in one embedding."""
        source = Path(etude.metrics.__file__).parent
        # Of the statements alone: what a module's docstring says changes no figure.
        trees = [ast.parse((source / f"{m}.py").read_text()).body[1:] for m in MODULES[embedding]]
        code = "".join(ast.dump(node) for tree in trees for node in tree)
        digest = hashlib.sha256(code.encode()).hexdigest()[:12]
        path = self.folder / f"{row}.{embedding}-{digest}.npz"
        pieces = [e.piece for e in (self.reference if row == "reference" else self.real)]
        if not path.exists():
            found = embed(embedding, self.waves(row), pieces, ladder.RATE)
            np.savez(path, table=found.table, clips=found.clips, pieces=np.array(found.pieces))
        with np.load(path) as kept:
            return Rows(kept["table"], kept["clips"], [str(p) for p in kept["pieces"]])

    def measure(self, embedding: str) -> Figures:
        """What one embedding hears of every row."""
        ear = Ear(embedding, self.rows(embedding, "reference"), self.rows(embedding, "real"))
        return {row: ear.hear(self.rows(embedding, row)) for row in ("real", *ROWS)}


ROWS = {rungs.label(dose): (rungs, dose) for rungs in ladder.LADDER for dose in rungs.doses}


def of_role(role: str) -> list[str]:
    return [row for row, (rungs, _) in ROWS.items() if rungs.role == role]


def powers(found: dict[str, Figures], row: str, n: int = 64) -> dict[str, float]:
    return {name: found[name][row][f"power {n}"] for name in DECIDING}


def orders(figures: Figures) -> dict[str, float]:
    """Spearman's correlation of KAD with the dose, of every corruption with three or more."""
    return {
        rungs.name: float(
            stats.spearmanr(
                range(len(rungs.doses)), [figures[rungs.label(d)]["kad"] for d in rungs.doses]
            ).statistic
        )
        for rungs in ladder.LADDER
        if len(rungs.doses) > 2
    }


def goals(found: dict[str, Figures]) -> list[list[str]]:
    """Each goal of the issue, and what is."""
    damages = of_role("damage")
    lines = []
    for half in ("fit", "held out", "all"):
        rows = [r for r in damages if half in ("all", ROWS[r][0].half)]
        heard = [r for r in rows if max(powers(found, r).values()) >= 0.9]
        missed = ", ".join(r for r in rows if r not in heard) or "none"
        share = len(heard) / len(rows)
        lines.append([f"damages ({half}) heard, n = 64", f">= {HEARD_SHARE:.0%}",
                      f"{share:.0%} of {len(rows)}; missed: {missed}"])  # fmt: skip
    for name in DECIDING:
        rewarded = holm({r: found[name][r]["reward p"] for r in damages})
        said = ", ".join(rewarded) or "none"
        lines.append([f"damages rewarded by {name} (Holm, 5 %)", "none", said])
    for row in ("bright piano", "electric grand"):
        ratio = found["harmony"][row]["fd"]
        lines.append([f"{row}: FD of harmony over real music's", f"<= {FAMILY}", f"{ratio:.2f}"])
    return lines


def lines(found: dict[str, Figures]) -> list[str]:
    """The tables as Markdown."""
    from record import table

    names = [name for name in EMBEDDED if name in found]
    cells = []
    for row in ("real", *ROWS):
        rungs = ROWS[row][0] if row in ROWS else None
        what = "" if rungs is None else rungs.half if rungs.role == "damage" else rungs.role
        figures = [found[name][row] for name in names]
        cells.append([row, what, *(
            f"{f['kad']:.2f} ({f['power 32']:.2f}, {f['power 64']:.2f}) {f['fd']:.1f}x".replace(
                "nan", "n/a"
            )
            for f in figures
        )])  # fmt: skip
    ranks = [orders(found[name]) for name in names]
    return [
        "KAD without pairs of one piece (power at n = 32, 64), Fréchet distance over real music's.",
        "",
        *table(["", "", *names], cells),
        "",
        "Rank correlation of KAD with the dose.",
        "",
        *table(["", *names], [[k, *(f"{r[k]:.1f}" for r in ranks)] for k in ranks[0]]),
        "",
        *table(["goal", "", "measured"], goals(found)),
    ]


def test_the_ladder():
    from record import record

    pool = Pool(chorales())
    found = {name: pool.measure(name) for name in EMBEDDED}
    record("The ladder of corruptions", COMMAND, lines(found))
    heard = {row for row in of_role("damage") if max(powers(found, row).values()) >= 0.9}
    assert set(of_role("damage")) - heard <= set(KNOWN_DEAF)
    for name in DECIDING:
        assert not holm({r: found[name][r]["reward p"] for r in of_role("damage")})


# Of timbre, harmony and time together: what docs/metrics.md says that they miss.
KNOWN_DEAF = ("wrong notes 0.05", "bars shuffled")


if __name__ == "__main__":
    pool = Pool(Path(sys.argv[1]) if len(sys.argv) > 1 else chorales())
    print("\n".join(lines({name: pool.measure(name) for name in EMBEDDED})))
