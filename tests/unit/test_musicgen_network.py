"""MusicGen's network beside the library's own, in tiny sizes and with weights scaled up."""

import pytest
import torch
from refused import refused

from etude.clips.sampling import ClipStreams
from etude.config import Sampling
from etude.storage import write_json
from etude.systems.musicgen.network import Lm, delayed, from_pretrained, undelayed
from etude.systems.musicgen.sampling import sample, steps_of, windows
from etude.systems.musicgen.texts import (
    parts_of_text,
    read_tokenizer,
    unknown_words,
    word_tokenizer,
)

transformers = pytest.importorskip("transformers")
from tiny_models import make_musicgen  # noqa: E402

CODEC = {"codebook_size": 64, "quantizers": 4, "frames": 20, "frame_rate": 50.0}
TEXTS = ["the sound of a steel drum", "piano"]
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("musicgen")
    make_musicgen(folder)
    write_json(folder / "origin.json", {"from": "tiny", "sha256": "0" * 64})
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    found = transformers.MusicgenForConditionalGeneration.from_pretrained(str(folder)).eval()
    found.config.decoder.decoder_start_token_id = 64  # which its loss asks for
    return found


@pytest.fixture(scope="module")
def model(folder):
    return from_pretrained(folder, CODEC)


def ids_of(model, texts):
    found = [model.tokenizer.encode(text).ids for text in texts]
    length = max(map(len, found))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in found])
    return ids, torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in found])


def codes_of(seed, batch=2, frames=20):
    return torch.randint(64, (batch, 4, frames), generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
def test_the_delay_is_the_librarys(whole):
    codes = codes_of(0)
    moved = delayed(codes, 64)
    assert torch.equal(undelayed(moved), codes)
    start = torch.full((8, 1), 64)
    given = torch.cat([start, codes.flatten(0, 1)], dim=1)
    theirs, _ = whole.decoder.build_delay_pattern_mask(given, 64, max_length=24)
    # theirs shows what is given until the last position that all codebooks have
    assert torch.equal(theirs[:, : theirs.shape[1]], moved.flatten(0, 1)[:, : theirs.shape[1]])


def test_the_loss_is_the_librarys(whole, model):
    codes = codes_of(1)
    ids, mask = ids_of(model, TEXTS)
    moved = delayed(codes, 64)
    with torch.no_grad():
        labels = moved[..., 1:].transpose(1, 2)
        theirs = whole(input_ids=ids, attention_mask=mask, labels=labels).loss
        ours, figures = model.loss({"codes": codes, "ids": ids, "mask": mask})
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert figures["count"] == codes.numel()
    with torch.no_grad():
        null, _ = model.loss({"codes": codes, "ids": ids, "mask": torch.zeros_like(mask)})
    assert torch.isfinite(null)
    assert abs(null - ours) > 1e-3, "the text reaches the loss"


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_greedy_codes_are_the_librarys(whole, model, monkeypatch, guidance):
    heard = {}

    def decode(codes, **_):
        heard["codes"] = codes
        return type("Out", (), {"audio_values": torch.zeros(len(codes), 1, 8)})()

    monkeypatch.setattr(whole.audio_encoder, "decode", decode)
    ids, mask = ids_of(model, TEXTS)
    out = whole.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, guidance_scale=guidance,
        max_length=24, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    theirs = heard["codes"][0]
    rows, there = model.rows(TEXTS)
    states = model.encode(rows, there)
    ours = sample(model, rows, there, 20, ClipStreams([0, 1]), GREEDY, guidance=guidance)
    assert torch.equal(ours, theirs)
    assert len(ours.unique()) > 3, "not one code all the time"
    # The logits of each step, too, from the codes that both have.
    with torch.no_grad():
        moved = delayed(ours, 64)[..., :-1]
        mine = model.logits(moved, states, there)
        if guidance != 1:
            null = model.logits(moved, torch.zeros_like(states), torch.zeros_like(there))
            mine = null + guidance * (mine - null)
    for step, scores in enumerate(out.scores):
        expected = scores.unflatten(0, (-1, 4))
        torch.testing.assert_close(mine[:, :, step], expected, atol=2e-4, rtol=1e-4)


def test_rows_are_the_table(whole, model):
    """A concept of the rows of known words is those words: an export as ordinary rows is exact."""
    ids = model.tokenizer.encode("steel drum", add_special_tokens=False).ids
    concept = {"mine": model.table[ids].detach()}
    plain, learned = model.rows(["the steel drum"]), model.rows(["the <mine>"], concept)
    assert torch.equal(plain[0], learned[0])
    assert torch.equal(plain[1], learned[1])
    with torch.no_grad():
        tokens, mask = ids_of(model, ["the steel drum"])
        theirs = whole.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        projected = whole.enc_to_dec_proj(theirs)
        torch.testing.assert_close(model.encode(*learned), projected, atol=1e-6, rtol=1e-6)
    with refused("unknown-word", "<mime>", "did you mean 'mine'?"):
        model.rows(["the <mime>"], concept)


def test_padding_of_a_batch_changes_nothing(model):
    with torch.no_grad():
        alone = model.encode(*model.rows(["piano"]))
        states = model.encode(*model.rows(["piano", "the sound of a steel drum", ""]))
    torch.testing.assert_close(states[:1, : alone.shape[1]], alone, atol=1e-6, rtol=1e-5)
    assert not states[0, alone.shape[1] :].any()
    assert not states[2].any(), "no text is zeros"


@pytest.mark.slow
def test_cached_and_uncached_agree_and_a_clip_stands_alone(model):
    rows, mask = model.rows(TEXTS)
    how = {"guidance": 2.0, "window": 12, "hop": 5}

    def run(clips, **more):
        streams = ClipStreams([7 + clip for clip in clips])
        return sample(model, rows[clips], mask[clips], 30, streams, Sampling(), **how, **more)

    both = run([0, 1])
    assert both.shape == (2, 4, 30)
    assert both.max() < 64
    assert torch.equal(run([0, 1], cached=False), both)
    assert torch.equal(run([1]), both[1:]), "whatever its batch is"
    calls = []
    run([0], on_step=lambda: calls.append(1))
    assert len(calls) == steps_of(30, 12, 5, 4)


def test_windows_cover_all_and_go_on():
    assert windows(10, None, None) == windows(10, 12, None) == [(0, 10)]
    assert windows(30, 12, 5) == [(0, 12), (5, 12), (10, 12), (15, 12), (18, 12)]
    assert windows(20, 12, None) == [(0, 12), (6, 12), (8, 12)]


def test_a_window_goes_on_from_the_one_before(model):
    """What is known is not drawn again, and decides what follows."""
    rows, mask = model.rows(["piano"])
    long = sample(model, rows, mask, 20, ClipStreams([3]), Sampling(), window=12, hop=4)
    short = sample(model, rows, mask, 12, ClipStreams([3]), Sampling())
    assert torch.equal(long[:, :, :12], short)


def test_what_is_saved_is_what_is_loaded(model, tmp_path):
    model.save(tmp_path)
    again = Lm.load(tmp_path)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True)
    )
    batch = {"codes": codes_of(2), **dict(zip(("ids", "mask"), ids_of(model, TEXTS), strict=True))}
    with torch.no_grad():
        assert torch.equal(again.loss(batch)[0], model.loss(batch)[0])


def test_bfloat16_runs(folder):
    half = from_pretrained(folder, CODEC).to(torch.bfloat16)
    rows, mask = half.rows(TEXTS)
    codes = sample(half, rows, mask, 6, ClipStreams([0, 1]), Sampling(), guidance=3.0)
    with torch.no_grad():
        ids, there = ids_of(half, TEXTS)
        loss, _ = half.loss({"codes": codes, "ids": ids, "mask": there})
    assert torch.isfinite(loss)


def test_weights_of_another_codec_are_refused(folder, tmp_path):
    with refused("another-codec") as found:
        from_pretrained(folder, CODEC | {"codebook_size": 2048, "frame_rate": 75.0})
    assert "64" in str(found.value)
    assert "75" in str(found.value)
    with refused("text-tokenizer-missing"):
        read_tokenizer(tmp_path)


def test_a_network_of_one_width_has_no_projection(tmp_path):
    whole = make_musicgen(tmp_path, width=32)
    model = from_pretrained(tmp_path, CODEC)
    assert not list(model.projection.parameters())
    ids, mask = ids_of(model, TEXTS)
    theirs = whole.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    ours = model.encode(*model.rows(TEXTS))
    torch.testing.assert_close(ours, theirs * mask[..., None], atol=1e-6, rtol=1e-6)


def test_words():
    tokenizer = word_tokenizer(["Steel drum, high", "été: slow!"])
    assert tokenizer.get_vocab_size() == 8
    known = tokenizer.encode("HIGH, slow steel drum. Été").tokens
    assert known == ["high", "slow", "steel", "drum", "été", "</s>"]
    assert unknown_words("a high <steel> violin", tokenizer) == ["a", "violin"]
    parts = parts_of_text("high <x> drum", tokenizer, {"x": 2})
    assert [part.concept for part in parts] == ["", "x", "", ""]
    assert parts[-1].ids == (1,)
    assert parts_of_text("  ", tokenizer, {}) == []
