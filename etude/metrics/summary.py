"""results/fad.txt: the leaderboard and the differences in a form to read, and the gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.config import Evaluation
from etude.metrics import differences, leaderboard
from etude.metrics.leaderboard import (
    DIRECTIONS,
    FLOOR,
    GENERATED,
    WORTHLESS,
    direction,
    read_figures,
    weights_named,
)
from etude.metrics.table import (
    COPIED,
    GATED,
    MEANING,
    Table,
    Verdict,
    gate,
    judge,
    read_tables,
    too_few,
)
from etude.storage import write_csv, write_text

VERSION = 3  # raised when the text changes

Row = dict[str, Any]

# Figures of symbolic clips that stand in the CSVs and on the page, and would fill pages here.
DETAILS = ("_overlap", "_intra_inter_kl", "_js", "_dropped")
NAMES = {"frechet_distance": "FD", "fad_infinity": "FAD-infinity", "kad": "KAD", "mad": "MAD"}
SIGNALS = ("et_grid", "flatness_db", "level_db", "silent")
# Rows of memorisation.csv: the report page has all; here stands what share of clips is flagged.
LADDER = (COPIED, "null_", "recall_", "extracted_")
HEAD = [
    "Distances of generated clips to held-out real music, lower is nearer, with 95 % intervals.",
    "Compare only rows of one block: the scale depends on the embedding and on n (clips).",
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


def write_results(run: Run, folder: Path) -> str:
    """Write leaderboard.csv, differences.csv and fad.txt into a folder; gives back the text."""
    figures = read_figures(run.tables, run.replicates)
    rows = list(leaderboard.leaderboard(figures.values(), run.hashes, run.failed))
    pairs = list(differences.differences(figures.values(), run.hashes))
    write_csv(folder / "leaderboard.csv", leaderboard.COLUMNS, rows)
    write_csv(folder / "differences.csv", differences.COLUMNS, pairs)
    text = render(rows, pairs, read_tables(run.tables), run)
    write_text(folder / "fad.txt", text)
    return text


def render(rows: list[Row], pairs: list[Row], tables: Iterable[Table], run: Run) -> str:
    """The whole text; the last line is the gate over all experiments of `run.gated`."""
    lines = list(HEAD)
    verdicts: dict[str, Verdict] = {}
    for name in dict.fromkeys(row["experiment"] for row in rows):
        own = [tables_ for tables_ in tables if tables_.rows[0]["experiment"] == name]
        if own:
            of_name = [r for r in rows if r["experiment"] == name and r.get("metric")]
            lines += _experiment(of_name, own, run.settings)
        if name in run.failed:
            lines += [] if own else ["", f"experiment {name}"]
            lines += [f"  failed: {run.failed[name]}"]
        if name in run.gated:
            verdicts |= {table.name: judge(table, run.settings) for table in own}
            if name in run.failed:
                verdicts[name] = Verdict(None, f"failed: {run.failed[name]}")
    lines += _differences(pairs)
    return "\n".join([*lines, "", *gate(verdicts)]) + "\n"


def _experiment(rows: list[Row], tables: list[Table], settings: Evaluation) -> list[str]:
    first = rows[0]
    seeds = _distinct(tables, "train_seed"), _distinct(tables, "draw")
    words = [
        f"{name} {' '.join(s)}" for name, s in zip(("training seed", "draw"), seeds, strict=True)
    ]
    lines = ["", f"experiment {first['experiment']} ({first['system']}): {', '.join(words)}"]
    lines += [f"  {_what_intervals_say(*map(len, seeds))}"]
    if known := weights_named(rows):
        lines += ["  pretrained weights (sha256): " + ", ".join(known)]
    for embedding in tables[0].embeddings:
        lines += _block(rows, tables, embedding, settings)
    lines += _other_metrics(rows)
    return lines + _copies(rows)


def _distinct(tables: list[Table], key: str) -> list[str]:
    return list(dict.fromkeys(table.rows[0][key] for table in tables))


def _what_intervals_say(trainings: int, draws: int) -> str:
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


def _block(rows: list[Row], tables: list[Table], embedding: str, settings: Evaluation) -> list[str]:
    note = tables[0].note(GENERATED, embedding)
    if note.startswith("not run"):
        return ["", f"  {embedding}: {note}"]
    of_block = [r for r in rows if r["embedding"] == embedding and r["metric"] in DIRECTIONS]
    head = f"{'FD':>9} {'95 % interval':>20} {'n':>5} {'et_grid':>8} {'flatness':>9} {'silent':>7}"
    lines = ["", f"  {embedding:<15} {head}"]
    signals = {(r["clips"], r["metric"]): r for r in rows if not r["embedding"]}
    for name in [n for n in MEANING if n in {r["clips"] for r in of_block}]:
        row = _find(of_block, name, "frechet_distance")
        if name == "reference" or row is None:
            continue
        lines.append(_line(name, row, signals))
    lines += _judged(of_block, tables, embedding, settings)
    for metric in dict.fromkeys(r["metric"] for r in of_block):
        if metric != "frechet_distance":
            lines += _further(of_block, metric, embedding)
    return lines


def _line(name: str, row: Row, signals: Mapping[tuple[str, str], Row]) -> str:
    if not row.get("value"):
        return f"  {name:<15} {'n/a':>9}       {str(row['note']).removeprefix('n/a: ')}"
    harmony, flatness, silent = (
        _float(signals.get((name, metric), {}).get("value"))
        for metric in ("et_grid", "flatness_db", "silent")
    )
    figures = (
        f"{float(row['value']):>9.2f} {_interval(row, 2):>20} {row['n']:>5} "
        f"{_number(harmony, 8, 3)} {_number(flatness, 9, 1)} {silent or 0:>7g}"
    )
    ceiling = ", a ceiling" if name in WORTHLESS else ""
    return f"  {name:<15} {figures}   {MEANING[name]}{ceiling}"


def _judged(
    rows: list[Row], tables: list[Table], embedding: str, settings: Evaluation
) -> list[str]:
    """What can be said of the generated clips at once: too few, or how near to the floor."""
    row = _find(rows, GENERATED, "frechet_distance")
    if row is None or not row.get("value"):
        return []
    if few := too_few(tables[0], embedding, settings):
        return [f"  These distances are mostly chance: {few}."]
    floor = _float(row["floor"])
    lines = []
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


def _further(rows: list[Row], metric: str, embedding: str) -> list[str]:
    """The other distances of an embedding, with the same rows."""
    lines = [f"  {embedding + ' ' + NAMES.get(metric, metric):<24} {'95 % interval':>21} {'n':>5}"]
    shown = 0
    for name in MEANING:
        row = _find(rows, name, metric)
        if row is None:
            continue
        shown += 1
        if not row.get("value"):
            lines.append(f"  {name:<15} {'n/a':>9}   {str(row['note']).removeprefix('n/a: ')}")
            continue
        figures = f"{float(row['value']):>9.3f} {_interval(row, 3):>20} {row['n']:>5}"
        lines.append(f"  {name:<15} {figures}   {_mark(name)}".rstrip())
    return ["", *lines] if shown else []


def _other_metrics(rows: list[Row]) -> list[str]:
    """Metrics that need no embedding, the user's own too: one line each."""
    own = [
        r
        for r in rows
        if not r["embedding"] and r["metric"] not in SIGNALS and not r["metric"].startswith(LADDER)
        if not r["metric"].endswith(DETAILS)
    ]
    lines = []
    for metric in dict.fromkeys(r["metric"] for r in own):
        of_metric = [r for r in own if r["metric"] == metric]
        said = [_said(r) for r in of_metric if r.get("value")]
        unit = of_metric[0]["unit"]
        if said:
            lines.append(f"  {metric} ({unit}): {', '.join(said)}")
        else:
            lines.append(f"  {metric}: {of_metric[0]['note']}")
    return ["", *lines] if lines else []


def _said(row: Row) -> str:
    text = f"{row['clips']} {float(row['value']):.4g}"
    if row["clips"] != GENERATED or not row.get("ci_low"):
        return text
    return f"{text} [{float(row['ci_low']):.4g}, {float(row['ci_high']):.4g}]"


def _copies(rows: list[Row]) -> list[str]:
    """What share of the clips is nearer to the training music than held-out real clips are."""
    lines = []
    made = (r for r in rows if r["clips"] == GENERATED and r["metric"].startswith(COPIED))
    for row in made:
        rung = row["metric"].removeprefix(COPIED)
        name = f"copies ({' '.join(filter(None, (rung, row['embedding'])))})"
        if not row.get("value"):
            lines.append(f"  {name}: {row['note']}")
            continue
        low, high = (_float(row.get(key)) for key in ("ci_low", "ci_high"))
        between = "" if low is None or high is None else f" [{low:.1%}, {high:.1%}]"
        told = "" if rung in GATED else " (told only, not in the gate)"
        lines.append(
            f"  {name}: {float(row['value']):.1%}{between} of n = {row['n']} clips nearer to the "
            f"training music than 99 % of held-out real clips{told}"
        )
    return ["", *lines] if lines else []


def _differences(pairs: list[Row]) -> list[str]:
    """Experiments against each other, where there are several."""
    if not pairs:
        return []
    lines = ["", "differences between experiments (the first minus the second), Holm-corrected"]
    told = [row for row in pairs if direction(row["metric"]) is not None]
    for row in told:
        what = f"{row['embedding']} {NAMES.get(row['metric'], row['metric'])}".strip()
        name = f"  {row['a']} - {row['b']}, {what}:"
        if not row.get("value"):
            lines.append(f"{name} {row['note']}")
            continue
        p = f", p {float(row['p_holm']):.3f}" if row.get("p_holm") else ""
        said = f"{float(row['value']):.4g} {_interval(row, 4)}{p}: {row['verdict']}"
        lines.append(f"{name} {said}{_way(row)}")
    if len(told) < len(pairs):
        lines.append(f"  {len(pairs) - len(told)} more, of figures that have no better side: ")
        lines[-1] += "differences.csv"
    return lines


def _way(row: Row) -> str:
    """Which one is better, by name."""
    if row["verdict"] not in ("better", "worse"):
        return ""
    return f" ({row['a'] if row['verdict'] == 'better' else row['b']} is the better)"


def _mark(name: str) -> str:
    if name == FLOOR:
        return "floor"
    return "ceiling" if name in WORTHLESS else ""


def _find(rows: list[Row], clips: str, metric: str) -> Row | None:
    return next((r for r in rows if (r["clips"], r["metric"]) == (clips, metric)), None)


def _interval(row: Row, digits: int) -> str:
    low, high = (_float(row.get(key)) for key in ("ci_low", "ci_high"))
    return "-" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def _float(text: str | None) -> float | None:
    return float(text) if text else None


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
