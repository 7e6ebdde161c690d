"""Windows of pieces with their captions and seconds, from latents that were written once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from etude.errors import UserError
from etude.storage import read_csv, read_json
from etude.systems.base import Batch
from etude.systems.stable_audio.texts import as_ids

VERSION = 1  # raised when steps see other latents, texts or seconds

SPANS = 64  # training windows whose seconds are kept for generation


class SoundWindows:
    """The pieces of a split, in windows.

    An item is a window of a piece; a piece has as many as fit into it. In training they lie
    anywhere in the piece, else one after the other.

    Args:
        folder, split: latents as `latents` writes them.
        window: frames of an item; what a piece lacks is silence.
        silence: the latent of nothing [channels].
        tokenizer, length: of texts.
        vary: (caption, place) -> the text of an item in training; None: captions as they are.
        items: only this many, the first ones.
        bare: of empty texts, as in `as_ids`.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        window: int,
        silence: Tensor,
        tokenizer: Tokenizer,
        length: int,
        vary: Callable[[str, float], str] | None = None,
        items: int | None = None,
        *,
        bare: bool = False,
    ) -> None:
        self.rows = list(read_csv(folder / f"{split}.csv"))
        self.window, self.silence, self.vary = window, silence, vary
        self.tokenizer, self.length, self.bare = tokenizer, length, bare
        self._file = folder / f"{split}.safetensors"
        self._opened: Any = None
        self.items = [
            (piece, part)
            for piece, row in enumerate(self.rows)
            for part in range(max(1, int(row["frames"]) // window))
        ][:items]

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, indices: list[int], places: NDArray[np.float64] | None = None) -> Batch:
        """Tensors of these items; see `Sound.loss`."""
        chosen = np.linspace(0, 1, len(indices), endpoint=False) if places is None else places
        found = [self._item(i, float(p)) for i, p in zip(indices, chosen, strict=True)]
        latents, there, spans, texts = zip(*found, strict=True)
        start, total = torch.tensor(spans, dtype=torch.float32).T
        return {
            "latents": torch.stack(latents),
            "there": torch.stack(there),
            "start": start,
            "total": total,
            "places": torch.as_tensor(np.asarray(chosen), dtype=torch.float64),
        } | as_ids(texts, self.tokenizer, self.length, bare=self.bare)

    def span(self, index: int, place: float = 0.0) -> tuple[float, float]:
        """Start and total seconds of an item."""
        piece, _ = self.items[index]
        row = self.rows[piece]
        seconds, frames = float(row["seconds"]), int(row["frames"])
        return self._begin(index, place) / frames * seconds, seconds

    def _begin(self, index: int, place: float) -> int:
        """The first frame of an item in its piece; in training by chance."""
        piece, part = self.items[index]
        rest = int(self.rows[piece]["frames"]) - self.window
        if rest <= 0:
            return 0
        # One more number from the one: its later digits have nothing to do with the time's.
        return part * self.window if self.vary is None else int((place * 1e3 % 1) * (rest + 1))

    def _item(self, index: int, place: float) -> tuple[Tensor, Tensor, tuple[float, float], str]:
        piece, _ = self.items[index]
        row = self.rows[piece]
        begin, frames = self._begin(index, place), int(row["frames"])
        first = int(row["first"]) + begin
        count = min(self.window, frames - begin)
        found = self._read(first, first + count).T
        if count < self.window:
            rest = self.silence[:, None].expand(-1, self.window - count)
            found = torch.cat([found, rest], dim=1)
        there = torch.arange(self.window) < count
        text = row["caption"] if self.vary is None else self.vary(row["caption"], place)
        return found, there, self.span(index, place), text

    def _read(self, first: int, last: int) -> Tensor:
        if self._opened is None:
            self._opened = safe_open(str(self._file), "pt").get_slice("latents")
        part: Tensor = self._opened[first:last]
        return part


class Mixed:
    """Its own items, a share of which is replaced at random by others: replay.

    Args:
        share: of the items of a batch, on the average.
    """

    def __init__(self, own: SoundWindows, others: SoundWindows, share: float) -> None:
        self.own, self.others, self.share = own, others, share

    def __len__(self) -> int:
        return len(self.own)

    def batch(self, indices: list[int], places: NDArray[np.float64] | None = None) -> Batch:
        """Tensors of these items, the own ones first; `replayed` bool [B]."""
        if places is None:
            return self.own.batch(indices)
        drawn = [np.random.default_rng(int(place * 2**53)).random(2) for place in places]
        others = [number for number, (chance, _) in enumerate(drawn) if chance < self.share]
        own = [number for number in range(len(indices)) if number not in others]
        parts = []
        if own:
            parts.append(self.own.batch([indices[n] for n in own], places[own]))
        if others:
            which = [int(drawn[n][1] * len(self.others)) for n in others]
            parts.append(self.others.batch(which, places[others]))
        joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return joined | {"replayed": torch.arange(len(indices)) >= len(own)}


def read_statistics(folder: Path) -> dict[str, Any]:
    """statistics.json of latents.

    Raises:
        UserError: it is not there.
    """
    path = folder / "statistics.json"
    if not path.is_file():
        raise UserError(
            "these latents have no statistics",
            code="damaged-latents",
            where=str(path),
            do="delete their folder and run the workflow again",
        )
    return dict(read_json(path))


def check_same(found: Mapping[str, Any], shape: Mapping[str, Any], where: Path) -> None:
    """See that latents are those that a network learned.

    Raises:
        UserError: they are of another autoencoder.
    """
    rate = found["rate"] / found["hop"]
    if (found["channels"], rate) != (shape["channels"], shape["frame_rate"]):
        raise UserError(
            "these latents are of another autoencoder",
            code="another-autoencoder",
            where=str(where),
            why=f"{found['channels']} numbers at {rate:g} Hz; the network learned "
            f"{shape['channels']} at {shape['frame_rate']:g} Hz",
            do="encode the corpus with the autoencoder of the base",
        )


def spans_of(windows: SoundWindows) -> list[list[float]]:
    """Seconds of start and total of some windows, spread evenly over all."""
    count = len(windows)
    if not count:
        return []
    chosen = np.linspace(0, count - 1, min(count, SPANS)).round().astype(int).tolist()
    return [[round(value, 3) for value in windows.span(index)] for index in chosen]
