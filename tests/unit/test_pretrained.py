"""Pretrained parts: fetched, converted, proven, and equal to the class's own forward."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from refused import refused

from etude.config import Cut, Encodec, Hubert, Pretrained
from etude.metrics import verify
from etude.pretrained import fetch, joblib_file
from etude.pretrained.fairseq_file import convert_hubert
from etude.storage import hash_file, read_csv, read_json
from etude.tokenizers import registry
from etude.tokenizers.segments import check_cut

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
WAVES = torch.randn(3, 24000, generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny models in the hub's form, and what fetch_weights makes of them."""
    root = tmp_path_factory.mktemp("models")
    made = {
        "hubert": tiny_models.make_hubert(root / "given" / "hubert"),
        "encodec": tiny_models.make_encodec(root / "given" / "encodec"),
    }
    for kind in made:
        settings = Pretrained(kind=kind, path=root / "given" / kind)
        fetch.fetch_weights(kind, settings, root / kind)
    fetch.fetch_weights("km", Pretrained(kind="kmeans", path=FIXTURES / "kmeans.npy"), root / "km")
    return root, made


def hubert(root, **settings):
    settings = {"layer": 1, "clusters": 12} | settings
    return registry.create_tokenizer(Hubert(kind="hubert", **settings)).attach(root / "hubert")


def encodec(root, **settings):
    return registry.create_tokenizer(Encodec(kind="encodec", **settings)).attach(root / "encodec")


# ------------------------------------------------------------------------------ tokenizers


@pytest.mark.slow
def test_hubert_is_the_class_own_forward(models, tmp_path):
    root, made = models
    tokenizer = hubert(root, batch_seconds=3)  # two batches
    with torch.inference_mode():
        hidden = made["hubert"](WAVES, output_hidden_states=True).hidden_states[1]
    torch.testing.assert_close(tokenizer.features(WAVES), hidden, rtol=1e-4, atol=1e-5)
    tokenizer.fit([WAVES])
    ids = tokenizer.encode(WAVES)
    wanted = torch.cdist(hidden, tokenizer.tensors["codebook"][None]).argmin(-1)
    assert (ids == wanted).float().mean() > 0.99
    assert ids.shape == (3, tokenizer.frames(24000))
    (tmp_path / "t").mkdir()
    registry.save_tokenizer(tokenizer, tokenizer.settings, tmp_path / "t")
    again = registry.load_tokenizer(tmp_path / "t")
    assert torch.equal(again.encode(WAVES), ids)
    weights = read_json(tmp_path / "t" / "config.json")["weights"]
    assert weights == {"from": "hubert", "sha256": hash_file(root / "hubert/model.safetensors")}


def test_hubert_has_the_seeds_frames(models):
    tokenizer = hubert(models[0])
    assert (tokenizer.frames(32000), tokenizer.frame_rate) == (99, 50)
    assert check_cut(Cut(seconds=2, rate=24000), tokenizer, "t") == 99


def test_centres_that_are_given(models):
    root, _ = models
    tokenizer = registry.create_tokenizer(Hubert(kind="hubert", layer=0, clusters=12)).attach(
        root / "hubert"
    )
    with refused("centres-do-not-fit"):
        tokenizer.give_centres(root / "km")  # 16 wide; the network is 64 wide


def test_encodec_is_the_class_own_forward(models):
    root, made = models
    tokenizer = encodec(root, quantizers=8, batch_seconds=1)
    codes = tokenizer.encode(WAVES)
    with torch.inference_mode():
        whole = made["encodec"].encode(WAVES[:, None], bandwidth=6.0).audio_codes[0]
        sound = made["encodec"].decode(whole[:1, :8][None], [None]).audio_values[0, 0]
    assert torch.equal(codes, whole[:, :8])  # RVQ: the first ones do not hang on the rest
    torch.testing.assert_close(tokenizer.decode(codes[:1])[0], sound)
    assert codes.shape == (3, 8, tokenizer.frames(24000))
    assert tokenizer.decode(codes[:, :2]).shape == (3, 24000)
    assert (tokenizer.frame_rate, tokenizer.codebook_size) == (75, 64)


def test_more_quantizers_than_there_are(models):
    with refused("too-many-quantizers", 60):
        encodec(models[0], quantizers=60)


def test_other_rates_and_layers_are_said(models):
    with refused("rates-differ", 24000):
        encodec(models[0], sample_rate=32000)
    with refused("layer-out-of-range", 2, 9):
        hubert(models[0], layer=9)


# ---------------------------------------------------------------------------------- fetching


@pytest.mark.parametrize("name", ["kmeans.bin", "kmeans.npy"])
def test_centres_of_joblib_and_numpy(name):
    np.testing.assert_array_equal(
        joblib_file.read_centres(FIXTURES / name), np.load(FIXTURES / "kmeans.npy")
    )


def test_a_pickle_of_centres_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    (tmp_path / "evil.bin").write_bytes(pickle.dumps(Evil()))
    with refused("unreadable-centres"):
        joblib_file.read_centres(tmp_path / "evil.bin")
    assert not (tmp_path / "touched").exists()


def test_a_pickle_needs_its_hash(tmp_path):
    settings = Pretrained(kind="kmeans", path=FIXTURES / "kmeans.bin")
    with refused("unvouched-pickle") as error:
        fetch.fetch_weights("km", settings, tmp_path / "km")
    assert hash_file(FIXTURES / "kmeans.bin") in error.value.do
    fetch.fetch_weights("km", settings.model_copy(update={"trust": True}), tmp_path / "km")
    assert (tmp_path / "km" / "centres.safetensors").is_file()


@pytest.fixture
def fairseq_file(models, tmp_path):
    """A HuBERT as fairseq saves it, with classes of fairseq's that are not there to be imported."""
    module = types.ModuleType("fairseq_cfg")
    module.Config = type("Config", (), {"__module__": "fairseq_cfg"})
    sys.modules["fairseq_cfg"] = module
    state = {tiny_models.fairseq_name(k): v for k, v in models[1]["hubert"].state_dict().items()}
    state |= {"final_proj.weight": torch.zeros(2, 2), "label_embs_concat": torch.zeros(2, 2)}
    torch.save({"model": state, "cfg": module.Config(), "args": None}, tmp_path / "hubert.pt")
    del sys.modules["fairseq_cfg"]
    return tmp_path / "hubert.pt"


def test_fairseq_hubert_without_fairseq(models, fairseq_file, tmp_path):
    model = convert_hubert(fairseq_file)
    wanted = models[1]["hubert"].state_dict()
    assert model.state_dict().keys() == wanted.keys()
    assert all(torch.equal(model.state_dict()[name], wanted[name]) for name in wanted)
    settings = Pretrained(kind="hubert", path=fairseq_file, sha256=hash_file(fairseq_file))
    fetch.fetch_weights("seed", settings, tmp_path / "seed")
    assert registry.create_tokenizer(Hubert(kind="hubert", layer=1)).attach(
        tmp_path / "seed"
    ).features(WAVES[:1]).shape == (1, 74, 64)


def test_what_is_no_fairseq_hubert(fairseq_file, tmp_path):
    state = torch.load(fairseq_file, weights_only=False, pickle_module=_lenient())["model"]
    torch.save({"model": state | {"unheard_of": torch.zeros(1)}}, tmp_path / "more.pt")
    with refused("not-a-hubert-checkpoint") as error:
        convert_hubert(tmp_path / "more.pt")
    assert "unheard_of" in error.value.why
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint")
    with refused("not-a-hubert-checkpoint"):
        convert_hubert(tmp_path / "noise.pt")


def _lenient():
    from etude.pretrained.fairseq_file import TensorsOnly

    return types.SimpleNamespace(Unpickler=TensorsOnly, load=None, __name__="pickle")


@pytest.mark.parametrize(
    ("settings", "code", "named"),
    [
        ({"path": "nowhere"}, "weights-not-found", "nowhere"),
        ({"path": "hubert", "sha256": "0" * 64}, "weights-hash-differs", "0" * 64),
        ({"path": "encodec"}, "weights-of-another-kind", "'encodec'"),
        ({"path": "empty"}, "not-a-hub-folder", "empty"),
    ],
)
def test_weights_that_cannot_be_used(models, tmp_path, settings, code, named):
    given = models[0] / "given"
    (given / "empty").mkdir(exist_ok=True)
    settings = settings | {"path": given / settings["path"]}
    with refused(code, named):
        fetch.fetch_weights("h", Pretrained(kind="hubert", **settings), tmp_path / "h")
    assert not (tmp_path / "h").exists()


def _answer(status):
    return types.SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("GatedRepoError", 403, "licence-not-accepted"),
        ("RepositoryNotFoundError", 401, "login-needed"),
        ("RepositoryNotFoundError", 404, "unknown-repository"),
        ("RevisionNotFoundError", 404, "unknown-revision"),
        ("HfHubHTTPError", 503, "hub-unreachable"),
    ],
)
def test_what_a_hub_refuses_is_told_apart(monkeypatch, tmp_path, error, status, code):
    import huggingface_hub
    from huggingface_hub import errors

    def refuse(*_, **__):
        raise getattr(errors, error)("no", response=_answer(status))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with refused(code):
        fetch.fetch_weights("x", Pretrained(kind="hubert", hub="some/one"), tmp_path / "x")


def test_offline_without_a_cache(monkeypatch, tmp_path):
    import huggingface_hub
    from huggingface_hub import errors

    def offline(*_, **__):
        raise errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with refused("hub-unreachable") as error:
        fetch.fetch_weights("x", Pretrained(kind="hubert", hub="some/one"), tmp_path / "x")
    assert "HF_HUB_OFFLINE" in error.value.do


def test_a_snapshot_of_the_hub(monkeypatch, models, tmp_path):
    import huggingface_hub

    asked = {}

    def snapshot(name, **settings):
        asked.update(settings, name=name)
        return str(models[0] / "given" / "hubert")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    settings = Pretrained(kind="hubert", hub="some/one", revision="abc")
    fetch.fetch_weights("x", settings, tmp_path / "x")
    assert (asked["name"], asked["revision"]) == ("some/one", "abc")
    assert read_json(tmp_path / "x" / "origin.json")["from"] == "some/one"


# ---------------------------------------------------------------------------------- proving


def test_weights_are_counted(models):
    checks = list(verify.check_weights(models[0] / "hubert", "hubert"))
    assert [check.passed for check in checks] == [True] * 4


def test_a_codec_that_works_and_one_that_does_not(models):
    class Perfect:
        sample_rate = 24000

        def encode(self, waves):
            return waves

        decode = encode

    assert next(iter(verify.check_round_trip(Perfect(), WAVES))).passed
    assert not next(iter(verify.check_round_trip(encodec(models[0]), WAVES))).passed


@pytest.mark.parametrize(
    ("tokens", "passed"),
    [
        (torch.zeros(4, 50), False),
        (torch.arange(200).view(4, 50) // 5, True),
        (torch.arange(200).view(4, 50), False),
    ],
)
def test_tokens_that_change_as_music_does(tokens, passed):
    checks = list(verify.check_tokens(tokens.long(), 40))
    assert checks[0].passed == passed


def test_strict_stops_and_report_goes_on(tmp_path):
    bad = verify.Check("round_trip", 0.1, 0.9, None, "what it is")
    about = {"from": "some/one", "sha256": "0" * 64}
    with refused("weights-do-not-work", "round_trip", 0.1):
        verify.write_checks([bad], about, tmp_path / "t.csv", strict=True)
    assert not (tmp_path / "t.csv").exists()
    verify.write_checks([bad], about, tmp_path / "t.csv", strict=False)
    assert next(iter(read_csv(tmp_path / "t.csv")))["passed"] == "false"
