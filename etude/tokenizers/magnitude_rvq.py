"""Acoustic tokens: compressed magnitudes, PCA and residual k-means; phases are invented.

On synthesised piano this is nearer to the original in log-mel Fréchet distance than codecs that
match the waveform, is fitted in seconds, and its tokens can be learnt by tiny models, since they
do not carry phase. Signal-to-noise ratios against the original mean nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from etude.config import MagnitudeRvq
from etude.errors import UserError
from etude.tokenizers.clustering import kmeans, nearest, sample_frames
from etude.tokenizers.fitted import FittedTokenizer, check_wave, fill_codebook
from etude.tokenizers.phase import invert
from etude.tokenizers.spectrum import magnitudes

VERSION = 1
TRAINING_FRAMES = 30_000
PCA_FRAMES = 20_000


class MagnitudeRvqTokenizer(FittedTokenizer):
    """y = amplitude ** power, PCA, residual vector quantisation."""

    version = VERSION
    settings_class = MagnitudeRvq

    def __init__(self, settings: MagnitudeRvq) -> None:
        super().__init__(settings)
        if settings.hop > settings.n_fft // 2:
            raise UserError(
                f"hop {settings.hop} is more than half of n_fft {settings.n_fft}",
                where="tokenizers, kind magnitude_rvq",
                why="windows must overlap by half for sound to be put together again",
                do="set a smaller hop or a larger n_fft",
            )

    @property
    def codebook_size(self) -> int:
        """Entries of each codebook."""
        return int(self.settings.codebook_size)

    @property
    def quantizers(self) -> int:  # type: ignore[override]
        """Codebooks."""
        return int(self.settings.quantizers)

    def frames(self, samples: int) -> int:
        """One frame per whole hop."""
        return samples // int(self.settings.hop)

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Fit PCA and codebooks on a sample of the frames of waves [batch, samples].

        Raises:
            ValueError: if there are no waves or samples that are not finite.
        """
        seed = self.settings.fit.seed
        frames = sample_frames(batches, self._compressed, TRAINING_FRAMES, seed)
        mean, basis = principal_components(frames[:PCA_FRAMES], self.settings.components)
        residual = (frames - mean) @ basis
        codebooks = []
        for index in range(self.quantizers):
            entries = kmeans(residual, self.codebook_size, self.settings.iterations, seed + index)
            codebooks.append(fill_codebook(entries, self.codebook_size))
            residual = residual - entries[nearest(residual, entries)[0]]
        self.tensors = {"mean": mean, "basis": basis, "codebooks": torch.stack(codebooks)}

    def encode(self, wave: Tensor) -> Tensor:
        """[batch, samples] to [batch, quantizers, frames]; the batch does not change an item."""
        projected = self.project(wave)
        shape = len(projected), self.quantizers, projected.shape[1]
        codes = torch.zeros(shape, dtype=torch.int64)
        for item, residual in enumerate(projected):
            for index, entries in enumerate(self._tensor("codebooks")):
                labels, _ = nearest(residual, entries)
                codes[item, index] = labels
                residual = residual - entries[labels]
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """[batch, quantizers or fewer, frames] to [batch, frames * hop].

        The first quantizers alone give a coarser sound. A stream of any length is decoded in
        constant time and memory per frame.

        Raises:
            ValueError: for codes of another shape.
        """
        settings = self.settings
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.quantizers:
            raise ValueError(f"codes are [batch, quantizers, frames], not {list(codes.shape)}")
        books = self._tensor("codebooks")
        sounds = [
            self._sound(
                lambda frames, item=item: sum(  # type: ignore[misc]
                    book[ids] for book, ids in zip(books, item[:, frames], strict=False)
                ),
                item.shape[1],
            )
            for item in codes
        ]
        return torch.stack(sounds) if sounds else torch.zeros(0, codes.shape[2] * settings.hop)

    def project(self, wave: Tensor) -> Tensor:
        """[batch, samples] to what is quantised: [batch, frames, components], before any code."""
        mean, basis = self._tensor("mean"), self._tensor("basis")
        compressed = self._compressed(wave)
        items = [(frames - mean) @ basis for frames in compressed]
        return torch.stack(items) if items else compressed[:, :, : basis.shape[1]]

    def play(self, projected: Tensor) -> Tensor:
        """The way back without codes: [batch, frames, components or fewer] to sound."""
        sounds = [self._sound(item.__getitem__, len(item)) for item in projected]
        return torch.stack(sounds) if sounds else projected.new_zeros(0, 0)

    def _sound(self, projected: Callable[[Tensor], Tensor], frames: int) -> Tensor:
        """One item of this many frames; `projected` gives some of them, [n, components]."""
        settings = self.settings

        def amplitudes(first: int, last: int) -> Tensor:
            """STFT magnitudes [first, last); the last is repeated."""
            part = projected(torch.arange(first, last).clamp(max=frames - 1))
            basis = self._tensor("basis")[:, : part.shape[1]]
            compressed = part @ basis.T + self._tensor("mean")
            return compressed.clamp(min=0) ** (1 / settings.power) * (settings.n_fft / 4)

        return invert(amplitudes, frames, settings.n_fft, settings.hop, settings.griffin_lim)

    def _compressed(self, wave: Tensor) -> Tensor:
        """[batch, samples] to [batch, frames, bins]."""
        wave = check_wave(wave)
        frames, n_fft, hop = self.frames(wave.shape[1]), self.settings.n_fft, self.settings.hop
        # Item by item: faster, since it stays in the cache, and equal for any batch.
        items = [magnitudes(item, n_fft, hop)[:frames] ** self.settings.power for item in wave]
        return torch.stack(items) if items else wave.new_zeros(0, frames, n_fft // 2 + 1)


def principal_components(frames: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Mean [dim] and the directions of largest variance [dim, components or fewer].

    Example:
        >>> import torch
        >>> frames = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])  # along the diagonal
        >>> mean, directions = principal_components(frames, 1)
        >>> mean.tolist(), [round(x, 3) for x in directions.abs().flatten().tolist()]
        ([1.0, 1.0], [0.707, 0.707])
    """
    mean = frames.mean(0)
    centred = frames - mean
    covariance = (centred.T @ centred).double() / len(frames)
    vectors = torch.linalg.eigh(covariance).eigenvectors.flip(1)
    return mean, vectors[:, : min(components, len(frames))].float().contiguous()
