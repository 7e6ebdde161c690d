"""What the embedded tokenizers share: settings, fitted tensors, and a folder that holds both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from etude.errors import UserError
from etude.storage import read_json, write_json

CONFIG, CODEBOOKS = "config.json", "codebooks.safetensors"


class FittedTokenizer(ABC):
    """A tokenizer whose state is its settings and some tensors."""

    version: ClassVar[int]  # raised when equal audio would give other tokens
    settings_class: ClassVar[Any]
    quantizers: int = 1

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.tensors: dict[str, Tensor] = {}

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """Tokens per quantizer."""

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return int(self.settings.sample_rate)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return float(self.settings.sample_rate / self.settings.hop)

    def save(self, folder: Path) -> None:
        """Write config.json and codebooks.safetensors; equal tokenizers give equal bytes."""
        config = {
            "kind": self.settings.kind,
            "version": self.version,
            "settings": self.settings.model_dump(mode="json"),
            "sample_rate": self.sample_rate,
            "frame_rate": self.frame_rate,
            "codebook_size": self.codebook_size,
            "quantizers": self.quantizers,
        }
        write_json(folder / CONFIG, config)
        save_file({k: v.contiguous() for k, v in self.tensors.items()}, folder / CODEBOOKS)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved tokenizer.

        Raises:
            UserError: if another version of the tokenizer wrote it.
        """
        config = read_json(folder / CONFIG)
        if config["version"] != cls.version:
            raise UserError(
                "a fitted tokenizer is of another version",
                where=str(folder),
                why=f"it is version {config['version']}, this program has {cls.version}",
                do="delete that folder and run the workflow again",
            )
        tokenizer = cls(cls.settings_class.model_validate(config["settings"]))
        tokenizer.tensors = load_file(folder / CODEBOOKS)
        return tokenizer

    def _tensor(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise RuntimeError("the tokenizer must be fitted or loaded first")
        return self.tensors[name]


def check_wave(wave: Tensor) -> Tensor:
    """The wave as float32 [batch, samples]; ValueError if it has another shape or NaN.

    Example:
        >>> check_wave([[0.0, 0.5]])
        tensor([[0.0000, 0.5000]])
    """
    wave = torch.as_tensor(wave, dtype=torch.float32)
    if wave.ndim != 2:
        raise ValueError(f"a wave is [batch, samples], this one is {list(wave.shape)}")
    if not torch.isfinite(wave).all():
        raise ValueError("samples must be finite")
    return wave


def fill_codebook(entries: Tensor, size: int) -> Tensor:
    """Entries repeated up to `size`, where there was less audio than a codebook has entries.

    So every number that a model may draw has a sound.

    Example:
        >>> import torch
        >>> fill_codebook(torch.tensor([[1.0], [2.0]]), 5).flatten().tolist()
        [1.0, 2.0, 1.0, 2.0, 1.0]
    """
    return entries[torch.arange(size) % len(entries)]


def weights_of(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Weights of others in fitted tokenizers, by role: {weights: {from, sha256}, centres: …}."""
    found = {}
    for role, folder in folders.items():
        config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
        found[role] = {key: config[key] for key in ("weights", "centres") if key in config}
    return {role: parts for role, parts in found.items() if parts}
