"""Neuromusic's three files of its evaluation, and the histograms as figures.

kl_divergence.json           KL(original || generated) of the three distances
features_distributions.json  the distances themselves, as strings, as Neuromusic writes them
distances_distributions.png  their histograms
pitch_classes.svg, durations.svg, harmony.svg: shares of the held-out and the generated music
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etude.metrics.notes.counts import DURATIONS, NEUROMUSIC, PITCH_CLASSES
from etude.metrics.notes.divergence import kl, shares
from etude.metrics.notes.table import EDGES, OTHER, SHARES, Measured, histogram, seeds_kl
from etude.storage import atomic, atomic_directory, write_json

NAMES = {"pitch_class": "pitch classes", "duration": "note durations", "harmony": "harmony"}
MOST_WORDS = 20
SEEDS_BINS = 50


def write_figures(
    sets: Mapping[str, Measured], words: Sequence[str], folder: Path, smoothing: str, compat: str
) -> None:
    """All files of one draw; without notes on one side only the JSON, with nulls."""
    real, made = sets["reference"], sets["generated"]
    with atomic_directory(folder) as temporary:
        write_json(temporary / "kl_divergence.json", divergences(real, made, smoothing, compat))
        write_json(temporary / "features_distributions.json", distributions(real, made))
        if len(real) and len(made):
            _draw_distances(real, made, temporary / "distances_distributions.png")
            _draw_shares(real, made, words, temporary)


def divergences(
    real: Measured, made: Measured, smoothing: str, compat: str
) -> dict[str, float | None]:
    """KL(original || generated) by kind; null where there is none or it is infinite."""
    found: dict[str, float | None] = {}
    for name in SHARES:
        pair = real.distances[name], made.distances[name]
        if compat == NEUROMUSIC:
            value = seeds_kl(*pair)
        else:
            counts = [histogram(values, name) for values in pair]
            value = float(kl(*(shares(c, smoothing) for c in counts)))
            value = value if all(c.sum() for c in counts) else float("nan")
        found[name] = round(value, 9) if math.isfinite(value) else None
    return found


def distributions(real: Measured, made: Measured) -> dict[str, dict[str, list[str]]]:
    """The finite distances of both sides, by kind."""
    return {
        side: {
            name: [f"{x:.9g}" for x in some.distances[name] if math.isfinite(x)] for name in SHARES
        }
        for side, some in (("original", real), ("generated", made))
    }


def pyplot() -> Any:
    """Matplotlib without a screen; the same figures give the same bytes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "etude"  # else an SVG has random ids
    return plt


def _draw_distances(real: Measured, made: Measured, path: Path) -> None:
    plt = pyplot()
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for axes, name in zip(panels, SHARES, strict=True):
        pair = {"generated": made.distances[name], "original": real.distances[name]}
        finite = {k: v[np.isfinite(v)] for k, v in pair.items()}
        pooled = np.concatenate(list(finite.values()))
        if len(pooled):
            edges = np.linspace(pooled.min(), pooled.max() + 1e-9, SEEDS_BINS + 1)
            for label, some in finite.items():
                axes.hist(some, edges, alpha=0.6, label=f"{label} ({len(some)})")
            axes.legend(frameon=False)
        axes.set(title=NAMES[name], ylabel="clips", xlabel=_axis(name))
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": None})
    plt.close(figure)


def _axis(name: str) -> str:
    first = "cosine" if math.isclose(EDGES[name][0], -1) else "KL in nats"
    return f"{first}, beginning to what follows"


def _draw_shares(real: Measured, made: Measured, words: Sequence[str], folder: Path) -> None:
    labels = {
        "pitch_class": PITCH_CLASSES,
        "duration": tuple(f"{d:.3g}" for d in DURATIONS),
        "harmony": (*words, OTHER),
    }
    files = {"pitch_class": "pitch_classes", "duration": "durations", "harmony": "harmony"}
    for name, ticks in labels.items():
        counts = {"held-out": real.counts[name].sum(0), "generated": made.counts[name].sum(0)}
        if any(len(c) != len(ticks) for c in counts.values()):
            continue  # Neuromusic's own durations: too many bins for a figure
        chosen = np.argsort(-counts["held-out"], kind="stable")[:MOST_WORDS]
        chosen = chosen if name == "harmony" else np.arange(len(ticks))
        shown = {k: shares(c, "none")[chosen] for k, c in counts.items()}
        _bars(shown, [ticks[k] for k in chosen], NAMES[name], folder / f"{files[name]}.svg")


def _bars(shown: Mapping[str, Any], ticks: Sequence[str], title: str, path: Path) -> None:
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    for k, (label, some) in enumerate(shown.items()):
        axes.bar(np.arange(len(ticks)) + 0.4 * k - 0.2, some, width=0.4, label=label)
    axes.set_xticks(range(len(ticks)), ticks, fontsize=8, rotation=90 * (title == "harmony"))
    axes.set(title=title, ylabel="share")
    axes.legend(frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})
    plt.close(figure)
