"""The leaderboard, the differences and the text of all experiments, from tidy CSVs."""

from dataclasses import replace

import numpy as np
import pytest
from tidy import (
    DISTANCES,
    REPLICATES,
    beaten,
    rival,
    row,
    rows_of,
    run,
    two_experiments,
    write_cell,
    write_rivals,
    write_training,
)  # fmt: skip

from etude.config import Evaluation
from etude.config.systems import CLASSES
from etude.results.leaderboard import read_figures
from etude.results.rates import COPIED
from etude.results.summary import write_results
from etude.storage import read_csv

NAMES = CLASSES["audiolm"].rivals


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


def holding(distances=DISTANCES):
    """Rows of an experiment whose rates hold."""
    beginnings = [
        row(f"prefixes_{k}", "extracted_exact_after_32", 0, n="24") for k in ("train", "held_out")
    ]
    return [*rows_of(distances, n="64"), copied(0.0, n="64"), *beginnings]


def copied(value, rung="fingerprint", **more):
    return row("generated", COPIED + rung, value, unit="share", **more)


# ------------------------------------------------------------------------------- one experiment


def test_the_text_ends_with_the_gate_and_names_what_did_not_run(results):
    write_cell(results, "e", holding())
    write_rivals(results, "e", beaten(NAMES))
    text, _, pairs = made(results)
    assert text.splitlines()[-1].startswith("gate: holds (nearer to real music than ")
    assert "clap-laion-audio: not run: needs weights" in text
    assert "One training and one draw: intervals are of sampling only" in text
    line = next(line for line in text.splitlines() if line.startswith("  generated"))
    assert line.split()[1:] == ["5.00", "[4.00,", "6.00],", "n", "64"]
    assert "(floor)" in next(line for line in text.splitlines() if line.startswith("  real"))
    assert "(rival)" in next(line for line in text.splitlines() if line.startswith("  shuffled"))
    assert "  noise" not in text, "what is neither floor nor rival is in leaderboard.csv"
    assert not pairs


def test_the_text_is_a_screenful(results):
    """A sentence for each experiment, one table, what is missing; the rest stands in the CSVs."""
    names = ("a", "b", "c", "d")
    more = [row("generated", f"detail_{i}", 1.0) for i in range(50)]
    more += [row("shuffled_bars", "frechet_distance", 3.0, "logmel")]
    for name in names:
        write_cell(results, name, [*holding(), *more])
        lost = [rival("shuffled", 3.0)] if name == "b" else []
        write_rivals(results, name, [*beaten(NAMES), *lost])
    text, board, pairs = made(results, gated=names)
    lines = text.splitlines()
    assert len(lines) <= 60
    assert all(len(line) < 130 for line in lines[:-1])
    assert "  a (audiolm), training seed 0, draw 0: holds: nearer to real music than " in text
    assert "  b (audiolm), training seed 0, draw 0: fails: farther from real music than " in text
    assert text.count("copies at most 4.6 % (by fingerprint)") == 4
    assert text.count("\nthe primary metric, logmel FD\n") == 2, "three experiments side by side"
    assert sum(line.startswith("  shuffled (rival)") for line in lines) == 2
    assert "shuffled_bars: music in another order." in text
    assert text.count("clap-laion-audio: not run") == 1
    assert text.count("One training and one draw") == 1, "what holds for all is said once"
    assert "detail_7" not in text
    assert len([r for r in board if r["metric"].startswith("detail_")]) == 4 * 50
    assert sum(" / " in line for line in lines) == 6, "each pair by the primary metric"
    assert len(pairs) > 6 * 50
    assert lines[-1].startswith("gate: fails (a holds; b fails: farther from real music than shuff")


def test_figures_that_the_user_asked_for_are_told(results):
    asked = [row("generated", "Attacks", 3.25, unit="per second"), row("real", "Attacks", 2.0)]
    write_cell(results, "e", [*holding(), *asked])
    settings = Evaluation(embeddings=["logmel"], signals=["mine:Attacks"])
    assert "\n  Attacks (per second): generated 3.25, real 2" in made(results, settings=settings)[0]


def test_what_stands_in_the_place_of_the_primary_embedding_is_said(results):
    write_cell(results, "e", [*holding(), row("generated", "kad", 1.0, "logmel")])
    text, _, _ = made(results, settings=Evaluation(embeddings=["logmel"]))
    assert "the primary metric, logmel KAD (harmony is not measured)\n" in text


def test_a_figure_below_nothing_is_explained(results):
    settings = Evaluation(embeddings=["logmel"])
    for value, said in ((1.0, False), (-0.1, True)):
        write_cell(results, "e", [*holding(), row("generated", "kad", value, "logmel")])
        assert ("Below 0: an estimate without bias" in made(results, settings=settings)[0]) == said


def test_why_a_figure_is_missing_is_told_once_for_all_that_lack_it(results):
    why = "n/a: the null has 12 clips"
    lacking = [copied(None, "notes", note=why), copied(None, "waveform", note=why)]
    write_cell(results, "e", [*holding(), *lacking])
    text, _, _ = made(results)
    block = text[text.index("\nnot measured") :]
    assert f"generated memorised_notes, generated memorised_waveform: {why}\n" in block


@pytest.mark.parametrize(
    ("rows", "rivals", "last"),
    [
        (None, [rival("shuffled", 5.0)], "gate: fails (farther from real music than shuffled"),
        (None, [], "gate: n/a (not measured"),
        (None, [rival(n, -5.0, n=3) for n in ("shuffled", "untrained")], "gate: undecided (not c"),
        (DISTANCES | {"generated": None}, [rival("shuffled", None, note="n/a: no held-out music")],
         "gate: n/a (no held-out music"),
    ],
)  # fmt: skip
def test_the_gate_is_the_last_line(results, rows, rivals, last):
    write_cell(results, "e", holding(rows or DISTANCES))
    write_rivals(results, "e", rivals)
    text, _, _ = made(results)
    assert text.splitlines()[-1].startswith(last)
    assert made(results, gated=())[0].endswith("gate: n/a (no trained experiment)\n")


def test_rivals_are_of_their_own_seed_and_draw(results):
    for seed in (0, 1):
        write_cell(results, "e", holding(), seed=seed)
        write_rivals(results, "e", [*beaten(NAMES), rival("shuffled", 9.0 * seed)], seed=seed)
    text, _, _ = made(results)
    assert text.splitlines()[-1].startswith(
        "gate: fails (1 of 2 sets of clips hold; farther from real music than shuffled tokens (in "
        "1 of 2, harmony +9"
    )


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


def test_a_cell_without_a_value_is_left_out_and_counted(results):
    write_cell(results, "e", rows_of(DISTANCES), 0)
    write_cell(results, "e", rows_of(DISTANCES | {"generated": None}), 1)
    _, board, _ = made(results)
    found = only(board, clips="generated", metric="frechet_distance", embedding="logmel")
    assert found["cells"] == "1"
    assert "1 of 2 cells n/a: no held-out music" in found["note"]


def test_what_failed_is_a_row_and_the_others_stand(results):
    write_cell(results, "a", holding())
    write_rivals(results, "a", beaten(NAMES))
    why = "train_stage, see results/logs/train_stage/b/coarse/seed-0.log"
    text, board, _ = made(results, failed={"b": why})
    assert "  b: failed: train_stage, see results/logs/" in text
    assert text.splitlines()[-1] == f"gate: n/a (a holds; b n/a: failed: {why})"
    assert only(board, experiment="b")["note"] == f"failed: {why}"
    assert only(board, experiment="a", clips="noise", metric="frechet_distance")["value"]
    text, board, _ = made(results, failed={"a": "some"})
    assert only(board, experiment="a", clips="noise", metric="frechet_distance")["value"]
    assert "draw 0: failed: some" in text, "what was made of it stands beside it"


# ----------------------------------------------------------------------------------- all of them


def test_replicates_are_read_by_training(results):
    two_experiments(results)
    for seed in range(3):
        write_training(results, "a", [], seed, replicates=[float(seed)] * REPLICATES)
    found = read_figures(run(results).tables, run(results).replicates)["a"].replicates
    assert set(found) == {"0", "1", "2"}
    assert found["2"]["perplexity", ""] == {str(r): 2.0 for r in range(REPLICATES)}


def test_the_same_files_give_the_same_bytes(results):
    two_experiments(results)
    first = made(results)[0], (results / "leaderboard.csv").read_bytes()
    again = replace(run(results), tables=tuple(run(results).tables))
    assert write_results(again, results) == first[0]
    assert (results / "leaderboard.csv").read_bytes() == first[1]
