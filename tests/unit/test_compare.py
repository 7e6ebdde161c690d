"""`python -m etude compare_experiments`: two runs or two experiments side by side, and clear errors."""

import shutil
from dataclasses import replace

import pytest
from tidy import DISTANCES, row, rows_of, run, two_experiments, write_cell, write_training

from etude.__main__ import main
from etude.config import Evaluation
from etude.errors import UserError
from etude.results.compare import compare_experiments
from etude.results.summary import write_results
from etude.storage import read_csv


def finished(results, **distances):
    write_cell(results, "e", rows_of(DISTANCES | distances))
    write_results(run(results), results)
    return results


def test_two_experiments_of_one_run(tmp_path, capsys, monkeypatch):
    results = tmp_path / "results"
    two_experiments(results)
    write_results(run(results), results)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "a", "b"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    (line,) = [line for line in lines if "logmel FD" in line]
    assert "x0.7008 [0.6413, 0.7659]" in line
    assert "better (p 0.001)" in line
    assert lines[lines.index(line) - 1] == "primary, p corrected by Holm for 1 test"
    assert "settings: not the same, data: the same, code: the same" in text


def test_two_of_three_are_corrected_for_all_three(tmp_path):
    """Who looks at one pair alone has chosen it: the figures are those of differences.csv."""
    results = tmp_path / "results"
    two_experiments(results, gap=-0.6)
    for seed in range(3):
        for draw in range(2):
            rows = rows_of(DISTANCES | {"generated": 10.0 + seed})
            write_cell(results, "c", rows, seed, draw)
    write_results(run(results), results)
    pairs = read_csv(results / "differences.csv")
    (row_of_pair,) = [r for r in pairs if (r["a"], r["b"], r["role"]) == ("a", "b", "primary")]
    text = compare_experiments("b", "a", results)
    line = next(line for line in text.splitlines() if "logmel FD" in line)
    assert f"(p {float(row_of_pair['p_adjusted']):.3f})" in line
    assert "primary, p corrected by Holm for 3 tests" in text


def test_two_folders_of_one_training_are_of_these_clips(tmp_path):
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other", generated=9.0)
    text = compare_experiments(str(one), str(other))
    line = next(line for line in text.splitlines() if "logmel FD" in line)
    assert "5 [4, 6] 32" in line
    assert "9 [8, 10] 32" in line
    assert "x0.5556 [0.4419, 0.6984]" in line  # exp(ln 5/9 +- (1/25 + 1/81)^1/2)
    assert line.endswith("n/a: one training; only these clips")
    assert "primary\n" in text
    assert f"A = {one}: e" in text


def test_runs_that_named_two_primary_metrics_have_agreed_on_none(tmp_path):
    folders = [tmp_path / name for name in ("one", "other")]
    for folder, metric in zip(folders, ("frechet_distance", "kad"), strict=True):
        write_cell(folder, "e", rows_of(DISTANCES))
        settings = Evaluation(embeddings=["logmel"], primary={"metric": metric})
        write_results(replace(run(folder), settings=settings), folder)
    text = compare_experiments(*map(str, folders))
    assert "primary," not in text
    assert text.endswith("was named before both runs: all of this is exploratory.\n")


def test_perplexity_is_of_a_training_and_is_compared_too(tmp_path):
    folders = []
    for name, value in (("one", 8.0), ("other", 9.0)):
        results = tmp_path / name
        cells = [write_cell(results, "e", rows_of(DISTANCES), seed) for seed in range(2)]
        tables = []
        for seed, cell in enumerate(cells):
            figure = row("generated", "perplexity", value + seed / 20, unit="per token", n="500")
            figure |= {"ci_low": f"{value - 0.2:.6f}", "ci_high": f"{value + 0.2:.6f}"}
            tables.append(write_training(results, "e", [figure], seed))
            extracted = cell.parent / "extraction.csv"
            extracted.write_text("items,prefix,metric,value\ntrain,8,exact,1\n")
        fad = [cell / "fad.csv" for cell in cells]
        write_results(replace(run(results), tables=[*fad, *tables]), results)
        folders.append(str(results))
    line = next(
        x for x in compare_experiments(*folders).splitlines() if x.startswith("  perplexity")
    )
    assert "8.025 [7.7" in line
    assert "better (p 0.0" in line


def test_published_figures_alone_say_what_the_trainings_said(tmp_path):
    """docs/results/ has no metrics/: value, interval and number of trainings are enough."""
    said = []
    for gap in (0.0, 1.5):
        one, other = tmp_path / f"one{gap}", tmp_path / f"other{gap}"
        for folder, shift in ((one, 0.0), (other, gap)):
            for seed, value in enumerate((5.0, 5.3, 5.5)):
                value = DISTANCES | {"generated": value + shift}
                write_cell(folder, "e", rows_of(value, width=0.1), seed)
            write_results(run(folder), folder)
        said.append(compare_experiments(str(one), str(other)))
        shutil.rmtree(one / "metrics")
        said.append(compare_experiments(str(one), str(other)))
    lines = [next(x for x in text.splitlines() if "logmel FD" in x) for text in said]
    assert lines[0] == lines[1]
    assert lines[2] == lines[3]
    assert "inconclusive (p 1.000)" in lines[0]
    assert "better" in lines[2]


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("e", "f", "no figures of an experiment 'f'"),
        ("one/nothing", "one", "there is no such folder"),
        ("empty", "one", "there is no leaderboard"),
        ("one", "one", "compared with itself"),
        ("e", "e", "compared with itself"),
        ("one", "third", "no experiment in common"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path, monkeypatch, a, b, said):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "results"):
        finished(tmp_path / name)
    (tmp_path / "empty").mkdir()
    for name in "xy":
        write_cell(tmp_path / "third", name, rows_of(DISTANCES))
    write_results(run(tmp_path / "third"), tmp_path / "third")
    with pytest.raises(UserError, match=said):
        compare_experiments(a, b)
