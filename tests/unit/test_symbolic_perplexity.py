"""Held-out perplexity: each token once, the network's by its own logits, the baselines in order."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from symbols import make_symbolic, symbolic_experiment

from etude.config import OnOff, Remi, RemiZ, Structured, SymbolicTokenSet, Tsd
from etude.metrics import perplexity
from etude.midi.writing import plain_table
from etude.storage import read_json
from etude.systems.symbolic_lm.families import all_logits
from etude.systems.symbolic_lm.stage import build_stage, score
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer
from etude.tokenizers.symbolic.tokenize import with_ends
from etude.tokenizers.symbolic.windows import window_spans


def rows(windows, piece="a", transpose=0):
    return {
        "piece": [piece] * len(windows),
        "transpose": [transpose] * len(windows),
        "window": list(range(len(windows))),
        "input_ids": windows,
    }


def dataset(table):
    return pytest.importorskip("datasets").Dataset.from_dict(table)


def test_windows_are_joined_where_they_overlap_and_scored_once():
    whole = np.random.default_rng(0).integers(0, 20, 80)
    windows = [whole[:40].tolist(), whole[20:60].tolist(), whole[40:80].tolist()]
    arrays = [np.array(w) for w in windows]
    (joined,) = perplexity.joined(arrays)
    assert np.array_equal(joined, whole)
    assert len(perplexity.joined([whole[:40], whole[50:]])) == 2
    found = perplexity.held_out(dataset(rows(windows)), 10)
    assert [first for *_, first in found] == [1, 20, 20]
    assert sum(len(ids) - first for _, ids, first in found) == 79


def test_the_networks_perplexity_is_of_its_own_logits(tmp_path):
    packed = make_symbolic(tmp_path)
    stage = build_stage(symbolic_experiment(), "lm", read_json(packed / "info.json"), 0).eval()
    generator = np.random.default_rng(0)
    windows = [("a", generator.integers(3, 24, n), 1) for n in (9, 20, 5)]
    found = score(stage, windows)
    for nats, (_, ids, _) in zip(found, windows, strict=True):
        with torch.inference_mode():
            logits = all_logits(stage.network, torch.from_numpy(ids)[None, :-1]).float()[0]
        expected = -logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
        assert nats == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_pattern_is_foreseen_by_the_ngram_and_not_by_the_shuffled(tmp_path):
    packed = make_symbolic(tmp_path)
    tables = {"train": [], "test": []}
    for split in tables:
        tables[split] = [[(s + i) % 11 + 3 for i in range(30)] for s in range(8)]
    for split, windows in tables.items():
        table = rows(windows)
        table["piece"] = [f"{split}{i}" for i in range(8)]
        dataset(table).save_to_disk(str(packed / split))
    stage = build_stage(symbolic_experiment(), "lm", read_json(packed / "info.json"), 0)
    found, drawn = perplexity.perplexities(partial(score, stage), packed, most=6, replicates=5)
    values = {row["clips"]: float(row["value"]) for row in found}
    assert values["ngram"] < 1.3
    assert 10.9 < values["shuffled"] < 11.5
    assert values["generated"] > 10  # it has learnt nothing
    for row in found:
        assert row["n"] == 6 * 29
        assert float(row["ci_low"]) <= float(row["value"]) + 1e-6
    assert len(drawn) == 15


def test_an_empty_test_split_is_said(tmp_path):
    packed = make_symbolic(tmp_path)
    found, drawn = perplexity.perplexities(None, packed, most=6, replicates=5)
    assert all(row["note"].startswith("n/a") for row in found)
    assert not drawn
    assert math.isnan(perplexity.ngram_of([np.array([1, 2])], 24).perplexity([]))


# ------------------------------------------------------------------------------- nats per note


def tokenizer_of(kind):
    """A symbolic tokenizer; `bpe` is REMI with byte pairs learnt, `own` counts what it decodes."""
    settings = {
        "onoff": OnOff(kind="onoff"),
        "remi": Remi(kind="remi"),
        "bpe": Remi(kind="remi", bpe=420),
        "tsd": Tsd(kind="tsd"),
        "structured": Structured(kind="structured"),
        "remi_z": RemiZ(kind="remi_z"),
    }
    tokenizer = create_symbolic_tokenizer(settings["remi" if kind == "own" else kind])
    if kind == "bpe":
        tokenizer.learn(table(seed) for seed in range(6))
    return tokenizer


def table(seed, notes=60):
    random = np.random.default_rng(seed)
    onset = np.sort(random.integers(0, 60, notes)) * 240
    return plain_table(onset, random.integers(1, 4, notes) * 240, random.integers(50, 80, notes))


def counter(kind, tokenizer):
    if kind != "own":
        return tokenizer.notes_in
    return lambda ids: len(tokenizer.decode(ids))  # what an own tokenizer does by default


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onoff", "remi", "bpe", "tsd", "structured", "remi_z", "own"])
@pytest.mark.parametrize("size", [(37, 20), (64, 64), (500, 250)])
def test_a_note_counts_once_wherever_the_windows_are_cut(kind, size):
    """Against the whole piece: notes whose first token is scored, each in one window."""
    tokenizer = tokenizer_of(kind)
    count, (window, stride) = counter(kind, tokenizer), size
    ids = np.array(with_ends(tokenizer.encode(table(9)), tokenizer))
    settings = SymbolicTokenSet(tokenizer="t", window=window, stride=stride, shortest=1)
    spans = window_spans(len(ids), settings)
    windows = perplexity.held_out(dataset(rows([ids[a:b].tolist() for a, b in spans])), 999)
    found = perplexity.notes_in(windows, count)
    if stride < window:  # all but the first token of the piece is scored once
        assert sum(len(w) - first for _, w, first in windows) == len(ids) - 1
        assert found.sum() == count(ids.tolist()) - count(ids[:1].tolist())
    else:  # windows without a common part: a note that begins with a window's first token is lost
        scored = np.unique(np.concatenate([np.arange(a + 1, b) for a, b in spans]))
        if kind != "own":
            assert found.sum() == sum(count([int(i)]) for i in ids[scored])
        assert abs(found.sum() - count(ids.tolist())) <= len(spans)
    assert (found >= 0).all()


def test_nats_per_note_are_those_of_every_token(tmp_path):
    """By brute force: sums over tokens and notes, intervals by leaving each piece out in turn."""
    random = np.random.default_rng(3)
    ids = [random.integers(0, 9, n) for n in (12, 30, 25, 18)]
    windows = [(name, i, 1) for name, i in zip("abca", ids, strict=True)]
    nats = {k: [random.exponential(1, len(i) - 1) for i in ids] for k in ("generated", "ngram")}

    def count(tokens):
        return sum(t < 3 for t in tokens)

    found, drawn = perplexity.per_note(nats, windows, count, replicates=20)
    by = {(row["metric"], row["clips"]): row for row in found}
    notes = np.array([count(i[1:].tolist()) for i in ids])
    pieces = [[0, 3], [1], [2]]

    def ratio(values, chosen):
        flat = [w for piece in chosen for w in pieces[piece]]
        return sum(values[w].sum() for w in flat) / notes[flat].sum()

    less = [a - b for a, b in zip(nats["generated"], nats["ngram"], strict=True)]
    for key, values, n in (
        (("nats_per_note", "generated"), nats["generated"], notes.sum()),
        (("nats_per_note", "ngram"), nats["ngram"], notes.sum()),
        (("nats_per_note_less_ngram", "generated"), less, 3),
    ):
        row, value = by[key], ratio(values, range(3))
        out = np.array([ratio(values, [p for p in range(3) if p != left]) for left in range(3)])
        half = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * np.square(out - out.mean()).sum())
        assert float(row["value"]) == pytest.approx(value, abs=2e-6)
        assert float(row["ci_low"]) == pytest.approx(value - half, abs=2e-6)
        assert float(row["ci_high"]) == pytest.approx(value + half, abs=2e-6)
        assert row["n"] == n
    assert len(drawn) == 3 * 20
    model, ngram, difference = (
        {d["replicate"]: float(d["value"]) for d in drawn if (d["metric"], d["clips"]) == key}
        for key in by
    )
    for r, value in difference.items():  # the same draws of pieces in all
        assert value == pytest.approx(model[r] - ngram[r], abs=3e-6)


def test_one_piece_has_no_interval_and_no_notes_have_no_value():
    windows, nats = [("a", np.arange(9), 1)], {k: [np.ones(8)] for k in ("generated", "ngram")}
    found, drawn = perplexity.per_note(nats, windows, lambda ids: len(ids) // 2, 5)
    assert [row["value"] for row in found] == ["2.000000", "2.000000", "0.000000"]
    assert not any("ci_low" in row for row in found)
    assert not drawn
    found, drawn = perplexity.per_note(nats, windows, lambda ids: 0, 5)
    assert all(row["note"].startswith("n/a") for row in found)
    assert len(found) == 3
    assert not drawn


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [4, 32])
def test_the_interval_of_the_difference_covers(pieces):
    """Pieces of unlike length and difficulty: 95 % of intervals hold the true difference."""
    random, true, covered = np.random.default_rng(pieces), -0.2, []
    for _ in range(600):
        lengths = random.integers(20, 200, pieces)
        hard = random.gamma(8, 0.25, pieces)  # of a piece, for both models
        own = true + 0.3 * random.standard_normal(pieces)
        windows = [(str(p), np.zeros(n + 1, int), 1) for p, n in enumerate(lengths)]
        noise = [random.standard_normal(n) for n in lengths]
        nats = {
            "ngram": [h + e for h, e in zip(hard, noise, strict=True)],
            "generated": [h + o + 0.5 * e for h, o, e in zip(hard, own, noise, strict=True)],
        }
        row = perplexity.per_note(nats, windows, len, 0)[0][2]
        covered.append(float(row["ci_low"]) < true < float(row["ci_high"]))
    assert 0.90 < np.mean(covered) < 0.98


def test_the_same_notes_cost_the_same_in_any_vocabulary(tmp_path):
    """A tokenizer that says each note in two tokens, the second foreseen: nats per note are equal.

    Nats per token, so perplexities, are not.
    """
    random = np.random.default_rng(0)
    notes = [random.integers(0, 5, 40) for _ in range(6)]
    plain = [(f"p{i}", np.append(9, n), 1) for i, n in enumerate(notes)]
    pairs = [np.stack([n, n + 5], 1).ravel() for n in notes]
    double = [(f"p{i}", np.append(9, n), 1) for i, n in enumerate(pairs)]
    uniform = np.log(5)
    nats = {k: [np.full(40, uniform)] * 6 for k in ("generated", "ngram")}
    twice = {k: [np.tile([uniform, 0.0], 40)] * 6 for k in ("generated", "ngram")}

    def count(ids):
        return sum(i < 5 for i in ids)

    one = perplexity.per_note(nats, plain, count, 0)[0][0]
    two = perplexity.per_note(twice, double, count, 0)[0][0]
    assert float(one["value"]) == float(two["value"]) == pytest.approx(uniform, abs=1e-6)


def test_a_model_that_counts_notes_gets_its_rows(tmp_path):
    packed = make_symbolic(tmp_path)
    table = rows([[(s + i) % 11 + 3 for i in range(30)] for s in range(8)])
    for split in ("train", "test"):
        dataset(table | {"piece": [f"{split}{i}" for i in range(8)]}).save_to_disk(
            str(packed / split)
        )
    nats_of = lambda windows: [np.full(len(ids) - first, 2.0) for _, ids, first in windows]  # noqa: E731
    found, drawn = perplexity.perplexities(
        nats_of, packed, most=6, replicates=5, notes=lambda ids: len(ids) // 2
    )
    by = {(row["metric"], row["clips"]): row for row in found}
    assert float(by["nats_per_note", "generated"]["value"]) == pytest.approx(2 * 29 / 15)
    assert float(by["nats_per_note_less_ngram", "generated"]["ci_low"]) > 0, "the n-gram is better"
    assert ("nats_per_note", "shuffled") not in by
    assert {row["metric"] for row in drawn} == {
        *("perplexity", "nats_per_note", "nats_per_note_less_ngram")
    }
