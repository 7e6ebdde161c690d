"""docs/flow.svg: the rules and what flows between them, drawn from Snakemake's own rule graph."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from etude.errors import UserError
from etude.storage import atomic

EDGE = re.compile(r"(\d+)\s*->\s*(\d+)")
NODE = re.compile(r'(\d+)\[label\s*=\s*"([^"]+)"')
INCLUDE = re.compile(r'^include: "rules/(.+)"', re.MULTILINE)
# One for each rules file, in the order in which the Snakefile includes them.
COLOURS = ("#dbe9f6", "#e2f0d9", "#fde9d3", "#ece2f3", "#f3e2e8", "#f2f2f2")


def draw_graph(path: Path) -> None:
    """Draw the rules of the default run, one row per depth, coloured by rules file.

    Raises:
        UserError: when Snakemake cannot plan.
    """
    nodes, edges = rule_graph()
    rows = depths(nodes, edges)
    _draw(rows, edges, _colours(nodes), path)


def rule_graph() -> tuple[set[str], set[tuple[str, str]]]:
    """Rule names and edges (before, after) of the default target, as Snakemake plans it."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "dot", "--forceall"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            "Snakemake cannot plan", code="snakemake-cannot-plan", why=done.stderr.strip()[-500:]
        )
    names = dict(NODE.findall(done.stdout))
    edges = {(names[a], names[b]) for a, b in EDGE.findall(done.stdout)}
    return set(names.values()), reduce(edges)


def reduce(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Drop the edges that a longer path implies (the transitive reduction)."""
    after: dict[str, set[str]] = {}
    for a, b in edges:
        after.setdefault(a, set()).add(b)

    def beyond(name: str) -> set[str]:
        return after.get(name, set()).union(*(beyond(b) for b in after.get(name, ())))

    return {(a, b) for a, b in edges if not any(b in beyond(c) for c in after[a] - {b})}


def depths(nodes: Iterable[str], edges: set[tuple[str, str]]) -> list[list[str]]:
    """Rules by the longest path to them; rules in one row do not need each other."""
    before: dict[str, set[str]] = {name: {a for a, b in edges if b == name} for name in nodes}
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((of(other) for other in before[name]), default=-1)
        return depth[name]

    rows: list[list[str]] = [[] for _ in range(1 + max(map(of, before)))]
    for name in sorted(before):
        rows[depth[name]].append(name)
    return rows


def _colours(drawn: set[str]) -> dict[str, str]:
    """The colour of every rule that is drawn: those of one rules file have the same."""
    colours = itertools.cycle(COLOURS)
    found: dict[str, str] = {}
    for file in INCLUDE.findall(Path("Snakefile").read_text(encoding="utf-8")):
        text = Path("rules", file).read_text(encoding="utf-8")
        if names := drawn.intersection(re.findall(r"^rule (\w+):", text, re.MULTILINE)):
            found |= dict.fromkeys(names, next(colours))
    return found


def _draw(
    rows: list[list[str]], edges: set[tuple[str, str]], colours: dict[str, str], path: Path
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "etude"
    figure, axes = plt.subplots(figsize=(6, 0.58 * len(rows)), layout="constrained")
    place = {
        name: ((column - (len(row) - 1) / 2) * 2.6, -depth)
        for depth, row in enumerate(rows)
        for column, name in enumerate(row)
    }
    for a, b in sorted(edges):
        style = {
            "arrowstyle": "-|>",
            "color": "#9a9a9a",
            "linewidth": 0.8,
            "shrinkA": 9,
            "shrinkB": 9,
        }
        bend = 0.0 if place[b][1] == place[a][1] - 1 else 0.18
        style["connectionstyle"] = f"arc3,rad={bend}"
        axes.annotate("", xy=place[b], xytext=place[a], arrowprops=style)
    for name, (x, y) in place.items():
        box = {
            "boxstyle": "round,pad=0.4",
            "fc": colours.get(name, "white"),
            "ec": "#666",
        }
        axes.text(x, y, name, ha="center", va="center", fontsize=8.5, family="monospace", bbox=box)
    axes.set(xlim=(-3.4, 3.4), ylim=(-len(rows) + 0.4, 0.6))
    axes.axis("off")
    with atomic(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})
    plt.close(figure)
