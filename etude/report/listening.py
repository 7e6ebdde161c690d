"""Clips for the ear: audio and pictures copied beside the page, and what is to be said of each.

Audio becomes FLAC: the same samples in about half the bytes of WAV, and every browser plays it
from disk.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from etude.metrics.signals import SILENT_DB
from etude.metrics.table import MEANING
from etude.report.figures import Row, decimal, duration, number, rows_of
from etude.report.spectrogram import HIGHEST_HZ, LOWEST_HZ, write_spectrogram

PAIRS, SHOWN, FOR_THE_EAR = 6, 16, 2
MOST = 1000  # clips of a set that are copied
UNLIKE, LEAST = 3.5, 0.05  # robust deviations and share by which et_grid is unlike the others'


@dataclass(frozen=True)
class Player:
    """One clip: where its audio and picture lie (relative to the page) and what is known of it."""

    name: str
    origin: str
    audio: str = ""
    picture: str = ""
    alt: str = ""
    seconds: str = ""
    signals: str = ""
    flags: list[str] = field(default_factory=list)
    prime: float = 0.0  # per cent of the clip that was given, not generated
    trouble: str = ""


@dataclass(frozen=True)
class ClipSet:
    """Clips of one kind: those with a picture, the others, and why there may be none."""

    name: str
    meaning: str
    players: list[Player]
    rest: list[Player]
    total: int
    note: str = ""
    left_out: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Listening:
    """All that can be heard of one experiment."""

    experiment: str
    pairs: list[tuple[Player | None, Player | None]]
    pair_notes: list[str]
    generated: list[ClipSet]
    others: list[ClipSet]


def prepare(results: Path, experiment: str, draws: list[str], media: Path) -> Listening:
    """Copy the clips of an experiment.

    Args:
        draws: its clip sets, as seed-0/draw-0.
        media: the folder `media` beside the page.
    """
    clips, metrics = results / "clips" / experiment, results / "metrics" / experiment
    target = media / experiment
    generated = []
    for draw in draws:
        signals = _signals(metrics / draw / "signals.csv")
        name = draw.replace("/", "-")
        generated.append(_clip_set(clips / draw, name, signals, target, SHOWN, MOST))
    signals = _signals(metrics / "baselines" / "signals.csv")
    folder = clips / "baselines"
    real, again = (
        _clip_set(folder / name, name, signals, target, PAIRS, PAIRS)
        for name in ("real", "reconstruction")
    )
    others = [
        _clip_set(folder / name, name, signals, target, FOR_THE_EAR, FOR_THE_EAR)
        for name in ("shuffled", "untrained", "noise")
    ]
    notes = [f"{made.name}: {made.note}" for made in (real, again) if made.note]
    return Listening(experiment, _pairs(real, again), notes, generated, others)


def _pairs(real: ClipSet, again: ClipSet) -> list[tuple[Player | None, Player | None]]:
    """Clips of one name side by side."""
    left, right = ({p.name: p for p in made.players} for made in (real, again))
    names = sorted(left.keys() | right.keys())
    return [(left.get(name), right.get(name)) for name in names]


def _signals(path: Path) -> dict[tuple[str, str], Row]:
    return {(row.get("clips", ""), row.get("clip", "")): row for row in rows_of(path)}


def _clip_set(
    folder: Path,
    name: str,
    signals: dict[tuple[str, str], Row],
    media: Path,
    shown: int,
    copied: int,
) -> ClipSet:
    rows = list(rows_of(folder / "clips.csv"))
    kind = name if name in MEANING else "generated"
    own = {clip: row for (clips, clip), row in signals.items() if clips == kind}
    unlike = _unlike_the_others(own)
    players = []
    for index, row in enumerate(rows[:copied]):
        path = media / name / f"{index:04d}"
        player = _copy(folder / row.get("file", ""), path, picture=index < shown)
        players.append(_describe(player, row, own.get(row.get("clip", "")), unlike))
    flagged_first = sorted(players[shown:], key=lambda player: not player.flags)
    note = folder / "note.txt"
    return ClipSet(
        name=name,
        meaning=MEANING.get(kind, ""),
        players=players[:shown],
        rest=flagged_first,
        total=len(rows),
        note=note.read_text(encoding="utf-8").strip() if note.is_file() else "",
        left_out=list(rows_of(folder / "rejected.csv")),
    )


def _copy(source: Path, path: Path, picture: bool) -> Player:
    """Copy a clip as FLAC and draw it; a clip that cannot be read says so."""
    try:
        info = soundfile.info(source)
        samples, rate = soundfile.read(source, dtype="float64", always_2d=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        depth = "PCM_16" if info.subtype in ("PCM_16", "PCM_U8", "PCM_S8") else "PCM_24"
        # 16-bit samples come back as they were: they are multiples of 1/32768.
        soundfile.write(path.with_suffix(".flac"), samples, rate, subtype=depth)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        return Player(source.stem, "", trouble=f"cannot be played ({reason})")
    beside = Path("media") / path.parent.parent.name / path.parent.name / path.name
    if picture:
        wave: np.ndarray = samples.mean(axis=1)
        write_spectrogram(wave, rate, path.with_suffix(".png"))
    return Player(
        name=source.stem,
        origin="",
        audio=beside.with_suffix(".flac").as_posix(),
        picture=beside.with_suffix(".png").as_posix() if picture else "",
        seconds=f"{len(samples) / rate:.1f}",
    )


def _describe(player: Player, row: Row, signals: Row | None, unlike: set[str]) -> Player:
    """Add what is known of a clip: where it comes from, its figures, what is odd."""
    name = row.get("clip") or player.name
    start = number(row.get("start_s"))
    origin = row.get("piece") or row.get("source") or ""
    if origin and start is not None:
        origin += ", " + _together(f"from {duration(start)}")
    signals = signals or {}
    harmony, flatness, level = (
        number(signals.get(key)) for key in ("et_grid", "flatness_db", "level_db")
    )
    known = [
        f"et_grid {decimal(harmony)}" if harmony is not None else "",
        f"flatness {decimal(flatness, 0)} dB" if flatness is not None else "",
        f"{decimal(level, 0)} dBFS" if level is not None else "",
        "ends by itself" if row.get("ended") == "true" else "",
    ]
    flags = [
        "silent" if level is not None and level < SILENT_DB else "",
        "harmony unlike the others" if name in unlike else "",
    ]
    seconds = number(player.seconds) or 0.0
    prime = (number(row.get("prime_seconds")) or 0.0) / seconds if seconds else 0.0
    alt = (
        f"Spectrogram of {name}: {player.seconds} s, {LOWEST_HZ:.0f} Hz to "
        f"{HIGHEST_HZ / 1000:.0f} kHz"
    )
    if level is not None:
        alt += f", level {decimal(level, 0)} dBFS"
    about = {
        "name": name,
        "origin": origin,
        "alt": alt,
        "signals": ", ".join(_together(text) for text in known if text),
        "flags": list(filter(None, flags)),
        "prime": round(100 * min(prime, 1.0), 2),
    }
    return Player(**{**vars(player), **about})


def _together(text: str) -> str:
    """A text that no line breaks."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _unlike_the_others(signals: dict[str, Row]) -> set[str]:
    """Clips whose et_grid lies far from their set's median, by the median absolute deviation."""
    known = {clip: number(row.get("et_grid")) for clip, row in signals.items()}
    values = {clip: value for clip, value in known.items() if value is not None}
    if len(values) < 8:
        return set()
    middle = statistics.median(values.values())
    spread = 1.4826 * statistics.median(abs(value - middle) for value in values.values())
    bound = max(UNLIKE * spread, LEAST)
    return {clip for clip, value in values.items() if abs(value - middle) > bound}
