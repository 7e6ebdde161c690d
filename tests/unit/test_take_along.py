"""`etude pack`: clips, weights and owners in one ZIP, the same bytes each time."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from refused import refused
from tiny_experiments import make_owned

from etude.__main__ import main
from etude.audio.files import write_wav
from etude.generation.pack import pack
from etude.generation.registry import exports
from etude.generation.trained import in_export, open_player
from etude.storage import hash_file, read_csv, write_csv


@pytest.fixture
def ready(tmp_path, monkeypatch):
    """A trained experiment with clips, and the recordings of three people."""
    monkeypatch.chdir(tmp_path)
    owned = make_owned(tmp_path)
    place = tmp_path / "results/clips/mine/seed-3/draw-0"
    rows = []
    for number in range(3):
        name = f"clip-{number:04d}"
        write_wav(place / f"{name}.wav", np.sin(np.arange(2400) / (number + 9)) / 2, 24000)
        rows.append({"clip": name, "file": f"{name}.wav", "seconds": "0.100"})
    write_csv(place / "clips.csv", ["clip", "file", "seconds"], rows)
    asked = [{"clip": row["clip"], "prompt": f"text {n}"} for n, row in enumerate(rows)]
    write_csv(place / "conditions.csv", ["clip", "prompt"], asked)
    owners = {"contributor": "Ann", "pieces": 1, "minutes": "1.00", "share": "0.2500"}
    table = tmp_path / "results/corpora/mine/owners.csv"
    write_csv(table, [*owners, "held_out_minutes"], [owners | {"held_out_minutes": "0.00"}])
    for name in ("one", "zwei für", "held out"):
        write_wav(tmp_path / f"music/{name}.wav", np.zeros(240) + 0.1, 24000)
    captions = {"piece": "p0", "caption": "a bell", "source": "column"}
    write_csv(tmp_path / "results/corpora/mine/captions.csv", list(captions), [captions])
    return owned


def content(path, folder):
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)
        return set(file.namelist())


@pytest.mark.slow
def test_a_pack_has_what_is_theirs_and_plays(ready, tmp_path):
    names = pack(
        ready, "mine", tmp_path / "ann.zip", chosen=["clip-0002", "clip-0000"], contributor="Ann"
    )
    found = content(tmp_path / "ann.zip", tmp_path / "out")
    assert found == set(names)
    assert {"clips/mine-clip-0000.wav", "clips/mine-clip-0002.wav"} <= found
    assert "clips/mine-clip-0001.wav" not in found
    assert {"README.md", "manifest.json", "ownership/mine.csv", "model/README.md"} <= found
    rows = list(read_csv(tmp_path / "out/clips/clips.csv"))
    assert [(r["caption"], r["train_seed"], r["draw"]) for r in rows] == [
        ("text 2", "3", "0"),
        ("text 0", "3", "0"),
    ]
    theirs = list(read_csv(tmp_path / "out/recordings/captions.csv"))
    assert [(r["file"], r["caption"]) for r in theirs] == [("recordings/mine/one.wav", "a bell")]
    assert "recordings/mine/zwei für.wav" not in found
    assert open_player(in_export(tmp_path / "out/model")).rate > 0


@pytest.mark.slow
def test_the_same_pack_has_the_same_bytes_and_is_on_record(ready, tmp_path):
    for name in ("a.zip", "b.zip"):
        pack(ready, "mine", tmp_path / name)
    assert hash_file(tmp_path / "a.zip") == hash_file(tmp_path / "b.zip")
    folders = [entry["folder"] for entry in exports(tmp_path / "results")]
    assert folders == [str(tmp_path / "a.zip"), str(tmp_path / "b.zip")]


def test_what_may_not_be_published_is_not_packed(ready, tmp_path):
    table = tmp_path / "ownership.csv"
    table.write_text(table.read_text().replace("2026-03-01,yes,yes", "2026-03-01,yes,no", 1))
    with refused("may-not-be-published"):
        pack(ready, "mine", tmp_path / "x.zip", weights=False)
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code", "named"),
    [
        ({"chosen": ["clip-9999"]}, "unknown-clip", "'clip-9999'"),
        ({"contributor": "Nobody"}, "unknown-contributor", "'Nobody'"),
        ({"draw": 7}, "no-clips", "draw-7"),
    ],
)
def test_what_is_not_there_is_said(how, code, named, ready, tmp_path):
    with refused(code, named):
        pack(ready, "mine", tmp_path / "x.zip", **how)
    assert not (tmp_path / "x.zip").exists()


@pytest.mark.slow
def test_the_command(ready, tmp_path, capsys):
    words = ["pack", "--experiment", "mine", "--configfile", "mine.yaml", "--without-weights"]
    assert main([*words, "--output", "p.zip", "--clips", "clip-0001"]) == 0
    assert "clips/mine-clip-0001.wav" in capsys.readouterr().out.split()
    assert not any(name.startswith("model/") for name in content("p.zip", tmp_path / "o"))
    assert main([*words, "--output", "p.zip"]) == 1, "nothing is replaced"
    assert main([*words, "--output", "p.tar"]) == 1
