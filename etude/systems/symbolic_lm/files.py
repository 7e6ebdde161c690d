"""Symbolic clips as files: .mid and .wav side by side, clips.csv, conditions.csv, results.json.

clip-0000.mid, .wav           the prompt and what was generated behind it
prompts/clip-0000.mid         the prompt alone (where there is one)
generated/clip-0000.mid       what was generated alone
originals/clip-0000.mid       how the held-out piece really goes on behind the prompt
results.json                  Neuromusic's rows, one for each clip
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from etude.audio.files import write_wav
from etude.config import CorpusBase
from etude.config.systems.symbolic_lm import SymbolicGenerate
from etude.midi.notes import NoteTable
from etude.midi.writing import write_midi
from etude.storage import atomic_directory, write_csv, write_json
from etude.systems.audiolm.player import CONDITIONS, ProgressBar
from etude.systems.symbolic_lm.player import (
    SymbolicClip,
    SymbolicInstrument,
    after,
    describe,
    find_prompts,
    first_new,
    generate_symbolic,
    load_symbolic,
)

VERSION = 1  # raised when the same clips give other files

log = logging.getLogger(__name__)
COLUMNS = [
    *("clip", "file", "midi", "seed", "draw", "seconds", "tokens", "ended"),
    *("prime_seconds", "heard_seconds", "prompt_tokens", "invalid_share", "entropy"),
]


def write_table(
    folder: Path, name: str, table: NoteTable, wave: np.ndarray, rate: int
) -> dict[str, Any]:
    """Write a clip's .mid and .wav -> the columns of clips.csv that say so."""
    write_midi(table, folder / f"{name}.mid")
    write_wav(folder / f"{name}.wav", wave, rate)
    seconds = f"{len(wave) / rate:.3f}"
    return {"clip": name, "file": f"{name}.wav", "midi": f"{name}.mid", "seconds": seconds}


def write_symbolic(
    clips: Iterable[SymbolicClip],
    instrument: SymbolicInstrument,
    settings: SymbolicGenerate,
    seed: int,
    draw: int,
    folder: Path,
) -> int:
    """Write a folder of clips; returns how many there are."""
    rows, conditions, results = [], [], []
    with atomic_directory(folder) as temporary:
        for index, clip in enumerate(clips):
            name = f"clip-{index:04d}"
            wave = instrument.play(clip.table, clip.prime_s + settings.seconds)
            row = write_table(temporary, name, clip.table, wave, instrument.rate)
            _write_parts(temporary, name, clip, instrument)
            rows.append(row | _numbers(clip, settings, seed, draw))
            conditions.append({"clip": name, "prompt": clip.given.source, "length": row["seconds"]})
            result = {"composition_dir": name, **describe(clip)}
            if settings.times:
                result["generation_time"] = round(clip.seconds_used, 4)
            results.append(result)
        write_csv(temporary / "clips.csv", COLUMNS, rows)
        write_csv(temporary / "conditions.csv", CONDITIONS, conditions)
        write_json(temporary / "results.json", results)
    log.info("%d clips", len(rows))
    return len(rows)


def _numbers(
    clip: SymbolicClip, settings: SymbolicGenerate, seed: int, draw: int
) -> dict[str, Any]:
    return {
        "seed": seed,
        "draw": draw,
        "tokens": len(clip.drawn.ids),
        "ended": str(clip.drawn.ended).lower(),
        "prime_seconds": f"{clip.prime_s:.3f}",
        "heard_seconds": f"{settings.seconds:g}",
        "prompt_tokens": len(clip.given.ids),
        "invalid_share": f"{clip.invalid:.6f}",
        "entropy": f"{clip.drawn.entropy:.6f}",
    }


def _write_parts(
    folder: Path, name: str, clip: SymbolicClip, instrument: SymbolicInstrument
) -> None:
    """Prompt, continuation and original apart, for metrics that compare them."""
    if not clip.given.ids:
        return
    write_midi(clip.prompt, folder / "prompts" / f"{name}.mid")
    write_midi(after(clip.table, clip.prime_s), folder / "generated" / f"{name}.mid")
    if clip.given.original:
        whole = instrument.tokenizer.decode([*clip.given.ids, *clip.given.original])
        goes_on = after(whole, first_new(whole, clip.prompt))
        write_midi(goes_on, folder / "originals" / f"{name}.mid")


def make_symbolic_clips(
    model: Path,
    tokenizer: Path,
    packed: Path,
    settings: SymbolicGenerate,
    corpus: CorpusBase,
    seed: int,
    draw: int,
    folder: Path,
) -> None:
    """The clips of an experiment: load, sample, decode, render, write."""
    instrument = load_symbolic(model, tokenizer, corpus)
    prompts = find_prompts(instrument, settings, packed)
    with ProgressBar("clips") as bar:
        clips = generate_symbolic(instrument, settings, draw, prompts, bar)
        write_symbolic(clips, instrument, settings, seed, draw, folder)
