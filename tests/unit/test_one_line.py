"""`etude train`: a folder and some options become a configuration that is shown and run."""

from __future__ import annotations

import argparse
from random import Random

import music
import pytest
import yaml
from refused import refused

from etude import config
from etude.__main__ import _parse, _parser, main
from etude.config.systems import CLASSES
from etude.train import command
from etude.train.options import leaves

TRAINED = [name for name, found in CLASSES.items() if found.trained]


def make_recordings(folder, n, seed):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        music.recording(folder / f"take {number}.wav", Random(seed + number), rate=32000)


@pytest.fixture
def started(tmp_path, monkeypatch):
    """What Snakemake would have been started with."""
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        command, "run_workflow", lambda cores, *more, configfiles: calls.append((cores, more, configfiles)) or 0
    )  # fmt: skip
    return calls


def folder_of(tmp_path, kind):
    folder = tmp_path / "my music"
    if kind == "midi":
        music.make_chorales(folder, 6, seed=1)
    else:
        make_recordings(folder, 6, seed=1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["midi", "audio"])
def test_a_folder_is_enough(kind, tmp_path, started, capsys):
    folder = folder_of(tmp_path, kind)
    assert main(["train", str(folder)]) == 0
    written = yaml.safe_load((tmp_path / "my_music.yaml").read_text())
    system = written["experiments"]["my_music"]["system"]
    assert CLASSES[system].one_line.chosen_by == kind
    assert written["corpora"] == {"my_music": {"source": "folder", "path": str(folder)}}
    said = capsys.readouterr().out
    assert (tmp_path / "my_music.yaml").read_text() in said, "it is shown"
    assert "minutes of training" in said, "it says what it will take"
    settings = config.read(config.DEFAULT, tmp_path / "my_music.yaml")
    assert settings.run == ["my_music"]
    ((cores, more, files),) = started
    assert (cores, more) == ("all", ())
    assert [file.name for file in files] == ["my_music.yaml"]


def test_the_line_of_textual_inversion(tmp_path, started):
    """As TI-MusicGen's `run-training --concepts 8bit --tokens-num 10`."""
    make_recordings(tmp_path / "concepts/8bit", 3, seed=1)
    words = ["--system", "textual_inversion", "--corpus", "concepts", "--concepts", "8bit"]
    assert main(["train", *words, "--tokens", "10", "--steps", "200", "--name", "x", "-n"]) == 0
    file = next(tmp_path.glob("*.yaml"))
    preset = config.DEFAULT.parent / "presets/ti_musicgen.yaml"
    settings = config.read(config.DEFAULT, preset, file)
    (name,) = settings.run
    experiment = settings.experiments[name]
    assert experiment.concepts == ["8bit"]
    assert experiment.tokens_per_concept == 10
    assert experiment.stages.concept.training.steps == 200
    assert experiment.stages.concept.training.batch_size == 10, "the preset's own"
    ((_, more, files),) = started
    assert more == ("-n",)
    assert files == [preset, file.relative_to(tmp_path)]


@pytest.mark.parametrize("system", TRAINED)
def test_every_key_of_every_system_is_an_option(system, capsys):
    options = _parser(["train", "--system", system])
    action = next(a for a in options._actions if isinstance(a, argparse._SubParsersAction))
    found = action.choices["train"]._option_string_actions
    names = CLASSES[system].one_line.names
    missing = [key for key, _ in leaves(CLASSES[system]) if f"--{key}" not in found]
    assert set(missing) <= set(names)
    assert {"--steps", "--batch_size", "--learning_rate"} <= found.keys()
    with pytest.raises(SystemExit):
        _parse(["train", "--system", system, "--help"])
    assert "keys of" in capsys.readouterr().out


@pytest.mark.slow
def test_a_key_of_a_stage_counts_more_than_one_of_all(tmp_path, started):
    folder = folder_of(tmp_path, "audio")
    words = ["--system", "audiolm", "--steps", "7", "--stages.fine.training.steps", "9"]
    assert main(["train", str(folder), *words]) == 0
    stages = config.read(config.DEFAULT, tmp_path / "my_music.yaml").experiments["my_music"].stages
    steps = [stages.semantic.training.steps, stages.coarse.training.steps]
    assert [*steps, stages.fine.training.steps] == [7, 7, 9]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which music?"),
        (["nowhere", "--system", "audiolm"], "no such folder"),
        (["bare"], "no music is there"),
        (["bare", "--system", "audiolmm"], "no system 'audiolmm'"),
        (["music", "--system", "external"], "no system 'external' to train"),
        (["music", "--system", "audiolm", "--steps", "many"], "steps"),
        (["music", "--system", "audiolm", "--steps", "{"], "cannot be read"),
    ],
)
def test_mistakes_are_said(words, said, tmp_path, started, capsys):
    (tmp_path / "bare").mkdir()
    make_recordings(tmp_path / "music", 3, seed=1)
    assert main(["train", *words]) == 1
    assert said in capsys.readouterr().err
    assert not started


def test_what_is_chosen_is_by_most_of_the_music(tmp_path):
    music.make_chorales(tmp_path, 3, seed=1)
    midi = command.chosen(tmp_path)
    make_recordings(tmp_path, 5, seed=2)
    assert {CLASSES[midi].one_line.chosen_by, CLASSES[command.chosen(tmp_path)].one_line.chosen_by} == {
        "midi", "audio",
    }  # fmt: skip
    (tmp_path / "bare").mkdir()
    with refused("no-music"):
        command.chosen(tmp_path / "bare")
