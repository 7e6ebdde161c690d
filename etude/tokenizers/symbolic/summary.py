"""What tokenizing a corpus counted, over all its shards: tables and figures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.storage import atomic, atomic_directory, read_csv, write_csv
from etude.tokenizers.symbolic.account import in_words
from etude.tokenizers.symbolic.tokenize import COLUMNS, STATISTICS, natural

VERSION = 3  # raised when the tables change
MOST = 20  # chords in the figure

log = logging.getLogger(__name__)


def summarise(tables: Sequence[Path], statistics: Sequence[Path], title: str, folder: Path) -> None:
    """Write pieces.csv, totals.csv, statistics.csv and a figure of each statistic.

    Args:
        tables, statistics: of the shards.
        title: corpus and token set, for the figures.
        folder: what is written.
    """
    rows = [row for table in tables for row in read_csv(table)]
    rows.sort(key=lambda row: row["piece"])
    columns = list(rows[0]) if rows else list(COLUMNS)
    counted = [c for c in columns if c not in ("piece", "status", "reason", "key_shift")]
    totals = {name: sum(int(row[name] or 0) for row in rows) for name in counted}
    reasons = Counter(row["reason"].partition(":")[0] or "kept" for row in rows)
    totals = {f"pieces_{reason}": n for reason, n in sorted(reasons.items())} | totals
    sums: Counter[tuple[str, str]] = Counter()
    for path in statistics:
        for row in read_csv(path):
            sums[row["statistic"], row["key"]] += int(row["count"])
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], natural(item[0][1])))
    with atomic_directory(folder) as temporary:
        write_csv(temporary / "pieces.csv", columns, rows)
        lines = ({"count": name, "total": total} for name, total in totals.items())
        write_csv(temporary / "totals.csv", ["count", "total"], lines)
        cells = (dict(zip(STATISTICS, (*key, n), strict=True)) for key, n in ordered)
        write_csv(temporary / "statistics.csv", STATISTICS, cells)
        for name in ("pitch", "velocity"):
            values = {int(key): n for (what, key), n in ordered if what == name}
            draw(values, temporary / f"{name}.svg", f"{title}: {name}", name)
        chords = Counter({key: n for (what, key), n in ordered if what == "chord"})
        if chords:
            most = dict(chords.most_common(MOST))
            draw(most, temporary / "chord.svg", f"{title}: most frequent chords", "MIDI pitches")
    for line in loss_lines(totals, reasons):
        log.info("%s", line)


def loss_lines(totals: dict[str, int], reasons: Counter[str]) -> list[str]:
    """The totals in words; what quantising cost is always said.

    Example:
        >>> from collections import Counter
        >>> counts = {"tokens": 200, "windows": 2, "notes_in": 100, "notes_out": 100}
        >>> loss_lines(counts, Counter(kept=1))
        ['1 kept', '100 notes, 100 kept (100.00 %)', '200 tokens, 2 windows']
    """
    lines = [", ".join(f"{n} {reason}" for reason, n in reasons.most_common()) or "no pieces"]
    lines.append(in_words(totals))
    lines.append(f"{totals.get('tokens', 0)} tokens, {totals.get('windows', 0)} windows")
    if totals.get("ticks"):
        error, changed = totals["error_ticks"], totals["changed_deltas"]
        lines.append(
            f"deltas: {changed} of {totals['tokens']} brought to the nearest of the vocabulary, "
            f"{error} ticks in all ({100 * error / totals['ticks']:.2f} % of the time)"
        )
    if totals.get("unknowns"):
        lines.append(f"{totals['unknowns']} tokens are [UNK]")
    return lines


def draw(values: Mapping[Any, int], path: Path, title: str, label: str) -> None:
    """Counts as bars: an SVG whose bytes depend on the data alone."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "etude"  # else it carries random ids
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    axes.bar(list(values), list(values.values()), width=0.9)
    axes.set(title=title, xlabel=label, ylabel="notes" if label != "MIDI pitches" else "chords")
    if label == "MIDI pitches":
        axes.tick_params(axis="x", rotation=90, labelsize=6)
    axes.grid(alpha=0.3, axis="y")
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})
    plt.close(figure)
