"""Vectors for harmonic words, learnt from the training split (gensim's Word2Vec).

Neuromusic's settings (minimum count 2, 100 dimensions, window 4, sample 1e-3), but with one worker,
a seed and a hash that is the same in every process: gensim's defaults are four workers and Python's
`hash`, and no two runs agree. The result is word2vec's plain text, which gensim reads, too.
"""

from __future__ import annotations

import functools
import logging
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.metrics.notes import harmony
from etude.midi.notes import MidiError, read_midi
from etude.pool import map_in_order
from etude.storage import write_text

VERSION = 1  # raised when the vectors change

log = logging.getLogger(__name__)
Array = NDArray[np.float64]


def stable_hash(text: str) -> int:
    """A hash of a word that does not depend on PYTHONHASHSEED.

    Example:
        >>> stable_hash("V7")
        361057570
    """
    return zlib.crc32(text.encode())


def train(
    sentences: list[list[str]], *, dim: int, window: int, least: int, epochs: int, seed: int
) -> dict[str, Array]:
    """Vectors by word, commonest words first; none where no word is common enough."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=dim,
        window=window,
        min_count=least,
        sample=1e-3,
        workers=1,
        seed=seed,
        hashfxn=stable_hash,
        epochs=epochs,
    )
    model.build_vocab(sentences)
    if not len(model.wv):
        return {}
    model.train(sentences, total_examples=len(sentences), epochs=epochs)
    return {word: model.wv[word].astype(np.float64) for word in model.wv.index_to_key}


def write_vectors(vectors: dict[str, Array], path: Path) -> None:
    """word2vec's text format."""
    dim = len(next(iter(vectors.values()))) if vectors else 0
    lines = [f"{len(vectors)} {dim}"]
    lines += [" ".join([word, *(f"{x:.6g}" for x in v)]) for word, v in vectors.items()]
    write_text(path, "\n".join(lines) + "\n")


def read_vectors(path: Path) -> dict[str, Array]:
    """The vectors of a file of word2vec's text format."""
    _, *lines = path.read_text(encoding="utf-8").splitlines()
    rows = (line.split(" ") for line in lines)
    return {word: np.array(cells, dtype=np.float64) for word, *cells in rows}


def sentence(path: str, seconds: float) -> list[str] | None:
    """The words of a file's first `seconds`; None where it cannot be read."""
    try:
        table = read_midi(path)
    except MidiError:
        return None
    return harmony.words(table.at(table.onset_s < seconds))


def train_word2vec(
    files: list[Path], output: Path, *, settings: dict[str, float], threads: int
) -> None:
    """Train on some MIDI files, in their order."""
    work = functools.partial(_sentence, settings["seconds"])
    chosen = [str(path) for path in files[: int(settings["pieces"])]]
    found = list(map_in_order(work, chosen, threads, title="harmony", chunk=8, failed=_left_out))
    sentences = [words for words in found if words]
    vectors = train(
        sentences,
        dim=int(settings["dim"]),
        window=int(settings["window"]),
        least=int(settings["least"]),
        epochs=int(settings["epochs"]),
        seed=int(settings["seed"]),
    )
    log.info(
        "%d words from %d bars of %d pieces (%d left out: unreadable, failed or without notes)",
        len(vectors), sum(map(len, sentences)), len(sentences), len(found) - len(sentences),
    )  # fmt: skip
    write_vectors(vectors, output)


def _left_out(path: str, reason: str) -> None:
    log.warning("%s is left out: %s", Path(path).name, reason)


def _sentence(seconds: float, path: str) -> list[str] | None:
    return sentence(path, seconds)
