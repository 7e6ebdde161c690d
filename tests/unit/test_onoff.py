"""MidiLM's steps as they were meant, rule by rule on hand-made files, and `on|off` tokens."""

from __future__ import annotations

import io

import mido
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import unusable

from etude.config import Filter, OnOff
from etude.midi.cleaning import (
    find_chords,
    join_doubled,
    notes_of,
    pair,
    pair_lines,
    scaled,
    sort_lines,
    table_notes,
)
from etude.midi.messages import read_messages
from etude.midi.notes import MidiError
from etude.midi.writing import plain_table
from etude.tokenizers.symbolic.midilm_vocabulary import DELTAS, NEAREST, encode_notes, token_names
from etude.tokenizers.symbolic.onoff import OnOffTokenizer

NAMES = token_names()
TOKENIZER = OnOffTokenizer(OnOff(kind="onoff"))


def midi(*tracks, ticks=480):
    """A file from tracks of (on|off, pitch, delta), (…, velocity) and (…, channel) at the end."""
    file = mido.MidiFile(type=1, ticks_per_beat=ticks)
    for rows in tracks:
        track = mido.MidiTrack()
        for row in rows:
            if isinstance(row, mido.MetaMessage):
                track.append(row)
                continue
            kind, pitch, delta, *more = row
            velocity, channel = [*more, *(80, 0)[len(more) :]]
            track.append(
                mido.Message(
                    f"note_{kind}", note=pitch, time=delta, velocity=velocity, channel=channel
                )
            )
        file.tracks.append(track)
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def clean(*tracks, ticks=480):
    """Notes (start, end, pitch) after steps 1 and 2, and the counts."""
    lines, counts = sort_lines(read_messages(midi(*tracks, ticks=ticks)), 480)
    begin, end, more = pair_lines(lines)
    notes = notes_of(lines, begin, end)
    rows = zip(notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), strict=True)
    return list(rows), counts | more


def words(data, **options):
    """The tokens of a file, by name, and what was counted."""
    tokenizer = OnOffTokenizer(OnOff(kind="onoff", **options))
    encoded = tokenizer.encode_file(data, Filter())
    return [NAMES[i] for i in encoded.ids[0]], encoded.counts


# --------------------------------------------------------------------------------- the vocabulary


def test_the_vocabulary_is_the_seeds():
    assert TOKENIZER.vocabulary == len(NAMES) == len(set(NAMES)) == 4050
    assert NAMES[:4] == ["on_21_0", "off_21_0", "on_21_1", "off_21_1"]
    assert NAMES[4047:] == ["off_108_1920", "[UNK]", "[PAD]"]
    assert (TOKENIZER.unknown, TOKENIZER.pad) == (4048, 4049)
    assert len(DELTAS) == 23


def test_the_nearest_delta_is_the_nearest():
    for ticks in range(1921):
        distances = np.abs(DELTAS - ticks)
        assert distances[NEAREST[ticks]] == distances.min()


# ------------------------------------------------------------------------------------- the steps


def test_tracks_are_merged_in_time_and_moments_sorted_by_pitch():
    a = [("on", 72, 0), ("off", 72, 480)]
    b = [("on", 60, 0), ("off", 60, 240), ("on", 64, 240), ("off", 64, 480)]
    found, counts = words(midi(a, b))
    assert found == ["on_60_0", "on_72_0", "off_60_240", "on_64_240", "off_72_0", "off_64_480"]
    assert counts["lines"] == 6
    assert counts["pairs"] == 3


def test_a_note_on_of_velocity_0_is_a_note_off():
    notes, counts = clean([("on", 60, 0), ("on", 60, 100, 0)])
    assert notes == [(0, 100, 60)]
    assert counts["velocity_zero"] == 1
    assert counts["note_ons"] == 1


def test_the_time_of_other_messages_is_kept():
    tempo = mido.MetaMessage("set_tempo", tempo=400_000, time=480)
    notes, _ = clean([("on", 60, 0), tempo, ("off", 60, 480)])
    assert notes == [(0, 960, 60)]


def test_ticks_come_to_a_common_resolution_without_adding_up():
    notes, _ = clean([("on", 60, 1), ("off", 60, 1), ("on", 62, 1), ("off", 62, 3)], ticks=3)
    assert notes == [(160, 320, 60), (480, 960, 62)]
    # Each of a thousand times is rounded by itself.
    exact = np.arange(1000) * 7
    assert np.abs(scaled(exact, 10080, 480) - exact * 480 / 10080).max() <= 0.5


def test_ends_come_before_beginnings_of_their_pitch():
    # Some programs write the new note before they let go the old one.
    notes, counts = clean([("on", 60, 0), ("on", 60, 100), ("off", 60, 0), ("off", 60, 100)])
    assert notes == [(0, 100, 60), (100, 200, 60)]
    assert counts["never_end"] == counts["never_begin"] == counts["no_length"] == 0


def test_what_has_no_length_no_end_or_no_beginning_is_counted():
    rows = [("on", 60, 0), ("off", 60, 0), ("on", 62, 10), ("off", 64, 10), ("on", 65, 0)]
    notes, counts = clean([*rows, ("off", 65, 10)])
    assert notes == [(20, 30, 65)]
    assert (counts["no_length"], counts["never_end"], counts["never_begin"]) == (1, 1, 1)


def test_a_note_that_rounds_to_nothing_is_a_tick_long():
    notes, _ = clean([("on", 60, 0), ("off", 60, 3)], ticks=9600)
    assert notes == [(0, 1, 60)]


def test_drums_are_left_out_and_counted():
    found, counts = words(midi([("on", 40, 0, 80, 9), ("on", 60, 10), ("off", 40, 5, 0, 9),
                                ("off", 60, 5)]))  # fmt: skip
    assert found == ["on_60_8", "off_60_8"]  # 10 is nearest to 8
    assert counts["drum_lines"] == 2


def test_pairs_are_brackets_voice_by_voice():
    voice = np.array([1, 2, 1, 1, 2, 1, 1])
    on = np.array([True, True, True, False, False, False, False])
    begin, end = pair(voice, on)
    assert begin.tolist() == [0, 1, 2]
    assert end.tolist() == [5, 4, 3]


def test_channels_do_not_end_each_others_notes():
    notes, _ = clean(
        [("on", 60, 0, 80, 0), ("on", 60, 10, 80, 1), ("off", 60, 10, 0, 0), ("off", 60, 10, 0, 1)]
    )
    assert notes == [(0, 20, 60), (10, 30, 60)]


def test_doubled_notes_are_joined_and_no_time_is_lost():
    a, b = [("on", 60, 0), ("off", 60, 240)], [("on", 60, 120), ("off", 60, 360)]
    found, counts = words(midi(a, b))
    assert found == ["on_60_0", "off_60_480"]
    assert counts["deleted_lines"] == 2
    kept, counts = words(midi(a, b), drop_doubled=False)
    assert kept == ["on_60_0", "on_60_120", "off_60_120", "off_60_240"]
    assert counts["deleted_lines"] == 0


def test_notes_that_touch_are_not_doubled():
    notes = table_notes(plain_table([0, 100], [100, 50], [60, 60]), 480)
    joined, mask = join_doubled(notes)
    assert len(joined) == 2
    assert not mask.any()


def test_chords_go_where_a_melody_is_wanted():
    chord = [("on", p, 0) for p in (48, 52, 55)] + [("off", 48, 480), ("off", 52, 0),
                                                    ("off", 55, 0)]  # fmt: skip
    tune = [("on", 72, 0), ("off", 72, 240), ("on", 74, 0), ("off", 74, 480)]
    found, counts = words(midi(chord, tune), drop_chords=True)
    assert found == ["on_72_0", "off_72_240", "on_74_0", "off_74_480"]
    assert (counts["chords"], counts["chord_notes"]) == (1, 3)
    whole, counts = words(midi(chord, tune))
    assert len(whole) == 10
    assert counts["chords"] == 1  # the statistics are there all the same


def test_two_notes_or_other_durations_are_no_chord():
    table = plain_table([0, 0, 0, 0, 9], [9, 9, 8, 8, 9], [60, 64, 67, 72, 50])
    mask, chords = find_chords(table_notes(table, 480), 3)
    assert not mask.any()
    assert chords == []
    assert find_chords(table_notes(table, 480), 2)[1] == [(67, 72), (60, 64)]


def test_pitches_beyond_the_piano_are_dropped_with_their_time_kept():
    rows = [("on", 20, 0), ("off", 20, 480), ("on", 60, 0), ("off", 60, 480), ("on", 109, 0),
            ("off", 109, 480), ("on", 62, 0), ("off", 62, 480)]  # fmt: skip
    found, counts = words(midi(rows))
    assert found == ["on_60_480", "off_60_480", "on_62_480", "off_62_480"]
    assert counts["lost_out_of_range"] == 2


def test_transpositions_move_pitches_and_drop_what_leaves():
    data = midi([("on", 108, 0), ("off", 108, 480), ("on", 60, 0), ("off", 60, 480)])
    ids = TOKENIZER.encode_file(data, Filter(), (0, -1, 1)).ids
    named = {shift: [NAMES[i] for i in found] for shift, found in ids.items()}
    assert named[-1] == ["on_107_0", "on_59_480", "off_107_0", "off_59_480"]
    assert named[1] == ["on_61_480", "off_61_480"]


def test_the_error_of_quantising_is_counted():
    found, counts = words(midi([("on", 60, 10), ("off", 60, 100), ("on", 60, 5000),
                                ("off", 60, 480)]))  # fmt: skip
    assert found == ["on_60_8", "off_60_90", "on_60_1920", "off_60_480"]
    assert counts["changed_deltas"] == 3
    assert counts["error_ticks"] == 2 + 10 + 3080
    assert counts["ticks"] == 10 + 100 + 5000 + 480
    assert counts["unknowns"] == 0


def test_only_what_begins_early_enough():
    data = midi([mido.MetaMessage("set_tempo", tempo=1_000_000), ("on", 60, 0), ("off", 60, 480),
                 ("on", 62, 0), ("off", 62, 480)])  # fmt: skip
    assert len(TOKENIZER.encode_file(data, Filter(), max_seconds=0.9).ids[0]) == 2
    assert len(TOKENIZER.encode_file(data, Filter(), max_seconds=1.1).ids[0]) == 4


def test_files_of_each_step():
    data = midi([("on", p, 0) for p in (60, 64, 67)] + [("off", 60, 480), ("off", 64, 0),
                                                        ("off", 67, 0)])  # fmt: skip
    files = TOKENIZER.encode_file(data, Filter(), files=True).files
    assert files[".events.txt"].splitlines()[0] == "note_on 0 60 80 0"
    assert files[".sorted.txt"].splitlines()[3] == "note_off 60 80 480"
    assert files[".durations.csv"].splitlines()[1] == "60,1,4,480"
    assert files[".chords.csv"] == "Chord,Count\n60_64_67,1\n"
    assert files[".tokens.txt"].splitlines()[3:] == ["off_60_480", "off_64_0", "off_67_0"]
    assert files[".cleaned.txt"].count("\n") == 6
    assert ".melody.txt" not in files
    melody = OnOffTokenizer(OnOff(kind="onoff", drop_chords=True))
    assert melody.encode_file(data, Filter(), files=True).files[".melody.txt"] == ""


def test_nothing_gives_nothing():
    assert words(midi([]))[0] == []
    assert TOKENIZER.encode(plain_table([], [], [])) == []
    assert len(TOKENIZER.decode([])) == 0
    with unusable("corrupt_midi"):
        read_messages(b"MThd" + bytes(20))


def test_what_mido_refuses_is_read_all_the_same():
    data = midi([("on", 60, 0), ("off", 60, 480)], [("on", 64, 0), ("off", 64, 240)])
    place = data.index(b"MTrk")
    size = int.from_bytes(data[place + 4 : place + 8], "big")
    key = b"\x00\xff\x59\x02\x0c\x00"  # twelve sharps
    broken = data[: place + 4] + (size + 6).to_bytes(4, "big") + key + data[place + 8 :]
    with unusable("corrupt_midi"):
        read_messages(broken)
    assert words(broken) == words(data)
    with unusable("corrupt_midi"):  # as the seed, which stops there
        words(broken, compat="we_sharp")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for whole in (data, midi([("on", 60, 0), ("off", 60, 480)])[:18] + data):
        try:
            encoded = TOKENIZER.encode_file(whole, Filter())
        except MidiError:
            continue
        assert TOKENIZER.invalid_share(encoded.ids[0]) == 0


# ------------------------------------------------------------------------------ there and back

NOTE = st.tuples(st.integers(0, 4000), st.integers(1, 1500), st.integers(21, 108))


def as_rows(table):
    """(onset, duration, pitch) of every note."""
    return [*zip(table.onset.tolist(), table.duration.tolist(), table.pitch.tolist(), strict=True)]


@settings(max_examples=60, deadline=None)
@given(st.lists(NOTE, max_size=40))
def test_decoding_gives_back_what_was_encoded_up_to_the_deltas(notes):
    table = plain_table(*(np.array(c, np.int64) for c in zip(*notes, strict=True))) if notes else (
        plain_table([], [], []))  # fmt: skip
    ids = TOKENIZER.encode(table)
    cleaned = join_doubled(table_notes(table, 480))[0].sorted()
    found = TOKENIZER.decode(ids)
    assert sorted(found.pitch.tolist()) == sorted(cleaned.pitch.tolist())
    assert TOKENIZER.encode(found) == ids  # quantised times are stable
    assert TOKENIZER.invalid_share(ids) == 0
    _, delta, nearest = encode_notes(cleaned)
    error = np.abs(np.cumsum(nearest) - np.cumsum(delta)).max(initial=0)
    starts = sorted(cleaned.start.tolist())
    assert all(
        abs(a - b) <= error for a, b in zip(sorted(found.onset.tolist()), starts, strict=True)
    )
    if (nearest == delta).all():
        assert as_rows(found) == [
            *zip(cleaned.start.tolist(), (cleaned.end - cleaned.start).tolist(),
                 cleaned.pitch.tolist(), strict=True)
        ]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 4060), max_size=60))
def test_any_ids_decode_and_nothing_is_left_hanging(ids):
    table = TOKENIZER.decode(ids)
    assert (table.duration >= 1).all()
    assert ((table.pitch >= 21) & (table.pitch <= 108)).all()
    begun = [i for i in ids if 0 <= i < 4048 and i % 2 == 0]
    assert len(table) == len(begun)


# ----------------------------------------------------------------------------------- the grammar


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4049), min_size=1, max_size=50))
def test_the_share_of_invalid_ids_is_that_of_the_mask(ids):
    grammar = TOKENIZER.grammar()
    state, wrong = grammar.start(1), []
    for i in ids:
        wrong.append(not bool(grammar.allowed(state)[0, i]))
        state = grammar.advance(state, torch.tensor([i]))
    assert TOKENIZER.invalid_share(ids) == pytest.approx(np.mean(wrong))
    if len(ids) > 1:
        assert TOKENIZER.invalid_share(ids[1:], ids[:1]) == pytest.approx(np.mean(wrong[1:]))


def test_the_grammar_serves_a_batch():
    grammar = TOKENIZER.grammar()
    state = grammar.start(2)
    state = grammar.advance(state, torch.tensor([NAMES.index("on_60_0"), NAMES.index("on_61_0")]))
    allowed = grammar.allowed(state)
    assert allowed.shape == (2, 4050)
    for row, (sounding, silent) in enumerate(((60, 61), (61, 60))):
        assert allowed[row, NAMES.index(f"off_{sounding}_480")]
        assert not allowed[row, NAMES.index(f"on_{sounding}_480")]
        assert allowed[row, NAMES.index(f"on_{silent}_0")]
        assert not allowed[row, NAMES.index(f"off_{silent}_0")]
    assert not allowed[:, 4048:].any()
    # Random music under the mask is valid, and its notes all end.
    generator, ids = torch.Generator().manual_seed(0), []
    state = grammar.start(1)
    for _ in range(200):
        ids.append(int(torch.multinomial(grammar.allowed(state).float(), 1, generator=generator)))
        state = grammar.advance(state, torch.tensor(ids[-1:]))
    assert TOKENIZER.invalid_share(ids) == 0
