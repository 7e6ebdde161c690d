"""Which recordings of a collection are the same, or nearly: by samples, and by fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etude.audio.files import AudioError, read_audio
from etude.audio.recordings import summarise
from etude.metrics.memorisation.catalogue import Catalogue, Match
from etude.metrics.memorisation.fingerprint import RATE, features

NEAR = 0.95  # the likest 1.7 s; an equal stretch has 1, less a little where not much begins in it


@dataclass(frozen=True)
class Alike:
    """What a recording is like: the other's name, and how near (1: the same samples)."""

    other: str
    score: float


def likenesses(
    root: Path, files: Sequence[str], least: float = NEAR
) -> tuple[dict[str, Alike], dict[str, str]]:
    """The nearest other recording of each that has one, and what cannot be read, with the reason.

    Of equal recordings each points to the first. Of others two are compared when one is in the
    catalogue and the other is searched; a recording would find itself before any other. So the
    files are divided once for each binary digit of their numbers: any two differ in one.
    """
    hashes: dict[str, str] = {}
    features_of: dict[str, np.ndarray] = {}
    found: dict[str, Alike] = {}
    faults: dict[str, str] = {}
    for file in files:
        try:
            digest = summarise(root / file).samples_hash
            if (first := hashes.setdefault(digest, file)) != file:
                found[file] = Alike(first, 1.0)
                found.setdefault(first, Alike(file, 1.0))
            else:
                features_of[file] = features(read_audio(root / file, RATE))
        except AudioError as error:
            faults[file] = error.reason
    for file, match in _nearest(features_of).items():
        if match.score >= least and file not in found:
            found[file] = Alike(match.piece, match.score)
    return found, faults


def _nearest(features_of: Mapping[str, np.ndarray]) -> dict[str, Match]:
    """The best match of each among the others."""
    names = list(features_of)
    best: dict[str, Match] = {}
    for digit in range(max(1, len(names) - 1).bit_length()):
        sides: tuple[list[str], list[str]] = ([], [])
        for number, name in enumerate(names):
            sides[number >> digit & 1].append(name)
        for known, searched in (sides, sides[::-1]):
            catalogue = Catalogue.build((name, features_of[name]) for name in known)
            matches = catalogue.search([features_of[name] for name in searched])
            for name, match in zip(searched, matches, strict=True):
                if name not in best or match.score > best[name].score:
                    best[name] = match
    return best
