"""results/fad.txt: the distances of all experiments in one readable table, and the gate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from etude.config import Evaluation
from etude.storage import read_csv, write_text

VERSION = 3  # raised when the text changes

Row = dict[str, str]

SIGNALS = ("et_grid", "flatness_db", "level_db")
MEANING = {
    "generated": "what the models made",
    "real": "real vs real: other held-out music, the floor",
    "reconstruction": "those real clips through the codec",
    "shuffled": "their tokens in random order",
    "untrained": "the networks before training",
    "noise": "white noise of the same level",
    "copies": "clips of the training music: what a copier would make",
}


@dataclass
class Verdict:
    """The gate of one experiment: None where it cannot be decided."""

    holds: bool | None
    figures: str


@dataclass
class Table:
    """One experiment, one training seed, one draw."""

    rows: list[Row]

    def value(self, clips: str, metric: str, embedding: str = "") -> float | None:
        """A figure, None where there is none."""
        for row in self.rows:
            if (row["clips"], row["metric"]) == (clips, metric) and row["embedding"] == embedding:
                return float(row["value"]) if row["value"] else None
        return None

    def count(self, clips: str, embedding: str = "") -> str:
        """Number of clips of a set, or of those that a distance was made of."""
        found = (r["n"] for r in self.rows if (r["clips"], r["embedding"]) == (clips, embedding))
        return next(found, "0")

    def note(self, clips: str, embedding: str) -> str:
        """Why a figure is missing."""
        found = (r["note"] for r in self.rows if (r["clips"], r["embedding"]) == (clips, embedding))
        return next(found, "n/a")

    def draws(self, clips: str, embedding: str) -> str:
        """The 95 % interval of a Fréchet distance, where it has one."""
        for row in self.rows:
            if (row["clips"], row["embedding"]) == (clips, embedding) and row.get("ci_low"):
                if row["metric"] != "frechet_distance":
                    continue
                low, high = float(row["ci_low"]), float(row["ci_high"])
                return f" (95 %: {low:.1f} to {high:.1f})"
        return ""

    @property
    def embeddings(self) -> list[str]:
        """Configured embeddings, in order."""
        return list(dict.fromkeys(r["embedding"] for r in self.rows if r["embedding"]))

    @property
    def sets(self) -> list[str]:
        """Clip sets, in the order of MEANING."""
        return [name for name in MEANING if any(r["clips"] == name for r in self.rows)]


def judge(table: Table, settings: Evaluation, embedding: str = "logmel") -> Verdict:
    """Whether a model's clips are better than worthless ones, tonal and audible."""
    distance = table.value("generated", "frechet_distance", embedding)
    rivals = {n: table.value(n, "frechet_distance", embedding) for n in ("shuffled", "untrained")}
    known = {name: value for name, value in rivals.items() if value is not None}
    harmony = table.value("generated", "et_grid")
    own = table.value("real", "et_grid") or table.value("reference", "et_grid")
    silent = table.value("generated", "silent")
    if distance is None:
        return Verdict(None, table.note("generated", embedding).removeprefix("n/a: "))
    if few := _too_few(table, embedding, settings):
        return Verdict(None, few)
    if not known or own is None:
        return Verdict(None, "nothing to compare with")
    rival = min(known, key=lambda name: known[name])
    bound, tonal = settings.gate_ratio * known[rival], settings.gate_harmony * own
    holds = distance < bound and harmony is not None and harmony >= tonal and not silent
    figures = (
        f"FD {distance:.2f} {_sign(distance, bound)} {settings.gate_ratio:g} x {known[rival]:.2f} "
        f"({rival}) = {bound:.2f}; et_grid {harmony or 0:.3f} {_sign(harmony or 0, tonal)} "
        f"{settings.gate_harmony:g} x {own:.3f} = {tonal:.3f}; silent clips: {silent or 0:g}"
    )
    return Verdict(holds, figures)


def _too_few(table: Table, embedding: str, settings: Evaluation) -> str:
    """Why distances say nothing: distances of few clips are mostly chance."""
    n = int(table.count("generated", embedding))
    if n >= settings.gate_clips:
        return ""
    return (
        f"n = {n} clips, the smallest set's, and {settings.gate_clips} are needed for a verdict; "
        "generate more clips, or give more held-out music"
    )


def _sign(left: float, right: float) -> str:
    return "<" if left < right else ">="


def render(tables: Iterable[Table], settings: Evaluation, gated: set[str]) -> str:
    """The whole text; the last line is the gate over all experiments in `gated`."""
    lines = [
        "Fréchet distances of generated clips to held-out real music, lower is nearer.",
        "Compare only rows of one block: the scale depends on the embedding and on n (clips).",
    ]
    verdicts: dict[str, Verdict] = {}
    for table in tables:
        first = table.rows[0]
        name = f"{first['experiment']} seed {first['train_seed']} draw {first['draw']}"
        lines += ["", f"experiment {name} ({first['system']})"]
        for embedding in table.embeddings:
            lines += _block(table, embedding, settings)
        lines += _own_metrics(table)
        if first["experiment"] in gated:
            verdicts[name] = judge(table, settings)
    return "\n".join([*lines, "", *_gate(verdicts)]) + "\n"


def _block(table: Table, embedding: str, settings: Evaluation) -> list[str]:
    note = table.note("generated", embedding)
    if note.startswith("not run"):
        return ["", f"  {embedding}: {note}"]
    lines = [
        "",
        f"  {embedding:<15} {'FD':>9} {'n':>5} {'et_grid':>8} {'flatness':>9} {'silent':>7}",
    ]
    for name in table.sets:
        if name == "reference":
            continue
        value = table.value(name, "frechet_distance", embedding)
        if value is None:
            lines.append(
                f"  {name:<15} {'n/a':>9}       {table.note(name, embedding).removeprefix('n/a: ')}"
            )
            continue
        figures = [
            f"{value:>9.2f} {table.count(name, embedding):>5}",
            _number(table.value(name, "et_grid"), 8, 3),
            _number(table.value(name, "flatness_db"), 9, 1),
            f"{table.value(name, 'silent') or 0:>7g}",
        ]
        meaning = f"{MEANING[name]}{table.draws(name, embedding)}"
        lines.append(f"  {name:<15} {' '.join(figures)}   {meaning}")
    generated = table.value("generated", "frechet_distance", embedding)
    floor = table.value("real", "frechet_distance", embedding)
    if generated is not None and (few := _too_few(table, embedding, settings)):
        lines.append(f"  These distances are mostly chance: {few}.")
    elif generated is not None and floor:
        lines.append(f"  FD / real-vs-real: {generated / floor:.2f} (goal: under 2)")
    return lines


def _own_metrics(table: Table) -> list[str]:
    """Means of the user's own metrics on clips, one line each."""
    known = {"frechet_distance", "silent", *SIGNALS}
    lines = []
    plain = (r["metric"] for r in table.rows if not r["embedding"])
    for metric in dict.fromkeys(name for name in plain if name not in known):
        unit = next(r["unit"] for r in table.rows if r["metric"] == metric)
        values = ((name, table.value(name, metric)) for name in table.sets)
        said = [f"{name} {value:.4g}" for name, value in values if value is not None]
        lines.append(f"  {metric} ({unit}): {', '.join(said)}")
    return ["", *lines] if lines else []


def _number(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def _gate(verdicts: dict[str, Verdict]) -> list[str]:
    if not verdicts:
        return ["gate: n/a (no trained experiment)"]
    if len(verdicts) > 1:
        lines = [f"  {name}: {_word(v)} ({v.figures})" for name, v in verdicts.items()]
    else:
        lines = []
    words = {v.holds for v in verdicts.values()}
    overall = "fails" if False in words else "holds" if words == {True} else "n/a"
    figures = (
        next(iter(verdicts.values())).figures
        if len(verdicts) == 1
        else f"{sum(v.holds is True for v in verdicts.values())} of {len(verdicts)} hold"
    )
    return [*lines, f"gate: {overall} ({figures})"]


def _word(verdict: Verdict) -> str:
    return {True: "holds", False: "fails", None: "n/a"}[verdict.holds]


def read_tables(paths: list[Path]) -> list[Table]:
    """One table per experiment, training seed and draw, from tidy CSVs."""
    tables: dict[tuple[str, str, str], list[Row]] = {}
    for path in paths:
        for row in read_csv(path):
            tables.setdefault((row["experiment"], row["train_seed"], row["draw"]), []).append(row)
    return [Table(rows) for rows in tables.values()]


def write_table(paths: list[Path], settings: Evaluation, gated: set[str], output: Path) -> str:
    """Write fad.txt and give back its text."""
    text = render(read_tables(paths), settings, gated)
    write_text(output, text)
    return text
