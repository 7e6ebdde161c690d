"""REMI-z: its words by hand, the way back by chance, what any ids mean, what is left out and why."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config import Filter, FolderCorpus, RemiZ, SymbolicTokenSet
from etude.corpus.ingest import ingest_shard
from etude.midi import bars
from etude.midi.notes import DRUMS, NoteTable
from etude.midi.writing import plain_table, to_score, write_midi
from etude.storage import read_csv
from etude.tokenizers.symbolic import factory, tokenize
from etude.tokenizers.symbolic.account import REASONS
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.tokenize import tokenize_shard
from tests import music

GRID = 12


def made(**options) -> RemiZTokenizer:
    return RemiZTokenizer(RemiZ(kind="remi_z", **options))


PLAIN = made()
NAMES = PLAIN.names()
ID = {name: number for number, name in enumerate(NAMES)}


def ids_of(text, tokenizer=PLAIN):
    number = {name: i for i, name in enumerate(tokenizer.names())}
    return [number[word] for word in text.split()]


def text_of(ids, tokenizer=PLAIN):
    return " ".join(tokenizer.names()[i] for i in ids)


def table(rows, signatures=(), quarter=GRID, tempos=None, **options) -> NoteTable:
    """Notes (track, program, onset, duration, pitch[, velocity]); times in ticks."""
    rows = [(*row, 80)[:6] for row in rows]
    track, program, onset, duration, pitch, velocity = np.array(rows, np.int64).reshape(-1, 6).T
    found = plain_table(
        onset, duration, pitch, velocity=velocity, program=program, track=track,
        ticks_per_quarter=quarter, **options,
    )  # fmt: skip
    found = replace(found, signatures=np.array(signatures, np.int64).reshape(-1, 3))
    return found if tempos is None else replace(found, tempos=np.array(tempos, np.int64))


def voices(found: NoteTable, velocity=False):
    """The notes of each voice in quarters, the voices without their numbers."""
    scale = 960 // found.ticks_per_quarter
    of: dict = {}
    columns = [found.track, found.program, found.onset * scale, found.duration * scale]
    columns += [found.pitch, found.velocity if velocity else found.pitch]
    for track, *note in zip(*(column.tolist() for column in columns), strict=True):
        of.setdefault(track, []).append(tuple(note))
    return sorted(tuple(sorted(notes)) for notes in of.values())


# --------------------------------------------------------------------------------------- the words


def test_every_id_has_a_name_of_its_own_and_its_number():
    assert PLAIN.vocabulary == len(NAMES) == len(set(NAMES)) == 833
    assert NAMES[:5] == ["[PAD]", "[BOS]", "[EOS]", "[MASK]", "b-1"]
    numbers = PLAIN.numbers()
    assert numbers[ID["o-36"]] == ("o", 36)
    assert numbers[ID["d-127"]] == ("d", 127)
    assert numbers[ID["s-4/4"]] == ("s", 9), "the original's number"
    full = made(drums=True, velocities=True, tempos=True)
    assert full.vocabulary == 833 + 49 + 1 + 128 + 32
    assert full.numbers()[full.names().index("drum-36")] == ("p", 164)


def test_what_is_not_asked_for_has_no_words():
    bare = made(time_signatures=False, longest=48)
    kinds = {name.split("-")[0] for name in bare.names()}
    assert kinds == {"[PAD]", "[BOS]", "[EOS]", "[MASK]", "b", "u", "i", "o", "p", "d"}
    assert "o-47" in bare.names()
    assert "o-48" not in bare.names()


def test_a_phrase_has_onsets_pitches_durations_and_velocities():
    loud = made(velocities=True)
    kinds = {loud.names()[i].split("-")[0] for i in loud.phrase_vocabulary}
    assert kinds == {"o", "p", "d", "v"}
    assert len(loud.phrase_vocabulary) == 96 + 128 + 127 + 32


def test_a_piece_by_hand():
    """Two voices of one program: one bar each; the higher is first; pitches fall in a moment."""
    low = [(0, 5, 0, 12, 48), (0, 5, 60, 6, 50)]
    high = [(1, 5, 0, 24, 60), (1, 5, 0, 6, 64), (1, 5, 0, 24, 64), (1, 5, 13, 1, 62)]
    ids = PLAIN.encode(table([*low, *high]))
    assert text_of(ids) == (
        "s-4/4 i-5 o-0 p-64 d-24 p-64 d-6 p-60 d-24 o-13 p-62 d-1 i-5 o-0 p-48 d-12 b-1 "
        "s-4/4 i-5 i-5 o-12 p-50 d-6 b-1"
    )
    together = made(tracks="program")
    assert text_of(together.encode(table([*low, *high])), together) == (
        "s-4/4 i-5 o-0 p-64 d-24 p-64 d-6 p-60 d-24 p-48 d-12 o-13 p-62 d-1 b-1 "
        "s-4/4 i-5 o-12 p-50 d-6 b-1"
    )


def test_drums_velocities_and_tempos_by_option():
    rows = [(0, DRUMS, 0, 3, 36, 127), (1, 40, 0, 12, 60, 1), (1, 40, 48, 12, 61, 80)]
    song = table(rows, tempos=[(0, 500_000), (30, 250_000)])
    full = made(drums=True, velocities=True, tempos=True)
    ids = full.encode(song)
    assert text_of(ids, full) == (
        "s-4/4 t-35 i-40 o-0 p-60 d-12 v-0 i-128 o-0 drum-36 d-3 v-31 b-1 "
        "s-4/4 t-47 i-40 o-0 p-61 d-12 v-20 i-128 b-1"
    ), "drums are last, whatever their pitch; the tempo is the one at the bar line"
    back = full.decode(ids)
    assert back.program.tolist() == [DRUMS, 40, 40]
    assert back.velocity.tolist() == [126, 2, 82]
    assert np.abs(60e6 / back.tempos[:, 1] - [120.8, 241.6]).max() < 0.1
    assert back.tempos[:, 0].tolist() == [0, 4 * back.ticks_per_quarter]
    bare = text_of(PLAIN.encode(song))
    assert "i-128" not in bare
    assert "v-" not in bare


def test_tracks_in_the_order_of_the_file():
    rows = [(0, 0, 0, 12, 40), (1, 0, 0, 12, 80)]
    asked = made(order="file")
    assert asked.bars(asked.encode(table(rows)))[0].phrases[:2] == [
        ids_of("o-0 p-40 d-12"),
        ids_of("o-0 p-80 d-12"),
    ]


# -------------------------------------------------------------------------------------- bar lines


def test_an_upbeat_is_the_end_of_a_whole_bar():
    song = table([(0, 0, 0, 6, 60), (0, 0, 12, 48, 62)], [(0, 1, 4), (12, 4, 4)])
    ids = PLAIN.encode(song)
    assert text_of(ids) == "s-4/4 u-36 i-0 o-36 p-60 d-6 b-1 s-4/4 i-0 o-0 p-62 d-48 b-1"
    assert PLAIN.decode(ids).signatures.tolist() == [[0, 1, 4], [48, 4, 4]]
    assert PLAIN.bars(ids)[0].start == 36
    assert PLAIN.bars(ids)[0].signature == (4, 4)
    silent = table([(0, 0, 36, 6, 60)])
    assert text_of(PLAIN.encode(silent)) == "s-4/4 i-0 o-36 p-60 d-6 b-1", "a rest is no upbeat"


def test_a_signature_in_the_midst_of_a_bar_begins_one():
    song = table([(0, 0, 0, 6, 60), (0, 0, 72, 6, 62), (0, 0, 102, 6, 64)], [(0, 4, 4), (72, 5, 8)])
    ids = PLAIN.encode(song)
    assert [bar.signature for bar in PLAIN.bars(ids)] == [(4, 4), (2, 4), (5, 8), (5, 8)]
    assert voices(PLAIN.decode(ids)) == voices(song)


def test_a_very_long_bar_is_several():
    song = table([(0, 0, 12 * q, 12, 60 + q) for q in range(24)], [(0, 12, 4)])
    ids = PLAIN.encode(song)
    assert [bar.signature for bar in PLAIN.bars(ids)] == [(6, 4)] * 4
    assert voices(PLAIN.decode(ids)) == voices(song)


def test_without_signatures_bars_have_four_quarters():
    bare = made(time_signatures=False)
    rows = [(0, 0, 0, 6, 60), (0, 0, 12, 6, 62), (0, 0, 48, 6, 64)]
    ids = bare.encode(table(rows, [(0, 1, 4), (12, 3, 4)]))
    assert text_of(ids, bare) == "u-36 i-0 o-36 p-60 d-6 b-1 i-0 o-0 p-62 d-6 o-36 p-64 d-6 b-1"
    assert voices(bare.decode(ids)) == voices(table(rows))


# ------------------------------------------------------------------------------- there and back

SIGNS = [(4, 4), (3, 4), (5, 8), (6, 8), (2, 2), (7, 16), (1, 4), (9, 8), (3, 2)]


@st.composite
def songs(draw, off_grid=False):
    """Up to six voices, changing meters that may cut a bar short, now and then an upbeat."""
    finer = draw(st.sampled_from([1, 2, 40]))
    quarter, signs, at = GRID * finer, [], 0
    if draw(st.booleans()):
        at = draw(st.sampled_from([3, 6, 12])) * finer
        signs.append((0, *bars.signature(at, quarter)))
    for _ in range(draw(st.integers(0, 3))):
        numerator, denominator = draw(st.sampled_from(SIGNS))
        signs.append((at, numerator, denominator))
        length = 4 * GRID * numerator // denominator
        cut = draw(st.sampled_from([0, 0, 0, 3]))
        at += max(length * draw(st.integers(1, 3)) - cut, 3) * finer
    programs = draw(st.lists(st.sampled_from([0, 0, 7, DRUMS]), min_size=6, max_size=6))
    step = 1 if off_grid else finer
    rows = [
        (track, programs[track], onset * step, length * step, pitch, velocity)
        for track, onset, length, pitch, velocity in draw(
            st.lists(
                st.tuples(
                    st.integers(0, 5), st.integers(0, 300), st.integers(1, 140),
                    st.integers(0, 127), st.integers(1, 127),
                ),
                max_size=24,
            )
        )
    ]  # fmt: skip
    return table(rows, signs, quarter)


OPTIONS = st.fixed_dictionaries(
    {
        "tracks": st.sampled_from(["track", "program"]),
        "order": st.sampled_from(["pitch", "file"]),
        "time_signatures": st.booleans(),
        "velocities": st.booleans(),
        "drums": st.booleans(),
        "tempos": st.booleans(),
        "slots": st.sampled_from([2, 6]),
    }
)


@pytest.mark.slow
@given(songs(), OPTIONS)
@settings(max_examples=60)
def test_what_is_on_the_grid_comes_back(song, options):
    tokenizer = made(**options | {"slots": 6, "longest": 140, "drums": True})
    ids = tokenizer.encode(song)
    back = tokenizer.decode(ids)
    if tokenizer.settings.tracks == "program":
        song = replace(song, track=song.program.astype(np.int32))
    assert voices(back) == voices(song)
    assert tokenizer.measured(song, 0)["rounded"] == 0
    assert tokenizer.invalid_share([*ids, tokenizer.eos] if ids else ids) == 0
    read = tokenizer.bars(ids)
    assert tokenizer.join(read) == ids
    again = tokenizer.encode(back)
    one, other = song.places(), back.places()
    same_bars = (one.bar == other.bar).all() or not tokenizer.settings.time_signatures
    assert same_bars or not len(song)
    if not (tokenizer.settings.time_signatures and cuts_a_bar(song)):
        assert again == ids
        if tokenizer.settings.time_signatures and len(song):
            assert (one.offset * other.length == other.offset * one.length).all()
    else:  # A cut bar has its own signature afterwards, and gives it to the upbeat before it.
        assert tokenizer.bars(again)[1:] == read[1:]


def cuts_a_bar(song):
    """Whether a time signature begins within a bar."""
    start, numerator, denominator = bars.whole_bars(song.signatures, song.ticks_per_quarter).T
    length = 4 * song.ticks_per_quarter * numerator[:-1]
    return bool((np.diff(start) * denominator[:-1] % length).any())


@pytest.mark.slow
@given(songs(off_grid=True), OPTIONS)
@settings(max_examples=60)
def test_each_note_is_in_the_ids_or_in_the_account(song, options):
    tokenizer = made(**options)
    ids = tokenizer.encode(song)
    lost, counts = tokenizer.losses(song, ids), tokenizer.measured(song, 0)
    assert {f"lost_{reason}" for reason in lost} <= REASONS.keys()
    assert tokenizer.notes_in(ids) + sum(lost.values()) == len(song)
    assert tokenizer.notes_in(ids) == len(tokenizer.decode(ids))
    assert tokenizer.invalid_share(ids) == 0
    assert tokenizer.join(tokenizer.bars(ids)) == ids
    if not sum(lost.values()):
        scale, ours = tokenizer.ticks_per_quarter, tokenizer.decode(ids)
        one = sorted(zip(song.onset * scale, song.pitch, song.duration * scale, strict=True))
        other = (
            ours.onset * song.ticks_per_quarter,
            ours.pitch,
            ours.duration * song.ticks_per_quarter,
        )
        same = len(set(one) & set(zip(*other, strict=True)))
        assert same >= len(set(one)) - counts["rounded"] - counts["clamped"]


def test_what_is_off_the_grid_is_counted():
    song = table([(0, 0, 0, 40, 60), (0, 0, 41, 40, 62), (0, 0, 120, 39, 64)], quarter=480)
    counts = PLAIN.measured(song, 0)
    assert counts["rounded"] == 2
    assert PLAIN.decode(PLAIN.encode(song)).onset.tolist() == [0, 4, 12]
    late = table([(0, 0, 1919, 240, 60)], quarter=480)
    assert text_of(PLAIN.encode(late)) == "s-4/4 b-1 s-4/4 i-0 o-0 p-60 d-6 b-1".replace(
        "s-4/4 b-1", "s-4/4 i-0 b-1"
    ), "half a position before the bar line is the bar line"


def test_what_is_too_long_is_cut_and_counted():
    song = table([(0, 0, 0, 128, 60), (0, 0, 0, 127, 62)])
    assert PLAIN.measured(song, 0)["clamped"] == 1
    assert PLAIN.decode(PLAIN.encode(song)).duration.tolist() == [127 * 4, 127 * 4]


def test_notes_of_twenty_tracks_in_four_slots():
    rows = [(t, t, 12 * n, 12, 40 + t) for t in range(20) for n in range(1 + t % 10)]
    song = table(rows)
    ids = PLAIN.encode(song)
    lost = PLAIN.losses(song, ids)
    assert lost["slots"] == len(song) - 10 - 10 - 9 - 9
    assert PLAIN.bars(ids)[0].instruments == [19, 18, 9, 8], "those with the most notes, by pitch"
    assert all(len(bar.phrases) == 4 for bar in PLAIN.bars(ids))


def test_a_note_after_days_of_silence_is_left_out():
    song = table([(0, 0, 0, 12, 60), (0, 0, 2**31, 12, 60)])
    ids = PLAIN.encode(song)
    assert PLAIN.losses(song, ids)["out_of_range"] == 1
    assert len(ids) < 10


# ------------------------------------------------------------------------------------- any ids


def test_what_makes_no_sense_is_passed_over():
    assert PLAIN.phrase_notes(ids_of("p-60 d-6 o-3 d-6 p-60 p-61 d-5 o-9 p-60 o-12 d-6")) == [
        (3, 61, 5, 64)
    ], "no onset, no pitch, no duration"
    loose = PLAIN.decode(ids_of("o-0 p-60 d-12 b-1 b-1 i-7 o-0 p-62 d-12"))
    assert loose.program.tolist() == [0, 7]
    assert loose.onset.tolist() == [0, 8 * PLAIN.ticks_per_quarter], "the last bar is closed"
    loud = made(velocities=True)
    found = loud.phrase_notes(ids_of("v-3 o-0 p-60 d-6 p-59 d-6 v-10 v-20", loud))
    assert found == [(0, 60, 6, 64), (0, 59, 6, 42)]
    assert len(PLAIN.decode([])) == 0
    assert PLAIN.bars([PLAIN.bos, PLAIN.eos, 10**6, -5]) == []


@pytest.mark.slow
@given(st.lists(st.integers(-2, made(drums=True, velocities=True).vocabulary + 2)), OPTIONS)
@settings(max_examples=100)
def test_any_ids_are_notes_and_bars(ids, options):
    tokenizer = made(**options)
    found = tokenizer.decode(ids)
    known = [i for i in ids if 0 <= i < tokenizer.vocabulary]
    assert len(found) <= tokenizer.notes_in(known)
    assert 0 <= tokenizer.invalid_share(known) <= 1
    again = tokenizer.join(tokenizer.bars(ids))
    assert voices(tokenizer.decode(again)) == voices(found)
    assert to_score(found).note_num() == len(found)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), OPTIONS)
@settings(max_examples=10)
def test_what_the_grammar_allows_is_read_as_it_is(seed, options):
    """Random walks along it: no note is lost, and taking apart and joining changes nothing."""
    tokenizer, random = made(**options), np.random.default_rng(seed)
    grammar = tokenizer.grammar()
    state, ids = grammar.start(2), []
    for _ in range(120):
        allowed = grammar.allowed(state)
        assert allowed.any(dim=1).all()
        ids.append([int(random.choice(np.flatnonzero(row))) for row in allowed.numpy()])
        state = grammar.advance(state, torch.tensor(ids[-1]))
    for row in np.array(ids).T.tolist():
        assert tokenizer.invalid_share(row) == 0
        music_ids = row[: row.index(tokenizer.eos)] if tokenizer.eos in row else row
        whole = [i for i in music_ids if tokenizer.names()[i].startswith("d-")]
        assert len(tokenizer.decode(music_ids)) == len(whole)


@pytest.mark.parametrize(
    "text",
    [
        "i-0",  # no signature
        "s-4/4 u-48",  # an upbeat beyond its bar
        "s-4/4 i-0 o-48",  # an onset beyond its bar
        "s-4/4 i-0 o-12 p-60 d-12 o-12",  # time stands still
        "s-4/4 i-0 o-0 p-60 d-12 p-61",  # pitch rises
        "s-4/4 i-0 o-0 p-60 d-12 p-60 d-13",  # the longer note of a pitch is first
        "s-4/4 i-0 o-0 d-12",
        "s-4/4 i-0 o-0 p-60 b-1",
        "s-4/4 i-0 i-0 i-0 i-0 i-0",  # more than there are slots
        "s-4/4 i-0 i-0 b-1 s-4/4 i-0 b-1",  # the first bar has two tracks
        "s-4/4 i-0 b-1 [EOS] i-0",
        "s-4/4 i-0 b-1 [MASK]",
    ],
)
def test_the_grammar_forbids(text):
    *ids, last = ids_of(text)
    assert PLAIN.invalid_share([last], prompt=ids) == 1
    assert PLAIN.invalid_share(ids) == 0, "the rest is as it should be"


# -------------------------------------------------------------------------------------- files


def test_a_piece_is_moved_to_its_key_before_transpositions(tmp_path):
    """In D: by two down, at every transposition of the set, and the shift stands in the row."""
    scale = [62, 64, 66, 67, 69, 71, 73, 74, 62, 66, 69, 62]
    song = table([(0, 0, 12 * n, 12, pitch) for n, pitch in enumerate(scale)])
    write_midi(song, tmp_path / "d.mid")
    data = (tmp_path / "d.mid").read_bytes()
    kept, moved = made(), made(normalise_key=True)
    encoded = moved.encode_file(data, Filter(), [0, 1])
    assert encoded.counts["key_shift"] == -2
    first = moved.decode(encoded.ids[0]).pitch
    assert first.tolist() == [pitch - 2 for pitch in scale]
    assert (moved.decode(encoded.ids[1]).pitch == first + 1).all()
    assert kept.decode(kept.encode_file(data, Filter()).ids[0]).pitch.tolist() == scale


def test_notes_that_the_key_takes_out_of_range_are_lost_for_a_reason():
    low = table([(0, 0, 12 * n, 12, p) for n, p in enumerate([2, 4, 6, 1, 0, 2, 6, 9, 2])])
    data = bytes(to_score(low).dumps_midi())
    counts = made(normalise_key=True).encode_file(data, Filter()).counts
    assert counts["key_shift"] == -2
    assert counts["lost_out_of_range"] == 2
    assert counts["notes_in"] == counts["notes_out"] + 2


def test_it_is_saved_and_loaded(tmp_path):
    tokenizer = made(slots=3, velocities=True)
    tokenizer.save(tmp_path)
    again = factory.load_symbolic_tokenizer(tmp_path)
    assert isinstance(again, RemiZTokenizer)
    assert again.settings == tokenizer.settings
    assert again.names() == tokenizer.names()


def long_song(count):
    """Four voices through many bars, which is about 20 tokens a voice and bar."""
    random = Random(count)
    return [
        (0, 0, [(q, 1, 80 - 12 * v + random.randrange(5), 80) for q in range(4 * count)])
        for v in range(4)
    ]


@pytest.fixture
def rows(tmp_path):
    """Songs of one and of 300 bars, and one without notes, as tokens: rows by piece, and lines."""
    root = tmp_path / "music"
    music.write_midi(root / "one.mid", [(0, 0, [(0, 1, 60, 80)])])
    music.write_midi(root / "long.mid", long_song(300))
    music.write_midi(root / "drums.mid", [(9, 0, [(0, 1, 36, 90)])])
    settings = FolderCorpus(source="folder", path=root, shards=1)
    ingest_shard(settings, root, 0, tmp_path / "ingest.csv", 1)
    folder = tmp_path / "remi_z"
    tokenizer = RemiZ(kind="remi_z")
    factory.make_tokenizer(tokenizer, Filter(), None, [], None, folder)

    def tokens(**options):
        whole = {"window": 65536, "stride": 65536, "fewest": 2, "long_pieces": "drop"}
        tokenize.loaded.cache_clear()
        tokenize_shard(
            SymbolicTokenSet(tokenizer="remi_z", transpositions=[0], **whole | options),
            Filter(), folder, tmp_path / "ingest.csv", root, tmp_path / "t.jsonl",
            tmp_path / "t.csv", tmp_path / "s.csv", 1,
        )  # fmt: skip
        lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
        return {r["piece"].rpartition("-")[0]: r for r in read_csv(tmp_path / "t.csv")}, lines

    return tokens


@pytest.mark.slow
def test_a_whole_piece_is_one_row(rows):
    table, lines = rows()
    assert table["long"]["bars"] == "300"
    assert [len(PLAIN.bars(line["input_ids"])) for line in lines] == [300, 1]
    assert {line["window"] for line in lines} == {0}
    assert table["one"]["notes_out"] == "1"
    assert table["one"]["key_shift"] == "0"


def test_a_piece_of_more_than_a_window_is_a_row_with_a_reason(rows):
    table, lines = rows(window=1024, stride=1024, shortest=1)
    assert table["long"]["reason"].startswith("too_long: ")
    assert len(lines) == 1
    table, lines = rows(window=1024, stride=1024, shortest=1, long_pieces="cut")
    assert table["long"]["reason"] == ""
    assert len(lines) > 10
