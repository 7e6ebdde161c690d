"""The seed's own preprocessing, each of its steps and defects on a hand-made case."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import unusable

from etude.config import Filter, OnOff
from etude.midi.messages import read_messages
from etude.midi.we_sharp import (
    EventPair,
    NoteLine,
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
    return NoteLine(kind == "on", 0, int(note), 80, int(delta))


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
    assert found == [EventPair(60, 1, 3, 30), EventPair(60, 2, 3, 20)]


def test_step_3_deletes_the_second_note_on_and_the_first_note_off():
    kept, gone = drop_doubled(lines("on 60 0", "on 60 10", "off 60 20", "off 60 30", "on 62 5"))
    # The lines 2 and 3 go; of their time, 10 is lost since the next line goes too.
    assert kept == lines("on 60 0", "off 60 50", "on 62 5")
    assert gone == lines("on 60 10", "off 60 20")


def test_step_3_moves_time_to_a_line_that_survives():
    kept, _ = drop_doubled(lines("on 60 0", "on 60 10", "on 64 1", "off 60 20", "off 60 30"))
    assert kept == lines("on 60 0", "on 64 11", "off 60 50")


def test_step_3_also_looks_at_lines_that_this_pass_has_marked():
    kept, gone = drop_doubled(
        lines("on 60 0", "on 60 1", "on 60 2", "off 60 3", "off 60 4", "off 60 5")
    )
    # The first marks 2 and 4; the second, marked itself, marks 3 and 4. None is left to be doubled.
    assert kept == lines("on 60 0", "off 60 7", "off 60 5")
    assert gone == lines("on 60 1", "on 60 2", "off 60 3")


def test_step_3_goes_on_until_nothing_changes():
    kept, gone = drop_doubled(
        lines("on 60 0", "on 60 1", "off 60 2", "on 60 3", "off 60 4", "off 60 5")
    )
    # Only when 2 and 3 are gone does the fourth stand between the first and its end.
    assert kept == lines("on 60 0", "off 60 9")
    assert gone == lines("on 60 1", "off 60 2", "on 60 5", "off 60 4")


def test_step_3_leaves_a_note_that_never_ends():
    alone = lines("on 60 0", "on 60 1", "on 62 0", "off 62 1")
    assert drop_doubled(alone) == (alone, [])


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


def test_step_4_moves_time_only_to_a_line_that_stays():
    four = lines("on 60 0", "on 64 0", "on 67 0", "off 60 9", "off 64 2", "on 50 1", "off 67 0",
                 "off 50 4")  # fmt: skip
    equal = [EventPair(60, 1, 4, 9), EventPair(64, 2, 5, 9), EventPair(67, 3, 7, 9)]
    # 9 of the fourth line is lost, as the fifth goes too; 2 goes to the sixth, 0 to the last.
    assert drop_chords(four, equal)[0] == lines("on 50 3", "off 50 4")


def test_step_4_takes_whatever_stands_under_a_number_of_its_stale_table():
    now = lines("on 50 1", "off 50 0", "on 60 0", "off 71 0", "on 72 5", "off 72 6")
    stale = [
        EventPair(64, 2, 5, 9),
        EventPair(40, 3, 6, 9),
        EventPair(52, 4, 90, 9),
        EventPair(72, 5, 6, 6),
    ]
    kept, chords = drop_chords(now, stale)
    assert chords == {(40, 52, 64): 1}  # the table's notes, not those of the lines
    assert kept == lines("on 50 1")  # a note-off is taken for an on; there is no line 90


def test_step_4_reads_a_stale_table():
    before = lines("on 50 0", "on 50 1", "off 50 1", "off 50 1",
                   "on 60 5", "on 64 0", "on 67 0", "on 72 0",
                   "off 60 9", "off 64 0", "off 67 0", "off 72 0")  # fmt: skip
    pairs = map_pairs(before)
    kept, _ = drop_doubled(before)
    fresh, stale = drop_chords(kept, map_pairs(kept)), drop_chords(kept, pairs)
    assert fresh[0] == lines("on 50 0", "off 50 2", "on 60 5", "off 60 9")
    assert fresh[1] == {(64, 67, 72): 1}
    # 64, 67 and 72 were lines 6 to 8 and are 4 to 6: of the run, two stand in the table.
    assert stale == (kept, Counter())


@pytest.mark.slow
@given(
    st.lists(st.builds(NoteLine, st.booleans(), st.just(0), st.sampled_from([60, 62, 64, 65]),
                       st.just(80), st.sampled_from([0, 0, 0, 1, 2])), max_size=40)
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_steps_3_and_4_are_the_rules_read_word_for_word(found):
    pairs = map_pairs(found)
    kept, gone = drop_doubled(found)
    assert kept == step_3(found)
    assert len(kept) + len(gone) == len(found)
    assert drop_chords(kept, pairs) == step_4(kept, pairs)


def step_3(found):
    while True:
        marked = set()
        for i, line in enumerate(found):
            later = [j for j in range(i + 1, len(found)) if found[j].note == line.note]
            on = next((j for j in later if found[j].on), None)
            off = next((j for j in later if not found[j].on), None)
            if line.on and None not in (on, off) and on < off:
                marked |= {on, off}
        if not marked:
            return found
        found = moved(found, marked)


def step_4(found, pairs):
    runs, chords, gone = [[]], Counter(), set()
    for i, line in enumerate(found):
        if line.delta:
            runs.append([])
        else:
            runs[-1].append(i + 1)
    for run in runs:
        rows = [pair for pair in pairs if pair.on_line in run]
        for duration in {row.duration for row in rows}:
            group = [row for row in rows if row.duration == duration]
            if len(group) >= 3:
                chords[tuple(sorted(row.note for row in group))] += 1
                gone |= {row.on_line - 1 for row in group} | {row.off_line - 1 for row in group}
    return moved(found, gone), chords


def moved(found, gone):
    deltas = [line.delta for line in found]
    for i in range(len(found) - 1):
        if i in gone and i + 1 not in gone:
            deltas[i + 1] += deltas[i]
    return [replace(x, delta=deltas[i]) for i, x in enumerate(found) if i not in gone]


def test_a_wrapped_file_and_one_with_values_over_127_cannot_be_read():
    as_the_seed = OnOffTokenizer(OnOff(kind="onoff", compat="we_sharp"))
    bare = midi([("on", 60, 0), ("off", 60, 480)])
    wrapped = b"RIFF" + (len(bare) + 12).to_bytes(4, "little") + b"RMIDdata"
    wrapped += len(bare).to_bytes(4, "little") + bare
    loud = bare.replace(bytes([60, 80]), bytes([60, 200]))
    assert loud != bare
    assert as_the_seed.encode_file(bare, Filter()).ids[0]
    for odd in (wrapped, loud):
        assert OnOffTokenizer(OnOff(kind="onoff")).encode_file(odd, Filter()).ids[0]
        with unusable("corrupt_midi"):
            as_the_seed.encode_file(odd, Filter())


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
