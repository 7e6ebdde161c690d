"""Text-to-sound networks written for other programs: diffusers' pipelines, stable-audio-tools."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from etude.pretrained.sound import (
    FAMILIES,
    INDEX,
    MODEL_CONFIG,
    PARTS,
    TOKENIZER,
    SoundNetworks,
    part_class,
)
from etude.pretrained.sound_names import model_config_of, to_tools
from etude.storage import write_json

# As the pipelines of the hub have them.
SCHEDULERS: dict[str, dict[str, Any]] = {
    "open": {
        "_class_name": "CosineDPMSolverMultistepScheduler",
        "prediction_type": "v_prediction",
        "sigma_data": 1.0,
        "sigma_max": 500,
        "sigma_min": 0.3,
        "sigma_schedule": "exponential",
        "solver_order": 2,
    },
    "three": {"_class_name": "FlowMatchEulerDiscreteScheduler", "stochastic_sampling": False},
}
TOKENIZER_CLASS = "PreTrainedTokenizerFast"


def write_pipeline(networks: SoundNetworks, tokenizer: Path, folder: Path) -> None:
    """Write a folder that diffusers' pipeline of the family loads.

    Args:
        tokenizer: tokenizer.json of its texts.
        folder: gets model_index.json and a folder for each part; it must be there.
    """
    config = networks.config
    family = FAMILIES[config.family]
    index: dict[str, Any] = {"_class_name": family.pipeline}
    for part in PARTS:
        whole, name = _as_class(networks, part), family.folders[part]
        whole.save_pretrained(str(folder / name), safe_serialization=True)
        module = family.classes[part].partition(":")[0].split(".")
        # Parts that belong to a pipeline alone are found in its own module.
        library = module[2] if module[1:2] == ["pipelines"] else module[0]
        index[name] = [library, type(whole).__name__]
    _write_tokenizer(tokenizer, config.text_length, folder / "tokenizer")
    index["tokenizer"] = ["transformers", TOKENIZER_CLASS]
    scheduler = SCHEDULERS[config.family]
    (folder / "scheduler").mkdir()
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    write_json(folder / INDEX, index)


def write_tools(networks: SoundNetworks, tokenizer: Path, folder: Path) -> None:
    """Write model.ckpt and model_config.json of stable-audio-tools, and the T5 in text_encoder/.

    Raises:
        ValueError: their class cannot have these sizes, or is of another family.
    """
    config = networks.config
    if config.family != "open":
        raise ValueError("stable-audio-tools is written for Stable Audio Open only")
    about = model_config_of(config.configs, config.text_length)
    tensors = {name: t.detach().cpu() for name, t in networks.state_dict().items()}
    torch.save({"state_dict": to_tools(tensors, config.configs)}, folder / "model.ckpt")
    write_json(folder / MODEL_CONFIG, about)
    place = folder / "text_encoder"
    _as_class(networks, "text_encoder").save_pretrained(str(place), safe_serialization=True)
    shutil.copyfile(tokenizer, place / TOKENIZER)


def _as_class(networks: SoundNetworks, part: str) -> Any:
    """A part as its library's class, which of a T5 is more than the stack."""
    inner: nn.Module = getattr(networks, part)
    kind = part_class(networks.config.family, part)
    if isinstance(inner, kind):
        return inner
    whole = kind(kind.config_class(**networks.config.configs[part]))
    whole.encoder.load_state_dict(inner.state_dict())
    return whole


def _write_tokenizer(tokenizer: Path, length: int, folder: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    vocabulary = Tokenizer.from_file(str(tokenizer)).get_vocab()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    special |= {"eos_token": "<eos>"} if "</s>" not in vocabulary else {}
    known = {key: word for key, word in special.items() if word in vocabulary}
    made = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), model_max_length=length, **known)
    made.save_pretrained(str(folder))
