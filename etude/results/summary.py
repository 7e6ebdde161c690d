"""results/fad.txt: the leaderboard and the differences in a form to read, and the gate.

A block for each embedding with the clip sets of every experiment; then what is to be said of each
experiment apart from embeddings; then which is better. It is short by what it leaves out: all
figures stand in leaderboard.csv and differences.csv.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.config import Evaluation
from etude.own import label
from etude.results import differences, leaderboard
from etude.results.differences import RATIO
from etude.results.leaderboard import (
    DIRECTIONS,
    FLOOR,
    GENERATED,
    PRIMARY,
    read_figures,
    weights_named,
)
from etude.results.systems import clip_sets, meaning, worthless
from etude.results.table import (
    COPIED,
    DECIDING,
    Table,
    Verdict,
    gate,
    judge,
    read_tables,
    too_few,
)
from etude.storage import write_csv, write_text

VERSION = 5  # raised when the text changes

Row = dict[str, Any]

NAMES = {"frechet_distance": "FD", "fad_infinity": "FAD-infinity", "kad": "KAD", "mad": "MAD"}
BESIDE = {"fad_infinity": "FAD-inf", "kad": "KAD", "mad": "MAD"}  # columns beside the FD's
SIGNALS = ("et_grid", "flatness_db", "level_db", "silent")
# Rows of memorisation.csv: the report page has all; here stands what share of clips is flagged.
LADDER = (COPIED, "null_", "recall_", "extracted_")
HEAD = [
    "Distances of generated clips to held-out real music, lower is nearer, with 95 % intervals.",
    "Compare only rows of one block: the scale depends on the embedding and on n (clips).",
    "This is a summary; all figures and their notes: leaderboard.csv, differences.csv, metrics/.",
]


@dataclass(frozen=True)
class Run:
    """What a run's tables are made of.

    Attributes:
        tables: tidy CSVs, one per experiment, seed and draw.
        gated: experiments that the gate judges.
        failed: experiments of which something could not be made, and why.
        hashes: code_hash and env_hash.
    """

    tables: Sequence[Path]
    replicates: Sequence[Path]
    settings: Evaluation
    gated: frozenset[str]
    hashes: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One experiment: its rows of the leaderboard, its tables by seed and draw."""

    name: str
    rows: list[Row]
    tables: list[Table]


def write_results(run: Run, folder: Path) -> str:
    """Write leaderboard.csv, differences.csv and fad.txt into a folder; gives back the text."""
    figures = read_figures(run.tables, run.replicates)
    primary = run.settings.deciding
    rows = list(leaderboard.leaderboard(figures.values(), run.hashes, run.failed, primary))
    pairs = list(differences.differences(figures.values(), run.hashes, primary))
    write_csv(folder / "leaderboard.csv", leaderboard.COLUMNS, rows)
    write_csv(folder / "differences.csv", differences.COLUMNS, pairs)
    text = render(rows, pairs, read_tables(run.tables), run)
    write_text(folder / "fad.txt", text)
    return text


def render(rows: list[Row], pairs: list[Row], tables: Iterable[Table], run: Run) -> str:
    """The whole text; the last line is the gate over all experiments of `run.gated`."""
    parts = list(_parts(rows, list(tables)))
    once = dict.fromkeys(_what_intervals_say(part) for part in parts)
    lines = [*HEAD, *(once if len(once) == 1 else ())]
    for name, why in run.failed.items():
        lines += ["", f"experiment {name}", f"  failed: {why}"]
    lines += _legend(parts)
    for embedding in dict.fromkeys(e for part in parts for e in part.tables[0].embeddings):
        lines += _block(parts, embedding, run.settings)
    for part in parts:
        lines += _experiment(part, run.settings, seeds_differ=len(once) > 1)
    lines += _differences(pairs, run.settings)
    verdicts: dict[str, Verdict] = {}
    for part in (part for part in parts if part.name in run.gated):
        verdicts |= {table.name: judge(table, run.settings) for table in part.tables}
    for name in (name for name in run.failed if name in run.gated):
        verdicts[name] = Verdict(None, f"failed: {run.failed[name]}")
    return "\n".join([*lines, "", *gate(verdicts)]) + "\n"


def _parts(rows: list[Row], tables: list[Table]) -> Iterable[Part]:
    for name in dict.fromkeys(row["experiment"] for row in rows):
        own = [table for table in tables if table.rows[0]["experiment"] == name]
        if own:
            yield Part(name, [r for r in rows if r["experiment"] == name and r.get("metric")], own)


def _legend(parts: list[Part]) -> list[str]:
    """What the sets are, once."""
    there = {row["clips"] for part in parts for row in part.rows}
    systems = [part.rows[0]["system"] for part in parts]
    lines = [""]
    ceilings = {name for system in systems for name in worthless(system)}
    for name in (name for name in clip_sets() if name in there):
        said = dict.fromkeys(filter(None, (meaning(name, system) for system in systems)))
        ceiling = " (a ceiling)" if name in ceilings else ""
        lines.append(f"    {name:<15} {'; or '.join(said)}{ceiling}")
    return lines


# ------------------------------------------------------------------------------------- distances


def _block(parts: list[Part], embedding: str, settings: Evaluation) -> list[str]:
    """All experiments under one embedding, and why any has no figure."""
    notes = [part.tables[0].note(GENERATED, embedding) for part in parts]
    if all(note.startswith("not run") for note in notes):
        return ["", f"{embedding}: {notes[0]}"]
    found = {r["metric"] for p in parts for r in p.rows if r["embedding"] == embedding}
    beside = [metric for metric in BESIDE if metric in found]
    head = "".join(f"{BESIDE[metric]:>10}" for metric in beside)
    lines = ["", f"{embedding:<17} {'FD':>9} {'95 % interval':>20} {'n':>5}{head}"]
    for part, note in zip(parts, notes, strict=True):
        lines.append(f"experiment {part.name}")
        if note.startswith("not run"):
            lines.append(f"  {note}")
            continue
        of_block = [r for r in part.rows if r["embedding"] == embedding]
        for name in clip_sets():
            row = _find(of_block, name, "frechet_distance")
            if name != "reference" and row is not None:
                lines.append(_line(name, row, [_find(of_block, name, m) for m in beside]))
        lines += _judged(of_block, part.tables, embedding, settings)
    return lines + _below_0([r for p in parts for r in p.rows if r["embedding"] == embedding])


def _below_0(rows: list[Row]) -> list[str]:
    """Why a figure of a block is negative, though no distance is."""
    found = {row["metric"] for row in rows if (_float(row.get("value")) or 0) < 0}
    names = [name for metric, name in BESIDE.items() if metric in found]
    said = "below 0: extrapolated or without bias, so that chance may do it; read it as about 0"
    return [f"  {' and '.join(names)} {said}."] if names else []


def _line(name: str, row: Row, others: list[Row | None]) -> str:
    if not row.get("value"):
        return f"  {name:<15} {'n/a':>9}       {str(row['note']).removeprefix('n/a: ')}"
    beside = "".join(_number(_float(r.get("value")) if r else None, 10, 3) for r in others)
    figures = f"{float(row['value']):>9.2f} {_interval(row, 2):>20} {row['n']:>5}{beside}"
    ceiling = "ceiling" if name in worthless(row["system"]) else ""
    mark = "floor" if name == FLOOR else ceiling
    return f"  {name:<15} {figures}   {mark}".rstrip()


def _judged(
    rows: list[Row], tables: list[Table], embedding: str, settings: Evaluation
) -> list[str]:
    """What can be said of the generated clips at once: too few, or how near to the floor."""
    row = _find(rows, GENERATED, "frechet_distance")
    if row is None or not row.get("value"):
        return []
    if few := too_few(tables[0], embedding, settings):
        return [f"  These distances are mostly chance: {few}."]
    lines, floor = [], _float(row["floor"])
    found = [(name, _find(rows, GENERATED, metric)) for metric, name in BESIDE.items()]
    spans = [f"{name} {_interval(r, 3)}" for name, r in found if r and r.get("ci_low")]
    if spans:
        lines.append(f"  generated, 95 % intervals: {', '.join(spans)}")
    if floor:
        lines.append(f"  FD / real-vs-real: {float(row['value']) / floor:.2f} (goal: under 2)")
    shares = [
        f"{name} {_float(row.get(key)):.0%}"
        for name, key in (
            ("training seed", "share_train_seed"), ("draw", "share_draw"),
            ("sampling", "share_sampling"),
        )
        if _float(row.get(key)) is not None
    ]  # fmt: skip
    if shares:
        lines.append(f"  variance of one figure: {', '.join(shares)}")
    return lines


# ----------------------------------------------------------------------------------- experiments


def _experiment(part: Part, settings: Evaluation, *, seeds_differ: bool) -> list[str]:
    """Seeds, figures that need no embedding, copies."""
    said = [("training seed", "train_seed"), ("draw", "draw")]
    words = [f"{name} {' '.join(_distinct(part.tables, key))}" for name, key in said]
    lines = ["", f"experiment {part.name} ({part.rows[0]['system']}): {', '.join(words)}"]
    lines += [f"  {_what_intervals_say(part)}"] if seeds_differ else []
    if known := weights_named(part.rows):
        lines += ["  pretrained weights (sha256): " + ", ".join(known)]
    return [*lines, *_key_figures(part.rows, settings), *_copies(part.rows), *_prefixes(part.rows)]


def _distinct(tables: list[Table], key: str) -> list[str]:
    return list(dict.fromkeys(table.rows[0][key] for table in tables))


def _what_intervals_say(part: Part) -> str:
    trainings, draws = (len(_distinct(part.tables, key)) for key in ("train_seed", "draw"))
    if trainings == 1 and draws == 1:
        return (
            "One training and one draw: intervals are of sampling only; another training seed may "
            "move a figure further."
        )
    if trainings == 1:
        return f"One training: intervals are of {draws} draws and sampling, not of other trainings."
    if draws == 1:
        return f"Intervals are over {trainings} trainings with one draw each."
    return f"Intervals are over {trainings} trainings with {draws} draws each."


def _key_figures(rows: list[Row], settings: Evaluation) -> list[str]:
    """Figures without an embedding that have a better side, and the user's own: a line each."""
    others = [r for r in rows if not r["embedding"] and not r["metric"].startswith(LADDER)]
    asked = set(map(label, settings.signals))
    lines, left = [], set()
    for metric in dict.fromkeys(r["metric"] for r in others):
        of_metric = [r for r in others if r["metric"] == metric]
        if metric not in DIRECTIONS and metric not in asked:
            left.add(metric)
            continue
        said = [_said(r) for r in _in_order(of_metric) if r.get("value")]
        if said:
            lines.append(f"  {metric} ({of_metric[0]['unit']}): {', '.join(said)}")
        else:
            lines.append(f"  {metric}: {of_metric[0]['note']}")
    return [*lines, *([f"  {len(left)} more in leaderboard.csv"] if left else [])]


def _in_order(rows: list[Row]) -> list[Row]:
    """What models made first, then what it is read against."""
    order = clip_sets()
    return sorted(
        (r for r in rows if r["clips"] != "reference"),
        key=lambda r: order.index(r["clips"]) if r["clips"] in order else len(order),
    )


def _said(row: Row) -> str:
    text = f"{row['clips']} {float(row['value']):.4g}"
    if row["clips"] != GENERATED or not row.get("ci_low"):
        return text
    return f"{text} [{float(row['ci_low']):.4g}, {float(row['ci_high']):.4g}]"


def _copies(rows: list[Row]) -> list[str]:
    """What share of the clips is nearer to the training music than held-out real clips are."""
    made = [r for r in rows if r["clips"] == GENERATED and r["metric"].startswith(COPIED)]
    gated: list[str] = []
    told: list[str] = []
    missing: list[str] = []
    for row in made:
        rung = row["metric"].removeprefix(COPIED)
        name = " ".join(filter(None, (rung, row["embedding"])))
        if not row.get("value"):
            missing.append(f"  copies ({name}): {row['note']}")
            continue
        low, high = (_float(row.get(key)) for key in ("ci_low", "ci_high"))
        between = "" if low is None or high is None else f" [{low:.1%}, {high:.1%}]"
        said = f"{name} {float(row['value']):.1%}{between}"
        (gated if rung in DECIDING else told).append(said)
    head = "  copies, share of clips nearer to the training music than 99 % of held-out real ones:"
    lines = [head] if gated or told else []
    lines += [f"    in the gate: {', '.join(gated)}"] if gated else []
    lines += [f"    told only: {', '.join(told)}"] if told else []
    return [*lines, *missing]


def _prefixes(rows: list[Row]) -> list[str]:
    """How often the model goes on as its training music does, held-out music as the control."""
    found = {(r["metric"], r["clips"]): _float(r.get("value")) for r in rows}
    said = []
    for metric in dict.fromkeys(m for m, _ in found if m.startswith("extracted_exact_after_")):
        own, control = (found.get((metric, f"prefixes_{n}")) for n in ("train", "held_out"))
        if own is not None:
            other = "n/a" if control is None else f"{control:.0%}"
            said.append(f"{own:.0%} ({other}) after {metric.rpartition('_')[2]} tokens")
    head = "  training beginnings continued exactly (held-out ones):"
    return [f"{head} {', '.join(said)}"] if said else []


# ----------------------------------------------------------------------------------- differences


def _differences(pairs: list[Row], settings: Evaluation) -> list[str]:
    """Experiments against each other, where there are several: the primary metric, then others."""
    if not pairs:
        return []
    metric, embedding = settings.deciding
    wanted = label(settings.primary.embedding)
    lines = ["", f"differences by the primary metric, {embedding} {NAMES[metric]}, Holm-corrected"]
    lines[-1] += f" ({wanted} is not measured)" if wanted != embedding else ""
    decided = [f"  {_difference(row)}" for row in pairs if row["role"] == PRIMARY]
    lines += decided or ["  n/a: it was not measured"]
    others = [row for row in pairs if row["role"] != PRIMARY]
    found = {key: list(rows) for key, rows in itertools.groupby(sorted(others, key=_pair), _pair)}
    found = {key: rows for key, rows in found.items() if any(r.get("p") for r in rows)}
    if not found:
        return lines
    lines += ["exploratory (Benjamini-Hochberg: on average at most 5 % of what is named is chance)"]
    return lines + [f"  {_elsewhere(*key, rows)}" for key, rows in found.items()]


def _pair(row: Row) -> tuple[str, str]:
    return row["a"], row["b"]


def _difference(row: Row) -> str:
    """A primary row: the difference or ratio, its interval and what it says."""
    head = f"{row['a']} {'/' if row.get('scale') == RATIO else '-'} {row['b']}"
    if not row.get("value"):
        return f"{head}: {row['note']}"
    p = f", p {float(row['p_adjusted']):.3f}" if row.get("p_adjusted") else ""
    text = f"{head}: {float(row['value']):.4g} {_interval(row, 4)}{p}: {row['verdict']}"
    if row["verdict"] not in ("better", "worse"):
        return text
    return f"{text} ({row['a'] if row['verdict'] == 'better' else row['b']} is the better)"


def _elsewhere(a: str, b: str, rows: list[Row]) -> str:
    """By which other figures either is better, without their numbers."""
    said = []
    for name, verdict in ((a, "better"), (b, "worse")):
        won = [r for r in rows if r["verdict"] == verdict]
        names = (f"{r['embedding']} {NAMES.get(r['metric'], r['metric'])}".strip() for r in won)
        said += [f"{name} is the better by {', '.join(names)}"] if won else []
    left = sum(row["verdict"] not in ("better", "worse") for row in rows)
    said += [f"{left} inconclusive, n/a or without a better side"] if left else []
    return f"{a}, {b}: {'; '.join(said)}"


def _find(rows: list[Row], clips: str, metric: str) -> Row | None:
    return next((r for r in rows if (r["clips"], r["metric"]) == (clips, metric)), None)


def _interval(row: Row, digits: int) -> str:
    low, high = (_float(row.get(key)) for key in ("ci_low", "ci_high"))
    return "-" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def _float(text: str | None) -> float | None:
    return float(text) if text else None


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
