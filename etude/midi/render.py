"""MIDI to audio, and the WAV folder of a shard."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from symusic.core import ScoreTick

from etude.audio.files import AudioError, writing
from etude.audio.levels import INT16_SCALE, dbfs
from etude.audio.recordings import Summary, copy_to_wav
from etude.config import CorpusBase, Filter, Render
from etude.corpus.piece_paths import piece_paths
from etude.midi.events import DRUM_CHANNEL, read_events
from etude.midi.notes import MidiError, NoteTable
from etude.midi.synth import SoundFont
from etude.midi.writing import apart, to_score
from etude.pool import map_in_order
from etude.setup import default_soundfont
from etude.storage import (
    WRITE_ERRORS,
    atomic,
    atomic_directory,
    hash_file,
    read_csv,
    write_csv,
    write_json,
)

VERSION = 1  # raised when the samples change, by what is here, in synth or in events
COLUMNS = [
    *("piece", "file", "seconds", "rate", "channels", "peak", "rms_dbfs", "status", "reason"),
]
PEAK = 0.99  # of full scale, at most
SILENCE = 1e-3  # of the peak: the release is over when nothing is louder (-60 dB)
MOST_MINUTES = 600.0  # of notes that are played
FADE_SECONDS = 0.01  # where a release is cut, so that nothing clicks
CHUNK = 2**20  # samples that are converted and written at a time

Row = dict[str, Any]

log = logging.getLogger(__name__)


def play_notes(
    table: NoteTable, corpus: CorpusBase, least_s: float = 0.1, midi: bytes | None = None
) -> np.ndarray:
    """Notes as sound, float32 [samples], at the corpus's rate; silence where there are none.

    Args:
        least_s: silence is added up to this length.
        midi: the notes as a file, which is played as it is, without the corpus's filter.
    """
    wave = np.zeros(0, np.float32)
    if len(table):
        rules = Filter(drums="keep") if midi else corpus.rules
        rules = rules.model_copy(update={"max_minutes": MOST_MINUTES})
        wave = render_midi(midi or to_score(apart(table)), corpus.render, rules)
    missing = round(least_s * corpus.render.rate) - len(wave)
    return np.pad(wave, (0, max(missing, 0)))


def render_shard(
    settings: CorpusBase, ingest: Path, root: Path, folder: Path, threads: int
) -> None:
    """Write the WAVs of a shard's kept pieces, index.csv and render.json.

    MIDI is rendered, mono at `render.rate`; recordings keep their rate and channels.

    Raises:
        UserError: the SoundFont or libfluidsynth is missing, and there is MIDI to render.
    """
    rows = [row for row in read_csv(ingest) if row["status"] == "kept"]
    paths = piece_paths(root, rows)
    jobs = [(row["piece"], row["kind"], paths[row["piece"]]) for row in rows]
    has_midi = any(row["kind"] == "midi" for row in rows)
    if has_midi:
        load_soundfont(settings.render.soundfont)  # forked workers have it; errors come early
    with atomic_directory(folder) as temporary:
        work = partial(_write_piece, settings.render, settings.rules, temporary)
        results = map_in_order(
            work,
            jobs,
            threads,
            title="render",
            unit="piece",
            chunk=2,
            fallen=_fallen,
            limit_s=settings.rules.computing_limit_s,
        )
        counts: Counter[str] = Counter()
        write_csv(temporary / "index.csv", COLUMNS, _counted(results, counts))
        write_json(temporary / "render.json", render_facts(settings.render if has_midi else None))
    log.info("%s", ", ".join(f"{n} {reason}" for reason, n in counts.items()) or "no pieces")


def render_midi(
    source: Path | str | bytes | ScoreTick,
    settings: Render,
    rules: Filter | None = None,
) -> np.ndarray:
    """Render one piece: mono at `settings.rate`, its release trimmed, its loudness set.

    Args:
        source: a path, the bytes of a MIDI file, or symusic's score in ticks.
        settings: rate, SoundFont, gain, loudness and tail.
        rules: what becomes of drums and programs; none: all is played as it is.

    Returns:
        float32 [samples] within full scale; empty where nothing is played.

    Raises:
        MidiError: the source cannot be read.
        UserError: the SoundFont or libfluidsynth is missing.
    """
    rules = rules or Filter(drums="keep")
    if isinstance(source, ScoreTick):
        source = source.dumps_midi()
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    events = read_events(data)
    if rules.drums == "drop":
        events = events.where(events.channel != DRUM_CHANNEL)
    longest = 60 * rules.max_minutes
    if events.end_s > longest:
        raise MidiError(f"too_long: {events.end_s / 60:.1f} min")
    if not events.end_s:
        return np.zeros(0, dtype=np.float32)
    samples = load_soundfont(settings.soundfont).play(
        events, settings.rate, settings.gain, settings.tail_seconds, rules.map_programs_to
    )
    samples = trim(samples, events.end_s, settings.rate)
    samples *= level(samples, settings.loudness)
    return samples


def trim(samples: np.ndarray, end_s: float, rate: int) -> np.ndarray:
    """Cut the silence after the last note, and fade what is cut off while it sounds."""
    end = min(len(samples), round(end_s * rate))
    peak = np.abs(samples).max(initial=0.0)
    loud = np.flatnonzero(np.abs(samples[end:]) > SILENCE * peak)
    samples = samples[: end + (int(loud[-1]) + 1 if loud.size else 0)]
    fade = min(len(samples) - end, round(FADE_SECONDS * rate))
    if fade > 0:
        samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return samples


def level(samples: np.ndarray, loudness: float | None) -> np.float32:
    """The factor that brings the RMS to `loudness` dBFS, as far as the peak allows."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0:
        return np.float32(1)
    factor = 1.0
    if loudness is not None:
        factor = 10 ** (loudness / 20) / float(np.sqrt(np.mean(np.square(samples, dtype=float))))
    return np.float32(min(factor, PEAK / peak))


@lru_cache(maxsize=1)
def load_soundfont(path: Path | None) -> SoundFont:
    """The SoundFont, or the default one; once per process.

    Raises:
        UserError: it or libfluidsynth is missing.
    """
    return SoundFont(default_soundfont() if path is None else path)


def render_facts(settings: Render | None) -> dict[str, Any]:
    """What made the audio: versions, hashes and settings; nothing where nothing was rendered."""
    if settings is None:
        return {"rendered": False}
    path = settings.soundfont or default_soundfont()
    return {
        "rendered": True,
        "fluidsynth": load_soundfont(settings.soundfont).version,
        "soundfont": path.name,
        "soundfont_sha256": hash_file(path),
        "settings": settings.model_dump(mode="json", exclude={"soundfont"}),
    }


def _write_piece(settings: Render, rules: Filter, folder: Path, job: tuple[str, str, Path]) -> Row:
    """One WAV and its row; a file that has changed since ingest, or is silent, is rejected."""
    piece, kind, path = job
    row = dict.fromkeys(COLUMNS, "") | {"piece": piece, "status": "kept"}
    target = folder / f"{piece}.wav"
    try:
        if kind == "midi":
            summary = _write_midi(settings, rules, path, target)
        else:
            summary = copy_to_wav(path, target)
    except AudioError as error:
        return row | {"status": "rejected", "reason": error.reason}
    except MidiError as error:
        return row | {"status": "rejected", "reason": str(error)}
    except OSError as error:
        ours = Path(error.filename or "").parent == folder  # to write, not the user's to fix
        if ours or error.errno in WRITE_ERRORS:
            raise
        return row | {"status": "rejected", "reason": f"unreadable: {error.strerror}"}
    if summary.peak == 0:
        target.unlink(missing_ok=True)
        return row | {"status": "rejected", "reason": "silent"}
    return row | {
        "file": target.name,
        "seconds": f"{summary.seconds:.3f}",
        "rate": summary.rate,
        "channels": summary.channels,
        "peak": f"{summary.peak:.4f}",
        "rms_dbfs": f"{summary.rms_dbfs:.2f}",
    }


def _fallen(job: tuple[str, str, Path], reason: str) -> Row:
    """The row of a piece that brought its worker down; nothing of it was given its name."""
    row = dict.fromkeys(COLUMNS, "") | {"piece": job[0]}
    return row | {"status": "rejected", "reason": reason}


def _write_midi(settings: Render, rules: Filter, path: Path, target: Path) -> Summary:
    samples = render_midi(path, settings, rules)
    peak = float(np.abs(samples).max(initial=0.0))
    if peak:
        write_pcm16(target, samples, settings.rate)
    power = float(np.mean(np.square(samples, dtype=float))) if samples.size else 0.0
    return Summary(len(samples) / settings.rate, settings.rate, 1, peak, dbfs(power**0.5), "")


def write_pcm16(path: Path, samples: np.ndarray, rate: int) -> None:
    """As `etude.audio.files.write_wav`, in parts, so that a long piece is in memory only once."""
    with atomic(path) as temporary, writing(temporary):
        name = os.fsencode(temporary.absolute())
        with soundfile.SoundFile(name, "w", rate, 1, "PCM_16", format="WAV") as file:
            for start in range(0, len(samples), CHUNK):
                file.write(np.rint(samples[start : start + CHUNK] * INT16_SCALE).astype(np.int16))


def _counted(rows: Iterator[Row], counts: Counter[str]) -> Iterator[Row]:
    for row in rows:
        counts[row["reason"].partition(":")[0] or "written"] += 1
        yield row
