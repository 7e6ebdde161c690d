"""Proof that pretrained text-to-music (or sound) weights know words, before an hour is spent.

Checks
    * as of all pretrained networks: tensors, shapes, the number of parameters.
    * `round_trip`: music that the tokenizer encodes comes back from the codec that lies in the
      weights: correlation of log-mel levels at least 0.9. So both speak of the same codes.
    * `word_margin`: a few bars are played by instruments that every model of music has read of.
      For each clip: the nats per token (or the error of the velocity) under the names of the other
      instruments, on average, less those under its own; the lower end of the 95 % interval over
      clips (t) must be above 0.
    * `right_word`: the share of clips whose own name is the likeliest; at least half (chance: one
      in as many as there are instruments).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from etude.config import Render
from etude.metrics.checks import Check, check_weights, write_checks
from etude.metrics.verify import ROUND_TRIP, spectral_correlation
from etude.midi.programs import NAMES
from etude.midi.render import render_midi
from etude.midi.writing import plain_table, to_score
from etude.pretrained.origin import read_origin
from etude.systems.concept_queries import TextReader

VERSION = 1  # raised when the checks change

PROGRAMS = (0, 19, 56, 73)  # piano, organ, trumpet, flute
SECONDS = 5.0
TUNES = (
    (60, 64, 67, 72, 67, 64, 60, 62, 64, 65),
    (67, 65, 64, 62, 60, 62, 64, 60, 62, 67),
    (62, 65, 69, 74, 72, 70, 69, 67, 65, 62),
    (64, 66, 68, 69, 71, 73, 75, 76, 71, 64),
)
TICKS = 480  # of each note, which is half a second
SENTENCE = "{} music"
RIGHT = 0.5

Array = NDArray[np.float64]


def verify_text(
    reader: TextReader, weights: Path, kind: str, output: Path, *, strict: bool
) -> None:
    """Write the checks of text-to-music weights as a table.

    Args:
        weights: their folder in results/pretrained/; `kind` is theirs.
        strict: whether a failed check stops the run.

    Raises:
        UserError: a check failed, and `strict`.
    """
    sounds = {program: list(played(program, reader.rate)) for program in PROGRAMS}
    waves = [wave for clips in sounds.values() for wave in clips]
    own = [number for number, clips in enumerate(sounds.values()) for _ in clips]
    texts = [SENTENCE.format(NAMES[program]) for program in PROGRAMS]
    checks = [*check_weights(weights, kind)]
    value = spectral_correlation(np.stack(waves), np.stack(reader.by_own_codec(waves)), reader.rate)
    meaning = "correlation of the log-mel levels of music and of the same music decoded (median)"
    checks.append(Check("round_trip", value, ROUND_TRIP, None, meaning))
    checks += check_words(reader.nats(waves, texts), np.array(own), reader.unit)
    write_checks(checks, read_origin(weights), output, strict=strict)


def check_words(
    nats: Array, own: NDArray[np.int_], unit: str = "nats per token"
) -> Iterator[Check]:
    """Whether clips are likelier under their own word.

    Args:
        nats: [texts, clips], in a unit; own: the text of each clip.

    Example:
        >>> import numpy as np
        >>> nats = np.array([[1.0, 2.0], [3.0, 1.0]])  # of two sounds, under each of two texts
        >>> [(check.check, check.passed) for check in check_words(nats, np.array([0, 1]))]
        [('word_margin', False), ('right_word', True)]
    """
    clips = np.arange(nats.shape[1])
    right = nats[own, clips]
    wrong = (nats.sum(0) - right) / (len(nats) - 1)
    better = wrong - right
    low = better.mean() - t.ppf(0.975, len(better) - 1) * better.std(ddof=1) / len(better) ** 0.5
    meaning = f"{unit} by which the right word beats wrong ones: low end of the 95 % range"
    yield Check("word_margin", float(low), 0.0, None, meaning)
    share = float((nats.argmin(0) == own).mean())
    yield Check("right_word", share, RIGHT, None, "share of clips whose own word is the likeliest")


def played(program: int, rate: int) -> Iterator[NDArray[np.float32]]:
    """The tunes by an instrument, each SECONDS long.

    Example:
        >>> tunes = [wave.shape for wave in played(program=0, rate=8000)]
        >>> len(tunes) == len(TUNES), tunes[0][0] / 8000 == SECONDS
        (True, True)
    """
    length = round(SECONDS * rate)
    onset = np.arange(len(TUNES[0])) * TICKS
    for tune in TUNES:
        table = plain_table(onset, np.full_like(onset, TICKS), np.array(tune), program=program)
        wave = render_midi(to_score(table), Render(rate=rate))
        yield np.pad(wave[:length], (0, max(0, length - len(wave)))).astype(np.float32)
