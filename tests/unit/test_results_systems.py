"""What the tables know of systems comes from their settings classes; names are not compared."""

from __future__ import annotations

from typing import ClassVar

import pytest
from tidy import row

from etude.config import Evaluation, ExperimentBase
from etude.config.systems import CLASSES
from etude.report.distances import describe
from etude.results.leaderboard import Figures, reference_values
from etude.results.systems import MEANING, about, clip_sets, meaning, rivals, worthless
from etude.results.table import Table

DUMB = "random notes and noise with the music's spectrum"
SOUND = f"the best of untrained networks, shuffled tokens, {DUMB}"
NOTES = (
    "the best of untrained networks, shuffled tokens, the n-gram model, random notes, noise with "
    "the music's spectrum and one chord"
)


class Toy(ExperimentBase):
    rivals: ClassVar = ("hummed", "untrained")
    sets: ClassVar = {"hummed": "what a person hummed", "untrained": "random weights"}


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(CLASSES, "toy", Toy)


def rows(system, **distances):
    common = {"system": system, "train_seed": "0", "draw": "0"}
    return [
        row(clips, "frechet_distance", value, "logmel") | common
        for clips, value in distances.items()
    ]


def test_a_new_systems_sets_stand_in_the_tables(toy):
    table = Table(rows("toy", hummed=3.0, generated=1.0, untrained=9.0, prefixes_train=0.1))
    assert table.sets == ["generated", "untrained", "hummed"]
    assert meaning("hummed", "toy") == "what a person hummed"
    assert meaning("untrained", "toy") == "random weights"
    assert meaning("untrained", "audiolm") == MEANING["untrained"]


def test_a_systems_rivals_are_its_ceiling(toy):
    of_toy = Figures("e", rows("toy", hummed=3.0, generated=1.0, untrained=9.0))
    assert reference_values(of_toy, "frechet_distance", "logmel") == (None, 3.0)
    other = Figures("e", rows("audiolm", hummed=3.0, generated=1.0, untrained=9.0))
    assert reference_values(other, "frechet_distance", "logmel") == (None, 9.0)


def test_results_of_a_system_that_is_not_there_are_read():
    assert not about("of_another_version").trained
    assert worthless("of_another_version") == worthless("audiolm")
    assert meaning("real", "of_another_version") == MEANING["real"]


@pytest.mark.parametrize(("system", "judged"), [("toy", True), ("external", False), ("old", False)])
def test_the_page_judges_what_is_trained_as_the_gate_does(toy, system, judged):
    """One truth: `trained` of the settings class, of which the plan takes `gated` for fad.txt."""
    distances = {"generated": 1.0, "hummed": 3.0, "shuffled": 3.0, "untrained": 9.0}
    harmony = [
        row(clips, "et_grid", 0.9) | {"system": system, "train_seed": "0", "draw": "0"}
        for clips in ("generated", "real")
    ]
    table = Table([*rows(system, **distances), *harmony])
    result = describe("e", [table], Evaluation(gate_clips=2))
    assert (result.verdict != "ungated") == judged == about(system).trained
    assert result.verdict == ("holds" if judged else "ungated")


@pytest.mark.parametrize(
    ("systems", "said"),
    [
        (["audiolm", "external"], SOUND),
        (["symbolic_lm", "symbolic_lm"], NOTES),
        (["toy"], "the better of hummed and untrained networks"),
        (
            ["symbolic_lm", "audiolm"],
            f"{NOTES} (symbolic_lm), or {SOUND} (audiolm)",
        ),
        (["external"], "what is worth nothing"),
    ],
)
def test_the_gates_rivals_are_named_as_each_system_has_them(toy, systems, said):
    assert rivals(systems) == said


def test_every_set_that_a_system_makes_has_a_place():
    assert {name for system in CLASSES.values() for name in system.sets} <= set(clip_sets())


@pytest.mark.parametrize("name", list(CLASSES))
def test_every_rival_is_a_set_that_is_made(name):
    """By the system itself or for all alike; of systems that make notes one chord and n-grams."""
    system = CLASSES[name]
    assert {"random_notes", "spectrum_noise"} <= set(system.rivals)
    assert set(system.rivals) <= {*system.sets, "random_notes", "spectrum_noise", "one_chord"}
    assert ("one_chord" in system.rivals) == ("notes" in system.makes)
    assert not {"grains", "copies", "shuffled_bars", "real"} & set(system.rivals)
