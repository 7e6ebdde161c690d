"""Stable Audio as a system: latents, training, adaptations, clips, bad input."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from refused import invalid, refused
from sounds import HOP, RATE, SOUNDS, experiment, make_sounds, opened, run_stages, tone

from etude import config
from etude.audio.files import write_wav
from etude.clips.progress import never, silent
from etude.config.sound import Adaptation
from etude.config.systems.stable_audio import SoundGenerate, StableAudio
from etude.pretrained.network_hash import hash_state
from etude.storage import hash_file, read_csv, read_json, write_csv
from etude.systems.base import Parts, Span
from etude.systems.conditions import Conditions
from etude.systems.stable_audio.adapter import Adapter, load_adapter, merged, shape_of, targets_of
from etude.systems.stable_audio.autoencoder import Autoencoder, of_tokenizer
from etude.systems.stable_audio.data import Mixed, SoundWindows
from etude.systems.stable_audio.latents import encode_wave, write_latents
from etude.systems.stable_audio.network import Sound, set_strength
from etude.systems.stable_audio.system import StableAudioSystem, held_out_captions
from etude.systems.stable_audio.texts import as_ids, is_cut, new_words, tokenizer_of
from etude.tokenizers.magnitude_rvq import MagnitudeRvqTokenizer
from etude.training.stage import import_stage, train_stage
from etude.workflow.plan import Plan

OWNED = {"wobbly siren": 440.0}
FAST = {"denoising": {"steps": 8, "clip": "none", "guidance": 1.5}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("stable_audio")


@pytest.fixture(scope="module")
def base(home):
    """A trained base, its parts."""
    parts = make_sounds(home / "general")
    return run_stages(experiment(steps=120), parts, home, "sound")


@pytest.fixture(scope="module")
def owned(home):
    """A collection of another sound, whose words the base has not learned."""
    return make_sounds(home / "owned", OWNED, "own")


def adapt(kind, owned, base, home, **more):
    how = experiment(steps=more.pop("steps", 20), base="sound", adapt={"kind": kind}, **more)
    upstream = {name: base.models[name] for name in ("autoencoder", "dit")}
    upstream["latents"] = base.latents["autoencoder"]
    return how, run_stages(how, owned, home, f"{kind}-{len(more)}", **upstream)


@pytest.fixture(scope="module")
def full(owned, base, home):
    return adapt("full", owned, base, home)


@pytest.fixture(scope="module")
def lora(owned, base, home):
    return adapt("lora", owned, base, home)


def made(how, parts, text="", seconds=1.0, **generate):
    """Clips of a trained experiment."""
    settings = SoundGenerate.model_validate({"clips": 3, **FAST, **generate})
    player = opened(how, parts)
    asked = player.prepare(settings, Conditions(text=text, seconds=seconds))
    return list(player.clips(settings, 0, 0, asked, silent, never))


def pitch(wave):
    """The frequency of the loudest bin."""
    spectrum = np.abs(np.fft.rfft(wave))
    return np.fft.rfftfreq(len(wave), 1 / RATE)[spectrum.argmax()]


def batch_of(parts, split="train", count=8, base=None):
    model = Sound.load((base or parts).models["dit"])
    silence = torch.tensor(model.shape["silence"]).float()
    read = (model.shape["frames"], silence, model.tokenizer, model.text_length)
    windows = SoundWindows(parts.latents["autoencoder"], split, *read)
    return model, windows.batch(list(range(min(count, len(windows)))))


# ----------------------------------------------------------------------------------- latents


@pytest.mark.slow
def test_latents_are_whole_pieces(base):
    folder = base.latents["autoencoder"]
    rows = list(read_csv(folder / "train.csv"))
    assert [row["caption"] for row in rows] == [f"{list(SOUNDS)[i % 2]}, slow" for i in range(8)]
    autoencoder = Autoencoder.load(base.models["autoencoder"])
    assert autoencoder.frame_rate == RATE / HOP
    _, batch = batch_of(base, count=1)
    direct = encode_wave(autoencoder, torch.from_numpy(tone(SOUNDS["low hum"], 1.5)))
    found = batch["latents"][0].T
    assert torch.allclose(found, direct[: len(found)], atol=2e-3), "of PCM, so not bit for bit"
    statistics = read_json(folder / "statistics.json")
    assert statistics["channels"] == 8
    assert len(statistics["silence"]) == 8


def test_a_sound_survives_the_autoencoder(base):
    autoencoder = Autoencoder.load(base.models["autoencoder"])
    for hertz in SOUNDS.values():
        latents = autoencoder.encode(torch.from_numpy(tone(hertz, 1.0))[None])
        assert latents.shape == (1, 8, RATE // HOP)
        wave = autoencoder.decode(latents)[0].numpy()
        assert len(wave) == RATE
        assert abs(pitch(wave) - hertz) < 40


def test_codes_are_as_they_were(base):
    """`project` and `play` are what `encode` and `decode` are made of."""
    tokenizer = MagnitudeRvqTokenizer.load(base.tokenizers["acoustic"])
    wave = torch.from_numpy(tone(440.0, 1.0))[None]
    codes, projected = tokenizer.encode(wave), tokenizer.project(wave)
    books = tokenizer.tensors["codebooks"]
    entries = sum(books[q][codes[0, q]] for q in range(len(books)))
    assert torch.equal(tokenizer.play(entries[None]), tokenizer.decode(codes))
    assert (entries - projected[0]).square().mean() < projected.square().mean()
    whole = of_tokenizer(tokenizer, 99)
    assert torch.equal(whole.encode(wave)[0].T, projected[0])


def test_windows_of_training_and_validation(base):
    model, _ = batch_of(base)
    silence = torch.full((8,), 7.0)
    read = (30, silence, model.tokenizer, 8)
    folder = base.latents["autoencoder"]
    valid = SoundWindows(folder, "train", *read)
    frames = [int(row["frames"]) for row in valid.rows]
    assert frames == sorted(frames)
    assert len(valid) == sum(max(1, count // 30) for count in frames)
    second = next(i for i, item in enumerate(valid.items) if item[1] == 1)
    start, total = valid.span(second)
    assert start == pytest.approx(30 * HOP / RATE, abs=0.05)
    assert total == pytest.approx(frames[valid.items[second][0]] * HOP / RATE, abs=0.05)
    train = SoundWindows(folder, "train", *read, vary=lambda caption, place: caption)
    begins = {train.span(second, place)[0] for place in np.random.default_rng(0).random(30)}
    assert len(begins) > 5, "anywhere in the piece"
    wide = SoundWindows(folder, "train", 100, *read[1:])
    batch = wide.batch([0])
    assert batch["there"].sum() == frames[0]
    assert (batch["latents"][0, :, frames[0] :] == 7).all(), "behind the end is silence"


def test_replay_is_a_share(base, owned):
    model, _ = batch_of(base)
    read = (20, torch.zeros(8), model.tokenizer, 8)
    windows = SoundWindows(base.latents["autoencoder"], "train", *read)
    mixed = Mixed(windows, windows, 0.25)
    places = np.random.default_rng(0).random(400)
    batch = mixed.batch([number % len(windows) for number in range(400)], places)
    assert batch["latents"].shape == (400, 8, 20)
    assert 0.18 < batch["replayed"].double().mean() < 0.32
    assert not Mixed(windows, windows, 0.0).batch([0], places[:1])["replayed"].any()


def test_what_cannot_be_encoded_is_a_row(base, tmp_path):
    wav = tmp_path / "wav"
    wav.mkdir()
    rows = []
    for name, rate, seconds in (("slow", 4000, 1.0), ("short", RATE, 0.01), ("good", RATE, 1.0)):
        write_wav(wav / f"{name}.wav", tone(200.0, seconds)[: round(rate * seconds)], rate)
        rows.append({"piece": name, "status": "kept", "split": "train"})
    rows.append({"piece": "gone", "status": "kept", "split": "train"})
    write_csv(wav / "index.csv", list(rows[0]), rows[:3])
    write_csv(tmp_path / "pieces.csv", list(rows[0]), rows)
    parts = replace(base, wav=(wav,), pieces=tmp_path / "pieces.csv", captions=None)
    autoencoder = Autoencoder.load(base.models["autoencoder"])
    write_latents(autoencoder, parts, tmp_path)
    assert [row["piece"] for row in read_csv(tmp_path / "train.csv")] == ["good"]
    reasons = {
        r["piece"]: r["reason"].partition(":")[0] for r in read_csv(tmp_path / "left_out.csv")
    }
    assert reasons == {"slow": "rate_too_low", "short": "too_short", "gone": "no_audio"}
    write_csv(tmp_path / "pieces.csv", list(rows[0]), rows[:2])
    with refused("nothing-to-train-on") as caught:
        write_latents(autoencoder, parts, tmp_path)
    assert "rate_too_low" in str(caught.value)


# ------------------------------------------------------------------------------------- texts


def test_clips_are_asked_as_held_out_music_is_called(tmp_path):
    """As often as captions occur, and in no order of names; without a valid split, of training."""
    rows = [{"piece": f"p{n:02}", "caption": f"{'drum' if n < 15 else 'horn'}"} for n in range(20)]
    write_csv(tmp_path / "valid.csv", ["piece", "caption"], [])
    write_csv(tmp_path / "train.csv", ["piece", "caption"], [*rows, {"piece": "z", "caption": ""}])
    texts = held_out_captions(Parts(latents={"autoencoder": tmp_path}))
    assert sorted(texts) == ["drum"] * 15 + ["horn"] * 5
    assert "horn" in texts[:8]


def test_new_words_have_rows_of_their_own():
    tokenizer = tokenizer_of(["low hum, slow"], 64)
    assert new_words("a Low wobbly hum", tokenizer) == ["a", "wobbly"]
    found = as_ids(["low wobbly", "low siren", "low hum", ""], tokenizer, 6)
    unknown = tokenizer.token_to_id("<unk>")
    assert not (found["ids"] == unknown).any()
    assert len({tuple(row) for row in found["ids"].tolist()}) == 4
    assert found["mask"].sum(1).tolist() == [3, 3, 3, 0]
    long = " ".join(["hum"] * 500)
    assert is_cut(long, tokenizer, 6)
    cut = as_ids([long], tokenizer, 6)
    assert cut["ids"][0, -1] == tokenizer.token_to_id("</s>"), "the end of a text stays its end"
    assert tokenizer_of(["a b"], 8).get_vocab_size() == 3 + 8 + 2


# ---------------------------------------------------------------------------------- training


@pytest.mark.slow
def test_one_batch_is_learned_by_heart(base):
    """Measured: 0.5. Without time, text, conditions or positions it stays at 0.69 and more."""
    model, batch = batch_of(base, count=4)
    torch.manual_seed(0)
    fresh = Sound(model.shape, model.settings, model.tokenizer)
    optimiser = torch.optim.AdamW(fresh.parameters(), lr=4e-3)
    for _ in range(400):
        fresh.train()
        batch["places"] = torch.rand(4, dtype=torch.float64)
        loss, _ = fresh.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(fresh.parameters(), 1.0)
        optimiser.step()
    batch["places"] = torch.arange(4) / 4
    assert fresh.eval().loss(batch)[0].item() < 0.62, "the velocity has a variance of 1"


def test_it_learns_what_words_mean(base):
    """Each word gives its pitch; the loss of the right word is lower than that of the other."""
    for name, hertz in SOUNDS.items():
        clips = made(experiment(), base, f"{name}, slow")
        assert {len(clip.wave) for clip in clips} == {RATE}
        assert np.median([abs(pitch(clip.wave) - hertz) for clip in clips]) < 100
    model, batch = batch_of(base, "valid", 4)
    order = [1, 0, 3, 2]
    wrong = batch | {key: batch[key][order] for key in ("ids", "mask")}
    null = batch | {"mask": torch.zeros_like(batch["mask"])}
    with torch.no_grad():
        right, other, none = (float(model.loss(b)[0]) for b in (batch, wrong, null))
    assert right < none
    assert right < other


def test_validation_is_always_the_same(base):
    model, batch = batch_of(base)
    with torch.no_grad():
        assert model.loss(batch)[0] == model.loss(batch)[0]
        assert model.train().loss(batch)[0] != model.loss(batch)[0]


def test_without_text_the_seconds_stay(base):
    model, _ = batch_of(base)
    with torch.no_grad():
        told = model.conditioning_of(["low hum", ""], [(0.0, 2.0)] * 2)
    assert told["cross"][0].any()
    assert not told["cross"][1].any()
    assert torch.equal(told["whole"][0], told["whole"][1])


def test_what_is_masked_is_not_learned(base):
    model, batch = batch_of(base)
    masked = Sound(model.shape, model.settings.model_copy(update={"masked": True}), model.tokenizer)
    masked.load_state_dict(model.state_dict())
    batch["there"][:] = False
    batch["there"][:, :5] = True
    with torch.no_grad():
        assert masked.eval().loss(batch)[0] != model.loss(batch)[0]
        whole = batch | {"there": torch.ones_like(batch["there"])}
        assert masked.loss(whole)[0] == model.loss(whole)[0]


# -------------------------------------------------------------------------------- adaptations


@pytest.mark.slow
def test_full_adaptation_learns_the_new_sound(full, base):
    _, parts = full
    model, batch = batch_of(parts, "valid", 4)
    before, _ = batch_of(base)
    with torch.no_grad():
        assert model.loss(batch)[0] < before.loss(batch)[0]
    changed = read_json(parts.models["dit"] / "changed.json")
    assert changed["nothing"] is False
    assert 0 < changed["moved"] < 1
    assert changed["made"] > 0.01


@pytest.mark.slow
def test_an_adapter_leaves_its_base_alone(lora, base):
    _, parts = lora
    assert hash_file(parts.models["base"] / "model.safetensors") == hash_file(
        base.models["dit"] / "model.safetensors"
    )
    plain = Sound.load(parts.models["base"])
    adapter = load_adapter(parts.models["dit"], Sound.load(parts.models["base"]))
    inner = {
        name.replace("base_model.model.", "").replace(".base_layer", ""): weight
        for name, weight in adapter.base.transformer.state_dict().items()
        if "lora_" not in name
    }
    for name, weight in plain.transformer.state_dict().items():
        assert torch.equal(inner[name], weight), name
    assert adapter.shape["base_sha256"] == hash_state([plain])
    trained = sum(p.numel() for p in adapter.parameters())
    assert trained < sum(p.numel() for p in plain.parameters()) / 2


def test_an_adapter_learns_the_new_sound(lora, base):
    _, parts = lora
    before, batch = batch_of(parts, "valid", 4, base=base)
    adapter = load_adapter(parts.models["dit"], Sound.load(parts.models["base"]))
    with torch.no_grad():
        learned, begun = float(adapter.loss(batch)[0]), float(before.loss(batch)[0])
        assert learned < begun
        set_strength(adapter.base, 0.0)
        assert float(adapter.loss(batch)[0]) == begun, "strength 0 is the base"
        set_strength(adapter.base, 1.0)
        assert float(adapter.loss(batch)[0]) == learned


def test_merged_equals_the_adapter_and_peft_reads_its_files(lora):
    from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
    from peft import PeftModel

    _, parts = lora
    plain = Sound.load(parts.models["base"])
    assert isinstance(plain.transformer, StableAudioDiTModel)
    told = plain.conditioning_of(["wobbly siren"], [(0.0, 1.0)])
    x, time = torch.randn(1, 8, 20), torch.tensor([0.7])
    with torch.no_grad():
        begun = plain.velocity(x, time, told)
        adapter = load_adapter(parts.models["dit"], Sound.load(parts.models["base"]))
        wanted = adapter.base.velocity(x, time, told)
        assert not torch.allclose(begun, wanted, atol=1e-3)
        plain.transformer = PeftModel.from_pretrained(
            plain.transformer, str(parts.models["dit"] / "adapter")
        )
        assert torch.equal(plain.velocity(x, time, told), wanted)
        whole = merged(adapter)
        assert isinstance(whole.transformer, StableAudioDiTModel)
        assert torch.allclose(whole.velocity(x, time, told), wanted, atol=1e-4)
    about = read_json(parts.models["dit"] / "adapter/adapter_config.json")
    assert about["base_model_name_or_path"] == "sound"


def test_an_adapter_of_another_base_is_refused(lora, base):
    _, parts = lora
    other = Sound.load(base.models["dit"])
    with torch.no_grad():
        next(iter(other.parameters())).add_(1)
    with refused("another-base"):
        load_adapter(parts.models["dit"], other)


def test_copies_of_an_adapter_share_the_base(base):
    network = Sound.load(base.models["dit"])
    adapter = Adapter(shape_of(network, "sound", Adaptation(kind="lora")), network)
    twin = copy.deepcopy(adapter)
    mine, theirs = (dict(a.base.transformer.named_parameters()) for a in (adapter, twin))
    for name, weight in mine.items():
        assert (theirs[name] is weight) == (not weight.requires_grad), name
    with torch.no_grad():
        for weight in twin.parameters():
            weight.fill_(0.5)
    assert all((w == 0.5).all() for w in theirs.values() if w.requires_grad), "still tied"
    assert not any((w == 0.5).all() for w in mine.values() if w.requires_grad)


@pytest.mark.slow
def test_the_same_training_gives_the_same_bytes(lora, owned, base, home):
    _, parts = lora
    given = replace(parts, models={"base": parts.models["base"]})
    short, found = experiment(steps=4, base="sound", adapt={"kind": "lora"}), []
    for number in range(2):
        folder = home / f"again{number}"
        train_stage(short, "dit", 0, given, folder / "dit/seed-0", folder / "state")
        names = ("model.safetensors", "adapter/adapter_config.json", "changed.json")
        found.append([hash_file(folder / "dit/seed-0" / name) for name in names])
    assert found[0] == found[1]


def test_an_adaptation_that_does_nothing_says_so(owned, base, home, caplog):
    training = {"learning_rate": 1e-9, "weight_decay": 0.0}
    _, parts = adapt("lora", owned, base, home, steps=1, training=training)
    assert read_json(parts.models["dit"] / "changed.json")["nothing"] is True
    assert "does nothing" in caplog.text


def test_targets_of_adapters(base):
    network = Sound.load(base.models["dit"]).transformer
    names = targets_of(network, ["to_q", "global_proj.0"], ["transformer_blocks.1"])
    assert "global_proj.0" in names
    assert all("to_q" in name for name in names if name != "global_proj.0")
    assert len(names) == 1 + 2, "self and cross attention of the first block"
    with refused("unknown-layer", "to_x", where="adapt.targets"):
        targets_of(network, ["to_q", "to_x"], [])
    with refused("unknown-layer", where="adapt.exclude"):
        targets_of(network, ["to_q"], ["transformer_blocks"])


@pytest.mark.slow
def test_it_is_heard_while_it_learns(lora, base, home):
    """At two scales, beside held-out music; TensorBoard has the clips, the history distances."""
    _, parts = lora
    training = {"audition": True, "validate_every": 2}
    short = experiment(steps=2, base="sound", adapt={"kind": "lora"}, training=training)
    given = replace(parts, models={"base": parts.models["base"]})
    heard = []

    def distance(clips, real, rate):
        heard.append((len(clips), len(real), rate, len(clips[0]), len(real[0])))
        return float(len(heard))

    folder, board = home / "heard/dit/seed-0", home / "board"
    train_stage(short, "dit", 0, given, folder, home / "heard/state", board, distance=distance)
    windows = sum(len(tone(1.0, 1.5 + i / 4)) // RATE for i in range(4))
    assert heard == [(8, windows, RATE, RATE, RATE)] * 2
    last = list(read_csv(folder / "history.csv"))[-1]
    assert [last[f"distance_guidance_{scale}"] for scale in (1, 4, 7)] == ["1", "2", ""]
    content = b"".join(path.read_bytes() for path in board.rglob("*tfevents*"))
    assert b"audition/distance_guidance_4" in content
    assert b"clip-3" in content
    listener = StableAudioSystem().audition(given)
    one, other = (listener(Sound.load(base.models["dit"])) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.waves, other.waves, strict=True))
    assert not np.allclose(one.waves[0], one.waves[2], atol=1e-3), "another guidance"


# -------------------------------------------------------------------------------- generation


def test_a_clip_does_not_depend_on_its_batch(base):
    one, other = (made(experiment(), base, "low hum", batch_size=size) for size in (1, 3))
    for left, right in zip(one, other, strict=True):
        assert left.number == right.number
        assert np.allclose(left.wave, right.wave, atol=1e-3)
    assert not np.allclose(one[0].wave, one[1].wave, atol=1e-2)


@pytest.mark.slow
def test_clips_have_any_length_and_their_seconds(base):
    for seconds in (0.3, 2.5):
        clips = made(experiment(), base, "low hum", seconds=seconds, start=0.5, total=4.0)
        assert {len(clip.wave) for clip in clips} == {round(seconds * RATE)}
        assert clips[0].condition == {"prompt": "low hum", "start": "0.5", "total": "4"}
    long = made(experiment(), base, "low hum", seconds=9.0)
    assert long[0].condition["total"] == "9", "no training window is as long"


@pytest.mark.slow
def test_negative_texts_guidance_and_temperature_change_clips(base):
    plain = made(experiment(), base, "low hum")
    guidance = {"denoising": {**FAST["denoising"], "guidance": 4.0}}
    for more in ({"negative": "high beep"}, guidance,
                 {"denoising": {**guidance["denoising"], "rescale": 0.7}},
                 {"denoising": {**FAST["denoising"], "temperature": 0.5}}):  # fmt: skip
        assert not np.allclose(plain[0].wave, made(experiment(), base, "low hum", **more)[0].wave)


def test_clips_from_recordings(base, tmp_path):
    write_wav(tmp_path / "mine.wav", tone(SOUNDS["high beep"], 1.0), RATE)
    player, settings = opened(experiment(), base), SoundGenerate.model_validate(FAST)
    asked = player.prepare(
        settings, Conditions(files=(tmp_path / "mine.wav",), text="low hum", seconds=2.0)
    )
    source = asked.sources[0].T
    kept = SoundGenerate.model_validate({**FAST, "keep": "0-0.5", "recording": "mine.wav"})
    latents, _ = player.sample(kept, asked, 0, [0, 1])
    assert latents.shape == (2, 8, 40)
    assert torch.allclose(latents[0, :, :10], source[:, :10], atol=1e-3)
    assert not torch.allclose(latents[0, :, 10:20], source[:, 10:20], atol=0.1)
    assert not torch.allclose(latents[0, :, 10:], latents[1, :, 10:], atol=0.1)
    distances = []
    for strength in (0.2, 1.0):
        how = settings.model_copy(update={"strength": strength})
        latents, _ = player.sample(how, asked, 0, [0])
        distances.append(float((latents[0, :, :20] - source).square().mean()))
    assert distances[0] < 0.5 * distances[1]
    (clip,) = player.clips(kept.model_copy(update={"clips": 1}), 0, 0, asked, silent, never)
    assert clip.condition["recording"] == "mine.wav"


def test_bad_recordings_are_refused(base, tmp_path):
    player, settings = opened(experiment(), base), SoundGenerate()
    write_wav(tmp_path / "slow.wav", tone(200.0, 1.0)[:4000], 4000)
    write_wav(tmp_path / "none.wav", tone(200.0, 1.0)[:10], RATE)
    write_wav(tmp_path / "good.wav", tone(200.0, 1.0), RATE)
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    for name in ("slow.wav", "none.wav", "noise.wav", "missing.wav"):
        with refused("unusable-recording", where=name):
            player.prepare(settings, Conditions(files=(tmp_path / name,)))
    kept = SoundGenerate(keep="0-3", recording=tmp_path / "good.wav")
    with refused("cannot-be-kept"):
        player.prepare(kept, Conditions(files=(tmp_path / "good.wav",)))
    with refused("condition-not-taken", "concept"):
        player.prepare(settings, Conditions(concept="drone"))


def test_unknown_words_and_long_texts_are_told(base, caplog):
    player = opened(experiment(), base)
    player.prepare(SoundGenerate(), Conditions(text="a violin " + "low " * 500))
    assert "violin" in caplog.text
    assert "only the first 8 tokens" in caplog.text


def test_an_adapter_plays_with_its_strength(lora):
    how, parts = lora
    clips = {s: made(how, parts, "wobbly siren", adapter_strength=s)[0].wave for s in (0, 1)}
    assert not np.allclose(clips[0], clips[1], atol=1e-2)


@pytest.fixture(scope="module")
def two(lora, owned, base, home):
    """An adapter beside which another plays."""
    _, other = lora
    how = experiment(steps=12, base="sound", adapt={"kind": "lora", "rank": 3}, adapters=["other"])
    upstream = {name: base.models[name] for name in ("autoencoder", "dit")}
    upstream["latents"] = base.latents["autoencoder"]
    parts = run_stages(how, owned, home, "two", **upstream)
    beside = home / "models/two/beside-other/seed-0"
    import_stage(how, "beside-other", 0, parts, other.models["dit"] / "model.safetensors", beside)
    return how, replace(parts, models={**parts.models, "beside-other": beside})


@pytest.mark.slow
def test_adapters_play_together(two, lora):
    """Without its own it is the other alone, and the other way round."""

    def wave(how, parts, **strengths):
        return made(how, parts, "wobbly siren", **strengths)[0].wave

    how, parts = two
    alone = replace(parts, models={n: f for n, f in parts.models.items() if "beside" not in n})
    plain = how.model_copy(update={"adapters": []})
    both, other = wave(how, parts), wave(*lora)
    mine = wave(plain, alone)
    assert np.allclose(wave(how, parts, adapter_strength=0), other, atol=1e-5)
    assert np.allclose(wave(how, parts, strengths={"other": 0}), mine, atol=1e-5)
    for one in (other, mine):
        assert not np.allclose(both, one, atol=1e-2)


def test_another_autoencoder_is_refused(base):
    tokenizer = MagnitudeRvqTokenizer.load(base.tokenizers["acoustic"])
    other = of_tokenizer(tokenizer, 4)
    from etude.systems.stable_audio.player import SoundPlayer

    with refused("another-autoencoder"):
        SoundPlayer(Sound.load(base.models["dit"]), other)


def test_sets_to_compare_with(base):
    class Real:
        spans = (Span("valid0", 0.0, base.wav[0]),)

        def waves(self, rate):
            assert rate == RATE
            yield tone(SOUNDS["high beep"], 1.0)

    how = experiment(generate={"clips": 1, "seconds": 1.0, **FAST})
    untouched = replace(base, models={"autoencoder": base.models["autoencoder"]})
    waves = {
        name: [clip.wave for clip in found.clips]
        for name, found in StableAudioSystem().baselines(how, untouched, Real(), 0)
    }
    assert set(waves) == set(StableAudio.sets)
    assert abs(pitch(waves["reconstruction"][0]) - SOUNDS["high beep"]) < 40
    assert {len(wave) for (wave,) in waves.values()} == {RATE}
    codec = StableAudioSystem().codec(untouched)
    assert np.array_equal(codec.through(tone(1760.0, 1.0)), codec.through(tone(1760.0, 1.0)))


# ------------------------------------------------------------------------------------ config


def configured(**experiments):
    content = {
        "corpora": {"ours": {"source": "folder", "path": "ours"}},
        "experiments": experiments,
    }
    return config.read(config.DEFAULT, overrides=content | {"run": list(experiments)})


SOUND = {"system": "stable_audio", "corpus": "chorales"}


def test_the_plan_of_an_adaptation():
    ours = {"system": "stable_audio", "corpus": "ours", "base": "sound", "adapt": {"kind": "lora"}}
    settings = configured(sound=SOUND, ours=ours)
    plan = Plan(settings)

    class Wildcards:
        experiment, stage, seed = "ours", "dit", "0"

    assert plan.upstream_latents(Wildcards) == [
        "results/latents/ours/autoencoder/seed-0",
        "results/latents/sound/autoencoder/seed-0",
    ]
    assert plan.upstream_models(Wildcards) == ["results/models/ours/base/seed-0/model.safetensors"]
    Wildcards.stage = "base"
    assert plan.weights_of(Wildcards) == ["results/models/sound/dit/seed-0/model.safetensors"]
    Wildcards.stage = "autoencoder"
    assert plan.pieces_to_encode(Wildcards) == ["results/corpora/ours/pieces.csv"]
    assert all("corpora/ours/wav" in path for path in plan.audio_to_encode(Wildcards))
    dit = settings.experiments["ours"].stage("dit")
    assert dit.training.steps == 120
    assert settings.experiments["sound"].stage("dit").training.steps == 800
    for stage in ("autoencoder", "base", "dit"):  # as jobs read it again
        text = settings.experiments["ours"].stage_params(stage)
        assert json.loads(text)["base"] == "sound"
        again = config.parse_section(config.Experiment, text)
        assert again.stage_params(stage) == text
    again = config.parse_section(config.Experiment, settings.experiments["ours"].generate_params())
    assert again.adapt.kind == "lora"


def test_the_plan_of_several_adapters():
    one = {"system": "stable_audio", "corpus": "ours", "base": "sound", "adapt": {"kind": "lora"}}
    settings = configured(sound=SOUND, one=one, two=one | {"adapters": ["one"]})
    plan = Plan(settings)

    class Wildcards:
        experiment, seed = "two", "0"

    models = [path.split("/")[3] for path in plan.models_of(Wildcards)]
    assert models == ["autoencoder", "base", "dit", "beside-one"]
    Wildcards.stage = "beside-one"
    assert plan.weights_of(Wildcards) == ["results/models/one/dit/seed-0/model.safetensors"]
    assert plan.upstream_models(Wildcards) == ["results/models/two/base/seed-0/model.safetensors"]
    for text in (
        settings.experiments["two"].stage_params("beside-one"),
        settings.experiments["two"].generate_params(),
    ):
        assert config.parse_section(config.Experiment, text).adapters == ["one"]


@pytest.mark.parametrize(
    ("more", "mistake"),
    [
        ({"base": "sond"}, ("ours.base", "unknown-name", "'sond'")),
        ({"base": "audiolm"}, ("ours.base", "another-system", "audiolm")),
        ({"base": "sound", "base_seed": 3}, ("ours.base_seed", "seed-not-trained")),
        ({"generate": {"keep": "0-1"}}, ("generate.keep", "cannot-be-kept")),
        (
            {"generate": {"keep": "2-1", "recording": "a.wav"}},
            ("generate.keep", "cannot-be-kept", "2-1"),
        ),
        (
            {"generate": {"negative": "noise", "denoising": {"guidance": 1}}},
            ("generate.negative", "negative-without-guidance"),
        ),
        ({"generate": {"start": 5, "total": 3}}, ("generate.start", "start-behind-the-end", 5, 3)),
        ({"tokens": "remi"}, ("ours.tokens", "token-set-not-of-audio")),
        (
            {"stages": {"dit": {"network": {"heads": 3, "key_heads": 2}}}},
            ("network.key_heads", "heads-do-not-divide"),
        ),
        (
            {"stages": {"dit": {"training": {"label_smoothing": 0.1}}}},
            ("training.label_smoothing", "not-of-this-system"),
        ),
        (
            {"stages": {"autoencoder": {"training": {"steps": 3}}}},
            ("stages.autoencoder", "cannot-be-trained"),
        ),
        ({"templates": ["no place"]}, ("templates", "template-without-place", "no place")),
        ({"adapt": {"kind": "dora"}}, ("adapt.kind", "literal_error", "dora")),
        (
            {"stages": {"dit": {"weights": {"path": "x", "fine_tune": True}}}},
            ("dit.weights.fine_tune", "cannot-be-fine-tuned", "`base`"),
        ),
        ({"adapters": ["sound"]}, ("ours.adapters", "adapters-without-an-adapter")),
        (
            {"base": "sound", "adapt": {"kind": "lora"}, "adapters": ["sound"]},
            ("ours.adapters", "not-an-adapter", "'sound'"),
        ),
        (
            {"base": "sound", "adapt": {"kind": "lora"}, "adapters": ["x"]},
            ("ours.adapters", "unknown-name", "'x'", "`experiments`"),
        ),
        ({"generate": {"strengths": {"x": 1}}}, ("generate.strengths", "unknown-name", "'x'")),
    ],
)
def test_mistakes_in_the_configuration(more, mistake):
    with invalid(*mistake):
        configured(sound=SOUND, ours={"system": "stable_audio", "corpus": "ours"} | more)
