"""Étude in somebody else's workflow, and presets that need something first."""

from __future__ import annotations

import music
import pytest
from workspace import ROOT, jobs, own_folder

pytestmark = pytest.mark.workflow

THEIRS = """
module etude:
    snakefile: "{root}/Snakefile"
    config: {config}

use rule * from etude
"""


def test_a_module_is_given_its_config(workspace):
    music.make_chorales(workspace.folder / "music", 3)
    config = own_folder(workspace.folder / "music", "theirs")
    theirs = workspace.folder / "theirs.smk"
    theirs.write_text(THEIRS.format(root=ROOT, config=config), encoding="utf-8")
    done = workspace.run("-n", "results/fad.txt", "-s", theirs)
    assert {"ingest_corpus", "train_stage", "write_fad"} <= jobs(done)
    assert "fetch_source" not in jobs(done), "the demo's chorales"
    assert "Training theirs: semantic" in done.stdout + done.stderr


def test_a_preset_for_a_folder_of_ones_own_says_what_to_bring(workspace):
    preset = ROOT / "config/presets/midilm.yaml"
    planned = workspace.run("-n", configs=[preset])
    assert "tokenize_midi" in jobs(planned)
    assert "put your MIDI files into the folder midi" in planned.stdout + planned.stderr
    run = workspace.run(configs=[preset], check=False)
    said = run.stdout + run.stderr
    assert run.returncode == 1
    assert "put your MIDI files into the folder midi" in said
    assert not (workspace.folder / "results/corpora").exists()
