"""The gate of the default configuration for three training seeds of each experiment.

$ETUDE_RESULTS may name the results/ of a finished run of that configuration, whose training is then
taken as it is. $ETUDE_GATE may name the folder of the run: one that was killed goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from finished import start_from
from record import record, table
from workspace import Workspace

from etude.config import DEFAULT, read
from etude.results.gate import HOLDS, Against, Verdict, judge, overall
from etude.results.rates import Rate, percent
from etude.results.systems import in_words
from etude.results.table import Table, read_tables

pytestmark = pytest.mark.proof

COMMAND = "pytest benchmarks/bench_gate.py -m proof"
SEEDS = [0, 1, 2]

Judged = list[tuple[Table, Verdict]]  # of an experiment, by training seed


def lines(name: str, judged: Judged) -> list[str]:
    """An experiment's table: a row for each rival and rate, a column for each training."""
    found = [verdict for _, verdict in judged]
    words = [f"**{verdict.word}**, n {verdict.n}" for verdict in found]
    rows = [["gate", *words], *_rivals(judged), *_rates(found)]
    return [*table([f"**{name}**", *(f"seed {t.rows[0]['train_seed']}" for t, _ in judged)], rows)]


def _rivals(judged: Judged) -> Iterator[list[str]]:
    for rival in [one.rival for one in judged[0][1].rivals]:
        cells = []
        for given, verdict in judged:
            (one,) = (a for a in verdict.rivals if a.rival == rival)
            cells.append(f"{one.word}: {_differences(given, one)}")
        yield [in_words(rival), *cells]


def _differences(given: Table, one: Against) -> str:
    """KAD(generated) - KAD(rival) with its interval, by each gated embedding."""
    rows = [row for row in given.rivals if row["rival"] == one.rival]
    return ", ".join(
        f"{r['embedding']} {float(r['value']):+.1f} "
        f"[{float(r['ci_low']):.1f}, {float(r['ci_high']):.1f}]" if r["value"]
        else f"{r['embedding']} {r['note']}"
        for r in rows
    )  # fmt: skip


def _rates(found: Sequence[Verdict]) -> Iterator[list[str]]:
    for rates in zip(*(verdict.rates for verdict in found), strict=True):
        yield [rates[0].name, *map(_rate, rates)]


def _rate(rate: Rate) -> str:
    if rate.low is None or rate.high is None:
        return f"{rate.word}: {rate.note}"
    between = f"{percent(rate.value or 0)} [{percent(rate.low)}, {percent(rate.high)}]"
    return f"{rate.word}: {between} of {rate.n}" + f" ({rate.note})" * bool(rate.note)


def test_the_gate_holds_for_three_training_seeds(tmp_path):
    workspace = Workspace(Path(os.environ.get("ETUDE_GATE", tmp_path)))
    if not (workspace.folder / "results").is_dir():
        start_from(workspace.folder)
    settings = read(DEFAULT)
    seeds = {"seeds": {"train": SEEDS, "generate": [0]}}
    three = {"experiments": dict.fromkeys(settings.run or (), seeds)}
    workspace.run("results/fad.txt", configs=[workspace.config("three", three)])
    said: list[str] = []
    verdicts: dict[str, list[Verdict]] = {}
    for name in settings.run or ():
        folders = [workspace.folder / f"results/metrics/{name}/seed-{s}/draw-0" for s in SEEDS]
        tidy = [path for folder in folders for path in _tables(folder)]
        tables = read_tables(tidy, [folder / "rivals.csv" for folder in folders])
        judged = [(t, judge(t, settings.evaluation)) for t in tables]
        verdicts[name] = [verdict for _, verdict in judged]
        said += [*lines(name, judged), ""]
    told = (
        "KAD of the clips less KAD of a rival, 95 %, below 0 where the clips are nearer to real "
        "music; shares with their one-sided 95 % bounds."
    )
    every = [verdict for of in verdicts.values() for verdict in of]
    held = sum(verdict.word == HOLDS for verdict in every)
    last = f"{held} of {len(every)} hold. {workspace.text('results/fad.txt').splitlines()[-1]}"
    record("The gate over seeds", COMMAND, [told, "", *said, last])
    assert overall(every) == HOLDS


def _tables(folder: Path) -> list[Path]:
    """The tidy tables of a set of clips, those of its training among them."""
    files = ("fad.csv", "memorisation.csv", "symbolic.csv")
    of_training = folder.parent / "perplexity.csv"
    return [p for p in (*(folder / file for file in files), of_training) if p.is_file()]
