"""GPT-2, Llama, Music Transformer: caches, formulas, sizes, saving, plain transformers code."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter
from refused import invalid, refused
from symbols import NETWORKS, SHAPE, VOCABULARY, WINDOW

from etude.config.systems.symbolic_lm import SymbolicNetwork
from etude.systems.symbolic_lm import families
from etude.systems.symbolic_lm.music_transformer import MusicTransformerModel, skew
from etude.systems.symbolic_lm.stage import SymbolicLmStage, load_stage

KINDS = sorted(NETWORKS)


def settings(values):
    return TypeAdapter(SymbolicNetwork).validate_python(values)


def stage_of(kind, **over):
    torch.manual_seed(1)
    return SymbolicLmStage(SHAPE, settings(NETWORKS[kind] | over)).eval()


def some_ids(batch=3, length=WINDOW):
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_cached_logits_equal_uncached(kind):
    network, ids = stage_of(kind).network, some_ids()
    whole = families.all_logits(network, ids)
    cache = families.open_cache(network, len(ids), WINDOW)
    found = [families.next_logits(network, ids[:, :7], cache)]  # a prompt at once, then one by one
    found += [families.next_logits(network, ids[:, i : i + 1], cache) for i in range(7, WINDOW)]
    torch.testing.assert_close(torch.stack(found, 1), whole[:, 6:], atol=2e-5, rtol=1e-4)
    alone = families.next_logits(network, ids[:, :9])
    torch.testing.assert_close(alone, whole[:, 8], atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_music_transformer_takes_a_block_behind_a_cache():
    network, ids = stage_of("music_transformer").network, some_ids()
    cache = network.cache(3, WINDOW)
    network(ids[:, :5], cache)
    torch.testing.assert_close(
        network(ids[:, 5:12], cache), network(ids)[:, 5:12], atol=2e-5, rtol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_no_position_sees_what_comes_later(kind):
    network, ids = stage_of(kind).network, some_ids()
    other = ids.clone()
    other[:, 20:] = (other[:, 20:] + 1) % VOCABULARY
    before, after = families.all_logits(network, ids), families.all_logits(network, other)
    torch.testing.assert_close(before[:, :20], after[:, :20])
    assert not torch.allclose(before[:, 20:], after[:, 20:])


def test_skewing_is_the_naive_formula():
    products = torch.randn(2, 3, 6, 6)  # column d: distance 5 - d
    moved = skew(products)
    for i in range(6):
        for j in range(i + 1):
            torch.testing.assert_close(moved[..., i, j], products[..., i, 5 - (i - j)])


@torch.inference_mode()
def test_relative_attention_is_the_naive_formula():
    """Logit of query i and key j: (q_i k_j + q_i e_{i-j}) / sqrt(d), one pair after the other."""
    network = stage_of("music_transformer").network
    layer, x = network.layers[0], torch.randn(2, 9, 16)
    ahead = torch.ones(9, 9).triu(1) > 0
    causal = torch.zeros(9, 9).masked_fill(ahead, -torch.inf)
    found = layer._attend(x, 0, causal, None)
    query, key, value = layer.query_key_value(x).unflatten(-1, (3, 2, 8)).unbind(2)
    wanted = torch.zeros(2, 9, 2, 8)
    for b in range(2):
        for h in range(2):
            for i in range(9):
                logits = torch.stack(
                    [
                        (query[b, i, h] @ key[b, j, h])
                        + (query[b, i, h] @ layer.distances.weight[i - j])
                        for j in range(i + 1)
                    ]
                )
                weights = (logits / math.sqrt(8)).softmax(0)
                wanted[b, i, h] = weights @ value[b, : i + 1, h]
    torch.testing.assert_close(found, layer.out(wanted.flatten(2)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_says_the_same(kind, tmp_path):
    stage, ids = stage_of(kind), some_ids()
    stage.save(tmp_path, {"symbolic": "abc"})
    again = load_stage(tmp_path)
    torch.testing.assert_close(
        families.all_logits(again.network, ids), families.all_logits(stage.network, ids)
    )
    first = (tmp_path / "model.safetensors").read_bytes(), (tmp_path / "config.json").read_bytes()
    again.save(tmp_path, {"symbolic": "abc"})
    assert first == (
        (tmp_path / "model.safetensors").read_bytes(),
        (tmp_path / "config.json").read_bytes(),
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_plain_transformers_code_reads_a_stage(kind, tmp_path):
    from transformers import AutoModelForCausalLM

    stage, ids = stage_of(kind), some_ids()
    stage.save(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        torch.testing.assert_close(
            model(ids).logits, families.all_logits(stage.network, ids), atol=1e-5, rtol=1e-4
        )
    assert model.config.eos_token_id == SHAPE["eos"]


def test_music_transformer_saves_as_transformers_do(tmp_path):
    stage, ids = stage_of("music_transformer"), some_ids()
    stage.network.save_pretrained(tmp_path / "a")
    stage.save(tmp_path / "b")
    for folder in ("a", "b"):
        model = MusicTransformerModel.from_pretrained(tmp_path / folder)
        torch.testing.assert_close(model(ids), stage.network(ids))


SEEDS = [  # facts of the seeds: parameters in millions
    ({"kind": "gpt2", "layers": 12, "heads": 12, "dim": 768}, 4050, 88.95),
    ({"kind": "gpt2", "layers": 12, "heads": 12, "dim": 768, "feed_forward": 1536}, 348, 57.8),
    ({"kind": "llama", "layers": 12, "heads": 16, "dim": 1024, "feed_forward": 4096}, 348, 202),
    (
        {
            "kind": "music_transformer",
            "layers": 12,
            "heads": 12,
            "dim": 768,
            "feed_forward": 1536,
        },
        348,
        58.1,
    ),
]


@pytest.mark.parametrize(("network", "vocabulary", "millions"), SEEDS, ids=lambda v: str(v)[:24])
def test_sizes_of_the_seeds(network, vocabulary, millions):
    shape = SHAPE | {"vocabulary": vocabulary, "context": 1024}
    with torch.device("meta"):
        built = families.build_network(settings(network), shape)
    weights = sum(weight.numel() for weight in built.parameters())
    assert weights / 1e6 == pytest.approx(millions, rel=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_counts_music_only(kind):
    stage = stage_of(kind)
    ids = some_ids(2, 12)
    lengths = torch.tensor([12, 7])
    loss, figures = stage.loss({"ids": ids, "lengths": lengths})
    assert figures["count"] == 11 + 6
    filled = ids.clone()
    filled[1, 7:] = 0
    again, _ = stage.loss({"ids": filled, "lengths": lengths})
    torch.testing.assert_close(loss, again)
    logits = families.all_logits(stage.network, ids).log_softmax(-1)
    parts = [-logits[0, i, ids[0, i + 1]] for i in range(11)]
    parts += [-logits[1, i, ids[1, i + 1]] for i in range(6)]
    torch.testing.assert_close(loss, torch.stack(parts).mean(), atol=1e-5, rtol=1e-4)


def test_tied_weights_are_stored_once(tmp_path):
    stage = stage_of("gpt2")
    assert stage.tied == {"lm_head.weight": "transformer.wte.weight"}
    assert "lm_head.weight" not in stage.state_dict()
    stage.load_state_dict({n: torch.ones_like(w) for n, w in stage.state_dict().items()})
    assert (
        stage.network.lm_head.weight.data_ptr() == stage.network.transformer.wte.weight.data_ptr()
    )
    assert float(stage.network.lm_head.weight[0, 0].detach()) == 1


def test_stage_of_another_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "params.json").write_text("{}")
    stage_of("gpt2").save(tmp_path / "model", {"symbolic": "0" * 64})
    with refused("another-tokenizer"):
        load_stage(tmp_path / "model", tmp_path / "tokenizer")


def test_unknown_network_is_named():
    from etude.config import DEFAULT, read

    wrong = {"system": "symbolic_lm", "corpus": "chorales", "tokens": "embedded"}
    wrong |= {"stages": {"lm": {"network": {"kind": "gpt3"}}}}
    with invalid("mine.stages.lm.network", "union_tag_invalid", "did you mean 'gpt2'?"):
        read(DEFAULT, overrides={"experiments": {"mine": wrong}})
