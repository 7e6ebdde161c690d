"""MusicGen as a system: captions to batches, training, clips, the pretrained path, bad input."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captioned import FRAMES, QUANTIZERS, SIZE, SOUNDS, Beeps, experiment, make_captioned
from refused import invalid, refused

from etude import config
from etude.clips.progress import never, silent
from etude.config import Weights
from etude.config.systems.musicgen import MusicGen
from etude.pretrained.fetch import fetch_weights
from etude.pretrained.network_hash import hash_state
from etude.storage import read_csv, read_json, write_csv, write_json
from etude.systems import open_system
from etude.systems.conditions import Conditions
from etude.systems.musicgen.concept_queries import known_sounds
from etude.systems.musicgen.data import vary
from etude.systems.musicgen.network import Lm, from_pretrained
from etude.systems.musicgen.player import MusicGenPlayer
from etude.systems.musicgen.system import held_out_captions
from etude.training.stage import import_stage, stage_fingerprint, train_stage
from etude.workflow.plan import Plan


@pytest.fixture
def parts(tmp_path):
    return make_captioned(tmp_path)


def trained(parts, folder, **more):
    train_stage(experiment(**more), "lm", 0, parts, folder / "lm/seed-0", folder / "state")
    return Lm.load(folder / "lm/seed-0")


def player_of(model, **more):
    return MusicGenPlayer(model, Beeps(), takes=MusicGen.conditions, **more)


@pytest.mark.slow
def test_it_learns_what_words_mean(parts, tmp_path):
    """The codes of each word come back for it; a wrong word has a higher loss than the right one."""
    model = trained(parts, tmp_path, steps=100, training={"validate_every": 10})
    player, asked = player_of(model), experiment().generate.model_copy(update={"clips": 6})
    means = {}
    for word in SOUNDS:
        prepared = player.prepare(asked, Conditions(text=f"the sound of {word}", seconds=0.25))
        codes = player.sample(asked, [word] * 6, 0.25, 0, range(6), silent)
        means[word] = float((codes >= 4).double().mean())
        waves = [clip.wave for clip in player.clips(asked, 0, 0, prepared, silent, never)]
        assert {len(wave) for wave in waves} == {2000}
    assert means["low"] < 0.1
    assert means["high"] > 0.9
    rows = list(read_csv(tmp_path / "lm/seed-0/history.csv"))
    lowest = min(float(row["valid_loss"]) for row in rows if row["valid_loss"])
    assert lowest < float(np.log(SIZE)) - 0.3, "half of the codes are out of question"
    _, valid = open_system("musicgen").data(experiment(), "lm", parts)
    batch = valid.batch([0, 1])
    wrong = batch | {"ids": batch["ids"].flip(0), "mask": batch["mask"].flip(0)}
    with torch.no_grad():
        assert model.loss(wrong)[0] > model.loss(batch)[0] + 0.2


@pytest.mark.slow
def test_words_of_a_base_are_judged_like_new_ones(parts, tmp_path):
    """Sounds that it knows, by their own name against none and another's: the ceiling."""
    how = experiment(steps=80, leave_out=["owned"])
    player = player_of(trained(parts, tmp_path, steps=80, leave_out=["owned"]))
    settings = config.ConceptMetrics(clips=2)
    found = list(known_sounds(how, parts, player, settings, 0))
    assert [one.concept for one in found] == ["low", "high"], "by their held-out pieces"
    for one, other in zip(found, reversed(found), strict=True):
        assert one.conditions == {"null": "", "wrong": other.concept, "learned": one.concept}
        nats = {name: one.nats(name).mean() for name in one.conditions}
        assert nats["learned"] < nats["null"] < nats["wrong"]
        assert len(one.pieces) == len(one.nats("null")) > 0
        assert [len(wave) for wave in one.clips("learned")] == [16000] * 2
    assert len(list(known_sounds(how, parts, player, config.ConceptMetrics(known=1), 0))) == 1
    assert not list(known_sounds(how, parts, player, config.ConceptMetrics(known=0), 0))


def test_clips_are_asked_for_what_held_out_music_is(parts):
    """As often, in no order, and never by what was left out: a few clips stand for all."""
    every = held_out_captions(experiment(), parts)
    assert sorted(every) == ["high, minor"] * 2 + ["low, minor"] * 2
    kept = held_out_captions(experiment(leave_out=["high"]), parts)
    assert sorted(kept) == ["high, minor", "low, minor", "low, minor"], "the owned one is high too"
    assert every == held_out_captions(experiment(), parts)


@pytest.mark.slow
def test_a_clip_does_not_depend_on_its_batch(parts, tmp_path):
    player = player_of(trained(parts, tmp_path, steps=2))
    settings = experiment().generate.model_copy(update={"clips": 5, "seconds": 0.6})
    made = {}
    for size in (1, 5):
        how = settings.model_copy(update={"batch_size": size, "texts": ["low", "high, minor"]})
        prepared = player.prepare(how, Conditions())
        made[size] = list(player.clips(how, 0, 3, prepared, silent, never))
    assert [c.condition["prompt"] for c in made[1]] == [
        ["low", "high, minor"][i % 2] for i in range(5)
    ]
    for one, other in zip(made[1], made[5], strict=True):
        assert one.number == other.number
        assert np.array_equal(one.wave, other.wave)
        assert len(one.wave) == 4800


def test_captions_are_varied_by_their_places(parts):
    how = experiment(without_text=0.25, without_word=0.5)
    places = np.random.default_rng(0).random(400)
    texts = [vary("steel drum, high, slow", place, how) for place in places]
    assert texts == [vary("steel drum, high, slow", place, how) for place in places]
    assert 0.18 < texts.count("") / len(texts) < 0.32
    said = [text for text in texts if text]
    assert all(any(word in t for word in ("steel drum", "high", "slow")) for t in said)
    assert 0.4 < sum("slow" in text for text in said) / len(said) < 0.7
    assert vary("", 0.5, how) == ""
    plain = experiment(without_text=0, without_word=0, templates=["{}"])
    assert vary("a, b", 0.3, plain) == "a, b"


def test_concepts_are_left_out(parts):
    system = open_system("musicgen")
    train, valid = system.data(experiment(), "lm", parts)
    assert (len(train), len(valid)) == (12, 4)
    train, valid = system.data(experiment(leave_out=["owned"]), "lm", parts)
    assert (len(train), len(valid)) == (9, 3)
    batch = valid.batch([0, 1])
    assert batch["codes"].shape == (2, QUANTIZERS, FRAMES)
    assert batch["mask"].sum(1).tolist() == [3, 3], "whole captions: a word, a mode, the end"
    with refused("unknown-concept", "'owmed'"):
        system.data(experiment(leave_out=["owmed"]), "lm", parts)
    with refused("nothing-to-train-on"):
        system.data(experiment(leave_out=["owned", "low", "high"]), "lm", parts)


def test_captions_are_of_the_fingerprint(parts, tmp_path):
    one = stage_fingerprint(experiment(), "lm", parts, 0)
    rows = [row | {"caption": "low"} for row in read_csv(parts.captions)]
    write_csv(tmp_path / "others.csv", list(rows[0]), rows)
    others = replace(parts, captions=tmp_path / "others.csv")
    assert stage_fingerprint(experiment(), "lm", others, 0) != one
    assert stage_fingerprint(experiment(), "lm", parts, 0) == one


def test_pieces_without_captions_are_learned_without_words(parts, tmp_path):
    rows = [row | {"caption": ""} for row in read_csv(parts.captions)]
    write_csv(tmp_path / "none.csv", list(rows[0]), rows)
    data, _ = open_system("musicgen").data(
        experiment(), "lm", replace(parts, captions=tmp_path / "none.csv")
    )
    assert not data.batch([0, 1], np.array([0.1, 0.9]))["mask"].any()


def test_unknown_words_are_told(parts, tmp_path, caplog):
    player = player_of(trained(parts, tmp_path, steps=1))
    player.prepare(experiment().generate, Conditions(text="a violin, minor"))
    assert "violin" in caplog.text
    assert "minor" not in caplog.text
    with refused("unknown-word", "<drone>"):
        player.prepare(experiment().generate, Conditions(text="<drone>"))
    with refused("condition-not-taken", "concept"):
        player.prepare(experiment().generate, Conditions(concept="drone"))
    with refused("condition-not-taken", "recording"):
        player.prepare(experiment().generate, Conditions(files=(Path("a.wav"),)))


def test_pretrained_weights_are_a_stage(tmp_path, parts):
    pytest.importorskip("transformers")
    from tiny_models import make_musicgen

    folder = tmp_path / "pretrained"
    make_musicgen(folder)
    write_json(folder / "origin.json", {"from": "tiny", "sha256": "1" * 64})
    info = read_json(parts.packed / "info.json")
    info |= {"codebook_size": 64, "quantizers": 4, "acoustic_frame_rate": 50.0}
    write_json(parts.packed / "info.json", info)
    taken = MusicGen(
        system="musicgen", corpus="c", stages={"lm": {"weights": {"pretrained": "small"}}}
    )
    assert taken.stage("lm").imported
    target = tmp_path / "lm/seed-0"
    import_stage(taken, "lm", 0, parts, folder, target)
    about = read_json(target / "config.json")
    assert about["files"] == ["tokenizer.json"]
    assert "tiny" in (target / "card.md").read_text()
    assert not [name for name in Lm.load(target).state_dict() if "audio_encoder" in name]


@pytest.mark.slow
def test_weights_of_etude_are_taken_with_their_words(tmp_path, parts):
    trained(parts, tmp_path, steps=2)
    file = tmp_path / "lm/seed-0/model.safetensors"

    def take(parts=parts, **more):
        how = experiment()
        stage = how.stages.lm.model_copy(update={"weights": Weights(path=file, **more)})
        how = how.model_copy(update={"stages": how.stages.model_copy(update={"lm": stage})})
        return open_system("musicgen").take_over(how, "lm", parts, file)

    assert hash_state([take()]) == hash_state([Lm.load(file.parent)])
    assert take(fine_tune=True).tokenizer.get_vocab_size() > 3
    rows = [row | {"caption": "violin"} for row in read_csv(parts.captions)]
    write_csv(tmp_path / "others.csv", list(rows[0]), rows)
    others = replace(parts, captions=tmp_path / "others.csv")
    take(others)
    with refused("another-vocabulary"):
        take(others, fine_tune=True)
    info = read_json(parts.packed / "info.json") | {"codebook_size": 16}
    write_json(parts.packed / "info.json", info)
    with refused("another-codec"):
        take()


@pytest.mark.slow
def test_pretrained_weights_are_fetched_with_their_tokenizer(tmp_path):
    pytest.importorskip("transformers")
    from tiny_models import make_musicgen

    model = make_musicgen(tmp_path / "whole")
    parts = tmp_path / "parts"
    model.save_pretrained(str(parts), max_shard_size="200KB")
    assert len(list(parts.glob("model-*.safetensors"))) > 1, "as large models come"
    shutil.copy(tmp_path / "whole/tokenizer.json", parts)
    for source in ("whole", "parts"):
        settings = config.Pretrained(kind="text_to_music", path=tmp_path / source)
        fetch_weights("small", settings, tmp_path / f"got-{source}")
        names = {path.name for path in (tmp_path / f"got-{source}").iterdir()}
        assert {"model.safetensors", "tokenizer.json", "config.json", "origin.json"} <= names
    codec = {"codebook_size": 64, "quantizers": 4, "frames": 20, "frame_rate": 50.0}
    one, other = (from_pretrained(tmp_path / f"got-{s}", codec) for s in ("whole", "parts"))
    assert hash_state([one]) == hash_state([other])
    with refused("weights-of-another-kind", "'encodec'"):
        fetch_weights("x", config.Pretrained(kind="encodec", path=parts), tmp_path / "none")


def test_config(tmp_path):
    def read(**more):
        values = {
            "pretrained": {"small": {"kind": "text_to_music", "path": str(tmp_path)}},
            "experiments": {"base": {"system": "musicgen", "corpus": "chorales"} | more},
            "run": ["base"],
        }
        return config.read(config.DEFAULT, overrides=values)

    plan = Plan(read(stages={"lm": {"weights": {"pretrained": "small"}}}))
    wildcards = type("W", (), {"experiment": "base", "stage": "lm", "seed": "0"})
    assert plan.weights_of(wildcards) == ["results/pretrained/small"]
    assert plan.captions_of(wildcards) == ["results/corpora/chorales/captions.csv"]
    assert plan.captions_of(type("W", (), {"experiment": "audiolm"})) == []
    assert json.loads(read().experiments["base"].stage_params("lm"))["templates"]
    for wrong, mistake in (
        ({"templates": ["no place"]}, ("templates", "template-without-place")),
        ({"tokens": "remi"}, ("tokens", "token-set-not-of-audio")),
        (
            {"stages": {"lm": {"weights": {"pretrained": "smal"}}}},
            ("weights.pretrained", "unknown-name", "'smal'"),
        ),
        ({"stages": {"lm": {"network": {"dim": 30}}}}, ("dim", "heads-do-not-divide")),
        (
            {"stages": {"lm": {"training": {"forgetful_mask": 0.1}}}},
            ("forgetful_mask", "not-of-this-system"),
        ),
        ({"stages": {"lm": {"weights": {}}}}, ("weights", "not-one-place")),
        (
            {"stages": {"lm": {"weights": {"pretrained": "small", "fine_tune": True}}}},
            ("weights.fine_tune", "cannot-be-fine-tuned"),
        ),
    ):
        with invalid(*mistake):
            read(**wrong)
    values = {
        "experiments": {"audiolm": {"stages": {"fine": {"weights": {"pretrained": "small"}}}}}
    }
    values["pretrained"] = {"small": {"kind": "text_to_music", "path": str(tmp_path)}}
    with invalid("weights.pretrained", "weights-of-another-kind", "checkpoint"):
        config.read(config.DEFAULT, overrides=values)
