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

from etude.audio.files import AudioFile
from etude.audio.tempered import tempered_share
from etude.config.embeddings import why_not
from etude.errors import UserError
from etude.metrics import signals
from etude.metrics.cache import EmbeddingCache, version_of
from etude.metrics.distances import METRICS, Yardstick, measure_sets
from etude.metrics.fadtk_files import write_embeddings
from etude.metrics.folder_files import draw_regions, regions, write_distances, write_matches
from etude.metrics.folder_scan import Folder, find_copies, look_through
from etude.metrics.folder_text import copies_found, coverage_lines, distance_table
from etude.metrics.registry import open_embedding, projection, residual_weight
from etude.metrics.samples import Clips
from etude.plugins import is_plugin

log = logging.getLogger(__name__)
COMMON_RATE = 24000
SHORTEST_S, LONGEST_S = 1.0, 30.0  # of a stretch
BATCH_S = 30.0  # of audio embedded at once, at most: frames overlap and fill memory
STRETCHES = 4000  # of a folder, evenly spread over its files: memory and time have a bound


@dataclass
class EmbeddedFolder:
    """Embeddings of the stretches of a folder; `files` is the file of each stretch, by index."""

    clips: Clips
    files: np.ndarray
    harmony: float
    share: float

    def of_file(self, number: int) -> np.ndarray:
        """The windows [n, d] of a file."""
        stretches = np.flatnonzero(self.files == number)
        return self.clips.windows[np.isin(self.clips.clips, stretches)]

    def part(self, number: int) -> Clips:
        """The stretches of every second file: from the first (0) or the second (1) on."""
        stretches = np.flatnonzero(self.files % 2 == number)
        chosen = np.isin(self.clips.clips, stretches)
        return Clips(self.clips.windows[chosen], self.clips.clips[chosen], self.clips.units)


@dataclass(frozen=True)
class Effort:
    """How embeddings are made; no figure depends on it.

    Args:
        workers: files read and embedded at once.
        batch_size: stretches of a file embedded at once, at most (no more than 30 s).
        cache: where embeddings are kept (none: nowhere).
        weights: of an embedding that needs some: a folder in the hub's form.
    """

    workers: int = 1
    batch_size: int = 8
    cache: Path | None = None
    weights: Path | None = None


def compare_folders(
    baseline: Path,
    clips: Path,
    embedding: str,
    output: Path | None,
    *,
    use_inf: bool = False,
    effort: Effort | None = None,
    names: tuple[str, str] = ("", ""),
) -> str:
    """The distance table and the exact copies of two folders, as text.

    Args:
        output: a folder that gets tables, figures and embeddings (etude.metrics.folder_files).
        use_inf: FAD-infinity as well.
        names: what the folders are called, where their audio was made of something else.

    Raises:
        UserError: an embedding that cannot run, a folder without readable audio.
    """
    effort = effort or Effort()
    refuse_embedding(embedding, effort)
    real, made = look_through(baseline, names[0]), look_through(clips, names[1])
    matches = find_copies(real.hashes, made.hashes)
    lengths = [summary.seconds for summary in made.files.values()]
    seconds = float(np.clip(np.median(lengths), SHORTEST_S, LONGEST_S))
    real_embedded, made_embedded = (listen(f, embedding, seconds, effort) for f in (real, made))
    metrics = [metric for metric in METRICS if use_inf or metric != "fad_infinity"]
    rows = list(
        distances(real_embedded, made_embedded, embedding, seconds, metrics, effort.weights)
    )
    if output is not None:
        write_matches(output, matches)
        write_distances(output, rows)
        found = regions((real_embedded.clips, real_embedded.files), made_embedded.clips)
        draw_regions(output / "regions.png", found, [*real.files], "stretches of clips")
        kept = {
            name.replace("/", "--"): made_embedded.of_file(i) for i, name in enumerate(made.files)
        }
        write_embeddings(output, embedding, kept)
    on_grid = made_embedded.harmony, real_embedded.harmony
    lines = [
        *distance_table(real, made, embedding, seconds, iter(rows), metrics),
        *coverage_lines((real, real_embedded.share), (made, made_embedded.share)),
        "",
        f"et_grid: clips {on_grid[0]:.3f}, baseline {on_grid[1]:.3f} (chance 0.5)",
        *copies_found(matches),
        *(f"not read: {line}" for line in [*real.unreadable, *made.unreadable]),
    ]
    return "\n".join(lines) + "\n"


def refuse_embedding(embedding: str, effort: Effort) -> None:
    """See that an embedding can run here.

    Raises:
        UserError: it needs weights that are not given, or nothing has this name.
    """
    if reason := why_not(embedding, [embedding] if effort.weights else []):
        raise UserError(
            f"the embedding {embedding} cannot run here",
            why=reason,
            do="name another with --model, or a CLAP's folder with --weights",
        )


def listen(
    folder: Folder, embedding: str, seconds: float, effort: Effort | None = None
) -> EmbeddedFolder:
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
    return EmbeddedFolder(clips, numbers, mean, len(sizes) / total)


class _Ear:
    """Hears one file: embeddings and harmony of its stretches."""

    def __init__(self, embedding: str, seconds: float, per_file: int, effort: Effort) -> None:
        self.model = open_embedding(embedding, COMMON_RATE, weights=effort.weights)
        self.rate = int(self.model.sample_rate)
        self.seconds, self.per_file = seconds, per_file
        self.batch_size = max(1, min(effort.batch_size, int(BATCH_S / seconds)))
        # Whether a user's own network may be used by several threads nobody knows.
        self.turn = threading.Lock() if is_plugin(embedding) else nullcontext()
        self.cache = EmbeddingCache(effort.cache)
        self.about = {
            "embedding": embedding,
            "version": f"{_version(embedding, self.model)} {signals.VERSION}",
            "rate": self.rate,
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
        waves = _stretches(path, self.rate, length_s, self.seconds, self.per_file)
        for batch in _batches(waves, self.batch_size):
            with self.turn:
                rows = np.asarray(self.model.embed(batch), dtype=np.float64)
            windows.append(rows.reshape(-1, rows.shape[-1]))
            sizes += [rows.shape[1]] * len(rows)
            harmony += [tempered_share(w.astype(np.float64), self.rate) for w in batch]
        found = {
            "windows": np.concatenate(windows),
            "sizes": np.array(sizes),
            "harmony": np.array(harmony),
        }
        self.cache.put(key, found)
        return found


def _version(embedding: str, model: Any) -> str:
    """What an embedding's figures depend on; of weights of others their hash."""
    return str(model.origin["sha256"]) if hasattr(model, "origin") else version_of(embedding)


def _batches(waves: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Stretches of one length together, at most this many: [batch, samples]."""
    held: list[np.ndarray] = []
    for wave in waves:
        if held and (len(held) == size or len(wave) != len(held[0])):
            yield np.stack(held)
            held = []
        held.append(wave)
    if held:
        yield np.stack(held)


def _stretches(
    path: Path, rate: int, length_s: float, seconds: float, most: int
) -> Iterator[np.ndarray]:
    """Stretches of a file, evenly spread; one that is shorter where the file is."""
    count = max(1, int(length_s / seconds))
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
    with AudioFile(path) as file:
        for index in chosen:
            wave = file.read(rate, float(index) * seconds, seconds, upsample=True)
            # A file of fewer samples than one at this rate still is a stretch.
            yield wave if len(wave) else np.zeros(1, np.float32)


def distances(
    real: EmbeddedFolder,
    made: EmbeddedFolder,
    embedding: str,
    seconds: float,
    metrics: list[str],
    weights: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of clips, held-out real music and noise: all distances to one reference.

    A row has `clips`, `n` and for each metric an Estimate or the reason why there is none.
    """
    n = min(x for x in (made.clips.count, real.part(1).count) if x)
    sets = {
        "clips": made.clips,
        "real vs real": real.part(1),
        "noise": _noise(n, embedding, seconds, weights),
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


def _noise(n: int, embedding: str, seconds: float, weights: Path | None) -> Clips:
    """White noise at -20 dBFS, as many stretches as the other rows have."""
    generator = np.random.default_rng(0)
    model = open_embedding(embedding, COMMON_RATE, weights=weights)
    samples = round(seconds * model.sample_rate)
    rows = [model.embed(0.1 * generator.standard_normal((1, samples)))[0] for _ in range(n)]
    return Clips(np.concatenate(rows), np.repeat(np.arange(n), [len(r) for r in rows]))
