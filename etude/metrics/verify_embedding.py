"""Proof that a pretrained embedding hears what it is there for, before anything is trained.

Checks, on segments of the training split (half of the pieces against the other half)
    * `not_finite`: no embedding has a value that is not a number.
    * `told_apart`: the median distance between segments of different music, relative to the size of
      their embeddings; near 0 the network gives one answer to everything.
    * order: by KAD (unbiased, so that few segments do no harm) other real music is nearer to real
      music than the same segments in grains of 50 ms in random order, and these are nearer than
      white noise of the same levels. Under an embedding that orders them otherwise no distance of
      generated clips means anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.audio.choice import Segment, choose_segments
from etude.audio.files import read_audio
from etude.errors import UserError
from etude.metrics.checks import Check, check_weights, write_checks
from etude.metrics.kad import Kernel
from etude.metrics.registry import open_embedding
from etude.pretrained.origin import read_origin

VERSION = 1  # raised when the checks change

SEGMENTS = 64  # half of them the reference; about a minute of CLAP on a CPU
FEWEST = 4  # of each half
GRAIN_SECONDS = 0.05
APART = 1e-4

Array = NDArray[np.float64]


def verify_embedding(
    name: str,
    rate: int,
    weights: Path | None,
    wav: list[Path],
    cuts: list[Path],
    pieces: Path,
    output: Path,
    *,
    strict: bool,
) -> None:
    """Write the checks of a pretrained embedding on real segments as a table.

    Args:
        rate: of the cut.
        weights: a folder of results/pretrained/; none: fadtk has fetched its own.
        strict: whether a failed check stops the run.

    Raises:
        UserError: a check failed, and `strict`; or there is too little music to say anything.
    """
    model = open_embedding(name, rate, weights=weights)
    chosen = choose_segments(wav, cuts, pieces, SEGMENTS, seed=0)
    reference, real = halves(chosen)
    if len(reference) < FEWEST or len(real) < FEWEST:
        raise UserError(
            f"{len(chosen)} segments of training music are too few to prove an embedding on",
            where=str(pieces),
            why=f"{2 * FEWEST} are the least",
            do="use more or longer pieces, or shorter segments",
        )
    checks = [] if weights is None else list(check_weights(weights, "clap"))
    waves = [[_read(s, model.sample_rate) for s in half] for half in (reference, real)]
    checks += check_order(model, *waves)
    about = model.origin if weights is None else read_origin(weights)
    write_checks(checks, about, output, strict=strict)


def halves(chosen: list[Segment]) -> tuple[list[Segment], list[Segment]]:
    """Segments of every second piece, and those of the others; of one piece, every second one."""
    names = sorted({row["piece"] for _, row in chosen})
    place = {name: index for index, name in enumerate(names)}
    if len(names) == 1:
        return chosen[::2], chosen[1::2]
    first = [s for s in chosen if place[s[1]["piece"]] % 2 == 0]
    return first, [s for s in chosen if place[s[1]["piece"]] % 2]


def _read(segment: Segment, rate: int) -> Array:
    folder, row = segment
    start, seconds = float(row["start_s"]), float(row["seconds"])
    wave = read_audio(folder / f"{row['piece']}.wav", rate, start, seconds, upsample=True)
    return wave.astype(np.float64)


def check_order(model: Any, reference: list[Array], real: list[Array]) -> Iterator[Check]:
    """Is real music nearer to real music than its grains, and these nearer than noise?

    Args:
        model: `embed(wave [1, samples]) -> [1, windows, dim]`, at `sample_rate`.
        reference, real: waves [samples] of different pieces.
    """
    generator = np.random.default_rng(0)
    sounds = {
        "reference": reference,
        "real": real,
        "shuffled": [grains(wave, model.sample_rate, generator) for wave in real],
        "noise": [noise(wave, generator) for wave in real],
    }
    rows = {name: _embed(model, waves) for name, waves in sounds.items()}
    wrong = sum(int((~np.isfinite(found)).sum()) for found in rows.values())
    yield Check("not_finite", wrong, None, 0, "values of embeddings that are not numbers")
    if wrong:
        return
    apart = told_apart(rows["reference"])
    meaning = "distance of different music, relative to the size of embeddings"
    yield Check("told_apart", apart, APART, None, meaning)
    if apart < APART:
        return
    kernel = Kernel(rows["reference"])
    kad = {
        name: float(kernel.distances(found, np.ones((len(found), 1)))[0])
        for name, found in rows.items()
        if name != "reference"
    }
    yield Check("kad_real", kad["real"], None, None, "other real music against real music")
    meaning = f"the same in grains of {1000 * GRAIN_SECONDS:g} ms in random order: above kad_real"
    yield Check("kad_shuffled", kad["shuffled"], kad["real"], None, meaning)
    meaning = "white noise of the same levels: above kad_shuffled"
    yield Check("kad_noise", kad["noise"], kad["shuffled"], None, meaning)


def _embed(model: Any, waves: list[Array]) -> Array:
    return np.concatenate([model.embed(wave[None])[0] for wave in waves])


def told_apart(rows: Array) -> float:
    """Median distance of neighbours in a list of embeddings [n, d] over their median norm.

    Example:
        >>> import numpy as np
        >>> round(told_apart(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])), 3)
        1.414
    """
    size = float(np.median(np.linalg.norm(rows, axis=1)))
    distance = float(np.median(np.linalg.norm(np.diff(rows, axis=0), axis=1)))
    return distance / size if size else 0.0


def grains(wave: Array, rate: int, generator: np.random.Generator) -> Array:
    """A wave [samples] cut into grains that are put together in random order; as long as before.

    Example:
        >>> import numpy as np
        >>> mixed = grains(np.arange(24000.0), 24000, np.random.default_rng(0))
        >>> bool((np.sort(mixed) == np.arange(24000)).all())  # the same samples in another order
        True
    """
    size = max(1, round(GRAIN_SECONDS * rate))
    count = len(wave) // size
    mixed = wave[: count * size].reshape(count, size)[generator.permutation(count)]
    return np.concatenate([mixed.ravel(), wave[count * size :]])


def noise(wave: Array, generator: np.random.Generator) -> Array:
    """White noise as long as a wave [samples], of the same level.

    Example:
        >>> import numpy as np
        >>> wave = np.full(10_000, 0.5)
        >>> loud = noise(wave, np.random.default_rng(0))
        >>> round(float(np.sqrt(np.mean(loud**2))), 1)
        0.5
    """
    return generator.standard_normal(len(wave)) * float(np.sqrt(np.mean(wave**2)))
