"""The stages on audiolm-pytorch's networks, beside the library itself.

Run by test_audiolm_pytorch.py in an environment that has the package; pytest does not collect it
by itself. Or by hand, where requirements/audiolm.txt is installed:

    python -m pytest tests/audiolm_pytorch/networks.py
"""

from __future__ import annotations

import itertools
import logging
import random
import sys
import warnings

import pytest
import torch
from packed import make_packed
from refused import refused
from torch import nn

from etude.clips.sampling import ClipStreams
from etude.config import Sampling, TrainingSettings, Weights
from etude.config.systems.audiolm import AudioLm, AudioLmPytorch
from etude.storage import hash_file, read_json
from etude.systems.audiolm.audiolm_pytorch import LIBRARY_STAGES, PREFIX
from etude.systems.audiolm.building import build_stage, load_stage
from etude.systems.audiolm.library import TEXT_WIDTH, library
from etude.systems.audiolm.sampling import AudioLmGenerator, continue_sequence
from etude.systems.audiolm.stages import AudioLmStage, flatten_frames
from etude.systems.base import Parts
from etude.training.loop import fit
from etude.training.stage import copy_kept_step, import_stage, train_stage
from etude.training.state import TrainingState
from etude.training.transfer import transfer

SHAPE = {
    "semantic_vocabulary": 16, "codebook_size": 8, "quantizers": 5, "coarse_quantizers": 2,
    "semantic_frames": 20, "acoustic_frames": 15, "semantic_rate": 50.0, "acoustic_rate": 37.5,
    "fine_frames": 6, "end_of_sequence": "every_segment", "deduplicate_semantic": False,
    "window_seconds": 0.4,
}  # fmt: skip
NAMES = list(LIBRARY_STAGES)


def make(name: str, merged: bool = False, flash: bool = False, seed: int = 0, **over):
    """A stage whose weights are nowhere at their beginning, in which much is zero."""
    torch.manual_seed(seed)
    network = AudioLmPytorch(backend="audiolm_pytorch", dim=32, depth=2, heads=2, flash_attn=flash)
    stage = LIBRARY_STAGES[name](SHAPE | {"deduplicate_semantic": merged} | over, network)
    for parameter in stage.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return stage.eval()


def batch(items: int = 3) -> dict:
    generator = torch.Generator().manual_seed(0)
    return {
        "semantic": torch.randint(4, (items, 20), generator=generator),  # with repetitions
        "acoustic": torch.randint(8, (items, 5, 15), generator=generator),
        "last": torch.zeros(items, dtype=torch.bool),
        "place": torch.rand(items, generator=generator),
    }


def prefix_length(stage: AudioLmStage) -> int:
    """Positions that stand before the first one that is drawn."""
    return 1 + sum(target < 0 for target in stage.targets)


def same(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, [False, True], ids=lambda on: f"{name}" * on or "plain")


# ------------------------------------------------------------------------------- the library


def test_its_import_changes_nothing_else():
    library.cache_clear()
    warn, level, modules = warnings.warn, logging.root.level, set(sys.modules)
    module = library()
    assert warnings.warn is warn
    assert logging.root.level == level
    new = set(sys.modules) - modules
    assert not [name for name in new if name.startswith(("audiolm_pytorch", "torchaudio"))]
    with pytest.raises(NotImplementedError, match="transformers only"):
        module.HubertWithKmeans()


def test_a_seed_decides_all_weights_and_pythons_random_numbers_stay():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    first, again, other = (make("coarse", seed=seed).state_dict() for seed in (0, 0, 1))
    assert random.random() == expected
    assert all(torch.equal(first[name], again[name]) for name in first)
    streams = [name for name in first if name.endswith("static_alpha")]
    assert any(not torch.allclose(first[n], other[n], atol=0.5) for n in streams)


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_sizes_give_the_seeds_parameters(name):
    """Within 1 % of what is known: 130, 72 and 81 million, and a projection of texts in each."""
    depth, millions = {"semantic": (12, 130), "coarse": (6, 72), "fine": (6, 81)}[name]
    network = AudioLmPytorch(backend="audiolm_pytorch", dim=1024, depth=depth, heads=16)
    shape = SHAPE | {
        "semantic_vocabulary": 500, "codebook_size": 1024, "quantizers": 8, "coarse_quantizers": 3,
        "semantic_frames": 99, "acoustic_frames": 150, "fine_frames": 150,
    }  # fmt: skip
    with torch.device("meta"):
        made = LIBRARY_STAGES[name].network_class(network, shape)
    count = sum(parameter.numel() for parameter in made.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.01)
    text = made.net.proj_text_embed.weight
    assert text.shape == (1024, TEXT_WIDTH), "every checkpoint of the seed has it"
    assert not text.requires_grad


# ------------------------------------------------------------------- the same values as there


@same("flash")
@same("merged")
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_its_own_forward(name, merged, flash):
    stage = make(name, merged, flash)
    tokens, _ = stage.sequence(batch())
    with torch.inference_mode():
        hidden = stage.transformer(tokens, stage.full_layout)
        ours = {
            place: stage.transformer.logits(hidden[:, place], codebook)
            for place, codebook in enumerate(stage.targets)
            if codebook >= 0
        }
        if name == "semantic":
            ids = tokens[:, 1:]
            theirs = stage.net(ids=ids.masked_fill(ids > 16, -1))
            ours = {place: logits[:, :-1] for place, logits in ours.items()}
        elif name == "coarse":
            said = tokens[:, :20] < 16
            _, theirs = stage.net(
                semantic_token_ids=tokens[:, :20].masked_fill(~said, 0),
                coarse_token_ids=tokens[:, 21:],
                self_attn_mask=nn.functional.pad(said, (1, tokens.shape[1] - 20), value=True),
            )
            theirs = theirs[..., :8]  # without its end
        else:
            _, theirs = stage.net(tokens[:, :12], tokens[:, 13:])
    torch.testing.assert_close(torch.stack(list(ours.values()), 1), theirs, atol=1e-6, rtol=0)


@same("flash")
@same("merged")
@pytest.mark.parametrize("name", NAMES)
def test_cached_logits_equal_uncached(name, merged, flash):
    """With `flash` this is defect 1: the library's own cache is wrong there."""
    stage = make(name, merged, flash)
    tokens, _ = stage.sequence(batch())
    layout, first = stage.full_layout, prefix_length(stage)
    cuts = [0, first, first + 1, first + 4, *range(first + 5, tokens.shape[1] + 1)]
    with torch.inference_mode():
        whole = stage.transformer(tokens, layout)
        cache = stage.transformer.cache(*tokens.shape)
        parts = [
            stage.transformer(tokens[:, a:b], layout[a:b], cache)
            for a, b in itertools.pairwise(cuts)
        ]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)
    given, count = tokens[:, :first], min(tokens.shape[1] - first, 10)
    drawn = [
        continue_sequence(stage, given, count, ClipStreams([1, 2, 3]), Sampling(), cached=cached)
        for cached in (True, False)
    ]
    assert torch.equal(*drawn)


def test_its_own_cache_is_wrong_with_flash():
    """What defect 1 is: so the test above would fail without the mask that we always give."""
    net = make("semantic", flash=True).net
    ids = batch()["semantic"]
    with torch.inference_mode():
        whole = net(ids=ids)
        _, cache = net(ids=ids[:, :-1], return_kv_cache=True)
        last = net(ids=ids, kv_cache=cache)
    assert float((whole[:, -1:] - last).abs().max()) > 0.01


class Codec:
    """All that the library's wrappers ask of a codec beside encoding."""

    rq_groups, num_quantizers, codebook_size = 1, 5, 8


def wrapper_of(stage, share: float, merged: bool):
    """The library's training wrapper around a stage's very network."""
    module = library()
    options = {"transformer": stage.net, "mask_prob": share}
    if stage.stage == "semantic":
        return module.SemanticTransformerWrapper(unique_consecutive=merged, **options)
    codec = type("FakeCodec", (Codec, module.EncodecWrapper), {"__init__": lambda self: None})()
    if stage.stage == "coarse":
        return module.CoarseTransformerWrapper(codec=codec, unique_consecutive=merged, **options)
    return module.FineTransformerWrapper(codec=codec, **options)


@pytest.mark.parametrize("share", [0.0, 0.15], ids=["all seen", "forgetful"])
@same("merged")
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradients_are_those_of_its_own_training(name, merged, share):
    """Same weights, tokens and random state; the library in training, where it appends its ends."""
    stage, data = make(name, merged, fine_frames=15), batch()
    stage.forgetful_mask = share
    codes = data["acoustic"].transpose(1, 2)
    given = {
        "semantic": {"semantic_token_ids": data["semantic"]},
        "coarse": {"semantic_token_ids": data["semantic"], "coarse_token_ids": codes[..., :2]},
        "fine": {"token_ids": codes},
    }[name]
    results = []
    wrapper = wrapper_of(stage, share, merged).train()
    for loss in (lambda: stage.train().loss(data)[0], lambda: wrapper(**given, return_loss=True)):
        torch.manual_seed(7)
        stage.zero_grad()
        value = loss()
        value.backward()
        gradients = {n: p.grad.clone() for n, p in stage.named_parameters() if p.grad is not None}
        results.append((value.detach(), gradients))
    (ours, our_gradients), (theirs, their_gradients) = results
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-6)
    assert our_gradients.keys() == their_gradients.keys()
    for key, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[key], atol=1e-5, rtol=1e-3)


def test_only_the_text_projection_has_no_gradient():
    for name in NAMES:
        stage = make(name).train()
        stage.loss(batch())[0].backward()
        idle = [n for n, p in stage.named_parameters() if p.grad is None]
        assert idle == [f"{PREFIX}proj_text_embed.weight"]


def test_a_figure_that_compares_with_etudes_own_counts_codes_alone():
    """The library's loss has the prefix and the ends in it; `AudioLmStage.loss` has not."""
    stage, data = make("fine", fine_frames=15), batch()
    logits, labels = stage.predictions(data)[1]
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss, figures = AudioLmStage.loss(stage, data)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-6)
    assert figures["count"] == 3 * 15 * 3 < stage.loss(data)[1]["count"]


# ------------------------------------------------------------------------------- its defects


def forced(stage, code: int) -> None:
    """Weights with which every further quantizer says one code."""
    weights = stage.net.fine_logit_weights
    weights.data.zero_()
    norm = stage.net.transformer.norm
    norm.gamma.data.zero_()
    norm.beta.data.fill_(1.0)  # the same hidden state everywhere
    weights.data[:, code] = 1.0


def test_every_fine_quantizer_may_say_the_last_code():
    """Defect 2: the library itself says it in the first fine quantizer alone, from frame 1 on."""
    stage = make("fine")
    forced(stage, 7)
    coarse = torch.zeros(1, 2, 6, dtype=torch.long)
    greedy = Sampling(temperature=0)
    ours = continue_sequence(stage, stage.prefix(coarse), 18, ClipStreams([0]), greedy)
    assert ours.tolist() == [[7] * 18]
    wrapper = wrapper_of(stage, 0.0, merged=False).eval()
    flat = flatten_frames(coarse).view(1, 6, 2)
    theirs = wrapper.generate(coarse_token_ids=flat, filter_thres=0.999, temperature=1e-9)
    assert (theirs[..., 1:] != 7).all()
    assert (theirs[:, 1:, 0] == 7).all()


def test_the_coarse_end_shares_its_row_with_the_next_quantizers_first_code():
    """Defect 4 is kept: weights that learned with it fit no other table."""
    net = make("coarse").net
    assert net.coarse_eos_id == 0 + 1 * net.codebook_size


def test_the_end_of_coarse_codes_is_never_drawn():
    stage = make("coarse")
    stage.net.coarse_logit_weights.data[:, 8] = 100.0
    given = stage.prefix(batch()["semantic"])
    drawn = continue_sequence(stage, given, 12, ClipStreams([1, 2, 3]), Sampling())
    assert int(drawn.max()) < 8


def test_a_window_says_nothing_about_a_window_of_another_length():
    """Why clips are made of windows as long as the trained ones: with the same weights the same
    four frames are biased otherwise in a longer window.
    """
    stages = [make("fine", fine_frames=frames) for frames in (6, 15)]
    short, long = (s.transformer.bias(s.full_layout, 20)[:, 1:9, 1:9] for s in stages)
    assert not torch.allclose(short, long, atol=0.01)


# -------------------------------------------------------- trained, saved, loaded, sampled here


def experiment(stages: dict | None = None, **training) -> AudioLm:
    network = {"backend": "audiolm_pytorch", "dim": 32, "depth": 1, "heads": 2}
    training = {"steps": 6, "batch_size": 4, "warmup_steps": 2, "save_every": 3} | training
    every = {s: {"network": network, "training": training} for s in NAMES}
    return AudioLm(
        system="audiolm", corpus="c", fine_frames=5, end_of_sequence="every_segment",
        deduplicate_semantic=True, stages={s: every[s] | (stages or {}).get(s, {}) for s in NAMES},
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_one_batch_is_learned_by_heart(name, tmp_path):
    class One:
        def __len__(self) -> int:
            return 3

        def batch(self, indices, places=None):
            return batch()

    torch.manual_seed(0)
    network = AudioLmPytorch(backend="audiolm_pytorch", dim=64, depth=2, heads=2)
    stage = LIBRARY_STAGES[name](SHAPE | {"fine_frames": 15}, network)
    settings = TrainingSettings(
        steps=150, batch_size=3, learning_rate=3e-3, warmup_steps=10, weight_decay=0,
        validate_every=1000, forgetful_mask=0.15, clip_norm=0.5,
    )  # fmt: skip
    trained = fit(stage, One(), None, settings, 0, TrainingState(tmp_path / "state"))
    first, last = (trained.history[i]["train_loss"] for i in (0, -1))
    # What nobody can know is in it: each row's first token, and what its prefix says.
    assert first > 1.5
    assert last < 0.5


def test_from_packed_tokens_to_clips_and_back_again(tmp_path):
    """Three trainings by Étude's loop, with an average of weights; loaded; sampled past a window."""
    packed = make_packed(tmp_path / "packed")
    wanted = experiment(ema_decay=0.9, keep_steps=[3], use="best", validate_every=3)
    for stage in NAMES:
        folder = tmp_path / "models" / stage / "seed-0"
        trained = train_stage(wanted, stage, 0, Parts(packed=packed), folder, tmp_path / "state")
        assert trained.history[-1]["valid_loss"] > 0
        config = read_json(folder / "config.json")
        assert config["library"] == "audiolm-pytorch 2.4.0"
        assert config["network"]["backend"] == "audiolm_pytorch"
        kept = tmp_path / f"{stage}.safetensors"
        copy_kept_step(
            wanted,
            stage,
            0,
            3,
            parts=Parts(packed=packed),
            state_root=tmp_path / "state",
            output=kept,
        )
        again = train_stage(
            wanted, stage, 0, Parts(packed=packed), tmp_path / stage, tmp_path / "state"
        )
        assert again.restored
        assert hash_file(tmp_path / stage / "model.safetensors") == hash_file(
            folder / "model.safetensors"
        )
    stages = {s: load_stage(tmp_path / "models" / s / "seed-0") for s in NAMES}
    assert {type(stage) for stage in stages.values()} == set(LIBRARY_STAGES.values())
    generator = AudioLmGenerator(**stages)
    both = generator.generate(1.0, [3, 4], Sampling(), whole_length=True)
    alone = generator.generate(1.0, [4], Sampling(), whole_length=True)
    assert both.acoustic.shape == (2, 4, 38)
    assert torch.equal(both.acoustic[1], alone.acoustic[0]), "a clip does not hang on its batch"
    assert both.ended == [False, False]
    ended = generator.generate(1.0, [3, 4], Sampling())
    assert any(ended.ended), "without whole_length a segment's end ends the clip"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_training_goes_on(precision, tmp_path):
    from etude.training.loop import Interrupted

    packed = make_packed(tmp_path / "packed")
    wanted = experiment(precision=precision, forgetful_mask=0.15)
    calls = iter(range(100))
    folders = [tmp_path / name / "coarse" / "seed-0" for name in ("stopped", "whole")]
    with pytest.raises(Interrupted):
        train_stage(
            wanted, "coarse", 0, packed, folders[0], tmp_path / "one",
            should_stop=lambda: next(calls) == 3,
        )  # fmt: skip
    train_stage(wanted, "coarse", 0, Parts(packed=packed), folders[0], tmp_path / "one")
    train_stage(wanted, "coarse", 0, Parts(packed=packed), folders[1], tmp_path / "two")
    assert len({hash_file(folder / "model.safetensors") for folder in folders}) == 1


# ---------------------------------------------------------------------- the seed's checkpoints


def checkpoint(stage, path):
    """A file as the library's trainer writes it, a step of its Adam behind it."""
    net = stage.net.train()
    adam = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=3e-4)
    stage.loss(batch())[0].backward()
    adam.step()
    content = {"model": net.state_dict(), "optim": adam.state_dict(), "version": "2.4.0"}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_of_its_trainer_is_read(name, tmp_path):
    source, target = make(name, seed=0), make(name, seed=1)
    file = checkpoint(source, tmp_path / f"{name}.transformer.25000.pt")
    with refused("unvouched-pickle"):
        transfer(target, file, Weights(path=file), {})
    origin = transfer(target, file, Weights(path=file, sha256=hash_file(file)), {})
    assert origin.sha256 == hash_file(file)
    tokens, _ = source.sequence(batch())
    with torch.inference_mode():
        hidden = [s.eval().transformer(tokens, s.full_layout) for s in (source, target)]
    assert torch.equal(*hidden)
    wrong = make(name, seed=1, semantic_vocabulary=17, codebook_size=9)
    with refused("weights-do-not-fit"):
        transfer(wrong, file, Weights(path=file, trust=True), {})


def test_an_imported_checkpoint_is_a_stage_like_any_other(tmp_path):
    """`weights:` in place of training, as the rule import_weights does it."""
    packed = make_packed(tmp_path / "packed")
    info = read_json(packed / "info.json")
    source = build_stage(experiment(), "coarse", info, seed=3)
    file = tmp_path / "coarse.transformer.29219.pt"
    torch.save({"model": source.net.state_dict(), "optim": {}, "version": "2.4.0"}, file)
    wanted = experiment({"coarse": {"weights": {"path": str(file), "trust": True}}})
    folder = tmp_path / "models" / "coarse" / "seed-0"
    import_stage(wanted, "coarse", 0, Parts(packed=packed), file, folder)
    loaded = load_stage(folder)
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.parameters(), source.parameters(), strict=True)
    )
    assert "coarse.transformer.29219.pt" in (folder / "card.md").read_text()
