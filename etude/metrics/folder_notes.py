"""Two folders of MIDI, nothing trained: the same figures of notes that the workflow has.

Every second real file is the reference, the others say how far real music is from itself; a file
is a clip, its first half the beginning and its second what follows. Harmony's vectors and the known
changes of chord are learned from the reference. Copies: the longest run of notes that a clip has
in common with a real file, in any key (etude.metrics.memorisation.sequences).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.config.symbolic_metrics import SymbolicMetrics
from etude.corpus.scan import list_files, music_kind, printable
from etude.errors import UserError
from etude.metrics.folder_files import REGIONS, draw_regions, put_into
from etude.metrics.memorisation.sequences import SuffixIndex, note_sequence
from etude.metrics.notes import word2vec
from etude.metrics.notes.clips import DROPPED, parted
from etude.metrics.notes.drawing import write_figures
from etude.metrics.notes.measure import measure_clip
from etude.metrics.notes.score import REFERENCE, score_sets
from etude.metrics.notes.table import Measured, measured
from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.pool import map_in_order
from etude.storage import write_csv

log = logging.getLogger(__name__)

COLUMNS = ["clips", "metric", "value", "ci_low", "ci_high", "n", "unit", "note"]
COPIES = ["clip", "file", "notes_in_common", "share", "second"]
# What the summary shows; notes.csv has all.
SHOWN = ("symbolic_frechet", "pitch_class_kl", "duration_kl", "harmony_kl", "note_density")


@dataclass
class FolderNotes:
    """The notes of a folder's MIDI files by name; of those that cannot be used the reason."""

    path: Path
    tables: dict[str, NoteTable] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def read_notes(folder: Path) -> FolderNotes:
    """Read every MIDI file of a folder, of any depth.

    Raises:
        UserError: none has notes.
    """
    found = FolderNotes(folder)
    for name in list_files(folder):
        if music_kind(name) != "midi":
            continue
        try:
            table = read_midi(folder / name)
            if len(table.without_drums()):
                found.tables[printable(name)] = table
            else:
                found.unreadable.append(f"{printable(name)}: no_notes")
        except MidiError as error:
            found.unreadable.append(f"{printable(name)}: {error}")
    if not found.tables:
        raise UserError(
            "no MIDI file with notes is there",
            where=str(folder),
            why="; ".join(found.unreadable[:3]) or "there is none",
            do="give a folder with .mid files",
        )
    return found


def compare_notes(
    real: FolderNotes, made: FolderNotes, output: Path | None, threads: int = 1
) -> str:
    """The figures of notes of two folders, as text.

    Args:
        output: a folder that gets notes.csv, note_copies.csv, note_regions.png, and the files
            of etude.metrics.notes.drawing.
    """
    names = list(real.tables)
    sets = {
        REFERENCE: {name: real.tables[name] for name in names[::2]},
        "real": {name: real.tables[name] for name in names[1::2]},
        "generated": made.tables,
    }
    settings = SymbolicMetrics()
    found, words = measure_sets(sets, settings, threads)
    rows, _ = score_sets(found, settings.model_dump() | {"compat": ""})
    copies, places = find_note_copies(real, made)
    if output is not None:
        write_csv(output / "notes.csv", COLUMNS, [_tidy(row) for row in rows])
        write_csv(output / "note_copies.csv", COPIES, copies)
        draw_regions(output / "note_regions.png", places, names, "clips")
        put_into(output, lambda f: write_figures(found, words, f, settings.smoothing, ""))
    lines = [
        f"Notes, compared with every second of the {len(names)} MIDI files of {real.path}:",
        *_table(rows),
        *_copy_lines(copies),
        *(f"not read: {line}" for line in [*real.unreadable, *made.unreadable]),
    ]
    return "\n".join(lines) + "\n"


def measure_sets(
    sets: Mapping[str, Mapping[str, NoteTable]], settings: SymbolicMetrics, threads: int
) -> tuple[dict[str, Measured], list[str]]:
    """What is measured of sets of files, and the harmonic words that have a vector."""
    rows = {name: _measure(tables, settings, threads) for name, tables in sets.items()}
    sentences = [clip["words"]["music"] for clip in rows[REFERENCE] if clip["words"]]
    given = settings.word2vec
    words = word2vec.train(
        sentences, dim=given.dim, window=given.window, least=given.least, epochs=given.epochs,
        seed=given.seed,
    )  # fmt: skip
    changes = [change for clip in rows[REFERENCE] for change in clip["changes"]]
    known = np.unique(np.array(changes, dtype=np.int64))
    found = {
        name: measured(
            {"clips": some, "dropped": dict.fromkeys(DROPPED, 0), "note": ""},
            words, known, compat="", real=name == REFERENCE,
        )
        for name, some in rows.items()
    }  # fmt: skip
    return found, list(words)


def _measure(
    tables: Mapping[str, NoteTable], settings: SymbolicMetrics, threads: int
) -> list[dict[str, Any]]:
    chosen = list(tables.items())[: settings.clips]
    jobs = [(name, table, i < settings.harmony_clips) for i, (name, table) in enumerate(chosen)]
    work = functools.partial(_measure_file, settings.form_bars)
    rows = map_in_order(work, jobs, threads, title="notes", unit="file", chunk=8, failed=_failed)
    return [row for row in rows if row is not None]


def _measure_file(form_bars: int, job: tuple[str, NoteTable, bool]) -> dict[str, Any]:
    name, table, with_harmony = job
    clip = parted({"clip": name, "seconds": f"{table.seconds:.3f}"}, table)
    return measure_clip(clip, with_harmony=with_harmony, form_bars=form_bars)


def _failed(job: tuple[str, NoteTable, bool], reason: str) -> None:
    log.warning("%s is left out: %s", job[0], reason)


def find_note_copies(
    real: FolderNotes, made: FolderNotes
) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """The longest run that each clip has in common with a real file; where these begin [files, 10].

    A clip of a single note has none.
    """
    names = list(real.tables)
    index = SuffixIndex([note_sequence(real.tables[name]) for name in names])
    rows, places = [], np.zeros((len(names), REGIONS), np.int64)
    for clip, table in made.tables.items():
        found = index.search(note_sequence(table))
        row: dict[str, Any] = {"clip": clip, "file": "", "notes_in_common": 0, "share": "0.000"}
        if found.sequence >= 0 and found.run_length:
            name = names[found.sequence]
            times = real.tables[name].without_drums().onset_s
            second = float(times[min(found.position, len(times) - 1)])
            # A run of n steps from note to note is n + 1 notes.
            row |= {"file": name, "notes_in_common": found.run_length + 1}
            row |= {"share": f"{found.run:.3f}", "second": f"{second:.2f}"}
            place = min(found.position * REGIONS // max(len(times), 1), REGIONS - 1)
            places[found.sequence, place] += 1
        rows.append(row)
    return rows, places


def _tidy(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: row.get(name, "") for name in COLUMNS}
    value = found["value"]
    return found | {"value": f"{value:.6f}" if isinstance(value, float) else value}


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    found = {(row["clips"], row["metric"]): row for row in rows}
    lines = ["  " + f"{'':<10}" + "".join(f"  {name:<20}" for name in SHOWN).rstrip()]
    for name, label in (("generated", "clips"), ("real", "other real")):
        cells = []
        for metric in SHOWN:
            row = found.get((name, metric), {})
            value = row.get("value", "")
            cells.append(f"{float(value):.3g}" if value not in ("", None) else "n/a")
        lines.append(f"  {label:<10}" + "".join(f"  {cell:<20}" for cell in cells).rstrip())
    why = [str(row["note"]) for row in rows if row["metric"] == "symbolic" and row.get("note")]
    return [*lines, *(f"  {note}" for note in dict.fromkeys(why))]


def _copy_lines(copies: Sequence[Mapping[str, Any]]) -> list[str]:
    whole = [row for row in copies if row["share"] == "1.000"]
    shares = [float(row["share"]) for row in copies]
    half = sum(share >= 0.5 for share in shares)
    summary = (
        f"runs of notes that a real file has too, in any key: all of {len(whole)} of {len(copies)} "
        f"clips, at least half of {half}; median {np.median(shares):.0%} of a clip"
    )
    return [summary, *(f"  {row['clip']} = {row['file']} from {row['second']} s" for row in whole)]
