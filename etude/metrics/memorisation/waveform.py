"""The waveform itself, laid upon the places that the fingerprint finds.

Music that was cut out, made louder, moved, or coded again keeps its waveform. Two performances of
one held chord do not: what sounds on from before, beats and reverberation differ. So this tells a
copy of a held chord, which the fingerprint has to doubt, from the same chord of another piece.

Conventions
    wave is float [samples], mono, at RATE; score is a normalised cross-correlation, 1 for equal
    waveforms whatever their level, of the best 2 s of a clip.

Metrics
    * `Waveforms.search`: for each clip its best match at the fingerprint's likeliest places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etude.metrics.memorisation.catalogue import Catalogue, Match
from etude.metrics.memorisation.excerpts import CorpusPieces, Excerpt, Wave
from etude.metrics.memorisation.fingerprint import RATE, features

VERSION = 2  # raised when scores change

Array = NDArray[np.float64]

WINDOW = 2 * RATE  # samples that are compared
HOP = RATE // 2  # between the windows of a clip
SLACK = RATE // 5  # samples by which a place may be wrong
PLACES = 4  # of a clip that are looked at
QUIET = 1e-4  # root mean square of a window in which there is nothing to compare


@dataclass(frozen=True)
class Waveforms:
    """The training music as it sounds, and where to look in it."""

    music: CorpusPieces
    catalogue: Catalogue

    def search(self, waves: Sequence[Wave]) -> list[Match]:
        """The best match of each clip."""
        likely = self.catalogue.alignments([features(wave) for wave in waves], PLACES)
        return [self._best(*pair) for pair in zip(waves, likely, strict=True)]

    def _best(self, wave: Wave, likely: list[tuple[str, float]]) -> Match:
        wave = np.pad(wave, (0, max(0, WINDOW - len(wave))))
        begins = np.unique([*range(0, len(wave) - WINDOW, HOP), len(wave) - WINDOW])
        windows = ClipWindows(wave, begins)
        best = Match()
        for piece, start in likely:
            music = self._read(piece, start - SLACK / RATE, len(wave) + 2 * SLACK)
            found, lags = windows.correlations(music)
            at = int(found.argmax())
            if found[at] > best.score:
                begin = float(begins[at]) / RATE
                place = max(0.0, start + begin + (int(lags[at]) - SLACK) / RATE)
                best = Match(float(found[at]), piece, place, begin)
        return best

    def _read(self, piece: str, start: float, samples: int) -> Wave:
        """A part of a piece, silent where there is none."""
        before = min(samples, max(0, round(-start * RATE)))
        part = Excerpt(piece, max(0.0, start), (samples - before) / RATE)
        excerpts = list(self.music.each(lambda e: self.music.read(e, RATE), [part]))
        wave = (
            excerpts[0][1] if excerpts else np.zeros(0, np.float32)
        )  # an unreadable piece is silent
        wave = wave[: samples - before]
        return np.pad(wave, (before, samples - before - len(wave)))


class ClipWindows:
    """The windows of a clip, ready to be compared with several places.

    Args:
        wave: [samples], the clip.
        begins: first sample of each window; a window is WINDOW long.
    """

    # Products of spectra go round a circle as long as the music beside a window: what wraps lies
    # after the lags that are looked at.
    SIZE = fft.next_fast_len(WINDOW + 2 * SLACK, real=True)

    def __init__(self, wave: Wave, begins: NDArray[np.int64]) -> None:
        self.begins = begins
        windows = wave[begins[:, None] + np.arange(WINDOW)].astype(float)
        self.spectra = np.conj(fft.rfft(windows, self.SIZE))
        self.power = (windows**2).sum(1)

    def correlations(self, music: Wave) -> tuple[Array, NDArray[np.int64]]:
        """Of each window the highest normalised cross-correlation, and its lag [windows].

        Args:
            music: [samples + 2 SLACK], what would lie beside the clip, SLACK more on either side.
        """
        beside = music[self.begins[:, None] + np.arange(WINDOW + 2 * SLACK)].astype(float)
        spectra = fft.rfft(beside, self.SIZE) * self.spectra
        products = fft.irfft(spectra, self.SIZE)[:, : 2 * SLACK + 1]
        sums = np.cumsum(np.pad(beside**2, ((0, 0), (1, 0))), axis=1)
        power = sums[:, WINDOW:] - sums[:, :-WINDOW]
        least = WINDOW * QUIET**2
        own = np.maximum(self.power, least)
        return peaks(products / np.sqrt(np.maximum(power, least) * own[:, None]))


def peaks(found: Array) -> tuple[Array, NDArray[np.int64]]:
    """The highest value of each row and where it is, as on the parabola through its neighbours.

    A copy need not lie on our samples; half a sample beside it the correlation is 2 % lower.

    Example:
        >>> import numpy as np
        >>> score, at = peaks(np.array([[0.1, 0.8, 0.8, 0.1]]))  # its top is between two samples
        >>> round(float(score[0]), 2), at.tolist()
        (0.89, [1])
    """
    rows, at = np.arange(len(found)), found.argmax(1)
    left, right = found[rows, np.maximum(at - 1, 0)], found[rows, (at + 1) % found.shape[1]]
    highest = found[rows, at]
    bend = 2 * highest - left - right
    inside = (at > 0) & (at < found.shape[1] - 1) & (bend > 0)
    more = (right - left) ** 2 / (8 * np.where(inside, bend, 1))
    return np.minimum(highest + np.where(inside, more, 0), 1.0), at
