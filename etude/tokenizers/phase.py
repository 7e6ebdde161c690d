"""From magnitudes to sound: phases by single-pass spectrogram inversion, then Griffin-Lim.

SPSI (Beauregard, Harish and Wyse 2015) takes each spectral peak for a sine, advances its phase
by its own frequency, and gives the bins around it the same phase. A few iterations of fast
Griffin-Lim (Perraudin, Balazs and Sondergaard 2013) repair attacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from etude.tokenizers.spectrum import stft

CHUNK = 512  # frames worked on at a time, so that memory does not grow with the stream
MOMENTUM = 0.99
SEED = 0  # of the start phases: a property of the method, equal for every stream


def invert(
    magnitude: Callable[[int, int], Tensor], frames: int, n_fft: int, hop: int, iterations: int
) -> Tensor:
    """Sound of a stream of magnitudes, in constant time and memory per frame.

    The stream is worked on in chunks that overlap by all that Griffin-Lim can look at, so the
    result is that of one pass over the whole.

    Args:
        magnitude: gives frames [first, last) as float32 [last - first, bins]; frame `frames` is
            asked for too, since the sound between two frames needs both.
        iterations: of Griffin-Lim; 0 for SPSI alone.

    Returns:
        float32 [frames * hop].

    Example:
        >>> import torch
        >>> level = torch.zeros(9, 129)
        >>> level[:, 16] = 1  # a steady partial in bin 16 of 256: 1/16 of the rate
        >>> wave = invert(lambda first, last: level[first:last], 8, 256, 64, iterations=4)
        >>> int(torch.fft.rfft(wave).abs().argmax()) / len(wave)
        0.0625
    """
    reach = (iterations + 1) * math.ceil(n_fft / hop)
    integrator = PhaseIntegrator(n_fft, hop)
    levels, phases = torch.zeros(0, n_fft // 2 + 1), torch.zeros(0, n_fft // 2 + 1)
    sound, known = [], 0
    for start in range(0, frames, CHUNK):
        stop = min(start + CHUNK, frames)
        first, last = max(0, start - reach), min(frames + 1, stop + reach)
        new = magnitude(known, last)
        kept = known - first
        levels = torch.cat([levels[len(levels) - kept :], new])
        phases = torch.cat([phases[len(phases) - kept :], integrator(new)])
        known = last
        wave = griffin_lim(levels, phases, n_fft, hop, iterations)
        sound.append(wave[(start - first) * hop : (stop - first) * hop])
    return torch.cat(sound) if sound else torch.zeros(0)


class PhaseIntegrator:
    """SPSI: phases for magnitudes [frames, bins]; each call continues the last."""

    def __init__(self, n_fft: int, hop: int) -> None:
        self._step = hop / n_fft  # turns per bin and frame
        self._bins = torch.arange(n_fft // 2 + 1)
        generator = torch.Generator().manual_seed(SEED)
        self._turns = torch.rand(len(self._bins), generator=generator)

    def __call__(self, magnitude: Tensor) -> Tensor:
        """Phases in radians, relative to the start of each window as torch.stft has them."""
        peak, offset = self._peaks(magnitude)
        advance = (self._step * (self._bins + offset)) % 1
        owner = self._nearest_peak(peak)
        turns = torch.empty_like(magnitude)
        for index in range(len(magnitude)):
            self._turns = ((self._turns + advance[index]) % 1)[owner[index]]
            turns[index] = self._turns
        # From the centre of the window to its start is half a turn per bin.
        return 2 * math.pi * (turns - 0.5 * (self._bins % 2))

    @staticmethod
    def _peaks(magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """Which bins are local maxima, and where the top of a parabola through each lies."""
        padded = torch.nn.functional.pad(magnitude, (1, 1))
        left, right = padded[:, :-2], padded[:, 2:]
        peak = (magnitude > left) & (magnitude >= right)
        log = (padded + 1e-7).log()
        a, b, c = log[:, :-2], log[:, 1:-1], log[:, 2:]
        return peak, (0.5 * (a - c) / (a - 2 * b + c - 1e-9)).clamp(-0.5, 0.5)

    def _nearest_peak(self, peak: Tensor) -> Tensor:
        far = 4 * len(self._bins)
        below = torch.where(peak, self._bins, -far).cummax(1).values
        above = torch.where(peak, self._bins, far).flip(1).cummin(1).values.flip(1)
        nearest = torch.where(self._bins - below <= above - self._bins, below, above)
        return nearest.clamp(0, len(self._bins) - 1)


def griffin_lim(magnitude: Tensor, phase: Tensor, n_fft: int, hop: int, iterations: int) -> Tensor:
    """Fast Griffin-Lim: [frames, bins] to [(frames - 1) * hop] samples.

    Example:
        >>> import torch
        >>> level = torch.zeros(9, 129)
        >>> level[:, 16] = 1  # a steady partial
        >>> griffin_lim(level, torch.zeros(9, 129), 256, 64, iterations=4).shape
        torch.Size([512])
    """
    window = torch.hann_window(n_fft)
    target = magnitude.T.contiguous()
    spectrum = torch.polar(target, phase.T.contiguous())
    previous = torch.zeros_like(spectrum)
    for _ in range(iterations):
        wave = torch.istft(spectrum, n_fft, hop, window=window)
        consistent = stft(wave, n_fft, hop)
        estimate = consistent - (MOMENTUM / (1 + MOMENTUM)) * previous
        previous = consistent
        spectrum = target * estimate / estimate.abs().clamp(min=1e-12)
    return torch.istft(spectrum, n_fft, hop, window=window)
