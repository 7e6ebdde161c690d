"""REMI, TSD and Structured through MidiTok: sizes, there and back, grammar, byte pairs."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.config import Remi, Structured, Tsd
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table, write_midi
from etude.storage import hash_folder
from etude.tokenizers.symbolic.midi_tok import MidiTokTokenizer
from tests import music

KINDS = {"remi": Remi, "tsd": Tsd, "structured": Structured}
SIZES = {"remi": 348, "tsd": 379, "structured": 366}  # of Neuromusic's MidiTok 3.0.0


def make(kind, **options):
    return MidiTokTokenizer(KINDS[kind](kind=kind, **options))


TOKENIZERS = {kind: make(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_of_neuromusic(kind):
    tokenizer = TOKENIZERS[kind]
    assert tokenizer.vocabulary == len(tokenizer.names()) == SIZES[kind]
    assert tokenizer.names()[:4] == ["PAD_None", "BOS_None", "EOS_None", "MASK_None"]
    assert (tokenizer.pad, tokenizer.bos, tokenizer.eos) == (0, 1, 2)
    # What the newer MidiTok does by itself: 62 tokens more, for drums' pitches.
    assert make(kind, drum_pitches=True).vocabulary == SIZES[kind] + 62


def quantised(table):
    """A table on MidiTok's grid of 8 a quarter: what must come back exactly."""
    return sorted(
        zip(table.onset.tolist(), table.duration.tolist(), table.pitch.tolist(),
            table.program.tolist(), strict=True)
    )  # fmt: skip


GRID = st.tuples(
    st.integers(0, 200), st.integers(1, 32), st.integers(21, 108), st.sampled_from([0, 40, 128])
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(notes=st.lists(GRID, min_size=1, max_size=30, unique_by=lambda n: (n[0], n[2], n[3])))
def test_what_lies_on_the_grid_comes_back_exactly(kind, notes):
    onset, duration, pitch, program = map(np.array, zip(*notes, strict=True))
    if kind == "structured":  # it has no finer time shift than a quarter position over 4 quarters
        onset = np.unique(onset, return_inverse=True)[1] * 7
    if kind == "remi" and onset.min() < 32:  # whole beats of silence in the first bar are an upbeat
        onset = onset - onset.min() // 8 * 8
    table = plain_table(onset, duration, pitch, program=program, ticks_per_quarter=8)
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode(table)
    found = tokenizer.decode(ids)
    assert found.ticks_per_quarter == tokenizer.ticks_per_quarter == 8
    assert quantised(found) == quantised(table)
    assert np.abs(np.sort(found.velocity) - 80).max() <= 8  # 16 levels
    assert tokenizer.invalid_share(ids) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_real_forms_come_back_up_to_the_grid(kind, tmp_path):
    """What is decoded encodes to the same ids, and onsets move by half a position at the most."""
    tokenizer = TOKENIZERS[kind]
    for make_file in (music.chorale, music.multitrack, music.piano):
        table = read_midi(make_file(tmp_path / "piece.mid", Random(3)))
        ids = tokenizer.encode(table)
        found = tokenizer.decode(ids)
        assert tokenizer.encode(found) == ids
        assert tokenizer.invalid_share(ids) == 0
        assert len(found) >= 0.98 * len(table)  # notes of one place and pitch are one
        ours = np.unique(np.round(table.onset / table.ticks_per_quarter * 8))
        theirs = np.unique(found.onset)
        assert np.isin(theirs, [*ours, *(ours + 1), *(ours - 1)]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_any_ids_decode(kind, tmp_path):
    tokenizer, random = TOKENIZERS[kind], Random(0)
    for length in (0, 1, 300):
        ids = [random.randrange(-2, tokenizer.vocabulary + 2) for _ in range(length)]
        table = tokenizer.decode(ids)
        write_midi(table, tmp_path / "any.mid")
        assert len(read_midi(tmp_path / "any.mid")) <= len(table)
    assert tokenizer.encode(plain_table([], [], [])) == []
    assert tokenizer.encode(plain_table([0], [1], [5])) == []  # below the range


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_grammar_allows_is_music(kind):
    """Random ids under the mask decode into as many notes as there are durations."""
    tokenizer = TOKENIZERS[kind]
    grammar, names = tokenizer.grammar(), tokenizer.names()
    generator = torch.Generator().manual_seed(1)
    state, rows = grammar.start(3), []
    for _ in range(150):
        allowed = grammar.allowed(state)
        assert allowed.shape == (3, tokenizer.vocabulary)
        assert allowed.any(dim=1).all()
        assert not allowed[:, [0, 1, 3]].any()  # PAD, BOS, MASK
        allowed = allowed.float()
        allowed[:, tokenizer.eos] *= 1e-6
        ids = torch.multinomial(allowed, 1, generator=generator).squeeze(1)
        rows.append(ids)
        state = grammar.advance(state, ids)
    for ids in torch.stack(rows, dim=1).tolist():
        assert tokenizer.invalid_share(ids) == 0
        assert tokenizer.invalid_share(ids[40:], ids[:40]) == 0
        durations = sum(names[i].startswith("Duration") for i in ids)
        assert abs(len(tokenizer.decode(ids)) - durations) <= 1
    shuffled = Random(0).sample(ids, len(ids))
    assert tokenizer.invalid_share(shuffled) > 0.3
    assert tokenizer.invalid_share([]) == 0


@pytest.mark.parametrize("options", [{}, {"tempos": True}, {"rests": True, "tempos": True}])
def test_time_never_goes_back_in_remi(options, tmp_path):
    """What MidiTok writes of music is allowed, what it would read as an earlier time is not."""
    tokenizer = make("remi", **options)
    for make_file in (music.chorale, music.multitrack, music.piano):
        ids = tokenizer.encode(read_midi(make_file(tmp_path / "piece.mid", Random(3))))
        assert tokenizer.invalid_share(ids) == 0
    grammar, names = tokenizer.grammar(), tokenizer.names()
    number = {name: i for i, name in enumerate(names)}
    note = [number[n] for n in ("Program_0", "Pitch_60", "Velocity_63", "Duration_1.0.8")]
    start = [number["Bar_None"], number["Position_8"], *note]
    for place, allowed in (
        ("Position_4", 0),
        ("Position_8", 0),
        ("Position_9", 1),
        ("Bar_None", 1),
    ):
        state = grammar.start(1)
        for i in start:
            state = grammar.advance(state, torch.tensor([i]))
        assert int(grammar.allowed(state)[0, number[place]]) == allowed
        assert tokenizer.invalid_share([number[place]], start) == 1 - allowed
    assert tokenizer.invalid_share([number["Bar_None"], number["Position_4"]], start) == 0


@pytest.mark.slow
def test_byte_pairs_are_learnt_the_same_each_time_and_kept(tmp_path):
    tables = [read_midi(path) for path in music.make_chorales(tmp_path / "midi", 8)]
    plain = make("remi")
    for name in ("a", "b"):
        learnt = make("remi", bpe=450)
        learnt.learn(tables)
        (tmp_path / name).mkdir()
        learnt.save(tmp_path / name)
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")
    assert learnt.vocabulary == len(learnt.names()) == 450
    loaded = MidiTokTokenizer.load(tmp_path / "a")
    ids = learnt.encode(tables[0])
    assert loaded.encode(tables[0]) == ids
    assert len(ids) < 0.8 * len(plain.encode(tables[0]))
    assert quantised(loaded.decode(ids)) == quantised(plain.decode(plain.encode(tables[0])))
    assert loaded.invalid_share(ids) == 0
    assert learnt.names()[ids[0]].split()[0] == "Bar_None"


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(kind, tmp_path):
    TOKENIZERS[kind].save(tmp_path)
    table = plain_table([0, 8], [8, 8], [60, 62], ticks_per_quarter=8)
    loaded = MidiTokTokenizer.load(tmp_path)
    assert loaded.settings == TOKENIZERS[kind].settings
    assert loaded.encode(table) == TOKENIZERS[kind].encode(table)
    assert (tmp_path / "tokenizer.json").is_file()
