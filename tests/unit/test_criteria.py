"""Stated criteria: what passes, what fails, and what cannot be said."""

from __future__ import annotations

import pytest
import yaml
from refused import invalid

from etude.config import DEFAULT, Criteria, TrainingSettings, load_config, merge, parse_section
from etude.metrics.memorisation.exact import Probe, write_seed_files
from etude.metrics.score import COLUMNS
from etude.results.criteria import check_criteria, render, rolling_means, steady_since, verdict_of
from etude.storage import read_csv, write_csv
from etude.systems.stage_module import OF_TOKENS
from etude.training.loop import history_columns


def history(folder, losses, stage="semantic", every=10):
    """A history.csv of losses, a row for each `every` steps; the last row has a validation."""
    path = folder / "models" / "mine" / stage / "seed-0" / "history.csv"
    rows = [
        {"step": (i + 1) * every, "train_loss": loss, "valid_loss": ""}
        for i, loss in enumerate(losses)
    ]
    rows[-1]["valid_loss"] = "1.5"
    write_csv(path, history_columns(OF_TOKENS, TrainingSettings()), rows)
    return path


def hashes(folder, found=0, probes=4):
    """A folder of the seed's files: so many of the probes are found in the training music."""
    target = folder / "metrics" / "mine" / "seed-0" / "draw-1" / "hashes"
    write_seed_files(
        [
            Probe(f"clip-{i // 2}", 2.0 * (i % 2), "0", (("p", 0.0),) * (i < found))
            for i in range(probes)
        ],
        target,
    )
    return target


def distances(folder, **values):
    path = folder / "metrics" / "mine" / "seed-0" / "draw-1" / "fad.csv"
    rows = [
        {"clips": "generated", "metric": "frechet_distance", "embedding": e, "value": v, "note": n}
        for e, (v, n) in values.items()
    ]
    rows.append(
        {"clips": "real", "metric": "frechet_distance", "embedding": "logmel", "value": "1"}
    )
    write_csv(path, COLUMNS, rows)
    return path


def check(tmp_path, criteria, **found):
    given = {"histories": [], "hashes": [], "tables": []} | found
    table, text = tmp_path / "c.csv", tmp_path / "c.txt"
    said = check_criteria("mine", Criteria(**criteria), table=table, text=text, **given)
    assert said == text.read_text()
    return said.splitlines()[-1], list(read_csv(table))


def test_rolling_means_weigh_rows_by_their_steps():
    rows = [
        {"step": "10", "train_loss": "4"},
        {"step": "15", "train_loss": "1"},  # a validation in between: a row of five steps
        {"step": "20", "train_loss": "2"},
        {"step": "30", "train_loss": "2"},
    ]
    assert rolling_means(rows, 10) == [(10, 4), (15, 3), (20, 1.5), (30, 2)]
    assert rolling_means(rows, 1000)[-1] == (30, pytest.approx((40 + 5 + 10 + 20) / 30))


def test_since_when():
    means = [(10, 2.0), (20, 0.9), (30, 1.1), (40, 0.8), (50, 0.7)]
    assert steady_since(means, 1.0) == 40
    assert steady_since(means, 0.7) is None
    assert steady_since([(10, float("nan"))], 1.0) is None


@pytest.mark.parametrize(
    ("losses", "verdict", "value"),
    [
        ([3, 2, 1, *[0.9] * 17], "met", "0.9"),
        ([3, 2, 1, *[0.9] * 16, 1.2], "FAILED", "1.2"),  # one step below is not steadily below
        ([*[0.9] * 19, float("nan")], "FAILED", "nan"),
        ([3.0] * 20, "FAILED", "3"),
    ],
)
def test_a_loss_that_stays_below(tmp_path, losses, verdict, value):
    criteria = {"loss_below": 1.0, "smooth_steps": 10}
    _, rows = check(tmp_path, criteria, histories=[history(tmp_path, losses)])
    (row,) = rows
    assert (row["verdict"], row["value"], row["limit"]) == (verdict, value, "1")
    assert (row["of"], row["train_seed"]) == ("semantic", "0")
    assert "validation loss 1.5 (told only)" in row["note"]


def test_a_dip_at_the_end_is_not_steady(tmp_path):
    """The mean of 500 steps sees what the last ten do not."""
    last, _ = check(
        tmp_path,
        {"loss_below": 1.0},
        histories=[history(tmp_path, [*[1.5] * 99, 0.1]), history(tmp_path, [0.5], "coarse")],
    )
    assert last == "criteria: NOT met: loss of semantic"


@pytest.mark.slow
def test_copies_are_counted(tmp_path):
    last, rows = check(tmp_path, {"exact_matches": 0}, hashes=[hashes(tmp_path)])
    assert last == "criteria: met"
    assert (rows[0]["value"], rows[0]["note"]) == ("0", "of 4 segments of 2 clips")
    assert (rows[0]["train_seed"], rows[0]["draw"]) == ("0", "1")
    last, rows = check(tmp_path, {"exact_matches": 0}, hashes=[hashes(tmp_path, found=1)])
    assert last == "criteria: NOT met: exact_matches of generated"
    last, _ = check(tmp_path, {"exact_matches": 1}, hashes=[hashes(tmp_path, found=1)])
    assert last == "criteria: met"


def test_what_cannot_be_said_is_not_met(tmp_path):
    assert check(tmp_path, {"loss_below": 1.0})[0] == "criteria: n/a"
    nothing = hashes(tmp_path, probes=0)
    assert check(tmp_path, {"exact_matches": 0}, hashes=[nothing])[0] == "criteria: n/a"


def test_distances_are_told_or_judged(tmp_path):
    table = distances(tmp_path, logmel=("2.5", ""), clap=("", "not run: it needs weights"))
    last, rows = check(tmp_path, {"exact_matches": 0}, tables=[table], hashes=[hashes(tmp_path)])
    assert last == "criteria: met"
    told = {row["of"]: row for row in rows[1:]}
    assert {row["verdict"] for row in told.values()} == {"told"}
    assert told["logmel"]["note"] == "no limit is set"
    assert told["clap"]["note"] == "not run; no limit is set"
    assert check(tmp_path, {"distance_below": {"logmel": 2}}, tables=[table])[0].startswith(
        "criteria: NOT met: frechet_distance of logmel"
    )
    assert check(tmp_path, {"distance_below": {"logmel": 3}}, tables=[table])[0] == "criteria: met"
    assert check(tmp_path, {"distance_below": {"clap": 3}}, tables=[table])[0] == "criteria: n/a"


def test_the_words():
    assert verdict_of([]) == verdict_of([{"verdict": "told"}]) == "n/a"
    assert verdict_of([{"verdict": "n/a"}, {"verdict": "FAILED"}]) == "FAILED"
    row = {"criterion": "exact_matches", "of": "generated", "value": 0, "limit": 0}
    text = render("mine", [row | {"verdict": "met", "train_seed": "0", "draw": "2", "note": "x"}])
    assert "        0  at most 0  met     training seed 0, draw 2; x\n" in text


def test_config():
    base = yaml.safe_load(DEFAULT.read_text())
    with invalid("criteria.audiolx", "unknown-name", "'audiolx'"):
        load_config(merge(base, {"criteria": {"audiolx": {"exact_matches": 0}}}))
    with invalid("criteria.audiolm", "empty-criterion"):
        load_config(merge(base, {"criteria": {"audiolm": {}}}))
    with invalid("criteria.audiolm.distance_below", "unknown-name", "`evaluation.embeddings`"):
        load_config(merge(base, {"criteria": {"audiolm": {"distance_below": {"nothing": 1}}}}))
    found = load_config(merge(base, {"criteria": {"audiolm": {"exact_matches": 0}}})).criteria[
        "audiolm"
    ]
    assert parse_section(Criteria, found.params()) == found
