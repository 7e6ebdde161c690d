"""PhraseVAE: its networks, stages, data, F1 of notes, and latents."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import phrases
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from refused import invalid, refused
from safetensors.torch import load_file
from trainings import stop_after

from etude.config.phrases import Kl, PhraseNetwork
from etude.config.systems.phrase_ldm import PhraseLdm
from etude.storage import read_csv, read_json
from etude.systems import open_system
from etude.systems.phrase_ldm import latents as of_latents
from etude.systems.phrase_ldm.fidelity import matches
from etude.systems.phrase_ldm.phrases import (
    BarItems,
    BarsWithGaps,
    Phrases,
    bar_texts,
    filled,
    phrases_of,
    read_songs,
    shape_of,
)
from etude.systems.phrase_ldm.vae import Autoencode, Infill, Vae, build_network, strip
from etude.tokenizers.symbolic.remi_z_vocabulary import NUMBER_OF
from etude.training.loop import Interrupted
from etude.training.stage import encode_stage, train_stage
from etude.workflow.imported_weights import MODEL

T5 = {"kind": "t5", "dim": 32, "layers": 1, "heads": 2, "head_dim": 8, "latent": 8, "dropout": 0.0}
NETWORKS = {"rotary": phrases.TINY | {"layers": 2, "context": "bar"}, "t5": T5}
SYSTEM = open_system("phrase_ldm")


def settings_of(network):
    return TypeAdapter(PhraseNetwork).validate_python(network)


def stage_of(kind="rotary", stage=Vae, seed=0, **changes):
    tokenizer = phrases.tokenizer_of()
    torch.manual_seed(seed)
    model = stage(shape_of(tokenizer), settings_of(NETWORKS[kind] | changes))
    model.know_numbers(tokenizer.numbers())
    model.notes_of = tokenizer.phrase_notes
    return model


@torch.no_grad()
def stirred(model):
    """With weights that are far from those at the beginning, where blocks add nothing."""
    torch.manual_seed(7)
    for parameter in model.parameters():
        parameter.add_(0.15 * torch.randn_like(parameter))
    return model.eval()


def rows_of(count=12, seed=1):
    tokenizer, random = phrases.tokenizer_of(), Random(seed)
    return [phrases.phrase(tokenizer, random, number % 2) for number in range(count)]


@pytest.fixture
def batch():
    ids = filled(rows_of(), 0)
    return {"ids": ids, "targets": ids, "seen": torch.zeros(len(ids), dtype=torch.bool)}


@pytest.fixture(params=NETWORKS)
def vae(request):
    return stirred(stage_of(request.param))


# ------------------------------------------------------------------------------------- networks


def test_the_originals_network_has_its_size():
    """T5 of d 512, 1024, 3 + 3 layers, 6 heads of 64, 1000 words, latents of 64: 14.29 M."""
    network = settings_of({"kind": "t5", "feed_forward": 1024})
    with torch.device("meta"):
        model = Vae({"vocabulary": 1000, "pad": 0, "bos": 1, "eos": 2, "slots": 3}, network)
    size = sum(parameter.numel() for parameter in model.parameters())
    assert size == pytest.approx(14.29e6, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("stage", [Infill, Vae])
def test_cached_decoding_gives_what_uncached_does(kind, stage):
    model = stirred(stage_of(kind, stage))
    with torch.no_grad():
        memory, keep = model.remember(filled(rows_of(), 0))
        memory = memory + 3 * torch.randn_like(memory)  # untrained networks see little of it
        cached = model.greedy(memory, 20, keep)
        assert cached == model.greedy(memory, 20, keep, cached=False)
    assert len(set(map(tuple, cached))) > 3


def test_logits_behind_ids_are_those_of_one_more_at_a_time(vae):
    ids = filled(rows_of(), 0)
    with torch.no_grad():
        memory, _ = vae.remember(ids)
        whole = vae.network.logits(ids, memory)
        cache = vae.network.start(memory, ids.shape[1])
        for place in range(ids.shape[1]):
            one = vae.network.next(ids[:, place], cache)
            torch.testing.assert_close(one, whole[:, place], atol=1e-5, rtol=1e-4)


def test_what_is_to_come_is_not_seen(vae):
    ids = filled([row or [9, 9, 9] for row in rows_of()], 0)
    other = ids.clone()
    other[:, 2] = ids[:, 1]
    with torch.no_grad():
        memory, _ = vae.remember(ids)
        first, second = (vae.network.logits(x, memory) for x in (ids, other))
    torch.testing.assert_close(first[:, :2], second[:, :2])
    assert (first[:, 2] - second[:, 2]).abs().max() > 1e-4


@pytest.mark.parametrize("stage", [Infill, Autoencode, Vae])
def test_padding_changes_nothing(stage, batch):
    model = stirred(stage_of(stage=stage))
    longer = {name: torch.nn.functional.pad(batch[name], (0, 5)) for name in ("ids", "targets")}
    with torch.no_grad():
        first, second = model.loss(batch)[0], model.loss(longer | {"seen": batch["seen"]})[0]
    torch.testing.assert_close(first, second)


def test_latents_do_not_depend_on_the_batch(vae):
    rows = rows_of(20)
    alone = torch.cat([of_latents.posteriors(vae, [row])[0] for row in rows])
    torch.testing.assert_close(of_latents.posteriors(vae, rows)[0], alone, atol=1e-5, rtol=1e-4)


def test_an_empty_phrase_has_a_latent_and_a_target():
    model = stage_of().eval()
    empty = filled([[], []], 0)  # a bar of two slots
    loss, figures = model.loss({"ids": empty, "targets": empty})
    assert figures["count"] == 2  # their ends
    assert torch.isfinite(loss)
    assert torch.isfinite(of_latents.posteriors(model, [[]])[0]).all()


@pytest.mark.parametrize("kind", NETWORKS)
def test_with_bar_layers_a_latent_depends_on_its_own_bar_alone(kind):
    model = stirred(stage_of(kind, context="notes", bar_layers=1))
    rows = rows_of(20)
    latents = of_latents.posteriors(model, rows)[0]
    bars = [of_latents.posteriors(model, rows[i : i + 2])[0] for i in range(0, 20, 2)]
    torch.testing.assert_close(latents, torch.cat(bars), atol=1e-5, rtol=1e-4)
    other = of_latents.posteriors(model, [*rows[:19], rows[17]])[0]
    torch.testing.assert_close(other[:18], latents[:18], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(other[18], latents[18], atol=1e-3)


def test_bar_layers_need_bars():
    with invalid("bar_layers", "bar-layers-without-context"):
        settings_of(NETWORKS["rotary"] | {"context": "none", "bar_layers": 1})


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        (Infill, {"context": "none"}),
        (Autoencode, {"context": "none"}),
        (Vae, {"context": "bar"}),
        (Vae, {"context": "notes", "bar_layers": 1}),
    ],
)
def test_all_parameters_learn(kind, stage, changes, batch):
    model = stage_of(kind, stage, **changes)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):  # what stands behind zeros learns a step later
        optimiser.zero_grad()
        model.loss(batch)[0].backward()
        optimiser.step()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


# -------------------------------------------------------------------------- how training begins


def test_numbers_begin_beside_their_neighbours():
    model, tokenizer = stage_of(), phrases.tokenizer_of()
    weight, number = model.network.embedding.weight.detach(), tokenizer.numbers().index
    near, far = (
        torch.cosine_similarity(weight[number(("p", 60))], weight[number(("p", p))], dim=0)
        for p in (61, 90)
    )
    assert near > far + 0.1
    assert weight.norm(dim=1).std() < 0.3 * weight.norm(dim=1).mean()


def test_a_phrase_is_written_knowing_the_other_slots():
    """Of two phrases of one latent each follows its own bar and slot; without context neither."""
    for context in ("bar", "none"):  # `notes`: the test below
        model = stirred(stage_of(context=context))
        latents = torch.randn(6, 8)
        latents[4] = latents[2] = latents[0]  # the first slot of three bars
        memory = model.memory(latents)
        alike = torch.allclose(memory[0], memory[2])
        assert alike == (context == "none")
        other_slot = model.memory(latents[[1, 0]])
        assert torch.allclose(other_slot[1], memory[0]) == (context == "none")
        whole = torch.cat([model.memory(latents[i : i + 2]) for i in (0, 2, 4)])
        torch.testing.assert_close(whole, memory)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_bar_is_one_text(kind):
    """A slot's notes count for those behind it and not for those before; the cache is the same."""
    model = stirred(stage_of(kind, context="notes"))
    targets = torch.tensor([[5, 6], [7, 0], [0, 0], [8, 9], [5, 0], [0, 0]])
    joined = model._joined(targets)
    assert joined.tolist() == [[5, 6, 2, 7], [2, 8, 9, 0], [5, 2, 0, 0]]
    memory = model.memory(torch.randn(2, 8))
    one = model.network.logits(text := torch.tensor([[1, 5, 6, 2, 7]]), memory, None,
                               model._added((text == 2).cumsum(1)))  # fmt: skip
    other = model.network.logits(text := torch.tensor([[1, 5, 9, 2, 7]]), memory, None,
                                 model._added((text == 2).cumsum(1)))  # fmt: skip
    torch.testing.assert_close(one[:, :2], other[:, :2])
    assert not torch.allclose(one[:, 4], other[:, 4])
    latents = torch.randn(12, 8)
    written = model.decode(latents, 6)
    assert len(written) == 12
    assert max(map(len, written)) <= 6
    assert written == model.decode(latents, 6, cached=False)
    assert written[4:6] == model.decode(latents[4:6], 6)


def test_bars_come_whole(tmp_path):
    songs = [[[5] * (n % 7), [6] * (n % 5)] for n in range(100)]
    batch = BarItems(songs, 0).batch([50, 3, 99, 7])
    rows = strip(batch["ids"], 0)
    assert all([a, b] in songs for a, b in zip(rows[::2], rows[1::2], strict=True))
    held_out = BarItems(songs, 0, known=frozenset({(5, 5)})).batch([0, 99])
    assert held_out["seen"].shape == (4,)
    parts = phrases.parts_of(tmp_path)
    for context, kind in (("notes", BarItems), ("bar", BarItems), ("none", Phrases)):
        experiment = phrases.experiment({"vae": {"network": phrases.TINY | {"context": context}}})
        train, valid = SYSTEM.data(experiment, "vae", parts)
        assert isinstance(train, kind)
        assert isinstance(valid, kind)


def test_the_first_latents_are_hardly_noisy(batch):
    model = stage_of()
    _, log_variance = model.posterior(batch["ids"])
    assert log_variance.mean().item() == pytest.approx(-4, abs=1)


def test_the_kl_weight_grows_and_goes_on_where_it_was(tmp_path, batch):
    model = stage_of()
    model.kl, model.rising = Kl(weight=0.5, start=0.2, warm_up=0.5), 4.0
    weights = [model._weight() for _ in range(6)]
    assert weights == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    model.save(tmp_path)
    again = Vae.load(tmp_path).train()
    again.kl, again.rising = model.kl, model.rising
    assert again._weight() == pytest.approx(0.5)
    assert again.eval()._weight() == pytest.approx(0.5)
    assert int(again.done) == 7  # looking does not count


def test_latents_are_drawn_in_training_alone(batch):
    model = stirred(stage_of())
    with torch.no_grad():
        assert len({float(model.train().loss(batch)[0]) for _ in range(3)}) == 3
        assert len({float(model.eval().loss(batch)[0]) for _ in range(3)}) == 1


@pytest.mark.slow
def test_a_stage_begins_with_the_weights_of_the_one_before(tmp_path):
    parts = phrases.parts_of(tmp_path)
    stages = {name: {"training": phrases.FEW} for name in ("infill", "autoencode")}
    experiment, found = phrases.experiment(stages), {}
    assert [plan.needs for plan in experiment.stage_plans()] == [
        (), ("infill",), ("autoencode",), ("vae",),
    ]  # fmt: skip
    for plan in experiment.stage_plans()[:3]:
        here = replace(parts, models={name: found[name] for name in plan.needs})
        model = SYSTEM.build(experiment, plan.name, here, seed=0)
        if plan.needs:
            before = load_file(found[plan.needs[0]] / MODEL)
            assert all(torch.equal(model.state_dict()[name], w) for name, w in before.items())
        folder = tmp_path / "models" / plan.name / "seed-0"
        train_stage(experiment, plan.name, 0, here, folder, tmp_path / "state")
        found[plan.name] = folder
        history = list(read_csv(folder / "history.csv"))
        assert ("note_f1" in history[0]) == (plan.name != "infill")
    assert history[-1]["note_f1_unseen"]


@pytest.mark.slow
def test_stopped_and_resumed_gives_the_same_bytes(tmp_path):
    """The counter of the KL warm-up and the draws of latents go on where they were."""
    parts, experiment = phrases.parts_of(tmp_path), phrases.experiment(save_every=2)
    whole, broken = tmp_path / "models/vae/seed-0", tmp_path / "broken/vae/seed-0"
    train_stage(experiment, "vae", 0, parts, whole, tmp_path / "state")
    with pytest.raises(Interrupted):
        train_stage(
            experiment, "vae", 0, parts, broken, tmp_path / "other", should_stop=stop_after(3)
        )
    train_stage(experiment, "vae", 0, parts, broken, tmp_path / "other")
    for name in (MODEL, "history.csv"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name


def test_a_stage_without_steps_is_not_there():
    assert [plan.name for plan in phrases.experiment().stage_plans()] == ["vae", "ldm"]
    with invalid("ldm.training.steps", "stage-left-out"):
        phrases.experiment({"ldm": {"training": {"steps": 0}}})
    with invalid("infill.network", "another-network"):
        phrases.experiment({"infill": {"network": T5, "training": phrases.FEW}})


def test_a_job_knows_its_stage_from_the_params_alone():
    """What a rule's params hold is all that a job has."""
    stages = {"infill": {"training": phrases.FEW}, "vae": {"network": T5, "training": phrases.FEW}}
    experiment = phrases.experiment(stages)
    for plan in experiment.stage_plans():
        params = json.loads(experiment.stage_params(plan.name))
        assert type(experiment).model_validate(params).stage(plan.name) == plan.settings


# --------------------------------------------------------------------------------- data, figures


def test_a_batch_is_of_like_lengths():
    rows = [[5] * length for length in np.random.default_rng(0).integers(0, 30, 3000)]
    data = Phrases(rows, 0)
    for first in (0, 1234, 2999):
        indices = np.random.default_rng(first).permutation(3000)[:32].tolist()
        ids = data.batch([first, *indices[1:]])["ids"]
        lengths = (ids != 0).sum(1)
        assert lengths.max() - lengths.min() <= 6
        assert len({tuple(r) for r in ids.tolist()}) <= 7


def test_every_phrase_comes_about_as_often():
    rows = [[7] * (n % 20) + [n + 10] for n in range(600)]
    data, seen = Phrases(rows, 0), Counter()
    random = np.random.default_rng(0)
    for _ in range(1000):
        for row in strip(data.batch(random.permutation(600)[:16].tolist())["ids"], 0):
            seen[row[-1]] += 1
    middle = [seen[rows[i][-1]] for i in data.order[100:500]]
    assert min(seen.values()) > 0
    assert np.std(middle) < 0.5 * np.mean(middle)


def test_gaps_are_as_many_and_long_as_is_said():
    tokenizer = phrases.tokenizer_of()
    rows = [list(range(10, 110))] * 200
    data = BarsWithGaps(rows, tokenizer, share=0.3, span=3.0)
    batch = data.batch(list(range(200)), np.linspace(0, 1, 200, endpoint=False))
    texts = strip(batch["ids"], 0)
    gone = [100 - sum(i != tokenizer.mask for i in text) for text in texts]
    masks = [text.count(tokenizer.mask) for text in texts]
    assert 30 <= np.mean(gone) < 33
    assert np.mean(gone) / np.mean(masks) == pytest.approx(3.8, abs=0.8)  # touching ones are one
    assert not any((a, b) == (3, 3) for t in texts for a, b in pairwise(t))
    assert torch.equal(batch["targets"], filled(rows, 0))


def test_bars_are_one_text_each():
    tokenizer, bars = phrases.tokenizer_of(), phrases.songs(1)[0]
    texts = bar_texts([type("Song", (), {"bars": bars})()], tokenizer)
    assert [tokenizer.bars(text)[0].phrases for text in texts] == [bar.phrases for bar in bars]


def test_notes_are_counted_once():
    wanted = [(0, 60, 12), (12, 62, 12), (12, 62, 12)]
    written = [(0, 60, 6), (12, 62, 12), (24, 64, 12), (24, 64, 12)]
    found = matches([(wanted, written)])
    assert (found.found, found.wanted, found.written) == (2, 3, 4)
    assert found.f1 == pytest.approx(4 / 7)
    assert matches([(wanted, written)], durations=True).found == 1
    assert matches([([], [])]).f1 == 1


def test_f1_is_over_all_notes_and_unseen_ones_apart():
    """What the loop makes of batches is the figure over all of them."""
    model, tokenizer = stage_of().eval(), phrases.tokenizer_of()
    rows = rows_of(40)
    written = [row if number % 2 else row[:3] for number, row in enumerate(rows)]
    model.greedy = lambda memory, limit: written[: len(memory)]
    ids = filled(rows, 0)
    seen = torch.tensor([bool(number % 2) for number in range(len(rows))])
    _, figures = model.loss({"ids": ids, "targets": ids, "seen": seen})
    notes = tokenizer.phrase_notes
    pairs = [(notes(a), notes(b)) for a, b in zip(rows, written, strict=True)]
    assert figures["note_f1"] == matches(pairs).f1 < 1
    assert figures["note_f1_unseen"] == matches(pairs[::2]).f1 < figures["note_f1"]
    assert figures["note_f1_unseen_count"] < figures["note_f1_count"]


# -------------------------------------------------------------------------------------- learning


def fitted(model, rows, steps, rate=3e-3):
    from etude.config.systems.phrase_ldm import PhraseTraining
    from etude.training.optimiser import build_optimiser, set_rates

    training = PhraseTraining(
        steps=steps, optimizer="muon", learning_rate=rate, muon_learning_rate=2 * rate,
        warmup_steps=10,
    )  # fmt: skip
    optimiser, ids = build_optimiser(model, training), filled(rows, 0)
    for step in range(steps):
        set_rates(optimiser, step, training)
        optimiser.zero_grad()
        loss, _ = model.train().loss({"ids": ids, "targets": ids})
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


def f1_of(model, rows):
    notes, written = (
        phrases.tokenizer_of().phrase_notes,
        model.decode(of_latents.posteriors(model, rows)[0], 40),
    )
    return matches((notes(a), notes(b)) for a, b in zip(rows, written, strict=True)).f1


@pytest.fixture(scope="module")
def learned():
    """64 phrases and an autoencoder that has seen nothing else."""
    rows = rows_of(64, seed=3)
    model = stage_of(dim=64, latent=16)
    model.kl = Kl(weight=0.01, warm_up=0)
    assert f1_of(model.eval(), rows) < 0.1
    return rows, fitted(model, rows, 300)


@pytest.mark.slow
def test_64_phrases_are_learned_by_heart(learned):
    rows, model = learned
    assert f1_of(model, rows) == 1.0


@pytest.mark.slow
def test_the_cache_changes_nothing_of_what_was_learned(learned):
    rows, model = learned
    latents = of_latents.posteriors(model, rows)[0]
    near = latents + 0.3 * latents.std(0) * torch.randn(latents.shape)
    assert model.decode(near, 40) == model.decode(near, 40, cached=False)


@pytest.mark.slow
def test_half_precision_writes_the_same(learned):
    rows, model = learned
    notes, latents = phrases.tokenizer_of().phrase_notes, of_latents.posteriors(model, rows)[0]
    near = latents + 0.3 * latents.std(0) * torch.randn(latents.shape)
    whole = model.decode(near, 40)
    with torch.autocast("cpu", torch.bfloat16):
        half, close = model.decode(near, 40), of_latents.posteriors(model, rows)[0]
    assert matches((notes(a), notes(b)) for a, b in zip(whole, half, strict=True)).f1 >= 0.97
    assert (close - latents).abs().max() < 0.1 * latents.std()


# --------------------------------------------------------------------------------------- latents


@pytest.fixture
def encoded(tmp_path):
    """Parts, experiment, and the folder of the latents of an untrained VAE."""
    parts, experiment = phrases.parts_of(tmp_path), phrases.experiment()
    folder = tmp_path / "models" / "vae" / "seed-0"
    SYSTEM.build(experiment, "vae", parts, 0).save(folder, parts.info["tokenizers"])
    parts = replace(parts, models={"vae": folder})
    encode_stage(experiment, "vae", parts, tmp_path / "latents")
    return parts, experiment, tmp_path / "latents"


def test_latents_are_those_of_the_phrases_in_their_order(encoded):
    parts, _, folder = encoded
    tokenizer = phrases.tokenizer_of()
    vae = Vae.load(parts.models["vae"])
    for split in ("train", "valid"):
        found = load_file(folder / f"{split}.safetensors")
        pieces = read_songs(parts.packed, split, tokenizer)
        assert found["lengths"].tolist() == [len(piece.bars) for piece in pieces]
        assert found["mean"].shape == (sum(found["lengths"]), phrases.SLOTS, 8)
        last = pieces[-1].bars[-1].phrases
        own = of_latents.posteriors(vae, last)
        torch.testing.assert_close(found["mean"][-1], own[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found["log_variance"][-1], own[1], atol=1e-5, rtol=1e-4)
        bars = [bar.phrases for piece in pieces for bar in piece.bars]
        starts = np.repeat(np.cumsum([0, *found["lengths"][:-1]]), found["lengths"])
        repeat = found["repeat"].numpy()
        assert all(bars[s + r] == bar for s, r, bar in zip(starts, repeat, bars, strict=True))
        assert (repeat < np.arange(len(bars)) - starts).any()


def test_statistics_are_the_scale_of_draws(encoded):
    _, _, folder = encoded
    statistics, found = (
        read_json(folder / "statistics.json"),
        load_file(folder / "train.safetensors"),
    )
    draws = torch.randn(400, *found["mean"].shape) * (found["log_variance"] / 2).exp()
    draws = (draws + found["mean"]).flatten(0, -2)
    for name, ours in (("mean", draws.mean(0)), ("deviation", draws.std(0))):
        torch.testing.assert_close(torch.tensor(statistics[name]), ours, atol=0.05, rtol=0.1)
    standard = (draws - torch.tensor(statistics["mean"])) / torch.tensor(statistics["deviation"])
    share = (standard.abs() <= statistics["percentile"]).float().mean()
    assert share == pytest.approx(0.999, abs=0.002)
    assert statistics["programs"] == [0, 40]
    assert (statistics["slots"], statistics["dimension"]) == (2, 8)
    assert set(statistics["fidelity"]) == {"train", "valid"}
    assert statistics["fidelity"]["valid"]["f1"] < 0.5


def test_what_is_known_of_pieces():
    tokenizer, random = phrases.tokenizer_of(), Random(0)
    bars = phrases.song(tokenizer, random, 3)
    three = phrases.song(tokenizer, random, 2, (3, 4))
    songs = [type("Song", (), {"bars": part})() for part in (bars, three, [*bars, *three])]
    found = dict(of_latents.described(songs, tokenizer))
    assert found["lengths"] == [3, 2, 5]
    assert found["meter"] == [NUMBER_OF[4, 4], NUMBER_OF[3, 4], of_latents.CHANGES]
    assert set(found["key"]) <= set(range(12))
    assert set(found["mode"]) <= {0, 1}


def test_a_poor_autoencoder_makes_no_latents(encoded, tmp_path):
    parts, _, _ = encoded
    strict = phrases.experiment({"vae": {"least_f1": 0.5}})
    with refused("poor-autoencoder") as error:
        encode_stage(strict, "vae", parts, tmp_path / "more")
    assert "0.5" in str(error.value)
    assert not (tmp_path / "more").exists()


def test_phrases_of_packed_pieces_are_those_that_were_packed(tmp_path):
    every = phrases.songs(4)
    parts = phrases.pack(tmp_path, {"train": every})
    found = read_songs(parts.packed, "train", phrases.tokenizer_of())
    assert phrases_of(found) == [p for bars in every for bar in bars for p in bar.phrases]


def test_work_is_counted_for_both_kinds_of_stages(batch):
    model = stage_of()
    longer = {name: torch.cat([batch[name]] * 2) for name in ("ids", "targets")}
    assert SYSTEM.flops(model, longer) == 2 * SYSTEM.flops(model, batch) > 0


def test_networks_are_chosen_by_their_kind():
    names = {k: type(build_network(settings_of(n), 40)).__name__ for k, n in NETWORKS.items()}
    assert names == {"rotary": "RotaryNetwork", "t5": "T5Network"}


def test_the_kind_of_a_network_need_not_be_written():
    written = {"system": "phrase_ldm", "corpus": "mine", "tokens": "pieces"}
    stages = PhraseLdm.model_validate(
        written | {"stages": {"vae": {"network": {"dim": 32, "heads": 2}}}}
    ).stages
    assert stages.vae.network.dim == stages.infill.network.dim == 32
    with pytest.raises(ValidationError):
        PhraseLdm.model_validate(
            written | {"stages": {"vae": {"network": {"dim": 32, "heads": 2}},
                                  "infill": {"network": {"dim": 48, "heads": 2}}}}
        )  # fmt: skip
