"""Sampling of symbolic models: streams, windows, repetition, grammar, prompts, files, commands."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import mido
import numpy as np
import pytest
import symusic
import torch
from players import player_of, settings_of, stage_of
from refused import invalid, refused
from symbols import NETWORKS, SHAPE, VOCABULARY, WINDOW

from etude.clips.progress import Stopped, never, silent
from etude.clips.sampling import ClipStreams, clip_seed, draw
from etude.clips.writing import write_clips
from etude.config.systems.symbolic_lm import (
    SymbolicGenerate,
    SymbolicLm,
    SymbolicSampling,
)
from etude.metrics.clip_sets import read_clips
from etude.midi.continuation import after
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table, write_midi
from etude.storage import read_csv, read_json
from etude.systems.conditions import Conditions
from etude.systems.symbolic_lm.baselines import shuffle_bars
from etude.systems.symbolic_lm.player import NotesRequest, first_new
from etude.systems.symbolic_lm.prompts import Prompt, held_out_prompts, read_prompt
from etude.systems.symbolic_lm.sampling import (
    Rules,
    continue_tokens,
    sample,
    window_start,
)

FREE = SymbolicSampling(grammar=False)
KINDS = sorted(NETWORKS)


def drawn_ids(stage, prompts, count, seeds, sampling=FREE, **options):
    found = sample(stage, prompts, count, ClipStreams(seeds), sampling, **options)
    return [clip.ids for clip in found]


NO_END = SHAPE | {"eos": None}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_cache_and_sliding_window_draw_what_the_plain_network_draws(kind):
    stage = stage_of(kind, NO_END)
    options = {"move": 5}
    with_cache = drawn_ids(stage, [[1], [1, 4]], 60, [3, 4], **options)
    without = drawn_ids(stage, [[1], [1, 4]], 60, [3, 4], cached=False, **options)
    assert with_cache == without
    assert [len(ids) for ids in with_cache] == [60, 60]


def test_a_window_moves_in_steps_and_is_never_too_long():
    starts = [window_start(p, 32, 5) for p in range(1, 90)]
    assert starts[:32] == [0] * 32
    assert set(np.diff(starts)) == {0, 5}
    assert all(0 < p - s <= 32 for p, s in zip(range(1, 90), starts, strict=True))
    assert [window_start(p, 32, 1) for p in (32, 33, 34)] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_does_not_depend_on_its_batch(kind):
    stage = stage_of(kind)
    prompts = [[1], [1, 5, 6, 7], [1, 9], [1, 5, 6, 7, 8, 9, 10]]
    together = drawn_ids(stage, prompts, 40, [10, 11, 12, 13])
    alone = [drawn_ids(stage, [p], 40, [s])[0] for p, s in zip(prompts, range(10, 14), strict=True)]
    assert together == alone


def test_more_tokens_change_nothing_of_the_first():
    stage = stage_of(shape=NO_END)
    short, long = (drawn_ids(stage, [[1]], n, [5])[0] for n in (20, 50))
    assert long[:20] == short


def test_the_end_ends_a_clip():
    found = sample(stage_of(), [[1]] * 16, 200, ClipStreams(list(range(16))), FREE)
    ended = [clip for clip in found if clip.ended]
    assert ended
    assert all(SHAPE["eos"] not in clip.ids for clip in found)
    assert all(len(clip.ids) == 200 for clip in found if not clip.ended)
    assert all(0 < clip.entropy <= math.log(VOCABULARY) for clip in found)


def test_no_ngram_comes_twice():
    sampling = SymbolicSampling(temperature=0, grammar=False, no_repeat_ngram=2)
    (ids,) = drawn_ids(stage_of(shape=NO_END), [[1, 4]], 60, [0], sampling)
    whole = [1, 4, *ids]
    pairs = list(itertools.pairwise(whole))
    assert len(pairs) == len(set(pairs))


def test_greedy_with_no_repeats_is_transformers_generate():
    stage = stage_of(shape=NO_END)
    sampling = SymbolicSampling(
        temperature=0, grammar=False, no_repeat_ngram=3, repetition_penalty=1.2
    )
    ours = drawn_ids(stage, [[1, 4, 7]], 25, [0], sampling)[0]
    theirs = stage.network.generate(
        torch.tensor([[1, 4, 7]]), max_new_tokens=25, do_sample=False, no_repeat_ngram_size=3,
        repetition_penalty=1.2, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    assert ours == theirs[0, 3:].tolist()
    plain = continue_tokens(stage, [[1, 4, 7], [1, 4]], 25)
    theirs = stage.network.generate(
        torch.tensor([[1, 4, 7]]), max_new_tokens=25, do_sample=False, eos_token_id=None,
        pad_token_id=0,
    )  # fmt: skip
    assert plain[0] == theirs[0, 3:].tolist()


def test_min_p_leaves_only_what_is_likely():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(4000, 1)
    uniform = torch.rand(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = draw(logits, uniform, SymbolicSampling(min_p=0.4)).bincount(minlength=4) / 4000
    assert found[2:].tolist() == [0, 0]
    assert float(found[0]) == pytest.approx(0.625, abs=0.03)


# ------------------------------------------------------------------------------------- with notes


def tune(notes=40):
    onset = np.arange(notes) * 240
    return plain_table(onset, np.full(notes, 240), 60 + np.arange(notes) * 7 % 12)


@pytest.fixture(scope="module", params=["onoff", "remi", "tsd", "structured", "remi_z"])
def player(request):
    return player_of(request.param)


@pytest.mark.slow
def test_with_the_grammar_nothing_is_invalid(player):
    for clip in player.music(settings_of(), 0):
        ids = [player.begin, *clip.drawn.ids]
        assert player.tokenizer.invalid_share(ids[1:], ids[:1]) == 0
        assert 0 <= clip.invalid <= 1


def test_without_the_grammar_what_is_invalid_is_counted():
    player = player_of()
    free = settings_of(sampling=SymbolicSampling(grammar=False))
    clips = list(player.music(free, 0))
    assert np.mean([clip.invalid for clip in clips]) > 0.2  # an untrained network knows no rule


def written(player, prompt, folder):
    prepared = NotesRequest([prompt], given=512)
    clips = player.clips(settings_of(), 0, 0, prepared, silent, never)
    return write_clips(clips, folder, player.rate, notes=True)


@pytest.mark.slow
def test_clips_are_written_and_open_everywhere(player, tmp_path):
    music21 = pytest.importorskip("music21")
    ids = player.tokenizer.encode(tune())
    prompt = Prompt(ids[:24], "piece", ids[24:50])
    assert written(player, prompt, tmp_path / "a") == 3
    rows = list(read_csv(tmp_path / "a/clips.csv"))
    for row in rows:
        path = tmp_path / "a" / row["midi"]
        assert symusic.Score(path).note_num() == len(read_midi(path))
        assert list(music21.converter.parse(path).flatten().notes)
        assert not stuck(path)
        assert float(row["prime_seconds"]) > 0
        assert 0 <= float(row["invalid_share"]) <= 1
    for part in ("prompts", "generated", "originals"):
        assert len(list((tmp_path / "a" / part).glob("*.mid"))) == 3
    heard = [wave for _, wave in read_clips(tmp_path / "a", 24000)]
    assert {len(wave) for wave in heard} == {24000}
    results = read_json(tmp_path / "a/results.json")
    assert [row["composition_dir"] for row in results] == [row["clip"] for row in rows]
    assert results[0]["prompt_length"] == 24
    assert results[0]["continued_original_length"] == 50
    assert "generation_time" not in results[0]
    written(player, prompt, tmp_path / "b")
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def stuck(path) -> set:
    """Notes of a file that are never let go."""
    sounding = set()
    for track in mido.MidiFile(path).tracks:
        for message in track:
            if message.type == "note_on" and message.velocity:
                sounding.add((message.channel, message.note))
            elif message.type in ("note_on", "note_off"):
                sounding.discard((message.channel, message.note))
    return sounding


def test_where_a_prompt_ends():
    table = tune(8)
    assert first_new(table, table.at(np.arange(8) < 5)) == pytest.approx(5 * 0.25)
    assert first_new(table, table) == pytest.approx(2.0)
    part = after(table, 1.25, 1.6)
    assert part.onset.tolist() == [0, 240]
    assert part.duration.tolist() == [240, 96]


def test_prompts_of_ones_own(tmp_path):
    player = player_of()
    write_midi(tune(), tmp_path / "mine.mid")
    prompt = read_prompt(tmp_path / "mine.mid", player.tokenizer, player.corpus)
    assert prompt.ids == player.tokenizer.encode(tune())
    with refused("prompt-too-short", 80, 512):
        read_prompt(tmp_path / "mine.mid", player.tokenizer, player.corpus, 512)
    drums = dataclasses.replace(tune(), program=np.full(40, 128, np.int16))
    write_midi(drums, tmp_path / "drums.mid")
    with refused("only-drums"):
        read_prompt(tmp_path / "drums.mid", player.tokenizer, player.corpus)
    write_midi(tune(0), tmp_path / "empty.mid")
    with refused("no-notes", where="empty.mid"):
        read_prompt(tmp_path / "empty.mid", player.tokenizer, player.corpus)
    (tmp_path / "no.mid").write_bytes(b"no music")
    with refused("unusable-midi", where="no.mid"):
        read_prompt(tmp_path / "no.mid", player.tokenizer, player.corpus)


def test_what_a_prompt_must_have_and_how_much_of_it_is_given(tmp_path):
    player, settings = player_of(), settings_of(prompt_tokens=24)
    write_midi(tune(), tmp_path / "mine.mid")
    files = (tmp_path / "mine.mid",)
    for tokens, given in ((None, 24), (0, 2**20), (30, 30)):
        prepared = player.prepare(settings, Conditions(files, tokens=tokens))
        assert prepared.given == given
        assert len(prepared.prompts[0].ids) == 80
    for short in (settings_of(prompt_tokens=81), settings_of()):
        with refused("prompt-too-short"):
            player.prepare(short, Conditions(files))
    with refused("condition-not-taken", "text"):
        player.prepare(settings, Conditions(text="calm"))


@pytest.mark.slow
def test_a_length_in_time_is_reached_and_not_passed(tmp_path):
    player = player_of()
    prepared = player.prepare(settings_of(), Conditions(seconds=1.5))
    for clip in player.clips(settings_of(clips=2), 0, 0, prepared, silent, never):
        assert len(clip.notes) == 0 or clip.notes.seconds <= 1.5 + 1e-6
        assert clip.row["ended"] == "true" or clip.notes.seconds > 1


def test_sampling_stops_when_it_is_asked_to():
    player, asked = player_of(), []

    def should_stop():
        asked.append(1)
        return len(asked) == 5

    clips = player.clips(settings_of(), 0, 0, NotesRequest(), silent, should_stop)
    with pytest.raises(Stopped):
        list(clips)
    assert len(asked) == 5, "once for every token"


def test_held_out_prompts_are_beginnings_of_the_validation_split(tmp_path):
    from symbols import make_symbolic

    packed = make_symbolic(tmp_path)
    (prompt,) = held_out_prompts(packed, SymbolicGenerate(prompt_tokens=4, new_tokens=3))
    assert prompt.source == "valid_0"
    assert len(prompt.ids) == 4
    assert len(prompt.original) == 3
    with refused("no-prompt-long-enough", 64):
        held_out_prompts(packed, SymbolicGenerate(prompt_tokens=64))


def test_shuffled_bars_keep_their_notes():
    table = tune(64)
    mixed = shuffle_bars(table, 3)
    assert sorted(mixed.pitch.tolist()) == sorted(table.pitch.tolist())
    assert mixed.pitch.tolist() != table.pitch.tolist()
    assert (np.sort(mixed.onset) == table.onset).all()


def test_clip_seeds_are_the_projects_own():
    assert len({clip_seed(draw, clip) for draw in range(3) for clip in range(50)}) == 150


def test_settings_of_the_other_system_are_refused():
    with invalid("lm.training.forgetful_mask", "not-of-this-system"):
        SymbolicLm(
            system="symbolic_lm", corpus="c", tokens="t",
            stages={"lm": {"training": {"forgetful_mask": 0.1}}},
        )  # fmt: skip
    assert json.loads(SymbolicLm(system="symbolic_lm", corpus="c", tokens="t").stage_params("lm"))[
        "stages"
    ].keys() == {"lm"}
    assert Rules().never == ()
    assert SHAPE["context"] == WINDOW
