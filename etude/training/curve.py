"""history.csv as a picture."""

from __future__ import annotations

from pathlib import Path

from etude.storage import atomic


def draw_curve(history: list[dict[str, float | None]], path: Path, title: str, loss: str) -> None:
    """Training and validation loss over steps, as an SVG whose bytes depend on the data alone.

    Args:
        loss: what the loss is called, and its unit.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # Without these two an SVG contains a date and random ids.
    mpl.rcParams["svg.hashsalt"] = "etude"
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for column, label in (("train_loss", "training"), ("valid_loss", "validation")):
        points = [(row["step"], row[column]) for row in history if row[column] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o", markersize=2.5)
    axes.set(title=title, xlabel="step", ylabel=loss)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})
    plt.close(figure)
