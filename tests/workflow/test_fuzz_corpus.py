"""The fuzz corpus in its large form: audit and the whole smoke run, by audio and by notes."""

from __future__ import annotations

import fuzz_corpus
import pytest
from workspace import SMOKE, own_folder

from etude.corpus.scan import printable
from etude.storage import read_csv, read_json
from etude.tokenizers.usage import hardly_used

pytestmark = [pytest.mark.workflow, pytest.mark.proof]


def test_nothing_stops_a_run(workspace):
    root = workspace.folder / "music"
    expected = fuzz_corpus.make(root, files=300)
    said = workspace.etude("audit", root)
    assert "Traceback" not in said.stdout + said.stderr

    mine = own_folder(root)
    mine["corpora"]["mine"] |= {"limit": None, "filter": {"drums": "keep"}}
    mine["experiments"]["notes"] = {"system": "symbolic_lm", "corpus": "mine", "tokens": "remi"}
    mine["run"] = ["mine", "notes"]
    done = workspace.run(configs=[SMOKE, workspace.config("mine", mine)])
    assert "Traceback" not in done.stdout + done.stderr
    for log in (workspace.folder / "results/logs").rglob("*.log"):
        assert "Traceback" not in log.read_text(encoding="utf-8", errors="replace"), log

    rows = {
        row["path"]: row for row in read_csv(workspace.folder / "results/corpora/mine/pieces.csv")
    }
    passed = {name for name, end in expected.items() if end == fuzz_corpus.PASSED}
    assert rows.keys() == {printable(name) for name in expected.keys() - passed}
    assert all((row["status"] == "kept") == (not row["reason"]) for row in rows.values())
    for name in (n for n in rows if n.startswith("good/")):
        assert rows[name]["status"] == "kept" or rows[name]["reason"].startswith("duplicate_of")
    packed = workspace.folder / "results/packed/mine"
    assert not list(hardly_used(read_json(packed / "embedded/info.json")))
    kept = {
        row["piece"] for row in rows.values() if row["status"] == "kept" and row["kind"] == "midi"
    }
    told = {
        row["piece"]
        for row in read_csv(workspace.folder / "results/tokens/mine/remi/summary/pieces.csv")
    }
    assert kept <= told, "each has a word about what became of its notes"
    assert "Distances" in workspace.text("results/fad.txt")
