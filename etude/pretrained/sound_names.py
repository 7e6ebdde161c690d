"""Stable Audio Open's tensors by the names of stable-audio-tools and of diffusers, both ways.

One table, `entries`, says which of diffusers' tensors make up one of theirs. Theirs has queries,
keys and values in one matrix, and three kinds of vectors in another shape; all bytes stay. Beside
the table stands `rotary_pos_emb.inv_freq`, which is no weight: it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Configs = Mapping[str, Mapping[str, Any]]

TRANSFORMER, ENCODER = "model.model.", "pretransform.model."
CONDITIONERS = "conditioner.conditioners."
ROTARY = f"{TRANSFORMER}transformer.rotary_pos_emb.inv_freq"
SECONDS = {
    "seconds_start": "start_number_conditioner",
    "seconds_total": "end_number_conditioner",
}
T5_BY_WIDTH = {512: "t5-small", 768: "t5-base", 1024: "t5-large"}
TIME_FEATURES = 256  # which their class fixes


@dataclass(frozen=True)
class TensorName:
    """One of their tensors: its name, diffusers' tensors of which it is the rows, its shape.

    Attributes: form: how the shape differs: `column` [n] -> [n, 1], `vector` [1, n, 1] -> [n].
    """

    theirs: str
    ours: tuple[str, ...]
    form: Literal["same", "column", "vector"] = "same"

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Theirs of diffusers'."""
        whole = torch.cat([tensors[name] for name in self.ours])
        if self.form == "column":
            return whole[:, None].contiguous()
        return whole.reshape(-1) if self.form == "vector" else whole

    def split(self, tensor: Tensor) -> Tensors:
        """Diffusers' of theirs."""
        if self.form == "column":
            tensor = tensor.reshape(-1)
        elif self.form == "vector":
            tensor = tensor.reshape(1, -1, 1)
        parts = tensor.chunk(len(self.ours))
        return {name: part.contiguous() for name, part in zip(self.ours, parts, strict=True)}


def entries(configs: Configs) -> list[TensorName]:
    """The table of a model whose parts have these configurations."""
    found = [*_transformer(configs["transformer"]["num_layers"])]
    found += _projection(configs["projection"])
    return found + list(_autoencoder(len(configs["autoencoder"]["downsampling_ratios"])))


def to_diffusers(theirs: Mapping[str, Tensor], configs: Configs) -> Tensors:
    """Tensors of stable-audio-tools by diffusers' names.

    Raises:
        ValueError: one is missing, or is not known.
    """
    table = entries(configs)
    names = {entry.theirs for entry in table}
    if lost := sorted(names - set(theirs)):
        raise ValueError(f"{len(lost)} tensors are missing, the first is {lost[0]}")
    if more := sorted(set(theirs) - names - {ROTARY}):
        raise ValueError(f"{len(more)} tensors are of no Stable Audio Open, as {more[0]}")
    found: Tensors = {}
    for entry in table:
        found |= entry.split(theirs[entry.theirs])
    return found


def to_tools(ours: Mapping[str, Tensor], configs: Configs) -> Tensors:
    """The way back: tensors by diffusers' names as stable-audio-tools has them."""
    found = {entry.theirs: entry.join(ours) for entry in entries(configs)}
    width = max(configs["transformer"]["attention_head_dim"] // 2, 32)
    found[ROTARY] = 1.0 / (10000 ** (torch.arange(0, width, 2).float() / width))
    return found


# --------------------------------------------------------------------------------------- tables


def _transformer(layers: int) -> Iterator[TensorName]:
    def entry(theirs: str, *ours: str, form: Literal["same", "column"] = "same") -> TensorName:
        return TensorName(TRANSFORMER + theirs, tuple(f"transformer.{name}" for name in ours), form)

    yield entry("timestep_features.weight", "time_proj.weight", form="column")
    for number in (0, 2):
        for theirs, ours in (("to_cond_embed", "cross_attention_proj"),
                             ("to_global_embed", "global_proj")):  # fmt: skip
            yield entry(f"{theirs}.{number}.weight", f"{ours}.{number}.weight")
        for kind in ("weight", "bias"):
            yield entry(f"to_timestep_embed.{number}.{kind}", f"timestep_proj.{number}.{kind}")
    for name in ("preprocess_conv.weight", "postprocess_conv.weight"):
        yield entry(name, name)
    for theirs, ours in (("project_in", "proj_in"), ("project_out", "proj_out")):
        yield entry(f"transformer.{theirs}.weight", f"{ours}.weight")
    for layer in range(layers):
        there, here = f"transformer.layers.{layer}.", f"transformer_blocks.{layer}."
        norms = (("pre_norm", "norm1"), ("cross_attend_norm", "norm2"), ("ff_norm", "norm3"))
        for theirs, ours in norms:
            yield entry(f"{there}{theirs}.gamma", f"{here}{ours}.weight")
            yield entry(f"{there}{theirs}.beta", f"{here}{ours}.bias")
        own = [f"{here}attn1.to_{x}.weight" for x in "qkv"]
        yield entry(f"{there}self_attn.to_qkv.weight", *own)
        cross = [f"{here}attn2.to_{x}.weight" for x in "kv"]
        yield entry(f"{there}cross_attn.to_kv.weight", *cross)
        yield entry(f"{there}cross_attn.to_q.weight", f"{here}attn2.to_q.weight")
        for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2")):
            yield entry(f"{there}{theirs}.to_out.weight", f"{here}{ours}.to_out.0.weight")
        for theirs, ours in (("0.proj", "0.proj"), ("2", "2")):
            for kind in ("weight", "bias"):
                yield entry(f"{there}ff.ff.{theirs}.{kind}", f"{here}ff.net.{ours}.{kind}")


def _projection(config: Mapping[str, Any]) -> Iterator[TensorName]:
    for theirs, ours in SECONDS.items():
        there = f"{CONDITIONERS}{theirs}.embedder.embedding."
        here = f"projection.{ours}.time_positional_embedding."
        for name in ("0.weights", "1.weight", "1.bias"):
            yield TensorName(there + name, (here + name,))
    if config["text_encoder_dim"] != config["conditioning_dim"]:
        for kind in ("weight", "bias"):
            theirs = f"{CONDITIONERS}prompt.proj_out.{kind}"
            yield TensorName(theirs, (f"projection.text_projection.{kind}",))


def _autoencoder(blocks: int) -> Iterator[TensorName]:
    for side in ("encoder", "decoder"):
        there, here = f"{ENCODER}{side}.layers.", f"autoencoder.{side}."
        yield from _convolution(f"{there}0.", f"{here}conv1.")
        for block in range(blocks):
            inner, outer = f"{there}{block + 1}.layers.", f"{here}block.{block}."
            # Encoders end with the change of rate, decoders begin with it.
            first, snake, name = (0, 3, "conv1") if side == "encoder" else (2, 0, "conv_t1")
            yield from _snake(f"{inner}{snake}.", f"{outer}snake1.")
            yield from _convolution(f"{inner}{snake + 1}.", f"{outer}{name}.")
            for unit in range(3):
                yield from _unit(f"{inner}{first + unit}.layers.", f"{outer}res_unit{unit + 1}.")
        yield from _snake(f"{there}{blocks + 1}.", f"{here}snake1.")
        last = f"{there}{blocks + 2}.", f"{here}conv2."
        yield from _convolution(*last, bias=side == "encoder")


def _unit(there: str, here: str) -> Iterator[TensorName]:
    for number, name in enumerate(("snake1", "conv1", "snake2", "conv2")):
        make = _snake if name.startswith("snake") else _convolution
        yield from make(f"{there}{number}.", f"{here}{name}.")


def _snake(there: str, here: str) -> Iterator[TensorName]:
    for name in ("alpha", "beta"):
        yield TensorName(there + name, (here + name,), "vector")


def _convolution(there: str, here: str, *, bias: bool = True) -> Iterator[TensorName]:
    for name in ("weight_g", "weight_v", *(("bias",) if bias else ())):
        yield TensorName(there + name, (here + name,))


# ------------------------------------------------------------------------------- configurations


def configs_of(
    about: Mapping[str, Any], text: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], int]:
    """diffusers' configurations of a model_config.json, and the tokens of a text.

    Args:
        text: the configuration of the text encoder, which is diffusers' and theirs alike.

    Raises:
        ValueError: it is of no model with Stable Audio Open's parts.
    """
    try:
        return _configs_of(about, text)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"model_config.json is of no Stable Audio Open: it lacks {error}"
        ) from None


def _configs_of(
    about: Mapping[str, Any], text: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], int]:
    model, dit = about["model"], about["model"]["diffusion"]["config"]
    conditioners = {entry["id"]: entry["config"] for entry in model["conditioning"]["configs"]}
    sound = model["pretransform"]["config"]
    coder, seconds = sound["encoder"]["config"], conditioners["seconds_total"]
    if dit.get("diffusion_objective", "v") != "v" or dit.get("global_cond_type") == "adaLN":
        raise ValueError("model_config.json is of another model than Stable Audio Open")
    head, width = dit["embed_dim"] // dit["num_heads"], dit["cond_token_dim"]
    transformer = {
        "sample_size": about["sample_size"] // sound["downsampling_ratio"],
        "in_channels": dit["io_channels"],
        "out_channels": dit["io_channels"],
        "num_layers": dit["depth"],
        "attention_head_dim": head,
        "num_attention_heads": dit["num_heads"],
        "num_key_value_attention_heads": width // head,
        "cross_attention_dim": width,
        "cross_attention_input_dim": width,
        "global_states_input_dim": dit["global_cond_dim"],
        "time_proj_dim": TIME_FEATURES,
    }
    projection = {
        "text_encoder_dim": text["d_model"],
        "conditioning_dim": model["conditioning"]["cond_dim"],
        "min_value": seconds["min_val"],
        "max_value": seconds["max_val"],
    }
    autoencoder = {
        "encoder_hidden_size": coder["channels"],
        "downsampling_ratios": list(coder["strides"]),
        "channel_multiples": list(coder["c_mults"]),
        "decoder_channels": sound["decoder"]["config"]["channels"],
        "decoder_input_channels": sound["latent_dim"],
        "audio_channels": sound["io_channels"],
        "sampling_rate": about["sample_rate"],
    }
    configs = {
        "text_encoder": dict(text),
        "projection": projection,
        "transformer": transformer,
        "autoencoder": autoencoder,
    }
    return configs, int(conditioners["prompt"].get("max_length", 128))


def model_config_of(configs: Configs, text_length: int) -> dict[str, Any]:
    """The way back: model_config.json, as stable-audio-tools makes a model from it.

    Raises:
        ValueError: their class cannot have these sizes.
    """
    sound, dit = configs["autoencoder"], configs["transformer"]
    pretransform = _pretransform_of(sound)
    return {
        "model_type": "diffusion_cond",
        "sample_size": dit["sample_size"] * pretransform["config"]["downsampling_ratio"],
        "sample_rate": sound["sampling_rate"],
        "audio_channels": sound["audio_channels"],
        "model": {
            "pretransform": pretransform,
            "conditioning": _conditioning_of(configs, text_length),
            "diffusion": {
                "cross_attention_cond_ids": ["prompt", *SECONDS],
                "global_cond_ids": list(SECONDS),
                "type": "dit",
                "config": _dit_of(dit),
            },
            "io_channels": sound["decoder_input_channels"],
        },
    }


def _dit_of(dit: Mapping[str, Any]) -> dict[str, Any]:
    head, width = dit["attention_head_dim"], dit["cross_attention_dim"]
    wanted = {
        "time_proj_dim": TIME_FEATURES,
        "num_key_value_attention_heads": width // head,
        "cross_attention_input_dim": width,
    }
    if wrong := [f"{k} {dit[k]}, not {v}" for k, v in wanted.items() if dit[k] != v]:
        raise ValueError(f"stable-audio-tools has no transformer with {', '.join(wrong)}")
    return {
        "io_channels": dit["in_channels"],
        "embed_dim": dit["num_attention_heads"] * head,
        "depth": dit["num_layers"],
        "num_heads": dit["num_attention_heads"],
        "cond_token_dim": width,
        "global_cond_dim": dit["global_states_input_dim"],
        "project_cond_tokens": False,
        "transformer_type": "continuous_transformer",
    }


def _conditioning_of(configs: Configs, text_length: int) -> dict[str, Any]:
    projection = configs["projection"]
    seconds = {"min_val": projection["min_value"], "max_val": projection["max_value"]}
    name = T5_BY_WIDTH.get(configs["text_encoder"]["d_model"], "t5-base")
    text = {"t5_model_name": name, "max_length": text_length}
    numbers = [{"id": key, "type": "number", "config": dict(seconds)} for key in SECONDS]
    return {
        "configs": [{"id": "prompt", "type": "t5", "config": text}, *numbers],
        "cond_dim": projection["conditioning_dim"],
    }


def _pretransform_of(sound: Mapping[str, Any]) -> dict[str, Any]:
    channels, audio = sound["decoder_input_channels"], sound["audio_channels"]
    dims = {
        "c_mults": sound["channel_multiples"],
        "strides": sound["downsampling_ratios"],
        "use_snake": True,
    }
    encoder = dims | {"in_channels": audio, "channels": sound["encoder_hidden_size"]}
    decoder = dims | {"out_channels": audio, "channels": sound["decoder_channels"]}
    config = {
        "encoder": {"type": "oobleck", "config": encoder | {"latent_dim": 2 * channels}},
        "decoder": {
            "type": "oobleck",
            "config": decoder | {"latent_dim": channels, "final_tanh": False},
        },
        "bottleneck": {"type": "vae"},
        "latent_dim": channels,
        "downsampling_ratio": math.prod(sound["downsampling_ratios"]),
        "io_channels": audio,
    }
    return {"type": "autoencoder", "iterate_batch": True, "config": config}
