"""What `etude evaluate --output` leaves of two folders: tables and figures.

hash_comparison_detailed.csv   each clip, and the real files that have the very same samples
distances.csv                  a row for each set and distance, with its interval
match_distribution.png         clips with and without an exact copy
match_frequency.png            how many clips are a copy of each real file
regions.png                    where in the real music the clips' nearest stretches lie
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes.drawing import pyplot
from etude.metrics.samples import Clips, ReplicatedFigure
from etude.storage import atomic, write_csv

Array = NDArray[np.float64]
MATCHES = ["probe_filename", "probe_hash", "is_match", "matched_dataset_files"]
DISTANCES = ["clips", "metric", "value", "ci_low", "ci_high", "n", "note"]
REGIONS = 10  # of a file, from its beginning to its end
MOST = 40  # files of a figure: those with the most
NO_MATCH = "No match"


def write_matches(folder: Path, matches: Sequence[Mapping[str, str]]) -> None:
    """Write the table of exact copies and its two figures."""
    write_csv(folder / "hash_comparison_detailed.csv", MATCHES, matches)
    copies = sum(row["is_match"] == "True" for row in matches)
    shares = {"exact copies": copies, "no exact copy": len(matches) - copies}
    _bars(folder / "match_distribution.png", shares, f"{len(matches)} clips", "clips")
    of: Counter[str] = Counter()
    for row in matches:
        if row["is_match"] == "True":
            of.update(row["matched_dataset_files"].split(", "))
    title = "copies of each real file" if of else "no clip is an exact copy of a real file"
    _bars(folder / "match_frequency.png", dict(of.most_common(MOST)), title, "clips")


def write_distances(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write distances as tidy rows; of those that could not be measured the reason."""
    tidy = []
    for row in rows:
        for metric, found in row.items():
            if metric in ("clips", "n"):
                continue
            cells = {"clips": row["clips"], "metric": metric, "n": row["n"]}
            if not isinstance(found, ReplicatedFigure):
                tidy.append(cells | {"note": f"n/a: {found}"})
                continue
            cells |= {"value": f"{found.value:.6f}", "note": found.note}
            if found.interval is not None:
                low, high = found.interval
                cells |= {"ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}"}
            tidy.append(cells)
    write_csv(folder / "distances.csv", DISTANCES, tidy)


def regions(real: tuple[Clips, Array], made: Clips) -> NDArray[np.int64]:
    """How many stretches of clips have their nearest real stretch in each place [files, REGIONS].

    Nearest by the mean embedding of a stretch, each dimension in deviations of the real music.

    Args:
        real: the stretches, and the file of each.
    """
    clips, files = real
    known, asked = _means(clips), _means(made)
    scale = 1 / np.maximum(known.std(0), 1e-9)
    nearest = [int(np.sum(np.square((known - row) * scale), axis=1).argmin()) for row in asked]
    numbers = files[clips.numbers].astype(int)
    found = np.zeros((int(files.max(initial=0)) + 1, REGIONS), np.int64)
    for stretch in nearest:
        within = np.flatnonzero(numbers == numbers[stretch])
        place = int(np.searchsorted(within, stretch)) * REGIONS // len(within)
        found[numbers[stretch], place] += 1
    return found


def put_into(folder: Path, write: Callable[[Path], None]) -> None:
    """Put the files of what writes a folder of its own beside what lies in a user's folder."""
    with tempfile.TemporaryDirectory(prefix="etude-evaluate-") as scratch:
        made = Path(scratch, "made")
        write(made)
        for file in sorted(made.iterdir()):
            with atomic(folder / file.name) as temporary:
                shutil.copyfile(file, temporary)


def _means(clips: Clips) -> Array:
    order = np.searchsorted(clips.numbers, clips.clips)
    total = np.zeros((clips.count, clips.windows.shape[1]))
    np.add.at(total, order, clips.windows)
    return total / np.bincount(order)[:, None]


def draw_regions(path: Path, counts: NDArray[np.int64], names: Sequence[str], what: str) -> None:
    """Draw a heatmap: a row for each real file that has any (those with the most)."""
    plt = pyplot()
    chosen = np.argsort(-counts.sum(1), kind="stable")[:MOST]
    chosen = np.sort(chosen[counts[chosen].sum(1) > 0])
    size = (7, 1.4 + 0.22 * max(len(chosen), 1))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    if len(chosen):
        image = axes.imshow(counts[chosen], aspect="auto", cmap="viridis", interpolation="nearest")
        figure.colorbar(image, ax=axes, label=what)
        axes.set_yticks(range(len(chosen)), [names[i][-40:] for i in chosen], fontsize=7)
    axes.set_xticks([-0.5, REGIONS - 0.5], ["beginning", "end"])
    axes.set_title(f"nearest places: {len(chosen)} of {len(counts)} real files", fontsize=9)
    _save(figure, path)


def _bars(path: Path, heights: Mapping[str, int], title: str, unit: str) -> None:
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    places = range(len(heights))
    bars = axes.bar(places, list(heights.values()), color="#4269d0")
    axes.bar_label(bars, fontsize=8)
    turned = 90 * (len(heights) > 2)
    axes.set_xticks(places, [name[-30:] for name in heights], fontsize=8, rotation=turned)
    axes.set(title=title, ylabel=unit)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, metadata={"Software": None})
    pyplot().close(figure)
