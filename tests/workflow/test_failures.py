"""One experiment that fails does not take the table from the others."""

from __future__ import annotations

import pytest
from workspace import SMOKE, jobs

pytestmark = pytest.mark.workflow

BAD = """
from torch import nn


class Bad(nn.Module):
    def __init__(self, codebook_sizes):
        super().__init__()
        raise RuntimeError("this network was never meant to work")

    def forward(self, tokens, layout, cache=None): ...

    def logits(self, hidden, codebook): ...
"""


def test_a_network_that_raises_is_a_row_and_the_others_stand(finished):
    (finished.folder / "bad.py").write_text(BAD, encoding="utf-8")
    mine = finished.folder / "mine.yaml"
    stages = {"semantic": {"network": {"kind": "bad:Bad"}}}
    broken = {"broken": {"system": "audiolm", "corpus": "mine", "stages": stages}}
    both = finished.config("both", {"experiments": broken, "run": ["broken", "mine"]})
    before = finished.text("results/fad.txt")
    try:
        done = finished.run(configs=[SMOKE, mine, both], check=False)
        assert done.returncode != 0, "the run as a whole has failed, and says so"
        assert "this network was never meant to work" in done.stdout + done.stderr
        text = finished.text("results/fad.txt")
        block = before[before.index("\nthe primary metric") : before.rindex("gate:")].strip()
        assert block in text, "the other's figures are what they were"
        assert "\n  broken: failed: " in text
        assert ", see results/logs/" in text
        log = finished.folder / text.split("failed: ")[1].split("see ")[1].splitlines()[0]
        assert "never meant to work" in log.read_text(encoding="utf-8")
        assert text.splitlines()[-1].startswith(("gate: undecided (", "gate: n/a ("))
        assert "broken,,generated" in finished.text("results/leaderboard.csv")
        assert "failed: " in finished.text("results/report/index.html")
        left = jobs(finished.run("-n", configs=[SMOKE, mine]))
        assert left == {"write_fad", "build_report"}, "what was written is not taken for the whole"
    finally:
        finished.run(configs=[SMOKE, mine])  # as the other tests want it
    assert finished.text("results/fad.txt") == before
