"""transformers' classes by kind, loaded from a folder and never from a network."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import torch

from etude.errors import UserError

WEIGHTS = "model.safetensors"
CLASSES = {
    "hubert": "HubertModel",
    "encodec": "EncodecModel",
    "clap": "ClapModel",
    "text_to_music": "MusicgenForConditionalGeneration",
    "melody_to_music": "MusicgenMelodyForConditionalGeneration",
    "text_to_sound": "etude.pretrained.sound:SoundNetworks",  # of several classes
}


def network_class(kind: str) -> Any:
    """transformers' class of a kind, or one that loads as theirs do."""
    module, _, name = CLASSES[kind].rpartition(":")
    return getattr(importlib.import_module(module or "transformers"), name)


def load_network(folder: Path, kind: str) -> Any:
    """The network in a folder of results/pretrained/, ready to be used, on the GPU if there is one.

    Raises:
        UserError: there is none.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if not (folder / WEIGHTS).is_file():
        raise UserError(
            "the pretrained weights are not there",
            code="weights-not-found",
            where=str(folder),
            do="run the workflow, which fetches them",
        )
    model = network_class(kind).from_pretrained(str(folder), local_files_only=True).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.to(device())


def save_network(model: Any, folder: Path) -> None:
    """Write a network in the hub's form, as safetensors."""
    model.save_pretrained(str(folder), safe_serialization=True, max_shard_size="1000GB")


def device() -> torch.device:
    """Where pretrained networks run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast() -> Any:
    """bfloat16 on a GPU; on a CPU nothing changes, and so do no tokens."""
    return torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_available())
