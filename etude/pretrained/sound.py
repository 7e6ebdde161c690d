"""Text-to-sound networks that others trained: their parts as one, in one form, from three.

A model has a text encoder, a projection of the seconds, a transformer and an autoencoder. Read are
    * a pipeline's folder of diffusers (model_index.json): Stable Audio Open and Stable Audio 3;
    * stable-audio-tools' file with model_config.json beside it, and the T5 in text_encoder/, which
      such files lack: Stable Audio Open only;
    * the form of results/pretrained/: model.safetensors, whose names begin with the part's, and
      config.json (family, text_length, and what each part's class is made from).
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from etude.errors import UserError
from etude.pretrained.sound_names import Tensors, configs_of, to_diffusers
from etude.storage import read_json, write_json

VERSION = 1  # raised when the same weights give another folder

PARTS = ("text_encoder", "projection", "transformer", "autoencoder")
WEIGHTS, TOKENIZER, INDEX = "model.safetensors", "tokenizer.json", "model_index.json"
MODEL_CONFIG = "model_config.json"  # of stable-audio-tools
TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class Family:
    """Where classes of a family's parts are (module:class), and their folders in a pipeline."""

    pipeline: str
    classes: Mapping[str, str]
    folders: Mapping[str, str]
    text_length: int  # tokens
    schedule: str


FAMILIES = {
    "open": Family(
        "StableAudioPipeline",
        {
            "text_encoder": "transformers:T5EncoderModel",
            "projection": "diffusers.pipelines.stable_audio.modeling_stable_audio"
            ":StableAudioProjectionModel",
            "transformer": "diffusers.models.transformers.stable_audio_transformer"
            ":StableAudioDiTModel",
            "autoencoder": "diffusers.models.autoencoders.autoencoder_oobleck:AutoencoderOobleck",
        },
        dict(zip(PARTS, ("text_encoder", "projection_model", "transformer", "vae"), strict=True)),
        128,
        "cosine",
    ),
    "three": Family(
        "StableAudio3Pipeline",
        {
            "text_encoder": "transformers:T5GemmaEncoderModel",
            "projection": "diffusers.pipelines.stable_audio_3.modeling_stable_audio_3"
            ":StableAudio3DurationEmbedder",
            "transformer": "diffusers.models.transformers.transformer_stable_audio3"
            ":StableAudio3DiTModel",
            "autoencoder": "diffusers.models.autoencoders.autoencoder_same:AutoencoderSAME",
        },
        dict(zip(PARTS, ("text_encoder", "duration_embedder", "transformer", "vae"), strict=True)),
        256,
        "flow",
    ),
}


@dataclass(frozen=True)
class SoundConfig:
    """What the networks are made from: `configs` by part, as their own classes write them."""

    family: str
    text_length: int
    configs: dict[str, dict[str, Any]]
    model_type: ClassVar[str] = "text_to_sound"


def part_class(family: str, part: str) -> Any:
    """The class of a part."""
    module, _, name = FAMILIES[family].classes[part].partition(":")
    return getattr(importlib.import_module(module), name)


def make_part(family: str, part: str, config: Mapping[str, Any]) -> Any:  # a Module
    """A part with random weights; of a T5 the stack alone: its class has one table twice."""
    kind = part_class(family, part)
    if not FAMILIES[family].classes[part].startswith(TRANSFORMERS):
        return kind.from_config(dict(config))
    return _stack(kind(kind.config_class(**config)))


def _stack(whole: Any) -> nn.Module:
    """A text encoder without what its class has around it: itself but for T5."""
    stack: nn.Module = whole.encoder if hasattr(whole, "shared") else whole
    return stack


class SoundNetworks(nn.Module):
    """All parts, each under its name."""

    config_class = SoundConfig

    def __init__(self, config: SoundConfig) -> None:
        super().__init__()
        self.config = config
        for part in PARTS:
            self.add_module(part, make_part(config.family, part, config.configs[part]))

    @classmethod
    def from_pretrained(
        cls, folder: str, *, output_loading_info: bool = False, **_: Any
    ) -> SoundNetworks | tuple[SoundNetworks, dict[str, list[str]]]:
        """As the libraries' classes load theirs, from any of the three forms.

        Raises:
            OSError, ValueError, RuntimeError, KeyError: something is missing or damaged.
        """
        config, tensors = read_networks(Path(folder))
        with torch.device("meta"):
            made = cls(config)
        wanted = made.state_dict()
        wrong = [n for n, t in tensors.items() if n in wanted and t.shape != wanted[n].shape]
        fitting = {n: t for n, t in tensors.items() if n in wanted and n not in wrong}
        missing = [name for name in wanted if name not in tensors]
        if missing or wrong:  # what is not there is told, and stays random
            made = cls(config)
        made.load_state_dict(fitting, strict=False, assign=True)
        info = {"missing_keys": missing, "mismatched_keys": wrong}
        return (made.eval(), info) if output_loading_info else made.eval()

    def save_pretrained(self, folder: str, **_: Any) -> None:
        """Write the form of results/pretrained/."""
        tensors = {
            name: tensor.detach().cpu().float().contiguous()
            for name, tensor in self.state_dict().items()
        }
        save_file(tensors, Path(folder) / WEIGHTS)
        content = {"model_type": self.config.model_type, **asdict(self.config)}
        write_json(Path(folder) / "config.json", content)


# ------------------------------------------------------------------------------------- reading


def weights_file(given: Path) -> Path:
    """The file whose hash stands for weights that a user names: of a pipeline the transformer's.

    Raises:
        UserError: the folder or file is of no form that is read.
    """
    if given.is_file():
        return given
    if (given / INDEX).is_file():
        found = sorted((given / "transformer").glob("*.safetensors"))
        if found:
            return found[0]
    names = (WEIGHTS, "model.ckpt")
    configured = any((given / name).is_file() for name in (MODEL_CONFIG, "config.json"))
    if configured and (own := next((given / n for n in names if (given / n).is_file()), None)):
        return own
    raise UserError(
        "this folder holds no text-to-sound model",
        code="not-a-sound-model",
        where=str(given),
        why=f"there is neither {INDEX} with transformer/*.safetensors (diffusers) nor "
        f"{MODEL_CONFIG} with {' or '.join(names)} (stable-audio-tools)",
        do="give the folder that `hf download` fetched, or a file of stable-audio-tools with "
        f"{MODEL_CONFIG} beside it",
    )


def read_networks(given: Path) -> tuple[SoundConfig, Tensors]:
    """The configuration and all tensors, by names that begin with the part's."""
    folder = given if given.is_dir() else given.parent
    if given.is_dir() and (folder / INDEX).is_file():
        return _read_pipeline(folder)
    if (folder / MODEL_CONFIG).is_file():
        return _read_tools(weights_file(given), folder)
    about = read_json(folder / "config.json")
    about.pop("model_type")
    return SoundConfig(**about), load_file(folder / WEIGHTS)


def _read_pipeline(folder: Path) -> tuple[SoundConfig, Tensors]:
    name = read_json(folder / INDEX).get("_class_name")
    family = next((key for key, found in FAMILIES.items() if found.pipeline == name), None)
    if family is None:
        known = ", ".join(found.pipeline for found in FAMILIES.values())
        raise ValueError(f"{INDEX} is of a {name}; read are {known}")
    configs: dict[str, dict[str, Any]] = {}
    tensors: Tensors = {}
    for part in PARTS:
        place = folder / FAMILIES[family].folders[part]
        configs[part], found = _read_part(family, part, place)
        tensors |= {f"{part}.{key}": tensor for key, tensor in found.items()}
    settings = folder / "tokenizer" / "tokenizer_config.json"
    length = read_json(settings).get("model_max_length") if settings.is_file() else None
    most = FAMILIES[family].text_length
    return SoundConfig(family, min(int(length or most), most), configs), tensors


def _read_part(family: str, part: str, place: Path) -> tuple[dict[str, Any], Tensors]:
    loaded, info = part_class(family, part).from_pretrained(
        str(place), output_loading_info=True, local_files_only=True
    )
    if info["missing_keys"]:
        lost = sorted(info["missing_keys"])
        raise ValueError(f"{place.name} lacks {len(lost)} tensors, the first is {lost[0]}")
    if FAMILIES[family].classes[part].startswith(TRANSFORMERS):
        return plain(loaded.config.to_diff_dict()), dict(_stack(loaded).state_dict())
    return plain(dict(loaded.config)), dict(loaded.state_dict())


def _read_tools(file: Path, folder: Path) -> tuple[SoundConfig, Tensors]:
    place = folder / "text_encoder"
    if not (place / "config.json").is_file():
        raise ValueError(
            "files of stable-audio-tools have no text encoder: fetch it beside the file, as in "
            "`hf download google-t5/t5-base --local-dir text_encoder`"
        )
    text, inner = _read_part("open", "text_encoder", place)
    configs, length = configs_of(read_json(folder / MODEL_CONFIG), text)
    tensors = {f"text_encoder.{key}": tensor for key, tensor in inner.items()}
    return SoundConfig("open", length, configs), tensors | to_diffusers(read_file(file), configs)


def read_file(file: Path) -> Tensors:
    """Tensors of a file of stable-audio-tools; of a pickle nothing else is made.

    Raises:
        ValueError: it is a state of training, or holds no tensors.
    """
    if file.suffix == ".safetensors":
        return dict(load_file(file))
    content = torch.load(file, map_location="cpu", weights_only=True)
    found = content.get("state_dict", content) if isinstance(content, dict) else {}
    if any(name.startswith(("diffusion.", "diffusion_ema.")) for name in found):
        raise ValueError(
            "this is a state of training; unwrap it first with stable-audio-tools' unwrap_model.py"
        )
    if not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError("there is no state dict in it")
    return dict(found)


def copy_tokenizer(given: Path, folder: Path) -> None:
    """Bring tokenizer.json of the texts along, wherever a form keeps it.

    Raises:
        UserError: there is none.
    """
    base = given if given.is_dir() else given.parent
    places = (base / "tokenizer", base / "text_encoder", base)
    found = next((p / TOKENIZER for p in places if (p / TOKENIZER).is_file()), None)
    if found is None:
        raise UserError(
            f"these weights came without {TOKENIZER}",
            code="text-tokenizer-missing",
            where=str(base),
            why="texts cannot be read without it",
            do=f"fetch them again; {TOKENIZER} lies in tokenizer/, or beside the text encoder",
        )
    shutil.copyfile(found, folder / TOKENIZER)


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what says where it came from."""
    return {key: value for key, value in config.items() if not key.startswith("_")}
