"""Weights from files: read safely, and checked name by name before a network takes them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from etude.config import Weights
from etude.errors import UserError
from etude.storage import hash_file, hash_folder, read_json
from etude.workflow.imported_weights import check_pickle

log = logging.getLogger(__name__)
Tensors = dict[str, Tensor]

# Where programs that save more than weights keep them (Lightning, Étude's own states, …).
STATE_KEYS = ("state_dict", "model_state_dict", "model")
SHOWN = 8  # tensors that an error names; the rest are counted
BROKEN = (
    *(OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, IndexError),
    *(AttributeError, ImportError, pickle.UnpicklingError, SafetensorError),
)


TRAIN_AGAIN = "train it again: delete its folder and run the workflow"


def read_stage_config(folder: Path) -> dict[str, Any]:
    """What config.json of a trained stage holds.

    Raises:
        UserError: when the folder holds no stage, or none of Étude's.
    """
    if not (folder / "config.json").is_file():
        raise UserError(
            "no trained stage is here",
            where=str(folder),
            do="train it first; the README says how",
        )
    config: dict[str, Any] = read_json(folder / "config.json")
    if not {"stage", "shape", "network", "version"} <= config.keys():
        raise UserError(
            "this is no stage of Étude's",
            where=str(folder),
            why="its config.json has neither `stage` nor `shape`",
            do="name its weights as `weights` of an experiment's stage: they are imported",
        )
    return config


def check_version(folder: Path, found: int, wanted: int) -> None:
    """See that a trained stage is of this program's format.

    Raises:
        UserError: it is of another.
    """
    if found != wanted:
        raise UserError(
            "the stage was trained by another version of Étude",
            where=str(folder),
            why=f"its format is {found}, this program's is {wanted}",
            do=TRAIN_AGAIN,
        )


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


def read_weights(path: Path, settings: Weights | None = None) -> Tensors:
    """All tensors of a file, on the CPU.

    Safetensors are read plainly. A pickle is read only where `settings` has `sha256` or `trust`,
    and as tensors only; one that holds more is run with `trust` alone.

    Raises:
        UserError: not readable, not the file of the given hash, a pickle that may not be loaded,
            or one without a state dict.
    """
    if settings is not None and settings.sha256 not in (None, found := hash_file(path)):
        raise UserError(
            "these are not the weights whose sha256 the configuration has",
            where=str(path),
            why=f"it is {found}, expected was {settings.sha256}",
            do="get the right file, or correct `sha256`",
        )
    check_pickle(path, settings)
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        return _state_dict(_read_pickle(path, trust=settings is not None and settings.trust))
    except BROKEN as error:
        raise UserError(
            "weights cannot be read",
            where=str(path),
            why=str(error).strip().split("\n")[0] or type(error).__name__,
            do="get the file again; it is damaged, or no file of weights",
        ) from None


def _read_pickle(path: Path, *, trust: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if not trust:
            raise UserError(
                "these weights hold more than tensors, so loading them would run code",
                where=str(path),
                why="`sha256` says which file it is, not that its code is harmless",
                do="get them as .safetensors, or write `trust: true` where you trust their author",
            ) from None
    log.warning("%s: loaded as a pickle, code included, as `trust: true` allows", path.name)
    return torch.load(path, map_location="cpu", weights_only=False)


def _state_dict(content: Any) -> Tensors:
    """The first mapping of names to tensors: the content itself or what it keeps as its weights."""
    if isinstance(content, nn.Module):
        return content.state_dict()
    inner = [content.get(key) for key in STATE_KEYS] if isinstance(content, Mapping) else []
    for found in (content, *inner):
        tensors = dict(found) if isinstance(found, Mapping) else {}
        if tensors and all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            return tensors
    raise ValueError(f"no state dict is in it, neither at the top nor in {', '.join(STATE_KEYS)}")


def load_weights(
    model: nn.Module, tensors: Tensors, where: Path, why: str = "", do: str = ""
) -> None:
    """Put tensors into a network; every name and shape must be the network's own.

    Raises:
        UserError: naming what is missing, what is too much, what has another shape (with both
            shapes), or what holds numbers that are not finite.
    """
    own = model.state_dict()
    lines = [
        f"{name}: expected {list(own[name].shape)}, found {list(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    lines += [
        f"{name}: missing, expected {list(own[name].shape)}" for name in own if name not in tensors
    ]
    lines += [f"{name}: not expected" for name in tensors if name not in own]
    lines += [
        f"{name}: holds numbers that are not finite"
        for name, tensor in tensors.items()
        if not torch.isfinite(tensor).all()
    ]
    if lines:
        more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise UserError(
            "the weights do not fit the network:\n  " + "\n  ".join(lines[:SHOWN] + more),
            where=str(where),
            why=why,
            do=do,
        )
    model.load_state_dict(tensors)


def on_cpu(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a network, as they are saved."""
    return {name: w.detach().cpu().contiguous() for name, w in model.state_dict().items()}
