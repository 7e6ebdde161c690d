"""The leaderboard, the differences and the text of all experiments, from tidy CSVs."""

from dataclasses import replace

import numpy as np
import pytest
from tidy import (
    DISTANCES,
    REPLICATES,
    row,
    rows_of,
    run,
    two_experiments,
    write_cell,
)  # fmt: skip

from etude.results.leaderboard import read_figures
from etude.results.summary import write_results
from etude.results.table import COPIED
from etude.storage import read_csv


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def made(results, **more):
    """The text, the leaderboard and the differences of what lies in a folder."""
    text = write_results(run(results, **more), results)
    return text, *(list(read_csv(results / f"{n}.csv")) for n in ("leaderboard", "differences"))


def only(rows, **keys):
    found = [r for r in rows if keys.items() <= r.items()]
    assert len(found) == 1, found
    return found[0]


def copied(value, rung="fingerprint", **more):
    return row("generated", COPIED + rung, value, unit="share", **more)


# ------------------------------------------------------------------------------- one experiment


def test_the_text_ends_with_the_gate_and_names_what_did_not_run(results):
    write_cell(results, "e", rows_of(DISTANCES))
    text, _, pairs = made(results)
    assert text.splitlines()[-1].startswith("gate: holds (FD 5.00 < 0.7 x 20.00 (shuffled) = 14.00")
    assert "clap-laion-audio: not run: needs weights" in text
    assert "FD / real-vs-real: 0.83" in text
    assert "One training and one draw: intervals are of sampling only" in text
    line = next(line for line in text.splitlines() if line.startswith("  generated"))
    assert line.split()[1:5] == ["5.00", "[4.00,", "6.00]", "32"]
    assert "floor" in next(line for line in text.splitlines() if line.startswith("  real"))
    assert "ceiling" in next(line for line in text.splitlines() if line.startswith("  noise"))
    assert not pairs


def test_the_text_is_a_block_for_each_embedding_and_then_each_experiment(results):
    """Key figures alone: the rest is counted, and stands in the CSVs."""
    names = ("a", "b", "c", "d")
    more = [row("generated", f"detail_{i}", 1.0) for i in range(50)]
    told = [row("generated", "duration_kl", 0.5), row("real", "duration_kl", 0.1)]
    told += [copied(0.0), copied(0.1, "tokens"), row("real", "kad", 1.25, "logmel")]
    for kind, value in (("train", 0.5), ("held_out", 0.0)):
        told.append(row(f"prefixes_{kind}", "extracted_exact_after_32", value))
    for name in names:
        write_cell(results, name, [*rows_of(DISTANCES), *told, *more])
    text, board, pairs = made(results, gated=names)
    lines = text.splitlines()
    assert len(lines) < 120
    assert sum(line.startswith("logmel ") for line in lines) == 1
    block = text[text.index("\nlogmel ") : text.index("clap-laion-audio: not run")]
    assert [line.split()[1] for line in block.splitlines() if line.startswith("experiment")] == [
        *names
    ]
    assert block.count("  real ") == 4
    assert "1.250   floor" in block
    assert text.count("clap-laion-audio: not run") == 1
    assert text.count("One training and one draw") == 1, "what holds for all is said once"
    assert text.count("  duration_kl (distance): generated 0.5, real 0.1") == 4
    assert "detail_7" not in text
    assert "50 more in leaderboard.csv" in text
    assert len([r for r in board if r["metric"].startswith("detail_")]) == 4 * 50
    assert "in the gate: fingerprint 0.0%" in text
    assert "told only: tokens 10.0%" in text
    assert "continued exactly (held-out ones): 50% (0%) after 32 tokens" in text
    assert text.count("n/a: one training; only these clips") == 6, "each pair by the primary metric"
    assert len(pairs) > 6 * 50
    assert lines[-1].startswith("gate: ")


def test_a_figure_below_nothing_is_explained(results):
    rows = [*rows_of(DISTANCES), row("generated", "kad", 1.0, "logmel")]
    write_cell(results, "e", rows)
    assert "below 0:" not in made(results)[0]
    write_cell(results, "e", [*rows, row("generated", "fad_infinity", -3.5, "logmel")])
    assert "  FAD-inf below 0: extrapolated or without bias" in made(results)[0]


@pytest.mark.parametrize(
    ("rows", "last"),
    [
        (rows_of(DISTANCES | {"generated": 50.0}), "gate: fails"),
        (rows_of(DISTANCES | {"generated": None}), "gate: n/a (no held-out music)"),
        (rows_of(DISTANCES, n="3"), "gate: n/a (n = 3 clips"),
    ],
)
def test_the_gate_is_the_last_line(results, rows, last):
    write_cell(results, "e", rows)
    text, _, _ = made(results)
    assert text.splitlines()[-1].startswith(last)
    assert made(results, gated=())[0].endswith("gate: n/a (no trained experiment)\n")


def test_few_clips_are_no_verdict_and_no_ratio(results):
    write_cell(results, "e", rows_of(DISTANCES, n="3"))
    text, _, _ = made(results)
    assert "mostly chance" in text
    assert "FD / real-vs-real" not in text


def test_an_interval_ends_where_its_unit_does(results):
    """Several cells without one copy: less than none is no share; a difference may be below 0."""
    nothing = copied(0.0, ci_low="0.000000", ci_high="0.007351")
    for name in ("a", "b"):
        for seed in ("0", "1", "2"):
            write_cell(results, name, [*rows_of(DISTANCES), nothing], seed=seed)
    _, board, pairs = made(results)
    (found, _) = (r for r in board if r["metric"] == COPIED + "fingerprint")
    assert (found["cells"], found["ci_low"]) == ("3", "0.000000")
    assert float(found["ci_high"]) > 0
    (pair,) = (r for r in pairs if r["metric"] == COPIED + "fingerprint")
    assert float(pair["ci_low"]) < 0


def test_a_distance_that_depends_on_the_seed_is_not_below_nothing(results):
    """Positive and skewed: a geometric mean, and an interval of ratios."""
    for seed, value in enumerate((1.0, 2.0, 9.0)):
        write_cell(results, "e", rows_of(DISTANCES | {"generated": value}, width=0.1), seed=seed)
    _, board, _ = made(results)
    found = only(board, metric="frechet_distance", clips="generated", embedding="logmel")
    assert found["value"] == f"{18 ** (1 / 3):.6f}"
    assert 0 < float(found["ci_low"]) < 1
    assert float(found["ci_high"]) > 9
    assert "geometric mean" in found["note"]
    kad = [row("generated", "kad", value, "logmel") for value in (-0.1, 0.2, 0.3)]
    for seed, one in enumerate(kad):
        write_cell(results, "e", [*rows_of(DISTANCES), one], seed=seed)
    found = only(made(results)[1], metric="kad", clips="generated", embedding="logmel")
    assert float(found["value"]) == pytest.approx(0.4 / 3, abs=1e-6), (
        "what may be negative is linear"
    )


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "line 0"), (2, "line 0; line 1"), (9, "line 0; 8 more notes of other cells, in metrics/")],
)
def test_notes_of_many_cells_are_not_all_repeated(results, count, said):
    for seed in range(count):
        told = row("generated", "fad_infinity", 4.0, "logmel", note=f"line {seed}")
        write_cell(results, "e", [*rows_of(DISTANCES), told], seed=seed)
    _, board, _ = made(results)
    assert only(board, metric="fad_infinity", clips="generated")["note"].startswith(said)


def test_one_failing_experiment_fails_the_gate(results):
    write_cell(results, "a", rows_of(DISTANCES))
    write_cell(results, "b", rows_of(DISTANCES | {"generated": 50.0}))
    text, _, _ = made(results)
    assert text.splitlines()[-1] == "gate: fails (1 of 2 hold)"


@pytest.mark.parametrize(
    ("rows", "gate", "said"),
    [
        ([copied(0.04, ci_low="0.01", ci_high="0.1")], "holds", "copies: 4.0% <= 5% (fingerprint)"),
        ([copied(0.06)], "fails", "copies: 6.0% > 5% (fingerprint)"),
        ([copied(0.0), copied(0.3, "notes")], "fails", "copies: 30.0% > 5% (notes)"),
        ([copied(0.0), copied(0.3, "embedding")], "holds", "copies: 0.0% <= 5% (fingerprint)"),
        ([copied(0.0, "exact")], "holds", "n/a, left out (nothing but equal samples was looked"),
        ([copied(0.5, "exact")], "fails", "copies: 50.0% > 5% (exact)"),
        (
            [copied(None, note="n/a: a null of 9 clips")],
            "holds",
            "n/a, left out (a null of 9 clips)",
        ),
        (
            [copied(0.0), copied(None, "notes", note="n/a: too few")],
            "holds",
            "copies: 0.0% <= 5% (fingerprint; n/a, left out: notes)",
        ),
        ([], "holds", "copies: n/a, left out (not measured)"),
    ],
)
def test_a_copier_does_not_pass(results, rows, gate, said):
    write_cell(results, "e", [*rows_of(DISTANCES), *rows])
    text, _, _ = made(results)
    assert text.splitlines()[-1].startswith(f"gate: {gate} (")
    assert said in text.splitlines()[-1]
    for line in (r["note"] for r in rows if r["note"]):
        assert text.count(line.removeprefix("n/a: ")) >= 1, "the row says it too"


def test_a_row_carries_interval_n_floor_ceiling_and_hashes(results):
    write_cell(results, "e", rows_of(DISTANCES))
    _, board, _ = made(results)
    found = only(board, clips="generated", metric="frechet_distance", embedding="logmel")
    assert (found["value"], found["ci_low"], found["ci_high"]) == (
        "5.000000",
        "4.000000",
        "6.000000",
    )
    assert (found["n"], found["train_seeds"], found["draws"], found["cells"]) == (
        "32",
        "0",
        "0",
        "1",
    )
    assert (found["floor"], found["ceiling"]) == ("6.000000", "20.000000")
    assert found["note"] == "interval of sampling only: one training, one draw"
    assert found["share_sampling"] == "", "of one cell nothing can be split"
    for one in board:
        assert one["code_hash"] == "k"
        assert one["env_hash"] == "v"
        assert one["config_hash"] == "c-e"
        assert one["data_hash"] == "d"
    grid = only(board, clips="generated", metric="et_grid")
    assert grid["ceiling"] == "0.950000", "the best of what is worthless, where higher is better"


# ------------------------------------------------------------------------------- seeds and draws


def test_seeds_and_draws_become_one_row(results):
    for seed in range(3):
        for draw in range(2):
            value = 5.0 + seed + draw / 10
            write_cell(results, "e", rows_of(DISTANCES | {"generated": value}), seed, draw)
    text, board, _ = made(results)
    found = only(board, clips="generated", metric="frechet_distance", embedding="logmel")
    means = np.log([[5.0, 5.1], [6.0, 6.1], [7.0, 7.1]]).mean(1)
    assert float(found["value"]) == pytest.approx(np.exp(means.mean()), abs=1e-6)
    half = 4.302653 * means.std(ddof=1) / 3**0.5  # t(2)
    assert float(found["ci_high"]) == pytest.approx(np.exp(means.mean() + half), abs=1e-5)
    assert (found["train_seeds"], found["draws"], found["cells"]) == ("0 1 2", "0 1", "6")
    shares = [float(found[f"share_{n}"]) for n in ("train_seed", "draw", "sampling")]
    assert sum(shares) == pytest.approx(1)
    assert shares[1] == 0
    low, high = (float(found[f"share_train_seed_{end}"]) for end in ("low", "high"))
    assert low < shares[0] <= high <= 1
    assert "draw came out negative" in found["note"]
    real = only(board, clips="real", metric="frechet_distance", embedding="logmel")
    assert (real["value"], real["cells"], real["train_seeds"]) == ("6.000000", "1", "")
    assert "Intervals are over 3 trainings with 2 draws each" in text
    assert "variance of one figure: training seed" in text
    assert text.splitlines()[-1] == "gate: holds (6 of 6 hold)"


def test_a_cell_without_a_value_is_left_out_and_counted(results):
    write_cell(results, "e", rows_of(DISTANCES), 0)
    write_cell(results, "e", rows_of(DISTANCES | {"generated": None}), 1)
    _, board, _ = made(results)
    found = only(board, clips="generated", metric="frechet_distance", embedding="logmel")
    assert found["cells"] == "1"
    assert "1 of 2 cells n/a: no held-out music" in found["note"]


def test_what_failed_is_a_row_and_the_others_stand(results):
    write_cell(results, "a", rows_of(DISTANCES))
    why = "train_stage, see results/logs/train_stage/b/coarse/seed-0.log"
    text, board, _ = made(results, failed={"b": why})
    assert "experiment b\n  failed: train_stage, see results/logs/" in text
    assert text.splitlines()[-1] == "gate: n/a (1 of 2 hold)"
    assert only(board, experiment="b")["note"] == f"failed: {why}"
    assert only(board, experiment="a", clips="noise", metric="frechet_distance")["value"]
    text, board, _ = made(results, failed={"a": "some"})
    assert only(board, experiment="a", clips="noise", metric="frechet_distance")["value"]
    assert "  failed: some" in text, "what was made of it stands beside it"


# ----------------------------------------------------------------------------------- all of them


def test_replicates_are_read_by_seed_and_draw(results):
    two_experiments(results)
    found = read_figures(run(results).tables, run(results).replicates)["a"].replicates
    assert set(found) == {(str(s), str(d)) for s in range(3) for d in range(2)}
    assert len(found["0", "0"]["frechet_distance", "logmel"]) == REPLICATES


def test_the_same_files_give_the_same_bytes(results):
    two_experiments(results)
    first = made(results)[0], (results / "leaderboard.csv").read_bytes()
    again = replace(run(results), tables=tuple(run(results).tables))
    assert write_results(again, results) == first[0]
    assert (results / "leaderboard.csv").read_bytes() == first[1]
