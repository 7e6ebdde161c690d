"""Recordings are looked through and copied as they are."""

import numpy as np
import pytest
import soundfile
from refused import unusable

from etude.audio.files import AudioError, read_audio
from etude.audio.recordings import copy_to_wav, summarise

TONE = (0.5 * np.sin(np.arange(30000) / 7)[:, None] * [1, 0.3]).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "subtype", "kept"),
    [
        ("x.wav", "PCM_16", "PCM_16"),
        ("x.wav", "PCM_24", "PCM_24"),
        ("x.wav", "PCM_32", "PCM_32"),
        ("x.wav", "FLOAT", "FLOAT"),
        ("x.wav", "DOUBLE", "DOUBLE"),
        ("x.wav", "PCM_U8", "PCM_16"),
        ("x.wav", "ULAW", "PCM_16"),
        ("x.flac", "PCM_16", "PCM_16"),
        ("x.flac", "PCM_24", "PCM_24"),
        ("x.aiff", "PCM_16", "PCM_16"),
        ("x.aiff", "FLOAT", "FLOAT"),
        ("x.ogg", "VORBIS", "PCM_16"),
        ("x.mp3", "MPEG_LAYER_III", "PCM_16"),
    ],
)
def test_copies_keep_rate_channels_and_samples(tmp_path, name, subtype, kept):
    loud = TONE * (4 if subtype in ("FLOAT", "DOUBLE") else 1)  # beyond full scale
    soundfile.write(tmp_path / name, loud, 32000, subtype)
    copied = copy_to_wav(tmp_path / name, tmp_path / "copy.wav")
    info = soundfile.info(tmp_path / "copy.wav")
    assert (info.format, info.subtype, info.samplerate, info.channels) == ("WAV", kept, 32000, 2)
    before, after = (soundfile.read(tmp_path / n)[0] for n in (name, "copy.wav"))
    exact = kept != "PCM_16" or subtype in ("PCM_16", "PCM_U8")
    np.testing.assert_allclose(before, after, atol=0 if exact else 2**-15)
    assert copied.seconds == pytest.approx(len(before) / 32000)
    assert copied.peak == pytest.approx(np.abs(before).max(), abs=1e-4)
    assert copied.rms_dbfs == pytest.approx(20 * np.log10(np.sqrt((before**2).mean())), abs=1e-2)
    assert read_audio(tmp_path / "copy.wav", 32000, mono=False).T.shape == after.shape
    looked = summarise(tmp_path / name)
    assert looked._replace(samples_hash="", peak=0, rms_dbfs=0) == copied._replace(
        peak=0, rms_dbfs=0
    )
    if exact and subtype != "DOUBLE":
        assert looked.samples_hash == summarise(tmp_path / "copy.wav").samples_hash


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_copies_are_the_same_bytes_at_any_time(tmp_path, subtype, monkeypatch):
    soundfile.write(tmp_path / "x.wav", TONE, 8000, subtype)
    copy_to_wav(tmp_path / "x.wav", tmp_path / "a.wav")
    made = (tmp_path / "a.wav").read_bytes()
    assert b"PEAK" not in made[:100]  # libsndfile's chunk with the time of day
    copy_to_wav(tmp_path / "a.wav", tmp_path / "b.wav")
    assert made == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    "work", [summarise, lambda path: copy_to_wav(path, path.with_name("y.wav"))]
)
def test_bad_recordings(tmp_path, work):
    path = tmp_path / "x.wav"
    cases = {"non_finite_samples": np.array([0.1, np.nan]), "no_samples": np.zeros(0)}
    for reason, samples in cases.items():
        soundfile.write(path, samples.astype(np.float32), 8000, "FLOAT")
        with pytest.raises(AudioError) as caught:
            work(path)
        assert caught.value.reason == reason
    path.write_text("no music")
    with unusable("corrupt_audio"):
        work(path)
    path.unlink()
    with unusable("unreadable"):
        work(path)
    assert list(tmp_path.iterdir()) == []


def test_lengths_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("etude.audio.recordings.BLOCK", 1000)
    soundfile.write(tmp_path / "x.wav", TONE, 8000)
    small = summarise(tmp_path / "x.wav")
    monkeypatch.undo()
    assert small.samples_hash == summarise(tmp_path / "x.wav").samples_hash
    assert small.seconds == 30000 / 8000
