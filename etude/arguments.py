"""Types of command-line arguments: what is out of range is refused before anything runs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path

# Spellings of earlier versions and of the originals, by command; each option has one name now.
OLD = {
    "generate": {"--batch-size": "--clips", "--duration": "--seconds", "--prime-wave": "--prime"},
    "continue": {"--batch-size": "--clips", "--out": "--output"},
}


def spelled(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with the names that its options have today.

    `--top_k` is `--top-k`, and so on; what follows a bare `--`, or an equals sign, stays, and so do
    the options of `train`, which are keys of the configuration.
    """
    if arguments[:1] == ["train"]:
        return list(arguments)
    known, found = OLD.get(arguments[0], {}) if arguments else {}, list(arguments)
    end = found.index("--") if "--" in found else len(found)
    for place, word in enumerate(found[:end]):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            name = name.replace("_", "-")
            found[place] = known.get(name, name) + equals + value
    return found


def place(word: str) -> Path:
    """A path; an empty one would be the folder that one is in, which nobody means by it."""
    if not word:
        raise argparse.ArgumentTypeError("it is empty; . is the folder that you are in")
    if "\0" in word:
        raise argparse.ArgumentTypeError("no path has a zero byte")
    return Path(word)


def text(word: str) -> str:
    """Words that say something.

    Raises:
        ArgumentTypeError: there are none.
    """
    if not word.strip():
        raise argparse.ArgumentTypeError("must say something; leave the option out for no text")
    return word


def name(word: str) -> str:
    """The beginning of names of files; as it is, since a slash at its end names a folder."""
    place(word)
    return word


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number from one to another; argparse says what is none."""

    def integer(word: str) -> int:
        if not least <= (number := int(word)) <= most:
            raise argparse.ArgumentTypeError(f"{word} is not within {least} … {most}")
        return number

    return integer


def above(least: float, most: float) -> Callable[[str], float]:
    """A number that is more than one and at most another; NaN is neither."""

    def number(word: str) -> float:
        if not least < (value := float(word)) <= most:
            raise argparse.ArgumentTypeError(f"{word} is not above {least:g} and up to {most:g}")
        return value

    return number


def at_least(least: float) -> Callable[[str], float]:
    """A finite number from one up."""

    def number(word: str) -> float:
        if not least <= (value := float(word)) < math.inf:
            raise argparse.ArgumentTypeError(f"{word} is not a number from {least:g} up")
        return value

    return number
