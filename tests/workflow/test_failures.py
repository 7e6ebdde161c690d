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


def test_a_network_that_raises_is_a_row_and_the_others_stand(copied):
    (copied.folder / "bad.py").write_text(BAD, encoding="utf-8")
    mine = copied.folder / "mine.yaml"
    stages = {"semantic": {"network": {"kind": "bad:Bad"}}}
    broken = {"broken": {"system": "audiolm", "corpus": "mine", "stages": stages}}
    both = copied.config("both", {"experiments": broken, "run": ["broken", "mine"]})
    before = copied.text("results/fad.txt")
    done = copied.run(configs=[SMOKE, mine, both], check=False)
    assert done.returncode != 0, "the run as a whole has failed, and says so"
    assert "this network was never meant to work" in done.stdout + done.stderr
    text = copied.text("results/fad.txt")
    block = before[before.index("\nthe primary metric") : before.rindex("gate:")].strip()
    assert block in text, "the other's figures are what they were"
    assert "\n  broken: failed: " in text
    assert ", see results/logs/" in text
    log = copied.folder / text.split("failed: ")[1].split("see ")[1].splitlines()[0]
    assert "never meant to work" in log.read_text(encoding="utf-8")
    assert text.splitlines()[-1].startswith(("gate: undecided (", "gate: n/a ("))
    assert "broken,,generated" in copied.text("results/leaderboard.csv")
    assert "failed: " in copied.text("results/report/index.html")
    left = jobs(copied.run("-n", configs=[SMOKE, mine]))
    assert left == {"write_fad", "build_report"}, "what was written is not taken for the whole"
