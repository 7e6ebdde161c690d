"""Two folders of audio, nothing trained: how far apart are they, and does one copy the other?

Files may be of any length, so both folders are cut into stretches as long as the clips are, and
every distance is of the same number of stretches to the same reference: every second file of the
real music. The other files say how far real music is from itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from etude.audio.files import AudioError, AudioFile
from etude.audio.recordings import Summary, summarise
from etude.corpus.scan import AUDIO_SUFFIXES, list_files, music_kind, printable
from etude.errors import UserError
from etude.metrics import signals
from etude.metrics.frechet import Projection
from etude.metrics.registry import embedding as find_embedding
from etude.metrics.registry import open_embedding, why_not
from etude.metrics.score import Clips, distance_at
from etude.storage import write_csv

log = logging.getLogger(__name__)
COMMON_RATE = 24000
SHORTEST_S, LONGEST_S = 1.0, 30.0  # of a stretch
STRETCHES = 4000  # of a folder, evenly spread over its files: memory and time have a bound
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
        return Clips(self.clips.windows[chosen], self.clips.clips[chosen])


def compare_folders(baseline: Path, clips: Path, embedding: str, output: Path | None) -> str:
    """The distance table and the exact copies of two folders, as text.

    Args:
        output: a folder that gets hash_comparison_detailed.csv.

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
    real_heard, made_heard = (listen(folder, embedding, seconds) for folder in (real, made))
    lines = [
        *_table(real, made, real_heard, made_heard, embedding, seconds),
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


def listen(folder: Folder, embedding: str, seconds: float) -> Heard:
    """Embed the stretches of a folder, one in memory at a time."""
    model = open_embedding(embedding, COMMON_RATE)
    windows, files, harmony = [], [], []
    per_file = max(1, STRETCHES // len(folder.files))
    total = sum(max(1, int(s.seconds / seconds)) for s in folder.files.values())
    for number, (name, summary) in enumerate(
        tqdm(folder.files.items(), desc=f"{embedding}: {folder.path.name}", mininterval=1.0)
    ):
        for wave in _stretches(folder.path / name, summary.seconds, seconds, per_file):
            windows.append(model.embed(wave[None])[0].astype(np.float64))
            files.append(number)
            harmony.append(signals.tempered_share(wave.astype(np.float64), COMMON_RATE))
    clips = np.repeat(np.arange(len(windows)), [len(rows) for rows in windows])
    heard = [value for value in harmony if np.isfinite(value)]
    return Heard(
        Clips(np.concatenate(windows), clips),
        np.array(files),
        float(np.mean(heard)) if heard else float("nan"),
        len(windows) / total,
    )


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


def distances(real: Heard, made: Heard, embedding: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Rows of clips, held-out real music and noise: the distance to one reference at one n.

    A row has `clips`, `n` and `value` or, in `note`, why there is none.
    """
    model = find_embedding(embedding)
    reference, others = real.part(0).windows, real.part(1)
    n = min(count for count in (made.clips.count, others.count) if count)
    sets = {"clips": made.clips, "real vs real": others, "noise": _noise(n, embedding, seconds)}
    enough = len(reference) > model.components
    project = Projection(reference, model.components, model.deviation_floor) if enough else None
    for name, clips in sets.items():
        row: dict[str, Any] = {"clips": name, "n": n}
        if project is None:
            few = f"the reference has {len(reference)} windows of audio"
            yield row | {"note": f"{few}, more than {model.components} are needed"}
        elif not clips.count:
            yield row | {"n": 0, "note": "a single real file has no other to compare it with"}
        elif _fewest(clips, n) < 2:
            yield row | {"note": "a single window of audio has no covariance; give more clips"}
        else:
            yield row | distance_at(project, reference, clips, n)


def _fewest(clips: Clips, n: int) -> int:
    """Windows that a draw of n clips has at the least."""
    return int(np.sort(np.unique(clips.clips, return_counts=True)[1])[:n].sum())


def _noise(n: int, embedding: str, seconds: float) -> Clips:
    """White noise at -20 dBFS, as many stretches as the other rows have."""
    generator = np.random.default_rng(0)
    model = open_embedding(embedding, COMMON_RATE)
    samples = round(seconds * COMMON_RATE)
    rows = [model.embed(0.1 * generator.standard_normal((1, samples)))[0] for _ in range(n)]
    return Clips(np.concatenate(rows), np.repeat(np.arange(n), [len(r) for r in rows]))


def _table(
    real: Folder, made: Folder, real_heard: Heard, made_heard: Heard, embedding: str, seconds: float
) -> Iterator[str]:
    yield f"Fréchet distance ({embedding}) to every second of the {len(real.files)} files of"
    yield f"{real.path}, all rows at the same n of stretches of {seconds:.3g} s; lower is nearer"
    yield ""
    yield f"  {'':<13} {'FD':>9} {'n':>5}"
    about = {
        "clips": f"{made.path}",
        "real vs real": "the other files of the baseline",
        "noise": "white noise",
    }
    for row in distances(real_heard, made_heard, embedding, seconds):
        figure = f"{float(row['value']):.2f}" if "value" in row else "n/a"
        note = f": {row['note']}" if row.get("note") else ""
        yield f"  {row['clips']:<13} {figure:>9} {row['n']:>5}   {about[row['clips']]}{note}"
    for folder, heard in ((real, real_heard), (made, made_heard)):
        if heard.share < 1:
            yield f"  of {folder.path} {heard.share:.1%} was heard, spread over all files"


def _copies(matches: list[dict[str, str]]) -> Iterator[str]:
    copies = [row for row in matches if row["is_match"] == "True"]
    yield f"exact copies (same samples): {len(copies)} of {len(matches)} clips"
    for row in copies:
        yield f"  {row['probe_filename']} = {row['matched_dataset_files']}"
    yield "an exact hash finds whole files only; it says nothing about copied passages"
