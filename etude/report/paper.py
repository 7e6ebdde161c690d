"""`python -m etude paper`: what a paper about a run needs, made of its leaderboard.

    leaderboard.tex, differences.tex   booktabs tables, figures as in the CSVs, rounded
    <embedding>-<metric>.pdf, .svg     each set's value and interval; floor and ceiling as lines
    methods.tex, methods.md            a paragraph with the numbers of this run

The same run gives the same bytes: no dates.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etude.config import Config
from etude.errors import UserError
from etude.report import latex
from etude.report.methods import methods
from etude.results.compare import read_sides
from etude.results.differences import RATIO
from etude.results.leaderboard import EXPLORATORY, GENERATED, PRIMARY, number
from etude.results.summary import NAMES
from etude.results.systems import clip_sets
from etude.storage import atomic, atomic_directory, check_place, read_csv, write_text

Row = dict[str, str]


def write_paper(results: Path, settings: Config, folder: Path) -> None:
    """Write the kit into a folder, which is replaced.

    Raises:
        UserError: there is no leaderboard, or the folder holds something else.
    """
    check_place(folder)
    board = [row for side in read_sides(results).values() for row in side.board]
    path = results / "differences.csv"
    pairs = list(read_csv(path)) if path.is_file() else []
    pairs = [row for row in pairs if "role" in row]  # else of an earlier version, of other rules
    _check_paper_folder(folder)
    with atomic_directory(folder) as temporary:
        write_text(temporary / "leaderboard.tex", leaderboard_table(board))
        if pairs:
            write_text(temporary / "differences.tex", differences_table(pairs))
        for name, rows in figures_of(board):
            draw(rows, temporary / name)
        for kind in ("tex", "md"):
            write_text(
                temporary / f"methods.{kind}", methods(board, pairs, settings, results, kind)
            )


def _check_paper_folder(folder: Path) -> None:
    """A folder is replaced only where it is ours."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "methods.tex").is_file():
        raise UserError(
            "the folder holds something else",
            code="folder-not-empty",
            where=str(folder),
            why="it would be replaced",
            do="name a new folder with --output",
        )


def figure(text: str) -> str:
    """A CSV's figure as tables print it: two decimals from 10 upwards, else three."""
    value = number(text)
    if value is None:
        return ""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def cell(row: Row | None) -> str:
    """Value, interval and n in LaTeX."""
    if row is None or not row["value"]:
        return "n/a"
    low, high = figure(row["ci_low"]), figure(row["ci_high"])
    between = rf" {{\small [{low}, {high}]}}" if low and high else ""
    return f"{figure(row['value'])}{between}"


def leaderboard_table(board: list[Row]) -> str:
    """Distances of all sets, one block per experiment and embedding."""
    rows = [r for r in board if r["metric"] in NAMES]
    metrics = [m for m in NAMES if any(r["metric"] == m for r in rows)]
    blocks = []
    for experiment, embedding in dict.fromkeys((r["experiment"], r["embedding"]) for r in rows):
        of = [r for r in rows if (r["experiment"], r["embedding"]) == (experiment, embedding)]
        if not any(r["value"] for r in of):
            continue
        known = {(r["clips"], r["metric"]): r for r in of}
        blocks.append(
            [
                [
                    latex.escape(f"{experiment}, {name}" if name == GENERATED else name),
                    latex.escape(embedding),
                    *(cell(known.get((name, metric))) for metric in metrics),
                    next(r["n"] for r in of if r["clips"] == name),
                ]
                for name in clip_sets()
                if any(r["clips"] == name for r in of)
            ]
        )
    head = ["Clips", "Embedding", *(NAMES[m] for m in metrics), "n"]
    caption = (
        "Distances to held-out real music with 95 % intervals; lower is nearer. real: other "
        "held-out music (floor). Compare rows of one block only."
    )
    return latex.table(head, blocks, caption, "tab:leaderboard")


def differences_table(pairs: list[Row]) -> str:
    """Differences of experiments with corrected p-values and verdicts, the primary ones first."""
    blocks = [
        [
            [
                latex.escape(f"{r['a']} {'/' if r['scale'] == RATIO else '-'} {r['b']}"),
                latex.escape(f"{r['embedding']} {NAMES.get(r['metric'], r['metric'])}".strip()),
                cell(r),
                figure(r["p_adjusted"]),
                latex.escape(r["verdict"]),
            ]
            for r in pairs
            if r["value"] and r["role"] == role
        ]
        for role in (PRIMARY, EXPLORATORY)
    ]
    head = ["Experiments", "Metric", "Difference or ratio", "p (corrected)", "Verdict"]
    caption = (
        "Experiments compared, 95 % intervals; Welch's t over trainings. First block: the metric "
        "that was named before the run, Holm over all pairs. Below: exploratory, "
        "Benjamini-Hochberg."
    )
    return latex.table(head, [block for block in blocks if block], caption, "tab:differences")


def figures_of(board: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """(file name without its end, rows) for each embedding and distance that has values."""
    rows = [r for r in board if r["metric"] in NAMES and r["value"]]
    for embedding, metric in dict.fromkeys((r["embedding"], r["metric"]) for r in rows):
        of = [r for r in rows if (r["embedding"], r["metric"]) == (embedding, metric)]
        yield f"{embedding}-{metric}", of


def draw(rows: list[Row], path: Path) -> None:
    """A point and its interval for each row, as path.pdf and path.svg."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph
    with mpl.rc_context({"svg.hashsalt": "etude", "pdf.fonttype": 42, "font.size": 8}):
        canvas = Figure(figsize=(5.5, 0.6 + 0.22 * len(rows)), layout="constrained")
        axes = canvas.subplots()
        for at, row in enumerate(rows):
            value, low, high = (number(row[key]) for key in ("value", "ci_low", "ci_high"))
            assert value is not None
            made = row["clips"] == GENERATED
            style: dict[str, Any] = {"color": "black" if made else "grey"}
            axes.plot([value], [at], "o", markersize=4, **style)
            if low is not None and high is not None:
                axes.plot([low, high], [at, at], "-", linewidth=1.2, **style)
        for key, line in (("floor", "--"), ("ceiling", ":")):
            for limit in sorted({v for r in rows if (v := number(r[key])) is not None}):
                axes.axvline(limit, color="grey", linestyle=line, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [f"{r['experiment']}: {r['clips']}" for r in rows])
        axes.invert_yaxis()
        values = [number(r["value"]) or 0.0 for r in rows]
        if min(values) > 0 and max(values) > 20 * min(values):
            axes.set_xscale("log")
        axes.set_xlabel(f"{NAMES[rows[0]['metric']]} ({rows[0]['embedding']}), lower is nearer")
        for kind, none in (("pdf", "CreationDate"), ("svg", "Date")):
            with atomic(path.with_name(f"{path.name}.{kind}")) as temporary:
                canvas.savefig(temporary, metadata={none: None})
