"""Every file is one row, with a reason where it is not taken."""

import os
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import mido
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused

from etude.config import Filter, FolderCorpus
from etude.corpus.ingest import ingest_shard, read_piece
from etude.corpus.metadata import read_metadata
from etude.corpus.rows import OURS
from etude.corpus.scan import list_files, shard_of
from etude.errors import UserError
from etude.storage import read_csv
from tests import music

ANY = Filter()
WE_SHARP = FolderCorpus(source="folder", path=".", filter="we_sharp").rules


def ingest(root, tmp_path, threads=1, **settings):
    """The rows of all shards, by path."""
    corpus = FolderCorpus(source="folder", path=root, **settings)
    rows = []
    for shard in range(corpus.shards):
        table = tmp_path / "ingest" / f"{shard}.csv"
        ingest_shard(corpus, root, shard, table, threads)
        of_shard = list(read_csv(table))
        assert [row["path"] for row in of_shard] == sorted(row["path"] for row in of_shard)
        rows += of_shard
    return {row["path"]: row for row in rows}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixed")
    music.make_mixed(root, 8)
    music.make_multitrack(root, 2)
    return root


# ------------------------------------------------------------------------------------- shards


@pytest.mark.slow
def test_shards_hold_every_file_once(mixed, tmp_path):
    rows = ingest(mixed, tmp_path, shards=3)
    assert sorted(rows) == sorted(list_files(mixed))
    for path, row in rows.items():
        assert row["status"] == "kept", row
        assert (row["kind"] == "midi") == bool(row["ngrams"]) == bool(row["notes"])
        assert len(row["sha256"]) == len(row["notes_hash"]) == 64
        assert float(row["seconds"]) > 15
        assert int(shard_of(path, 3)) in range(3)


def test_pools_change_nothing(mixed, tmp_path):
    for run, threads in (("a", 1), ("b", 3)):
        ingest(mixed, tmp_path / run, threads, shards=2)
    for shard in ("0.csv", "1.csv"):
        first = (tmp_path / "a/ingest" / shard).read_bytes()
        assert first == (tmp_path / "b/ingest" / shard).read_bytes()


@pytest.mark.slow
def test_limit_is_one_choice_over_all_shards(mixed, tmp_path):
    chosen = [set(ingest(mixed, tmp_path, shards=n, limit=4)) for n in (1, 2, 5)]
    assert chosen[0] == chosen[1] == chosen[2]
    assert len(chosen[0]) == 4


def test_empty_shards_have_a_header(tmp_path):
    root = tmp_path / "one"
    music.make_chorales(root, 1)
    assert len(ingest(root, tmp_path, shards=5)) == 1
    lengths = [len((tmp_path / f"ingest/{i}.csv").read_text().splitlines()) for i in range(5)]
    assert sorted(lengths) == [1, 1, 1, 1, 2]


# ------------------------------------------------------------------------------------ reasons


def wav(path, samples, rate=16000, **options):
    soundfile.write(path, samples, rate, **options)


def test_bad_files_are_rows(tmp_path):
    root = tmp_path / "odd"
    root.mkdir()
    good = music.chorale(root / "good.mid", Random(0)).read_bytes()
    tone = np.sin(np.arange(16000) / 10).astype(np.float32)
    wav(root / "good.wav", tone)
    (root / "empty.mid").touch()
    (root / "empty.wav").touch()
    (root / "empty.mp3").touch()
    (root / "cut.mid").write_bytes(good[: len(good) // 2])
    (root / "text.mid").write_text("no music")
    (root / "text.wav").write_text("no music")
    (root / "text.mp3").write_text("no music" * 1000)
    (root / "renamed.wav").write_bytes(good)
    wav(root / "nothing.wav", np.zeros(0, np.float32))
    wav(root / "silent.wav", np.zeros(16000, np.float32))
    wav(root / "nan.wav", np.array([0.1, np.nan, 0.2], np.float32), subtype="FLOAT")
    wav(root / "inf.wav", np.array([0.1, np.inf, 0.2], np.float32), subtype="FLOAT")
    wav(root / "long.flac", tone, format="FLAC")
    (root / "short.flac").write_bytes((root / "long.flac").read_bytes()[:-3000])
    mido.MidiFile().save(root / "nothing.mid")
    (root / "dead.mid").symlink_to("nowhere")
    (root / "notes.txt").write_text("hello")
    (root / "no suffix").write_text("hello")
    (root / "-rf.mid").write_bytes(good)
    (root / os.fsdecode(b"\xff\xfe.mid")).write_bytes(good)
    rows = ingest(root, tmp_path)
    assert len(rows) == len(list(list_files(root))) == 22
    reasons = {path: row["reason"].partition(":")[0] for path, row in rows.items()}
    assert reasons == {
        **dict.fromkeys(["good.mid", "good.wav", "long.flac", "-rf.mid", "\\xff\\xfe.mid"], ""),
        **dict.fromkeys(["empty.mid", "empty.wav", "empty.mp3"], "empty_file"),
        **dict.fromkeys(["cut.mid", "short.flac"], "ends_early"),
        **dict.fromkeys(["text.wav", "text.mp3", "renamed.wav"], "corrupt_audio"),
        "text.mid": "corrupt_midi",
        "nothing.wav": "no_samples",
        "silent.wav": "silent",
        **dict.fromkeys(["nan.wav", "inf.wav"], "non_finite_samples"),
        "nothing.mid": "no_notes",
        "dead.mid": "unreadable",
        **dict.fromkeys(["notes.txt", "no suffix"], "unsupported_type"),
    }
    assert rows["notes.txt"]["reason"] == "unsupported_type: .txt"
    for row in rows.values():
        assert row["status"] == ("rejected" if row["reason"] else "kept")


def piece(tmp_path, parts, rules, **options):
    music.write_midi(tmp_path / "x.mid", parts, **options)
    return read_piece(rules, tmp_path, "x.mid")


def test_the_default_filter_takes_what_people_have(tmp_path):
    notes = [(q, 1, 60 + q % 12, 5) for q in range(30)]
    row = piece(tmp_path, [(0, 40, notes), (9, 0, notes)], ANY)
    assert (row["status"], row["notes"], row["programs"]) == ("kept", "30", "40 drums")


@pytest.mark.parametrize(
    ("channel", "program", "velocity", "rules", "reason"),
    [
        (9, 0, 60, Filter(), "only_drums"),
        (9, 0, 60, Filter(drums="keep"), ""),
        (9, 0, 60, Filter(drums="reject"), "has_drums"),
        (0, 6, 60, Filter(programs=[0, 5]), "program_not_allowed: 6"),
        (0, 5, 60, Filter(programs=[0, 5]), ""),
        (0, 5, 9, Filter(min_velocity=10), "velocity_too_low: 9"),
        (0, 5, 10, Filter(min_velocity=10), ""),
        (0, 5, 10, Filter(max_minutes=0.2), "too_long: 0.2 min"),
        (9, 0, 60, WE_SHARP, "has_drums"),
        (0, 6, 60, WE_SHARP, "program_not_allowed: 6"),
        (0, 5, 9, WE_SHARP, "velocity_too_low: 9"),
        (0, 5, 10, WE_SHARP, ""),
    ],
)
def test_filters(tmp_path, channel, program, velocity, rules, reason):
    notes = [(q, 1, 60 + q % 12, velocity) for q in range(30)]
    row = piece(tmp_path, [(channel, program, notes)], rules)
    assert row["reason"] == reason
    assert row["programs"] == ("drums" if channel == 9 else str(program))


def test_what_is_left_out_does_not_count(tmp_path):
    """Dropped drums change neither length nor hash; mapped programs are one."""
    notes, drums = [(q, 1, 60 + q % 12, 60) for q in range(30)], [(q, 1, 36, 2) for q in range(90)]
    bare = piece(tmp_path, [(0, 7, notes)], ANY)
    with_drums = piece(tmp_path, [(0, 7, notes), (9, 0, drums)], Filter(min_velocity=10))
    assert with_drums["status"] == "kept"
    for column in ("notes_hash", "seconds", "notes", "ngrams"):
        assert bare[column] == with_drums[column]
    mapped = [piece(tmp_path, [(0, p, notes)], Filter(map_programs_to=0)) for p in (7, 30)]
    assert mapped[0]["notes_hash"] == mapped[1]["notes_hash"] != bare["notes_hash"]
    assert mapped[1]["programs"] == "30"


def test_ten_hours_are_rejected_at_once(tmp_path):
    row = piece(tmp_path, [(0, 0, [(0, 1, 60, 60), (72000, 1, 62, 60)])], ANY)
    assert row["reason"] == "too_long: 600.0 min"
    header = bytearray(44)
    soundfile.write(tmp_path / "x.wav", np.zeros(100, np.int16), 8000)
    header[:] = (tmp_path / "x.wav").read_bytes()[:44]
    size = 10 * 3600 * 8000 * 2
    header[4:8], header[40:44] = (n.to_bytes(4, "little") for n in (size + 36, size))
    with (tmp_path / "hours.wav").open("wb") as file:
        file.write(header)
        file.truncate(size + 44)  # sparse: takes no disk
    row = read_piece(Filter(max_minutes=599), tmp_path, "hours.wav")
    assert row["reason"] == "too_long: 600.0 min"


def test_audio_is_the_same_whatever_holds_it(tmp_path):
    samples = (np.sin(np.arange(8000) / 9) * 9000).astype(np.int16)
    for name in ("a.wav", "b.flac", "c.aiff"):
        wav(tmp_path / name, samples)
    wav(tmp_path / "d.wav", samples[::-1])
    rows = [read_piece(ANY, tmp_path, n) for n in ("a.wav", "b.flac", "c.aiff", "d.wav")]
    hashes = Counter(row["notes_hash"] for row in rows)
    assert sorted(hashes.values()) == [1, 3]
    assert len({row["sha256"] for row in rows}) == 4


# ----------------------------------------------------------------------------------- metadata


def described(tmp_path, text, files, encoding="utf-8"):
    (tmp_path / "metadata.csv").write_bytes(text.encode(encoding))
    return read_metadata(tmp_path, files, OURS)


FILES = ["a/x.mid", "a/x.wav", "a/y.mid", "b/y.mid", "b/ü z.mid", "b/readme.txt"]


def test_metadata_finds_its_files(tmp_path):
    text = "file;Caption;split\n./a/x;one;test\nb\\y.mid;two;\n ü z ;three;valid\n;none;\n"
    found = described(tmp_path, text, FILES)
    assert found.columns == ["Caption", "split"]
    assert found.of("a/x.mid") == found.of("a/x.wav") == {"Caption": "one", "split": "test"}
    assert found.of("b/y.mid")["Caption"] == "two"
    assert found.of("b/ü z.mid")["Caption"] == "three"
    assert found.of("a/y.mid") == {}
    assert not found.warnings


def test_metadata_that_fits_no_file_is_said(tmp_path):
    text = "path,caption\ny,which?\ngone.mid,where?\nreadme.txt,no music\na/x.mid,1\na/x.mid,2\n"
    found = described(tmp_path, text, FILES)
    assert found.rows == {"a/x.mid": {"caption": "1"}}
    assert "names 'a/x.mid' more than once" in found.warnings[0]
    assert found.warnings[1].startswith("3 rows of metadata.csv have no single file: y, gone.mid")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("piece,seconds,notes\na/x.mid,9,8\n", "utf-8"),
        ("\ufeffStem\tseconds\tnotes\nx\t9\t8\n", "utf-8"),
        ("seconds;file;notes\n9;x;8;extra\n", "cp1252"),
    ],
)
def test_metadata_of_spreadsheets(tmp_path, text, encoding):
    found = described(tmp_path, text, FILES, encoding)
    assert found.of("a/x.mid") == {"metadata_seconds": "9", "metadata_notes": "8"}


@pytest.mark.parametrize("text", ["", "caption,split\na,test\n", "\n\n"])
def test_metadata_without_names(tmp_path, text):
    with refused("missing-column"):
        described(tmp_path, text, FILES)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.text('path,;\t"\n\r\0\ufeffaé', max_size=40).map(str.encode))
def test_no_bytes_crash_the_metadata(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("metadata")
    (root / "metadata.csv").write_bytes(data)
    with suppress(UserError):
        found = read_metadata(root, FILES, OURS)
        assert all(found.of(name).keys() <= set(found.columns) for name in FILES)


def test_metadata_is_in_every_shard(mixed, tmp_path):
    root = shutil.copytree(mixed, tmp_path / "copy")
    midi = sorted(Path(p).name for p in list_files(root) if p.startswith("mid"))
    lines = "".join(f"{name},\"a, 'caption'\n{i}\"\n" for i, name in enumerate(midi))
    (root / "metadata.csv").write_text(f"file,caption\n{lines}")
    rows = ingest(root, tmp_path, shards=3)
    assert "metadata.csv" not in rows
    captions = {Path(path).name: row["caption"] for path, row in rows.items()}
    for i, name in enumerate(midi):
        assert captions.pop(name) == f"a, 'caption'\n{i}"
    assert set(captions.values()) == {""}
