"""The memorisation step of the workflow: the rules' inputs to memorisation.csv and its clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.config import Cut, Memorisation
from etude.config.corpora import CorpusBase
from etude.metrics.clip_sets import clip_sets
from etude.metrics.memorisation.attacks import HOST_SECONDS, SPAN_SECONDS, CopyMaker
from etude.metrics.memorisation.catalogue import Catalogue
from etude.metrics.memorisation.chroma import Chroma
from etude.metrics.memorisation.exact import Probe, write_seed_files
from etude.metrics.memorisation.excerpts import CorpusPieces
from etude.metrics.memorisation.find import (
    Search,
    SearchedClips,
    Verdicts,
    guarded,
    read_clip_tokens,
)
from etude.metrics.memorisation.neighbours import Neighbours
from etude.metrics.memorisation.notes import NoteIndex, midi_files
from etude.metrics.memorisation.recall import (
    Row,
    Rung,
    chroma_rung,
    exact_rung,
    fingerprint_rung,
    neighbours_rung,
    recall_row,
    study,
    waveform_rung,
    write_study,
)
from etude.metrics.memorisation.reference import read_hashes, read_tokens
from etude.metrics.memorisation.rows import (
    CLIP_COLUMNS,
    clip_rows,
    extraction_rows,
    left_out_rows,
    recall_rows,
    tidy,
    without,
)
from etude.metrics.memorisation.tunes import Tunes
from etude.metrics.memorisation.waveform import Waveforms
from etude.metrics.registry import Options, embedding, open_embedding
from etude.metrics.tidy import COLUMNS, head
from etude.storage import atomic_directory, read_csv, write_csv

VERSION = 5  # raised when the files change

SETS = ("generated", "real", "copies", "reconstruction")  # that are worth a search


@dataclass(frozen=True)
class Sources:
    """Where everything lies; empty lists and None where an experiment has no such thing."""

    clips: Path
    pieces: Path
    wav: list[Path]
    catalogue: Path
    corpus_embeddings: dict[str, Path]
    clip_embeddings: dict[str, Path]
    recall: Path
    token_shards: list[Path]
    clip_tokens: Path | None
    extraction: Path | None
    packed: Path | None
    midi_root: Path | None
    results: Path


def find_memorisation(
    experiment: Any,
    cut: Cut,
    settings: Memorisation,
    seed: int,
    names: dict[str, str],
    sources: Sources,
    table: Path,
    clips: Path,
    hashes: Path,
) -> None:
    """Write memorisation.csv, memorisation_clips.csv and the folder of we-sharp's four files."""
    music = CorpusPieces(sources.pieces, sources.wav)
    search = Search(music, cut, settings, seed)
    rows: list[dict[str, Any]] = []
    of_clips: list[dict[str, Any]] = []
    probes: list[Probe] = []
    for key, folder in clip_sets(sources.clips).items():
        if key not in SETS:
            continue
        searched = SearchedClips.read(folder, cut.rate)
        verdicts, found = _climb(search, searched, key, sources)
        probes += found
        for verdicts_of_set in verdicts:
            rows += tidy(verdicts_of_set, key)
            of_clips += clip_rows(
                verdicts_of_set, key, searched.names, searched.faults, music, sources.results
            )
    rows += left_out_rows(music.left)
    rows += recall_rows(read_csv(sources.recall))
    if sources.extraction:
        rows += extraction_rows(read_csv(sources.extraction))
    common = head(experiment, names["experiment"], names["clips"], sources.packed, "train")
    write_csv(table, COLUMNS, (common | row for row in rows))
    write_csv(clips, CLIP_COLUMNS, of_clips)
    with atomic_directory(hashes) as temporary:
        write_seed_files(probes, temporary)


def _climb(
    search: Search, clips: SearchedClips, key: str, sources: Sources
) -> tuple[list[Verdicts], list[Probe]]:
    """All searches for one set of clips."""
    exact, probes = search.exact(clips, read_hashes(sources.catalogue, search.music.split))
    catalogue = Catalogue.load(sources.catalogue / "fingerprints.npz")
    verdicts_of_set = [exact]
    verdicts_of_set.append(guarded("fingerprint", "", lambda: search.fingerprint(clips, catalogue)))
    verdicts_of_set.append(guarded("waveform", "", lambda: search.waveform(clips, catalogue)))
    harmonies = Chroma.load(sources.catalogue / "chroma.npz")
    verdicts_of_set.append(guarded("chroma", "", lambda: search.chroma(clips, harmonies)))
    for name, path in sources.corpus_embeddings.items():
        made, floor = (
            sources.clip_embeddings[name.rpartition(":")[2]],
            embedding(name).deviation_floor,
        )
        label = name.rpartition(":")[2]
        verdicts_of_set.append(
            guarded(
                "neighbours",
                label,
                lambda p=path, m=made, f=floor, n=label: search.neighbours(clips, n, f, p, m, key),  # type: ignore[misc]
            )
        )
    if sources.clip_tokens:
        made_tokens = read_clip_tokens(sources.clip_tokens).get(key, {})
        known = read_tokens(sources.token_shards, search.cut.hop == search.cut.seconds)
        verdicts_of_set.append(
            guarded("tokens", "", lambda: search.tokens(clips, made_tokens, known))
        )
    if sources.midi_root and any(clips.folder.glob("*.mid")):
        scores = NoteIndex(search.music, midi_files(read_csv(sources.pieces), sources.midi_root))
        verdicts_of_set.append(guarded("notes", "", lambda: search.notes(clips, scores)))
        verdicts_of_set += Tunes(scores).verdicts(clips, search.settings.null_clips, search.seed)
    return verdicts_of_set, probes


def study_memorisation(
    corpus: CorpusBase,
    cut: Cut,
    settings: Memorisation,
    seed: int,
    *,
    pieces: Path,
    wav: list[Path],
    catalogue: Path,
    embeddings: dict[str, Path],
    options: Options,
    midi_root: Path | None,
    output: Path,
) -> None:
    """Write the recall of planted copies, by search and by attack."""
    music = CorpusPieces(pieces, wav)
    midi = midi_files(read_csv(pieces), midi_root) if midi_root else {}
    studio = CopyMaker(music, cut.rate, midi, corpus.render, corpus.rules, settings.soundfont, seed)
    rungs: list[Rung] = [exact_rung(read_hashes(catalogue, music.split, "train"), cut)]
    known = Catalogue.load(catalogue / "fingerprints.npz")
    rungs += [fingerprint_rung(known, cut.rate), waveform_rung(Waveforms(music, known), cut.rate)]
    rungs.append(chroma_rung(Chroma.load(catalogue / "chroma.npz"), cut.rate))
    for name, path in embeddings.items():
        with np.load(path) as file:
            train = [music.split.get(str(piece)) == "train" for piece in file["piece"]]
            windows = file["windows"][train]
        model = open_embedding(name, cut.rate, options)
        space = Neighbours(windows, model.deviation_floor)
        rungs.append(neighbours_rung(space, name.rpartition(":")[2], model, cut.rate))
    rows: list[Row] = []
    if settings.planted:
        rows += study(music, studio, rungs, settings, cut, seed)
        if midi:
            scores = NoteIndex(music, midi)
            rows += _notes_study(scores, settings, cut.seconds, seed)
            rows += _tunes_study(scores, settings, max(cut.seconds, HOST_SECONDS), seed)
    verdicts_of_set = without(music.left)
    write_study((row | {"note": row.get("note") or verdicts_of_set} for row in rows), output)


def _notes_study(scores: NoteIndex, settings: Memorisation, seconds: float, seed: int) -> list[Row]:
    rows: list[Row] = []
    common = {"rung": "notes", "embedding": ""}
    for length in dict.fromkeys((seconds, HOST_SECONDS)):  # few notes of chorales are anyone's own
        null = scores.null(length, settings.null_clips, seed)
        about = common | {"span_s": length, "clip_s": length}
        for attack, found in scores.planted(length, settings.planted, seed):
            rows.append(about | recall_row(attack, found, null))
    if settings.embedded:
        about = common | {"span_s": SPAN_SECONDS, "clip_s": HOST_SECONDS}
        for attack, found in scores.planted_spans(settings.planted, seed):
            rows.append(about | recall_row(attack, found, null))
    return rows


def _tunes_study(
    scores: NoteIndex, settings: Memorisation, seconds: float, seed: int
) -> Iterator[Row]:
    """Of melodies and bars, in clips that are long enough to have them."""
    about = {"embedding": "", "span_s": seconds, "clip_s": seconds}
    for rung, attack, found, null in Tunes(scores).study(seconds, settings, seed):
        yield {"rung": rung} | about | recall_row(attack, found, null)
