"""The network: text encoder, projection and transformer, the libraries' classes in two sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from tokenizers import Tokenizer
from torch import Tensor

from etude.clips.sampling import ClipStreams
from etude.config.sound import HEAD, SoundTransformer
from etude.diffusion.predictions import noised, squared_error, stratified
from etude.diffusion.schedules import Schedule
from etude.pretrained.sound import FAMILIES, make_part, read_networks
from etude.storage import atomic
from etude.systems.base import Batch
from etude.systems.musicgen.texts import TOKENIZER, read_tokenizer
from etude.systems.stable_audio.conditioning import TELLING, Conditioning
from etude.systems.stable_audio.texts import as_ids
from etude.systems.stage_module import StageModule
from etude.systems.weights import load_weights

VERSION = 1  # raised when the same seed gives other weights, or a batch another loss

EMBEDDED = "open"  # the family that the embedded network is of
PARTS = ("text_encoder", "projection", "transformer")
TEXT_HEADS = 4
OWN = "default"  # peft's name of an experiment's own adapter
VALIDATION_TIMES = 4  # at which each validation item is denoised


class Sound(StageModule):
    """Text and seconds -> latents.

    Args:
        shape: `channels`, `frame_rate`, `frames` (of a window), `vocabulary`; `mean`, `deviation`,
            `percentile` and `silence` of the latents; `spans` (start and total seconds of some
            training windows); of pretrained networks also `family`, `configs` (of their parts) and
            `text_length`.
        settings: the sizes of the network; of pretrained ones only schedule and masks count.
        tokenizer: of texts.
    """

    stage, version, Settings = "dit", VERSION, SoundTransformer
    files: ClassVar[tuple[str, ...]] = (TOKENIZER,)
    settings: SoundTransformer
    mean: Tensor
    deviation: Tensor
    text_encoder: Any
    projection: Any
    transformer: Any

    def __init__(
        self, shape: Mapping[str, Any], settings: SoundTransformer | None, tokenizer: Tokenizer
    ) -> None:
        settings = settings or SoundTransformer()
        super().__init__(shape, settings)
        family, configs = str(shape.get("family", EMBEDDED)), configurations(shape, settings)
        self.telling = TELLING[family]
        for part in PARTS:
            self.add_module(part, make_part(family, part, configs[part]))
        self.tokenizer = tokenizer
        self.schedule = Schedule(settings.schedule)
        if self.pretrained:  # as its authors left it in their own training
            self.text_encoder.requires_grad_(False)
        for name in ("mean", "deviation"):  # in config.json, not among the weights
            values = torch.tensor(shape[name]).float()[:, None]
            self.register_buffer(name, values, persistent=False)

    @property
    def pretrained(self) -> bool:
        """Whether its sizes are those of somebody else's network."""
        return "configs" in self.shape

    @property
    def text_length(self) -> int:
        """Tokens of a text."""
        return int(self.shape.get("text_length", self.settings.text_length))

    def train(self, mode: bool = True) -> Self:
        """As every module; a pretrained text encoder stays as it is used."""
        super().train(mode)
        if self.pretrained:
            self.text_encoder.eval()
        return self

    # ------------------------------------------------------------------------------ conditions

    def conditioning(self, ids: Tensor, mask: Tensor, start: Tensor, total: Tensor) -> Conditioning:
        """What the DiT sees of texts (ids, mask [B, L]) and seconds (start, total [B])."""
        return self.telling.conditioning(self, ids, mask, start, total)

    def conditioning_of(
        self, texts: Sequence[str], spans: Sequence[tuple[float, float]]
    ) -> Conditioning:
        """The same of texts as they are written; spans are start and total seconds."""
        found = as_ids(texts, self.tokenizer, self.text_length, bare=self.telling.bare)
        start, total = torch.tensor(spans, dtype=torch.float32).T
        values = (found["ids"], found["mask"], start, total)
        return self.conditioning(*(value.to(self.device) for value in values))

    def velocity(self, x: Tensor, time: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        """What is predicted of noisy latents [B, channels, T] at times [B]."""
        return self.telling.velocity(self.transformer, x, time, conditioning)

    # -------------------------------------------------------------------------------- training

    def standardised(self, latents: Tensor) -> Tensor:
        """Latents [B, channels, T] on the scale that the network knows."""
        return (latents.float() - self.mean) / self.deviation

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error of the velocity.

        Args:
            batch: latents [B, channels, T], there [B, T] (bool: not after the end), ids and mask
                [B, L], start, total and places [B]. In training noise and times are random, else
                decided by the places, each item at VALIDATION_TIMES times.
        """
        x0 = self.standardised(batch["latents"])
        conditioning = self.conditioning(
            batch["ids"], batch["mask"], batch["start"], batch["total"]
        )
        there = batch["there"] if self.settings.masked else None
        places = batch["places"]
        if self.training:
            errors = [
                self._error(x0, conditioning, stratified(places), torch.randn_like(x0), there)
            ]
        else:
            errors = [
                self._error(x0, conditioning, (places + (part + 0.5) / VALIDATION_TIMES) % 1,
                            self._noise(x0, places, part), there)
                for part in range(VALIDATION_TIMES)
            ]  # fmt: skip
        return torch.stack(errors).mean(), {"count": len(x0)}

    def _error(
        self,
        x0: Tensor,
        conditioning: Conditioning,
        places: Tensor,
        noise: Tensor,
        there: Tensor | None,
    ) -> Tensor:
        time = self.schedule.snap(places)
        noisy, wanted = noised(self.schedule, "v", x0, noise, time)
        output = self.velocity(noisy, time.to(x0.device), conditioning)
        return squared_error(output.transpose(1, 2), wanted.transpose(1, 2), there)

    @staticmethod
    def _noise(latents: Tensor, places: Tensor, part: int) -> Tensor:
        """Noise like the latents, from the places: it is always the same."""
        seeds = [int(place * 2**40) + part for place in places.tolist()]
        rows, channels, frames = latents.shape
        streams = ClipStreams(seeds, latents.device)
        return streams.normal([frames] * rows, channels).transpose(1, 2)

    # ---------------------------------------------------------------------------------- files

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """As every stage's, with the files that belong to it."""
        return super().config(tokenizers) | {"files": list(self.files)}

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """As every stage's, with the tokenizer of its texts."""
        super().save(folder, tokenizers)
        with atomic(folder / TOKENIZER) as temporary:
            self.tokenizer.save(str(temporary))

    @classmethod
    def blank(cls, shape: Mapping[str, Any], network: Any, folder: Path) -> Self:
        """As `load` builds a stage before it takes its weights in."""
        return cls(shape, network, read_tokenizer(folder))


def configurations(
    shape: Mapping[str, Any], settings: SoundTransformer
) -> dict[str, dict[str, Any]]:
    """What the classes of the parts are made from."""
    if "configs" in shape:
        return dict(shape["configs"])
    return {
        "text_encoder": {
            "vocab_size": shape["vocabulary"],
            "d_model": settings.text_dim,
            "d_kv": settings.text_dim // TEXT_HEADS,
            "d_ff": 4 * settings.text_dim,
            "num_layers": settings.text_layers,
            "num_heads": TEXT_HEADS,
            "dropout_rate": 0.0,
        },
        "projection": {
            "text_encoder_dim": settings.text_dim,
            "conditioning_dim": settings.text_dim,
            "min_value": 0,
            "max_value": settings.longest,
        },
        "transformer": {
            "sample_size": shape["frames"],
            "in_channels": shape["channels"],
            "out_channels": shape["channels"],
            "num_layers": settings.layers,
            "attention_head_dim": HEAD,
            "num_attention_heads": settings.heads,
            "num_key_value_attention_heads": settings.key_heads,
            "cross_attention_dim": settings.text_dim,
            "cross_attention_input_dim": settings.text_dim,
            "global_states_input_dim": 2 * settings.text_dim,
            "time_proj_dim": settings.time_dim,
        },
    }


def from_pretrained(folder: Path, statistics: Mapping[str, Any]) -> Sound:
    """The networks in a folder of results/pretrained/, all but the autoencoder.

    Args:
        statistics: `silence`, `percentile`, `rate` and `hop` of latents. Their scale is not used:
            the networks learned latents as they are.
    """
    config, tensors = read_networks(folder)
    configs = {part: config.configs[part] for part in PARTS}
    transformer = configs["transformer"]
    channels = int(transformer.get("in_channels") or transformer["io_channels"])
    shape = {
        "family": config.family,
        "configs": configs,
        "text_length": config.text_length,
        "channels": channels,
        "mean": [0.0] * channels,
        "deviation": [1.0] * channels,
        "frame_rate": statistics["rate"] / statistics["hop"],
        "frames": int(transformer.get("sample_size", 1)),
        "spans": [],
        **{key: statistics[key] for key in ("silence", "percentile")},
    }
    settings = SoundTransformer.model_validate({"schedule": FAMILIES[config.family].schedule})
    model = Sound(shape, settings, read_tokenizer(folder))
    own = {name: t for name, t in tensors.items() if name.partition(".")[0] in PARTS}
    load_weights(model, own, folder)
    return model.eval()


def set_strength(
    network: Sound, strength: float, others: Mapping[str, float] | None = None
) -> None:
    """How strongly the adapters in a network count; 0: not at all, 1: as learned.

    Args:
        others: of adapters beside its own, by name (none: 1).
    """
    from peft.tuners.lora import LoraLayer

    known = {OWN: strength} | dict(others or {})
    for part in network.transformer.modules():
        if isinstance(part, LoraLayer):
            for name in part.active_adapters:
                part.set_scale(name, known.get(name, 1.0))
