"""The seed's own preprocessing, each of its steps and defects on a hand-made case."""

from __future__ import annotations

from collections import Counter

from etude.config import Filter, OnOff
from etude.midi.messages import read_messages
from etude.midi.we_sharp import (
    Line,
    Pair,
    drop_chords,
    drop_doubled,
    map_pairs,
    read_lines,
    sort_blocks,
    words,
)
from etude.tokenizers.symbolic.onoff import OnOffTokenizer
from tests.unit.test_onoff import midi, mido


def line(text):
    """`on 60 480` as a line."""
    kind, note, delta = text.split()
    return Line(kind == "on", 0, int(note), 80, int(delta))


def lines(*texts):
    return [line(text) for text in texts]


def test_tracks_stand_one_after_another_and_resolution_and_other_time_are_lost():
    tempo = mido.MetaMessage("set_tempo", tempo=400_000, time=96)
    data = midi([("on", 72, 0), tempo, ("off", 72, 4)], [("on", 60, 0), ("off", 60, 96)], ticks=96)
    found = read_lines(read_messages(data))
    assert [(x.on, x.note, x.delta) for x in found] == [
        (True, 72, 0), (False, 72, 4), (True, 60, 0), (False, 60, 96)
    ]  # fmt: skip


def test_velocity_0_stays_a_note_on():
    found = read_lines(read_messages(midi([("on", 60, 0), ("on", 60, 10, 0)])))
    assert [x.kind for x in found] == ["note_on", "note_on"]
    assert map_pairs(found) == []


def test_step_1_sorts_a_line_with_the_zero_deltas_after_it():
    found = sort_blocks(lines("on 67 5", "on 60 0", "on 64 0", "off 67 9", "on 50 3"))
    assert found == lines("on 60 5", "on 64 0", "on 67 0", "off 67 9", "on 50 3")


def test_step_1_is_stable():
    found = sort_blocks(lines("off 60 5", "on 60 0"))
    assert found == lines("off 60 5", "on 60 0")


def test_step_2_takes_a_note_off_twice():
    found = map_pairs(lines("on 60 0", "on 60 10", "off 60 20", "on 62 0"))
    assert found == [Pair(60, 1, 3, 30), Pair(60, 2, 3, 20)]


def test_step_3_deletes_the_second_note_on_and_the_first_note_off():
    kept, gone = drop_doubled(lines("on 60 0", "on 60 10", "off 60 20", "off 60 30", "on 62 5"))
    # The lines 2 and 3 go; of their time, 10 is lost since the next line goes too.
    assert kept == lines("on 60 0", "off 60 50", "on 62 5")
    assert gone == lines("on 60 10", "off 60 20")


def test_step_3_moves_time_to_a_line_that_survives():
    kept, _ = drop_doubled(lines("on 60 0", "on 60 10", "on 64 1", "off 60 20", "off 60 30"))
    assert kept == lines("on 60 0", "on 64 11", "off 60 50")


def test_step_3_goes_on_until_nothing_changes():
    kept, gone = drop_doubled(
        lines("on 60 0", "on 60 1", "on 60 1", "off 60 1", "off 60 1", "off 60 1")
    )
    assert [x.kind for x in kept] == ["note_on", "note_off"]
    assert len(gone) == 4


def test_step_4_misses_the_first_note_of_a_chord():
    triad = lines("on 60 5", "on 64 0", "on 67 0", "off 60 9", "off 64 0", "off 67 0")
    assert drop_chords(triad, map_pairs(triad)) == (triad, Counter())
    four = lines("on 60 5", "on 64 0", "on 67 0", "on 72 0",
                 "off 60 9", "off 64 0", "off 67 0", "off 72 0")  # fmt: skip
    kept, chords = drop_chords(four, map_pairs(four))
    assert kept == lines("on 60 5", "off 60 9")
    assert chords == {(64, 67, 72): 1}


def test_step_4_takes_a_chord_at_the_very_beginning_whole():
    triad = lines("on 60 0", "on 64 0", "on 67 0", "off 60 9", "off 64 0", "off 67 0")
    assert drop_chords(triad, map_pairs(triad))[0] == []


def test_step_4_reads_a_stale_table():
    before = lines("on 50 0", "on 50 1", "off 50 1", "off 50 1",
                   "on 60 5", "on 64 0", "on 67 0", "on 72 0",
                   "off 60 9", "off 64 0", "off 67 0", "off 72 0")  # fmt: skip
    pairs = map_pairs(before)
    kept, _ = drop_doubled(before)
    fresh, stale = drop_chords(kept, map_pairs(kept))[0], drop_chords(kept, pairs)[0]
    assert fresh == lines("on 50 0", "off 50 2", "on 60 5", "off 60 9")
    assert stale != fresh  # line 5 of the table is no longer line 5


def test_words_are_clamped_to_a_pitch_that_no_word_has():
    found = words(lines("on 110 0", "off 10 7", "on 108 100"), transpose=1)
    assert found == ["on_109_0", "off_21_7", "on_109_100"]


def test_deltas_are_not_quantised_and_become_unknown():
    tokenizer = OnOffTokenizer(OnOff(kind="onoff", compat="we_sharp"))
    data = midi([("on", 60, 0), ("off", 60, 100), ("on", 108, 0), ("off", 108, 480)])
    encoded = tokenizer.encode_file(data, Filter(), (0, 1))
    assert [i == 4048 for i in encoded.ids[0]] == [False, True, False, False]
    assert [i == 4048 for i in encoded.ids[1]] == [False, True, True, True]  # 109
    assert encoded.counts["unknowns"] == 1
    assert encoded.counts["lines"] == encoded.counts["tokens"] == 4
    assert encoded.counts["pairs"] == 2


def test_counts_and_files_of_a_piece():
    tokenizer = OnOffTokenizer(OnOff(kind="onoff", compat="we_sharp", drop_chords=True))
    chord = [("on", 50, 480), *[("on", p, 0) for p in (60, 64, 67)], ("off", 50, 480),
             *[("off", p, 0) for p in (60, 64, 67)]]  # fmt: skip
    encoded = tokenizer.encode_file(midi(chord), Filter(), files=True)
    assert (encoded.counts["chords"], encoded.counts["chord_notes"]) == (1, 3)
    assert encoded.counts["tokens"] == 2
    assert encoded.files[".chords.csv"] == "Chord,Count\n60_64_67,1\n"
    assert encoded.files[".melody.txt"] == "note_on 50 80 480\nnote_off 50 80 480\n"
    assert encoded.files[".tokens.txt"] == "on_50_480\noff_50_480\n"
    assert encoded.statistics["chord", "60_64_67"] == 1
