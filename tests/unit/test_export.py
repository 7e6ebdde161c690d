"""One folder that generates anywhere: whole or not at all, and nothing of the machine in it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import soundfile
from refused import refused
from tiny_experiments import make_sound

import etude.generation.export as export_module
from etude import config
from etude.__main__ import _parser
from etude.generation.command import continue_midi, generate
from etude.generation.export import export
from etude.generation.trained import in_export
from etude.storage import read_json, write_json
from etude.systems.audiolm.building import STAGES


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder with a trained experiment and its configuration file, as the workflow leaves it."""
    monkeypatch.chdir(tmp_path)
    return make_sound(tmp_path)


def command(*arguments) -> argparse.Namespace:
    common = ["--seconds", "0.6", "--clips", "2", "--fade", "0"]
    return _parser().parse_args(["generate", *common, *map(str, arguments)])


def files(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "chosen"), [(None, 3), (5, 5)])
def test_an_export_plays_what_the_experiment_plays(seed, chosen, mine, tmp_path, monkeypatch):
    export(mine, "mine", seed, tmp_path / "out")
    own = ["--experiment", "mine", "--configfile", "mine.yaml", "--train-seed", chosen]
    first = [Path(p).read_bytes() for p in generate(command(*own, "--output", "own"))]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = (tmp_path / "out").rename(elsewhere / "moved")
    (tmp_path / "results").rename(tmp_path / "gone")
    monkeypatch.chdir(elsewhere)
    tracks = generate(command("--from", moved, "--output", "track"))
    assert [path.read_bytes() for path in tracks] == first
    assert soundfile.info(str(tracks[0])).duration > 0


def test_an_export_is_whole_and_says_nothing_of_the_machine(mine, tmp_path):
    export(mine, "mine", None, tmp_path / "out")
    made = files(tmp_path / "out")
    stages = {
        f"models/{s}/{f}" for s in STAGES for f in ("model.safetensors", "config.json", "card.md")
    }
    roles = {
        f"tokenizers/{r}/{f}"
        for r in ("semantic", "acoustic")
        for f in ("config.json", "codebooks.safetensors")
    }
    assert made.keys() == stages | roles | {"README.md", "config.yaml", "export.json"}
    assert str(tmp_path).encode() not in b"".join(made.values())
    about = read_json(tmp_path / "out/export.json")
    assert about["train_seed"] == 3
    assert about["generate"]["sampling"]["top_k"] == 4
    assert about["sha256"].keys() == stages | roles, "the README is there to be edited"
    assert "no licence is given here" in made["README.md"].decode().lower()
    export(mine, "mine", None, tmp_path / "again")
    assert files(tmp_path / "again") == made, "the same bytes every time"


def test_the_configuration_in_effect_is_read_again(mine, tmp_path):
    export(mine, "mine", 5, tmp_path / "out")
    again = config.read(tmp_path / "out/config.yaml")
    assert again.run == ["mine"]
    assert again.corpora.keys() == {"mine"}, "what it did not need is left out"
    wanted, found = mine.experiments["mine"], again.experiments["mine"]
    assert found.stages == wanted.stages
    assert found.generate.prime == Path("prime.wav")
    assert found.seeds.train == [5]


def test_nothing_that_is_there_is_overwritten(mine, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep me")
    (tmp_path / "file").write_text("keep me")
    for name in ("full", "file"):
        with refused("folder-not-empty", where=name):
            export(mine, "mine", None, tmp_path / name)
    assert files(tmp_path / "full") == {"mine.txt": b"keep me"}
    (tmp_path / "empty").mkdir()
    export(mine, "mine", None, tmp_path / "empty")
    assert (tmp_path / "empty/export.json").is_file()


def test_an_export_that_fails_leaves_nothing(mine, tmp_path, monkeypatch):
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(export_module, "_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(mine, "mine", None, tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


def test_what_is_not_trained_is_not_exported(mine, tmp_path):
    with refused("unknown-experiment", "'min'"):
        export(mine, "min", None, tmp_path / "out")
    with refused("not-trained-yet"):
        export(mine, "mine", 4, tmp_path / "out")
    (tmp_path / "results/models/mine/fine/seed-3/card.md").unlink()
    with refused("incomplete-stage", "card.md"):
        export(mine, "mine", 3, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_export_is_a_clear_error(mine, tmp_path):
    with refused("not-an-export"):
        in_export(tmp_path)
    known = {"format": 1, "train_seed": 0, "generate": {}, "sha256": {}}
    for about in ([], {"format": 1}, known | {"generate": {"clips": "x"}}, known | {"sha256": 3}):
        write_json(tmp_path / "export.json", about)
        with refused("not-an-export"):
            in_export(tmp_path)
    write_json(tmp_path / "export.json", known | {"format": 99})
    with refused("another-version"):
        in_export(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["models/coarse/model.safetensors", "tokenizers/acoustic/config.json"]
)
def test_a_damaged_copy_is_a_clear_error(name, mine, tmp_path):
    export(mine, "mine", None, tmp_path / "out")
    file = tmp_path / "out" / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with refused("damaged-export", where=file):
        in_export(tmp_path / "out")
    file.unlink()
    with refused("damaged-export", where=file):
        in_export(tmp_path / "out")


def test_from_has_its_own_configuration(tmp_path):
    with refused("conflicting-options"):
        generate(command("--from", tmp_path, "--train-seed", 1))
    with pytest.raises(SystemExit):
        command("--from", tmp_path, "--experiment", "mine")


def test_sound_does_not_go_on_from_midi(mine):
    arguments = ["continue", "x.mid", "--experiment", "mine", "--configfile", "mine.yaml"]
    with refused("condition-not-taken", "midi", where="mine") as error:
        continue_midi(_parser().parse_args(arguments))
    assert "--prime" in str(error.value)


def test_an_export_of_before_is_opened_too(mine, tmp_path):
    """Its export.json has no settings but those of `generate`."""
    export(mine, "mine", None, tmp_path / "out")
    about = read_json(tmp_path / "out/export.json")
    del about["settings"]
    write_json(tmp_path / "out/export.json", about)
    tracks = generate(command("--from", tmp_path / "out", "--output", "old"))
    assert len(tracks) == 2
