"""One table per experiment, training seed and draw, and the gate over it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from etude.config import Evaluation
from etude.storage import read_csv

VERSION = 4  # raised when a verdict changes

Row = dict[str, str]

MEANING = {
    "generated": "what the models made",
    "real": "real vs real: other held-out music, the floor",
    "reconstruction": "those real clips through the codec",
    "copies": "clips of the training music: what a copier would make",
    "ngram": "an n-gram model of the training music",
    "shuffled": "their tokens in random order",
    "shuffled_bars": "their bars in random order",
    "untrained": "the networks before training",
    "noise": "white noise of the same level",
}
# What is said otherwise of systems whose clips are notes: no codec stands between them and the ear.
OF_NOTES = {"reconstruction": "those pieces as tokens and back, played by the corpus's renderer"}
COPIED = "memorised_"  # and the search's name: share of clips above the null's 99th percentile
GATED = (
    "exact",
    "fingerprint",
    "waveform",
    "notes",
)  # searches with high recall; others are told only
# What clips must be better than. Symbols in random order still sound like the instrument, in chords
# of the style: the distance of sounds is no judge of that, perplexity and the figures of notes are.
SYMBOLIC = "symbolic_lm"
RIVALS: dict[str, tuple[str, ...]] = {SYMBOLIC: ("untrained",)}
NO_NULL = "exact"  # equal samples are a copy, whatever held-out music does; none proves nothing


def meaning(clips: str, system: str = "") -> str:
    """What a set of clips is, in plain words; empty for a set that is not known."""
    special = OF_NOTES if system == SYMBOLIC else {}
    return special.get(clips) or MEANING.get(clips, "")


@dataclass
class Verdict:
    """The gate of one experiment: None where it cannot be decided."""

    holds: bool | None
    figures: str


@dataclass
class Table:
    """One experiment, one training seed, one draw."""

    rows: list[Row]

    @property
    def name(self) -> str:
        """Experiment, training seed and draw in words."""
        first = self.rows[0]
        return f"{first['experiment']} seed {first['train_seed']} draw {first['draw']}"

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

    def copied(self) -> dict[str, Row]:
        """By search for copies: what share of the generated clips it flags."""
        rows = (r for r in self.rows if r["clips"] == "generated")
        return {r["metric"].removeprefix(COPIED): r for r in rows if r["metric"].startswith(COPIED)}

    @property
    def embeddings(self) -> list[str]:
        """Configured embeddings, in order; a search for copies bears its name in their place."""
        rows = (r for r in self.rows if r["metric"] == "frechet_distance")
        return list(dict.fromkeys(r["embedding"] for r in rows if r["embedding"]))

    @property
    def sets(self) -> list[str]:
        """Clip sets, in the order of MEANING."""
        return [name for name in MEANING if any(r["clips"] == name for r in self.rows)]


def judge(table: Table, settings: Evaluation, embedding: str = "logmel") -> Verdict:
    """Whether a model's clips are better than worthless ones, tonal, audible and not copied."""
    distance = table.value("generated", "frechet_distance", embedding)
    names = RIVALS.get(table.rows[0]["system"], ("shuffled", "untrained"))
    rivals = {name: table.value(name, "frechet_distance", embedding) for name in names}
    known = {name: value for name, value in rivals.items() if value is not None}
    harmony = table.value("generated", "et_grid")
    own = table.value("real", "et_grid") or table.value("reference", "et_grid")
    silent = table.value("generated", "silent")
    if distance is None:
        return Verdict(None, table.note("generated", embedding).removeprefix("n/a: "))
    if few := too_few(table, embedding, settings):
        return Verdict(None, few)
    if not known or own is None:
        return Verdict(None, "nothing to compare with")
    rival = min(known, key=lambda name: known[name])
    bound, tonal = settings.gate_ratio * known[rival], settings.gate_harmony * own
    new, said = _judge_copies(table, settings)
    holds = distance < bound and harmony is not None and harmony >= tonal and not silent and new
    figures = (
        f"FD {distance:.2f} {_sign(distance, bound)} {settings.gate_ratio:g} x {known[rival]:.2f} "
        f"({rival}) = {bound:.2f}; et_grid {harmony or 0:.3f} {_sign(harmony or 0, tonal)} "
        f"{settings.gate_harmony:g} x {own:.3f} = {tonal:.3f}; silent clips: {silent or 0:g}; "
        f"copies: {said}"
    )
    return Verdict(holds, figures)


def _judge_copies(table: Table, settings: Evaluation) -> tuple[bool, str]:
    """The search that flags most decides; those that are n/a are left out, which is said."""
    rows = {name: row for name, row in table.copied().items() if name in GATED}
    known = {name: float(row["value"]) for name, row in rows.items() if row["value"]}
    left_out = [name for name, row in rows.items() if not row["value"]]
    bound = settings.gate_copied
    if not known or (set(known) == {NO_NULL} and known[NO_NULL] <= bound):
        notes = (rows[name]["note"].removeprefix("n/a: ") for name in left_out)
        why = next(notes, "nothing but equal samples was looked for" if known else "not measured")
        return True, f"n/a, left out ({why})"
    worst = max(known, key=lambda name: known[name])
    sign = "<=" if known[worst] <= bound else ">"
    rest = f"; n/a, left out: {', '.join(left_out)}" if left_out else ""
    return known[worst] <= bound, f"{known[worst]:.1%} {sign} {bound:.0%} ({worst}{rest})"


def too_few(table: Table, embedding: str, settings: Evaluation) -> str:
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


def gate(verdicts: dict[str, Verdict]) -> list[str]:
    """The last lines of fad.txt; the very last is the gate over all."""
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


def read_tables(paths: Iterable[Path]) -> list[Table]:
    """One table per experiment, training seed and draw, from tidy CSVs."""
    tables: dict[tuple[str, str, str], list[Row]] = {}
    for path in paths:
        for row in read_csv(path):
            if not row["draw"]:  # of a training as a whole, as perplexity is: nothing to judge
                continue
            tables.setdefault((row["experiment"], row["train_seed"], row["draw"]), []).append(row)
    return [Table(rows) for rows in tables.values()]
