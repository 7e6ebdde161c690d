"""Note tables written as MIDI files open everywhere and leave no note hanging."""

from __future__ import annotations

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.midi.notes import read_midi
from etude.midi.writing import apart, plain_table, write_midi

NOTE = st.tuples(
    st.integers(0, 2000), st.integers(1, 900), st.integers(0, 127), st.integers(1, 127),
    st.sampled_from([0, 25, 128]),
)  # fmt: skip


def table_of(notes):
    columns = [np.array(c, np.int64) for c in zip(*notes, strict=True)] or [np.zeros(0)] * 5
    return plain_table(*columns[:3], velocity=columns[3], program=columns[4], quarters_a_minute=90)


def rows(table):
    return sorted(
        zip(table.onset.tolist(), table.duration.tolist(), table.pitch.tolist(),
            table.velocity.tolist(), table.program.tolist(), strict=True)
    )  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(notes=st.lists(NOTE, max_size=30))
def test_what_is_written_is_read_again(notes, tmp_path_factory):
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    table = table_of(notes)
    write_midi(table, path)
    found = read_midi(path)
    assert rows(found) == rows(apart(table))
    assert found.tempos.tolist() == [[0, 666_667]]
    sounding: dict[tuple[int, int], int] = {}
    for track in mido.MidiFile(path).tracks:
        for message in track:
            if message.type in ("note_on", "note_off"):
                begins = message.type == "note_on" and message.velocity > 0
                key = (message.channel, message.note)
                sounding[key] = sounding.get(key, 0) + (1 if begins else -1)
                assert sounding[key] in (0, 1)
    assert not any(sounding.values())


def test_notes_of_one_pitch_are_taken_apart():
    table = plain_table([0, 50, 0, 0], [100, 10, 30, 20], [60, 60, 62, 62])
    assert rows(apart(table)) == [(0, 30, 62, 80, 0), (0, 50, 60, 80, 0), (50, 10, 60, 80, 0)]
    assert len(apart(plain_table([], [], []))) == 0


def test_two_voices_at_one_pitch_are_two_notes(tmp_path):
    """Of one program, at the same moment and one in the midst of the other."""
    table = plain_table([0, 0, 100, 100], [480, 480, 900, 50], [60, 60, 62, 62], track=[0, 1, 2, 1])
    write_midi(table, tmp_path / "a.mid")
    found = read_midi(tmp_path / "a.mid")
    assert rows(found) == rows(table)
    assert found.track.tolist() == [0, 1, 1, 2]  # by onset, pitch, program, duration, then track
    assert len(np.unique(table.track)) == 3
    assert len(apart(table.as_one_track())) == 2
    for part in (found.at(found.track > 0), found.played_with(5), found.without_drums()):
        assert len(part.track) == len(part)
    assert set(found.played_with(5).track) == {0, 1, 2}


def test_more_programs_than_channels(tmp_path):
    table = plain_table(np.arange(40), np.full(40, 10), np.full(40, 60), program=np.arange(40))
    write_midi(table, tmp_path / "many.mid")
    assert read_midi(tmp_path / "many.mid").programs() == list(range(40))


@pytest.mark.slow
def test_music21_reads_it(tmp_path):
    import music21

    write_midi(table_of([(0, 480, 60, 80, 0), (480, 480, 64, 80, 0)]), tmp_path / "a.mid")
    score = music21.converter.parse(tmp_path / "a.mid", forceSource=True, storePickle=False)
    assert [note.pitch.midi for note in score.flatten().notes] == [60, 64]
