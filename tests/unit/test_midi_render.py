"""MIDI to audio: the right sound at the right time, and the same bytes each time."""

import errno
import io
import json
import os
import shutil
from random import Random

import mido
import numpy as np
import pytest
import soundfile
import symusic
from refused import refused, unusable

from etude.config import Filter, FolderCorpus, Render
from etude.corpus.ingest import ingest_shard
from etude.errors import UserError
from etude.midi import render as module
from etude.midi.events import read_events
from etude.midi.notes import read_midi
from etude.midi.render import level, load_soundfont, render_midi, render_shard, trim
from etude.midi.synth import BLOCK
from etude.storage import read_csv, read_json
from tests import music

RATE = 24000
PLAIN = Render()
AS_IS = Render(loudness=None)
ORGAN = 19  # sounds at one level while it is held
ALL = Filter(drums="keep")


def quarters(*notes):
    """(onset, duration, pitch) at half a second a quarter."""
    return [(float(q), float(d), pitch, 80) for q, d, pitch in notes]


def play(tmp_path, parts, settings=AS_IS, rules=ALL, **options):
    return render_midi(music.write_midi(tmp_path / "x.mid", parts, **options), settings, rules)


def loud(samples, start, stop):
    """RMS between two times."""
    part = samples[round(start * RATE) : round(stop * RATE)]
    return float(np.sqrt(np.mean(np.square(part)))) if part.size else 0.0


def onset(samples):
    return np.flatnonzero(np.abs(samples) > 0)[0] / RATE


# ------------------------------------------------------------------------------------- events


@pytest.mark.parametrize("make", [music.chorale, music.multitrack, music.piano])
def test_events_end_with_the_notes(tmp_path, make):
    path = make(tmp_path / "x.mid", Random(1))
    events, notes = read_events(path.read_bytes()), read_midi(path)
    assert events.end_s == pytest.approx(notes.seconds)
    assert (np.diff(events.seconds) >= 0).all()
    begins = (events.kind == 9) & (events.data2 > 0)
    np.testing.assert_allclose(np.sort(events.seconds[begins]), np.sort(notes.onset_s), atol=1e-9)


# ------------------------------------------------------------------------------- sound and time


def test_notes_sound_when_they_should(tmp_path):
    tempos = [(0, 500_000), (2, 1_000_000)]  # quarter 3 is at 2 s, its end at 3 s
    notes = quarters((3, 1, 60))
    samples = play(tmp_path, [(0, ORGAN, notes)], tempos=tempos)
    assert 0 <= 2.0 - onset(samples) + BLOCK / RATE < 0.006
    assert loud(samples, 2.5, 2.9) > 10 * loud(samples, 3.3, 3.4)


def test_pitches_are_right(tmp_path):
    samples = play(tmp_path, [(0, 0, quarters((0, 4, 69)))])[: 2 * RATE]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert np.argmax(spectrum) * RATE / len(samples) == pytest.approx(440, abs=2)


def test_pedal_holds_and_volume_fades(tmp_path):
    notes = quarters((0, 1, 60), (8, 1, 62))
    dry = play(tmp_path, [(0, 0, notes)])
    held = play(tmp_path, [(0, 0, notes)], controls=[(0, 0, 64, 127), (4, 0, 64, 0)])
    assert loud(held, 1, 1.9) > 20 * loud(dry, 1, 1.9)
    assert loud(held, 3, 3.9) < 0.1 * loud(held, 1, 1.9)
    quiet = play(tmp_path, [(0, 0, notes)], controls=[(0, 0, 7, 20)])
    assert loud(quiet, 0, 1) < 0.2 * loud(dry, 0, 1)


def test_the_pedal_of_one_hand_is_the_pedal_of_both(tmp_path):
    left, right = quarters((0, 1, 48), (8, 1, 50)), quarters((0, 1, 72))
    parts = [(0, 0, left), (0, 0, right)]
    held = play(tmp_path, parts, controls=[(0, 0, 64, 127)])
    dry = play(tmp_path, parts)
    assert loud(held, 1, 2) > 20 * loud(dry, 1, 2)


def test_a_note_of_one_part_does_not_end_that_of_another(tmp_path):
    """Both hands meet on one key and one channel; the longer note goes on."""
    parts = [(0, ORGAN, quarters((0, 1, 60), (7, 1, 72))), (0, ORGAN, quarters((0, 6, 60)))]
    samples = play(tmp_path, parts)
    assert loud(samples, 1, 2) > 0.3 * loud(samples, 0.1, 0.4)


def test_tracks_of_one_channel_keep_their_programs(tmp_path):
    score = symusic.Score(480)
    for program in (ORGAN, 0):
        track = symusic.Track(program=program)
        start = 0 if program else 1920
        track.notes.append(symusic.Note(start, 1440, 60, 80))
        score.tracks.append(track)
    apart = render_midi(score, AS_IS, ALL)
    file = mido.MidiFile(file=io.BytesIO(score.dumps_midi()))
    for track in file.tracks:
        for message in track:
            if not message.is_meta:
                message.channel = 0
    file.save(tmp_path / "one.mid")
    np.testing.assert_array_equal(apart, render_midi(tmp_path / "one.mid", AS_IS, ALL))


def test_drums_and_programs_follow_the_filter(tmp_path):
    notes, drums = quarters((0, 4, 60)), quarters((0, 1, 38), (1, 1, 38), (8, 1, 38))
    both = [(0, 40, notes), (9, 0, drums)]
    bare = play(tmp_path, [(0, 40, notes)])
    np.testing.assert_array_equal(play(tmp_path, both, rules=Filter()), bare)
    with_drums = play(tmp_path, both)
    assert len(with_drums) > len(bare) + RATE
    only = play(tmp_path, [(9, 0, drums)])
    assert onset(only) < 0.01
    assert not np.array_equal(only[:RATE], play(tmp_path, [(0, 0, drums)])[:RATE])
    piano = play(tmp_path, [(0, 0, notes)])
    mapped = Filter(map_programs_to=0)
    np.testing.assert_array_equal(play(tmp_path, both, rules=mapped), piano)
    keep = Filter(map_programs_to=0, drums="keep")
    assert len(play(tmp_path, both, rules=keep)) == len(with_drums)


def test_sparse_pieces_are_quick_and_silent_between(tmp_path):
    samples = play(tmp_path, [(0, 0, quarters((0, 1, 60), (3000, 1, 60)))])
    assert len(samples) / RATE == pytest.approx(1500.5, abs=2.1)
    assert not samples[100 * RATE : 1499 * RATE].any()
    assert loud(samples, 1500, 1500.5) > 0


# --------------------------------------------------------------------------- tail and loudness


def test_the_tail_is_trimmed(tmp_path):
    notes = quarters((0, 2, 60))
    short = play(tmp_path, [(0, 0, notes)])
    assert RATE < len(short) < 2.5 * RATE
    ringing = [(0, 0, 64, 127)]  # a pedal that is never released
    lengths = [
        len(play(tmp_path, [(0, 0, notes)], Render(tail_seconds=tail), controls=ringing)) / RATE
        for tail in (0, 0.5, 3)
    ]
    assert lengths == pytest.approx([1, 1.5, 4], abs=0.01)
    cut = play(tmp_path, [(0, 0, notes)], controls=ringing)
    assert abs(cut[-1]) < 0.02 * np.abs(cut[-RATE:]).max()  # faded, no click


@pytest.mark.slow
@pytest.mark.parametrize("loudness", [-30.0, -20.0, 0.0])
def test_loudness(tmp_path, loudness):
    path = music.multitrack(tmp_path / "x.mid", Random(2))
    samples = render_midi(path, Render(loudness=loudness, gain=1.5), ALL)
    rms, peak = 20 * np.log10(loud(samples, 0, 1e6)), np.abs(samples).max()
    assert samples.dtype == np.float32
    assert peak <= 0.9901
    assert rms == pytest.approx(loudness, abs=0.01) or (peak > 0.98 and rms < loudness)
    as_is = render_midi(path, AS_IS, ALL)
    np.testing.assert_allclose(as_is / np.abs(as_is).max(), samples / peak, atol=1e-4)


def test_level_and_trim_of_silence():
    assert level(np.zeros(10, np.float32), -20) == 1
    assert len(trim(np.zeros(1000, np.float32), 0.01, RATE)) == 240
    assert level(np.array([2.0, -4.0], np.float32), None) == pytest.approx(0.99 / 4)


# ----------------------------------------------------------------------------------- same bytes


def test_what_came_before_does_not_matter(tmp_path):
    paths = [music.chorale(tmp_path / f"{i}.mid", Random(i), quarters=16) for i in range(3)]
    first = [render_midi(path, PLAIN).tobytes() for path in paths]
    again = [render_midi(path.read_bytes(), PLAIN).tobytes() for path in reversed(paths)]
    assert first == again[::-1]


def shard(root, tmp_path, name, threads=1, **options):
    corpus = FolderCorpus(source="folder", path=root, shards=1, **options)
    table = tmp_path / f"{name}.csv"
    ingest_shard(corpus, root, 0, table, 1)
    render_shard(corpus, table, root, tmp_path / name, threads)
    return {row["piece"]: row for row in read_csv(tmp_path / name / "index.csv")}


@pytest.mark.slow
def test_shards_are_the_same_bytes_twice(tmp_path):
    music.make_chorales(tmp_path / "music", 4)
    music.make_mixed(tmp_path / "music", 4)
    for name, threads in (("a", 1), ("b", 2)):
        shard(tmp_path / "music", tmp_path, name, threads)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "b").iterdir())
    assert len(files) == 10
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.slow
def test_the_shard_folder(tmp_path):
    root = tmp_path / "music"
    music.make_mixed(root, 4)
    odd = os.fsdecode(b"caf\xe9 -.mid")
    (root / odd).write_bytes((root / "mid/piece-000.mid").read_bytes())
    (root / "bad.mid").write_text("no music")
    rows = shard(root, tmp_path, "wav", render=Render(rate=16000))
    assert len(rows) == 5
    kinds = {}
    for piece, row in rows.items():
        assert (row["status"], row["reason"], row["file"]) == ("kept", "", f"{piece}.wav")
        info = soundfile.info(str(tmp_path / "wav" / row["file"]))
        assert (info.samplerate, info.channels) == (int(row["rate"]), int(row["channels"]))
        assert info.duration == pytest.approx(float(row["seconds"]), abs=1e-3)
        samples, _ = soundfile.read(str(tmp_path / "wav" / row["file"]))
        assert np.abs(samples).max() == pytest.approx(float(row["peak"]), abs=1e-3)
        assert 20 * np.log10(samples.std()) == pytest.approx(float(row["rms_dbfs"]), abs=0.1)
        kinds[piece.split("-")[0]] = (info.samplerate, info.channels, info.subtype)
    assert kinds == {
        "caf": (16000, 1, "PCM_16"),
        "mid": (16000, 1, "PCM_16"),
        "wav": (44100, 2, "PCM_16"),
        "flac": (44100, 2, "PCM_16"),
        "mp3": (44100, 2, "PCM_16"),
    }
    made = read_json(tmp_path / "wav/render.json")
    assert made["settings"]["rate"] == 16000
    assert made["soundfont"] == "TimGM6mb.sf2"
    assert len(made["soundfont_sha256"]) == 64
    assert made["fluidsynth"][0].isdigit()
    assert str(tmp_path) not in json.dumps(made)


def test_files_that_went_bad_meanwhile(tmp_path):
    root = tmp_path / "music"
    paths = music.make_chorales(root, 3)
    corpus = FolderCorpus(source="folder", path=root, shards=1)
    ingest_shard(corpus, root, 0, tmp_path / "t.csv", 1)
    paths[0].unlink()
    paths[1].write_bytes(b"MThd\0\0\0\6\0\1\0\0\1\xe0")
    render_shard(corpus, tmp_path / "t.csv", root, tmp_path / "wav", 1)
    rows = [(r["status"], r["reason"]) for r in read_csv(tmp_path / "wav/index.csv")]
    assert sorted(rows) == [
        ("kept", ""),
        ("rejected", "silent"),
        ("rejected", "unreadable: No such file or directory"),
    ]
    assert len(list((tmp_path / "wav").glob("*.wav"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mid", "wav"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_full_disk_is_no_reason_to_reject_a_piece(tmp_path, monkeypatch, suffix, threads):
    """It would be lost without a word; the run stops, and nothing is left of the folder."""
    root = tmp_path / "music"
    music.make_chorales(root, 2)
    if suffix == "wav":
        shutil.rmtree(root)
        wave = music.tones(Random(0), 3.0, 8000, 1)
        root.mkdir()
        soundfile.write(root / "a.wav", wave, 8000, "FLOAT")
        soundfile.write(root / "b.wav", wave[::-1], 8000, "PCM_16")
    corpus = FolderCorpus(source="folder", path=root, shards=1)
    ingest_shard(corpus, root, 0, tmp_path / "t.csv", 1)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")  # as write() has it: without a name

    monkeypatch.setattr("soundfile.SoundFile.write", full)
    monkeypatch.setattr("etude.audio.recordings._write_float", full)
    with pytest.raises(OSError, match="No space left"):
        render_shard(corpus, tmp_path / "t.csv", root, tmp_path / "wav", threads)
    assert not [path for path in tmp_path.iterdir() if "wav" in path.name]


def test_a_shard_without_midi_needs_no_soundfont(tmp_path, monkeypatch):
    def missing(path):
        raise UserError("no SoundFont", code="soundfont-missing")

    monkeypatch.setattr(module, "load_soundfont", missing)
    music.recording(tmp_path / "music/a.wav", Random(0), 8000, 1)
    assert len(shard(tmp_path / "music", tmp_path, "wav")) == 1
    assert read_json(tmp_path / "wav/render.json") == {"rendered": False}
    music.make_chorales(tmp_path / "music", 1)
    with refused("soundfont-missing"):
        shard(tmp_path / "music", tmp_path, "more")
    (tmp_path / "nothing").mkdir()
    assert shard(tmp_path / "nothing", tmp_path, "empty") == {}


def test_soundfonts_that_are_none(tmp_path):
    (tmp_path / "x.sf2").write_text("no SoundFont")
    for name in ("gone.sf2", "x.sf2"):
        with refused("unusable-soundfont", where=name):
            load_soundfont(tmp_path / name)


def test_bytes_that_are_no_midi():
    with unusable("corrupt_midi", "text"):
        render_midi(b"no music", PLAIN)
    assert len(render_midi(symusic.Score(480), PLAIN)) == 0
