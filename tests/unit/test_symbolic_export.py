"""A symbolic experiment in one folder: it plays and goes on without Snakemake and the corpus."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from refused import refused
from tiny_experiments import make_notes

from etude import config
from etude.__main__ import _parser
from etude.generation.command import continue_midi, generate
from etude.generation.export import export
from etude.generation.trained import in_export, open_player
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table, write_midi
from etude.storage import hash_folder, read_json
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a trained Llama over REMI, as the workflow leaves it."""
    monkeypatch.chdir(tmp_path)
    return make_notes(tmp_path)


def played(*arguments) -> list[bytes]:
    common = ["--seconds", "6", "--clips", "2", "--fade", "0"]
    paths = generate(_parser().parse_args(["generate", *common, *map(str, arguments)]))
    assert [path.suffix for path in paths] == [".mid", ".wav"] * 2
    assert len(read_midi(paths[0]))
    return [path.read_bytes() for path in paths]


@pytest.mark.slow
def test_an_export_plays_and_goes_on_anywhere(mine, tmp_path, monkeypatch):
    own = played("--experiment", "notes", "--configfile", "mine.yaml", "--output", "own")
    export(mine, "notes", None, tmp_path / "out")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = (tmp_path / "out").rename(elsewhere / "moved")
    (tmp_path / "results").rename(tmp_path / "gone")
    (tmp_path / "mine.yaml").unlink()
    monkeypatch.chdir(elsewhere)
    for name in ("snakemake", "music21"):  # an import of either would fail
        monkeypatch.setitem(sys.modules, name, None)
    assert played("--from", moved, "--output", "track") == own
    onset = 240 * np.arange(16)
    write_midi(plain_table(onset, np.full(16, 240), 60 + onset % 7), elsewhere / "my.mid")
    arguments = ["continue", "my.mid", "--from", str(moved), "--bars", "8", "--output", "more"]
    paths = continue_midi(_parser().parse_args(arguments))
    assert [path.name for path in paths] == ["more1.mid", "more1.wav"]
    assert read_midi(paths[0]).seconds > read_midi(elsewhere / "my.mid").seconds


@pytest.mark.slow
def test_a_folder_of_prompts_is_gone_on_from_one_by_one(mine, tmp_path, caplog):
    onset = 240 * np.arange(16)
    table = plain_table(onset, np.full(16, 240), 60 + onset % 7)
    for name in ("a", "deep/b"):
        write_midi(table, tmp_path / f"prompts/{name}.mid")
    (tmp_path / "prompts/bad.mid").write_bytes(b"MThd nothing")
    (tmp_path / "prompts/notes.txt").write_text("hello")
    common = ["--experiment", "notes", "--configfile", "mine.yaml", "--bars", "2"]
    words = ["continue", "prompts", *common, "--clips", "2", "--output", "more"]
    paths = continue_midi(_parser().parse_args(words))
    names = [path.name for path in paths if path.suffix == ".mid"]
    assert names == ["more-a-1.mid", "more-a-2.mid", "more-deep-b-1.mid", "more-deep-b-2.mid"]
    assert "bad.mid" in caplog.text, "one that cannot be used costs itself alone"
    alone = ["continue", "prompts/a.mid", *common, "--clips", "2", "--output", "alone"]
    one = continue_midi(_parser().parse_args(alone))
    assert one[0].read_bytes() == paths[0].read_bytes(), "as if it were alone"
    (tmp_path / "bare").mkdir()
    with refused("no-prompt-file"):
        continue_midi(_parser().parse_args(["continue", "bare", *common]))


def test_an_export_names_its_tokenizer_by_hash_and_takes_no_other(mine, tmp_path):
    export(mine, "notes", None, tmp_path / "out")
    files = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert {"tokenizers/tokenizer/tokenizer.json", "models/lm/model.safetensors"} <= files
    model, tokenizer = tmp_path / "out/models/lm", tmp_path / "out/tokenizers/tokenizer"
    assert read_json(model / "config.json")["tokenizers"] == {"symbolic": hash_folder(tokenizer)}
    assert str(tmp_path) not in (tmp_path / "out/config.yaml").read_text()
    other = create_symbolic_tokenizer(config.Tsd(kind="tsd"))
    trained = in_export(tmp_path / "out")
    other.save(tokenizer)
    with refused("another-tokenizer"):
        open_player(trained)


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--prime", "x.wav"], "condition-not-taken", ["recording", "midi", "etude continue"]),
        (["--hop", "0.5"], "option-without-meaning", ["--hop"]),
    ],
)
def test_what_means_nothing_to_a_model_of_notes_is_refused(mine, options, code, named):
    with refused(code, *named):
        played("--experiment", "notes", "--configfile", "mine.yaml", *options)


def test_params_of_generation_leave_training_and_folders_out(mine):
    experiment = mine.experiments["notes"]
    longer = experiment.model_dump(mode="json")
    longer["stages"]["lm"]["training"]["steps"] = 7
    longer["seeds"] = {"train": [0, 1]}
    longer["generate"]["prime"] = "/somewhere/mine.mid"
    other = config.validated(type(experiment), longer)
    text = other.generate_params()
    assert "/somewhere" not in text
    assert "mine.mid" in text
    longer["generate"]["prime"] = None
    assert config.validated(type(experiment), longer).generate_params() == (
        experiment.generate_params()
    )
    again = config.parse_section(config.Experiment, text)
    assert again.generate.sampling == experiment.generate.sampling
    assert again.stages.lm.network == experiment.stages.lm.network
