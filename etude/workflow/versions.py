"""What results depend on: the VERSION of Étude's modules, by labels that no move changes."""

from __future__ import annotations

import re
from pathlib import Path

from etude.config.systems.base import ExperimentBase
from etude.own import digest

ROOT = Path(__file__).resolve().parent.parent

MODULES = {
    "loop": "training/loop",
    "steps": "training/data",
    "sampling": "clips/sampling",
    "clips": "clips/writing",
    "baselines": "generation/baselines",
    "extraction": "metrics/memorisation/extraction",
    "perplexity": "metrics/perplexity",
    "ngram": "systems/ngram",
    "render": "midi/render",
    "midi_writing": "midi/writing",
}


def number(module: str) -> int:
    """The VERSION of a module below etude/, read without importing it."""
    text = (ROOT / f"{module}.py").read_text(encoding="utf-8")
    found = re.search(r"^VERSION = (\d+)", text, re.MULTILINE)
    assert found, f"{module} has no VERSION"
    return int(found[1])


def numbers(
    experiment: ExperimentBase, what: str, stage: str | None = None
) -> dict[str, int | str]:
    """What a result of an experiment (or of one stage) depends on: {label: VERSION}.

    Networks of the user's own count by the hash of their files.
    """
    modules = MODULES | dict(experiment.modules)
    found: dict[str, int | str] = {
        label: number(modules[label]) for label in experiment.labels(what, stage)
    }
    own = experiment.own_networks(*[stage] * bool(stage))
    return found | {name: digest(name) for name in own}
