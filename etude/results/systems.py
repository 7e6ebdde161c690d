"""What tables must know about the system of a row, which has its name but not its settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from etude.config import Evaluation, ExperimentBase
from etude.config.systems import CLASSES

# Clip sets in the order of every table, and what they are unless a system says it otherwise.
MEANING = {
    "generated": "what the models made",
    "real": "real vs real: other held-out music, the floor",
    "reconstruction": "those real clips through the codec",
    "copies": "clips of the training music: what a copier would make",
    "grains": "half seconds of the training music, one after the other",
    "ngram": "an n-gram model of the training music",
    "shuffled": "their tokens in random order",
    "shuffled_bars": "their bars in random order",
    "untrained": "the networks before training",
    "random_notes": "random notes in the training music's keys and rhythms",
    "one_chord": "the training music's commonest chord, on and on",
    "spectrum_noise": "noise with the training music's mean spectrum",
    "noise": "white noise of the same level",
}
IN_WORDS = {
    "shuffled": "shuffled tokens",
    "untrained": "untrained networks",
    "ngram": "the n-gram model",
    "spectrum_noise": "noise with the music's spectrum",
    "shuffled_bars": "bars in random order",
}
# The ceiling: the nearest of them.
WORTHLESS = (
    *("shuffled", "shuffled_bars", "untrained"),
    *("random_notes", "one_chord", "spectrum_noise", "noise"),
)


class UnknownSystem(ExperimentBase):
    """A system unknown to this version, in another one's results: measured, not judged."""

    trained: ClassVar[bool] = False


def about(system: str) -> type[ExperimentBase]:
    """The settings class of a system, which says what it can do."""
    return CLASSES.get(system, UnknownSystem)


def meaning(clips: str, system: str = "") -> str:
    """What a set of clips is, in plain words; empty for a set that is not known."""
    return about(system).sets.get(clips) or MEANING.get(clips, "")


def worthless(system: str) -> tuple[str, ...]:
    """The worthless sets: those of all systems, and the rivals of this one."""
    return tuple(dict.fromkeys((*WORTHLESS, *about(system).rivals)))


def in_words(clips: str) -> str:
    """The name of a set of clips, as it is written in a sentence."""
    return IN_WORDS.get(clips, clips.replace("_", " "))


def judged(system: str, settings: Evaluation) -> bool:
    """Whether the gate is over this system's clips: what others made is judged by option only."""
    return about(system).trained or settings.gate_external


def rivals(systems: Iterable[str]) -> str:
    """What the clips of these systems must be nearer to real music than, in words."""
    of_sets: dict[str, list[str]] = {}
    for system in dict.fromkeys(systems):
        if about(system).trained:
            words = ", ".join(map(in_words, about(system).rivals))
            of_sets.setdefault(words, []).append(system)
    if len(of_sets) < 2:
        return next(iter(of_sets), "what is worth nothing")
    return ", or ".join(f"{words} ({', '.join(names)})" for words, names in of_sets.items())


def clip_sets() -> list[str]:
    """Clip sets in the order of every table; those that only one system makes come last."""
    own = (name for system in CLASSES.values() for name in system.sets)
    return list(dict.fromkeys((*MEANING, *own)))
