"""Audio files: any format, any part, any lower rate; and out again without loss."""

import errno
import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import unusable

from etude.audio.files import AudioError, AudioFile, read_audio, write_wav
from etude.audio.levels import dbfs, int16_rms, rms
from etude.audio.recordings import copy_to_wav, summarise
from etude.errors import UserError

FORMATS = [
    *[("wav", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")],
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
    ("mp3", "MPEG_LAYER_III"),
    ("ogg", "VORBIS"),
    ("aiff", "PCM_16"),
]


def sine(seconds, rate, hertz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        "f4"
    )


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_reads_every_format(tmp_path, suffix, subtype):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.stack([sine(1.5, 44100)] * 2, 1), 44100, subtype)
    with AudioFile(path) as file:
        assert (file.rate, file.channels, file.frames) == (44100, 2, 66150)
        assert file.seconds == 1.5
        wave = file.read()
        part = file.read(start_s=0.7, seconds=0.5)
    assert wave.dtype == np.float32
    assert wave.shape == (66150,)
    assert 0.34 < rms(wave) < 0.37
    np.testing.assert_allclose(part, wave[30870 : 30870 + 22050], atol=1e-6)


@pytest.mark.parametrize("channels", range(1, 9))
def test_one_to_eight_channels(tmp_path, channels):
    path = tmp_path / "a.wav"
    samples = np.linspace(-0.5, 0.5, channels)[:, None] * np.ones(800)
    write_wav(path, samples, 8000)
    assert read_audio(path, mono=False).shape == (channels, 800)
    np.testing.assert_allclose(read_audio(path, mono=False), samples, atol=2e-5)
    np.testing.assert_allclose(read_audio(path), samples.mean(0), atol=2e-5)
    assert read_audio(path, 4000, mono=False).shape == (channels, 400)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 192000])
def test_rate_goes_down_to_what_was_recorded(tmp_path, rate):
    path = tmp_path / "a.wav"
    write_wav(path, sine(1, rate, 500), rate)
    wave = read_audio(path, 8000)
    assert wave.shape == (8000,)
    np.testing.assert_allclose(wave[500:-500], sine(1, 8000, 500)[500:-500], atol=2e-3)


def test_rate_goes_up_only_when_told(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, sine(1, 8000, 500), 8000)
    with unusable("rate_too_low", "8000 Hz", "16000 Hz"):
        read_audio(path, 16000)
    wave = read_audio(path, 16000, upsample=True)
    np.testing.assert_allclose(wave[500:-500], sine(1, 16000, 500)[500:-500], atol=2e-3)


@pytest.mark.parametrize("target", [23999, 24000, 16000, 44099, 48000])
@pytest.mark.parametrize("start_s", [0.0, 0.013, 1.1, 2.9])
def test_a_part_is_the_part_of_the_whole(tmp_path, target, start_s):
    path = tmp_path / "a.wav"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 44100 * 3)
    write_wav(path, noise, 44100)
    whole = read_audio(path, target, upsample=True)
    part = read_audio(path, target, start_s, 0.5, upsample=True)
    start = round(start_s * target)
    assert len(part) == min(round(0.5 * target), len(whole) - start)
    # Coprime rates are approached by interpolated filters.
    tolerance = 2e-5 if target in (23999, 44099) else 1e-6
    np.testing.assert_allclose(part, whole[start : start + len(part)], atol=tolerance)


def test_beyond_the_end_there_is_nothing(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, sine(1, 8000), 8000)
    assert read_audio(path, start_s=5).shape == (0,)
    assert read_audio(path, 4000, start_s=5, seconds=1).shape == (0,)


@settings(max_examples=30, deadline=None)
@given(
    data=st.data(),
    rate=st.sampled_from([8000, 24000, 44100, 192000]),
    channels=st.integers(1, 8),
    frames=st.integers(1, 300),
)
def test_sixteen_bits_survive(tmp_path_factory, data, rate, channels, frames):
    folder = tmp_path_factory.mktemp("round")
    seed = data.draw(st.integers(0, 2**32 - 1))
    integers = np.random.default_rng(seed).integers(-32768, 32768, (channels, frames))
    write_wav(folder / "a.wav", integers / 32768, rate)
    again = read_audio(folder / "a.wav", mono=False)
    np.testing.assert_array_equal(again * 32768, integers)
    write_wav(folder / "b.wav", again, rate)
    assert (folder / "a.wav").read_bytes() == (folder / "b.wav").read_bytes()


def test_clips_instead_of_wrapping(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, np.array([1.5, -1.5, 1.0, -1.0, 0.0]), 8000)
    np.testing.assert_array_equal(read_audio(path) * 32768, [32767, -32768, 32767, -32768, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused(tmp_path, value):
    samples = np.array([0.1, value, 0.2], np.float32)
    with pytest.raises(ValueError, match="finite"):
        write_wav(tmp_path / "a.wav", samples, 8000)
    assert not list(tmp_path.iterdir())
    soundfile.write(tmp_path / "b.wav", samples, 8000, "FLOAT")
    with unusable("non_finite_samples"):
        read_audio(tmp_path / "b.wav")


def damaged(folder):
    """Files that are no audio, or not all of it."""
    whole = folder / "whole.flac"
    soundfile.write(whole, np.random.default_rng(0).uniform(-0.5, 0.5, 44100), 44100)
    cases = {
        "empty.wav": b"",
        "text.mp3": b"not audio at all\n" * 100,
        "zeros.mp3": bytes(5000),
        "cut.flac": whole.read_bytes()[:40_000],
    }
    for name, content in cases.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in cases]


def test_damaged_files_have_a_reason(tmp_path):
    for path in damaged(tmp_path):
        with pytest.raises(AudioError) as caught:
            read_audio(path)
        assert caught.value.reason.startswith("corrupt_audio: ")
        assert str(tmp_path) not in caught.value.reason
        assert isinstance(caught.value, UserError)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["WAV", "FLAC", "OGG", "MP3", "AIFF", "RF64"]))
def test_no_bytes_crash_the_readers(tmp_path_factory, data, form):
    path = tmp_path_factory.mktemp("bytes") / "x"
    soundfile.write(path, sine(0.3, 16000), 16000, format=form)
    broken = bytearray(path.read_bytes())
    reach = data.draw(st.sampled_from([64, len(broken)]))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(reach, len(broken)) - 1))
        broken[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(bytes(broken))
    for work in (
        lambda: read_audio(path, 8000, start_s=0.1, seconds=0.1, upsample=True),
        lambda: summarise(path),
        lambda: copy_to_wav(path, path.with_name("copy.wav")),
    ):
        with suppress(AudioError):
            work()


def test_missing_file_and_folder(tmp_path):
    with unusable("unreadable", os.strerror(errno.ENOENT)):
        read_audio(tmp_path / "none.wav")
    with unusable("unreadable", os.strerror(errno.EISDIR)):
        read_audio(tmp_path)


def test_error_crosses_processes(tmp_path):
    error = pickle.loads(pickle.dumps(AudioError("corrupt_audio: x", tmp_path)))
    assert (error.reason, error.path) == ("corrupt_audio: x", str(tmp_path))


@pytest.mark.parametrize(
    "name",
    [b"-", b"- a b.wav", "ünï ♪.wav".encode(), b"\xff\xfe.wav", b"a'b\"c.wav", b"%s$HOME.wav"],
)
def test_odd_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    try:
        path.touch()
    except OSError:
        pytest.skip("the file system does not take this name")
    write_wav(path, sine(0.1, 8000), 8000)
    assert read_audio(path).shape == (800,)


def test_levels():
    assert rms(np.zeros(0)) == 0
    assert rms(np.full((2, 10), -0.5, np.float32)) == 0.5
    assert int16_rms(np.full(10, 100 / 32768)) == pytest.approx(100)
    assert dbfs(100 / 32768) == pytest.approx(-50.3, abs=0.01)
    assert dbfs(0) == -np.inf
    # float32 squares of long quiet audio would lose their sum
    assert rms(np.full(10_000_000, 1e-4, np.float32)) == pytest.approx(1e-4, rel=1e-6)
