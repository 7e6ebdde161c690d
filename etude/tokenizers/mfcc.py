"""Semantic tokens from MFCCs and their slopes, the first teacher of HuBERT (Hsu et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from etude.config import Mfcc
from etude.tokenizers.kmeans import KMeansTokenizer
from etude.tokenizers.spectrum import cosine_transform, magnitudes, mel_filters, slope

VERSION = 1
MEL_BANDS = 40
FLOOR = 1e-10  # power of a band, -100 dB


class MfccTokenizer(KMeansTokenizer):
    """k-means over cepstral coefficients, slope and slope of slope, each at unit deviation."""

    version = VERSION
    settings_class = Mfcc
    scale_each_dimension = True

    def __init__(self, settings: Mfcc) -> None:
        super().__init__(settings)
        bands = max(MEL_BANDS, settings.coefficients)
        self._filters = mel_filters(settings.n_fft, settings.sample_rate, bands)
        self._cosines = cosine_transform(bands, settings.coefficients)

    def features(self, wave: Tensor) -> Tensor:
        """[samples] to [samples // hop + 1, 3 * coefficients]."""
        power = magnitudes(wave, self.settings.n_fft, self.settings.hop).square()
        cepstrum = (power @ self._filters).clamp(min=FLOOR).log() @ self._cosines
        velocity = slope(cepstrum)
        return torch.cat([cepstrum, velocity, slope(velocity)], dim=1)
