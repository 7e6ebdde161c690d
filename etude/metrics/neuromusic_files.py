"""Neuromusic's results.json, as it or Étude wrote it, measured as its evaluate.py does.

Each row names a folder (`composition_dir`) with midi/prompt.midi, generated.midi and original.midi;
Étude's own clip folders have prompts/, generated/ and originals/ beside results.json instead. What
comes out has its names: kl_divergence.json, features_distributions.json and
distances_distributions.png: the distances from the prompt to what was generated, and to the
original. Clips of Étude's are also written in its layout, for its own programs.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import UserError
from etude.metrics.folder_files import put_into
from etude.metrics.notes import word2vec
from etude.metrics.notes.clips import DROPPED, SymbolicClip
from etude.metrics.notes.counts import NEUROMUSIC
from etude.metrics.notes.drawing import divergences, write_figures
from etude.metrics.notes.measure import measure_clip
from etude.metrics.notes.table import Measured, measured
from etude.midi.notes import MidiError, NoteTable, read_midi
from etude.storage import write_json

log = logging.getLogger(__name__)

PARTS = {"prompt": "prompts", "generated": "generated", "original": "originals"}
SUFFIXES = (".midi", ".mid")
COLUMNS = (
    *("prompt_length", "generated_length", "original_length", "continued_original_length"),
    *("ended_with_eos", "prompt_original_path", "entropy", "generation_time"),
)
Paths = dict[str, Path]


def evaluate_results(results: Path, output: Path) -> str:
    """Write the files of an evaluation; what they say, as text.

    Raises:
        UserError: the file is no results.json, or none of its rows can be used.
    """
    rows = read_results(results)
    clips: dict[str, list[dict[str, Any]]] = {"original": [], "generated": []}
    for row in rows:
        paths = files_of(row, results.parent)
        try:
            tables = {part: read_midi(path) for part, path in paths.items()}
        except (MidiError, OSError) as error:
            log.warning("%s is left out: %s", row["composition_dir"], error)
            continue
        if len(tables) < len(PARTS) or not all(len(t.without_drums()) for t in tables.values()):
            log.warning("%s is left out: a part is missing or empty", row["composition_dir"])
            continue
        name = str(row["composition_dir"])
        for side, found in clips.items():
            found.append(_measure(name, tables["prompt"], tables[side]))
    if not clips["generated"]:
        raise UserError(
            "none of the compositions can be read",
            code="no-readable-composition",
            where=str(results),
            why=f"{len(rows)} rows; each needs a prompt, what was generated and the original",
            do="keep the folders that results.json names where they were, or beside it",
        )
    sets, words = _sets(clips)
    put_into(output, lambda f: write_figures(sets, words, f, "jeffreys", NEUROMUSIC))
    write_layout(rows, results.parent, output)
    apart = divergences(sets["reference"], sets["generated"], "jeffreys", NEUROMUSIC)
    summary = ", ".join(f"{k} {'n/a' if v is None else f'{v:.4g}'}" for k, v in apart.items())
    return (
        f"{len(clips['generated'])} of {len(rows)} compositions, as Neuromusic measures them\n"
        f"KL(original || generated) of distances from the prompt: {summary}\n"
    )


def read_results(path: Path) -> list[dict[str, Any]]:
    """The rows of a results.json.

    Raises:
        UserError: it is none.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        why = "" if rows and all("composition_dir" in row for row in rows) else "no compositions"
    except (OSError, ValueError, TypeError) as error:
        why = str(error).splitlines()[0]
    if why:
        raise UserError(
            "this is no results.json of Neuromusic's",
            code="not-neuromusic-results",
            where=str(path),
            why=why,
            do="name the file that its test.py wrote, or that of a clip folder of Étude's",
        )
    return list(rows)


def files_of(row: dict[str, Any], beside: Path) -> Paths:
    """The MIDI files of a row by part, those that are there."""
    composition = Path(str(row["composition_dir"]))
    found: Paths = {}
    for part, ours in PARTS.items():
        stems = [
            folder / "midi" / part
            for folder in (composition, beside / composition, beside / composition.name)
        ]
        stems.append(beside / ours / composition.name)
        files = (stem.with_name(stem.name + suffix) for stem in stems for suffix in SUFFIXES)
        if (file := next((file for file in files if file.is_file()), None)) is not None:
            found[part] = file
    return found


def write_layout(rows: list[dict[str, Any]], beside: Path, output: Path) -> None:
    """Write Étude's clips as Neuromusic's test.py leaves them: compositions/, and results.json.

    `original` is what followed the prompt, alone; Neuromusic's own has the prompt in it too, which
    biases what it is compared with. Nothing is written of clips that lie in its layout already.

    Args:
        beside: the folder of clips, which the names in the rows are of.
    """
    written = []
    for row in rows:
        name = Path(str(row["composition_dir"])).name
        whole, found = beside / f"{name}.mid", files_of(row, beside)
        if not whole.is_file() or len(found) < len(PARTS):
            continue
        folder = (output / "compositions" / name).resolve()
        (folder / "midi").mkdir(parents=True, exist_ok=True)
        for part, path in {**found, "continued_original": whole}.items():
            shutil.copyfile(path, folder / f"midi/{part}.midi")
        about = {key: row[key] for key in COLUMNS if key in row}
        if {"prompt_length", "generated_length"} <= about.keys():
            # Its name for prompt and continuation together, which is what lies there.
            together = about["prompt_length"] + about["generated_length"]
            about["continued_original_length"] = together
        written.append({"composition_dir": str(folder)} | about)
    if written:
        write_json(output / "results.json", written)


def _measure(name: str, prompt: NoteTable, follows: NoteTable) -> dict[str, Any]:
    clip = SymbolicClip(
        clip=name, piece=name, music=follows, head=prompt, tail=follows, whole=follows,
        sounding=follows, start_s=0.0, seconds=follows.seconds, entire=follows, from_s=0.0,
    )  # fmt: skip
    return measure_clip(clip, compat=NEUROMUSIC)


def _sets(clips: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, Measured], list[str]]:
    """Both sides; vectors of harmony are learned from the originals, as no others are at hand."""
    sentences = [clip["words"]["music"] for clip in clips["original"]]
    words = word2vec.train(sentences, dim=100, window=4, least=2, epochs=5, seed=0)
    nothing = {"dropped": dict.fromkeys(DROPPED, 0), "note": ""}
    sides = {"reference": "original", "generated": "generated"}
    found = {
        name: measured(
            {"clips": clips[side]} | nothing, words, np.zeros(0, np.int64), compat=NEUROMUSIC,
            real=name == "reference",
        )
        for name, side in sides.items()
    }  # fmt: skip
    return found, list(words)
