"""Raw recordings -> snippets with a table to fill in.

<recording>/<recording> [0001].wav   as the recording is: rate, channels, samples
captions.csv                         a row a snippet: file, caption (empty), tune (the recording, so
                                     that its snippets stay on one side of the split), source_file,
                                     start_s, end_s
left_out.csv                         what became no snippet, and why
ownership.csv                        the owners of each snippet: those of its recording

The folder is a corpus: {source: folder, path: <folder>, metadata: captions.csv}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from etude.audio.files import AudioError
from etude.audio.recordings import KEPT, Recording
from etude.corpus.ownership import COLUMNS as OWNERSHIP
from etude.corpus.ownership import Ownership, read_ownership
from etude.corpus.scan import AUDIO_SUFFIXES, list_files, printable
from etude.errors import UserError
from etude.storage import atomic_directory, write_csv

FRAME_S = 0.05  # in which loudness is measured
MARGIN_S = 0.1  # that stays before a sound and after it
CAPTIONS, LEFT_OUT, OWNED = "captions.csv", "left_out.csv", "ownership.csv"
COLUMNS = ["file", "caption", "tune", "source_file", "start_s", "end_s"]
LEFT_COLUMNS = ["source_file", "start_s", "end_s", "reason"]
Span = tuple[float, float]
Row = dict[str, Any]


@dataclass(frozen=True)
class Cutting:
    """How recordings are cut.

    Attributes:
        seconds: the length of every snippet; None: at silences.
        below_db: what is this much softer than the loudest 50 ms of a recording is silence.
        gap_s: a shorter silence cuts nothing.
        shortest_s, longest_s: shorter stretches are left out, longer ones divided into equal parts.
    """

    seconds: float | None = None
    below_db: float = 40.0
    gap_s: float = 0.5
    shortest_s: float = 1.0
    longest_s: float = 30.0


def cut_folder(source: Path, folder: Path, how: Cutting, owners: Path | None) -> tuple[int, int]:
    """Cut every recording of a folder; how many snippets there are, and what was left out.

    Args:
        folder: new or empty; it appears when it is whole.
        owners: the table of the recordings' owners; None: nobody tells.

    Raises:
        UserError: there is no recording, `folder` holds something, or the table cannot be read.
    """
    files = [f for f in list_files(source) if PurePosixPath(f).suffix.lower() in AUDIO_SUFFIXES]
    if not files:
        raise UserError(
            "there is nothing to cut",
            code="no-recordings",
            where=str(source),
            why="it has no recordings",
        )
    if folder.exists() and any(folder.iterdir()):
        raise UserError(
            "the place for the snippets is not empty",
            code="folder-not-empty",
            where=str(folder),
            do="name another one",
        )
    owned = read_ownership(owners, files) if owners else None
    rows: list[Row] = []
    left: list[Row] = []
    with atomic_directory(folder) as temporary:
        for relative, name in zip(tqdm(files, "cut", unit="file"), _names(files), strict=True):
            _cut_file(source / relative, relative, temporary, name, how, rows, left)
        write_csv(temporary / CAPTIONS, COLUMNS, rows)
        write_csv(temporary / LEFT_OUT, LEFT_COLUMNS, left)
        if owned is not None:
            write_csv(temporary / OWNED, list(OWNERSHIP), _owners(rows, owned))
    return len(rows), len(left)


def _names(files: Sequence[str]) -> Iterator[str]:
    """The folder of each recording's snippets: its path, with the suffix where two differ in it."""
    plain = [PurePosixPath(file).with_suffix("").as_posix() for file in files]
    for file, name in zip(files, plain, strict=True):
        yield name if plain.count(name) == 1 else file


def _cut_file(
    path: Path,
    relative: str,
    folder: Path,
    name: str,
    how: Cutting,
    rows: list[Row],
    left: list[Row],
) -> None:
    """Write the snippets of one recording, and its rows."""
    facts = {"source_file": printable(relative)}
    try:
        with Recording(path) as recording:
            spans = list(spans_of(recording, how))
    except AudioError as error:
        left.append(facts | {"reason": error.reason})
        return
    if not spans:
        left.append(facts | {"reason": "silent"})
    number = 0
    for start, end in spans:
        about = facts | {"start_s": f"{start:.3f}", "end_s": f"{end:.3f}"}
        if end - start < how.shortest_s - 1e-6:
            left.append(about | {"reason": f"too_short: under {how.shortest_s:g} s"})
            continue
        number += 1
        snippet = f"{name}/{PurePosixPath(name).name} [{number:04d}].wav"
        write_part(path, folder / snippet, start, end)
        rows.append(about | {"file": printable(snippet), "tune": printable(relative)})


def spans_of(recording: Recording, how: Cutting) -> Iterator[Span]:
    """Where snippets begin and end, in seconds; shorter ones than `shortest_s` among them.

    Raises:
        AudioError: as `Recording.blocks`.
    """
    level = _levels(recording)
    total = recording.frames / recording.rate
    if how.seconds is not None:
        starts = np.arange(0, total, how.seconds)
        yield from ((float(start), min(float(start) + how.seconds, total)) for start in starts)
        return
    for start, end in _sounding(level, how, total):
        parts = max(1, int(np.ceil((end - start) / how.longest_s - 1e-6)))
        edges = np.linspace(start, end, parts + 1)
        yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _levels(recording: Recording) -> np.ndarray:
    """The loudest channel's mean square in each 50 ms: float64 [frames]."""
    step = max(1, round(FRAME_S * recording.rate))
    found, rest = [], np.zeros((0, recording.channels), np.float32)
    for block in recording.blocks():
        rest = np.concatenate([rest, block])
        whole = len(rest) // step * step
        frames = rest[:whole].reshape(-1, step, recording.channels)
        found.append(np.square(frames, dtype=np.float64).mean(1).max(1))
        rest = rest[whole:]
    if len(rest):
        found.append(np.square(rest, dtype=np.float64).mean(0).max(keepdims=True))
    return np.concatenate(found) if found else np.zeros(0)


def _sounding(level: np.ndarray, how: Cutting, total: float) -> Iterator[Span]:
    """Stretches between silences that are long enough to cut."""
    if not len(level) or not level.max() > 0:
        return
    loud = np.flatnonzero(level > level.max() * 10 ** (-how.below_db / 10))
    # A silence lies between two loud frames that are further apart than the gap.
    breaks = np.flatnonzero(np.diff(loud) - 1 >= how.gap_s / FRAME_S - 1e-6)
    firsts, lasts = loud[np.r_[0, breaks + 1]], loud[np.r_[breaks, len(loud) - 1]]
    for first, last in zip(firsts, lasts, strict=True):
        start, end = first * FRAME_S - MARGIN_S, (last + 1) * FRAME_S + MARGIN_S
        yield max(0.0, float(start)), min(total, float(end))


def write_part(source: Path, target: Path, start_s: float, end_s: float) -> None:
    """Write a stretch of a recording as WAV of its rate, channels and, of PCM, samples."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(os.fsencode(source)) as file:
        start, stop = round(start_s * file.samplerate), round(end_s * file.samplerate)
        file.seek(start)
        _, subtype = KEPT.get(file.subtype, ("", "PCM_16"))
        if subtype in ("FLOAT", "DOUBLE"):  # whose headers have the time of day in them
            subtype = "PCM_24"
        # As int32 PCM of any width comes back to the last bit; floats are scaled and clipped.
        samples = file.read(stop - start, dtype="int32", always_2d=True)
        soundfile.write(os.fsencode(target), samples, file.samplerate, subtype, format="WAV")


def _owners(rows: Sequence[Row], owned: Ownership) -> Iterator[Row]:
    """Rows of ownership for the snippets of recordings that have owners."""
    by_name = {printable(file): rights for file, rights in owned.rights.items()}
    for row in rows:
        for right in by_name.get(row["source_file"], ()):
            yield {
                "file": row["file"],
                "contributor": right.contributor,
                "licence": right.licence,
                "share": f"{right.share:.6g}",
                "consent_date": right.consent.isoformat() if right.consent else "",
                "may_train": "yes" if right.may_train else "no",
                "may_publish": "yes" if right.may_publish else "no",
            }
