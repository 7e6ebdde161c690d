"""Pretrained text-to-music weights: proven to know words before anything is made with them."""

import numpy as np
import pytest
import torch
from refused import refused
from tiny_models import make_musicgen

from etude.config import Encodec
from etude.metrics.checks import Check
from etude.metrics.verify_text import PROGRAMS, SECONDS, TUNES, check_words, played, verify_text
from etude.storage import read_csv, write_json
from etude.systems import open_system
from etude.tokenizers import registry


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A tiny MusicGen, the tokenizer of the very codec that lies in it, and the folder."""
    root = tmp_path_factory.mktemp("weights")
    whole = make_musicgen(root / "musicgen")
    whole.audio_encoder.save_pretrained(str(root / "encodec"))
    for name in ("musicgen", "encodec"):
        write_json(root / name / "origin.json", {"from": name, "sha256": "0" * 64})
    settings = Encodec(kind="encodec", quantizers=4, sample_rate=32000)
    tokenizer = registry.create_tokenizer(settings).attach(root / "encodec")
    (root / "fitted").mkdir()
    registry.save_tokenizer(tokenizer, settings, root / "fitted")
    return open_system("musicgen").reader(root / "musicgen", root / "fitted"), root


def checked(nats):
    own = np.repeat(np.arange(4), 4)
    return {check.check: check for check in check_words(nats(own), own)}


def test_who_knows_words_passes_and_who_does_not_fails():
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.01, (4, 16))
    level = generator.normal(3, 0.5, 16)  # some clips are harder, whatever the text

    def knows(own):
        return level + noise - 0.03 * (np.arange(4)[:, None] == own)

    good, bad = checked(knows), checked(lambda own: level + noise)
    assert all(check.passed for check in good.values())
    assert good["word_margin"].value == pytest.approx(0.02, abs=0.01)
    assert not any(check.passed for check in bad.values())
    turned = checked(lambda own: level + noise + 0.03 * (np.arange(4)[:, None] == own))
    assert turned["word_margin"].value < 0


def test_the_sounds_are_played_in_full_and_differ():
    waves = [wave for program in PROGRAMS[:2] for wave in played(program, 16000)]
    assert {wave.shape for wave in waves} == {(round(SECONDS * 16000),)}
    assert len(waves) == 2 * len(TUNES)
    assert all(np.abs(wave[-8000:]).max() > 0.01 for wave in waves), "to the end"
    assert not np.allclose(waves[0], waves[len(TUNES)])


@pytest.mark.slow
def test_nats_are_those_of_the_network(reader):
    asked, _ = reader
    waves = [0.1 * np.random.default_rng(i).standard_normal(32000).astype("f") for i in range(5)]
    nats = asked.nats(waves, ["piano", "music box slow"])
    assert nats.shape == (2, 5)
    assert abs(nats[0] - nats[1]).max() > 1e-3, "texts count"
    codes = asked.codec.encode(torch.from_numpy(np.stack(waves[4:]))).long()
    with torch.no_grad():
        alone = asked.model.nats(codes, ["piano"], {}).double().mean().item()
    assert nats[0, 4] == pytest.approx(alone, abs=1e-4)
    decoded = asked.codec.decode(codes).numpy()[:, :32000]
    assert np.allclose(asked.by_own_codec(waves[4:])[0], decoded[0], atol=1e-4)


@pytest.mark.slow
def test_random_weights_stop_the_run(reader, tmp_path, monkeypatch):
    asked, root = reader
    monkeypatch.setattr("etude.metrics.verify_text.PROGRAMS", (0, 73))
    how = (asked, root / "musicgen", "text_to_music", tmp_path / "checks.csv")
    verify_text(*how, strict=False)
    rows = {row["check"]: row for row in read_csv(tmp_path / "checks.csv")}
    assert list(rows)[-3:] == ["round_trip", "word_margin", "right_word"]
    for name in ("missing_tensors", "wrong_shapes", "parameters", "not_finite"):
        assert rows[name]["passed"] == "true"
    assert rows["round_trip"]["passed"] == "false"
    with refused("weights-do-not-work", "round_trip"):
        verify_text(*how, strict=True)
    assert Check("x", float("nan"), 0, None, "").passed is False
