"""What lies in a folder, without opening any file."""

import os
import re
import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.corpus import scan
from etude.corpus.scan import (
    choose_files,
    corpus_files,
    describe_passed,
    digests,
    list_files,
    music_kind,
    piece_id,
    printable,
    shard_of,
)
from etude.errors import UserError

texts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
no_utf8 = st.binary(min_size=1).filter(lambda b: not {0, 47} & set(b)).map(os.fsdecode)
names = texts | no_utf8
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


def fill(root, *relatives):
    for relative in relatives:
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_files_come_sorted_and_hidden_ones_do_not(tmp_path):
    expected = [
        "a-b/x.mid",
        "a.mid",
        "a/x.mid",
        "a/y/z.wav",
        "-dash.mid",
        "é ü/日本.mid",
        "b c.mp3",
    ]
    fill(tmp_path, *expected, ".hidden.mid", ".git/x.mid", "a/.x.mid")
    passed = Counter()
    assert list(list_files(tmp_path, passed)) == sorted(expected)
    assert describe_passed(passed) == "hidden files (2), hidden folders (1)"


def test_loops_dead_links_and_pipes(tmp_path):
    fill(tmp_path, "a/x.mid")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "twice").symlink_to("a")
    (tmp_path / "dead.mid").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.mid")
    socket.socket(socket.AF_UNIX).bind(str(tmp_path / "s.mid"))
    passed = Counter()
    assert list(list_files(tmp_path, passed)) == ["a/x.mid", "dead.mid", "self"]
    assert passed == {
        "pipes, sockets or devices": 2,
        "links to folders that are read already": 2,
    }


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9\n.mid")
    fill(tmp_path, name)
    assert list(list_files(tmp_path)) == [name]
    assert piece_id(name).startswith("caf-")
    assert printable(name) == "caf\\xe9\\n.mid"
    assert digests(tmp_path, 2)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text("x")])
def test_missing_root(tmp_path, make):
    make(tmp_path / "gone")
    with pytest.raises(UserError, match="cannot be read"):
        list(list_files(tmp_path / "gone"))
    with pytest.raises(UserError, match="path"):
        digests(tmp_path / "gone", 2)


@given(paths)
def test_piece_names_are_plain_and_bounded(relative):
    name = piece_id(relative)
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{8}", name)
    assert len(name) <= 69
    assert printable(relative).isprintable()


@given(paths, st.integers(1, 2000))
def test_shards_are_stable(relative, shards):
    assert 0 <= shard_of(relative, shards) < shards
    assert shard_of(relative, shards) == shard_of(relative, shards)


def test_known_values():
    """These stand in tables that users keep: they must never change."""
    assert piece_id("A dir/Söng (1).mid") == "a-dir-song-1-2d50b19c"
    assert shard_of("A dir/Söng (1).mid", 7) == 4
    assert piece_id("日本.mid").startswith("piece-")
    assert [music_kind(n) for n in ("a.MID", "b.flac", "c.txt", "mid")] == ["midi", "audio", "", ""]


def test_digests_follow_their_own_files(tmp_path):
    files = [f"{i}.mid" for i in range(20)]
    fill(tmp_path, *files)
    before = digests(tmp_path, 4)
    assert before == digests(tmp_path, 4)
    (tmp_path / "7.mid").write_bytes(b"longer")
    changed = [a != b for a, b in zip(before, digests(tmp_path, 4), strict=True)]
    assert changed == [shard == shard_of("7.mid", 4) for shard in range(4)]
    before = digests(tmp_path, 4)
    fill(tmp_path, "metadata.csv")
    assert all(a != b for a, b in zip(before, digests(tmp_path, 4), strict=True))
    assert len(digests(tmp_path, 50)) == 50  # most of them empty


def test_limit_is_a_fixed_choice_of_music(tmp_path):
    files = [f"{i}.mid" for i in range(30)]
    fill(tmp_path, *files, "notes.txt", "metadata.csv")
    five, nine = corpus_files(tmp_path, 5), corpus_files(tmp_path, 9)
    assert len(five) == 5
    assert set(five) < set(nine)
    assert five == sorted(five) == choose_files(reversed(files), 5)
    assert corpus_files(tmp_path) == sorted([*files, "notes.txt"])
    corpus_files(tmp_path, 5, passed=(passed := Counter()))
    assert describe_passed(passed) == "music beyond `limit: 5` (25), other files (1)"
    before = digests(tmp_path, 3, limit=5)
    left_out = next(name for name in files if name not in five)
    (tmp_path / left_out).write_bytes(b"longer")
    assert before == digests(tmp_path, 3, limit=5)


def test_a_touched_file_is_not_a_changed_one(tmp_path, monkeypatch):
    """Small files are known by their bytes, large ones by size and time."""
    fill(tmp_path, *(f"{i}.mid" for i in range(8)))
    before = digests(tmp_path, 2)
    os.utime(tmp_path / "3.mid", (1, 1))
    assert digests(tmp_path, 2) == before
    (tmp_path / "3.mid").write_bytes(b"y")  # of the same size
    os.utime(tmp_path / "3.mid", (1, 1))
    assert digests(tmp_path, 2) != before
    monkeypatch.setattr(scan, "KNOWN_BY_BYTES", 0)
    before = digests(tmp_path, 2)
    os.utime(tmp_path / "3.mid", (2, 2))
    assert digests(tmp_path, 2) != before


def test_of_a_very_large_corpus_the_first_files_alone_are_read(tmp_path, monkeypatch):
    fill(tmp_path, *(f"{i}.mid" for i in range(8)))
    monkeypatch.setattr(scan, "READ_AT_MOST", 3)
    before = digests(tmp_path, 1)
    os.utime(tmp_path / "2.mid", (1, 1))
    assert digests(tmp_path, 1) == before
    os.utime(tmp_path / "3.mid", (1, 1))
    assert digests(tmp_path, 1) != before
