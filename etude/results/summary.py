"""results/fad.txt: a screenful. The verdicts, one table of the primary metric, and the gate.

It is short because it leaves out much: all figures are in leaderboard.csv and differences.csv, those of
single training seeds and draws in metrics/. What was not measured is listed, with the reason.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.config import Evaluation
from etude.plugins import plugin_label
from etude.results import differences, leaderboard
from etude.results.gate import NOTHING, Verdict, judge
from etude.results.differences import RATIO
from etude.results.leaderboard import (
    FLOOR,
    GENERATED,
    PLUGIN_DISTANCE,
    PREFERRED,
    PRIMARY,
    number,
    read_figures,
    weights_named,
)
from etude.results.preference import correlations
from etude.results.rates import COPIED
from etude.results.systems import about, clip_sets
from etude.results.table import Table, read_tables
from etude.results.wording import gate, rates_sentence, sentence
from etude.storage import write_csv, write_text

VERSION = 8  # raised when the text changes

Row = dict[str, Any]

NAMES = {"frechet_distance": "FD", "fad_infinity": "FAD-infinity", "kad": "KAD", "mad": "MAD"}
SIGNALS = ("et_grid", "flatness_db", "level_db", "silent")
# Rows of memorisation.csv: the report page has all of them; here is only the share of flagged clips.
LADDER = (COPIED, "null_", "recall_", "extracted_", "melody_", "longest_run", "mean_run")
UNHEARD = ("shuffled_bars", "grains")  # music in another order: no rival, a warning
HEAD = "Distances of generated clips to held-out real music, lower is nearer; intervals are 95 %."
REST = "All figures and notes: leaderboard.csv, differences.csv, metrics/; to listen: report/."
BELOW_0 = "Below 0: an estimate without bias, or an extrapolated one; read it as about 0."
OF_ALL = "its clips are of its own concepts, the held-out music is of all sounds: told, not judged."
WIDTH = 100  # columns of the text; the last line is never broken
COLUMNS = 3  # experiments side by side
MOST = 8  # lines of one kind


@dataclass(frozen=True)
class RunSummary:
    """What a run's tables are made of.

    Attributes:
        tables: tidy CSVs, one per experiment, seed and draw.
        gated: experiments that the gate judges.
        rivals: rivals.csv of the same clips.
        concepts: concept.csv of the same trainings.
        failed: experiments of which something could not be made, and why.
        hashes: code_hash and env_hash.
    """

    tables: Sequence[Path]
    replicates: Sequence[Path]
    settings: Evaluation
    gated: frozenset[str]
    rivals: Sequence[Path] = ()
    concepts: Sequence[Path] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExperimentSummary:
    """One experiment: its rows of the leaderboard, its tables by seed and draw, its verdicts."""

    name: str
    rows: list[Row]
    tables: list[Table]
    verdicts: list[Verdict]

    def row(self, clips: str, metric: str, embedding: str = "") -> Row | None:
        """A row of the leaderboard."""
        wanted = (clips, metric, embedding)
        rows = (r for r in self.rows if (r["clips"], r["metric"], r["embedding"]) == wanted)
        return next(rows, None)


def write_results(run: RunSummary, folder: Path) -> str:
    """Write leaderboard.csv, differences.csv and fad.txt into a folder; gives back the text."""
    figures = read_figures(run.tables, run.replicates)
    primary = run.settings.deciding
    rows = list(leaderboard.leaderboard(figures.values(), run.hashes, run.failed, primary))
    pairs = list(differences.differences(figures.values(), run.hashes, primary))
    write_csv(folder / "leaderboard.csv", leaderboard.COLUMNS, rows)
    write_csv(folder / "differences.csv", differences.COLUMNS, pairs)
    text = render(rows, pairs, read_tables(run.tables, run.rivals, run.concepts), run)
    write_text(folder / "fad.txt", text)
    return text


def render(rows: list[Row], pairs: list[Row], tables: Iterable[Table], run: RunSummary) -> str:
    """The whole text; the last line is the gate over all experiments of `run.gated`."""
    parts = list(_parts(rows, list(tables), run))
    primary = run.settings.deciding
    blocks = [
        [HEAD, *dict.fromkeys(_what_intervals_say(part) for part in parts), REST],
        _verdicts(parts, run),
        *(_table(some, *primary, _instead(run.settings)) for some in _in_columns(parts)),
        [*_asked(parts, run.settings), *_weights(parts)],
        _own_sound_lines(parts, rows),
        _not_measured(parts),
        _differences(pairs, run.settings),
    ]
    shown = "\n\n".join("\n".join(block) for block in blocks if block)
    verdicts = {part.name: part.verdicts for part in parts if part.name in run.gated}
    failed = {name: why for name, why in run.failed.items() if name in run.gated}
    verdicts |= {name: [Verdict(NOTHING, why=f"failed: {why}")] for name, why in failed.items()}
    return f"{shown}\n\n{gate(verdicts)}\n"


def _parts(rows: list[Row], tables: list[Table], run: RunSummary) -> Iterator[ExperimentSummary]:
    for name in dict.fromkeys(row["experiment"] for row in rows):
        if own := [table for table in tables if table.experiment == name]:
            gated = name in run.gated
            verdicts = [judge(table, run.settings) for table in own] if gated else []
            of = [r for r in rows if r["experiment"] == name and r.get("metric")]
            yield ExperimentSummary(name, of, own, verdicts)


def _in_columns(parts: list[ExperimentSummary]) -> Iterator[list[ExperimentSummary]]:
    for start in range(0, len(parts), COLUMNS):
        yield parts[start : start + COLUMNS]


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    wrapper = textwrap.TextWrapper(
        WIDTH, indent, indent + "    ", break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text)


# -------------------------------------------------------------------------------------- verdicts


def _verdicts(parts: list[ExperimentSummary], run: RunSummary) -> list[str]:
    """A sentence for each experiment, then its rates."""
    lines = ["verdicts"]
    for part in parts:
        system = part.tables[0].system
        name = part.name if system == part.name else f"{part.name} ({system})"
        seeds = f"training seed {_distinct(part, 'train_seed')}, draw {_distinct(part, 'draw')}"
        if part.name in run.failed:
            words = f"failed: {run.failed[part.name]}"
        else:
            words = sentence(part.verdicts, rates=False) if part.verdicts else "measured, not judged"
        lines += _wrapped(f"{name}, {seeds}: {words}")
        if part.verdicts:
            lines += _wrapped(rates_sentence(part.verdicts), "    ")
    there = {part.name for part in parts}
    for name, why in run.failed.items():
        lines += [f"  {name}: failed: {why}"] if name not in there else []
    return lines if len(lines) > 1 else []


def _distinct(part: ExperimentSummary, key: str) -> str:
    return " ".join(dict.fromkeys(table.rows[0][key] for table in part.tables))


def _what_intervals_say(part: ExperimentSummary) -> str:
    trainings, draws = (len(_distinct(part, key).split()) for key in ("train_seed", "draw"))
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


# ----------------------------------------------------------------------------- the primary metric


def _instead(settings: Evaluation) -> str:
    """What replaces which primary embedding; usually nothing."""
    wanted, used = plugin_label(settings.primary.embedding), settings.deciding[1]
    return f" ({wanted} is not measured)" if wanted != used else ""


def _table(parts: list[ExperimentSummary], metric: str, embedding: str, instead: str) -> list[str]:
    """The primary metric: a line for each set, a column for each experiment."""
    rivals = {name for part in parts for name in about(part.tables[0].system).rivals}
    shown = [GENERATED, FLOOR, "reconstruction", *clip_sets()]
    names = [n for n in dict.fromkeys(shown) if n in (*shown[:3], *UNHEARD) or n in rivals]
    lines, below = [], False
    for name in names:
        rows = [part.row(name, metric, embedding) for part in parts]
        if any(rows):
            cells = "".join(f"{_cell(row):>25}" for row in rows)
            lines.append(f"  {name + _mark(name, rivals):<24}{cells}".rstrip())
            below |= any((number(row.get("value")) or 0) < 0 for row in rows if row)
    if not lines:
        return []
    title = f"the primary metric, {embedding} {NAMES[metric]}{instead}"
    head = f"  {'experiment':<24}" + "".join(f"{part.name[:24]:>25}" for part in parts)
    unheard = [n for n in UNHEARD if any(p.row(n, metric, embedding) for p in parts)]
    warning = (
        f"{' and '.join(unheard)}: music in another order. Where it is as near as the clips are, "
        "this metric does not hear order and form."
    )
    unjudged = [part.name for part in parts if not about(part.tables[0].system).rivals]
    notes = [*([BELOW_0] if below else []), *([warning] if unheard else [])]
    notes += [f"{', '.join(unjudged)}: {OF_ALL}"] if unjudged else []
    return [title, head, *lines, *(line for note in notes for line in _wrapped(note))]


def _mark(name: str, rivals: Iterable[str]) -> str:
    return " (floor)" if name == FLOOR else " (rival)" if name in rivals else ""


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    if not row.get("value"):
        return "n/a"
    of = f", n {row['n']}" if row["clips"] == GENERATED else ""
    return f"{float(row['value']):.2f} {_interval(row, 2)}".rstrip(" -") + of


# --------------------------------------------------------------------------------------- the rest


def _asked(parts: list[ExperimentSummary], settings: Evaluation) -> list[str]:
    """Figures and distances of the user's: whatever was asked for is shown."""
    asked = [(name, [""]) for name in map(plugin_label, settings.signals)]
    embeddings = list(map(plugin_label, settings.embeddings))
    asked += [(f"{PLUGIN_DISTANCE}{name}", embeddings) for name in map(plugin_label, settings.distances)]
    lines = []
    for part, (metric, by) in itertools.product(parts, asked):
        for embedding in by:
            wanted = (metric, embedding)
            of = [r for r in part.rows if (r["metric"], r["embedding"]) == wanted]
            rows = [r for r in of if r["clips"] != "reference"]
            words = [f"{r['clips']} {float(r['value']):.4g}" for r in rows if r.get("value")]
            if rows:
                shown, name = ", ".join(words) or rows[0]["note"], f"{embedding} {metric}".strip()
                lines += _wrapped(f"{name} ({rows[0]['unit']}): {shown}")
    return lines


def _own_sound_lines(parts: list[ExperimentSummary], rows: list[Row]) -> list[str]:
    """What listeners preferred, and which metrics go with it."""
    found = [(part.name, row) for part in parts if (row := part.row(GENERATED, PREFERRED))]
    if not found:
        return []
    lines = ["preferred over real music by listeners, % (50: as often as not)"]
    lines += [f"  {name:<24}{_cell(row):>25}, {row['note']}" for name, row in found]
    for row in correlations(rows)[:MOST]:
        name = f"{row['embedding']} {NAMES.get(row['metric'], row['metric'])}".strip()
        lines.append(
            f"  goes with {name}: {row['correlation']:+.2f} (Spearman, {row['experiments']} "
            "experiments; 1: as the listeners say)"
        )
    return lines


def _weights(parts: list[ExperimentSummary]) -> list[str]:
    known = dict.fromkeys(w for part in parts for w in weights_named(part.rows))
    return ["  pretrained weights (sha256): " + ", ".join(known)] if known else []


def _not_measured(parts: list[ExperimentSummary]) -> list[str]:
    """What has no figure, by why; of a set whatever the metric, of generated clips each metric."""
    missing: dict[str, dict[str, None]] = {}
    for part in parts:
        for row in part.rows:
            note = row.get("note") or "n/a"
            if row.get("value") or row["metric"].startswith("null_"):
                continue
            if row["clips"] not in (GENERATED, FLOOR):
                name = row["clips"]
            elif note.startswith("not run"):
                name = row["embedding"]
            else:
                what = NAMES.get(row["metric"], row["metric"])
                name = " ".join(filter(None, (row["clips"], row["embedding"], what)))
            missing.setdefault(note, {})[name] = None
    lines = []
    for note, names in missing.items():
        shown, more = list(names)[:3], len(names) - 3
        head = ", ".join(shown) + f" and {more} more" * (more > 0)
        lines.append(f"  {head}: {note}")
    if not lines:
        return []
    rest = [f"  {len(lines) - MOST} more in leaderboard.csv"] if len(lines) > MOST else []
    return ["not measured", *lines[:MOST], *rest]


def _differences(pairs: list[Row], settings: Evaluation) -> list[str]:
    """Experiments against each other by the primary metric; where there is no figure, why."""
    if not pairs:
        return []
    metric, embedding = settings.deciding
    head = f"differences by the primary metric, {embedding} {NAMES[metric]}, Holm-corrected"
    lines: list[str] = []
    whys: dict[str, list[str]] = {}
    for row in (row for row in pairs if row["role"] == PRIMARY):
        if row.get("value"):
            lines.append(f"  {_pair(row)}: {_difference(row)}")
        else:
            whys.setdefault(row["note"], []).append(_pair(row))
    lines += [line for why, who in whys.items() for line in _wrapped(f"{', '.join(who)}: {why}")]
    lines = lines or ["  n/a: it was not measured"]
    more = [f"  {len(lines) - MOST} more in differences.csv"] if len(lines) > MOST else []
    # What was not tested, as of one training, does not count as alike.
    tested = [row for row in pairs if row["role"] != PRIMARY and row.get("p")]
    won = sum(row["verdict"] in ("better", "worse") for row in tested)
    rest = f"  exploratory (Benjamini-Hochberg, 5 %): {won} of {len(tested)} other figures differ"
    return [head + _instead(settings), *lines[:MOST], *more, *([rest] if tested else [])]


def _pair(row: Row) -> str:
    return f"{row['a']} {'/' if row.get('scale') == RATIO else '-'} {row['b']}"


def _difference(row: Row) -> str:
    p = f", p {float(row['p_adjusted']):.3f}" if row.get("p_adjusted") else ""
    text = f"{float(row['value']):.4g} {_interval(row, 4)}{p}: {row['verdict']}"
    if row["verdict"] not in ("better", "worse"):
        return text
    return f"{text} ({row['a'] if row['verdict'] == 'better' else row['b']} is the better)"


def _interval(row: Row, digits: int) -> str:
    low, high = (number(row.get(key)) for key in ("ci_low", "ci_high"))
    return "-" if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"
