"""The dumb rivals: each is what it says, made from the training split, the same every time."""

from __future__ import annotations

from dataclasses import replace

import music
import numpy as np
import pytest
import torch
from scipy import signal

from etude.audio.activations import PitchActivations
from etude.audio.files import write_wav
from etude.config import CorpusBase
from etude.corpus.scan import piece_id
from etude.errors import UserError
from etude.generation import dumb, dumb_notes, dumb_sound
from etude.generation.dumb import CorpusFiles, Dumb
from etude.midi.notes import DRUMS, read_midi
from etude.midi.render import render_midi
from etude.midi.writing import plain_table, to_score
from etude.storage import write_csv
from etude.systems.base import Codec, Span

RATE = 24000
WHITE = frozenset((0, 2, 4, 5, 7, 9, 11))


def voices(table):
    """How many notes sound, on average over the time from the first to the last."""
    return float((table.end_s - table.onset_s).sum() / (table.end_s.max() - table.onset_s.min()))


def in_some_key(pitch):
    return any({(p - root) % 12 for p in pitch} <= WHITE for root in range(12))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six chorales, four of them for training."""
    folder = tmp_path_factory.mktemp("corpus")
    paths = music.make_chorales(folder / "music", 6)
    names = [piece_id(path.name) for path in paths]
    sides = ["train"] * 4 + ["valid", "test"]
    write_csv(
        folder / "pieces.csv",
        ["piece", "split"],
        [{"piece": n, "split": s} for n, s in zip(names, sides, strict=True)],
    )
    write_csv(
        folder / "ingest.csv",
        ["piece", "path", "kind"],
        [{"piece": n, "path": p.name, "kind": "midi"} for n, p in zip(names, paths, strict=True)],
    )
    wave = render_midi(paths[0], CorpusBase().render)[: 12 * RATE]
    write_wav(folder / "wav.wav", wave, RATE)
    return folder


@pytest.fixture
def made(corpus):
    def make(notes=True, midi=True, **changes):
        spans = [Span("a", start, corpus / "wav.wav") for start in (0.0, 2.0, 4.0, 6.0)]
        ingest = [corpus / "ingest.csv"] if midi else []
        settings = {
            "spans": spans, "missing": "", "corpus": CorpusBase(), "rate": RATE, "seconds": 2.0,
            "count": 3, "seed": 5, "notes": notes,
            "files": CorpusFiles(corpus / "pieces.csv", ingest, corpus / "music"),
        }  # fmt: skip
        return Dumb(**settings | changes)

    return make


def of_sets(one):
    return {name: (found, list(found.clips)) for name, found in one.sets()}


# ------------------------------------------------------------------------------------- notes


def test_random_notes_have_key_rhythm_and_number_of_a_training_piece(made, corpus):
    train = [read_midi(path) for path in sorted((corpus / "music").glob("*.mid"))[:4]]
    found, clips = of_sets(made())["random_notes"]
    assert found.midi
    for clip in clips:
        assert in_some_key(clip.notes.pitch)
        low, high = clip.notes.pitch.min(), clip.notes.pitch.max()
        assert any(t.pitch.min() <= low and high <= t.pitch.max() for t in train)
        # The onsets, durations and velocities of a stretch of one piece, from a bar line on.
        columns = [clip.notes.onset, clip.notes.velocity]
        mine = set(zip(*(c.tolist() for c in columns), strict=True))
        bars = range(0, max(t.onset.max() for t in train), 4 * music.TICKS)
        assert any(
            mine
            <= {(o - bar, v) for o, v in zip(t.onset.tolist(), t.velocity.tolist(), strict=True)}
            | {(0, v) for v in t.velocity.tolist()}  # what sounds on over the bar line
            for t in train
            for bar in bars
        )
        assert voices(clip.notes) == pytest.approx(4, abs=0.8)
        start, seconds = (float(clip.row[k]) for k in ("prime_seconds", "heard_seconds"))
        assert start >= 1 - 1e-3
        assert seconds == 2.0
        assert len(clip.wave) == round((start + 2) * RATE)


def test_no_random_pitch_is_drawn_while_it_sounds():
    random = np.random.default_rng(0)
    onset = np.sort(random.integers(0, 200, 300))
    end = onset + random.integers(1, 9, 300)
    keys = np.arange(40, 90)
    pitch = dumb_notes.random_pitches(onset, end, keys, random)
    for i in range(300):
        sounding = pitch[:i][(end[:i] > onset[i])]
        assert pitch[i] not in sounding
    # More notes at a time than the key has: some must double.
    assert len(dumb_notes.random_pitches(np.zeros(5), np.ones(5), keys[:3], random)) == 5


@pytest.mark.slow
def test_random_pitches_are_uniform():
    many = np.arange(70000)
    pitch = dumb_notes.random_pitches(many, many + 1, np.arange(7), np.random.default_rng(1))
    counts = np.bincount(pitch, minlength=7)
    assert np.square(counts - 10000).sum() / 10000 < 22.5  # chi-square, 6 degrees, p = 0.001


@pytest.mark.parametrize("root", range(12))
def test_a_key_is_the_scale_of_most_notes(root):
    random = np.random.default_rng(root)
    pitch = random.choice([48, 50, 52, 53, 55, 57, 59, 60], 200) + root
    pitch[:20] += 1  # accidentals
    table = plain_table(np.arange(200), np.ones(200), pitch)
    key = dumb_notes.key_of(table)
    assert {(p - root) % 12 for p in key.tolist()} == WHITE
    assert key.min() >= pitch.min()
    assert key.max() <= pitch.max()


def test_a_key_of_one_note_has_an_octave_and_drums_have_none():
    one = plain_table(np.array([0]), np.array([9]), np.array([60]))
    assert len(dumb_notes.key_of(one)) >= 7
    drums = replace(one, program=np.full(1, DRUMS, np.int16))
    assert not len(dumb_notes.key_of(drums))
    assert dumb_notes.random_notes(drums, dumb_notes.key_of(one), np.random.default_rng(0)) == drums


def test_a_stretch_begins_at_a_bar_and_sounds_as_the_piece_does():
    """Tempo changes, notes over the bar line: times of what is heard are the piece's own."""
    tempos = np.array([[0, 500_000], [1000, 400_000], [5000, 700_000]])
    table = plain_table(np.arange(0, 12000, 100), np.full(120, 450), 40 + np.arange(120) % 40)
    table = replace(table, tempos=tempos)
    for start in (0.3, 1.5, 4.2, 6.0):
        part, prime = dumb_notes.stretch(table, start, 2.0)
        heard = (table.onset_s > start) & (table.onset_s < start + 2)
        mine = part.onset_s > prime
        np.testing.assert_allclose(
            part.onset_s[mine] - prime, table.onset_s[heard] - start, atol=1e-9
        )
        np.testing.assert_allclose(part.end_s[mine] - prime, table.end_s[heard] - start, atol=1e-9)
        assert part.pitch[mine].tolist() == table.pitch[heard].tolist()
        assert part.onset.min() >= 0
        assert prime >= min(start, dumb_notes.RUN_UP_SECONDS) - 1e-9


def test_the_commonest_chord_and_its_beats():
    pitch = np.array([60, 64, 67, 60, 64, 67, 59, 62, 67, 50])
    onset = np.array([0, 0, 0, 2, 2, 2, 1, 1, 1, 3]) * 480
    table = plain_table(onset, np.full(10, 480), pitch)
    assert dumb_notes.chords(table) == {(60, 64, 67): 2, (59, 62, 67): 1, (50,): 1}
    assert dumb_notes.commonest_chord([table]) == (60, 64, 67)
    single = plain_table(np.arange(9) * 480, np.full(9, 480), np.full(9, 50))
    assert dumb_notes.commonest_chord([single, table]) == (60, 64, 67), "a chord before a note"
    assert dumb_notes.commonest_chord([single]) == (50,)
    assert dumb_notes.commonest_chord([]) == ()


def test_one_chord_is_all_there_is(made):
    _, clips = of_sets(made())["one_chord"]
    chords = {tuple(np.unique(clip.notes.pitch).tolist()) for clip in clips}
    assert len(chords) == 1
    (chord,) = chords
    assert len(chord) >= 3
    for clip in clips:
        beats = np.unique(clip.notes.onset) / clip.notes.ticks_per_quarter
        assert beats.tolist() == list(range(len(beats)))
        assert len(clip.notes) == len(chord) * len(beats)
        assert clip.notes.seconds >= 3.0
    assert {c.notes.tempos[0, 1] for c in clips} - {500_000}, "in the tempo of the pieces"


# ------------------------------------------------------------------------------------- sound


def test_spectrum_noise_has_spectrum_and_level_of_the_training_split():
    low = signal.butter(2, 2000, fs=RATE, output="sos")
    random = np.random.default_rng(0)
    waves = [0.1 * signal.sosfilt(low, random.standard_normal(RATE)) for _ in range(20)]
    density = dumb_sound.mean_spectrum(waves, RATE)
    assert density.sum() * RATE / dumb_sound.WINDOW == pytest.approx(
        np.mean(np.square(waves)), rel=0.02
    )
    noises = [dumb_sound.spectrum_noise(density, RATE, 30001, random) for _ in range(20)]
    assert [len(noise) for noise in noises] == [30001] * 20
    again = dumb_sound.mean_spectrum(noises, RATE)
    bands = [slice(i, i + 64) for i in range(0, 1024, 64)]
    for band in bands:
        assert again[band].sum() == pytest.approx(density[band].sum(), rel=0.08)
    with pytest.raises(ValueError, match="at least one"):
        dumb_sound.mean_spectrum([], RATE)
    assert len(dumb_sound.mean_spectrum([np.ones(10)], RATE)) == len(density)


def test_grains_are_the_training_audio_in_pieces_at_its_level():
    asked = []

    def cut(samples):
        asked.append(samples)
        return np.random.default_rng(len(asked)).standard_normal(samples)

    wave = dumb_sound.grains(cut, 2 * RATE + 77, RATE)
    fade, size = RATE // 100, RATE // 2
    assert len(wave) == 2 * RATE + 77
    assert asked == [size + fade] * 5
    inside = np.random.default_rng(3).standard_normal(size + fade)[fade:size]
    np.testing.assert_array_equal(wave[2 * size + fade : 3 * size], inside)
    crossings = np.concatenate([wave[k * size : k * size + fade] for k in (1, 2, 3, 4)])
    assert crossings.std() == pytest.approx(1, abs=0.1), "unlike sounds keep their power"


@pytest.mark.slow
def test_grains_come_from_the_stretches(made, corpus):
    wave = next(iter(of_sets(made())["grains"][1])).wave
    assert len(wave) == 2 * RATE
    from etude.audio.files import read_audio

    whole = read_audio(corpus / "wav.wav", RATE)
    middle = wave[RATE // 4 : RATE // 4 + 100]  # within the first grain
    windows = np.lib.stride_tricks.sliding_window_view(whole, 100)
    assert np.abs(windows - middle).max(1).min() < 1e-4


# -------------------------------------------------------------------------------------- sets


def test_the_same_seed_gives_the_same_and_every_clip_is_another(made):
    first, again, other = (of_sets(made(seed=s)) for s in (5, 5, 6))
    assert list(first) == ["random_notes", "one_chord", "spectrum_noise", "grains"]
    for name, (_, clips) in first.items():
        waves = [clip.wave for clip in clips]
        assert all(wave.dtype == np.float32 for wave in waves)
        assert [len(again[name][1][i].wave) for i in range(3)] == [len(w) for w in waves]
        assert all((again[name][1][i].wave == w).all() for i, w in enumerate(waves))
        heard = [w[-2 * RATE :] for w in waves]
        assert not np.array_equal(heard[0], heard[1]), name
        if name != "one_chord":  # of four pieces another seed may take the same tempo
            assert not np.array_equal(other[name][1][0].wave[-2 * RATE :], heard[0])


def test_a_clip_does_not_depend_on_how_many_there_are(made):
    few, many = (of_sets(made(count=n)) for n in (1, 4))
    for name in few:
        np.testing.assert_array_equal(few[name][1][0].wave, many[name][1][0].wave)


def test_a_system_of_sound_gets_what_is_heard_through_its_codec(made):
    codec = Codec(16000, lambda wave: np.round(wave[: len(wave) // 320 * 320], 1))
    sets = of_sets(made(notes=False, codec=codec))
    for name in ("random_notes", "one_chord", "spectrum_noise"):
        found, clips = sets[name]
        assert (found.rate, found.midi) == (16000, False)
        for clip in clips:
            assert clip.notes is None
            assert not clip.row
            assert len(clip.wave) == 32000
            assert np.array_equal(clip.wave, np.round(clip.wave, 1))
    assert sets["grains"][0].rate == RATE, "a row, no rival"


def test_of_recordings_the_notes_are_a_rough_transcription(made):
    sets = of_sets(made(notes=False, midi=False))
    for name in ("random_notes", "one_chord"):
        found, clips = sets[name]
        assert not found.note
        assert [len(clip.wave) for clip in clips] == [2 * RATE] * 3
        assert min(np.abs(clip.wave).max() for clip in clips) > 0.01


def test_a_rough_transcription_has_key_and_number_of_voices(corpus):
    table = read_midi(min((corpus / "music").glob("*.mid")))
    wave = render_midi(to_score(table), CorpusBase().render)[: 20 * RATE]
    found = dumb_notes.sketch(wave, PitchActivations(RATE))
    roots = dumb_notes.scale(found.pitch, 0, 11)
    assert set(roots.tolist()) == set(dumb_notes.scale(table.pitch, 0, 11).tolist()) == WHITE
    assert 2.5 < voices(found) < 5.5
    assert abs(np.median(found.pitch) - np.median(table.pitch)) <= 4


def test_without_a_synthesiser_recordings_have_no_random_notes(made, monkeypatch):
    def missing(path):
        raise UserError("libfluidsynth is not there", code="libfluidsynth-missing")

    monkeypatch.setattr(dumb, "load_soundfont", missing)
    sets = of_sets(made(midi=False))
    assert sets["random_notes"][0].note == "notes cannot be played here: libfluidsynth is not there"
    assert not sets["one_chord"][1]
    assert len(sets["spectrum_noise"][1]) == 3


def test_a_corpus_without_any_of_it_says_so(made):
    """No stretch of audio, no piece as long as a clip: sets without clips, with a reason."""
    sets = of_sets(made(spans=[], missing="no train split", midi=False))
    assert {name: found.note for name, (found, _) in sets.items()} == {
        "random_notes": "no piece of the training split has notes for as long as a clip",
        "one_chord": "no piece of the training split has notes for as long as a clip",
        "spectrum_noise": "no train split",
        "grains": "no train split",
    }
    assert not any(clips for _, clips in sets.values())
    assert of_sets(made(seconds=900.0, spans=[], missing="x"))["one_chord"][0].note


@pytest.mark.slow
def test_pieces_barely_longer_than_a_clip(made, corpus):
    longest = max(read_midi(p).seconds for p in (corpus / "music").glob("*.mid"))
    found, clips = of_sets(made(seconds=longest - 0.05, count=2))["random_notes"]
    assert not found.note
    assert all(float(clip.row["heard_seconds"]) > 1 for clip in clips)


def test_the_codec_of_a_system_of_audio_tokens_is_its_acoustic_tokenizer(tmp_path):
    from tiny_experiments import make_sound

    from etude.systems import open_system
    from etude.systems.base import Parts
    from etude.tokenizers.registry import load_tokenizer

    make_sound(tmp_path)
    folder = tmp_path / "results/tokenizers/mine/magnitude"
    tokenizer = load_tokenizer(folder)
    wave = np.random.default_rng(0).normal(0, 0.1, 24000).astype(np.float32)
    codec = open_system("audiolm").codec(Parts(tokenizers={"acoustic": folder}))
    assert codec.rate == tokenizer.sample_rate
    expected = tokenizer.decode(tokenizer.encode(torch.from_numpy(wave)[None]))[0]
    np.testing.assert_array_equal(codec.through(wave), expected.numpy())
    for system in ("external", "symbolic_lm"):
        assert open_system(system).codec(Parts()) is None
