"""Two folders of audio, nothing trained: how far apart are they, and does one copy the other?

Files may be of any length, so both folders are cut into stretches as long as the clips are, and
every distance is to the same reference: every second file of the real music. The other files say
how far real music is from itself. Distances that depend on the number of stretches are of as many
as the clips have; intervals are over files (both: etude.metrics.samples).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from etude.audio.files import AudioError, AudioFile
from etude.audio.recordings import Summary, summarise
from etude.audio.tempered import tempered_share
from etude.config.embeddings import why_not
from etude.corpus.scan import AUDIO_SUFFIXES, list_files, music_kind, printable
from etude.errors import UserError
from etude.metrics import signals
from etude.metrics.cache import Cache, version_of
from etude.metrics.distances import METRICS, Yardstick, measure_sets
from etude.metrics.registry import open_embedding, projection, residual_weight
from etude.metrics.samples import Clips, Estimate
from etude.own import is_own
from etude.storage import write_csv

log = logging.getLogger(__name__)
COMMON_RATE = 24000
SHORTEST_S, LONGEST_S = 1.0, 30.0  # of a stretch
BATCH_S = 30.0  # of audio embedded at once, at the most: frames overlap and fill memory
STRETCHES = 4000  # of a folder, evenly spread over its files: memory and time have a bound
HEADS = {"frechet_distance": "FD", "fad_infinity": "FAD-inf", "kad": "KAD", "mad": "MAD"}
MATCHES = ["probe_filename", "probe_hash", "is_match", "matched_dataset_files"]


@dataclass
class Folder:
    """The audio of a folder: what each readable file is, and why the others are not."""

    path: Path
    files: dict[str, Summary]
    unreadable: list[str]

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file's own samples."""
        return {name: summary.samples_hash for name, summary in self.files.items()}


@dataclass
class Heard:
    """Embeddings of the stretches of a folder; `files` is the file of each stretch, by index."""

    clips: Clips
    files: np.ndarray
    harmony: float
    share: float

    def part(self, number: int) -> Clips:
        """The stretches of every second file: from the first (0) or the second (1) on."""
        stretches = np.flatnonzero(self.files % 2 == number)
        chosen = np.isin(self.clips.clips, stretches)
        return Clips(self.clips.windows[chosen], self.clips.clips[chosen], self.clips.units)


@dataclass(frozen=True)
class Effort:
    """How embeddings are made; no figure hangs on it.

    Args:
        workers: files read and embedded at once.
        batch_size: stretches of a file embedded at once, at the most (no more than 30 s).
        cache: where embeddings are kept (none: nowhere).
    """

    workers: int = 1
    batch_size: int = 8
    cache: Path | None = None


def compare_folders(
    baseline: Path,
    clips: Path,
    embedding: str,
    output: Path | None,
    *,
    use_inf: bool = False,
    effort: Effort | None = None,
) -> str:
    """The distance table and the exact copies of two folders, as text.

    Args:
        output: a folder that gets hash_comparison_detailed.csv.
        use_inf: FAD-infinity as well.

    Raises:
        UserError: an embedding that cannot run, a folder without readable audio.
    """
    if reason := why_not(embedding):
        raise UserError(f"the embedding {embedding} cannot run here", why=reason)
    real, made = look_through(baseline), look_through(clips)
    matches = find_copies(real.hashes, made.hashes)
    if output is not None:
        write_csv(output / "hash_comparison_detailed.csv", MATCHES, matches)
    lengths = [summary.seconds for summary in made.files.values()]
    seconds = float(np.clip(np.median(lengths), SHORTEST_S, LONGEST_S))
    real_heard, made_heard = (listen(f, embedding, seconds, effort) for f in (real, made))
    metrics = [metric for metric in METRICS if use_inf or metric != "fad_infinity"]
    rows = distances(real_heard, made_heard, embedding, seconds, metrics)
    lines = [
        *_table(real, made, embedding, seconds, rows, metrics),
        *_heard_in_part((real, real_heard), (made, made_heard)),
        "",
        f"et_grid: clips {made_heard.harmony:.3f}, baseline {real_heard.harmony:.3f} (chance 0.5)",
        *_copies(matches),
        *(f"not read: {line}" for line in [*real.unreadable, *made.unreadable]),
    ]
    return "\n".join(lines) + "\n"


def look_through(folder: Path) -> Folder:
    """Hash every audio file of a folder, of any depth, block by block.

    The hash is of the file's own samples, as decoded, at its own rate and channels: equal sound
    in WAV and FLAC has equal hashes.

    Raises:
        UserError: no audio can be read.
    """
    if not folder.is_dir():
        raise UserError(
            "there is no such folder" if not folder.exists() else "this is no folder",
            where=str(folder),
            do="give the path of a folder with audio files",
        )
    found = Folder(folder, {}, [])
    files = list(list_files(folder))
    names = [name for name in files if music_kind(name) == "audio"]
    if midi := sum(music_kind(name) == "midi" for name in files):
        log.warning("%s: %d MIDI files are left out; only audio is compared", folder, midi)
    for name in tqdm(names, desc=f"reading {folder.name}", unit="file", mininterval=1.0):
        try:
            found.files[name] = summarise(folder / name)
        except AudioError as error:
            found.unreadable.append(f"{printable(name)}: {error.reason}")
    if not found.files:
        why = f"{len(found.unreadable)} audio files are unreadable" if names else "there is none"
        raise UserError(
            "no audio can be read",
            where=str(folder),
            why=why,
            do=f"give a folder with files of these kinds: {' '.join(sorted(AUDIO_SUFFIXES))}",
        )
    return found


def listen(folder: Folder, embedding: str, seconds: float, effort: Effort | None = None) -> Heard:
    """Embed the stretches of a folder, a few in memory at a time, or find them in the cache."""
    effort = effort or Effort()
    ear = _Ear(embedding, seconds, max(1, STRETCHES // len(folder.files)), effort)
    files = [(folder.path / name, summary.seconds) for name, summary in folder.files.items()]
    bar = tqdm(total=len(files), desc=f"{embedding}: {folder.path.name}", mininterval=1.0)
    parts = []
    with ThreadPoolExecutor(effort.workers) as pool:
        for part in pool.map(ear.hear, files):  # in the order of files, whoever is ready first
            parts.append(part)
            bar.update()
    bar.close()
    if ear.cache.found:
        log.info(
            "%s: %d of %d files were embedded before", folder.path, ear.cache.found, len(files)
        )
    sizes = np.concatenate([part["sizes"] for part in parts])
    numbers = np.repeat(np.arange(len(parts)), [len(part["sizes"]) for part in parts])
    clips = Clips(
        np.concatenate([part["windows"] for part in parts]),
        np.repeat(np.arange(len(sizes)), sizes),
        [f"file {number}" for number in numbers],
    )
    harmony = np.concatenate([part["harmony"] for part in parts])
    known = harmony[np.isfinite(harmony)]
    total = sum(max(1, int(length / seconds)) for _, length in files)
    mean = float(known.mean()) if len(known) else float("nan")
    return Heard(clips, numbers, mean, len(sizes) / total)


class _Ear:
    """Hears one file: embeddings and harmony of its stretches."""

    def __init__(self, embedding: str, seconds: float, per_file: int, effort: Effort) -> None:
        self.model = open_embedding(embedding, COMMON_RATE)
        self.seconds, self.per_file = seconds, per_file
        self.batch_size = max(1, min(effort.batch_size, int(BATCH_S / seconds)))
        # Whether a user's own network may be used by several threads nobody knows.
        self.turn = threading.Lock() if is_own(embedding) else nullcontext()
        self.cache = Cache(effort.cache)
        self.about = {
            "embedding": embedding,
            "version": f"{version_of(embedding)} {signals.VERSION}",
            "rate": self.model.sample_rate,
            "seconds": seconds,
            "per_file": per_file,
        }

    def hear(self, file: tuple[Path, float]) -> dict[str, np.ndarray]:
        """Windows [n, d], how many of them each stretch has, and the stretches' harmony."""
        path, length_s = file
        key = self.cache.key(path, **self.about) if self.cache.folder else ""
        if (kept := self.cache.get(key)) is not None:
            return kept
        windows, sizes, harmony = [], [], []
        waves = _stretches(path, length_s, self.seconds, self.per_file)
        for batch in _batches(waves, self.batch_size):
            with self.turn:
                rows = np.asarray(self.model.embed(batch), dtype=np.float64)
            windows.append(rows.reshape(-1, rows.shape[-1]))
            sizes += [rows.shape[1]] * len(rows)
            harmony += [tempered_share(w.astype(np.float64), COMMON_RATE) for w in batch]
        found = {
            "windows": np.concatenate(windows),
            "sizes": np.array(sizes),
            "harmony": np.array(harmony),
        }
        self.cache.put(key, found)
        return found


def _batches(waves: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stretches of one length together, at most so many: [batch, samples]."""
    held: list[np.ndarray] = []
    for wave in waves:
        if held and (len(held) == size or len(wave) != len(held[0])):
            yield np.stack(held)
            held = []
        held.append(wave)
    if held:
        yield np.stack(held)


def _stretches(path: Path, length_s: float, seconds: float, most: int) -> Iterator[np.ndarray]:
    """Stretches of a file, evenly spread; one that is shorter where the file is."""
    count = max(1, int(length_s / seconds))
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
    with AudioFile(path) as file:
        for index in chosen:
            wave = file.read(COMMON_RATE, float(index) * seconds, seconds, upsample=True)
            # A file of fewer samples than one at this rate still is a stretch.
            yield wave if len(wave) else np.zeros(1, np.float32)


def find_copies(real: dict[str, str], made: dict[str, str]) -> list[dict[str, str]]:
    """Each clip with the real files that have the very same samples; unmatched clips as well."""
    files: dict[str, list[str]] = {}
    for name, digest in real.items():
        files.setdefault(digest, []).append(printable(name))
    return [
        {
            "probe_filename": printable(name),
            "probe_hash": digest,
            "is_match": str(digest in files),
            "matched_dataset_files": ", ".join(files.get(digest, [])) or "No match",
        }
        for name, digest in made.items()
    ]


def distances(
    real: Heard, made: Heard, embedding: str, seconds: float, metrics: list[str]
) -> Iterator[dict[str, Any]]:
    """Rows of clips, held-out real music and noise: all distances to one reference.

    A row has `clips`, `n` and for each metric an Estimate or the reason why there is none.
    """
    n = min(x for x in (made.clips.count, real.part(1).count) if x)
    sets = {
        "clips": made.clips,
        "real vs real": real.part(1),
        "noise": _noise(n, embedding, seconds),
    }
    notes = {"real vs real": "a single real file has no other to compare it with"}
    try:
        space = *projection(embedding), residual_weight(embedding)
        yardstick = Yardstick(real.part(0), *space)
    except UserError as error:
        for name, clips in sets.items():
            why = error.what if clips.count else notes[name]
            yield {"clips": name, "n": min(n, clips.count)} | dict.fromkeys(metrics, why)
        return
    rows: dict[str, dict[str, Any]] = {}
    for name, metric, count, found in measure_sets(yardstick, sets, notes, metrics, like="clips"):
        rows.setdefault(name, {"clips": name, "n": count})[metric] = found
    yield from rows.values()


def _noise(n: int, embedding: str, seconds: float) -> Clips:
    """White noise at -20 dBFS, as many stretches as the other rows have."""
    generator = np.random.default_rng(0)
    model = open_embedding(embedding, COMMON_RATE)
    samples = round(seconds * COMMON_RATE)
    rows = [model.embed(0.1 * generator.standard_normal((1, samples)))[0] for _ in range(n)]
    return Clips(np.concatenate(rows), np.repeat(np.arange(n), [len(r) for r in rows]))


def _table(
    real: Folder,
    made: Folder,
    embedding: str,
    seconds: float,
    rows: Iterator[dict[str, Any]],
    metrics: list[str],
) -> Iterator[str]:
    yield f"Distances ({embedding}) to every second of the {len(real.files)} files of {real.path},"
    yield f"FD and MAD of n stretches of {seconds:.3g} s, KAD of all; lower is nearer. FD: Fréchet"
    yield "distance, KAD: 100 x MMD², MAD: -ln MAUVE; [95 % interval]"
    yield ""
    yield f"  {'':<13} {'n':>5}" + "".join(f"  {HEADS[metric]:<24}" for metric in metrics).rstrip()
    about = {
        "clips": f"{made.path}",
        "real vs real": "the other files of the baseline",
        "noise": "white noise",
    }
    said: dict[str, None] = {}  # in order, each once
    for row in rows:
        cells = "".join(f"  {_cell(row[metric]):<24}" for metric in metrics)
        yield f"  {row['clips']:<13} {row['n']:>5}{cells}  {about[row['clips']]}"
        for metric in metrics:
            found = row[metric]
            note = found.note if isinstance(found, Estimate) else found
            if note:
                said[f"  {row['clips']}, {HEADS[metric]}: {note}"] = None
    yield from said


def _cell(found: Estimate | str) -> str:
    if isinstance(found, str):
        return "n/a"
    figure = f"{found.value:.3g}" if abs(found.value) < 100 else f"{found.value:.0f}"
    if found.interval is None:
        return figure
    low, high = found.interval
    return f"{figure} [{low:.3g}, {high:.3g}]"


def _heard_in_part(*folders: tuple[Folder, Heard]) -> Iterator[str]:
    for folder, heard in folders:
        if heard.share < 1:
            yield f"  of {folder.path} {heard.share:.1%} was heard, spread over all files"


def _copies(matches: list[dict[str, str]]) -> Iterator[str]:
    copies = [row for row in matches if row["is_match"] == "True"]
    yield f"exact copies (same samples): {len(copies)} of {len(matches)} clips"
    for row in copies:
        yield f"  {row['probe_filename']} = {row['matched_dataset_files']}"
    yield "an exact hash finds whole files only; it says nothing about copied passages"
