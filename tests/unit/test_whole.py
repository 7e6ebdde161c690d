"""What a file is by its first bytes, and whether a recording is all there."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from refused import unusable

from etude.audio.files import AudioError, AudioFile, read_audio
from etude.audio.recordings import copy_to_wav, summarise
from etude.audio.truncation import shortfall
from etude.file_signatures import what_it_is

RATE = 8000
TONE = (0.5 * np.sin(np.arange(4 * RATE) / 7)).astype(np.float32)


def reason(path: Path) -> str:
    """The same by each way in."""
    said = []
    for look in (summarise, lambda p: copy_to_wav(p, p.with_name("copy.wav"))):
        with pytest.raises(AudioError) as error:
            look(path)
        said.append(error.value.reason)
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.mp3", "a.ogg"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_what_ends_early_says_how_much_is_there(tmp_path, name, share):
    soundfile.write(tmp_path / name, TONE, RATE)
    assert summarise(tmp_path / name).seconds == 4
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    said = reason(tmp_path / name)
    assert said.startswith("ends_early: ")
    found = float(said.split()[1])
    assert 0 <= found < 4
    # An Ogg file promises no length; that its stream has no end says that it is cut.
    assert said.endswith(
        "and no end of the stream are there" if "ogg" in name else "of 4.00 s are there"
    )


def test_damage_on_the_way_is_another_reason(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE)
    soundfile.write(tmp_path / "a.flac", noise, RATE)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[len(data) // 4 : len(data) // 4 + 3000] = bytes(3000)
    (tmp_path / "a.flac").write_bytes(data)
    said = reason(tmp_path / "a.flac")
    assert said.startswith("corrupt_audio: ")
    assert said.endswith(" of 20.00 s are there")


def wav(size: int, name: bytes = b"data", before: bytes = b"") -> bytes:
    data = (TONE * 32767).astype("<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    body = b"WAVE" + before + form + struct.pack("<4sI", name, size) + data
    return (b"RF64" if before else b"RIFF") + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_length_that_nobody_knew_is_no_promise(tmp_path, size):
    """As a pipe writes it, or a recorder whose battery ends."""
    (tmp_path / "a.wav").write_bytes(wav(size))
    assert not shortfall(tmp_path / "a.wav", 4.0)


def test_odd_sizes(tmp_path):
    path = tmp_path / "a.wav"
    whole = 2 * len(TONE)
    path.write_bytes(wav(whole + 2))  # a header that counts the padding
    assert not shortfall(path, 4.0)
    path.write_bytes(wav(2 * whole))
    assert shortfall(path, 4.0) == "4.00 of 8.00 s are there"
    for promised, said in ((whole, ""), (4 * whole, "4.00 of 16.00 s are there")):
        wide = struct.pack("<4sIQQQI", b"ds64", 28, 0, promised, 0, 0)
        path.write_bytes(wav(0xFFFFFFFF, before=wide))
        assert shortfall(path, 4.0) == said
    path.write_bytes(b"RIFF\0\0\0\0WAVEjunk")
    assert not shortfall(path, 0.0)
    path.write_bytes(b"OggS")
    assert shortfall(path, 0.0)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("peak", [101.0, 32768.0, 3e38])
def test_numbers_that_are_no_sound(tmp_path, subtype, peak):
    wave = TONE.astype(np.float64)
    wave[17] = peak
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype)
    said = reason(tmp_path / "a.wav")
    assert (
        said
        == f"not_sound: a sample is {peak:.3g}, {20 * np.log10(peak):+.0f} dB beside full scale"
    )
    soundfile.write(tmp_path / "b.wav", 99 * TONE, RATE, subtype)
    assert summarise(tmp_path / "b.wav").peak == pytest.approx(99 * TONE.max())


def test_a_double_beyond_a_float_is_a_number(tmp_path):
    soundfile.write(tmp_path / "a.wav", TONE.astype(np.float64) * 1e300, RATE, "DOUBLE")
    assert reason(tmp_path / "a.wav").startswith("not_sound: a sample is 5e+299")


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"<!DOCTYPE html><title>x", "a web page"),
        (b"\xef\xbb\xbf \n<HTML>", "a web page"),
        (b"<?xml version='1.0'?><html>", "a web page"),
        (b"<?xml version='1.0'?><score-partwise>", "text with markup (XML, MusicXML)"),
        (b"MThd\0\0\0\6", "a MIDI file"),
        (b"RIFF\0\0\0\0RMIDdata", "a MIDI file"),
        (b"RIFF\0\0\0\0WAVEfmt ", "a WAV recording"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (bytes(512), "nothing but zero bytes"),
        ("é".encode() * 300, "text"),
        (("a" + "é" * 300).encode()[:512], "text"),
        (b"\xff\xfb\x90\x64\x00", ""),
        (b"a\0b", ""),
        (b"", ""),
    ],
)
def test_first_bytes(head, what):
    assert what_it_is(head).startswith(what)
    assert bool(what_it_is(head)) == bool(what)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "aiff"])
def test_a_web_page_is_called_one(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"<html><body>404</body></html>" * 100)
    for look in (AudioFile, read_audio):
        with unusable("corrupt_audio", "web page"):
            look(path)
