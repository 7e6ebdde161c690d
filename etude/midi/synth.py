"""FluidSynth as a function: events in, samples out, the same bytes each time.

A SoundFont is loaded once per process and lent to a new synthesizer for every piece: a used one
keeps traces of what it played before (a reset leaves filters and levels as they were), a new one
with the SoundFont already in memory costs less than a millisecond.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from etude.errors import UserError
from etude.midi import events as midi
from etude.midi.events import Events

BLOCK = 64  # FluidSynth's own period: events take effect at its bounds (2.7 ms at 24 kHz)
CHUNK = 256 * BLOCK  # samples rendered at a time into the stereo buffers
MAX_VOICES = 256
MELODIC, DRUM = 0, 1
BANK_CONTROLS = (0, 32)
SILENT = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.lock-memory": 0}


class SoundFont:
    """A SoundFont in memory.

    Raises:
        UserError: libfluidsynth is missing, or the file is missing or no SoundFont.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise _bad_soundfont(path, "there is no such file")
        self._library = _library()
        self._owner = self._library.Synth(**SILENT)
        number = self._owner.sfload(str(path))
        if number < 0:
            raise _bad_soundfont(path, "FluidSynth cannot read it as .sf2 or .sf3")
        self._font = self._library.fluid_synth_get_sfont_by_id(self._owner.synth, number)
        _call("fluid_synth_remove_sfont", self._owner.synth, self._font)

    @property
    def version(self) -> str:
        """The version of libfluidsynth."""
        return str(_call("fluid_version_str").decode())

    def play(
        self,
        events: Events,
        rate: int,
        gain: float,
        tail_seconds: float,
        program: int | None = None,
    ) -> np.ndarray:
        """Render events.

        Every channel of every track has a channel of the synthesizer, so that a note that ends in
        one part does not end the same pitch in another; controllers and bends reach all tracks
        that use their MIDI channel, as does the pedal of a second hand.

        Args:
            events: what is played.
            rate: samples per second.
            gain: FluidSynth's gain.
            tail_seconds: the longest release after the last note.
            program: played by all but drums, whatever the events say.

        Returns:
            float32 [samples], the mean of left and right.
        """
        if program is not None:
            events = _without_programs(events)
        desk = _Desk(events)
        settings = SILENT | {"synth.midi-channels": -(-max(1, len(desk.channels)) // 16) * 16}
        synth = self._library.Synth(gain=float(gain), samplerate=float(rate), **settings)
        _call("fluid_synth_add_sfont", synth.synth, self._font)
        try:
            desk.prepare(synth, program)
            stage = _Stage(synth, events.end_s, rate, tail_seconds)
            # An event takes effect at the last bound before it.
            bounds = np.floor(events.seconds * rate / BLOCK).astype(np.int64) * BLOCK
            columns = (column.tolist() for column in (bounds, *events.columns[1:]))
            for bound, *event in zip(*columns, strict=True):
                if bound >= stage.limit:
                    break
                stage.go_to(bound)
                desk.perform(*event)
            return stage.finish()
        finally:
            _call("fluid_synth_remove_sfont", synth.synth, self._font)
            synth.delete()


class _Desk:
    """Hands events on to the voices: channels of the synthesizer, one for each channel of a track.

    Notes, and the program of a track that has notes, are the track's own; everything else is of
    the MIDI channel, whatever track it comes from. `channels` has the MIDI channel of each voice.
    """

    def __init__(self, events: Events) -> None:
        on = events.kind == midi.NOTE_ON
        pairs = sorted(
            set(zip(events.track[on].tolist(), events.channel[on].tolist(), strict=True))
        )
        if len(pairs) > MAX_VOICES:  # then tracks share channels, as MIDI has it
            pairs = [(-1, channel) for channel in range(16)]
        self.channels = [channel for _, channel in pairs]
        self._of_track = {pair: [voice] for voice, pair in enumerate(pairs)}
        self._of_channel: dict[int, list[int]] = {channel: [] for channel in range(16)}
        for voice, channel in enumerate(self.channels):
            self._of_channel[channel].append(voice)

    def prepare(self, synth: Any, program: int | None) -> None:
        """Set the voices of a new synthesizer up."""
        pointer = synth.synth
        for voice, channel in enumerate(self.channels):
            is_drum = channel == midi.DRUM_CHANNEL
            _call("fluid_synth_set_channel_type", pointer, voice, DRUM if is_drum else MELODIC)
            synth.bank_select(voice, 128 if is_drum else 0)
            synth.program_change(voice, 0 if is_drum else program or 0)
        self._send: dict[int, Callable[[int, int, int], object]] = {
            midi.NOTE_ON: synth.noteon,
            midi.NOTE_OFF: lambda voice, key, _: synth.noteoff(voice, key),
            midi.PROGRAM: lambda voice, number, _: synth.program_change(voice, number),
            midi.CONTROL: synth.cc,
            midi.BEND: lambda voice, low, high: synth.pitch_bend(voice, (high << 7 | low) - 8192),
            midi.CHANNEL_PRESSURE: lambda voice, value, _: _call(
                "fluid_synth_channel_pressure", pointer, voice, value
            ),
            midi.KEY_PRESSURE: partial(_call, "fluid_synth_key_pressure", pointer),
        }

    def perform(self, kind: int, channel: int, track: int, data1: int, data2: int) -> None:
        """Hand one event on."""
        if kind == midi.NOTE_ON and not data2:
            kind = midi.NOTE_OFF
        voices = self._of_channel[channel]
        if kind in (midi.NOTE_ON, midi.NOTE_OFF, midi.PROGRAM):
            voices = self._of_track.get((track, channel), voices)
        for voice in voices:
            self._send[kind](voice, data1, data2)


def _without_programs(events: Events) -> Events:
    """The events without what chooses an instrument, drums apart."""
    bank = (events.kind == midi.CONTROL) & np.isin(events.data1, BANK_CONTROLS)
    choice = (events.kind == midi.PROGRAM) | bank
    return events.where(~choice | (events.channel == midi.DRUM_CHANNEL))


class _Stage:
    """The samples of a piece, filled from the front."""

    def __init__(self, synth: Any, end_s: float, rate: int, tail_seconds: float) -> None:
        self._synth = synth
        self.end = int(np.ceil(end_s * rate / BLOCK)) * BLOCK
        self.limit = self.end + int(tail_seconds * rate / BLOCK) * BLOCK
        self.mono = np.zeros(self.limit, dtype=np.float32)
        self.at = 0
        self._stereo = np.zeros((2, CHUNK), dtype=np.float32)
        self._left, self._right = (channel.ctypes.data for channel in self._stereo)
        self._write = _function("fluid_synth_write_float")

    def go_to(self, bound: int) -> None:
        """Render up to a bound; where no voice sounds the samples stay 0."""
        while self.at < bound:
            if not self._synth.get_active_voice_count():
                self.at = bound
                return
            count = min(CHUNK, bound - self.at)
            self._write(self._synth.synth, count, self._left, 0, 1, self._right, 0, 1)
            target = self.mono[self.at : self.at + count]
            np.add(self._stereo[0, :count], self._stereo[1, :count], out=target)
            target *= 0.5
            self.at += count

    def finish(self) -> np.ndarray:
        """Render the release, as long as a voice sounds and the limit allows."""
        self.go_to(self.end)
        while self.at < self.limit and self._synth.get_active_voice_count():
            self.go_to(min(self.limit, self.at + CHUNK))
        return self.mono[: max(self.at, self.end)]


@cache
def _library() -> ModuleType:
    """pyfluidsynth, its library loaded and told not to write to the terminal.

    Raises:
        UserError: libfluidsynth is missing.
    """
    try:
        # Where CI is set it prints what it found, into whatever reads a command's output.
        with redirect_stdout(io.StringIO()):
            import fluidsynth
    except (ImportError, OSError, AttributeError) as error:
        raise UserError(
            "MIDI cannot be rendered: libfluidsynth is missing",
            code="libfluidsynth-missing",
            where="this system",
            why=str(error),
            do="run `make setup`, or install it (Debian, Ubuntu: apt-get install libfluidsynth3; "
            "macOS: brew install fluid-synth; conda: conda install -c conda-forge fluidsynth)",
        ) from None
    for level in range(5):
        _call("fluid_set_log_function", level, None, None)
    return fluidsynth


def _call(name: str, *arguments: Any) -> Any:
    """A function of libfluidsynth that pyfluidsynth does not have."""
    return _function(name)(*arguments)


@cache
def _function(name: str) -> Callable[..., Any]:
    """A function of libfluidsynth by name, with the types that ours need."""
    import fluidsynth

    pointer, integer = ctypes.c_void_p, ctypes.c_int
    types: dict[str, list[Any]] = {
        "fluid_version_str": [],
        "fluid_set_log_function": [integer, pointer, pointer],
        "fluid_synth_add_sfont": [pointer, pointer],
        "fluid_synth_remove_sfont": [pointer, pointer],
        "fluid_synth_set_channel_type": [pointer, integer, integer],
        "fluid_synth_channel_pressure": [pointer, integer, integer],
        "fluid_synth_key_pressure": [pointer, integer, integer, integer],
        "fluid_synth_write_float": [pointer, integer, *[pointer, integer, integer] * 2],
    }
    arguments = [(f"a{i}", kind, 1) for i, kind in enumerate(types[name])]
    result = {"fluid_version_str": ctypes.c_char_p, "fluid_set_log_function": pointer}
    return fluidsynth.cfunc(name, result.get(name, integer), *arguments)


def _bad_soundfont(path: Path, why: str) -> UserError:
    return UserError(
        "the SoundFont cannot be used",
        code="unusable-soundfont",
        where=str(path),
        why=why,
        do="name a .sf2 or .sf3 file in the corpus's `render: soundfont`, or leave the key out",
    )
