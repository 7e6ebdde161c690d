"""Weights in: which file, read how, checked how, and what a training makes of them."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from packed import make_packed
from refused import invalid, refused
from safetensors.torch import load_file, save_file

from etude.config import DEFAULT, Pretrained, Weights, load_config, merge
from etude.config.systems.audiolm import AudioLm
from etude.pretrained.fetch import fetch_weights
from etude.storage import hash_file, read_json, write_json
from etude.systems.audiolm.building import build_stage, load_stage
from etude.systems.base import Parts
from etude.systems.weights import read_weights
from etude.training.loop import Interrupted
from etude.training.stage import copy_kept_step, import_stage, stage_fingerprint, train_stage
from etude.training.transfer import transfer
from etude.workflow.imported_weights import check_weights, weights_file

TOKENIZERS = {"semantic": "1" * 64, "acoustic": "2" * 64}
NETWORK = {"dim": 16, "depth": 1, "heads": 2}


@pytest.fixture
def packed(tmp_path):
    return make_packed(tmp_path / "packed", tokenizers=TOKENIZERS)


def experiment(weights=None, stage="semantic", network=None, **training):
    own = {"network": NETWORK | (network or {}), "weights": weights}
    own["training"] = {"steps": 4, "batch_size": 4, "warmup_steps": 0} | training
    if weights is None:
        del own["weights"]
    return AudioLm(system="audiolm", corpus="c", fine_frames=5, stages={stage: own})


@pytest.fixture
def source(packed, tmp_path):
    """A stage as train_stage leaves it, trained from seed 7."""
    folder = tmp_path / "results/models/first/semantic/seed-7"
    train_stage(experiment(), "semantic", 7, Parts(packed=packed), folder, tmp_path / "state")
    return folder


# ------------------------------------------------------------------- as others published them


def published(source, tmp_path, name="semantic.transformer.25000.pt", **settings):
    """A stage's file as its trainer left it, fetched as the configuration names it."""
    tensors = load_file(source / "model.safetensors")
    torch.save({"model": tensors, "optim": {"state": {}}, "version": "2.4.0"}, tmp_path / name)
    kind = Pretrained(kind="checkpoint", **({"path": tmp_path / name} | settings))
    fetch_weights("theirs", kind, tmp_path / "results/pretrained/theirs")
    return tmp_path / "results/pretrained/theirs"


def test_a_published_checkpoint_takes_the_place_of_a_training(source, packed, tmp_path):
    folder = published(source, tmp_path, trust=True)
    about = read_json(folder / "origin.json")
    assert about["from"] == "semantic.transformer.25000.pt"
    assert about["sha256"] == hash_file(tmp_path / "semantic.transformer.25000.pt")
    given = experiment({"pretrained": "theirs"})
    import_stage(given, "semantic", 0, Parts(packed=packed), folder, tmp_path / "made")
    first, second = (load_file(f / "model.safetensors") for f in (source, tmp_path / "made"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert about["sha256"][:16] in (tmp_path / "made/card.md").read_text()


def test_a_published_checkpoint_may_lie_in_a_repository(source, packed, tmp_path, monkeypatch):
    import huggingface_hub

    (tmp_path / "snapshot/weights").mkdir(parents=True)
    asked = {}

    def snapshot(name, **options):
        asked.update(options)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    tensors = load_file(source / "model.safetensors")
    torch.save(tensors, tmp_path / "snapshot/weights/vae.pt")
    digest = hash_file(tmp_path / "snapshot/weights/vae.pt")
    kind = Pretrained(kind="checkpoint", hub="a/b", file="weights/vae.pt", sha256=digest)
    fetch_weights("theirs", kind, tmp_path / "p")
    assert asked["allow_patterns"] == ["weights/vae.pt"]
    assert (tmp_path / "p/checkpoint.pt").is_file()
    with invalid("", "missing-key", "`file`"):
        Pretrained(kind="checkpoint", hub="a/b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, "unvouched-pickle"),
        ({"sha256": "0" * 64}, "weights-hash-differs"),
        ({"trust": True, "path": "folder"}, "weights-not-found"),
    ],
)
def test_a_published_checkpoint_that_cannot_be_used(settings, code, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with refused(code):
        published(source, tmp_path, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["half", "another"])
def test_a_damaged_or_foreign_checkpoint_is_a_clear_error(damage, source, packed, tmp_path):
    folder = published(source, tmp_path, trust=True)
    file = folder / "checkpoint.pt"
    if damage == "half":
        file.write_bytes(file.read_bytes()[:-2000])
    else:
        torch.save({"model": {"decoder.weight": torch.zeros(2, 2)}}, file)
    write_json(folder / "origin.json", {"from": "x", "sha256": hash_file(file)})
    given, parts = experiment({"pretrained": "theirs"}), Parts(packed=packed)
    with refused("unreadable-weights" if damage == "half" else "weights-do-not-fit"):
        import_stage(given, "semantic", 0, parts, folder, tmp_path / "made")
    assert not (tmp_path / "made").exists()


# ----------------------------------------------------------------------------- which file


def test_a_path_may_be_a_file_a_stage_its_seeds_or_an_export(source, tmp_path):
    stage = source.parent
    assert weights_file(None, "semantic", 0) == []
    for path in (source, source / "model.safetensors", stage):
        assert weights_file(Weights(path=path), "semantic", 7) == [f"{source}/model.safetensors"]
    (tmp_path / "export/models").mkdir(parents=True)
    source.rename(tmp_path / "export/models/semantic")
    [found] = weights_file(Weights(path=tmp_path / "export"), "semantic", 0)
    assert found == f"{tmp_path}/export/models/semantic/model.safetensors"
    check_weights(Weights(path=tmp_path / "export"), "semantic", 0)


def test_what_is_not_there_is_a_clear_error_but_for_what_will_be_made(tmp_path):
    with refused("weights-not-found", "coarse"):
        check_weights(Weights(path=tmp_path / "no"), "coarse", 0)
    coming = Weights(path="results/models/first/coarse/seed-0")
    with refused("weights-not-found"):
        check_weights(coming, "coarse", 0)
    check_weights(coming, "coarse", 0, experiments={"first"})


# ---------------------------------------------------------------------------- reading


class Malice:
    """An object whose loading runs code."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (open, (self.mark, "w"))


@pytest.fixture
def tensors():
    return {"a": torch.arange(4.0), "b": torch.ones(2, 2)}


def saved(path, content):
    torch.save(content, path)
    return path


def test_a_pickle_needs_a_voucher(tensors, tmp_path):
    path = saved(tmp_path / "w.pt", tensors)
    for refuse in (read_weights, lambda p: check_weights(Weights(path=p), "fine", 0)):
        with refused("unvouched-pickle") as error:
            refuse(path)
        assert "sha256" in error.value.do
    for settings in ({"sha256": hash_file(path)}, {"trust": True}):
        read = read_weights(path, Weights(path=path, **settings))
        assert all(torch.equal(read[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_weights_are_found_in_what_other_programs_save(key, tensors, tmp_path):
    path = saved(tmp_path / "w.ckpt", {"epoch": 3, key: tensors, "optimiser": {"lr": 1.0}})
    assert read_weights(path, Weights(path=path, trust=True)).keys() == tensors.keys()


def test_code_in_a_pickle_runs_with_trust_alone(tensors, tmp_path):
    mark = tmp_path / "mark"
    path = saved(tmp_path / "w.bin", {"state_dict": tensors, "more": Malice(mark)})
    with refused("pickle-runs-code") as error:
        read_weights(path, Weights(path=path, sha256=hash_file(path)))
    assert "trust: true" in error.value.do
    assert not mark.exists()
    assert read_weights(path, Weights(path=path, trust=True)).keys() == tensors.keys()
    assert mark.exists()


def test_another_sha256_is_refused_whatever_the_format(tensors, tmp_path):
    save_file(tensors, tmp_path / "w.safetensors")
    wrong = Weights(path=tmp_path / "w.safetensors", sha256="0" * 64, trust=True)
    with refused("weights-hash-differs") as error:
        read_weights(wrong.path, wrong)
    assert hash_file(wrong.path) in error.value.why


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x02.", None])
def test_a_damaged_file_is_a_clear_error(name, content, tensors, tmp_path):
    path = tmp_path / name
    (save_file if path.suffix == ".safetensors" else torch.save)(tensors, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with refused("unreadable-weights"):
        read_weights(path, Weights(path=path, trust=True))


def test_a_file_without_weights_is_a_clear_error(tmp_path):
    path = saved(tmp_path / "w.pt", {"a": 1})
    with refused("unreadable-weights") as error:
        read_weights(path, Weights(path=path, trust=True))
    assert "no state dict" in error.value.why


# ---------------------------------------------------------------------------- what fits


def into(packed, file, stage="semantic", network=None, **changes):
    """Transfer into a fresh stage; `changes` go over the packed set's info.json."""
    info = read_json(packed / "info.json") | changes
    model = build_stage(experiment(stage=stage, network=network), stage, info, 0)
    return model, transfer(model, file, Weights(path=file), info["tokenizers"])


def test_weights_that_fit_are_taken_over_without_a_word(packed, source, caplog):
    file = source / "model.safetensors"
    model, origin = into(packed, file, network={"dropout": 0.5})
    assert all(torch.equal(w, load_file(file)[name]) for name, w in model.state_dict().items())
    assert (origin.name, origin.sha256) == ("model.safetensors", hash_file(file))
    assert "trained on" in origin.card
    assert caplog.text == ""


def test_another_vocabulary_names_tensors_shapes_and_sizes(packed, source):
    with refused("weights-do-not-fit") as error:
        into(packed, source / "model.safetensors", semantic_vocabulary=30)
    text = str(error.value)
    assert "transformer.embedding.weight: expected [34, 16], found [20, 16]" in text
    assert "shape.semantic_vocabulary 16 (here 30)" in text
    assert "use the tokens" in error.value.do


def test_another_width_says_which_network_to_configure(packed, source):
    with refused("weights-do-not-fit", "norm.bias: expected [32], found [16]") as error:
        into(packed, source / "model.safetensors", network={"dim": 32})
    assert "more" in error.value.what, "a long list is cut"
    assert error.value.do.endswith("`network: {dim: 16}`")


@pytest.mark.slow
def test_what_no_shape_shows_is_refused_too(packed, source):
    with refused("fits-by-shape-alone") as error:
        into(packed, source / "model.safetensors", network={"heads": 4, "rope_base": 9.0})
    assert error.value.do.endswith("`network: {heads: 2, rope_base: 200.0}`")


def test_missing_unexpected_and_broken_tensors_are_named(packed, source, tmp_path):
    tensors = load_file(source / "model.safetensors")
    tensors["other.weight"] = tensors.pop("transformer.norm.weight")
    tensors["transformer.norm.bias"][0] = torch.nan
    save_file(tensors, tmp_path / "w.safetensors")
    with refused("weights-do-not-fit") as error:
        into(packed, tmp_path / "w.safetensors")
    assert "transformer.norm.weight: missing, expected [16]" in error.value.what
    assert "other.weight: not expected" in error.value.what
    assert "transformer.norm.bias: holds numbers that are not finite" in error.value.what


def test_another_stage_is_said_at_once(packed, source):
    with refused("weights-of-another-kind"):
        into(packed, source / "model.safetensors", stage="coarse")


def test_another_tokenizer_of_the_same_size_is_said(packed, source, caplog):
    changes = {"tokenizers": TOKENIZERS | {"semantic": "3" * 64}, "semantic_frame_rate": 25.0}
    into(packed, source / "model.safetensors", **changes)
    assert "learned with another semantic tokenizer" in caplog.text
    assert "shape.semantic_rate 50.0 (here 25.0)" in caplog.text


def test_somebody_elses_config_json_says_nothing(packed, source):
    write_json(source / "config.json", {"model_type": "gpt2", "stage": "x"})
    into(packed, source / "model.safetensors")
    (source / "config.json").write_text("{")
    into(packed, source / "model.safetensors")


def test_a_damaged_trained_stage_is_a_clear_error(source):
    (source / "model.safetensors").write_bytes(b"cut off")
    with refused("unreadable-weights"):
        load_stage(source)


# ----------------------------------------------------------------- in place of training


def test_an_imported_stage_is_one_like_any_other(packed, source, tmp_path):
    folder, file = tmp_path / "imported", source / "model.safetensors"
    import_stage(experiment(str(source)), "semantic", 0, Parts(packed=packed), file, folder)
    assert (folder / "model.safetensors").read_bytes() == file.read_bytes()
    assert (folder / "config.json").read_bytes() == (source / "config.json").read_bytes()
    assert load_stage(folder).stage == "semantic"
    card = (folder / "card.md").read_text()
    assert f"imported from | model.safetensors, sha256 {hash_file(file)}" in card
    assert "> | training seed | 7 |" in card, "the card that came with them is kept"
    assert str(tmp_path) not in card


def tuned(packed, tmp_path, name, file, seed=0, **training):
    wanted = experiment({"path": str(file), "fine_tune": True}, **training)
    folder = tmp_path / name
    parts = Parts(packed=packed)
    train_stage(wanted, "semantic", seed, parts, folder, tmp_path / "state", weights=file)
    return load_file(folder / "model.safetensors")


def distance(one, two):
    return max((one[name] - two[name]).abs().max().item() for name in one)


@pytest.mark.slow
def test_fine_tuning_begins_with_the_weights(packed, source, tmp_path):
    file, other = source / "model.safetensors", make_packed(tmp_path / "other", seed=1)
    near = tuned(other, tmp_path, "near", file, learning_rate=1e-6)
    assert 0 < distance(near, load_file(file)) < 1e-4
    assert f"sha256 {hash_file(file)}" in (tmp_path / "near/card.md").read_text()
    again = tuned(other, tmp_path / "elsewhere", "near", file, learning_rate=1e-6)
    assert distance(near, again) == 0


@pytest.mark.slow
def test_a_fine_tuning_that_was_stopped_goes_on_to_the_same_bytes(packed, source, tmp_path):
    file, calls = source / "model.safetensors", iter(range(9))
    whole = tuned(packed, tmp_path / "whole", "one", file, steps=6)
    wanted = experiment({"path": str(file), "fine_tune": True}, steps=6)
    rest = ("semantic", 0, Parts(packed=packed), tmp_path / "cut", tmp_path / "cut-state")
    with pytest.raises(Interrupted):
        train_stage(wanted, *rest, should_stop=lambda: next(calls) == 2, weights=file)
    train_stage(wanted, *rest, weights=file)
    assert distance(whole, load_file(tmp_path / "cut/model.safetensors")) == 0


@pytest.mark.slow
def test_changed_weights_never_meet_an_old_state(packed, source, tmp_path, caplog):
    file = tmp_path / "given.safetensors"
    tensors = load_file(source / "model.safetensors")
    save_file(tensors, file)
    first = tuned(packed, tmp_path, "first", file)
    caplog.set_level("INFO", "etude")
    moved = file.rename(tmp_path / "moved.safetensors")
    tuned(packed, tmp_path, "again", moved)
    assert "finished already" in caplog.text, "the same bytes under another name"
    caplog.clear()
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, moved)
    assert distance(tuned(packed, tmp_path, "changed", moved), first) > 1e-3
    assert "finished already" not in caplog.text


def test_a_fingerprint_without_weights_is_as_before(packed, source):
    parts = Parts(packed=packed)
    file = source / "model.safetensors"
    begun = experiment({"path": str(file), "fine_tune": True})
    plain = stage_fingerprint(experiment(), "semantic", parts, 0)
    assert stage_fingerprint(begun, "semantic", parts, 0) == plain
    assert stage_fingerprint(begun, "semantic", parts, 0, file) != plain


def test_given_weights_are_never_forgotten(packed, source, tmp_path):
    wanted = experiment({"path": str(source), "fine_tune": True})
    parts = Parts(packed=packed)
    with pytest.raises(ValueError, match="is the file that the stage's settings name"):
        train_stage(wanted, "semantic", 0, parts, tmp_path / "out", tmp_path / "state")


@pytest.mark.slow
def test_kept_steps_of_a_fine_tuning_are_found(packed, source, tmp_path):
    file = source / "model.safetensors"
    last = tuned(packed, tmp_path, "one", file, keep_steps=[4])
    wanted = experiment({"path": str(file), "fine_tune": True}, keep_steps=[4])
    copy_kept_step(
        wanted, "semantic", 0, 4, parts=Parts(packed=packed), state_root=tmp_path / "state",
        output=tmp_path / "step-4.safetensors", weights=file,
    )  # fmt: skip
    assert distance(last, load_file(tmp_path / "step-4.safetensors")) == 0


# ------------------------------------------------------------------------------ config


def test_params_change_only_where_weights_are_given():
    plain = json.loads(experiment().stage_params("semantic"))["stages"]["semantic"]
    assert plain.keys() == {"network", "training"}
    assert '"weights"' not in experiment().params()
    given = json.loads(experiment("/music/mine").stage_params("semantic"))["stages"]["semantic"]
    assert given.keys() == {"network", "weights"}, "an imported stage hangs on no training"
    assert given["weights"]["path"] == "mine", "nothing of the machine"
    again = experiment("/elsewhere/mine", learning_rate=1.0).stage_params("semantic")
    assert again == experiment("/music/mine").stage_params("semantic")
    tuned = json.loads(experiment({"path": "x", "fine_tune": True}).stage_params("semantic"))
    assert tuned["stages"]["semantic"].keys() == {"network", "training", "weights"}


def test_imported_weights_have_no_steps_to_keep():
    with invalid("keep_steps", "nothing-is-trained"):
        experiment("/music/mine", keep_steps=[2])
    experiment({"path": "x", "fine_tune": True}, keep_steps=[2])


@pytest.mark.parametrize(
    ("weights", "mistake"),
    [
        ({"pth": "x"}, ("coarse.weights.pth", "extra_forbidden", "did you mean 'path'?")),
        (
            {"path": "x", "sha256": "12"},
            ("coarse.weights.sha256", "string_pattern_mismatch", "'12'"),
        ),
        (3, ("coarse.weights", "model_type", 3)),
    ],
)
def test_mistakes_in_config_name_the_key(weights, mistake):
    over = {"experiments": {"audiolm": {"stages": {"coarse": {"weights": weights}}}}}
    raw = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    with invalid(*mistake):
        load_config(merge(raw, over))
