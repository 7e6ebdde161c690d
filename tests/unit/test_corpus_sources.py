"""What a corpus is made from, before anything runs."""

import json

from refused import refused

from etude.config import ArchiveCorpus, FolderCorpus, Music21Corpus, Render
from etude.workflow.sources import (
    archive_file,
    check_files,
    fetch_params,
    local_path,
    soundfont_file,
    to_bring,
)


def archive(url):
    return ArchiveCorpus(source="archive", url=str(url))


def test_an_archive_is_a_file_or_an_address(tmp_path):
    path = tmp_path / "music é.zip"
    path.write_bytes(b"PK")
    assert archive_file(archive(path)) == [str(path)]
    assert archive_file(archive(tmp_path / "missing.zip")) == [str(tmp_path / "missing.zip")]
    for url in ("https://example.org/a.zip", "http://example.org/" + 5000 * "a", "ftp://x/y.zip"):
        assert archive_file(archive(url)) == []
    assert (
        archive_file(Music21Corpus()) == archive_file(FolderCorpus(source="folder", path=".")) == []
    )
    assert local_path("~nobody-of-this-name/a.zip") is not None


def test_only_scores_are_chosen_before_they_are_fetched(tmp_path):
    """An archive comes whole: with another limit it is not downloaded again."""
    small, whole = (
        ArchiveCorpus(source="archive", url="https://x/y.zip", limit=n) for n in (5, None)
    )
    assert fetch_params(small) == fetch_params(whole)
    assert json.loads(fetch_params(Music21Corpus(limit=5)))["limit"] == 5
    assert fetch_params(Music21Corpus(shards=7)) == fetch_params(Music21Corpus())


def test_files_that_are_not_there_are_named(tmp_path):
    check_files(Music21Corpus())
    check_files(archive("https://example.org/a.zip"))
    with refused("file-not-found", where="music.zip") as caught:
        check_files(archive(tmp_path / "music.zip"))
    assert str(tmp_path / "music.zip") in str(caught.value)
    mine = Music21Corpus(render=Render(soundfont=tmp_path))
    assert soundfont_file(mine) == [str(tmp_path)]
    with refused("file-not-found", "SoundFont", where=tmp_path):
        check_files(mine)


def test_what_has_to_be_brought_by_hand(tmp_path):
    folder, font = tmp_path / "midi", tmp_path / "my.sf2"
    about = {"source": "folder", "path": folder, "render": Render(soundfont=font)}
    mine, plain = FolderCorpus(**about, bring="get it there"), FolderCorpus(**about)
    assert to_bring(mine) == [folder, font]
    assert soundfont_file(mine) == [], "a plan can be made without it"
    check_files(mine)
    assert to_bring(plain) == []
    with refused("file-not-found", "SoundFont"):
        check_files(plain)
    folder.mkdir()
    assert to_bring(mine) == [folder, font], "empty is as good as not there"
    (folder / "a.mid").touch()
    font.touch()
    assert to_bring(mine) == []
    assert soundfont_file(mine) == [str(font)]
    assert mine.params() == plain.params(), "where to get it decides nothing"
