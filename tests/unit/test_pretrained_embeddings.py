"""CLAP and fadtk's embeddings: proven before they judge, and named with their hash."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tiny_models
import torch
from refused import refused

from etude.audio.files import write_wav
from etude.config import Pretrained
from etude.metrics import fadtk_models, verify_embedding
from etude.metrics.checks import write_checks
from etude.metrics.clap import Clap
from etude.metrics.embed import embed_sets
from etude.metrics.registry import projection
from etude.metrics.samples import read_about, read_sets
from etude.metrics.verify_embedding import check_order, grains, halves, noise, told_apart
from etude.pretrained import fetch
from etude.pretrained.network_hash import UNKNOWN, hash_of_loader, hash_state
from etude.pretrained.origin import read_origin, written
from etude.storage import hash_file, read_csv, write_csv

ROOT = Path(__file__).resolve().parents[2]
RATE = 8000


def tune(seed, seconds=1.0, rate=RATE):
    """Decaying tones of a random melody: [samples]."""
    random = np.random.default_rng(seed)
    time = np.arange(round(0.25 * rate)) / rate
    tones = [
        np.sin(2 * np.pi * 220 * 2 ** (random.integers(0, 24) / 12) * time) * np.exp(-4 * time)
        for _ in range(round(seconds / 0.25))
    ]
    return 0.3 * np.concatenate(tones)


def loudness(wave, size):
    return np.sqrt((wave[: len(wave) // size * size].reshape(-1, size) ** 2).mean(1))


class Ear:
    """A stub whose order is known: it hears how jagged a wave is, and how much of a hiss."""

    sample_rate, dim, origin = RATE, 3, {"from": "ear", "sha256": "e" * 64}

    def __init__(self, sign=1.0):
        self.sign = sign

    def embed(self, wave):
        size = RATE // 50
        rows = []
        for item in wave:
            jagged = np.abs(np.diff(loudness(item, size))).mean() / loudness(item, size).mean()
            zero = (np.diff(np.sign(item)) != 0).mean()
            rows.append([[jagged * 10, zero * 20, loudness(item, size).std()]])
        return np.array(rows) if self.sign > 0 else self.deaf(np.array(rows))

    def deaf(self, rows):
        """As one for which every sound but music is music: noise falls on the mean of tunes."""
        return np.where(rows[..., 1:2] > 5, self.mean, rows)


def music(first):
    return [tune(seed) for seed in range(first, first + 8)]


def checks_of(model):
    return {check.check: check for check in check_order(model, music(0), music(100))}


def test_an_ear_that_hears_music_passes():
    checks = checks_of(Ear())
    assert [check.passed for check in checks.values()] == [True] * 5, checks
    assert checks["kad_real"].value < checks["kad_shuffled"].value < checks["kad_noise"].value


def test_an_ear_to_which_noise_is_music_fails():
    ear = Ear(-1)
    ear.mean = np.concatenate([Ear().embed(wave[None])[0] for wave in music(0)]).mean(0)
    checks = checks_of(ear)
    assert checks["kad_shuffled"].passed
    assert not checks["kad_noise"].passed


class Stuck(Ear):
    value = 1.0

    def embed(self, wave):
        return np.full((len(wave), 1, 3), self.value)


def test_a_network_that_gives_one_answer_fails():
    checks = checks_of(Stuck())
    assert not checks["told_apart"].passed
    assert "kad_noise" not in checks
    broken = Stuck()
    broken.value = float("nan")
    (check,) = check_order(broken, music(0), music(100))
    assert (check.check, check.passed, check.value) == ("not_finite", False, 32 * 3)


def test_grains_and_noise_keep_what_they_should():
    wave = tune(1) + 0.01
    mixed = grains(wave, RATE, np.random.default_rng(0))
    assert sorted(mixed) == sorted(wave)
    assert not np.array_equal(mixed, wave)
    hiss = noise(wave, np.random.default_rng(0))
    assert len(hiss) == len(wave)
    assert np.sqrt((hiss**2).mean()) == pytest.approx(np.sqrt((wave**2).mean()), rel=0.05)
    assert told_apart(np.zeros((3, 2))) == 0.0


def test_halves_share_no_piece():
    chosen = [(None, {"piece": p, "start_s": str(s)}) for p in "abc" for s in range(3)]
    one, two = halves(chosen)
    assert {row["piece"] for _, row in one} == {"a", "c"}
    assert {row["piece"] for _, row in two} == {"b"}
    assert list(map(len, halves(chosen[:3]))) == [2, 1]


@pytest.fixture
def corpus(tmp_path):
    """Pieces, WAVs and cuts of eight tunes of two segments each."""
    wav, cuts = tmp_path / "wav", tmp_path / "cuts"
    index, pieces = [], []
    for number in range(8):
        name = f"p{number}"
        write_wav(wav / f"{name}.wav", tune(number, 2.0), RATE)
        pieces.append({"piece": name, "split": "train" if number else "test"})
        for part in range(2):
            row = {"segment": f"{name}_{part}", "piece": name, "start_s": part, "seconds": 1.0}
            index.append(row | {"status": "kept"})
    write_csv(tmp_path / "pieces.csv", ["piece", "split"], pieces)
    write_csv(cuts / "index.csv", ["segment", "piece", "start_s", "seconds", "status"], index)
    return {"wav": [wav], "cuts": [cuts], "pieces": tmp_path / "pieces.csv"}


@pytest.fixture(scope="module")
def clap(tmp_path_factory):
    root = tmp_path_factory.mktemp("clap")
    tiny_models.make_clap(root / "given")
    fetch.fetch_weights("clap", Pretrained(kind="clap", path=root / "given"), root / "clap")
    return root


def test_clap_is_the_class_own_forward(clap):
    from transformers import ClapFeatureExtractor, ClapModel

    model = Clap(clap / "clap")
    assert (model.sample_rate, model.dim) == (48000, 24)
    wave = np.stack([tune(seed, 2.0, 48000) for seed in (1, 2)])
    found = model.embed(wave)
    assert found.shape == (2, 1, 24)  # shorter than the window: one
    own = ClapModel.from_pretrained(str(clap / "given")).eval()
    extractor = ClapFeatureExtractor.from_pretrained(str(clap / "given"))
    features = extractor(list(wave.astype(np.float32)), sampling_rate=48000, return_tensors="pt")
    with torch.inference_mode():
        wanted = own.get_audio_features(**features)
    wanted = getattr(wanted, "pooler_output", wanted)
    np.testing.assert_allclose(found[:, 0], wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert model.embed(tune(3, 12.0, 48000)[None]).shape == (1, 3, 24)


def test_a_random_clap_is_reported(clap, corpus, tmp_path):
    """Whatever its order is, its table is written, or the run stops with the figure."""
    output = tmp_path / "verified" / "clap.csv"
    args = ("clap", RATE, clap / "clap", *corpus.values(), output)
    verify_embedding.verify_embedding(*args, strict=False)
    rows = {row["check"]: row for row in read_csv(output)}
    assert {"missing_tensors", "parameters", "told_apart", "kad_real", "kad_noise"} <= rows.keys()
    assert rows["missing_tensors"]["passed"] == rows["parameters"]["passed"] == "true"
    failed = [name for name, row in rows.items() if row["passed"] == "false"]
    if failed:
        with refused("weights-do-not-work", "given", failed[0]):
            verify_embedding.verify_embedding(*args, strict=True)


def test_a_stub_in_claps_place(corpus, tmp_path, monkeypatch):
    """By fadtk's road, which has no weights of ours: strict passes and stops as it should."""
    ear = Ear()
    monkeypatch.setattr(verify_embedding, "open_embedding", lambda *_, **__: ear)
    args = ("clap-laion-audio", RATE, None, *corpus.values(), tmp_path / "c.csv")
    verify_embedding.verify_embedding(*args, strict=True)
    assert all(row["passed"] == "true" for row in read_csv(tmp_path / "c.csv"))
    monkeypatch.setattr(verify_embedding, "open_embedding", lambda *_, **__: Stuck())
    with refused("weights-do-not-work", "told_apart", 0):
        verify_embedding.verify_embedding(*args[:-1], tmp_path / "d.csv", strict=True)
    monkeypatch.setattr(verify_embedding, "SEGMENTS", 6)
    with refused("too-few-samples", 6):
        verify_embedding.verify_embedding(*args, strict=True)


@pytest.mark.slow
def test_distances_of_given_embeddings_need_no_torch():
    """score_fad has an environment without it."""
    code = """
        import sys
        from etude.metrics.registry import projection
        from etude.metrics import score
        print(projection("clap-laion-audio"), projection("mine"), projection("logmel")[0])
        print("torch" in sys.modules)
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["(None,", "0.0)", "(None,", "0.0)", "16", "False"]
    assert projection("clap") == (Clap.components, Clap.deviation_floor)


def test_written_checks_are_one_table(tmp_path):
    checks = list(check_order(Ear(), music(0), music(100)))
    write_checks(checks, {"from": "x", "sha256": "0"}, tmp_path / "t.csv", strict=True)
    assert [row["check"] for row in read_csv(tmp_path / "t.csv")] == [c.check for c in checks]


# -------------------------------------------------------------------------- which weights it was


def test_embeddings_keep_their_weights(clap, tmp_path):
    write_wav(tmp_path / "set/a.wav", tune(1), RATE)
    write_csv(tmp_path / "set/clips.csv", ["clip", "file"], [{"clip": "a", "file": "a.wav"}])
    sets = {"generated": tmp_path / "set"}
    embed_sets(sets, "clap", RATE, tmp_path / "clap.npz", weights=clap / "clap")
    sha256 = hash_file(clap / "clap/model.safetensors")
    assert read_about(tmp_path / "clap.npz") == f"given {sha256[:16]}"
    assert list(read_sets([tmp_path / "clap.npz"])) == ["generated"]
    embed_sets(sets, "logmel", RATE, tmp_path / "logmel.npz")
    assert read_about(tmp_path / "logmel.npz") == read_about(None) == ""
    assert written([read_origin(clap / "clap")] * 2 + [{}]) == f"given {sha256[:16]}"


def test_the_hash_of_an_opened_network():
    torch.manual_seed(0)
    network = torch.nn.Linear(2, 2)
    first = hash_of_loader(SimpleNamespace(model=network, sr=8000))
    assert first == hash_state([network])
    wrapped = type("Wrapper", (), {})()
    wrapped.clap = network
    assert hash_of_loader(SimpleNamespace(model=wrapped)) == first
    with torch.no_grad():
        network.bias[0] += 1
    assert hash_of_loader(SimpleNamespace(model=network)) != first
    assert hash_of_loader(SimpleNamespace(model=None)) == UNKNOWN


class Loader:
    """What fadtk's ModelLoader offers, without fadtk."""

    sr, num_features = 16000, 2

    def __init__(self):
        self.model = torch.nn.Linear(1, 1)
        self.loaded = False

    def load_model(self):
        self.loaded = True

    def load_wav(self, path):
        return soundfile.read(path, dtype="int16")[0] / 32768

    def get_embedding(self, wave):
        return np.stack([wave[:4], wave[4:8]]).T.astype(np.float16)


def test_fadtks_road():
    loader = Loader()
    embedding = fadtk_models.FadtkEmbedding("clap-laion-audio", loader)
    assert loader.loaded
    assert embedding.origin["from"] == "fadtk clap-laion-audio"
    assert embedding.origin["sha256"] == hash_state([loader.model])
    wave = np.linspace(-0.5, 0.5, 16)
    found = embedding.embed(wave[None])
    assert found.shape == (1, 4, 2)
    np.testing.assert_allclose(found[0, :, 0], wave[:4], atol=1e-3)


def test_a_torchaudio_that_does_not_load(monkeypatch, tmp_path):
    names = ("torchaudio", "torchaudio.functional", "torchaudio.transforms")
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)  # its import fails, as that of a broken build
    fadtk_models.stand_in_for_torchaudio()
    import torchaudio

    write_wav(tmp_path / "a.wav", tune(1).astype(np.float32), RATE)
    wave, rate = torchaudio.load(str(tmp_path / "a.wav"))
    assert (wave.shape, rate) == ((1, RATE), RATE)
    assert torchaudio.functional.resample(wave, RATE, 4000).shape == (1, 4000)
    assert torchaudio.transforms.Resample(RATE, 16000)(wave).shape == (1, 16000)
