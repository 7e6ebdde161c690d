"""What a tokenizer is to the rest of the system.

Everything downstream reads only these attributes and methods, so that an embedded tokenizer and
a pretrained network take each other's place. Waves are float32 [batch, samples] at
`sample_rate`, full scale 1.0; tokens are int64. Frame i stands for the time i / frame_rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from torch import Tensor


class Tokenizer(Protocol):
    """What semantic and acoustic tokenizers share."""

    @property
    def sample_rate(self) -> int:
        """Samples per second of the waves that are read and made."""
        ...

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        ...

    @property
    def codebook_size(self) -> int:
        """Tokens are in 0 ... codebook_size - 1, in every quantizer."""
        ...

    @property
    def quantizers(self) -> int:
        """Tokens per frame (1 for a semantic tokenizer)."""
        ...

    def frames(self, samples: int) -> int:
        """Frames that `encode` gives for this many samples."""
        ...

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Learn from waves, read once, in order; raises ValueError if there are none."""
        ...

    def save(self, folder: Path) -> None:
        """Write config.json and codebooks.safetensors into an existing folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises UserError if it does not fit this version."""
        ...


@runtime_checkable
class SemanticTokenizer(Tokenizer, Protocol):
    """What is played: one token a frame."""

    def encode(self, wave: Tensor) -> Tensor:
        """[batch, samples] to [batch, frames]; raises ValueError for samples not finite."""
        ...


@runtime_checkable
class AcousticTokenizer(Tokenizer, Protocol):
    """How it sounds: several tokens a frame, the first ones the coarsest, and the way back."""

    def encode(self, wave: Tensor) -> Tensor:
        """[batch, samples] to [batch, quantizers, frames]; ValueError as above."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """[batch, quantizers or fewer, frames] to [batch, samples]; each item by itself."""
        ...
