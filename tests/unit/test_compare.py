"""`python -m etude compare`: two runs or two experiments side by side, and clear errors."""

import shutil

import pytest
from tidy import DISTANCES, rows_of, run, two_experiments, write_cell

from etude.__main__ import main
from etude.errors import UserError
from etude.results.compare import compare
from etude.results.summary import write_results


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
    line = next(line for line in text.splitlines() if "logmel FD" in line)
    assert "better (p " in line
    assert "unpaired" not in line
    assert "settings: not the same, data: the same, code: the same" in text


def test_two_folders_pair_their_seeds(tmp_path):
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other", generated=9.0)
    text = compare(str(one), str(other))
    line = next(line for line in text.splitlines() if "logmel FD" in line)
    assert "5 [4, 6] 32" in line
    assert "9 [8, 10] 32" in line
    assert "-4 [-5.414, -2.586]" in line
    assert "better (p 0.000)" in line
    assert f"A = {one}: e" in text


def test_published_figures_alone_are_compared_unpaired(tmp_path):
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other", generated=5.5)
    shutil.rmtree(one / "metrics")
    line = next(x for x in compare(str(one), str(other)).splitlines() if "logmel FD" in x)
    assert "inconclusive" in line
    assert "unpaired" in line


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
        compare(a, b)
