"""Note tables against pretty_midi, and what tells pieces apart."""

import io
import struct
from contextlib import suppress
from pathlib import Path
from random import Random

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import unusable

from etude.midi.events import read_events, read_rows
from etude.midi.messages import read_messages
from etude.midi.notes import (
    DRUMS,
    MidiError,
    NoteTable,
    notes_hash,
    parse_midi,
    read_midi,
    top_voice,
    tune_ngrams,
)
from tests import music

DEFAULT = np.zeros((0, 2), dtype=np.int64)


def table(notes, ticks=480):
    """(onset, duration, pitch[, program]) in ticks, as a table."""
    rows = np.array([(*note, 0)[:4] for note in notes], dtype=np.int64).reshape(-1, 4)
    pitch, program = rows[:, 2].astype(np.int16), rows[:, 3].astype(np.int16)
    made = NoteTable(
        rows[:, 0], rows[:, 1], pitch, np.full(len(rows), 64, np.int16), program, DEFAULT, ticks
    )
    return made.at(made.order())


def melody(pitches, ticks=480):
    return table([(i * ticks, ticks, pitch) for i, pitch in enumerate(pitches)], ticks)


# ---------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("make", [music.chorale, music.multitrack, music.piano])
@pytest.mark.parametrize("seed", [0, 1])
def test_table_equals_pretty_midi(tmp_path, make, seed):
    path = make(tmp_path / "x.mid", Random(seed))
    ours = read_midi(path)
    theirs = pretty_midi.PrettyMIDI(str(path))
    expected = sorted(
        (note.start, note.pitch, DRUMS if part.is_drum else part.program, note.end, note.velocity)
        for part in theirs.instruments
        for note in part.notes
    )
    columns = (ours.onset_s, ours.pitch, ours.program, ours.end_s, ours.velocity)
    found = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert len(found) == len(expected) > 90
    np.testing.assert_allclose(np.array(found), np.array(expected), atol=1e-6)
    assert ours.seconds == pytest.approx(theirs.get_end_time())


def test_notes_are_in_order(tmp_path):
    ours = read_midi(music.multitrack(tmp_path / "x.mid", Random(3)))
    keys = list(zip(ours.onset, ours.pitch, ours.program, ours.duration, strict=True))
    assert keys == sorted(keys)


def smf(*tracks, ticks=480):
    file = mido.MidiFile(ticks_per_beat=ticks)
    for track in tracks:
        file.tracks.append(mido.MidiTrack(track))
    out = io.BytesIO()
    file.save(file=out)
    return bytearray(out.getvalue())


def note(on=0, length=100, pitch=60):
    return [
        mido.Message("note_on", note=pitch, time=on),
        mido.Message("note_off", note=pitch, time=length),
    ]


@pytest.mark.parametrize(
    ("data", "reason", "named"),
    [
        (b"", "empty_file", ""),
        (b"MThd", "ends_early", "4 of 14"),
        (b"<html>not found</html>" * 9, "corrupt_midi", "web page"),
        (bytes(smf(note() * 50))[:200], "ends_early", "178 of 404 bytes of track 1 of 1"),
        (smf(note())[:12] + b"\0\0" + smf(note())[14:], "corrupt_midi", "0 ticks"),
        (smf(note())[:12] + struct.pack(">bB", -25, 40) + smf(note())[14:], "unsupported_midi", ""),
        (smf([*note(2**28 - 1), *note(2**28 - 1) * 9]), "corrupt_midi", ""),
    ],
)
def test_bad_files_have_a_reason(data, reason, named):
    with unusable(reason, named):
        parse_midi(bytes(data))


@pytest.mark.parametrize("size", [7, 10, 300])
def test_a_longer_header_is_legal(size):
    """By the standard a reader takes the six bytes that it knows."""
    plain = bytes(smf(note() * 3, note(pitch=70)))
    longer = plain[:4] + struct.pack(">I", size) + plain[8:14] + bytes(size - 6) + plain[14:]
    assert notes_hash(parse_midi(longer)) == notes_hash(parse_midi(plain))
    for read in (read_rows, lambda data: read_messages(data).tick):
        np.testing.assert_array_equal(read(longer)[0], read(plain)[0])
    with unusable("corrupt_midi", "5 bytes"):
        parse_midi(plain[:4] + struct.pack(">I", 5) + plain[8:])


def test_type_2_is_read_where_it_has_one_track():
    one, two = bytes(smf(note())), bytes(smf(note(), note(pitch=70)))
    assert len(parse_midi(one[:9] + b"\2" + one[10:])) == 1
    with unusable("unsupported_midi", "type 2", "2 patterns"):
        parse_midi(two[:9] + b"\2" + two[10:])


def test_odd_files_are_read():
    assert len(parse_midi(bytes(smf()))) == 0
    assert len(parse_midi(bytes(smf(note()[:1])))) == 0  # never ends
    assert len(parse_midi(bytes(smf(note(length=0) + note())))) == 1  # no length
    wrapped = b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + bytes(smf(note()))
    assert len(parse_midi(wrapped)) == 1
    tempo_0 = [mido.MetaMessage("set_tempo", tempo=0), *note(length=480)]
    assert parse_midi(bytes(smf(tempo_0))).seconds == pytest.approx(0.5)
    slow = [mido.MetaMessage("set_tempo", tempo=2**24 - 1), *note(on=2**27)]
    assert parse_midi(bytes(smf(slow, ticks=1))).seconds > 1e9


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_crash_the_readers(data):
    sound = bytes(smf(note() * 8, note(pitch=70) * 3))
    broken = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    for parse in (parse_midi, read_events):
        with suppress(MidiError):
            parse(bytes(broken))


# ----------------------------------------------------------------------- the hash of the notes


def test_hash_is_of_the_notes_alone(tmp_path):
    notes = [(q, 0.5, 60 + q % 7, 60) for q in range(20)]
    base = read_midi(music.write_midi(tmp_path / "a.mid", [(0, 0, notes)]))
    same = [
        music.write_midi(tmp_path / "b.mid", [(0, 0, notes)], ticks=960),
        music.write_midi(tmp_path / "c.mid", [(0, 0, notes)], tempos=[(0, 300_000)]),
        music.write_midi(tmp_path / "d.mid", [(0, 0, notes[::2]), (3, 0, notes[1::2])]),
        music.write_midi(tmp_path / "e.mid", [(0, 0, [(q + 4, d, p, 99) for q, d, p, _ in notes])]),
    ]
    for path in same:
        assert notes_hash(read_midi(path)) == notes_hash(base), path.name
    other = [
        music.write_midi(tmp_path / "f.mid", [(0, 1, notes)]),
        music.write_midi(tmp_path / "g.mid", [(0, 0, notes[:-1])]),
        music.write_midi(tmp_path / "h.mid", [(0, 0, [(q, 0.25, p, v) for q, _, p, v in notes])]),
        music.write_midi(tmp_path / "i.mid", [(0, 0, [(2 * q, 1, p, v) for q, _, p, v in notes])]),
    ]
    hashes = {notes_hash(read_midi(path)) for path in other} | {notes_hash(base)}
    assert len(hashes) == 5


# -------------------------------------------------------------------------------------- tunes


def test_top_voice():
    # A held c'' over moving inner voices, a chord, drums above all, and a legato overlap.
    held = [(0, 960, 72), (0, 480, 60), (480, 480, 64)]
    chord = [(960, 480, 70), (960, 480, 75), (960, 480, 90, DRUMS)]
    made = table([*held, *chord, (1440, 500, 74), (1920, 480, 71)])
    assert top_voice(made).pitch.tolist() == [72, 75, 74, 71]
    assert len(top_voice(table([]))) == 0


def test_tunes_know_no_transposition_tempo_or_rhythm():
    random = Random(5)
    pitches = [random.randrange(60, 80) for _ in range(40)]
    base = tune_ngrams(melody(pitches))
    assert len(base) == 32
    assert (np.diff(base.astype(np.int64)) > 0).all()
    np.testing.assert_array_equal(base, tune_ngrams(melody([p + 5 for p in pitches])))
    np.testing.assert_array_equal(base, tune_ngrams(melody(pitches, ticks=96)))
    uneven = table([(i * i * 10, 10, pitch) for i, pitch in enumerate(pitches)])
    np.testing.assert_array_equal(base, tune_ngrams(uneven))
    assert len(tune_ngrams(melody(pitches[:8]))) == 0
    assert len(tune_ngrams(melody(pitches[:9]))) == 1
    assert len(tune_ngrams(melody([60] * 50))) == 1


def test_reading_a_missing_file():
    with unusable("unreadable"):
        read_midi(Path("/nowhere/x.mid"))
