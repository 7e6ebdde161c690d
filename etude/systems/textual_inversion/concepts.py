"""New rows for the table of a frozen text encoder: all that is trained.

The rows are a parameter of their own and reach the encoder as `inputs_embeds`. So no other row can
change, whatever the optimiser does, and the base may have any precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.config.systems.textual_inversion import TextualInversion
from etude.errors import UserError
from etude.pretrained.network_hash import hash_state
from etude.storage import write_json
from etude.systems.base import Batch
from etude.systems.musicgen.network import Lm
from etude.systems.stage_module import StageModule
from etude.systems.textual_inversion.files import (
    ORIGINAL,
    LearnedRows,
    write_concept,
    write_original,
)

VERSION = 1  # raised when the same seed gives other rows, or a batch another loss

FROZEN = "frozen.json"
SPREAD = 0.1  # of first rows around the mean row, in deviations of the table


class Concepts(StageModule):
    """The words of some concepts, and the frozen base that they are learned with.

    Args:
        shape: `concepts`, `tokens`, `text_dim`, and of the base its `base` (name) and
            `base_sha256` (of its tensors).
        experiment: templates and terms of the loss; None where words are only played.
        base: the frozen network; None where words are only read.
    """

    stage = "concept"
    version = 1

    def __init__(
        self,
        shape: Mapping[str, Any],
        experiment: TextualInversion | None = None,
        base: Lm | None = None,
    ) -> None:
        super().__init__(shape)
        self.names: list[str] = list(shape["concepts"])
        size = (len(self.names), shape["tokens"], shape["text_dim"])
        self.rows = nn.Parameter(torch.zeros(size))
        self.experiment = experiment
        # In a list, so that it is none of this module's own: neither trained nor saved.
        self._held = [] if base is None else [frozen(base)]
        self._null: dict[int, Tensor] = {}  # nats of validation items without any text

    def begin(self) -> None:
        """First rows: the mean of the table, and a little noise around it."""
        table = self.base.table.detach().float()
        noise = torch.randn(self.rows.shape) * table.std() * SPREAD
        with torch.no_grad():
            self.rows.copy_(table.mean(0) + noise)

    @property
    def base(self) -> Lm:
        """The frozen network, in evaluation mode and on the device of the rows."""
        base = self._held[0]
        if base.device != self.rows.device:
            base.to(self.rows.device)
        return base

    def words(self) -> dict[str, Tensor]:
        """Rows [tokens, text_dim] by concept."""
        return dict(zip(self.names, self.rows, strict=True))

    # ------------------------------------------------------------------------------- training

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean nats per code, and in training the terms that the experiment adds.

        Args:
            batch: codes [B, K, T], concept [B], template [B] and item [B] (see `data`); order
                [B], which gives the order of a word's rows.

        Returns:
            the loss; `against_null`: nats less than without any text (0 while training, when it
            is not asked), and `count`.
        """
        texts = self.texts(batch)
        nats = self.nats(batch["codes"], texts, self.in_order(batch))
        mean, count = nats.mean(), nats.numel()
        if self.training:
            return mean + self.terms(), {"against_null": 0.0, "count": count}
        null = self.null(batch["codes"], batch["item"])
        return mean, {"against_null": float((nats.mean(1) - null).mean()), "count": count}

    def texts(self, batch: Batch) -> list[str]:
        """The sentence of each item of a batch."""
        assert self.experiment is not None
        split = self.experiment.templates
        templates = split.train if self.training else split.test
        pairs = zip(batch["template"].tolist(), batch["concept"].tolist(), strict=True)
        return [templates[t].replace("{}", f"<{c}>") for t, c in pairs]

    def in_order(self, batch: Batch) -> dict[str, Tensor]:
        """Rows by the number of the concept, mixed where that is asked for."""
        words = {str(number): rows for number, rows in enumerate(self.rows)}
        if self.experiment is not None and self.experiment.shuffle_tokens and self.training:
            generator = torch.Generator().manual_seed(int(batch["order"][0]))
            for name, rows in words.items():
                order = torch.randperm(len(rows), generator=generator)
                words[name] = rows[order.to(rows.device)]
        return words

    def nats(self, codes: Tensor, texts: list[str], words: Mapping[str, Tensor]) -> Tensor:
        """Minus log probability of codes [B, K, T] after texts -> [B, codes of each]."""
        return self.base.nats(codes, texts, words)

    def null(self, codes: Tensor, items: Tensor) -> Tensor:
        """Mean nats of items without text [B]; each is asked once, the base stays as it is."""
        numbers = items.tolist()
        if any(number not in self._null for number in numbers):
            nats = self.nats(codes, [""] * len(codes), {}).mean(1)
            self._null |= dict(zip(numbers, nats.detach(), strict=True))
        return torch.stack([self._null[number] for number in numbers])

    def terms(self) -> Tensor:
        """What keeps the rows of a word, and words, apart; as TI-MusicGen meant it."""
        assert self.experiment is not None
        how, total = self.experiment, self.rows.new_zeros(())
        if how.orthogonality and self.rows.shape[1] > 1:
            total = total + how.orthogonality * alike(self.rows)
        if how.contrast and len(self.rows) > 1:
            total = total + how.contrast * crowded(self.rows, how.margin)
        return total

    # ---------------------------------------------------------------------------------- files

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """As every stage's, with the files of the words."""
        files = [FROZEN, ORIGINAL, *(f"{name}.safetensors" for name in self.names)]
        return super().config(tokenizers) | {"files": files}

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """As every stage; each word as a file of its own; and that the base is what it was.

        Raises:
            RuntimeError: it is not, which would be a defect.
        """
        before = self.shape["base_sha256"]
        after = hash_state(self._held) if self._held else before
        if before != after:
            raise RuntimeError("the base has changed while words were learned")
        super().save(folder, tokenizers)
        words = {
            n: LearnedRows(rows, self.shape["base"], before) for n, rows in self.words().items()
        }
        for name, learned in words.items():
            write_concept(folder / f"{name}.safetensors", name, learned)
        write_original(folder / ORIGINAL, words)
        about = {"base": self.shape["base"], "before": before, "after": after}
        write_json(folder / FROZEN, about | {"equal": before == after})

    @classmethod
    def read_network(cls, values: Mapping[str, Any]) -> None:
        """It has no settings of a network."""
        return


def alike(rows: Tensor) -> Tensor:
    """Squared cosines between the rows of each word, summed; the mean over words [C, N, dim]."""
    unit = F.normalize(rows, dim=2)
    gram = unit @ unit.transpose(1, 2)
    off = gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
    return off.square().sum((1, 2)).mean()


def crowded(rows: Tensor, margin: float) -> Tensor:
    """How far pairs of words stand nearer than a margin, each as one vector of length 1; mean."""
    unit = F.normalize(rows.flatten(1), dim=1)
    pairs = [F.relu(margin - (a - b).norm()) for a, b in combinations(unit, 2)]
    return torch.stack(pairs).mean()


def frozen(base: Lm) -> Lm:
    """The base as words are learned with it: nothing is trained, nothing dropped out."""
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    return base.eval()


def check_names(names: list[str]) -> None:
    """See that concepts can be named in a text and as a file.

    Raises:
        UserError: naming one that cannot.
    """
    for name in names:
        if not name.strip() or set(name) & set("<>/\\"):
            raise UserError(
                f"a concept cannot be called {name!r}",
                where="concepts",
                why="texts name it <name>, and its file bears its name",
                do="rename its folder: without <, >, / and \\",
            )
        if name == "model":
            raise UserError(
                "a concept cannot be called 'model'",
                where="concepts",
                why="its file would be model.safetensors, which all words stand in",
                do="rename its folder",
            )
