"""Semantic tokens that name the chord: clusters of semitone-band spectra and their slope."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from etude.config import SemitoneBands
from etude.errors import UserError
from etude.tokenizers.kmeans import KMeansTokenizer
from etude.tokenizers.spectrum import bin_frequencies, magnitudes, semitones, slope, triangles

VERSION = 1
LOUDNESS = 300.0  # log1p(300 x): linear below -50 dBFS, logarithmic above


class SemitoneBandsTokenizer(KMeansTokenizer):
    """k-means over log1p(300 x) of equal-tempered bands, joined with their two-frame slope."""

    version = VERSION
    settings_class = SemitoneBands
    scale_each_dimension = False

    def __init__(self, settings: SemitoneBands) -> None:
        super().__init__(settings)
        highest = settings.lowest_hz * 2 ** (settings.bands / 12)
        if highest > settings.sample_rate / 2:
            raise UserError(
                f"{settings.bands} semitone bands from {settings.lowest_hz:g} Hz reach "
                f"{highest:.0f} Hz, above half the sample rate of {settings.sample_rate} Hz",
                code="bands-too-high",
                where="tokenizers, kind semitone_bands",
                do="set fewer bands, a lower lowest_hz or a higher sample_rate",
            )
        # The bins above the highest band are not looked at.
        self._bins = math.ceil(highest * settings.n_fft / settings.sample_rate) + 1
        frequency = bin_frequencies(settings.n_fft, settings.sample_rate)[: self._bins]
        centres = torch.arange(settings.bands + 1, dtype=torch.float64)
        self._filters = triangles(semitones(frequency, settings.lowest_hz), centres)[:, :-1]

    def features(self, wave: Tensor) -> Tensor:
        """[samples] to [samples // hop + 1, 2 * bands]."""
        spectrum = magnitudes(wave, self.settings.n_fft, self.settings.hop, self._bins)
        bands = torch.log1p(LOUDNESS * (spectrum @ self._filters))
        return torch.cat([bands, self.settings.delta * slope(bands)], dim=1)
