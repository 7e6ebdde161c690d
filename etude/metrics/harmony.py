"""Harmony: which notes sound together, whatever the key, level, tempo or brightness; no weights.

Conventions
    wave is float [batch, samples], mono. Pitch activations (`activations`) every 0.1 s; frames in
    which nothing sounds are left out; windows of 10 sounding frames, half overlapping. c is the
    share of the 12 pitch classes in a frame's power. All figures are free of transposition by
    construction: magnitudes of the DFT of c (Amiot, Music Through Fourier Space, 2016), the best
    match over 12 roots, intervals instead of pitches.

Dimensions (77), of a window
    * means of: |DFT c| at 1 to 6 (6); the best cosine of c to each of nine chord types over 12
      roots (9); entropy of c, best less mean match, the highest share (3); c turned to the root of
      its best triad or seventh (12); autocorrelation of the activations at 1 to 24 semitones (24)
    * standard deviation of the first 18 (18)
    * the worst frame, since one wrong note in a window is rare and a mean hides it: the lowest
      match to any chord, the highest shares of semitones and of tritones, and of what stands
      outside of the clip's best diatonic scale, with this one's mean (5)

In a distance (`space.Space`): units are chosen so that chorales deviate by about 1, deviations of
at least 0.3, 32 principal components and a coordinate, of weight 4, for what they leave over.

It hears wrong notes from 5 to 10 % on, permuted voices, random notes, clusters. It misses the
order of chords and to time; it holds for instruments whose partials fall as a piano's do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.audio.activations import PitchActivations

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]

WINDOW_FRAMES = 10
SEMITONES = 24
CHORDS = {
    "major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6), "augmented": (0, 4, 8),
    "dominant seventh": (0, 4, 7, 10), "minor seventh": (0, 3, 7, 10),
    "major seventh": (0, 4, 7, 11), "half-diminished": (0, 3, 6, 10), "suspended": (0, 5, 7),
}  # fmt: skip
ROOTED = (0, 1, 4)  # of CHORDS, those that give the root
DIATONIC = (0, 2, 4, 5, 7, 9, 11)
UNIT = 0.05  # shares and cosines of chorales deviate by about so much


def _rotations(classes: tuple[int, ...]) -> Array:
    """A set of pitch classes on every root: [12 roots, 12]."""
    plain = np.zeros(12)
    plain[list(classes)] = 1
    return np.stack([np.roll(plain, root) for root in range(12)])


TEMPLATES = np.stack([_rotations(c) / np.sqrt(len(c)) for c in CHORDS.values()])
SCALES = _rotations(DIATONIC)


def chroma(power: Array, lowest: int = 0) -> Array:
    """Shares of the pitch classes in the activations [frames, notes]: [frames, 12].

    Args:
        lowest: the pitch class of the first note.

    Example:
        >>> import numpy as np
        >>> power = np.zeros((1, 24))
        >>> power[0, [0, 12, 7]] = 1  # C, the C above, G
        >>> chroma(power)[0].round(2).tolist()[:8]
        [0.67, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.33]
    """
    padded = np.pad(power, ((0, 0), (lowest, -(power.shape[1] + lowest) % 12)))
    classes = padded.reshape(len(power), -1, 12).sum(1)
    shares: Array = classes / np.maximum(classes.sum(1, keepdims=True), 1e-12)
    return shares


def matches(shares: Array) -> tuple[Array, NDArray[np.int64]]:
    """Cosines to each chord type at its best root [frames, 9]; the root of the best [frames].

    Example:
        >>> import numpy as np
        >>> triad = np.isin(np.arange(12), (2, 6, 9))[None] / 3  # D, F sharp, A
        >>> cosines, root = matches(triad)
        >>> dict(zip(CHORDS, cosines[0].round(2).tolist()))["major"], root.tolist()
        (1.0, [2])
    """
    length = np.maximum(np.linalg.norm(shares, axis=1), 1e-12)
    cosines = np.einsum("krc,fc->fkr", TEMPLATES, shares) / length[:, None, None]
    rooted = cosines[:, ROOTED].max(1)
    return cosines.max(2), rooted.argmax(1)


def intervals(power: Array, semitones: int = SEMITONES) -> Array:
    """Autocorrelation of the activations' amplitudes at 1 to this many semitones: [frames, n].

    Example:
        >>> import numpy as np
        >>> fifth = np.zeros((1, 48))
        >>> fifth[0, [10, 17]] = 1  # two notes, seven semitones apart
        >>> (np.flatnonzero(intervals(fifth)[0]) + 1).tolist()
        [7]
    """
    amplitude = np.sqrt(power)
    energy = np.maximum(power.sum(1), 1e-12)
    pairs = [(amplitude[:, k:] * amplitude[:, :-k]).sum(1) for k in range(1, semitones + 1)]
    return np.stack(pairs, axis=1) / energy[:, None]


def outside(shares: Array) -> Array:
    """What part of each frame stands outside of the clip's best diatonic scale: [frames].

    Example:
        >>> import numpy as np
        >>> shares = np.full((1, 12), 1 / 12)  # five of twelve are outside
        >>> outside(shares).round(3).tolist()
        [0.417]
    """
    scale = SCALES[(SCALES @ shares.sum(0)).argmax()]
    return shares @ (1 - scale)


class Harmony:
    """The embedding: `embed(wave[batch, samples]) -> float[batch, windows, 77]`."""

    name = "harmony"
    dim = 54 + 18 + 5
    # The residual shows one wrong note better than all components: chosen by the ladder.
    components, deviation_floor, residual = 32, 0.3, 4.0

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.activations = PitchActivations(sample_rate)

    def embed(self, wave: Array) -> Array:
        """wave [batch, samples] -> [batch, windows, 77]; at least one window."""
        return np.stack([self._of_clip(row) for row in np.atleast_2d(wave)])

    def _of_clip(self, wave: Array) -> Array:
        found = self.activations(wave)
        frames = harmonies(found.audible)
        windows = spread_windows(len(found.power), len(frames))
        means = frames[windows, :54].mean(1)
        deviations = frames[windows, :18].std(1)
        worst = frames[windows, 54:].max(1)
        apart = frames[windows, 57:].mean(1)
        return np.concatenate([means, deviations, worst, apart], axis=1) / UNIT


def harmonies(power: Array) -> Array:
    """All figures of single frames, the four of the worst frame last: [frames, 58].

    Example:
        >>> import numpy as np
        >>> harmonies(np.random.default_rng(0).random((5, 48))).shape
        (5, 58)
    """
    shares = chroma(power)
    transform = np.abs(np.fft.rfft(shares, axis=1))[:, 1:]
    match, root = matches(shares)
    entropy = -(shares * np.log(shares + 1e-12)).sum(1)
    shape = np.stack([entropy, match.max(1) - match.mean(1), shares.max(1)], axis=1)
    turned = shares[np.arange(len(shares))[:, None], (np.arange(12) + root[:, None]) % 12]
    between = intervals(power)
    clash = [-match.max(1), between[:, [0, 10, 12]].sum(1), between[:, [5, 17]].sum(1)]
    rare = np.stack([*clash, outside(shares)], axis=1)
    return np.concatenate([transform, match, shape, turned, between, rare], axis=1)


def spread_windows(frames: int, wanted: int) -> NDArray[np.int64]:
    """Indexes of windows into the frames that are heard: [windows, 10].

    A clip has as many windows as its length gives, however much of it is silent: then they
    overlap more.

    Example:
        >>> import numpy as np
        >>> spread_windows(frames=30, wanted=30)[:, 0].tolist()  # where each window of ten begins
        [0, 5, 10, 15, 20]
        >>> spread_windows(frames=30, wanted=12)[:, 0].tolist()  # silent from there: overlap
        [0, 0, 1, 2, 2]
    """
    count = max(1, (frames - WINDOW_FRAMES) // (WINDOW_FRAMES // 2) + 1)
    starts = np.linspace(0, max(wanted - WINDOW_FRAMES, 0), count).round().astype(np.int64)
    return np.minimum(starts[:, None] + np.arange(WINDOW_FRAMES), wanted - 1)
