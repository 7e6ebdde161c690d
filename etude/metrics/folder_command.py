"""`python -m etude evaluate`: two folders, whatever they hold, and what can be said of them."""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etude.audio.files import read_audio, write_wav
from etude.clips.conditions_table import read_conditions
from etude.config.corpora import Filter, Render
from etude.config.embeddings import why_not
from etude.corpus.scan import list_files, music_kind, printable
from etude.errors import UserError
from etude.metrics.clap import Clap
from etude.metrics.fadtk_files import has_statistics, read_statistics, write_embeddings
from etude.metrics.folder_notes import compare_notes, read_notes
from etude.metrics.folder_scan import look_through
from etude.metrics.folders import (
    LONGEST_S,
    SHORTEST_S,
    Effort,
    compare_folders,
    listen,
    refuse_embedding,
)
from etude.metrics.frechet import frechet_distance, statistics
from etude.midi.notes import MidiError
from etude.midi.render import load_soundfont, render_midi
from etude.pool import map_in_order
from etude.pretrained.networks import WEIGHTS
from etude.storage import check_place, embeddings_folder, write_csv, write_text

SUMMARY = "summary.txt"
TEXTS = ["clip", "prompt", "cosine", "others_prompts"]


def evaluate(options: argparse.Namespace) -> str:
    """What is said of the folders that the command names; --output gets it with tables, figures.

    Raises:
        UserError: nothing can be read, or what cannot be compared was named together.
    """
    for folder in (options.output, options.cache):
        if folder is not None:
            check_place(folder / "file")
    if options.results is not None:
        from etude.metrics.neuromusic_files import evaluate_results

        text = evaluate_results(options.results, options.output or options.results.parent)
        return _written(text, options.output)
    if options.baseline is None:
        raise UserError(
            "nothing to compare the clips with",
            code="no-baseline",
            where="--baseline",
            do="name a folder of real music, or fadtk's statistics",
        )
    if options.weights is not None and not (options.weights / WEIGHTS).is_file():
        raise UserError(
            "no weights are there",
            code="weights-not-found",
            where=str(options.weights),
            why=f"it has no {WEIGHTS}",
            do="name a CLAP's folder in the hub's form",
        )
    cache = None if options.no_cache else options.cache or embeddings_folder()
    weighed = why_not(options.model) != ""  # an embedding that does not come with Étude
    effort = Effort(
        options.workers, options.batch_size, cache, options.weights if weighed else None
    )
    if _is_statistics(options.baseline):
        text = compare_with_statistics(
            options.baseline, options.eval, options.model, options.output, effort
        )
    else:
        text = _compare(options, effort)
    if options.weights is not None:
        text += score_texts(options.eval, options.weights, options.output)
    return _written(text, options.output)


def _written(text: str, output: Path | None) -> str:
    if output is not None:
        write_text(output / SUMMARY, text)
    return text


def _is_statistics(path: Path) -> bool:
    return has_statistics(path) and (path.is_file() or not kind_of(path))


def kind_of(folder: Path) -> str:
    """What a folder holds: `audio`, `midi` where it has no audio, or an empty string."""
    if not folder.is_dir():
        return ""
    kinds = {music_kind(name) for name in list_files(folder)} - {""}
    return "audio" if "audio" in kinds else "midi" if kinds else ""


def _compare(options: argparse.Namespace, effort: Effort) -> str:
    """Sound of both folders, rendered where they hold MIDI; and notes, where both have some."""
    folders = options.baseline, options.eval
    kinds = [kind_of(folder) for folder in folders]
    compare = partial(
        compare_folders,
        embedding=options.model, output=options.output, use_inf=options.use_inf, effort=effort,
    )  # fmt: skip
    if set(kinds) == {"audio", "midi"}:
        raise UserError(
            "MIDI cannot be compared with recordings",
            code="midi-against-recordings",
            where=" and ".join(
                f"{folder} ({kind})" for folder, kind in zip(folders, kinds, strict=True)
            ),
            why="rendered by a SoundFont, any music sounds unlike a recording, so the distance "
            "would be that of the instruments",
            do="give MIDI on both sides, or audio on both",
        )
    if "midi" not in kinds:
        return compare(*folders)
    refuse_embedding(options.model, effort)
    real, made = (read_notes(folder) for folder in folders)
    text = compare_notes(real, made, options.output, options.workers)
    with tempfile.TemporaryDirectory(prefix="etude-evaluate-") as scratch:
        places = [Path(scratch, name) for name in ("real", "made")]
        for notes, place in zip((real, made), places, strict=True):
            render_folder(notes.path, list(notes.tables), place, options.workers)
        sound = compare(*places, names=(str(folders[0]), str(folders[1])))
    return f"{text}\nAs sound, by the default SoundFont:\n{sound}"


def render_folder(source: Path, names: list[str], target: Path, threads: int) -> None:
    """Render MIDI files with the default SoundFont, each under its name with .wav after it.

    What renders to nothing is left out, and is there as notes all the same.
    """
    load_soundfont(None)  # forked workers have it; errors come early
    known = {printable(name): name for name in list_files(source)}
    jobs = [(source / known[name], target / f"{name}.wav") for name in names]
    list(map_in_order(_render, jobs, threads, title=f"rendering {source.name}", chunk=2))


def _render(job: tuple[Path, Path]) -> None:
    path, target = job
    settings = Render()
    try:
        wave = render_midi(path, settings, Filter(drums="keep"))
    except MidiError:
        return
    if wave.size:
        write_wav(target, wave, settings.rate)


def compare_with_statistics(
    baseline: Path, clips: Path, embedding: str, output: Path | None, effort: Effort
) -> str:
    """The Fréchet distance to statistics that others made, of clips and of white noise.

    Raises:
        UserError: there are none of this embedding, or of another size; the clips are no audio.
    """
    refuse_embedding(embedding, effort)
    mean, covariance = read_statistics(baseline, embedding)
    made = look_through(clips)
    lengths = [summary.seconds for summary in made.files.values()]
    embedded = listen(
        made, embedding, float(np.clip(np.median(lengths), SHORTEST_S, LONGEST_S)), effort
    )
    rows = embedded.clips.windows
    if rows.shape[1] != len(mean):
        raise UserError(
            "these statistics are of another embedding",
            code="another-embedding",
            where=str(baseline),
            why=f"they have {len(mean)} dimensions, {embedding} has {rows.shape[1]}",
            do="name the embedding that they were made with, with --model",
        )
    if len(rows) < 2:
        raise UserError(
            "a single window has no covariance",
            code="too-few-samples",
            where=str(clips),
            do="give more clips",
        )
    distance = frechet_distance(mean, covariance, *statistics(rows))
    if output is not None:
        kept = {name.replace("/", "--"): embedded.of_file(i) for i, name in enumerate(made.files)}
        write_embeddings(output, embedding, kept)
        row = {"metric": "frechet_distance", "value": f"{distance:.6f}", "n": len(rows)}
        write_csv(output / "distances.csv", ["metric", "value", "n"], [row])
    lines = [
        f"Fréchet distance ({embedding}) of {len(made.files)} clips ({len(rows)} windows) to the",
        f"statistics {baseline}: {distance:.4g}",
        "without the music itself there is no row of real music beside it, and no copies are found",
        *(f"not read: {line}" for line in made.unreadable),
    ]
    return "\n".join(lines) + "\n"


def score_texts(clips: Path, weights: Path, output: Path | None) -> str:
    """How near clips are to the texts that they were made from, by a CLAP; nothing without texts.

    Beside it the same clips with the texts of the others: what the figure is where a text says
    nothing of its clip.
    """
    names = [name for name in list_files(clips) if music_kind(name) == "audio"]
    conditions = read_conditions(clips, names)
    texts = {name: row["prompt"] for name, row in conditions.items() if row["prompt"]}
    if not texts:
        return ""
    clap, rows = Clap(weights), []
    different = list(dict.fromkeys(texts.values()))
    for name, text in texts.items():
        wave = read_audio(clips / name, clap.sample_rate, upsample=True)
        (found,) = clap.similarity([wave], clap.sample_rate, different).tolist()
        cosines = dict(zip(different, found, strict=True))
        others = [cosine for t, cosine in cosines.items() if t != text]
        row: dict[str, Any] = {"clip": printable(name), "prompt": text}
        row |= {"cosine": cosines[text], "others_prompts": float(np.mean(others)) if others else ""}
        rows.append(row)
    if output is not None:
        write_csv(output / "texts.csv", TEXTS, [_rounded(row) for row in rows])
    mean = np.mean([row["cosine"] for row in rows])
    others = [row["others_prompts"] for row in rows if row["others_prompts"] != ""]
    beside = f", with the others' texts {np.mean(others):.3f}" if others else ""
    return f"CLAP's cosine of clip and text: {mean:.3f} of {len(rows)} clips{beside}\n"


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()}
