"""Pieces as latents: what the diffusion learns from, read from the files of the encoding stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from etude.config.diffusion import Crops
from etude.errors import UserError
from etude.storage import read_json
from etude.systems.base import Batch
from etude.systems.phrase_ldm import sections
from etude.systems.phrase_ldm.sections import OF_BARS

VERSION = 1  # raised when the same files give other batches

STRETCH = 32  # pieces, at least, that a batch of like lengths is drawn from
OF_PIECE = ("key", "mode", "meter")  # numbers of a piece in the files; -1 where not known


def read_statistics(folder: Path, slots: int, latent: int | None = None) -> dict[str, Any]:
    """statistics.json of latents, the one place of their scale and clip.

    Args:
        latent: numbers of a latent; None: whatever they have.

    Raises:
        UserError: they are of phrases with other slots or other numbers than the network's.
    """
    path = folder / "statistics.json"
    found = dict(read_json(path))
    latent = latent or found["dimension"]
    there = (found["slots"], found["dimension"], len(found["mean"]), len(found["deviation"]))
    if there != (slots, latent, latent, latent):
        raise UserError(
            "these latents are of another autoencoder",
            where=str(path),
            why=f"they have {there[0]} slots of {there[1]} numbers, not {slots} of {latent}",
            do="encode the corpus with the autoencoder of this experiment",
        )
    return found


class Pieces:
    """The pieces of one split; an item is a piece, or a part of it where it is longer than a crop.

    Args:
        path: {split}.safetensors: mean and log_variance float32 [bars of all pieces, slots, z],
            lengths, key, mode, meter int64 [pieces], repeat int64 [bars] (of each bar the first of
            its piece that is equal).
        crops: which part of a piece is seen at once.
        forms: sections of the pieces as texts, in their order; None (one, or all): those of their
            repeats.
        meters: the pieces of these alone, as numbers of the file; items then have their place
            among them. None: all, as they are.
        items: only this many pieces, the first ones.
        alike: whether a batch has pieces of like length, so that little of it is padding: those
            next to its first one in the order of length.

    Raises:
        UserError: parts of the file do not fit together.
    """

    def __init__(
        self,
        path: Path,
        crops: Crops | None = None,
        forms: Sequence[str | None] | None = None,
        meters: Sequence[int] | None = None,
        items: int | None = None,
        *,
        alike: bool = False,
    ) -> None:
        file = load_file(path)
        self.crops = crops or Crops()
        lengths = file["lengths"].tolist()
        bars = len(file["mean"])
        if sum(lengths) != bars or len(file["log_variance"]) != bars or len(file["repeat"]) != bars:
            raise UserError(
                "these latents do not fit together",
                where=str(path),
                why=f"the lengths of its pieces make {sum(lengths)} bars, and it has {bars}",
                do="delete the file and run again",
            )
        wanted = [meters is None or number in meters for number in file["meter"].tolist()]
        kept = [n for n, length in enumerate(lengths) if length and wanted[n]][:items]
        self.left_out = len(lengths) - sum(wanted)
        self.mean, self.log_variance = (
            [file[name].split(lengths)[number] for number in kept]
            for name in ("mean", "log_variance")
        )
        self.of_piece = {name: file[name][kept] for name in OF_PIECE}
        if meters is not None:
            places = [meters.index(number) for number in self.of_piece["meter"].tolist()]
            self.of_piece["meter"] = torch.tensor(places, dtype=torch.long)
        repeats = [part.numpy() for part in file["repeat"].split(lengths)]
        found = []
        for number in kept:
            form = None if forms is None else forms[number]
            where = f"{path}, piece {number}"
            found.append(
                sections.of_repeats(repeats[number])
                if form is None
                else sections.parse_sections(form, where, lengths[number])
            )
        self.forms = [sections.to_text(form) for form in found]
        self.order = sorted(range(len(kept)), key=lambda i: len(self.mean[i])) if alike else None
        self.described = [torch.from_numpy(sections.section_features(form)) for form in found]

    def __len__(self) -> int:
        return len(self.mean)

    def batch(self, indices: list[int], places: NDArray[np.float64] | None = None) -> Batch:
        """mean, log_variance [B, bars, slots, z]; mask, start and OF_BARS [B, bars]; the rest [B].

        `places` (random in training) also decide on the crops.
        """
        places = np.linspace(0, 1, len(indices), endpoint=False) if places is None else places
        indices = self._alike(indices) if self.order is not None else indices
        parts = [self._part(i, place) for i, place in zip(indices, places, strict=True)]
        padded = {
            "mean": [self.mean[i][a:b] for i, (a, b) in zip(indices, parts, strict=True)],
            "log_variance": [
                self.log_variance[i][a:b] for i, (a, b) in zip(indices, parts, strict=True)
            ],
            "mask": [torch.ones(b - a, dtype=torch.bool) for a, b in parts],
            "start": [torch.arange(a, b) for a, b in parts],
        }
        for row, name in enumerate(OF_BARS):
            padded[name] = [
                self.described[i][row, a:b] for i, (a, b) in zip(indices, parts, strict=True)
            ]
        batch = {name: pad_sequence(rows, batch_first=True) for name, rows in padded.items()}
        batch |= {name: numbers[list(indices)] for name, numbers in self.of_piece.items()}
        batch["length"] = torch.tensor([len(self.mean[i]) for i in indices])
        batch["places"] = torch.as_tensor(np.asarray(places), dtype=torch.float64)
        return batch

    def _alike(self, indices: list[int]) -> list[int]:
        assert self.order is not None
        size = min(max(2 * len(indices), STRETCH), len(self))
        first = min(max(indices[0] - size // 2, 0), len(self) - size)
        return [self.order[first + (i - indices[0]) % size] for i in indices]

    def _part(self, index: int, place: float) -> tuple[int, int]:
        """The bars [first, last) of a piece that are seen."""
        bars, crops = len(self.mean[index]), self.crops
        # Two more numbers from the one: its later digits have nothing to do with the time's.
        where, length = (place * 1e3) % 1, (place * 1e6) % 1
        count = min(bars, crops.longest)
        if (place * 1e4) % 1 < crops.share and count > crops.shortest:
            count = crops.shortest + int(length * (count - crops.shortest))
        first = int(where * (bars - count + 1))
        return first, first + count


def standardised(batch: Batch, mean: Tensor, deviation: Tensor, noise: Tensor | None) -> Tensor:
    """Latents of a batch on the scale that the network knows, float32 [B, bars, slots, z].

    Args:
        mean, deviation: float32 [z].
        noise: as the latents: they are drawn from their posterior with it; None: its mean.
    """
    latents = batch["mean"].float()
    if noise is not None:
        latents = latents + (0.5 * batch["log_variance"].float()).exp() * noise
    return (latents - mean) / deviation
