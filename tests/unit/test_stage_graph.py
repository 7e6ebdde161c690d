"""Stages need stages: none that is not there, none in a circle."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from refused import invalid

from etude.config import StageSettings
from etude.config.systems.base import StagePlan
from etude.config.whole import _stages_resolve


def check(**needs):
    plans = [StagePlan(name, StageSettings(), tuple(of)) for name, of in needs.items()]
    _stages_resolve("experiments.e", SimpleNamespace(stage_plans=lambda: plans))


@pytest.mark.parametrize(
    "graph",
    [
        {},
        {"a": ""},
        {"a": "", "b": "a"},
        {"a": "bc", "b": "c", "c": ""},
        {"a": "", "b": "a", "c": "ab"},
    ],
)
def test_what_can_be_trained_in_some_order_is_taken(graph):
    check(**graph)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"a": "a"}, ["a needs a"]),
        ({"a": "b", "b": "a"}, ["a needs b", "b needs a"]),
        ({"a": "", "b": "ac", "c": "b"}, ["b needs a, c", "c needs b"]),
        ({"vae": "", "prior": ["vea"]}, ["prior needs vea", "vae, prior"]),
    ],
)
def test_what_cannot_is_named(graph, words):
    with invalid("experiments.e.stages", "stages-wait-for-each-other") as error:
        check(**graph)
    assert all(word in str(error.value) for word in words)
