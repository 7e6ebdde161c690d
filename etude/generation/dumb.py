"""What a model must be better than to be any good: dumb clips, made from the training split.

random_notes    random notes in a training piece's key, rhythm and number: see `dumb_notes`
one_chord       the training split's commonest chord, on and on
spectrum_noise  noise with the training split's mean spectrum: see `dumb_sound`
grains          half seconds of the training split, one after the other. No rival: what a metric
                that hears no form cannot tell from music

Notes are played as the corpus is (its SoundFont, programs and loudness). Where the corpus is audio
alone, keys, chords, rhythm and number of notes come from a rough transcription of training audio.
What a system could never play, since all its clips go through a codec, is no measure of it: rivals
go through the same codec. Each clip has a random stream of its own, from the seed, set and number.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import soxr

from etude.audio.activations import PitchActivations
from etude.audio.files import read_audio
from etude.clips.clip import Clip
from etude.config import CorpusBase
from etude.errors import UserError
from etude.generation import dumb_notes, dumb_sound
from etude.midi.notes import NoteTable
from etude.midi.render import load_soundfont, render_midi
from etude.midi.writing import apart, to_score
from etude.systems.base import ClipSet, Codec, Span, Wave
from etude.tokenizers.symbolic.factory import midi_of_training, training_tables

VERSION = 1  # raised when the clip sets change

log = logging.getLogger(__name__)

PIECES = 200  # training pieces whose notes are read, at most
STRETCHES = 400  # of training audio, whose spectra are averaged
SKETCHES, SKETCH_SECONDS = 32, 20.0  # of audio that is transcribed, where there is no MIDI
PIECES_STREAM, NOTES_STREAM, NOISE_STREAM, GRAINS_STREAM = range(4)  # of random numbers


@dataclass(frozen=True)
class CorpusFiles:
    """Where the notes of the training split are found.

    Attributes: pieces (pieces.csv, which holds the split), ingest (tables of the shards), root
    (where the corpus lies).
    """

    pieces: Path
    ingest: list[Path] = field(default_factory=list)
    root: Path = Path()


@dataclass
class Dumb:
    """The dumb sets of an experiment.

    Attributes:
        spans: stretches of training audio, as long as a clip, in random order.
        missing: why there are none.
        files: of the training split.
        corpus: how its notes are filtered and played.
        rate: at which clips are compared with real music.
        seconds, count: length and number of clips.
        seed: of all that is random.
        notes: whether clips of notes must have them beside their sound.
        codec: of the system; None: it has none.
    """

    spans: list[Span]
    missing: str
    files: CorpusFiles
    corpus: CorpusBase
    rate: int
    seconds: float
    count: int
    seed: int
    notes: bool = False
    codec: Codec | None = None

    def sets(self) -> Iterator[tuple[str, ClipSet]]:
        """Each set with its name; empty, and why, where the training split has nothing for it."""
        rate, why = self.corpus.render.rate, self._why_not_played()
        for name, clips in (("random_notes", self._random_notes), ("one_chord", self._one_chord)):
            made = ClipSet(() if why else clips(), rate, why, midi=self.notes)
            yield name, self._through(made)
        noise = ClipSet(self._noise() if self.spans else (), self.rate, self.missing)
        yield "spectrum_noise", self._through(noise)
        yield "grains", ClipSet(self._grains() if self.spans else (), self.rate, self.missing)

    def _random(self, stream: int, number: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream, number])

    # ------------------------------------------------------------------------------- of notes

    @cached_property
    def tables(self) -> list[NoteTable]:
        """Notes of training pieces that are as long as a clip, in random order."""
        long = [t for t in self._tables() if t.seconds >= self.seconds and len(t.without_drums())]
        return [long[i] for i in self._random(PIECES_STREAM).permutation(len(long))]

    @cached_property
    def _has_midi(self) -> bool:
        return any(True for _ in midi_of_training(self.files.ingest, self.files.pieces))

    def _tables(self) -> Iterable[NoteTable]:
        files = self.files
        if self._has_midi:
            return training_tables(
                *(self.corpus.rules, files.root, files.ingest, files.pieces),
                *(PIECES, self.seed),
            )
        return self._sketches()

    def _sketches(self) -> Iterator[NoteTable]:
        """Rough transcriptions: of each piece of which a stretch was chosen, from there on."""
        hear, pieces = PitchActivations(self.rate), {span.piece: span for span in self.spans}
        for span in list(pieces.values())[:SKETCHES]:
            seconds = max(SKETCH_SECONDS, self.seconds)
            wave = read_audio(span.wav, self.rate, span.start_s, seconds, upsample=True)
            yield dumb_notes.sketch(wave, hear)

    def _why_not_played(self) -> str:
        """Why there are no notes to be played, or no way to play them; empty where there are."""
        if not self.tables:
            return "no piece of the training split has notes for as long as a clip"
        if not self._has_midi:
            try:  # a corpus of recordings has needed no synthesiser so far
                load_soundfont(self.corpus.render.soundfont)
            except UserError as error:
                return f"notes cannot be played here: {error.what}"
        return ""

    def _random_notes(self) -> Iterator[Clip]:
        for number in range(self.count):
            random, table = self._random(NOTES_STREAM, number), self._piece(number)
            earliest = min(dumb_notes.RUN_UP_SECONDS, table.seconds - self.seconds)
            start = random.uniform(earliest, table.seconds - self.seconds)
            part, prime_s = dumb_notes.stretch(table, start, self.seconds)
            key = dumb_notes.key_of(table)
            yield self._played(dumb_notes.random_notes(part, key, random), prime_s)

    def _one_chord(self) -> Iterator[Clip]:
        chord, prime_s = dumb_notes.commonest_chord(self.tables), dumb_notes.RUN_UP_SECONDS
        for number in range(self.count):
            like = self._piece(number)
            table = dumb_notes.one_chord(chord, like, prime_s + self.seconds)
            yield self._played(table, prime_s)

    def _piece(self, number: int) -> NoteTable:
        return self.tables[number % len(self.tables)]

    def _played(self, table: NoteTable, prime_s: float) -> Clip:
        """Notes as a clip, of which metrics hear what follows a run-up."""
        rate, wave = self.corpus.render.rate, np.zeros(0, np.float32)
        prime_s = round(prime_s, 3)  # as clips.csv has it
        if len(table):
            wave = render_midi(to_score(apart(table)), self.corpus.render, self.corpus.rules)
        first, end = round(prime_s * rate), round((prime_s + self.seconds) * rate)
        wave = np.pad(wave[:end], (0, max(end - len(wave), 0)))
        if not self.notes:
            return Clip(wave[first:])
        row = {"prime_seconds": f"{prime_s:.3f}", "heard_seconds": f"{self.seconds:g}"}
        return Clip(wave, row, table)

    # ------------------------------------------------------------------------------- of sound

    @property
    def _samples(self) -> int:
        return round(self.seconds * self.rate)

    def _noise(self) -> Iterator[Clip]:
        waves = (_read(span, self.rate, 0.0, self.seconds) for span in self.spans[:STRETCHES])
        density = dumb_sound.mean_spectrum(waves, self.rate)
        for number in range(self.count):
            random = self._random(NOISE_STREAM, number)
            noise = dumb_sound.spectrum_noise(density, self.rate, self._samples, random)
            yield Clip(noise.astype(np.float32))

    def _grains(self) -> Iterator[Clip]:
        for number in range(self.count):
            cut = self._cutter(self._random(GRAINS_STREAM, number))
            yield Clip(dumb_sound.grains(cut, self._samples, self.rate).astype(np.float32))

    def _cutter(self, random: np.random.Generator) -> Callable[[int], Wave]:
        """Stretches from anywhere in the training audio."""

        def cut(samples: int) -> Wave:
            span = self.spans[random.integers(len(self.spans))]
            seconds = samples / self.rate
            start = random.uniform(0, max(self.seconds - seconds, 0))
            wave = _read(span, self.rate, start, seconds)[:samples]
            return np.pad(wave, (0, samples - len(wave)))

        return cut

    # ---------------------------------------------------------------------------------- codec

    def _through(self, made: ClipSet) -> ClipSet:
        """A set as the system could play it: through its codec, where it has one."""
        if self.codec is None:
            return made
        codec, rate = self.codec, made.rate

        def clips() -> Iterator[Clip]:
            for clip in made.clips:
                wave = clip.wave
                if rate != codec.rate:
                    wave = soxr.resample(wave, rate, codec.rate, quality="HQ")
                yield replace(clip, wave=codec.through(wave))

        return ClipSet(clips(), codec.rate, made.note, made.midi)


def _read(span: Span, rate: int, after_s: float, seconds: float) -> Wave:
    return read_audio(span.wav, rate, span.start_s + after_s, seconds, upsample=True)
