"""What tokenizers made of a pretrained network share: the network lies in the tokenizer's folder.

`model/` in it holds the weights (a hard link to those in results/pretrained/, so it costs no disk),
and config.json their hash: a fitted tokenizer is whole, can be exported, and says which weights
made it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from etude.errors import UserError
from etude.pretrained.networks import WEIGHTS, load_network
from etude.pretrained.origin import read_origin
from etude.storage import read_json, visible_files, write_json
from etude.tokenizers.fitted import CONFIG, FittedTokenizer

MODEL = "model"


class PretrainedTokenizer(FittedTokenizer):
    """A tokenizer that hears through a network it has not trained."""

    network_kind: str

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.weights: Path | None = None  # a folder of results/pretrained/
        self.centres: dict[str, str] = {}  # where centres came from that were not fitted here

    def attach(self, weights: Path) -> Self:
        """Use the network in a folder of results/pretrained/, or in one of a fitted tokenizer.

        Raises:
            UserError: it is of another kind, or hears at another rate than the settings say.
        """
        self.weights = weights
        self.check_network()
        return self

    def check_network(self) -> None:
        """See that the network fits the settings."""
        raise NotImplementedError

    @cached_property
    def network_config(self) -> Any:
        """transformers' configuration of the network; reads no weights."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(str(self._weights()), local_files_only=True)

    @cached_property
    def network(self) -> Any:
        """The network, loaded when it is first heard through."""
        return load_network(self._weights(), self.network_kind)

    def save(self, folder: Path) -> None:
        """As every tokenizer, and the network beside it."""
        super().save(folder)
        target = folder / MODEL
        target.mkdir()
        for file in visible_files(self._weights()):
            link_or_copy(file, target / file.name)
        config = read_json(folder / CONFIG) | {"weights": read_origin(self._weights())}
        write_json(folder / CONFIG, config | ({"centres": self.centres} if self.centres else {}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved tokenizer; the network is loaded when it is needed."""
        tokenizer = super().load(folder)
        tokenizer.weights = folder / MODEL
        return tokenizer

    def _weights(self) -> Path:
        if self.weights is None:
            raise RuntimeError("the tokenizer has no weights yet; attach them first")
        return self.weights

    def _parts(self, wave: Tensor) -> Iterator[Tensor]:
        """Items [batch, samples] in batches of `batch_seconds`, so that memory is flat."""
        seconds = max(wave.shape[1], 1) / self.sample_rate
        yield from wave.split(max(1, int(self.settings.batch_seconds / seconds)))


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_rate(found: int, settings: Any, weights: Path) -> None:
    """See that a network hears at the rate of the settings.

    Raises:
        UserError: it does not.
    """
    if found != settings.sample_rate:
        raise UserError(
            f"the network hears at {found} Hz, the tokenizer is set to {settings.sample_rate}",
            where=str(weights / WEIGHTS),
            do=f"set the tokenizer's sample_rate to {found}",
        )


def to_cpu(codes: Tensor) -> Tensor:
    """Tokens as everything downstream has them.

    Example:
        >>> import torch
        >>> to_cpu(torch.tensor([1, 2], dtype=torch.int32)).dtype
        torch.int64
    """
    return codes.to(device="cpu", dtype=torch.int64)
