"""`etude verify`: all proofs of a run's pretrained weights, and no more, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from etude import runs
from etude.__main__ import main
from etude.storage import write_csv

ROOT = Path(__file__).resolve().parents[2]
PRESET = ROOT / "config/presets/ti_musicgen.yaml"
CODEC = "results/verified/concepts/encodec_32khz.csv"
WORDS = "results/verified_texts/concepts/encodec_32khz/musicgen_small.csv"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Runs that were asked for, and `passed` of the checks that they write by path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "concepts/my_sound").mkdir(parents=True)
    found = SimpleNamespace(commands=[], tables={CODEC: "true", WORDS: "true"})

    def run(command, check):
        found.commands.append(command)
        for path, passed in found.tables.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            rows = [{"check": "round_trip", "value": "0.95", "passed": passed}]
            write_csv(Path(path), list(rows[0]), rows)
        return SimpleNamespace(returncode=int(len(found.tables) < 2))

    monkeypatch.setattr(runs.subprocess, "run", run)
    return found


def test_proofs_of_the_base_are_asked_for_too(made, capsys):
    """The run names the words alone; the weights are those of their base."""
    assert main(["verify", "--configfile", str(PRESET)]) == 0
    (command,) = made.commands
    assert [word for word in command if word.startswith("results/")] == [CODEC, WORDS]
    said = capsys.readouterr().out
    assert f"musicgen_small: 1 checks passed ({WORDS})" in said


def test_what_fails_is_told_and_the_status_is_one(made, capsys):
    made.tables[WORDS] = "false"
    assert main(["verify", "--configfile", str(PRESET)]) == 1
    assert f"musicgen_small: FAILED: round_trip 0.95 ({WORDS})" in capsys.readouterr().out
    Path(WORDS).unlink()
    del made.tables[WORDS]  # as strict proofs leave none behind
    assert main(["verify", "--configfile", str(PRESET)]) == 1
    said = capsys.readouterr().out
    assert "musicgen_small: FAILED, the messages above say why" in said
    assert "encodec_32khz: 1 checks passed" in said


def test_a_run_without_weights_of_others_has_nothing_to_prove(made, capsys):
    assert main(["verify"]) == 0
    assert not made.commands
    assert "nothing to prove" in capsys.readouterr().out
