"""Where to stop: which steps, their clips, the table, and words that claim no more than it shows."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from over_steps_rows import DISTANCES, FALLING, FLAT, LEVEL, LOOSE, RISING, THERE_AND_BACK, table
from refused import invalid
from workspace import ROOT

from etude.config import DEFAULT, read
from etude.config.over_steps import checkpoints, stages_that_vary, steps_at
from etude.generation.over_steps import at_steps
from etude.metrics.memorisation.find import Verdicts
from etude.metrics.memorisation.null import Null
from etude.metrics.over_steps import OVER_STEPS_COLUMNS, copy_rows, distance_rows
from etude.metrics.samples import Clips
from etude.report.over_steps import LINE, draw, read_stops
from etude.results.stopping import SELECTION, advice, evidence, read_over_steps, shown
from etude.storage import write_csv
from etude.systems.base import Parts
from etude.workflow.plan import Plan

ALL = ROOT / "config" / "presets" / "all.yaml"


def configured(*names, at=(0.25, 0.5), files=(), **experiments):
    overlay = {"evaluation": {"over_steps": {"experiments": list(names), "at": list(at)}}}
    return read(DEFAULT, *files, overrides=overlay | {"experiments": experiments})


def of(name, **more):
    return SimpleNamespace(experiment=name, **more)


# ---------------------------------------------------------------------------- which steps


def test_stages_vary_from_which_no_other_learns():
    experiments = read(DEFAULT, ALL).experiments
    varying = {name: [p.name for p in stages_that_vary(e)] for name, e in experiments.items()}
    assert varying["audiolm"] == ["semantic", "coarse", "fine"]
    assert varying["phrases"] == ["ldm"]  # the encoder stays: latents are its own
    assert varying["words"] == ["concept"]  # the base is another experiment's
    assert varying["ours"] == ["dit"]


def test_each_stage_is_taken_at_the_same_share_of_its_own_steps():
    settings = configured("audiolm")
    found = checkpoints(settings.evaluation.over_steps, settings.experiments["audiolm"])
    whole = steps_at(settings.experiments["audiolm"], 1)
    assert list(found) == ["at-0.25", "at-0.5", "at-1"]
    assert found["at-1"] == whole
    assert found["at-0.5"] == {stage: steps // 2 for stage, steps in whole.items()}


@pytest.mark.parametrize(
    ("names", "at", "training", "key", "code"),
    [
        (["no_such"], [0.5], {}, "evaluation.over_steps", "unknown-name"),
        (["remi_llama"], [0.5, 0.25], {}, "at", "not-ascending"),
        (["remi_llama"], [1.0], {}, "at.0", "less_than"),
        (["remi_llama"], [0.5], {"patience": 3}, "evaluation.over_steps", "may-stop-early"),
        (["remi_llama"], [0.25, 0.3], {"steps": 4}, "evaluation.over_steps", "too-few-steps"),
    ],
    ids=["name", "order", "end", "patience", "steps"],
)
def test_what_cannot_be_measured_is_refused_when_it_is_read(names, at, training, key, code):
    stages = {"stages": {"lm": {"training": training}}}
    with invalid(key, code):
        configured(*names, at=at, remi_llama=stages)


def test_an_experiment_that_trains_nothing_has_no_steps():
    theirs = {"system": "external", "corpus": "chorales", "clips": "theirs"}
    with invalid("evaluation.over_steps", "nothing-is-trained", "'theirs'"):
        configured("theirs", theirs=theirs)


def test_off_costs_nothing():
    """Neither a file nor a param of any rule, so nothing is made again."""
    plan = Plan(read(DEFAULT))
    experiment = plan.config.experiments["remi_llama"]
    assert plan.over_steps_tables() == []
    assert plan.kept_for_checkpoints(of("remi_llama")) == []
    params = plan.training_params(of("remi_llama", stage="lm", seed="0"))
    assert params == experiment.stage_params("lm")
    assert "over_steps" not in plan.config.evaluation.params()


def test_the_first_training_alone_keeps_the_steps():
    seeds = {"seeds": {"train": [3, 0], "generate": [2, 0]}}
    plan = Plan(configured("remi_llama", remi_llama=seeds))
    steps = plan.config.experiments["remi_llama"].stages.lm.training.steps

    def kept(seed):
        params = json.loads(plan.training_params(of("remi_llama", stage="lm", seed=seed)))
        return params["stages"]["lm"]["training"]["keep_steps"]

    assert (kept("3"), kept("0")) == ([steps // 4, steps // 2], [])
    assert plan.kept_for_checkpoints(of("remi_llama")) == [
        f"results/models/remi_llama/lm/seed-3/step-{n}.safetensors"
        for n in (steps // 4, steps // 2)
    ]
    assert plan.of_first("{experiment}/{clips}")(of("remi_llama")) == ["remi_llama/seed-3/draw-2"]
    assert plan.over_steps_tables() == ["results/metrics/remi_llama/over_steps.csv"]


def test_steps_that_the_user_keeps_are_kept_too():
    own = {"stages": {"lm": {"training": {"keep_steps": [7]}}}}
    plan = Plan(configured("remi_llama", at=[0.5], remi_llama=own))
    params = json.loads(plan.training_params(of("remi_llama", stage="lm", seed="0")))
    training = params["stages"]["lm"]["training"]
    assert training["keep_steps"] == [7, training["steps"] // 2]


# ---------------------------------------------------------------------------- clips of a step


def test_a_checkpoint_has_the_weights_of_its_step_and_all_else_of_the_end(tmp_path):
    for stage in ("vae", "ldm"):
        folder = tmp_path / stage
        (folder / "adapter").mkdir(parents=True)
        (folder / "adapter" / "config.json").write_text(stage)
        for file in ("model", "step-5", "step-9"):
            (folder / f"{file}.safetensors").write_text(f"{stage} {file}")
    parts = Parts(models={stage: tmp_path / stage for stage in ("vae", "ldm")})
    found = at_steps(parts, {"ldm": 5}, tmp_path / "copy").models
    assert found["vae"] == tmp_path / "vae"
    files = {path.name: path.read_text() for path in found["ldm"].rglob("*") if path.is_file()}
    assert files == {"model.safetensors": "ldm step-5", "config.json": "ldm"}


# ---------------------------------------------------------------------------- the table


def clips(count, centre=0.0, seed=0, per_piece=1):
    rows = np.random.default_rng(seed).standard_normal((count, 20)) + centre
    units = [f"piece {i // per_piece}" if per_piece > 1 else "" for i in range(count)]
    return Clips(rows, np.arange(count), units, [f"clip-{i}" for i in range(count)])


@pytest.fixture
def plain_space(monkeypatch):
    monkeypatch.setattr("etude.metrics.over_steps.projection", lambda name: (None, 0.0))


def test_distances_are_to_the_validation_split(plain_space):
    sets = {"at-0.5": clips(40, 2.0, 1), "at-1": clips(40, 0.2, 2)}
    valid, test = clips(120, 0.0, 3, 4), clips(100, 0.1, 4, 4)
    split, rows = distance_rows("harmony", sets, {"real": valid, "reference": test})
    cells = {(row["clips"], row["metric"]): row for row in rows}
    assert split == "valid"
    assert list(cells) == [
        ("at-0.5", "kad"), ("at-1", "kad"), ("real", "kad"), ("at-1", "kad_difference"),
    ]  # fmt: skip
    first, last, floor, fall = (float(row["value"]) for row in cells.values())
    assert floor < last < first
    assert fall == pytest.approx(last - first, abs=1e-5)
    assert cells["at-1", "kad_difference"]["against"] == "at-0.5"
    assert not any("validation" in row.get("note", "") for row in rows)


def test_without_a_validation_split_the_table_says_what_choosing_does(plain_space):
    sets = {"at-0.5": clips(40, 2.0, 1), "at-1": clips(40, 0.2, 2)}
    none, test = clips(0), clips(100, 0.1, 4, 4)
    split, rows = distance_rows("harmony", sets, {"real": none, "reference": test})
    assert split == "test"
    assert {row["clips"] for row in rows} == {"at-0.5", "at-1"}
    assert all("no validation split" in row["note"] for row in rows if row["metric"] == "kad")


def test_differences_hold_all_together(plain_space):
    """Three checkpoints, three comparisons: each interval is wider than that of one alone."""
    sets = {f"at-{s}": clips(40, 1.0, i) for i, s in enumerate((0.25, 0.5, 1))}
    sides = {"real": clips(120, 0.0, 7, 4), "reference": clips(100, 0.0, 8, 4)}

    def width(of):
        rows = distance_rows("harmony", of, sides)[1]
        row = next(r for r in rows if (r["clips"], r.get("against")) == ("at-1", "at-0.5"))
        return float(row["ci_high"]) - float(row["ci_low"])

    assert width(sets) > 1.1 * width({key: sets[key] for key in ("at-0.5", "at-1")})


def test_copies_are_counted_against_held_out_music():
    null = Null(np.linspace(0, 1, 320), [f"piece {i % 40}" for i in range(320)])
    scores = {"at-0.5": np.zeros(50), "at-1": np.r_[np.full(10, 2.0), np.zeros(39), np.nan]}
    rows = copy_rows({key: Verdicts("notes", "", s, null) for key, s in scores.items()})
    cells = {row["clips"]: row for row in rows}
    assert [(key, row["metric"], row["n"]) for key, row in cells.items()] == [
        ("at-0.5", "copied", 50), ("at-1", "copied", 49), ("real", "copied_by_chance", 320),
    ]  # fmt: skip
    assert float(cells["at-0.5"]["value"]) == 0 < float(cells["at-0.5"]["ci_high"])
    assert float(cells["at-1"]["value"]) == pytest.approx(10 / 49, abs=1e-6)
    assert float(cells["real"]["value"]) < 0.03
    assert all(row["note"] == "by notes" for row in rows)


def test_too_little_held_out_music_counts_no_copies():
    null = Null(np.zeros(5), ["piece"] * 5)
    rows = copy_rows({"at-1": Verdicts("fingerprint", "", np.zeros(50), null)})
    assert [row["metric"] for row in rows] == ["copied"]
    assert rows[0]["note"].startswith("n/a: the null has 5 held-out clips")


# ---------------------------------------------------------------------------- words and figure


@pytest.mark.parametrize(
    ("differences", "copies", "begins"),
    [
        (FALLING, (0, 0, 0), "Do not stop before the end, step 360"),
        (FALLING, (0, 5, 60), "No step is best in both"),
        (LEVEL, (0, 5, 60), "Stop at step 180, at least before step 360"),
        (LEVEL, (0, 0, 0), "Step 180 may be enough"),
        (LEVEL, (60, 60, 60), "Step 180 may be enough"),
        (LEVEL, (0, 0, None), "Step 180 may be enough"),
        (LOOSE, (0, 0, 0), "Clips come nearer until step 180; whether they do after it cannot"),
        (LOOSE, (0, 5, 60), "Stop at step 180, at least before step 360"),
        (RISING, (0, 0, 0), "Stop at step 180: at the end, step 360, clips are farther again"),
        (THERE_AND_BACK, (0, 0, 0), "Where to stop cannot be told with these clips: after step 90"),
        (FLAT, (0, 0, 0), "Where to stop cannot be told with these clips"),
        (FLAT, (0, 0, 60), "Stop at step 90, at least before step 360"),
        ({(0, 1): (-3, -1)}, (0, 0, 0), "Where to stop cannot be said"),
    ],
    ids=[
        *("falls_on", "falls_and_copies", "level_and_copies", "level", "copies_throughout"),
        *(
            "uncounted",
            "loose",
            "loose_and_copies",
            "rises",
            "there_and_back",
            "flat",
            "flat_and_copies",
            "incomplete",
        ),
    ],
)
def test_the_advice_follows_from_the_intervals(differences, copies, begins):
    found = read_over_steps(table(DISTANCES, differences, copies))
    assert advice(found).startswith(begins)


def test_what_is_said_of_copies_depends_on_whether_they_were_counted():
    ends = {
        name: advice(read_over_steps(table(DISTANCES, LEVEL, copies)))
        for name, copies in {"none": (0, 0, 0), "all": (60, 60, 60), "un": (0, 0, None)}.items()
    }
    assert "nor are more of them copies by more than these" in ends["none"]
    assert "are copies there already" in ends["all"]
    assert "copies were not counted" in ends["un"]


def test_no_fall_is_claimed_without_saying_which_was_let_pass():
    distance, copies = evidence(read_over_steps(table(DISTANCES, LEVEL)))
    assert distance == (
        "After step 180 no fall of the distance is shown; a fall of up to 0.4 is not excluded."
    )
    assert "are not excluded" in copies


def test_a_few_copies_more_than_chance_are_not_called_a_rise():
    found = shown(read_over_steps(table(DISTANCES, LEVEL, (6, 8, 12))))
    assert (found.above, found.more) == ([], [])
    assert shown(read_over_steps(table(DISTANCES, LEVEL, (6, 8, 60)))).more == [(0, 2), (1, 2)]


def test_with_few_clips_the_same_shares_show_nothing():
    few = shown(read_over_steps(table(DISTANCES, LEVEL, (0, 0, 3), n=32)))
    many = shown(read_over_steps(table(DISTANCES, LEVEL, (0, 0, 94), n=1000)))
    assert (few.above, many.above) == ([], [2])


def test_chance_alone_is_seldom_called_a_rise():
    """Equal rates of 2 % in sets of 64 and 320: all comparisons together err in 5 % at most."""
    draw_from, called = np.random.default_rng(0).binomial, 0
    for _ in range(200):
        copies, chance = draw_from(64, 0.02, 3), int(draw_from(320, 0.02))
        found = shown(read_over_steps(table(DISTANCES, LEVEL, copies, n=64, chance=chance)))
        called += bool(found.above or found.more)
    assert called / 200 < 0.05


def test_the_figure_has_its_points_in_the_order_of_steps():
    found = read_over_steps(table(DISTANCES, LEVEL, (0, 5, 60)))
    drawing = draw(found)
    assert not drawing.log
    assert [point.label for point in drawing.points] == ["90", "180", "360"]
    assert [point.end for point in drawing.points] == [False, False, True]
    x, y = ([getattr(p, side) for p in drawing.points] for side in ("x", "y"))
    assert drawing.floor < x[2] < x[1] < x[0]
    assert 0 == y[0] < drawing.chance < y[2]
    for point in drawing.points:
        assert point.across[0] < point.x < point.across[1]


def test_steps_that_differ_by_a_decade_are_drawn_on_a_log_axis():
    assert draw(read_over_steps(table(((60.0, 2.0), (9.0, 1.0), (3.0, 0.5)), FALLING))).log


def test_no_label_covers_another():
    steps = tuple({"semantic": n, "fine": n} for n in (32, 65, 130))
    near = ((4.2, 0.5), (4.0, 0.5), (3.9, 0.5))
    points = draw(read_over_steps(table(near, FLAT, steps=steps))).points
    heights = [point.y + point.lift for point in points]
    assert heights[0] == 0
    assert min(b - a for a, b in pairwise(heights)) >= LINE


def test_without_counted_copies_there_is_no_figure_and_the_reason_is_said():
    found = read_over_steps(table(DISTANCES, LEVEL, (0, 0, None)))
    assert draw(found) is None
    assert evidence(found)[1] == "Copies could not be counted: no notes."


def test_several_stages_are_named_beside_their_steps(tmp_path):
    steps = tuple({"semantic": n, "fine": 2 * n} for n in (10, 20, 40))
    file = tmp_path / "over_steps.csv"
    write_csv(file, OVER_STEPS_COLUMNS, table(DISTANCES, LEVEL, steps=steps, split="test"))
    (stop,) = read_stops([file, Path("not there")])
    assert stop.stages == "semantic/fine"
    assert stop.found.checkpoints[0].name == "steps 10/20"
    assert SELECTION["test"] in stop.why
