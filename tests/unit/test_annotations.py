"""Music that was played freely, and files beside it that say where its beats are, in which key."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import invalid, unusable

from etude.config import Annotations, ArchiveCorpus, FolderCorpus, RemiZ
from etude.corpus.fetch import fetch
from etude.corpus.ingest import ingest_shard
from etude.midi.beats import Beats, clock_of, on_beats, read_beats, read_keys
from etude.midi.keys import written_key
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table
from etude.storage import read_csv, write_csv
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.workflow.sources import fetch_params, is_fetched, scanned_as
from tests import music

POP909 = {
    "beats": "beat_midi.txt",
    "keys": "key_audio.txt",
    "leave_out": ["*/versions/*", "*/chord_midi.txt"],
}


def corpus(root, **options):
    common = {"source": "folder", "path": root, "shards": 1, "annotations": POP909}
    return FolderCorpus(**common | options)


def fetched(root, **options):
    target = root.parent / "results" / "source"
    target.parent.mkdir(exist_ok=True)
    fetch(corpus(root, **options), target, 1)
    return target


def table(rows, **options):
    onset, duration, pitch, track = np.array(rows).reshape(-1, 4).T
    return plain_table(onset, duration, pitch, track=track, **options)


@pytest.fixture
def songs(tmp_path):
    """Three songs as POP909 has them, and what was meant by them."""
    root = tmp_path / "POP909"
    meant = {
        f"{n:03d}": music.played(root / f"{n:03d}", Random(n), upbeat=n, tonic=2 * n)
        for n in range(3)
    }
    return root, meant


def ingested(root, **options):
    settings = corpus(root, annotations=None, **options)
    ingest_shard(settings, root, 0, root.parent / "ingest.csv", 1)
    return {row["path"]: row for row in read_csv(root.parent / "ingest.csv")}


# ---------------------------------------------------------------------------------------- songs


def test_songs_that_were_played_are_as_they_were_meant(songs):
    """Every note of every track on its sixteenth, bar lines and upbeats where they are."""
    root, meant = songs
    target = fetched(root)
    for name, tracks in meant.items():
        found = read_midi(target / name / f"{name}.mid")
        assert found.upbeat == int(name) * found.ticks_per_quarter
        assert found.signatures[-1].tolist()[1:] == [4, 4]
        for number, notes in enumerate(tracks.values()):
            own = found.at(found.track == number)
            onsets = sorted({(round(4 * q), p) for q, _, p in notes})
            assert sorted(zip(own.onset * 4 // 480, own.pitch, strict=True)) == onsets
        assert (found.onset % 120 == 0).all()
        assert (found.duration % 120 == 0).all()


def test_a_song_sounds_as_it_was_played(songs):
    """The tempos keep the time: no onset is off by more than half a sixteenth."""
    root, _ = songs
    target = fetched(root)
    own = read_midi(root / "001" / "001.mid")
    found = read_midi(target / "001" / "001.mid")
    assert len(np.unique(found.tempos[:, 1])) > 20
    first = read_beats((root / "001" / "beat_midi.txt").read_text()).seconds[0]
    assert np.abs(np.sort(own.onset_s) - np.sort(found.onset_s) - first).max() < 0.6 / 8


def test_a_song_comes_back_from_remi_z(songs):
    root, _ = songs
    target = fetched(root)
    tokenizer = RemiZTokenizer(
        RemiZ(kind="remi_z", order="file", normalise_key=True, key_from="file")
    )
    for path in sorted(target.rglob("*.mid")):
        whole = read_midi(path)
        song, moved = tokenizer.prepared(whole, path.read_bytes())
        assert moved == -2 * int(path.stem)
        back = tokenizer.decode(tokenizer.encode(song))
        assert tokenizer.measured(song, moved)["rounded"] == 0
        assert len(back) == len(whole)
        for name in ("onset", "duration", "pitch", "track"):
            scale = 480 // back.ticks_per_quarter if name in ("onset", "duration") else 1
            assert (getattr(back, name) * scale == getattr(song, name)).all(), name


def test_keys_are_key_signatures(songs):
    root, _ = songs
    target = fetched(root)
    for n in range(3):
        key = written_key((target / f"{n:03d}" / f"{n:03d}.mid").read_bytes())
        assert (key.tonic, key.minor) == (2 * n, False)
    rows = {row["path"]: row for row in read_csv(target / "metadata.csv")}
    assert [row["key"] for row in rows.values()] == ["C:maj", "D:maj", "E:maj"]
    only = fetched(root, annotations=POP909 | {"beats": None})
    assert written_key((only / "002" / "002.mid").read_bytes()).tonic == 4
    assert (
        read_midi(only / "002" / "002.mid").onset == read_midi(root / "002/002.mid").onset
    ).all()


def test_versions_and_annotations_are_no_pieces(songs):
    root, _ = songs
    files = sorted(p.relative_to(fetched(root)).as_posix() for p in fetched(root).rglob("*.*"))
    assert files == ["000/000.mid", "001/001.mid", "002/002.mid", "metadata.csv"]
    assert "000/versions/000-v1.mid" in {
        p.relative_to(root).as_posix() for p in root.rglob("*.mid")
    }, "the user's folder is as it was"


def test_an_archive_is_annotated_too(songs, tmp_path):
    root, _ = songs
    shutil.make_archive(str(tmp_path / "pop"), "zip", root.parent, "POP909")
    settings = ArchiveCorpus(source="archive", url=str(tmp_path / "pop.zip"), annotations=POP909)
    (tmp_path / "results").mkdir()
    fetch(settings, tmp_path / "results" / "source", 1)
    of_folder = fetched(root.parent / "POP909")
    one, other = tmp_path / "results" / "source", of_folder
    assert (one / "001/001.mid").read_bytes() == (other / "001/001.mid").read_bytes()
    assert [p.name for p in (tmp_path / "results").iterdir() if p.name.startswith(".")] == []
    assert (tmp_path / "results" / "archive.json").is_file(), "the hash is pinned beside"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no_beats"),
        ("", "few_beats"),
        ("0.5 1 1\n", "few_beats"),
        ("0.5 1 1\nhello\n", "garbled_beats"),
        ("0.5 1 1\n0.4 0 0\n", "garbled_beats"),
        ("nan 1 1\n1 0 0\n", "garbled_beats"),
        ("0 1 1\n500 0 0\n", "garbled_beats"),
        ("0.5 1 1\n1.0 0 0\n", "short_beats"),
        (b"\xff\xfe\x00\x01", "garbled_beats"),
    ],
)
def test_a_piece_without_usable_beats_is_a_row_with_a_reason(songs, text, reason):
    root, _ = songs
    path = root / "001" / "beat_midi.txt"
    path.unlink()
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    rows = ingested(fetched(root))
    assert rows["001/001.mid"]["status"] == "rejected"
    assert rows["001/001.mid"]["reason"].startswith(f"{reason}: ")
    assert {rows[f"00{n}/00{n}.mid"]["status"] for n in (0, 2)} == {"kept"}


def test_a_piece_without_a_key_is_kept(songs):
    root, _ = songs
    (root / "000" / "key_audio.txt").unlink()
    (root / "001" / "key_audio.txt").write_text("what key\n")
    target = fetched(root)
    assert [row["key"] for row in read_csv(target / "metadata.csv")] == ["", "", "E:maj"]
    assert {row["status"] for row in ingested(target).values()} == {"kept"}


def test_what_is_no_midi_is_a_row_as_ever(songs):
    root, _ = songs
    (root / "000" / "000.mid").write_bytes(b"MThd?")
    (root / "notes.txt").write_text("hello")
    rows = ingested(fetched(root))
    assert rows["000/000.mid"]["reason"].startswith("ends_early")
    assert rows["notes.txt"]["reason"].startswith("unsupported_type")


def test_the_users_own_table_is_carried_through(songs):
    root, _ = songs
    mine = [
        {"path": "001/001.mid", "title": "Two", "reject": "a bad take", "key": "mine"},
        {"path": "002/002.mid", "title": "Three", "reject": "", "key": ""},
    ]
    write_csv(root / "metadata.csv", ["path", "title", "reject", "key"], mine)
    rows = ingested(fetched(root))
    assert rows["001/001.mid"]["reason"] == "a bad take"
    assert rows["002/002.mid"]["title"] == "Three"
    assert rows["002/002.mid"]["status"] == "kept"
    assert rows["001/001.mid"]["metadata_key"] == "mine"
    assert rows["001/001.mid"]["key"] == "D:maj"


# ---------------------------------------------------------------------------------------- beats


def test_beats_of_other_files():
    """Times with commas, with the beat's number in its bar, and times alone."""
    numbered = read_beats("0.5,1\n1.0,2\n1.5,3\n2.0,1\n")
    assert numbered.first.tolist() == [True, False, False, True]
    assert read_beats("0.5\n1.0\n").first.tolist() == [False, False]


def test_bars_change_with_the_beats():
    first = [0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    beats = Beats(0.5 * np.arange(18), np.array(first, bool))
    found, _ = on_beats(table([(0, 480, 60, 0), (480 * 16, 480, 60, 0)]), beats, 4)
    assert found.signatures.tolist() == [[0, 2, 4], [960, 3, 4], [480 * 8, 5, 4]]
    assert found.places().bar.tolist() == [0, 4]
    plain, _ = on_beats(table([(0, 480, 60, 0)]), Beats(beats.seconds, np.zeros(18, bool)), 4)
    assert plain.signatures.tolist() == [[0, 4, 4]]


def test_music_before_the_first_beat_has_beats_too():
    beats = Beats(2.0 + 0.5 * np.arange(16), np.arange(16) % 4 == 0)
    song = table([(480, 480, 60, 0), (480 * 4, 480, 62, 0)])  # at 0.5 and 2 seconds
    found, clock = on_beats(song, beats, 4)
    assert found.onset.tolist() == [0, 3 * 480]
    assert found.upbeat == 3 * 480
    assert clock.ticks_at(np.array([2.0, 100.0])).tolist() == [3 * 480, 3 * 480 + 98 * 960]


def test_without_a_grid_notes_stay_between_the_beats():
    beats = Beats(0.7 * np.arange(8), np.arange(8) % 4 == 0)
    song = table([(0, 100, 60, 0), (333, 77, 62, 0)])
    free, _ = on_beats(song, beats, None)
    assert np.abs(free.onset_s - song.onset_s).max() < 0.001
    assert np.abs(free.end_s - song.end_s).max() < 0.002


@given(st.lists(st.floats(0.06, 3.0), min_size=2, max_size=40), st.integers(0, 2**16))
@settings(max_examples=50)
def test_notes_on_beats_are_quarters_whatever_the_tempo(lengths, seed):
    seconds = np.cumsum(lengths)
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(len(seconds) - 1, len(seconds) // 2, replace=False))
    ticks = np.rint(seconds * 960 * 100).astype(np.int64)  # 1/96,000 s
    rows = [(ticks[i], ticks[i + 1] - ticks[i], 60 + i % 12, 0) for i in chosen]
    song = table(rows, ticks_per_quarter=48_000)
    found, _ = on_beats(song, Beats(seconds, np.arange(len(seconds)) % 3 == 0), 4)
    assert found.onset.tolist() == (480 * chosen).tolist()
    assert (found.duration == 480).all()


def test_keys_by_their_names():
    text = "0 10 Gb:maj\n10\t20\tEb:min\n20 30 C#:maj\n30 31 A:min\n"
    assert [(key.fifths, key.minor) for key in read_keys(text)] == [
        (-6, False), (-6, True), (-5, False), (0, True),
    ]  # fmt: skip
    for wrong in ("", "0 1 H:maj", "0 1", "1 0 C:maj", "0 inf C:maj", "0 1 C:maj x"):
        with unusable("garbled_keys"):
            read_keys(wrong)


def test_the_clock_of_a_table_is_its_own():
    song = table([(0, 480, 60, 0), (960, 480, 62, 0)])
    assert np.abs(clock_of(song).ticks_at(song.onset_s) - song.onset).max() < 1e-6
    assert clock_of(table([])).ticks_at(np.array([1.0])).tolist() == [960.0]


# ------------------------------------------------------------------------------- configuration


def test_a_folder_with_annotations_is_copied():
    plain, mine = corpus(".", annotations=None), corpus(".")
    assert not is_fetched(plain)
    assert is_fetched(mine)
    assert scanned_as(corpus(".", annotations=None, shards=3, limit=5)) == (3, 5, "metadata.csv")
    assert scanned_as(corpus(".", shards=3, limit=5)) == (1, None, "metadata.csv")
    assert "annotations" not in plain.params()
    assert "path" not in fetch_params(mine)
    other = corpus(".", annotations=POP909 | {"positions": 12})
    assert fetch_params(other) != fetch_params(mine)


def test_positions_divide_a_beat():
    assert Annotations(positions=12).positions == 12
    with invalid("positions", "positions-do-not-divide"):
        Annotations(positions=7)


def test_results_do_not_depend_on_the_number_of_workers(songs):
    root, _ = songs
    one = {p.name: p.read_bytes() for p in fetched(root).rglob("*.*")}
    target = root.parent / "results" / "source"
    fetch(corpus(root), target, 3)
    assert {p.name: p.read_bytes() for p in Path(target).rglob("*.*")} == one
