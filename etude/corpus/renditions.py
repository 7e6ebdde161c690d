"""How a score is played: by which programs, how fast, in which octave; decided by its name."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import mido

from etude.config import Music21Corpus
from etude.midi.programs import together

TEMPOS, OCTAVES = (0.65, 1.0, 1.4), (-1, 0, 1)
DEFAULT_TEMPO = 500_000  # microseconds a quarter note, where a file does not say


@dataclass(frozen=True)
class Rendition:
    """One way of playing a score.

    Attributes:
        score: its name in music21's corpus.
        target: the MIDI file's, with its folder.
        programs: distributed over the parts in turn; none: as the score has them.
        tempo: a factor.
        octave: how many the notes are moved up.
    """

    score: str
    target: str
    programs: tuple[int, ...] = ()
    tempo: float = 1.0
    octave: int = 0


def renditions(settings: Music21Corpus, score: str) -> list[Rendition]:
    """The renditions of a score: the same whatever other scores there are."""
    stem = score.rpartition(".")[0]
    if not settings.programs:
        one = () if settings.program is None else (settings.program,)
        return [Rendition(score, f"{stem}.mid", one)]
    every = [(p,) if isinstance(p, int) else tuple(p) for p in settings.programs]
    every.sort(key=lambda programs: _number(f"{score} {programs}"))
    found = []
    for programs in every[: settings.renditions]:
        target = f"{together(programs).replace(' ', '_')}/{stem}.mid"
        number = _number(target) if settings.vary else 4  # the middle of nine
        tempo, octave = TEMPOS[number % 9 // 3], OCTAVES[number % 3]
        found.append(Rendition(score, target, programs, tempo, octave))
    return found


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)


def varied(data: bytes, rendition: Rendition) -> bytes:
    """A MIDI file in the tempo and octave of a rendition; as it is where these are its own.

    Notes that leave MIDI's range are left out.
    """
    if rendition.tempo == 1 and not rendition.octave:
        return data
    file = mido.MidiFile(file=io.BytesIO(data))
    tempos = [message for track in file.tracks for message in track if message.type == "set_tempo"]
    if not tempos:
        file.tracks[0].insert(0, mido.MetaMessage("set_tempo", tempo=DEFAULT_TEMPO))
    for number, track in enumerate(file.tracks):
        kept, waiting = mido.MidiTrack(), 0  # the time of what is left out is added to the next
        for message in track:
            waiting += message.time
            changed = _changed(message, rendition)
            if changed is not None:
                kept.append(changed.copy(time=waiting))
                waiting = 0
        file.tracks[number] = kept
    written = io.BytesIO()
    file.save(file=written)
    return written.getvalue()


def _changed(message: mido.Message, rendition: Rendition) -> mido.Message | None:
    if message.type == "set_tempo":
        return message.copy(tempo=round(message.tempo / rendition.tempo))
    if message.type in ("note_on", "note_off"):
        note = message.note + 12 * rendition.octave
        return message.copy(note=note) if 0 <= note < 128 else None
    return message
