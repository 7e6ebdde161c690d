"""How a stage is trained, and weights from elsewhere: keys that every trained system has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_serializer, model_validator

from etude.config.base import Distinct, Section, UserPath, fault

MomentDecay = Annotated[float, Field(ge=0, lt=1)]


class TrainingSettings(Section):
    """How a stage is trained; counted in steps, never in seconds."""

    steps: int = Field(200, ge=1, description="optimiser steps")
    batch_size: int = Field(16, ge=1, description="sequences in a batch")
    accumulate: int = Field(1, ge=1, description="batches added up for one step")
    # A key that is not used retrains nothing.
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        exclude_if=lambda name: name == "adamw",
        description="muon: Muon on the weight matrices of linear and recurrent layers, AdamW on "
        "embeddings, heads, norms and biases",
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak learning rate (AdamW)")
    muon_learning_rate: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda rate: rate is None,
        description="peak learning rate of Muon, on the same schedule (none: 4 x learning_rate)",
    )
    schedule: Literal["cosine", "constant", "linear", "one_cycle"] = Field(
        "cosine", description="after the warm-up; one_cycle: a cosine up from peak / 25 and down"
    )
    warmup_steps: int = Field(30, ge=0, description="steps of warm-up, linear but for one_cycle")
    final_ratio: float = Field(
        0.02, ge=0, le=1, description="last learning rate / peak (all but constant)"
    )
    weight_decay: float = Field(
        0.01, ge=0, description="weight decay, except on norms, biases and embeddings"
    )
    betas: tuple[MomentDecay, MomentDecay] = Field((0.9, 0.99), description="AdamW's moment decays")
    clip_norm: float = Field(1.0, gt=0, description="gradient norm is clipped to this")
    validate_every: int = Field(50, ge=1, description="steps between validations")
    validate_items: int = Field(
        128, ge=1, description="validation sequences; a fixed sample if the split has more"
    )
    save_every: int = Field(100, ge=1, description="steps between saves of the resumable state")
    audition: bool = Field(
        False, description="at each validation sample and decode clips for TensorBoard"
    )
    keep_steps: Annotated[list[PositiveInt], Distinct] = Field(
        [], description="steps whose weights are kept as outputs, at most `steps`"
    )
    train_items: int | None = Field(
        None, ge=1, description="train on the first this many sequences only (to overfit)"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16: matrix products in bfloat16, weights and sums in float32"
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="validate and write a moving average of the weights (0.999 is usual)",
    )
    use: Literal["last", "best"] = Field(
        "last", description="which weights are written; best: those with the lowest validation loss"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after this many validations without a lower loss"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of the target that is spread over all tokens"
    )
    forgetful_mask: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of earlier tokens that are hidden in training (audiolm-pytorch: 0.15)",
    )
    compile: bool = Field(
        False,
        exclude_if=lambda wanted: not wanted,
        description="compile the network (torch.compile; needs a C++ compiler)",
    )
    checkpoint_activations: bool = Field(
        False,
        exclude_if=lambda wanted: not wanted,
        description="compute each block twice instead of keeping its activations: less memory",
    )
    devices: int = Field(
        1,
        ge=1,
        exclude_if=lambda number: number == 1,
        description="GPUs of one machine (or processes, without any) that share each batch",
    )
    tracking: Annotated[list[Literal["tensorboard", "wandb"]], Distinct] = Field(
        ["tensorboard"],
        exclude_if=lambda names: names == ["tensorboard"],
        description="where curves are sent; install wandb by hand",
    )

    @property
    def items_seen(self) -> int:
        """Sequences that all steps together see."""
        return self.steps * self.batch_size * self.accumulate

    @property
    def muon_ratio(self) -> float:
        """Muon's learning rate / AdamW's."""
        if self.muon_learning_rate is None:
            return 4.0
        return self.muon_learning_rate / self.learning_rate

    @model_validator(mode="after")
    def _devices_get_something(self) -> TrainingSettings:
        if self.batch_size < self.devices:
            raise fault(
                "batch-too-small",
                f"batch_size: {self.batch_size} is less than devices {self.devices}",
            )
        if self.devices > 1 and self.audition:
            raise fault("audition-on-several-devices", "audition: only with `devices: 1`")
        return self

    @model_validator(mode="after")
    def _kept_steps_are_made(self) -> TrainingSettings:
        if self.keep_steps and max(self.keep_steps) > self.steps:
            raise fault(
                "step-never-made",
                f"keep_steps: step {max(self.keep_steps)} is never made; steps is {self.steps}",
            )
        return self


class Weights(Section):
    """Weights from elsewhere, in place of a training or as its beginning."""

    path: UserPath | None = Field(
        None,
        description="a stage's folder as in results/models/, a folder of `etude export`, or a "
        "file: .safetensors; .pt, .pth, .bin and .ckpt are pickles and need `sha256` or `trust`",
    )
    pretrained: str | None = Field(
        None,
        exclude_if=lambda name: name is None,  # a key that is not used retrains nothing
        description="in place of `path`: a name from `pretrained`, for systems that take them",
    )
    fine_tune: bool = Field(
        False, description="continue training from these weights; false: use them as they are"
    )
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="hash that the file must have"
    )
    trust: bool = Field(
        False, description="load any pickle, even one that can run its author's code"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Weights:
        if (self.path is None) == (self.pretrained is None):
            raise fault("not-one-place", ": needs one of `path` and `pretrained`")
        return self

    @field_serializer("path", when_used="json")
    def _name_only(self, path: Path | None) -> str | None:
        """The file is a rule's input; params and results do not say on which machine it lay."""
        return path.name if path else None


def path_alone(value: Any) -> Any:
    """Weights of which only the path is named."""
    return {"path": value} if isinstance(value, str | Path) else value


class Seeds(Section):
    """Every training seed is evaluated with every generation seed."""

    train: Annotated[list[NonNegativeInt], Distinct] = Field(
        [0], min_length=1, description="training seeds, each once"
    )
    generate: Annotated[list[NonNegativeInt], Distinct] = Field(
        [0], min_length=1, description="generation seeds (draws), each once"
    )


class Sampling(Section):
    """How tokens are drawn."""

    temperature: float = Field(1.0, ge=0, description="0 is greedy")
    top_k: int | None = Field(32, ge=1, description="only the k likeliest; none: all")
    top_p: float | None = Field(None, gt=0, le=1, description="only the likeliest up to this mass")
    top_share: float | None = Field(
        None,
        gt=0,
        le=1,
        exclude_if=lambda share: share is None,  # an unused key generates nothing again
        description="only this share of the vocabulary, the likeliest (audiolm-pytorch: 0.1)",
    )
