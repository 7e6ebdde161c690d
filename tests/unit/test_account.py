"""Every note has an account: what came in is in a window, or was left out for a reason."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config import Filter, OnOff, Remi, RemiZ, Structured, SymbolicTokenSet, Tsd
from etude.midi.notes import parse_midi
from etude.midi.writing import plain_table, to_score
from etude.tokenizers.symbolic import tokenize
from etude.tokenizers.symbolic.account import ACCOUNT, REASONS, in_words
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer
from etude.tokenizers.symbolic.midi_tok import MidiTokTokenizer
from etude.tokenizers.symbolic.onoff import OnOffTokenizer
from tests.unit.test_onoff import midi

KINDS = {"remi": Remi, "tsd": Tsd, "structured": Structured}
# MidiTok's options that change which notes stay; Neuromusic's are the defaults.
OPTIONS = (
    {}, {"drop_doubled": False}, {"drum_pitches": True}, {"bpe": 420}, {"chords": False},
    {"programs": False}, {"programs": False, "bpe": 420},
)  # fmt: skip
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from(["on", "on", "off"]),
        st.sampled_from([0, 20, 21, 60, 60, 60, 64, 67, 108, 109, 127]),
        st.sampled_from([0, 0, 1, 30, 60, 480]),
        st.sampled_from([0, 80, 80]),
        st.sampled_from([0, 0, 1, 9]),
    ),
    max_size=60,
)
NOTES = st.lists(
    st.tuples(
        st.integers(0, 300).map(lambda tick: tick * 20),
        st.integers(1, 2000),
        st.sampled_from([0, 20, 21, 36, 60, 60, 61, 89, 108, 109, 127]),
        st.sampled_from([0, 0, 40, 128]),
    ),
    max_size=40,
)


def adds_up(counts):
    assert all(counts[column] >= 0 for column in ACCOUNT), counts
    return counts["notes_in"] == counts["notes_out"] + sum(counts[reason] for reason in REASONS)


@pytest.mark.slow
@given(MESSAGES, st.booleans(), st.booleans(), st.sampled_from([None, 0.5]))
@settings(max_examples=150, deadline=None)
def test_of_onoff(messages, drop_doubled, drop_chords, max_seconds):
    settings_ = OnOff(kind="onoff", drop_doubled=drop_doubled, drop_chords=drop_chords)
    tokenizer = OnOffTokenizer(settings_)
    encoded = tokenizer.encode_file(midi(messages), Filter(), (1, 0), max_seconds)
    begun = sum(kind == "on" and velocity > 0 for kind, _, _, velocity, _ in messages)
    assert encoded.counts["notes_in"] == begun
    assert encoded.counts["notes_out"] == tokenizer.notes_in(encoded.ids[0])
    assert 2 * encoded.counts["notes_out"] == len(encoded.ids[0])
    assert encoded.counts.keys() == set(tokenizer.count_columns)
    assert adds_up(encoded.counts)


@given(MESSAGES, st.booleans())
@settings(max_examples=100, deadline=None)
def test_of_onoff_as_we_sharp(messages, drop_chords):
    compat = OnOff(kind="onoff", compat="we_sharp", drop_chords=drop_chords)
    tokenizer = OnOffTokenizer(compat)
    encoded = tokenizer.encode_file(midi(messages), Filter())
    assert encoded.counts["notes_in"] == sum(kind == "on" for kind, *_ in messages)
    assert encoded.counts["notes_out"] == tokenizer.notes_in(encoded.ids[0])
    assert encoded.counts.keys() == set(tokenizer.count_columns)
    assert adds_up(encoded.counts)


@cache
def midi_tok(kind, number):
    tokenizer = MidiTokTokenizer(KINDS[kind](kind=kind, **OPTIONS[number]))
    if tokenizer.settings.bpe:
        random = np.random.default_rng(0)
        steps = np.arange(400) * 240
        tokenizer.learn([plain_table(steps, np.full(400, 240), random.integers(50, 70, 400))])
        assert tokenizer.vocabulary == 420
    return tokenizer


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(OPTIONS)))
@pytest.mark.parametrize("kind", KINDS)
@given(NOTES, st.sampled_from(["keep", "drop"]), st.sampled_from([None, 2.0]))
@settings(max_examples=25, deadline=None)
def test_of_midi_tok(kind, number, notes, drums, max_seconds):
    tokenizer = midi_tok(kind, number)
    onset, duration, pitch, program = map(np.array, zip(*notes, strict=True)) if notes else [[]] * 4
    data = to_score(plain_table(onset, duration, pitch, program=program)).dumps_midi()
    encoded = tokenizer.encode_file(data, Filter(drums=drums), (0,), max_seconds)
    counts = encoded.counts
    assert adds_up(counts)
    assert counts["notes_in"] == len(parse_midi(data))
    assert counts["notes_out"] == len(tokenizer.decode(encoded.ids[0]))
    table = parse_midi(data)
    heard = table if drums == "keep" else table.without_drums()
    heard = heard if max_seconds is None else heard.at(heard.onset_s < max_seconds)
    if not tokenizer.settings.programs:
        assert counts["lost_no_word"] == len(heard) - len(heard.without_drums())
        heard = heard.without_drums().played_with(0)
    low, high = np.full(len(heard), 21), np.full(len(heard), 108)
    if tokenizer.settings.drum_pitches:
        low[heard.program == 128], high[heard.program == 128] = 27, 88
    outside = (heard.pitch < low) | (heard.pitch > high)
    assert counts["lost_out_of_range"] == outside.sum()
    left = heard.at(~outside)
    places = list(zip(left.onset.tolist(), left.pitch.tolist(), left.program.tolist(), strict=True))
    on_grid = {((8 * o + 240) // 480, p, i) for o, p, i in places}
    together = (
        (len(set(places)), len(on_grid)) if tokenizer.settings.drop_doubled else [len(left)] * 2
    )
    assert counts["lost_doubled"] == len(left) - together[0]
    assert counts["lost_simultaneous"] == together[0] - together[1]


@pytest.mark.parametrize("kind", ["onoff", *KINDS])
def test_a_pitch_that_two_voices_have_is_counted(kind):
    """Tokens have no voices: one of the two is left out, and the account says so."""
    tokenizer = OnOffTokenizer(OnOff(kind="onoff")) if kind == "onoff" else midi_tok(kind, 0)
    table = plain_table([0, 0, 480, 480], [480] * 4, [60, 60, 64, 65], track=[0, 1, 0, 1])
    counts = tokenizer.encode_file(to_score(table).dumps_midi(), Filter()).counts
    assert (counts["notes_in"], counts["notes_out"], counts["lost_doubled"]) == (4, 3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onoff", "remi_z", *KINDS])
@given(NOTES, st.integers(8, 40), st.sampled_from(["keep", "drop"]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_note_is_out_only_if_it_is_in_a_window(tmp_path_factory, kind, notes, window, short, one):
    ours = {"onoff": OnOff(kind="onoff"), "remi_z": RemiZ(kind="remi_z", slots=2)}
    tokenizer = create_symbolic_tokenizer(ours[kind]) if kind in ours else midi_tok(kind, 0)
    folder = tmp_path_factory.mktemp("piece")
    onset, duration, pitch, program = map(np.array, zip(*notes, strict=True)) if notes else [[]] * 4
    table = plain_table(onset, duration, pitch, program=program)
    (folder / "piece.mid").write_bytes(to_score(table).dumps_midi())
    tokenizer.save(folder)
    tokenize.loaded.cache_clear()
    cut = SymbolicTokenSet(
        tokenizer=kind, window=window, stride=window // 2, shortest=window, fewest=4,
        short_pieces=short, first_window_only=one, transpositions=[1, 0],
    )  # fmt: skip
    job = ("piece", "midi", folder / "piece.mid")
    made = tokenize.tokenize_piece(cut, Filter(drums="keep"), folder, None, job)
    assert adds_up(made.row)
    windows = [json.loads(line) for line in made.lines.splitlines()]
    plain = [w["input_ids"] for w in windows if w["transpose"] == 0]
    joined = [i for w in plain for i in (w[: window // 2] if w is not plain[-1] else w)]
    assert made.row["notes_out"] == tokenizer.notes_in(joined)
    if made.row["status"] == "rejected":
        assert made.row["notes_out"] == 0


def test_it_is_said_in_words():
    counts = dict.fromkeys(ACCOUNT, 0) | {"notes_in": 3200, "notes_out": 3100, "lost_doubled": 100}
    assert in_words(counts) == (
        "3,200 notes, 3,100 kept (96.88 %); 100 doubled (their pitch begins or sounds already)"
    )
    assert in_words({}) == "no notes"
