"""Pretrained text-to-sound weights: read from every form, adapted, played, written again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from refused import refused
from safetensors.torch import load_file, save_file
from sounds import RATE, experiment, make_sounds, opened, run_stages, tone

from etude.clips.progress import never, silent
from etude.config import Pretrained
from etude.config.systems.stable_audio import SoundGenerate
from etude.metrics.checks import check_weights
from etude.metrics.verify_text import verify_text
from etude.pretrained.fetch import fetch_weights
from etude.pretrained.sound import SoundNetworks, read_networks
from etude.pretrained.sound_names import (
    ROTARY,
    configs_of,
    entries,
    model_config_of,
    to_diffusers,
    to_tools,
)
from etude.pretrained.sound_writing import write_pipeline
from etude.storage import hash_file, read_csv, read_json, write_json
from etude.systems import open_system
from etude.systems.conditions import Conditions
from etude.systems.stable_audio.network import Sound, from_pretrained
from etude.systems.stable_audio.system import StableAudioSystem

pytest.importorskip("diffusers")
from tiny_models import make_stable_audio, make_stable_audio_3

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAKERS = {"open": make_stable_audio, "three": make_stable_audio_3}
STATISTICS = {"silence": [0.0] * 8, "percentile": 3.0, "rate": 8000, "hop": 64}
FAST = {"clips": 2, "denoising": {"steps": 4, "clip": "none", "guidance": 3.0}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("pretrained_sound")


@pytest.fixture(scope="module", params=list(MAKERS))
def family(request):
    return request.param


@pytest.fixture(scope="module")
def pipelines(home):
    return {name: make(home / f"given/{name}") for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def fetched(home, pipelines):
    """The folders in results/pretrained/."""
    for name in MAKERS:
        settings = Pretrained(kind="text_to_sound", path=home / "given" / name)
        fetch_weights(name, settings, home / "results" / name)
    return {name: home / "results" / name for name in MAKERS}


@pytest.fixture(scope="module")
def tools(home, fetched):
    """Stable Audio Open as a file of stable-audio-tools, with what must lie beside it."""
    folder = home / "tools"
    folder.mkdir()
    config, tensors = read_networks(fetched["open"])
    torch.save({"state_dict": to_tools(tensors, config.configs)}, folder / "model.ckpt")
    about = model_config_of(config.configs, config.text_length)
    (folder / "model_config.json").write_text(json.dumps(about), "utf-8")
    given = home / "given/open"
    (folder / "text_encoder").mkdir()
    for place in (*(given / "text_encoder").iterdir(), given / "tokenizer/tokenizer.json"):
        (folder / "text_encoder" / place.name).write_bytes(place.read_bytes())
    return folder


# ------------------------------------------------------------------------------------- forms


@pytest.mark.slow
def test_a_pipeline_becomes_one_file(family, fetched, pipelines):
    folder, pipeline = fetched[family], pipelines[family]
    assert {path.name for path in folder.iterdir()} == {
        *("config.json", "model.safetensors", "origin.json", "tokenizer.json")
    }
    tensors = load_file(folder / "model.safetensors")
    for part, theirs in (("transformer", pipeline.transformer), ("autoencoder", pipeline.vae)):
        for name, value in theirs.state_dict().items():
            assert torch.equal(tensors[f"{part}.{name}"], value), name
    checks = {check.check: check for check in check_weights(folder, "text_to_sound")}
    assert all(check.passed for check in checks.values())
    assert checks["parameters"].value == sum(
        sum(p.numel() for p in part.parameters())
        for part in (
            *(pipeline.transformer, pipeline.vae, pipeline.text_encoder),
            getattr(pipeline, "projection_model", None) or pipeline.duration_embedder,
        )
    )


@pytest.mark.slow
def test_what_is_missing_is_told(fetched, tmp_path):
    tensors = load_file(fetched["open"] / "model.safetensors")
    name = "transformer.proj_in.weight"
    tensors[name] = tensors[name][:1]
    del tensors["transformer.proj_out.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((fetched["open"] / "config.json").read_bytes())
    _, info = SoundNetworks.from_pretrained(str(tmp_path), output_loading_info=True)
    assert info["missing_keys"] == ["transformer.proj_out.weight"]
    assert info["mismatched_keys"] == [name]
    failed = {check.check for check in check_weights(tmp_path, "text_to_sound") if not check.passed}
    assert failed == {"missing_tensors", "wrong_shapes"}


def test_names_are_those_of_stable_audio_tools(fetched):
    """The fixture has what that package's 0.0.19 makes of this very model_config.json."""
    config, tensors = read_networks(fetched["open"])
    found = {n: list(t.shape) for n, t in to_tools(tensors, config.configs).items()}
    assert found == read_json(FIXTURES / "stable_audio_tools.json")


def test_names_go_both_ways_bit_for_bit(fetched):
    config, tensors = read_networks(fetched["open"])
    own = {n: t for n, t in tensors.items() if not n.startswith("text_encoder.")}
    theirs = to_tools(tensors, config.configs)
    back = to_diffusers(theirs, config.configs)
    assert set(back) == set(own)
    for name, tensor in own.items():
        assert torch.equal(back[name], tensor), name
    used = [name for entry in entries(config.configs) for name in entry.ours]
    assert len(used) == len(set(used))
    about = model_config_of(config.configs, 12)
    configs, length = configs_of(about, config.configs["text_encoder"])
    assert (configs, length) == (config.configs, 12)
    with pytest.raises(ValueError, match="missing, the first"):
        to_diffusers({n: t for n, t in theirs.items() if "project_in" not in n}, config.configs)
    with pytest.raises(ValueError, match="no Stable Audio Open"):
        to_diffusers(theirs | {"another": theirs[ROTARY]}, config.configs)


def test_stable_audio_tools_loads_and_computes_the_same(fetched):
    """With that package (no dependencies) and einops on the path; elsewhere the fixture stands."""
    dit = pytest.importorskip("stable_audio_tools.models.dit")
    config, tensors = read_networks(fetched["open"])
    about = model_config_of(config.configs, 12)["model"]["diffusion"]["config"]
    theirs = dit.DiffusionTransformer(**about).eval()
    prefix = "model.model."
    found = to_tools(tensors, config.configs)
    theirs.load_state_dict(
        {n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)}
    )
    model = from_pretrained(fetched["open"], STATISTICS)
    x, time = torch.randn(2, 8, 20), torch.tensor([0.3, 0.8])
    told = {"cross": torch.randn(2, 14, 64), "whole": torch.randn(2, 1, 128)}
    with torch.no_grad():
        wanted = theirs(x, time, cross_attn_cond=told["cross"], global_embed=told["whole"][:, 0])
        assert torch.equal(model.velocity(x, time, told), wanted)


@pytest.mark.slow
def test_a_file_of_stable_audio_tools(tools, fetched, tmp_path):
    file = tools / "model.ckpt"
    with refused("unvouched-pickle"):
        fetch_weights("t", Pretrained(kind="text_to_sound", path=file), tmp_path / "none")
    settings = Pretrained(kind="text_to_sound", path=file, sha256="0" * 64)
    with refused("weights-hash-differs"):
        fetch_weights("t", settings, tmp_path / "none")
    for number, more in enumerate(({"sha256": hash_file(file)}, {"trust": True})):
        settings = Pretrained(kind="text_to_sound", path=(file, tools)[number], **more)
        fetch_weights("t", settings, tmp_path / str(number))
        found = load_file(tmp_path / str(number) / "model.safetensors")
        wanted = load_file(fetched["open"] / "model.safetensors")
        assert set(found) == set(wanted)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "code", "named"),
    [
        (lambda f: (f / "text_encoder/config.json").unlink(), "unreadable-weights", "text encoder"),
        (lambda f: (f / "model_config.json").write_text("{}"), "unreadable-weights", "'model'"),
        (
            lambda f: torch.save({"diffusion.x": torch.zeros(1)}, f / "model.ckpt"),
            "unreadable-weights",
            "unwrap_model.py",
        ),
        (
            lambda f: torch.save({"a": torch.zeros(1)}, f / "model.ckpt"),
            "unreadable-weights",
            "tensors",
        ),
        (lambda f: (f / "model.ckpt").write_bytes(b"noise"), "unreadable-weights", "model.ckpt"),
        (
            lambda f: (f / "text_encoder/tokenizer.json").unlink(),
            "text-tokenizer-missing",
            "tokenizer.json",
        ),
    ],
)
def test_bad_files_are_refused(tools, tmp_path, spoil, code, named):
    import shutil

    folder = tmp_path / "given"
    shutil.copytree(tools, folder)
    spoil(folder)
    settings = Pretrained(kind="text_to_sound", path=folder / "model.ckpt", trust=True)
    with refused(code, named):
        fetch_weights("t", settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    settings = Pretrained(kind="text_to_sound", path=tmp_path / "empty")
    with refused("not-a-sound-model"):
        fetch_weights("t", settings, tmp_path / "out")
    other = tmp_path / "other/transformer"
    other.mkdir(parents=True)
    (other / "a.safetensors").write_bytes(b"")
    (tmp_path / "other/model_index.json").write_text('{"_class_name": "FluxPipeline"}', "utf-8")
    settings = Pretrained(kind="text_to_sound", path=tmp_path / "other")
    with refused("unreadable-weights", "FluxPipeline"):
        fetch_weights("t", settings, tmp_path / "out")


# --------------------------------------------------------------------------------- conditions


def test_open_is_told_what_the_pipeline_tells(fetched, pipelines):
    model, pipeline = from_pretrained(fetched["open"], STATISTICS), pipelines["open"]
    texts, spans = ["low hum", "wobbly siren slow"], [(0.0, 2.0), (1.0, 3.0)]
    with torch.no_grad():
        told = model.conditioning_of(texts, spans)
        prompt = pipeline.encode_prompt(texts, "cpu", False)
        start, end = pipeline.encode_duration([0.0, 1.0], [2.0, 3.0], "cpu", False, 2)
        torch.testing.assert_close(told["cross"], torch.cat([prompt, start, end], 1))
        torch.testing.assert_close(told["whole"], torch.cat([start, end], 2))
        free = model.conditioning_of(["", ""], spans)
    assert not free["cross"].any(), "guidance measures from zeros, as the pipeline's"
    assert torch.equal(free["whole"], told["whole"])


def test_three_is_told_what_the_pipeline_tells(fetched, pipelines):
    model, pipeline = from_pretrained(fetched["three"], STATISTICS), pipelines["three"]
    texts = ["low hum", ""]
    x, time = torch.randn(2, 8, 20), torch.tensor([0.4, 0.4])
    with torch.no_grad():
        told = model.conditioning_of(texts, [(0.0, 2.0)] * 2)
        whole = pipeline.encode_duration(2.0, "cpu", 1, 2)
        cross, mask = pipeline.prepare_cross_attention(
            *pipeline.encode_prompt(texts, "cpu", 1), whole
        )
        theirs = pipeline.transformer(
            x, time, encoder_hidden_states=cross, global_hidden_states=whole,
            encoder_attention_mask=mask, return_dict=False,
        )[0]  # fmt: skip
        torch.testing.assert_close(model.velocity(x, time, told), theirs)
    assert not torch.allclose(theirs[0], theirs[1])


def test_its_schedule_is_the_pipelines(fetched):
    assert from_pretrained(fetched["open"], STATISTICS).schedule.kind == "cosine"
    assert from_pretrained(fetched["three"], STATISTICS).schedule.kind == "flow"


@pytest.mark.slow
def test_they_are_proven_before_they_are_used(family, fetched, tmp_path, monkeypatch):
    """Random ones know no word; the right text of a sound foretells it better where it is known."""
    monkeypatch.setattr("etude.metrics.verify_text.PROGRAMS", (0, 73))
    reader = open_system("stable_audio").reader(fetched[family], tmp_path)
    waves = [tone(hertz, 1.0) for hertz in (110.0, 440.0, 880.0, 220.0, 330.0)]
    errors = reader.nats(waves, ["low hum", "high beep"])
    assert errors.shape == (2, 5)
    assert abs(errors[0] - errors[1]).max() > 1e-6, "texts count"
    again = reader.nats(waves[:1], ["high beep"])
    assert again[0, 0] == pytest.approx(errors[1, 0], rel=1e-4), "the same noise for every text"
    assert {len(wave) for wave in reader.by_own_codec(waves)} == {RATE}
    how = (reader, fetched[family], "text_to_sound", tmp_path / "checks.csv")
    verify_text(*how, strict=False)
    rows = {row["check"]: row for row in read_csv(tmp_path / "checks.csv")}
    assert rows["parameters"]["passed"] == "true"
    assert rows["round_trip"]["passed"] == "false"
    assert rows["word_margin"]["meaning"].startswith("error of the velocity")
    with refused("weights-do-not-work"):
        verify_text(*how, strict=True)


# ------------------------------------------------------------------------- the whole way through


@pytest.fixture(scope="module")
def parts(home):
    return make_sounds(home / "general")


@pytest.fixture(scope="module")
def given(family, fetched, parts, home):
    """An experiment that is pretrained weights as they are."""
    how = experiment(pretrained=family)
    return how, run_stages(how, parts, home, family, fetched[family])


@pytest.mark.slow
def test_weights_are_taken_as_they_are(given, pipelines, family):
    _, parts = given
    model = Sound.load(parts.models["dit"])
    for name, value in pipelines[family].transformer.state_dict().items():
        assert torch.equal(model.transformer.state_dict()[name], value), name
    assert not any(p.requires_grad for p in model.text_encoder.parameters())
    assert model.shape["spans"], "seconds of the corpus"
    statistics = read_json(parts.latents["autoencoder"] / "statistics.json")
    assert model.shape["silence"] == statistics["silence"]
    latents = load_file(parts.latents["autoencoder"] / "train.safetensors")["latents"]
    wave = torch.from_numpy(tone(110.0, 1.5))[None, None].expand(-1, 2, -1)[..., : 187 * 64]
    with torch.no_grad():
        found = pipelines[family].vae.encode(wave)
    wanted = found.latents if family == "three" else found.latent_dist.mode()
    torch.testing.assert_close(latents[:150], wanted[0].T[:150], atol=2e-3, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_it_is_adapted_and_plays(kind, given, parts, home, family):
    _, base = given
    training = {"steps": 3, "batch_size": 4, "warmup_steps": 0, "validate_items": 4}
    more = {"precision": "bf16", "checkpoint_activations": True}
    targets = {"targets": ["to_qkv", "to_kv"]} if family == "three" else {}
    how = experiment(
        base=family, adapt={"kind": kind, "rank": 2, **targets}, training=training | more
    )
    upstream = {stage: base.models[stage] for stage in ("autoencoder", "dit")}
    upstream["latents"] = base.latents["autoencoder"]
    trained = run_stages(how, parts, home, f"{family}-{kind}", **upstream)
    assert read_json(trained.models["dit"] / "changed.json")["nothing"] is False
    learned = load_file(trained.models["dit"] / "model.safetensors")
    assert {tensor.dtype for tensor in learned.values()} == {torch.float32}, "masters"
    if kind == "full":
        begun = load_file(base.models["dit"] / "model.safetensors")
        same = {name for name in begun if torch.equal(begun[name], learned[name])}
        assert all(name in same for name in begun if name.startswith("text_encoder."))
        assert any(name not in same for name in begun if name.startswith("transformer."))
    settings = SoundGenerate.model_validate(FAST)
    player = opened(how, trained)
    asked = player.prepare(settings, Conditions(text="wobbly siren", seconds=0.5))
    clips = list(player.clips(settings, 0, 0, asked, silent, never))
    assert [len(clip.wave) for clip in clips] == [RATE // 2] * 2
    assert np.isfinite(clips[0].wave).all()
    assert not np.allclose(clips[0].wave, clips[1].wave)
    for form in system_forms(kind, family):
        check_form(form, how, trained, home / f"forms/{family}-{kind}-{form}", player)


# ---------------------------------------------------------------------------------- other programs


def system_forms(kind, family):
    forms = ["diffusers"] if family == "three" else ["diffusers", "tools"]
    return [*forms, *(["peft"] if kind == "lora" else [])]


def check_form(form, how, trained, folder, player):
    """It is what was trained: read again, the same velocity."""
    from peft import PeftModel

    folder.mkdir(parents=True)
    StableAudioSystem().write_form(how, trained, form, folder)
    x, time = torch.randn(1, 8, 12), torch.tensor([0.7])
    told = player.model.conditioning_of(["wobbly siren"], [(0.0, 1.0)])
    with torch.no_grad():
        wanted = player.model.velocity(x, time, told)
        if form == "peft":
            found = Sound.load(trained.models["base"])
            found.transformer = PeftModel.from_pretrained(found.transformer, str(folder))
        else:
            settings = Pretrained(kind="text_to_sound", path=folder, trust=True)
            fetch_weights("again", settings, folder / "again")
            found = from_pretrained(folder / "again", STATISTICS)
            told = found.conditioning_of(["wobbly siren"], [(0.0, 1.0)])
        torch.testing.assert_close(found.velocity(x, time, told), wanted, atol=1e-4, rtol=1e-4)
    if form != "peft" and how.adapt.kind == "full":
        again = load_file(folder / "again/model.safetensors")
        for name, tensor in load_file(trained.models["dit"] / "model.safetensors").items():
            assert torch.equal(again[name], tensor), name
    if form == "diffusers":
        parts = read_json(folder / "model_index.json")
        assert {part[0] for part in parts.values() if isinstance(part, list)} <= {
            *("transformers", "diffusers", "stable_audio", "stable_audio_3")
        }


@pytest.mark.slow
def test_a_pipeline_that_was_written_plays(fetched, home, family):
    import diffusers

    networks = SoundNetworks.from_pretrained(str(fetched[family]))
    folder = home / f"written/{family}"
    folder.mkdir(parents=True)
    write_pipeline(networks, fetched[family] / "tokenizer.json", folder)
    kind = getattr(diffusers, read_json(folder / "model_index.json")["_class_name"])
    more = {}
    if family == "open":  # whose scheduler needs the package torchsde
        index = read_json(folder / "model_index.json")
        index["scheduler"] = ["diffusers", "EDMDPMSolverMultistepScheduler"]
        write_json(folder / "model_index.json", index)
        scheduler = diffusers.EDMDPMSolverMultistepScheduler(prediction_type="v_prediction")
        more = {"scheduler": scheduler}
    pipeline = kind.from_pretrained(str(folder), **more)
    seconds = {"open": "audio_end_in_s", "three": "duration"}[family]
    steps = {"num_inference_steps": 2}
    sound = pipeline("low hum", **steps, **{seconds: 0.5}, generator=torch.manual_seed(0)).audios
    assert sound.shape[-1] == RATE // 2
    assert torch.isfinite(torch.as_tensor(sound)).all()


def test_what_has_no_such_form_says_so(given, tmp_path):
    how, parts = given
    with refused("form-not-possible", "peft"):
        StableAudioSystem().write_form(how, parts, "peft", tmp_path)
