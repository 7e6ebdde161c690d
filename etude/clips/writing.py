"""The one writer of clip folders, whoever made the clips.

clip-0000.wav, .mid           a clip; its notes, where there are any
<part>/clip-0000.mid          further notes of it: prompts, generated, originals
clips.csv                     a row a clip
conditions.csv, weights.json  what generated clips were asked to be, and hashes of what made them
results.json                  Neuromusic's rows, where the system has them
note.txt                      of a set that others are compared with: why it is empty
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.audio.files import write_wav
from etude.clips.clip import Clip
from etude.errors import UserError
from etude.midi.writing import write_midi
from etude.storage import atomic, atomic_directory, write_csv, write_json, write_text

VERSION = 1  # raised when the same clips give other files

log = logging.getLogger(__name__)
Row = dict[str, Any]

# The order of columns in every kind of set; a system's own columns follow.
ORDER = (
    *("clip", "file", "midi", "seed", "draw", "piece", "start_s", "seconds", "tokens", "ended"),
    *("prime_seconds", "heard_seconds", "prompt_tokens", "invalid_share", "entropy", "source"),
)
OF_NOTES = ("midi", "prime_seconds", "heard_seconds")
CONDITIONS = ("clip", "prime", "prompt", "sections", "length")
RATES = range(1000, 400_000)  # plausible samples per second


@dataclass(frozen=True)
class Kind:
    """What a kind of set has beside its clips.

    Attributes: columns (of clips.csv, also where they are empty), conditions (conditions.csv is
    written), note (note.txt is).
    """

    columns: tuple[str, ...]
    conditions: bool = False
    note: bool = False


GENERATED = Kind(
    ("clip", "file", "seed", "draw", "seconds", "tokens", "ended", "prime_seconds"),
    conditions=True,
)
IMPORTED = Kind((*GENERATED.columns, "source"), conditions=True)
COMPARED = Kind(("clip", "file", "piece", "start_s", "seconds"), note=True)


def write_clips(
    clips: Iterable[Clip],
    folder: Path,
    rate: int,
    kind: Kind = GENERATED,
    *,
    maker: str = "the player",
    notes: bool = False,
    note: str = "",
    about: Mapping[str, Any] | None = None,
    tables: Mapping[str, tuple[list[str], list[Row]]] | None = None,
) -> int:
    """Write a folder of clips, whole or not at all; returns how many there are.

    Args:
        maker: the system, or what else made them, for errors.
        notes: whether each must have notes.
        about: goes into weights.json.
        tables: further ones by name, as columns and rows; rows may come while clips are read.

    Raises:
        UserError: a clip that is none, at the first of them.
    """
    _check_rate(rate, maker)
    rows: list[Row] = []
    conditions: list[Row] = []
    results: list[Row] = []
    with atomic_directory(folder) as temporary:
        for index, clip in enumerate(clips):
            check_clip(clip, rate, maker, notes)
            name = f"clip-{index if clip.number is None else clip.number:04d}"
            row = _write_files(clip, temporary, name, rate)
            rows.append(row)
            conditions.append({"clip": name, "length": row["seconds"]} | clip.condition)
            if clip.result is not None:
                results.append({"composition_dir": name} | clip.result)
        always = (*kind.columns, *OF_NOTES * notes)
        _write_table(temporary / "clips.csv", ORDER, always, rows)
        if kind.conditions:
            _write_table(temporary / "conditions.csv", CONDITIONS, CONDITIONS, conditions)
        for table, (columns, lines) in (tables or {}).items():
            write_csv(temporary / table, columns, lines)
        if results:
            write_json(temporary / "results.json", results)
        if kind.note:
            write_text(temporary / "note.txt", note + "\n" if note else "")
        if about is not None:
            write_json(temporary / "weights.json", about)
    log.info("%s: %d clips", folder.name, len(rows))
    return len(rows)


def _write_files(clip: Clip, folder: Path, name: str, rate: int) -> Row:
    """Write a clip's WAV and notes -> its row of clips.csv."""
    row = {"clip": name, "file": f"{name}.wav", "seconds": f"{len(clip.wave) / rate:.3f}"}
    write_wav(folder / row["file"], clip.wave, rate)
    if clip.notes is not None:
        row["midi"] = f"{name}.mid"
        write_notes(clip, folder / row["midi"])
    for part, table in clip.parts.items():
        write_midi(table, folder / part / f"{name}.mid")
    return row | clip.row


def write_notes(clip: Clip, path: Path) -> None:
    """Write the .mid of a clip, where it has notes."""
    if clip.midi is not None:
        with atomic(path) as temporary:
            temporary.write_bytes(clip.midi)
    elif clip.notes is not None:
        write_midi(clip.notes, path)


def _write_table(
    path: Path, order: tuple[str, ...], always: tuple[str, ...], rows: list[Row]
) -> None:
    """Rows by clip; columns in their order, those that only a system knows after them."""
    rows.sort(key=lambda row: row["clip"])  # clips of several primes are made prime by prime
    found = dict.fromkeys([*always, *(key for row in rows for key in row)])
    columns = [*(key for key in order if key in found), *(key for key in found if key not in order)]
    write_csv(path, columns, rows)


def _check_rate(rate: Any, maker: str) -> None:
    if not isinstance(rate, int | np.integer) or rate not in RATES:
        raise UserError(
            f"{maker} plays at an impossible rate: {rate!r}",
            code="impossible-rate",
            why=f"samples per second are a whole number from {RATES.start} to {RATES.stop}",
            do="correct the `rate` of its player or codec",
        )


def check_clip(clip: Clip, rate: int, maker: str, notes: bool) -> None:
    """See that a clip is one.

    Raises:
        UserError: saying whose it is and what is wrong.

    Example:
        >>> import numpy as np
        >>> check_clip(Clip(np.zeros(24000)), 24000, "mine", notes=False)  # silent: it is one
        >>> try:
        ...     check_clip(Clip(np.full(9, np.nan)), 24000, "mine", notes=False)
        ... except UserError as error:
        ...     print(error.what)
        mine made a clip with samples that are not finite numbers
    """
    wave = clip.wave
    if clip.rate is not None and clip.rate != rate:
        wrong = f"at {clip.rate} samples per second, its player's rate is {rate}"
    elif not isinstance(wave, np.ndarray) or wave.ndim != 1:
        wrong = f"of shape {list(getattr(wave, 'shape', []))}; a wave is [samples], mono"
    elif not np.issubdtype(wave.dtype, np.floating):
        wrong = f"of {wave.dtype}; a wave is of floats within full scale, -1 to 1"
    elif not np.isfinite(wave).all():
        wrong = "with samples that are not finite numbers"
    elif notes and clip.notes is None:
        wrong = "without notes, though it says that its clips have them (`makes`)"
    else:
        return
    raise UserError(
        f"{maker} made a clip {wrong}",
        code="invalid-clip",
        why="metrics and the page could not use it",
        do="correct the system's player (etude.systems.base says what a clip must be)",
    )
