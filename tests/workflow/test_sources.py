"""Where music comes from: what makes it be read again, and what does not."""

from __future__ import annotations

import zipfile

import music
import pytest
from workspace import SMOKE, own_folder

pytestmark = pytest.mark.workflow
PIECES = "results/corpora/mine/pieces.csv"
NOTHING = "Nothing to be done"


def test_a_folder_may_move(workspace):
    """Files that are the same (names, bytes) are not read again, touched or from elsewhere."""
    folder, moved = workspace.folder / "music", workspace.folder / "archive disk"
    music.make_chorales(folder, 6, seed=1)
    before = workspace.config("before", own_folder(folder))
    wav = "results/corpora/mine/wav/0000"
    workspace.run(PIECES, wav, configs=[SMOKE, before])
    folder.rename(moved)
    after = [SMOKE, workspace.config("after", own_folder(moved))]
    done = workspace.run("-n", PIECES, wav, configs=after)
    assert NOTHING in done.stdout
    piece = next(moved.glob("*.mid"))
    piece.touch()
    assert NOTHING in workspace.run("-n", PIECES, wav, configs=after).stdout
    piece.write_bytes(piece.read_bytes() + b"more")
    done = workspace.run("-n", PIECES, configs=after)
    assert "ingest_corpus" in done.stdout
    workspace.run(PIECES, configs=after)


def test_a_local_archive_is_an_input(workspace):
    folder, path = workspace.folder / "music", workspace.folder / "music.zip"
    music.make_chorales(folder, 4, seed=1)
    mine = own_folder(folder)
    mine["corpora"]["mine"] = {"source": "archive", "url": str(path)}
    source = "results/corpora/mine/source"
    configs = [SMOKE, workspace.config("mine", mine)]
    done = workspace.run("-n", source, configs=configs, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "music.zip" in said
    assert "Traceback" not in said
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.glob("*.mid")):
            archive.write(file, file.name)
    workspace.run(source, configs=configs)
    assert NOTHING in workspace.run("-n", source, configs=configs).stdout
    mine["corpora"]["mine"]["limit"] = 2
    fewer = [SMOKE, workspace.config("fewer", mine)]
    assert NOTHING in workspace.run("-n", source, configs=fewer).stdout
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("another.mid", b"")
    done = workspace.run("-n", source, configs=configs)
    assert "fetch_source" in done.stdout
