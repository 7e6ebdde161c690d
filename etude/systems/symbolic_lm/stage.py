"""The trained part of `symbolic_lm`: a network with its loss, saved as transformers saves.

The folder of a GPT-2 or Llama stage is read by `AutoModelForCausalLM.from_pretrained` as it is:
the weights have transformers' names, and config.json has transformers' keys beside Étude's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from etude.config.systems.symbolic_lm import SymbolicLm, SymbolicNetwork
from etude.errors import UserError
from etude.storage import atomic, hash_folder, write_json
from etude.systems.symbolic_lm import families
from etude.systems.symbolic_lm.music_transformer import MusicTransformerModel
from etude.systems.weights import (
    TRAIN_AGAIN,
    check_version,
    load_weights,
    on_cpu,
    read_stage_config,
    read_weights,
)
from etude.workflow.given_weights import MODEL

VERSION = 1
IGNORE = -100  # target positions without loss

Batch = dict[str, Tensor]


class SymbolicLmStage(nn.Module):
    """A language model of token ids.

    Args:
        shape: vocabulary, context, pad, bos, eos (the last three may be None).
    """

    stage = "lm"
    shape_keys = ("vocabulary", "context", "pad", "bos", "eos")

    def __init__(self, shape: Mapping[str, Any], network: SymbolicNetwork) -> None:
        super().__init__()
        self.shape = {key: shape[key] for key in self.shape_keys}
        self.settings = network
        self.network = families.build_network(network, self.shape)
        self.tied = families.tied(self.network)
        self.label_smoothing = 0.0  # in training only

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy in nats per predicted token, and accuracy with its token count.

        Args:
            batch: ids [B, T], and how many of each row are music: lengths [B].
        """
        ids, lengths = batch["ids"].long(), batch["lengths"]
        targets = ids[:, 1:].clone()
        places = torch.arange(1, ids.shape[1], device=ids.device)
        targets[places[None] >= lengths[:, None]] = IGNORE
        logits = families.all_logits(self.network, ids[:, :-1]).flatten(0, 1).float()
        wanted = targets.flatten()
        smoothing = self.label_smoothing if self.training else 0.0
        total = F.cross_entropy(
            logits, wanted, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
        )
        with torch.no_grad():
            count = int((wanted != IGNORE).sum())
            correct = int(((logits.argmax(-1) == wanted) & (wanted != IGNORE)).sum())
        return total / max(count, 1), {"accuracy": correct / max(count, 1), "tokens": count}

    # ------------------------------------------------------------------------ weights, by name

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The network's weights under its own names, tied ones once (as a part: torch's way)."""
        if args or kwargs:
            return super().state_dict(*args, **kwargs)
        weights = self.network.state_dict()
        return {name: w for name, w in weights.items() if name not in self.tied}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The other way round."""
        weights = dict(state_dict)
        weights |= {name: weights[other] for name, other in self.tied.items() if other in weights}
        return self.network.load_state_dict(weights, *args, **kwargs)

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """What config.json holds; `tokenizers` are hashes by role."""
        return {
            **self._their_config(),
            "stage": self.stage,
            "shape": self.shape,
            "version": VERSION,
            "network": self.settings.model_dump(),
            "tokenizers": dict(tokenizers),
        }

    def _their_config(self) -> dict[str, Any]:
        """What transformers, or Music Transformer's own class, needs to build the network."""
        if isinstance(self.network, MusicTransformerModel):
            return self.network.settings()
        if not families.is_theirs(self.network):
            return {}
        config: Any = self.network.config
        names = {"architectures": [type(self.network).__name__], "model_type": config.model_type}
        return dict(config.to_diff_dict()) | names

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """Write model.safetensors and config.json; `tokenizers` as in `config`."""
        with atomic(folder / MODEL) as temporary:
            save_file(on_cpu(self), temporary, {"format": "pt"})
        write_json(folder / "config.json", self.config(tokenizers or {}))


def symbolic_shape(experiment: SymbolicLm, packed: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers that fix the network; `packed` is the token set's info.json.

    Raises:
        UserError: the token set is none of symbols.
    """
    if packed.get("kind") != "symbolic":
        raise UserError(
            f"the token set {experiment.tokens!r} is none of symbols",
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
    config = read_stage_config(folder)
    if not {"stage", "shape", "network", "version"} <= config.keys():
        raise UserError(
            "this is no stage of Étude's",
            where=str(folder),
            why="its config.json has neither `stage` nor `shape`",
            do="name its weights as `weights` of an experiment's stage: they are imported",
        )
    check_version(folder, config["version"], VERSION)
    if tokenizer is not None:
        check_tokenizer(folder, config, tokenizer)
    stage = SymbolicLmStage(config["shape"], families.read_network(config["network"]))
    load_weights(stage, read_weights(folder / MODEL), folder / MODEL, do=TRAIN_AGAIN)
    return stage.eval()


def check_tokenizer(folder: Path, config: Mapping[str, Any], tokenizer: Path) -> None:
    """See that a checkpoint and a tokenizer belong together.

    Raises:
        UserError: the ids of the one mean something else to the other.
    """
    learned, found = config.get("tokenizers", {}).get("symbolic"), hash_folder(tokenizer)
    if learned is not None and learned != found:
        raise UserError(
            "the tokenizer does not match the checkpoint",
            where=f"{tokenizer} and {folder}",
            why=f"the network learned with the tokenizer {learned[:12]}, this one is {found[:12]}: "
            "the same numbers are other notes here",
            do="train the network again with this tokenizer, or bring back the settings of the old",
        )
