"""A piece is planted, learned from and withdrawn: nothing that the workflow has made knows it."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import music
import pytest
from workspace import SMOKE, own_folder

from etude.storage import hash_file, read_csv, read_json

pytestmark = [pytest.mark.proof, pytest.mark.workflow]
HEAD = "file,contributor,licence,share,consent_date,may_train,may_publish\n"
PLANTED = "Zoë/Quetzal für zwei.mid"


@pytest.fixture
def owned(workspace, monkeypatch):
    """A folder of eleven pieces by Ann and one by Zoë, and the configuration of a small run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace.folder / "cache"))
    folder = workspace.folder / "music"
    music.make_chorales(folder, 12, seed=1)
    files = sorted(path for path in folder.rglob("*.mid"))
    (folder / PLANTED).parent.mkdir()
    files[0].rename(folder / PLANTED)
    names = [path.relative_to(folder).as_posix() for path in files[1:]]
    rows = [f"{name},Ann,CC0-1.0,,2026-01-01,yes,yes\n" for name in names]
    rows.append(f"{PLANTED},Zoë,by agreement,,2026-01-01,yes,yes\n")
    (workspace.folder / "ownership.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    (folder / "metadata.csv").write_text(f"path,split\n{PLANTED},train\n", encoding="utf-8")
    content = own_folder(folder)
    content["corpora"]["mine"]["ownership"] = "ownership.csv"
    return workspace, [SMOKE, workspace.config("mine", content)]


def inside(path: Path) -> bytes:
    """What a file holds; of an archive (NumPy's too) what its members hold, uncompressed."""
    if not path.is_file():
        return b""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


def grep(home: Path, words: list[bytes]) -> list[str]:
    """Files that were made and have one of the words in their names or bytes."""
    texts = [word.decode() for word in words if word.isascii()]
    every = [*words, *(text.encode("utf-32-le") for text in texts)]  # as NumPy writes texts
    found = []
    for top in ("results", "cache", "out"):
        for path in (home / top).rglob("*"):
            data = inside(path)
            if any(word in data or word in os.fsencode(path.name) for word in every):
                found.append(str(path.relative_to(home)))
    return found


def test_a_planted_piece_is_forgotten(owned):
    workspace, configs = owned
    home = workspace.folder
    targets = (
        "results/clips/mine/seed-0/draw-0",
        "results/metrics/mine/seed-0/draw-0/memorisation.csv",
    )
    workspace.run(*targets, configs=configs)
    (row,) = (r for r in read_csv(home / "results/corpora/mine/pieces.csv") if r["path"] == PLANTED)
    assert row["split"] == "train"
    wav = next((home / "results/corpora/mine/wav").rglob(f"{row['piece']}.wav"))
    sound, notes = wav.read_bytes()[96_000:96_400], (home / "music" / PLANTED).read_bytes()[100:200]
    words = [b"Quetzal", row["piece"].encode(), row["sha256"].encode(), row["notes_hash"].encode()]
    words += [hash_file(wav).encode(), sound, notes]
    owners = read_json(home / "results/clips/mine/seed-0/draw-0/weights.json")["owners"]["mine"]
    assert [owner["contributor"] for owner in owners] == ["Ann", "Zoë"]
    workspace.etude("export", "--experiment", "mine", "--output", "out", "--configfile", *configs)
    workspace.etude("evaluate", "--baseline", wav.parent, "--eval", wav.parent)
    states = {path.name for path in (home / "results/state").iterdir()} - {"refs"}
    assert any(name.startswith("results/corpora") for name in grep(home, words))
    assert any(name.startswith("out/near") for name in grep(home, words))
    assert any(name.startswith("cache") for name in grep(home, words))

    said = workspace.etude("withdraw", PLANTED, "--configfile", *configs).stdout
    assert "trained again: mine" in said
    for command in (["generate"], ["export", "--output", "again"]):
        done = workspace.etude(
            *command, "--experiment", "mine", "--configfile", *configs, check=False
        )
        assert done.returncode == 1
        assert "not yet forgotten" in done.stderr
    workspace.run(*targets, configs=configs)
    assert grep(home, words) == []
    assert not (home / "out").exists()
    assert not states & {path.name for path in (home / "results/state").iterdir()}
    owners = read_json(home / "results/clips/mine/seed-0/draw-0/weights.json")["owners"]["mine"]
    assert [owner["contributor"] for owner in owners] == ["Ann"]
    workspace.etude("export", "--experiment", "mine", "--output", "out", "--configfile", *configs)
    assert "One file was withdrawn" in workspace.text("out/README.md")
    assert grep(home, words) == []
    again = workspace.run("-n", *targets, configs=configs)
    assert "Nothing to be done" in again.stdout + again.stderr
    shutil.rmtree(home / "music/Zoë")
    again = workspace.run("-n", *targets, configs=configs)
    assert "Nothing to be done" in again.stdout + again.stderr, "that it is gone changes nothing"
