"""What the tables know of systems comes from their settings classes; names are not compared."""

from __future__ import annotations

from typing import ClassVar

import pytest
from tidy import beaten, row

from etude.config import Evaluation, ExperimentBase
from etude.config.systems import CLASSES
from etude.report.distances import distance_tables
from etude.results.leaderboard import ExperimentFigures, reference_values
from etude.results.systems import (
    MEANING,
    about,
    clip_sets,
    judged,
    meaning,
    rivals,
    worthless,
)
from etude.results.table import Table


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
    of_toy = ExperimentFigures("e", rows("toy", hummed=3.0, generated=1.0, untrained=9.0))
    assert reference_values(of_toy, "frechet_distance", "logmel") == (None, 3.0)
    other = ExperimentFigures("e", rows("audiolm", hummed=3.0, generated=1.0, untrained=9.0))
    assert reference_values(other, "frechet_distance", "logmel") == (None, 9.0)


def test_results_of_a_system_that_is_not_there_are_read():
    assert not about("of_another_version").trained
    assert worthless("of_another_version") == worthless("audiolm")
    assert meaning("real", "of_another_version") == MEANING["real"]


@pytest.mark.parametrize(
    ("system", "by_option", "word"),
    [("toy", False, "holds"), ("external", False, "ungated"), ("external", True, "holds"),
     ("old", False, "ungated")],
)  # fmt: skip
def test_the_page_judges_what_the_gate_judges(toy, system, by_option, word):
    """One truth: `trained` of the settings class and `gate_external`, as the plan has `gated`."""
    head = {"system": system, "train_seed": "0", "draw": "0"}
    own = [row("generated", "silent", 0, n="64"), row("generated", "memorised_notes", 0, n="64")]
    table = Table(
        [*rows(system, generated=1.0), *(head | r for r in own)],
        rivals=[head | r for r in beaten(["hummed", "untrained"])],
    )
    settings = Evaluation(gate_external=by_option)
    assert distance_tables("e", [table], settings).word == word
    assert judged(system, settings) == (word != "ungated")


@pytest.mark.parametrize(
    ("systems", "said"),
    [
        (["toy"], "hummed, untrained networks"),
        (["toy", "external", "toy"], "hummed, untrained networks"),
        (["external"], "what is worth nothing"),
    ],
)
def test_the_gates_rivals_are_named_as_each_system_has_them(toy, systems, said):
    assert rivals(systems) == said
    both = rivals(["toy", "audiolm"])
    assert both.startswith("hummed, untrained networks (toy), or ")
    assert both.endswith("(audiolm)")


def test_every_set_that_a_system_makes_has_a_place():
    assert {name for system in CLASSES.values() for name in system.sets} <= set(clip_sets())


@pytest.mark.parametrize("name", list(CLASSES))
def test_every_rival_is_a_set_that_is_made(name):
    """By the system itself or for all alike; of systems that make notes one chord and n-grams.

    Where clips are of learned words alone, ways of asking for them are the rivals.
    """
    system = CLASSES[name]
    if not system.rivals:
        assert system.judges_concepts
        return
    assert {"random_notes", "spectrum_noise"} <= set(system.rivals)
    assert set(system.rivals) <= {*system.sets, "random_notes", "spectrum_noise", "one_chord"}
    assert ("one_chord" in system.rivals) == ("notes" in system.makes)
    assert not {"grains", "copies", "shuffled_bars", "real"} & set(system.rivals)
