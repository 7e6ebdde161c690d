"""Spectra with one frame every hop, and filters over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def stft(wave: Tensor, n_fft: int, hop: int) -> Tensor:
    """Complex spectrum [bins, samples // hop + 1] of [samples], Hann window.

    Frame i is centred on sample i * hop; the wave is reflected at its ends, or followed by zeros
    where it is shorter than half a window.

    Example:
        >>> import torch
        >>> wave = torch.sin(2 * torch.pi * torch.arange(4096) / 16)  # 1/16 of the rate
        >>> spectrum = stft(wave, 256, 64)
        >>> spectrum.shape, int(spectrum[:, 20].abs().argmax())
        (torch.Size([129, 65]), 16)
    """
    return torch.stft(
        wave,
        n_fft,
        hop,
        window=torch.hann_window(n_fft),
        pad_mode="reflect" if len(wave) > n_fft // 2 else "constant",
        return_complex=True,
    )


def magnitudes(wave: Tensor, n_fft: int, hop: int, bins: int | None = None) -> Tensor:
    """Amplitude spectrum: a sine of full scale has a peak of 1.

    Args:
        wave: float32 [samples].
        bins: only this many, the lowest ones.

    Returns:
        float32 [samples // hop + 1, bins]; frame i is centred on sample i * hop.

    Example:
        >>> import torch
        >>> sine = torch.sin(2 * torch.pi * 1000 * torch.arange(8000) / 8000)
        >>> found = magnitudes(sine, n_fft=256, hop=128)
        >>> list(found.shape), round(float(found[10].max()), 1)
        ([63, 129], 1.0)
    """
    spectrum = stft(wave, n_fft, hop)
    return spectrum[:bins].abs().T * (4 / n_fft)


def bin_frequencies(n_fft: int, rate: int) -> Tensor:
    """Centre of each bin in Hz: [n_fft // 2 + 1].

    Example:
        >>> bin_frequencies(4, 8000).tolist()
        [0.0, 2000.0, 4000.0]
    """
    return torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (rate / n_fft)


def triangles(positions: Tensor, centres: Tensor) -> Tensor:
    """Triangular filters that reach from one centre to the next and sum to 1.

    A filter too narrow to hold any bin takes the bin nearest to its centre.

    Args:
        positions: place of each bin on a scale (semitones, mel), rising.
        centres: place of each filter on that scale, equally spaced.

    Returns:
        float32 [bins, filters].

    Example:
        >>> import torch
        >>> places = torch.arange(5.0)
        >>> triangles(places, torch.tensor([1.0, 3.0])).T.tolist()
        [[0.25, 0.5, 0.25, 0.0, 0.0], [0.0, 0.0, 0.25, 0.5, 0.25]]
    """
    width = centres[1] - centres[0]
    distance = (positions[:, None] - centres[None, :]).abs()
    weights = (1 - distance / width).clamp(min=0)
    empty = weights.sum(0) == 0
    weights[distance.argmin(0)[empty], empty.nonzero().flatten()] = 1
    return (weights / weights.sum(0)).float()


def semitones(frequency: Tensor, reference: float) -> Tensor:
    """Distance from a reference in equal-tempered semitones (0 Hz is far below).

    Example:
        >>> import torch
        >>> semitones(torch.tensor([440.0, 880.0]), 440.0).tolist()
        [0.0, 12.0]
    """
    return 12 * torch.log2(frequency.clamp(min=1e-3) / reference)


def mel(frequency: Tensor) -> Tensor:
    """O'Shaughnessy's mel scale, 2595 log10(1 + f / 700).

    Example:
        >>> import torch
        >>> mel(torch.tensor([0.0, 1000.0])).round().tolist()
        [0.0, 1000.0]
    """
    return 2595 * torch.log10(1 + frequency / 700)


def mel_filters(n_fft: int, rate: int, filters: int) -> Tensor:
    """Triangles on the mel scale from 0 Hz to half the rate: [bins, filters].

    Example:
        >>> filters = mel_filters(1024, 24000, 40)
        >>> filters.shape
        torch.Size([513, 40])
    """
    positions = mel(bin_frequencies(n_fft, rate))
    return triangles(positions, torch.linspace(0, float(positions[-1]), filters + 2)[1:-1].double())


def cosine_transform(size: int, coefficients: int) -> Tensor:
    """Orthonormal DCT-II as a matrix [size, coefficients].

    Example:
        >>> import torch
        >>> matrix = cosine_transform(8, 8)
        >>> torch.allclose(matrix.T @ matrix, torch.eye(8), atol=1e-6)
        True
    """
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * math.pi / size
    matrix = torch.cos(place[:, None] * torch.arange(coefficients)) * math.sqrt(2 / size)
    matrix[:, 0] /= math.sqrt(2)
    return matrix.float()


def slope(frames: Tensor) -> Tensor:
    """Difference between the next and the previous frame, [frames, dim]; the ends are repeated.

    Example:
        >>> import torch
        >>> slope(torch.tensor([[0.0], [1.0], [3.0]])).flatten().tolist()
        [1.0, 3.0, 2.0]
    """
    padded = torch.cat([frames[:1], frames, frames[-1:]])
    return padded[2:] - padded[:-2]
