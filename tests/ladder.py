"""A ladder of corruptions: what is done to real music, in doses, to see what a metric hears.

A piece is read as notes with voices; an excerpt of it is damaged as notes and rendered, or
rendered and damaged as sound. A *damage* must be heard by some metric, the more of it the more; a
*control* changes nothing that makes music worse, and must neither be punished nor rewarded; what
is *other* (another instrument, another tuning) is told and not judged.

Settings of the metrics were chosen on the damages with `half` "fit" alone; "held out" ones were
measured once they stood. tests/unit/test_ladder.py pins a small form, benchmarks/bench_ladder.py
measures the whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import symusic
from scipy import signal
from symusic.core import ScoreTick

from etude.config import Render
from etude.generation import dumb_sound
from etude.generation.dumb_notes import random_pitches, scale
from etude.midi.notes import read_midi
from etude.midi.render import render_midi
from etude.midi.tempo import seconds_at

RATE = 24000
RUN_UP_SECONDS = 2.0  # played before an excerpt, so that it does not begin in silence
DIATONIC = np.array([0, 2, 4, 5, 7, 9, 11])
TICKS_A_SECOND = 960

Array = np.ndarray
Random = np.random.Generator


@dataclass(frozen=True)
class Notes:
    """Notes of a piece: onset and end in seconds, pitch, velocity, voice [n]; program, tuning.

    `beat` is the length of a quarter in seconds, `upbeat` that of a short first bar.
    """

    onset: Array
    end: Array
    pitch: Array
    velocity: Array
    voice: Array
    beat: float = 0.5
    program: int = 0
    cents: float = 0.0
    upbeat: float = 0.0

    def at(self, index: Array) -> Notes:
        names = ("onset", "end", "pitch", "velocity", "voice")
        return replace(self, **{name: getattr(self, name)[index] for name in names})


def read(path: Path) -> Notes:
    """A MIDI file, drums left out; its tracks are the voices, sorted from the highest."""
    score: Any = symusic.Score.from_midi(path.read_bytes())
    tempos, upbeat = (table := read_midi(path)).tempos, table.upbeat
    tracks = [t.notes.numpy() for t in score.tracks if len(t.notes) and not t.is_drum]
    tracks.sort(key=lambda t: -t["pitch"].mean())
    onset, duration, pitch, velocity = (
        np.concatenate([t[k] for t in tracks]).astype(np.int64)
        for k in ("time", "duration", "pitch", "velocity")
    )
    voice = np.repeat(np.arange(len(tracks)), [len(t["time"]) for t in tracks])
    times = (onset, onset + duration, np.array([upbeat]))
    starts, ends, first = (seconds_at(t, tempos, score.ticks_per_quarter) for t in times)
    beat = float(tempos[0, 1]) / 1e6 if len(tempos) else 0.5
    return Notes(starts, ends, pitch, velocity, voice, beat, upbeat=float(first[0]))


def play(notes: Notes, start: float, seconds: float) -> Array:
    """An excerpt as sound, what sounded before it included: float32 [samples]."""
    shift = start - RUN_UP_SECONDS
    there = (notes.end > shift) & (notes.onset < start + seconds)
    part = notes.at(there)
    onset = np.round((part.onset - shift).clip(0) * TICKS_A_SECOND).astype(np.int32)
    end = np.round((part.end - shift) * TICKS_A_SECOND).astype(np.int32)
    score = ScoreTick(TICKS_A_SECOND // 2)
    for voice in np.unique(part.voice):
        of = part.voice == voice
        track: Any = symusic.Track(program=part.program)
        track.notes = symusic.Note.from_numpy(
            time=onset[of],
            duration=np.maximum(end - onset, 1)[of],
            pitch=part.pitch[of].clip(0, 127).astype(np.int8),
            velocity=part.velocity[of].astype(np.int8),
            ttype="tick",
        )
        if part.cents:
            bend: Any = symusic.PitchBend(0, round(part.cents / 200 * 8192), "tick")
            track.pitch_bends.append(bend)
        score.tracks.append(track)
    wave = render_midi(score, Render(loudness=None)) if len(part.onset) else np.zeros(0, np.float32)
    first, count = round(RUN_UP_SECONDS * RATE), round(seconds * RATE)
    wave = wave[first : first + count]
    return np.pad(wave, (0, count - len(wave)))


# ------------------------------------------------------------------------------------------ notes


def wrong(notes: Notes, share: float, random: Random) -> Notes:
    """A share of the notes moved by 1 to 6 semitones, up or down."""
    chosen = random.random(len(notes.pitch)) < share
    move = random.integers(1, 7, len(chosen)) * random.choice([-1, 1], len(chosen))
    return replace(notes, pitch=notes.pitch + chosen * move)


def wrong_diatonic(notes: Notes, share: float, random: Random) -> Notes:
    """A share of the notes moved by 1 to 3 steps of the scale: each fits the key, not the chord."""
    keys = scale(notes.pitch, 12, 120)
    near = np.abs(keys[None] - notes.pitch[:, None]).argmin(1)
    move = random.integers(1, 4, len(near)) * random.choice([-1, 1], len(near))
    moved = keys[(near + move).clip(0, len(keys) - 1)]
    chosen = random.random(len(near)) < share
    return replace(notes, pitch=np.where(chosen, moved, notes.pitch))


def permuted(notes: Notes, share: float, random: Random) -> Notes:
    """The pitches of a share of each voice's notes in another order."""
    pitch = notes.pitch.copy()
    for voice in np.unique(notes.voice):
        of = np.flatnonzero((notes.voice == voice) & (random.random(len(pitch)) < share))
        pitch[of] = pitch[random.permutation(of)]
    return replace(notes, pitch=pitch)


def voice_shifted(notes: Notes, semitones: float, random: Random) -> Notes:
    """The second voice moved."""
    return replace(notes, pitch=notes.pitch + int(semitones) * (notes.voice == 1))


def voice_delayed(notes: Notes, beats: float, random: Random) -> Notes:
    """The second voice late."""
    late = beats * notes.beat * (notes.voice == 1)
    return replace(notes, onset=notes.onset + late, end=notes.end + late)


def voices_dropped(notes: Notes, count: float, random: Random) -> Notes:
    """Without the second voice, then the third."""
    return notes.at((notes.voice < 1) | (notes.voice > int(count)))


def random_in_key(notes: Notes, _: float, random: Random) -> Notes:
    """Every pitch drawn anew from the key, as the gate's rival has it."""
    order = np.argsort(notes.onset, kind="stable")
    keys = scale(notes.pitch, int(notes.pitch.min()), int(notes.pitch.max()))
    pitch = notes.pitch.copy()
    pitch[order] = random_pitches(notes.onset[order], notes.end[order], keys, random)
    return replace(notes, pitch=pitch)


def random_triads(notes: Notes, _: float, random: Random) -> Notes:
    """Triads on random roots, major and minor, four voices of quarters."""

    def chords(n: int) -> Array:
        third = random.integers(3, 5, n)
        tones = np.stack([np.zeros(n, int), third, np.full(n, 7), np.full(n, 12)], 1)
        return random.integers(48, 61, (n, 1)) + tones

    return _voices(notes, chords)


def one_chord(notes: Notes, _: float, random: Random) -> Notes:
    """C major in every piece, on and on."""
    return _voices(notes, lambda n: np.tile([48, 55, 64, 72], (n, 1)))


def _voices(notes: Notes, pitches: Callable[[int], Array]) -> Notes:
    """Quarters [n, voices] as long as a piece."""
    beats = np.arange(0, float(notes.end.max()), notes.beat)
    found = pitches(len(beats))
    voices = found.shape[1]
    onset, voice = np.repeat(beats, voices), np.tile(np.arange(voices), len(beats))
    velocity = np.full(len(onset), int(np.median(notes.velocity)))
    end, beat, program = onset + notes.beat, notes.beat, notes.program
    return Notes(onset, end, found.ravel(), velocity, voice, beat, program)


def bars_shuffled(notes: Notes, beats: float, random: Random) -> Notes:
    """Bars of so many quarters in another order, notes cut where a bar ends; an upbeat stays."""
    length = beats * notes.beat
    bar = np.floor((notes.onset - notes.upbeat) / length + 1e-6).astype(int)
    order = random.permutation(int(bar.max()) + 1)
    move = np.where(bar < 0, 0, order[bar] - bar) * length
    end = np.minimum(notes.end, (bar + 1) * length + notes.upbeat) + move
    return replace(notes, onset=notes.onset + move, end=end)


def jitter(notes: Notes, seconds: float, random: Random) -> Notes:
    """Each note early or late by a normal deviate."""
    moved = notes.onset + seconds * random.standard_normal(len(notes.onset))
    return replace(notes, onset=moved.clip(0), end=np.maximum(notes.end, moved + 0.02))


def tempo(notes: Notes, factor: float, random: Random) -> Notes:
    """Faster above 1."""
    onset, end = notes.onset / factor, notes.end / factor
    beat, upbeat = notes.beat / factor, notes.upbeat / factor
    return replace(notes, onset=onset, end=end, beat=beat, upbeat=upbeat)


def transposed(notes: Notes, semitones: float, random: Random) -> Notes:
    """By so many semitones; 0: by -5 to 6, another in each piece."""
    return replace(notes, pitch=notes.pitch + int(semitones or random.integers(-5, 7)))


def program(notes: Notes, number: float, random: Random) -> Notes:
    return replace(notes, program=int(number))


def detuned(notes: Notes, cents: float, random: Random) -> Notes:
    return replace(notes, cents=cents)


# ------------------------------------------------------------------------------------------ sound


def _rms(wave: Array) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) or 1.0


def _added(wave: Array, other: Array, decibels: float) -> Array:
    """Another sound, so many dB beside the music's level."""
    return wave + other * (_rms(wave) / _rms(other) * 10 ** (decibels / 20))


def whistle(wave: Array, decibels: float, random: Random) -> Array:
    """A sine of 7 kHz."""
    return _added(wave, np.sin(2 * np.pi * 7000 / RATE * np.arange(len(wave))), decibels)


def hiss(wave: Array, decibels: float, random: Random) -> Array:
    """Noise above 6 kHz."""
    high_pass = signal.butter(6, 6000, "highpass", fs=RATE, output="sos")
    return _added(wave, signal.sosfilt(high_pass, random.standard_normal(len(wave))), decibels)


def white(wave: Array, decibels: float, random: Random) -> Array:
    return _added(wave, random.standard_normal(len(wave)), decibels)


def clipped(wave: Array, crest: float, random: Random) -> Array:
    """At so many times the RMS."""
    return wave.clip(-crest * _rms(wave), crest * _rms(wave))


def low_pass(wave: Array, hertz: float, random: Random) -> Array:
    return signal.sosfiltfilt(signal.butter(4, hertz, fs=RATE, output="sos"), wave)


def dropouts(wave: Array, count: float, random: Random) -> Array:
    """So many gaps of 100 ms every 2 s."""
    wave, gap = wave.copy(), RATE // 10
    for start in range(0, len(wave) - 2 * RATE + 1, 2 * RATE):
        for at in start + random.integers(0, 2 * RATE - gap, int(count)):
            wave[at : at + gap] = 0
    return wave


def gain(wave: Array, decibels: float, random: Random) -> Array:
    return wave * 10 ** (decibels / 20)


def backwards(wave: Array, _: float, random: Random) -> Array:
    return wave[::-1]


def blocks(wave: Array, seconds: float, random: Random) -> Array:
    """Blocks of the excerpt in another order."""
    size = round(seconds * RATE)
    parts = [wave[i : i + size] for i in range(0, len(wave), size)]
    return _joined([parts[i] for i in random.permutation(len(parts))])


def _joined(parts: list[Array], fade: int = RATE // 100) -> Array:
    """Parts one after the other, each faded in and out over 10 ms."""
    ramp = np.linspace(0, 1, fade)
    shaped = [p.astype(np.float64) for p in parts]
    for p in shaped:
        p[:fade] *= ramp
        p[-fade:] *= ramp[::-1]
    return np.concatenate(shaped)


def grains(waves: list[Array], seconds: float, random: Random) -> Array:
    """Stretches of many excerpts, one after the other."""

    def cut(samples: int) -> Array:
        wave = waves[random.integers(len(waves))]
        at = random.integers(0, len(wave) - samples + 1)
        return wave[at : at + samples]

    return dumb_sound.grains(cut, len(waves[0]), RATE, seconds)


# ----------------------------------------------------------------------------------------- ladder


@dataclass(frozen=True)
class Rungs:
    """One corruption in its doses, the mildest first.

    Attributes: name; change; doses; on ("notes", "sound", or "pool": other excerpts too); role
    ("damage", "control", "other"); half of the damages ("fit", "held out").
    """

    name: str
    change: Callable[..., Any]
    doses: tuple[float, ...] = (1.0,)
    on: str = "notes"
    role: str = "damage"
    half: str = "held out"

    def label(self, dose: float) -> str:
        return self.name if len(self.doses) == 1 else f"{self.name} {dose:g}"


LADDER = (
    Rungs("whistle dB", whistle, (-40, -30, -20, -10, 0), "sound", half="fit"),
    Rungs("hiss dB", hiss, (-40, -30, -20, -10, 0), "sound"),
    Rungs("white noise dB", white, (-40, -30, -20, -10), "sound"),
    Rungs("clipped at rms x", clipped, (3, 2, 1), "sound", half="fit"),
    Rungs("low-pass Hz", low_pass, (4000, 2000, 1000), "sound"),
    Rungs("dropouts", dropouts, (1, 2, 4), "sound", half="fit"),
    Rungs("wrong notes", wrong, (0.05, 0.1, 0.2, 0.4, 1), half="fit"),
    Rungs("wrong in key", wrong_diatonic, (0.1, 0.2, 0.4, 1)),
    Rungs("permuted", permuted, (0.25, 0.5, 1), half="fit"),
    Rungs("voice shifted by", voice_shifted, (1,)),
    Rungs("voice delayed beats", voice_delayed, (0.5, 1)),
    Rungs("voices dropped", voices_dropped, (1, 2)),
    Rungs("random notes in key", random_in_key),
    Rungs("random triads", random_triads),
    Rungs("one chord", one_chord, half="fit"),
    Rungs("bars shuffled", bars_shuffled, (4,), half="fit"),
    Rungs("backwards", backwards, (1,), "sound", half="fit"),
    Rungs("grains s", grains, (1, 0.5, 0.25), "pool"),
    Rungs("blocks s", blocks, (1, 0.5, 0.25), "sound", half="fit"),
    Rungs("jitter s", jitter, (0.01, 0.02, 0.04)),
    Rungs("transposed", transposed, (0,), role="control"),
    Rungs("transposed by", transposed, (2,), role="control"),
    Rungs("bright piano", program, (1,), role="control"),
    Rungs("electric grand", program, (2,), role="control"),
    Rungs("tempo", tempo, (0.9, 1.1), role="control"),
    Rungs("level dB", gain, (-6, 3), "sound", role="control"),
    Rungs("electric piano", program, (4,), role="other"),
    Rungs("harpsichord", program, (6,), role="other"),
    Rungs("organ", program, (19,), role="other"),
    Rungs("strings", program, (48,), role="other"),
    Rungs("detuned cents", detuned, (30,), role="other"),
)


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a piece, at least a second in."""

    piece: str
    notes: Notes
    start: float
    seconds: float


def excerpts(pieces: dict[str, Notes], each: int, seconds: float, seed: int) -> list[Excerpt]:
    """Stretches at random places of each piece that is long enough."""
    found = []
    for number, (name, notes) in enumerate(pieces.items()):
        random = np.random.default_rng([seed, number])
        # Faster by a tenth the piece must still be longer than what is cut.
        last = float(notes.end.max()) / 1.1 - seconds - 1
        if last > 1:
            found += [Excerpt(name, notes, t, seconds) for t in random.uniform(1, last, each)]
    return found


def made(rungs: Rungs, dose: float, chosen: list[Excerpt], clean: list[Array]) -> list[Array]:
    """The excerpts with one dose of a corruption; `clean` are their waves as they are."""
    waves = []
    for number, (excerpt, wave) in enumerate(zip(chosen, clean, strict=True)):
        random = np.random.default_rng([number, 7])
        if rungs.on == "pool":
            waves.append(rungs.change(clean, dose, random))
        elif rungs.on == "sound":
            waves.append(rungs.change(np.asarray(wave, np.float64), dose, random))
        else:
            start = excerpt.start / dose if rungs.change is tempo else excerpt.start
            notes = rungs.change(excerpt.notes, dose, random)
            waves.append(play(notes, start, excerpt.seconds))
    return waves
