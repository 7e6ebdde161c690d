"""What listeners preferred: strengths, intervals, what is left out, rows of the leaderboard."""

import csv
import subprocess
from pathlib import Path

import numpy as np
import pytest

from etude.errors import UserError
from etude.results.incomplete import write_rated
from etude.results.leaderboard import COLUMNS as BOARD
from etude.results.leaderboard import PREFERRED
from etude.results.listening import write_listening
from etude.results.preference import (
    COLUMNS,
    Rating,
    agreement,
    correlations,
    odds_and_spread,
    preferences,
    read_ratings,
    strengths,
    tables,
)
from etude.storage import read_csv, write_csv


def listeners(count, random, true=(0.0, -1.0, -2.0), pairs=30):
    """Ratings of these strengths; the first is `real`."""
    names = ["real", "good", "poor"]
    for number in range(count):
        for pair in range(pairs):
            a, b = random.choice(3, 2, replace=False)
            likes_a = random.random() < 1 / (1 + np.exp(true[b] - true[a]))
            yield Rating(f"l{number}", f"p{pair}", names[a], names[b], -1 if likes_a else 1)


def test_strengths_are_those_of_the_likelihood():
    """Two systems: the odds are the wins' odds, but for the ridge."""
    wins = np.array([[0.0, 30.0], [10.0, 0.0]])
    found = strengths(wins, ridge=1e-9)
    assert found[0] - found[1] == pytest.approx(np.log(3), abs=1e-6)
    assert found.sum() == pytest.approx(0)
    always = strengths(np.array([[0.0, 5.0], [0.0, 0.0]]))
    assert 1 < always[0] - always[1] < 10, "a system that always won has a strength too"
    both = strengths(np.stack([wins, wins.T]))
    assert both[0] == pytest.approx(both[1][::-1])


def test_preferences_find_what_was_simulated():
    ratings = list(listeners(60, np.random.default_rng(1)))
    good, poor = preferences(ratings)
    assert (good.system, poor.system) == ("good", "poor")
    assert good.value == pytest.approx(26.9, abs=5)
    assert poor.value == pytest.approx(11.9, abs=4)
    assert good.low < 26.9 < good.high
    assert good.listeners == 60
    assert preferences(ratings) == [good, poor], "the same each time"


def test_listeners_who_all_agree_leave_chance():
    (found,) = preferences([Rating(f"l{i}", "p", "real", "a", -1) for i in range(6)])
    assert found.low < found.value - 3
    assert found.high > found.value + 3


def test_ties_are_halves():
    (found,) = preferences([Rating(f"l{i}", "p", "real", "a", 0) for i in range(6)])
    assert found.value == pytest.approx(50)


def test_of_few_listeners_there_are_counts_only():
    found = preferences(list(listeners(4, np.random.default_rng(0))))
    assert {(one.value, one.low, one.listeners) for one in found} == {(None, None, 4)}
    assert all(one.ratings > 0 for one in found)


def test_more_listeners_narrow_the_interval_and_more_of_one_do_not():
    random = np.random.default_rng(2)
    names = ["good", "poor", "real"]

    def width(ratings):
        return odds_and_spread(tables(ratings, names), 2)[1][0]

    few, many = list(listeners(8, random)), list(listeners(64, random))
    assert width(many) < width(few) / 1.8
    again = [Rating(r.listener, f"{r.pair}{k}", r.a, r.b, r.answer) for r in few for k in range(4)]
    assert width(again) > width(few) * 0.75


def test_agreement():
    same = [Rating(f"l{i}", "p", "a", "b", -1) for i in range(4)]
    assert agreement(same) == 1
    turned = [Rating(f"l{i}", "p", "b", "a", 2) for i in range(4)]
    assert agreement([*same, *turned]) == 1, "sides do not matter"
    assert agreement([Rating("l1", "p", "a", "b", -1), Rating("l2", "p", "a", "b", 1)]) == 0
    assert agreement([Rating("l1", "p", "a", "b", -1)]) is None


def write(path, rows):
    defaults = dict.fromkeys(COLUMNS, "") | {"a": "real", "b": "mine", "answer": "-1", "catch": "0"}
    write_csv(path, COLUMNS, [defaults | row for row in rows])
    return path


def test_what_is_left_out_is_counted(tmp_path):
    rows = [{"listener": "good", "pair": f"p{i}"} for i in range(3)]
    rows += [{"listener": "good", "pair": "c", "b": "shuffled", "catch": "1"}]
    rows += [{"listener": "bad", "pair": f"p{i}"} for i in range(2)]
    rows += [{"listener": "bad", "pair": "c", "b": "shuffled", "catch": "1", "answer": "2"}]
    rows += [{"listener": "good", "pair": "s", "answer": ""}]
    rows += [{"listener": "good", "pair": "odd", "answer": "7"}]
    path = write(tmp_path / "r.csv", rows)
    found = read_ratings([path, path])
    assert found.listeners == ["good"]
    assert len(found.kept) == 3
    assert (found.caught, found.catches) == (1, 2)
    assert found.left_out == {
        "skipped": 2, "not readable": 2, "the same answer twice": 7,
        "of listeners who missed the catch pairs": 3,
    }  # fmt: skip


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no file of ratings"):
        read_ratings([path])
    with pytest.raises(UserError, match="cannot be read"):
        read_ratings([tmp_path / "none.csv"])


def board(results, *names):
    row = dict.fromkeys(BOARD, "") | {
        "clips": "generated",
        "metric": "kad",
        "value": "1",
        "system": "s",
        "train_seeds": "0",
        "draws": "0",
    }
    test = [row | {"experiment": name, "split": "test", "role": "primary"} for name in names]
    last = [old | {"metric": "perplexity", "split": "train", "role": ""} for old in test]
    write_csv(results / "leaderboard.csv", BOARD, [*test, *last])


def test_ratings_become_tidy_rows(tmp_path):
    results = tmp_path / "results"
    board(results, "mine")
    rows = [
        {"listener": f"l{i}", "pair": f"p{j}", "answer": "-1" if (i + j) % 4 else "1"}
        for i in range(6)
        for j in range(8)
    ]
    text = write_listening([write(tmp_path / "r.csv", rows)], results)
    assert "25 % [" in text or "26 % [" in text
    generated, real = read_csv(results / "listening/mine.csv")
    assert (generated["metric"], generated["unit"], generated["n"]) == (PREFERRED, "%", "6")
    assert generated["split"] == "test", "that of the clips, not of the board's last row"
    assert 20 < float(generated["value"]) < 30
    assert float(generated["ci_low"]) < float(generated["value"]) < float(generated["ci_high"])
    assert (real["clips"], float(real["value"])) == ("real", 50)
    few = write(tmp_path / "few.csv", rows[:8])
    assert "n/a" in write_listening([few], results)
    (row,) = read_csv(results / "listening/mine.csv")
    assert row["value"] == ""
    assert "at least 5 listeners" in row["note"]
    other = write(tmp_path / "o.csv", [{"listener": "l", "pair": "p", "b": "elsewhere"}])
    with pytest.raises(UserError, match="no ratings of this run"):
        write_listening([other], results)


@pytest.mark.parametrize("configs", [[], [Path("mine.yaml")]])
def test_tables_are_made_anew_by_the_rules_own_script(tmp_path, monkeypatch, capsys, configs):
    """With the run's configuration or, without one, the default; a failure is told and is one."""
    monkeypatch.chdir(tmp_path)
    board(tmp_path / "results", "mine")
    (tmp_path / "results/fad.txt").touch()
    rated = write(tmp_path / "r.csv", [{"listener": "l", "pair": "p", "answer": "1"}])
    asked = []

    def run(command, **_):
        asked.append(command[2:])
        return subprocess.CompletedProcess(command, len(asked) - 1, stderr="no such file")

    monkeypatch.setattr("etude.results.incomplete.subprocess.run", run)
    write_rated([rated], configs)
    wanted = ["--configfile", "mine.yaml"] if configs else []
    assert asked == [["results/fad.txt", *wanted]], "the page was never made: it is not made now"
    with pytest.raises(UserError, match="not everything"):
        write_rated([rated], configs)
    assert "no such file" in capsys.readouterr().out


def test_a_page_is_read_by_its_key(tmp_path):
    results, page = tmp_path / "results", "abcdefgh1234"
    board(results, "mine")
    key = [{"pair": "p1", "a": "real", "b": "mine", "catch": "0"}]
    write_csv(
        results / f"listening/pages/{page}.csv",
        COLUMNS,
        [dict.fromkeys(COLUMNS, "") | row for row in key],
    )
    sent = tmp_path / "back.csv"
    with sent.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["listener", "page", "pair", "answer", "heard_s"])
        writer.writerows([["l1", page, "p1", "1", "3"], ["l1", page, "unknown", "1", "3"]])
    found = read_ratings([sent], results / "listening/pages")
    assert found.kept == [Rating("l1", "p1", "real", "mine", 1)]
    assert found.left_out == {"not readable": 1}
    with pytest.raises(UserError, match="not known here"):
        read_ratings([sent], tmp_path)


def test_correlations_are_with_the_listeners():
    def row(name, metric, value):
        return {
            "experiment": name,
            "clips": "generated",
            "metric": metric,
            "embedding": "",
            "value": str(value),
        }

    heard = [row(f"e{i}", PREFERRED, 10 * i) for i in range(5)]
    nearer = [row(f"e{i}", "kad", 9 - i) for i in range(5)]
    blind = [row(f"e{i}", "mad", [1, 3, 2, 5, 4][i]) for i in range(5)]
    few = [row(f"e{i}", "et_grid", i) for i in range(3)]
    first, second = correlations([*heard, *nearer, *blind, *few])
    assert (first["metric"], first["correlation"], first["experiments"]) == ("kad", 1.0, 5)
    assert second["correlation"] == pytest.approx(-0.8)
