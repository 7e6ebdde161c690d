"""Reads what a visitor brought, in a process of its own with little memory, time and no rights.

    python -I etude/studio/decode.py KIND SOURCE TARGET PRIME_SECONDS

KIND is sound, midi or notes (JSON: [[onset, end, pitch, velocity], ...] and a tempo). What can be
used is rewritten as TARGET.wav, TARGET.json and, of notes, TARGET.mid; the bytes that came are
never kept. Its last line on standard output is JSON: `seconds` and `notes`, `refused` and why, or
`full` where the disk is.
"""

from __future__ import annotations

import errno
import json
import math
import sys
from pathlib import Path
from typing import Any

CPU_SECONDS, MEMORY, LARGEST = 20, 3 * 2**30, 256 * 2**20
RATES = range(16000, 48001)  # samples per second that stay as they are
RATE = 44100  # of all others
SILENT = 1e-4  # of full scale: nobody can hear it
LEAST_SECONDS = 0.1
MOST_NOTES = 20_000
BLOCK = 2**16


class Refused(Exception):  # noqa: N818 (it is the answer, not a fault)
    """What came cannot be used; the message is for the visitor."""


def limited() -> None:
    """No core file, little memory and time, no large files: for this process and its children."""
    import resource

    for what, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, LARGEST),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def read_sound(path: Path, most_s: float) -> tuple[Any, int]:
    """A recording, mono -> (float32 [samples], rate).

    Raises:
        Refused: it is none, too long, too short, silent, or not of finite numbers.
    """
    import numpy as np
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(path) as file:
            rate, blocks = file.samplerate, []
            left = math.ceil(most_s * rate) + 1
            while left > 0 and len(block := file.read(min(BLOCK, left), "float32", always_2d=True)):
                blocks.append(block.mean(1))
                left -= len(block)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError):
        raise Refused("This is no recording that can be read: WAV, FLAC, OGG or MP3.") from None
    if left <= 0:
        raise Refused(f"This recording is longer than {most_s:g} seconds.")
    wave = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if not np.isfinite(wave).all():
        raise Refused("This recording has samples that are no numbers.")
    if len(wave) < LEAST_SECONDS * rate:
        raise Refused("This recording is too short.")
    if np.abs(wave).max() < SILENT:
        raise Refused("This recording is silent.")
    if rate not in RATES:
        wave, rate = soxr.resample(wave, rate, RATE), RATE
    return np.clip(wave, -1, 1).astype(np.float32), rate


def read_notes(path: Path, kind: str, most_s: float) -> Any:
    """A MIDI file, or notes that were played, as a table.

    Raises:
        Refused: it cannot be read, is too long, or has no notes.
    """
    import numpy as np

    from etude.midi.notes import MidiError, parse_midi
    from etude.midi.writing import plain_table

    if kind == "midi":
        try:
            table = parse_midi(path.read_bytes())
        except MidiError as error:
            raise Refused(f"This MIDI file cannot be used: {error}.") from None
    else:
        played = json.loads(path.read_text())
        tempo = float(played["tempo"])
        rows = np.array(played["notes"], np.float64).reshape(-1, 4)
        ticks = np.rint(rows[:, :2] * 480 * tempo / 60).astype(np.int64)
        long = np.maximum(ticks[:, 1] - ticks[:, 0], 1)
        table = plain_table(
            ticks[:, 0], long, rows[:, 2], velocity=rows[:, 3], quarters_a_minute=tempo
        )
    if not len(table):
        raise Refused("There are no notes in it.")
    if len(table) > MOST_NOTES or table.seconds > most_s:
        raise Refused(f"It is longer than {most_s:g} seconds, or has too many notes.")
    return table


def convert(kind: str, source: Path, target: Path, most_s: float) -> dict[str, Any]:
    """Write the files of a prime; what is known of it."""
    from etude.audio.files import write_wav
    from etude.storage import write_json
    from etude.studio import views

    notes = []
    if kind == "sound":
        wave, rate = read_sound(source, most_s)
    else:
        from etude.config import CorpusBase
        from etude.midi.render import play_notes
        from etude.midi.writing import write_midi

        table = read_notes(source, kind, most_s)
        corpus = CorpusBase()
        wave, rate = play_notes(table, corpus), corpus.render.rate
        write_midi(table, target.with_suffix(".mid"))
        notes = views.notes(table)
    write_wav(target.with_suffix(".wav"), wave, rate)
    seconds = round(len(wave) / rate, 3)
    drawn = {"seconds": seconds, "peaks": views.peaks(wave), "notes": notes}
    write_json(target.with_suffix(".json"), drawn)
    return {"seconds": seconds, "notes": bool(notes)}


def main(arguments: list[str]) -> int:
    """Convert; 0, or 3 where what came is refused or has no room."""
    limited()
    kind, source, target, most_s = arguments
    try:
        facts = convert(kind, Path(source), Path(target), float(most_s))
    except Refused as error:
        print(json.dumps({"refused": str(error)}))
        return 3
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(json.dumps({"full": True}))
        return 3
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.exit(main(sys.argv[1:]))
