"""differences.csv: what decides, what is exploratory, what must not be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from refused import invalid
from tidy import (
    DISTANCES,
    REPLICATES,
    row,
    rows_of,
    run,
    two_experiments,
    write_cell,
    write_training,
)  # fmt: skip

from etude import config
from etude.config import Evaluation
from etude.results.summary import write_results
from etude.storage import read_csv

ONE = "n/a: one training; only these clips"


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def compared(results, **more):
    """The text and the rows of differences.csv of what lies in a folder."""
    text = write_results(run(results, **more), results)
    return text, list(read_csv(results / "differences.csv"))


def only(rows, **keys):
    found = [r for r in rows if keys.items() <= r.items()]
    assert len(found) == 1, found
    return found[0]


def distance(rows):
    return only(rows, metric="frechet_distance", embedding="logmel")


def test_several_trainings_make_a_verdict(results):
    two_experiments(results)
    text, pairs = compared(results)
    found = distance(pairs)
    assert (found["role"], found["scale"], found["verdict"]) == ("primary", "ratio", "better")
    assert float(found["value"]) == pytest.approx(0.7, abs=0.05)
    assert float(found["value"]) == pytest.approx(
        float(found["value_a"]) / float(found["value_b"]), abs=1e-5
    )
    assert float(found["ci_high"]) < 1
    assert found["p"] == found["p_adjusted"]
    assert found["family"] == "1"
    assert (found["train_seeds_a"], found["train_seeds_b"], found["draws"]) == (
        "0 1 2", "0 1 2", "0 1",
    )  # fmt: skip
    assert (found["config_hash_a"], found["config_hash_b"]) == ("c-a", "c-b")
    assert "differences by the primary metric, logmel FD, Holm-corrected\n  a / b: 0." in text
    assert "better (a is the better)" in text
    assert only(pairs, embedding="clap-laion-audio")["verdict"] == "n/a"
    assert pairs[0] == found, "the primary rows stand first"


@pytest.mark.parametrize(("seeds", "draws"), [(1, 1), (1, 3)])
def test_one_training_says_nothing_of_systems(results, seeds, draws):
    """Even where the clips differ by far: other trainings may differ by more."""
    two_experiments(results, seeds=seeds, draws=draws, gap=-8.0)
    text, pairs = compared(results)
    found = distance(pairs)
    assert found["verdict"] == ONE
    assert (found["p"], found["p_adjusted"], found["family"]) == ("", "", "0")
    assert 0 < float(found["ci_low"]) < float(found["value"]) < float(found["ci_high"]) < 1
    assert "interval of sampling: other clips of the same trainings" in found["note"]
    assert not {r["verdict"] for r in pairs} & {"better", "worse", "differs"}
    assert "is the better" not in text
    assert ONE in text
    assert "other figures differ" not in text, "what was not tested is not alike"


def test_one_training_of_either_is_enough_to_say_nothing(results):
    two_experiments(results, gap=-8.0)
    for draw in range(2):
        for seed in (1, 2):
            (results / "metrics" / "b" / f"seed-{seed}" / f"draw-{draw}" / "fad.csv").unlink()
    found = distance(compared(results)[1])
    assert found["verdict"] == ONE
    assert (found["train_seeds_a"], found["train_seeds_b"]) == ("0 1 2", "0")


def test_seeds_of_one_number_are_not_paired(results):
    """What moves together by chance of the numbers is spread, and no precision."""
    for seed in range(3):
        for name, value in (("a", 5.0), ("b", 5.5)):
            both = DISTANCES | {"generated": value * 2.0**seed}
            write_cell(results, name, rows_of(both, width=0.1), seed)
    found = distance(compared(results)[1])
    assert float(found["value"]) == pytest.approx(5 / 5.5, abs=1e-5)
    assert found["verdict"] == "inconclusive"
    assert float(found["ci_high"]) > 3


def test_equal_experiments_are_inconclusive(results):
    two_experiments(results, gap=0.0)
    text, pairs = compared(results)
    assert distance(pairs)["verdict"] == "inconclusive"
    assert ": inconclusive" in text


def test_one_family_of_all_pairs_and_one_of_all_that_is_exploratory(results):
    generator = np.random.default_rng(1)
    for name in "abcd":
        for seed in range(3):
            own = rows_of(DISTANCES | {"generated": 5 + generator.random()})
            more = [row("generated", f"m{i}", generator.random(), unit="u") for i in range(5)]
            null = row("generated", "null_p99_fingerprint", 0.4 + ord(name) / 1000, unit="score")
            planted = row("planted", "recall_exact", 0.5)
            write_cell(results, name, [*own, *more, null, planted], seed)
    text, pairs = compared(results, gated=tuple("abcd"))
    roles = {r["role"]: r["family"] for r in pairs if r["p"]}
    assert roles == {"primary": "6", "exploratory": "30"}, "the constant et_grid, silent have no p"
    assert {r["metric"] for r in pairs if r["role"] == "primary"} == {"frechet_distance"}
    assert not [r for r in pairs if r["metric"].startswith(("null_", "recall_"))]
    for one in (r for r in pairs if r["p"]):
        assert float(one["p_adjusted"]) >= float(one["p"])
    grid = [r for r in pairs if r["metric"] == "et_grid"]
    assert {r["verdict"] for r in grid} == {"n/a"}
    assert "no spread between trainings" in grid[0]["note"]
    assert "exploratory (Benjamini-Hochberg, 5 %): " in text
    assert "of 30 other figures differ" in text


def test_what_cannot_be_subtracted_is_not(results):
    write_cell(results, "a", rows_of(DISTANCES))
    write_cell(results, "b", rows_of(DISTANCES, n="64"))
    found = distance(compared(results)[1])
    assert found["note"] == (
        "n/a: made of different numbers of clips (32, 64), on which it depends"
    )
    assert found["value"] == ""
    silent = only(read_csv(results / "differences.csv"), metric="silent")
    assert silent["note"] == found["note"], "a count of 32 clips and one of 64"


def perplexities(results, trainings, gap):
    """Of `a` and `b`, whose replicates asked the same pieces; the tables and the replicates."""
    dice = np.random.default_rng(0).standard_normal(REPLICATES) / 2
    tables, replicates = [], []
    for name, value in (("a", 8.0), ("b", 8.0 + gap)):
        for seed in range(trainings):
            own = value + seed / 20
            figure = row("generated", "perplexity", own, unit="per token", n="500")
            figure |= {"ci_low": f"{own - 1:.6f}", "ci_high": f"{own + 1:.6f}"}
            tables.append(write_cell(results, name, rows_of(DISTANCES), seed) / "fad.csv")
            tables.append(write_training(results, name, [figure], seed, replicates=own + dice))
            replicates.append(tables[-1].with_name("perplexity_replicates.csv"))
    return tables, replicates


@pytest.mark.parametrize("trainings", [1, 3])
def test_perplexities_are_compared_on_the_pieces_that_both_were_asked(results, trainings):
    """What is easy to foresee for both is no spread; the intervals of either alone overlap."""
    tables, replicates = perplexities(results, trainings, gap=0.8)
    found = []
    for paths in ([], replicates):
        write_results(replace(run(results), tables=tables, replicates=paths), results)
        found.append(only(read_csv(results / "differences.csv"), metric="perplexity"))
    widths = [float(one["ci_high"]) - float(one["ci_low"]) for one in found]
    assert widths[1] < widths[0] / 2
    assert float(found[1]["ci_high"]) < 1 < float(found[0]["ci_high"])
    assert [one["verdict"] for one in found] == (
        [ONE, ONE] if trainings == 1 else ["inconclusive", "better"]
    )


# --------------------------------------------------------------------------------------- primary


def test_the_primary_metric_is_chosen_before_the_run(results):
    two_experiments(results)
    for name in "ab":
        for path in (results / "metrics" / name).glob("seed-*/draw-*/fad.csv"):
            seed, draw = (int(part.rpartition("-")[2]) for part in path.parts[-3:-1])
            kad = row("generated", "kad", 1.0 + seed + draw / 10, "logmel")
            write_cell(results, name, [*rows_of(DISTANCES), kad], seed, draw)
    settings = Evaluation(embeddings=["logmel"])
    assert settings.deciding == ("kad", "logmel"), "harmony is not measured"
    text = write_results(replace(run(results), settings=settings), results)
    assert "by the primary metric, logmel KAD, Holm-corrected (harmony is not measured)" in text
    pairs = list(read_csv(results / "differences.csv"))
    assert [r["metric"] for r in pairs if r["role"] == "primary"] == ["kad"]
    board = list(read_csv(results / "leaderboard.csv"))
    assert {r["metric"] for r in board if r["role"] == "primary"} == {"kad"}
    write_results(
        replace(run(results), settings=Evaluation(embeddings=["logmel", "harmony"])), results
    )
    text = (results / "fad.txt").read_text()
    assert "primary metric, harmony KAD, Holm-corrected\n  n/a: it was not measured" in text


def test_a_primary_embedding_must_be_measured():
    deciding = Evaluation(embeddings=["logmel", "harmony"]).deciding
    assert deciding == ("kad", "harmony")
    assert Evaluation(embeddings=["vggish", "timbre"]).deciding == ("kad", "timbre")
    own = Evaluation(embeddings=["my:Ear"], primary={"embedding": "my:Ear"})
    assert own.deciding == ("kad", "Ear")
    wrong = {"evaluation": {"embeddings": ["logmel"], "primary": {"embedding": "logmell"}}}
    with invalid("evaluation.primary", "unknown-name", "'logmell'"):
        config.read(config.DEFAULT, overrides=wrong)
