"""What `etude evaluate` says of two folders of audio, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from etude.metrics.folder_scan import Folder
from etude.metrics.samples import ReplicatedFigure

HEADS = {"frechet_distance": "FD", "fad_infinity": "FAD-inf", "kad": "KAD", "mad": "MAD"}


def distance_table(
    real: Folder,
    made: Folder,
    embedding: str,
    seconds: float,
    rows: Iterator[dict[str, Any]],
    metrics: list[str],
) -> Iterator[str]:
    """The table of distances, with what it is and the notes of its cells."""
    yield f"Distances ({embedding}) to every second of the {len(real.files)} files of {real},"
    yield f"FD and MAD of n stretches of {seconds:.3g} s, KAD of all; lower is nearer. FD: Fréchet"
    yield "distance, KAD: 100 x MMD², MAD: -ln MAUVE; [95 % interval]"
    yield ""
    yield f"  {'':<13} {'n':>5}" + "".join(f"  {HEADS[metric]:<24}" for metric in metrics).rstrip()
    about = {
        "clips": f"{made}",
        "real vs real": "the other files of the baseline",
        "noise": "white noise",
    }
    lines: dict[str, None] = {}  # in order, each once
    for row in rows:
        cells = "".join(f"  {_cell(row[metric]):<24}" for metric in metrics)
        yield f"  {row['clips']:<13} {row['n']:>5}{cells}  {about[row['clips']]}"
        for metric in metrics:
            found = row[metric]
            note = found.note if isinstance(found, ReplicatedFigure) else found
            if note:
                lines[f"  {row['clips']}, {HEADS[metric]}: {note}"] = None
    yield from lines


def _cell(found: ReplicatedFigure | str) -> str:
    if isinstance(found, str):
        return "n/a"
    figure = f"{found.value:.3g}" if abs(found.value) < 100 else f"{found.value:.0f}"
    if found.interval is None:
        return figure
    low, high = found.interval
    return f"{figure} [{low:.3g}, {high:.3g}]"


def coverage_lines(*folders: tuple[Folder, float]) -> Iterator[str]:
    """Of each folder the share of its audio that was heard, where it was not all."""
    for folder, share in folders:
        if share < 1:
            yield f"  of {folder} {share:.1%} was heard, spread over all files"


def copies_found(matches: list[dict[str, str]]) -> Iterator[str]:
    """The exact copies, clip by clip.

    Example:
        >>> row = {"probe_filename": "a.wav", "is_match": "True", "matched_dataset_files": "b.wav"}
        >>> for line in copies_found([row]):
        ...     print(line)
        exact copies (same samples): 1 of 1 clips
          a.wav = b.wav
        an exact hash finds whole files only; it says nothing about copied passages
    """
    copies = [row for row in matches if row["is_match"] == "True"]
    yield f"exact copies (same samples): {len(copies)} of {len(matches)} clips"
    for row in copies:
        yield f"  {row['probe_filename']} = {row['matched_dataset_files']}"
    yield "an exact hash finds whole files only; it says nothing about copied passages"
