"""Planted copies: what a copier might do to a stretch of the training music.

Conventions
    wave is float32 [samples], mono, at `rate`. An attack takes an excerpt and gives a wave of its
    length. Those of `RENDERED` play the excerpt's MIDI again, so they need a MIDI corpus. What a
    name says of a transposition is in `SEMITONES`; of two, every second copy has the other.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import symusic

from etude.config import Filter, Render
from etude.metrics.memorisation.excerpts import CorpusPieces, Excerpt, Wave
from etude.midi.render import render_midi

VERSION = 2  # raised when the planted copies change

GAIN = 0.3
NOISE_DB = -30.0  # of the noise, beside the music's level
SPEED = 1.02
OTHER_PROGRAM = 19  # church organ: another voice, where there is no other SoundFont
SPAN_SECONDS = 2.0
RUN_UP_SECONDS = 4.0
HOST_SECONDS = 8.0

SEMITONES = {
    "semitone_up": (1,),
    "semitone_down": (-1,),
    "tone_up": (2,),
    "tone_down": (-2,),
    "third_up": (3, 4),
    "third_down": (-3, -4),
    "fourth_up": (5, 6),
    "fourth_down": (-5, -6),
}
TEMPI = {"faster_10pc": 1.1, "slower_10pc": 0.9}

SIGNALS = ("exact", "gain", "offset", "noise_30db", "reencoded", "faster_2pc", "reversed")
RENDERED = (*SEMITONES, *TEMPI, "other_voice")
# Of a span in a longer clip of other music.
EMBEDDED = ("exact", "reencoded", "semitone_up", "semitone_down", "other_voice")


@dataclass
class CopyMaker:
    """Makes planted copies of excerpts of one corpus.

    Args:
        music: the corpus.
        rate: samples per second of what it makes.
        midi: {piece: MIDI file}; empty for a corpus of recordings.
        render: how the corpus was rendered.
        rules: what of the MIDI is played.
        soundfont: another SoundFont; none: another program of the same one.
        seed: of noise and places.
    """

    music: CorpusPieces
    rate: int
    midi: dict[str, Path]
    render: Render
    rules: Filter
    soundfont: Path | None
    seed: int

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def attacks(self) -> list[str]:
        """The attacks that this corpus allows."""
        return [*SIGNALS, *(RENDERED if self.midi else ())]

    def possible(self, attack: str, excerpts: list[Excerpt]) -> list[Excerpt]:
        """Those that can be attacked so: what was recorded cannot be played with another voice."""
        return [e for e in excerpts if attack not in RENDERED or e.piece in self.midi]

    def make(self, attack: str, excerpt: Excerpt, hop: float, number: int = 0) -> Wave:
        """A planted copy; `exact` and `gain` begin where a segment of the cut does.

        Args:
            number: of the copy: which of an attack's transpositions it has.
        """
        if attack in ("exact", "gain"):
            excerpt = Excerpt(excerpt.piece, excerpt.start_s // hop * hop, excerpt.seconds)
        if attack in RENDERED:
            return self._play(attack, excerpt, number)
        longer = excerpt.seconds * (SPEED if attack == "faster_2pc" else 1)
        wave = self.music.read(Excerpt(excerpt.piece, excerpt.start_s, longer), self.rate)
        change: Callable[[Wave], Wave] = getattr(self, f"_{attack}", lambda same: same)
        return self._fit(change(wave), excerpt.seconds)

    def embed(self, span: Wave, host: Wave) -> Wave:
        """The span at a random offset inside the host, which goes silent there."""
        at = int(self.random.integers(len(host) - len(span) + 1))
        return np.concatenate([host[:at], span, host[at + len(span) :]])

    def _gain(self, wave: Wave) -> Wave:
        return wave * np.float32(GAIN)

    def _noise_30db(self, wave: Wave) -> Wave:
        level = np.sqrt(np.mean(np.square(wave, dtype=float))) * 10 ** (NOISE_DB / 20)
        return wave + self.random.normal(0, level, len(wave)).astype(np.float32)

    def _reencoded(self, wave: Wave) -> Wave:
        file = io.BytesIO()
        soundfile.write(file, wave, self.rate, format="OGG", subtype="VORBIS")
        file.seek(0)
        decoded: Wave = soundfile.read(file, dtype="float32")[0]
        return decoded

    def _faster_2pc(self, wave: Wave) -> Wave:
        """As a tape that runs faster: pitch goes up by a third of a semitone, too."""
        fast: Wave = soxr.resample(wave, self.rate * SPEED, self.rate)
        return fast

    def _reversed(self, wave: Wave) -> Wave:
        return wave[::-1]

    def _play(self, attack: str, excerpt: Excerpt, number: int) -> Wave:
        """The excerpt's notes once more, those before it for as long as they may sound."""
        score: Any = symusic.Score.from_midi(self.midi[excerpt.piece].read_bytes())
        tempo = TEMPI.get(attack, 1.0)
        before = min(excerpt.start_s, RUN_UP_SECONDS)
        render, rules = self.render, self.rules
        if attack == "other_voice" and self.soundfont:
            render = render.model_copy(update={"soundfont": self.soundfont})
        elif attack == "other_voice":
            rules = rules.model_copy(update={"map_programs_to": OTHER_PROGRAM})
        elif attack in SEMITONES:
            steps = SEMITONES[attack]
            score = score.shift_pitch(steps[number % len(steps)])
        begin = excerpt.start_s - before
        part = score.to("second").clip(begin, excerpt.start_s + excerpt.seconds * tempo)
        part = _at_tempo(part.shift_time(-begin), tempo)
        wave = render_midi(part.to("tick").dumps_midi(), render, rules)
        resampled: Wave = soxr.resample(wave, render.rate, self.rate)
        return self._fit(resampled[round(before / tempo * self.rate) :], excerpt.seconds)

    def _fit(self, wave: Wave, seconds: float) -> Wave:
        length = round(seconds * self.rate)
        return np.pad(wave[:length], (0, max(0, length - len(wave)))).astype(np.float32)


def _at_tempo(score: Any, tempo: float) -> Any:
    """A score in seconds whose notes, and pedals, come `tempo` times as fast."""
    if tempo == 1:
        return score
    for track in score.tracks:
        notes = track.notes.numpy()
        for column in ("time", "duration"):
            notes[column] = notes[column] / tempo
        track.notes = symusic.Note.from_numpy(**notes, ttype="second")
        pedals = track.pedals.numpy()
        for column in ("time", "duration"):
            pedals[column] = pedals[column] / tempo
        track.pedals = symusic.Pedal.from_numpy(**pedals, ttype="second")
    return score
