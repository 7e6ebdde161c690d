"""The trained part of `symbolic_lm`: a network with its loss, saved as transformers saves.

The folder of a GPT-2 or Llama stage is read by `AutoModelForCausalLM.from_pretrained` as it is:
the weights have transformers' names, and config.json has transformers' keys beside Étude's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from etude.config.systems.symbolic_lm import SymbolicLm, SymbolicNetwork
from etude.errors import UserError
from etude.systems.base import Batch, Ids
from etude.systems.stage_module import StageModule, cross_entropy
from etude.systems.symbolic_lm import families
from etude.systems.symbolic_lm.music_transformer import MusicTransformerModel
from etude.systems.weights import check_tokenizer, read_stage_config

VERSION = 1
IGNORE = -100  # target positions without loss
NATS_BATCH = 8  # windows scored at once


class SymbolicLmStage(StageModule):
    """A language model of token ids.

    Args:
        shape: vocabulary, context, pad, bos, eos (the last three may be None).
    """

    stage = "lm"
    version = VERSION
    metadata: ClassVar[dict[str, str]] = {"format": "pt"}  # transformers wants to be told
    shape_keys = ("vocabulary", "context", "pad", "bos", "eos")

    def __init__(self, shape: Mapping[str, Any], network: SymbolicNetwork) -> None:
        super().__init__({key: shape[key] for key in self.shape_keys}, network)
        self.network = families.build_network(network, self.shape)
        self.tied = families.tied(self.network)
        self.label_smoothing = 0.0  # in training only

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy in nats per predicted token, and accuracy with its token count.

        Args:
            batch: ids [B, T], and how many of each row are music: lengths [B].
        """
        ids, lengths = batch["ids"].long(), batch["lengths"]
        targets = ids[:, 1:].clone()
        places = torch.arange(1, ids.shape[1], device=ids.device)
        targets[places[None] >= lengths[:, None]] = IGNORE
        logits = families.all_logits(self.network, ids[:, :-1])
        smoothing = self.label_smoothing if self.training else 0.0
        return cross_entropy([(logits, targets)], smoothing, IGNORE)

    # ------------------------------------------------------------------------ weights, by name

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's weights under its own names, tied ones once (as a part: torch's way)."""
        if args or kwargs:
            return super().state_dict(*args, **kwargs)
        weights = self.network.state_dict()
        return {name: w for name, w in weights.items() if name not in self.tied}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The reverse."""
        weights = dict(state_dict)
        weights |= {name: weights[other] for name, other in self.tied.items() if other in weights}
        return self.network.load_state_dict(weights, *args, **kwargs)

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """Étude's keys and transformers'."""
        return self._their_config() | super().config(tokenizers)

    def _their_config(self) -> dict[str, Any]:
        """What transformers, or Music Transformer's own class, needs to build the network."""
        if isinstance(self.network, MusicTransformerModel):
            return self.network.settings()
        if not families.is_theirs(self.network):
            return {}
        config: Any = self.network.config
        names = {"architectures": [type(self.network).__name__], "model_type": config.model_type}
        return dict(config.to_diff_dict()) | names

    @classmethod
    def read_network(cls, values: Mapping[str, Any]) -> SymbolicNetwork:  # noqa: D102
        return families.read_network(values)


def symbolic_shape(experiment: SymbolicLm, packed: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that fix the network; `packed` is the token set's info.json.

    Raises:
        UserError: the token set is not symbolic.
    """
    if packed.get("kind") != "symbolic":
        raise UserError(
            f"the token set {experiment.tokens!r} is not symbolic",
            code="token-set-not-of-notes",
            why="the system symbolic_lm learns from notes, not from audio",
            do="name a token set that has a `tokenizer`",
        )
    return {
        "vocabulary": packed["vocabulary"],
        "context": packed["window"],
        **{name: packed.get(name) for name in ("pad", "bos", "eos")},
    }


def build_stage(
    experiment: SymbolicLm, stage: str, packed: Mapping[str, Any], seed: int
) -> SymbolicLmStage:
    """A freshly initialised stage; the same seed gives the same weights."""
    torch.manual_seed(seed)
    shape = symbolic_shape(experiment, packed)
    return SymbolicLmStage(shape, getattr(experiment.stages, stage).network)


def load_stage(folder: Path, tokenizer: Path | None = None) -> SymbolicLmStage:
    """Build a trained stage from its folder, ready to sample.

    Args:
        tokenizer: the folder whose ids it is to speak; it must be the one it learned with.

    Raises:
        UserError: no stage is there, one of another version, or one of another tokenizer.
    """
    stage = SymbolicLmStage.load(folder)
    if tokenizer is not None:
        check_tokenizer(folder, read_stage_config(folder), tokenizer)
    return stage


def score(
    stage: SymbolicLmStage, windows: Sequence[tuple[str, Ids, int]]
) -> list[NDArray[np.float64]]:
    """Minus log probability of each scored token of (piece, ids, first scored) windows.

    Windows of like length share a batch.
    """
    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(windows)
    order = sorted(range(len(windows)), key=lambda i: (len(windows[i][1]), i))
    stage.eval()
    for start in range(0, len(order), NATS_BATCH):
        batch = order[start : start + NATS_BATCH]
        ids = torch.zeros(len(batch), max(len(windows[i][1]) for i in batch), dtype=torch.long)
        for row, i in enumerate(batch):
            ids[row, : len(windows[i][1])] = torch.from_numpy(windows[i][1])
        ids = ids.to(stage.device)
        with torch.inference_mode():
            logits = families.all_logits(stage.network, ids[:, :-1]).float()
            nats = F.cross_entropy(
                logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
            ).view(len(batch), -1)
        for row, i in enumerate(batch):
            _, own, first = windows[i]
            found[i] = nats[row, first - 1 : len(own) - 1].double().cpu().numpy()
    return found
