"""Pretrained networks: where their weights come from, and the tokenizers that are made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_serializer, model_validator

from etude.config.base import BRING, Section, UserPath
from etude.config.tokens_fit import Fit

PRETRAINED_KINDS = ("hubert", "encodec")  # of tokenizers
RATE_OF_50_HZ = 32000  # of the EnCodec that MusicGen was trained with


PretrainedKind = Literal[
    "hubert",
    "encodec",
    "clap",
    "kmeans",
    "text_to_music",
    "melody_to_music",
    "text_to_sound",
    "checkpoint",
]


class Pretrained(Section):
    """Weights that somebody else trained; fetched once, then used from results/pretrained/."""

    kind: PretrainedKind = Field(
        description="what they are: HuBERT, EnCodec, CLAP (transformers' classes), the centres of "
        "a k-means, or a MusicGen (transformers' classes): small, medium or large "
        "(text_to_music), or one that follows melodies too (melody_to_music); text_to_sound: a "
        "Stable Audio Open or Stable Audio 3 (diffusers' classes); checkpoint: a stage's weights "
        "as another program saved them"
    )
    hub: str | None = Field(
        None, description="a name on the Hugging Face hub, as in facebook/hubert-base-ls960"
    )
    revision: str | None = Field(None, description="commit, tag or branch on the hub")
    path: UserPath | None = Field(
        None,
        description="a local folder in the hub's form (config.json, model.safetensors), or a file: "
        "fairseq's .pt (HuBERT), joblib's .bin or .npy (k-means), stable-audio-tools' .ckpt or "
        ".safetensors with model_config.json and the T5 in text_encoder/ beside it",
    )
    file: str | None = Field(
        None,
        pattern=r"^[^/\\]+(/[^/\\]+)*$",
        exclude_if=lambda name: name is None,  # an unused key fetches nothing again
        description="kind checkpoint: which file of the hub's repository or of the folder",
    )
    url: str | None = Field(None, description="https address of such a file; needs `sha256`")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="hash that the file (or model file) must have"
    )
    trust: bool = Field(
        False, description="read a pickle (.pt, .bin, .ckpt) whose sha256 is not given here"
    )
    bring: str | None = Field(None, exclude=True, description=BRING)
    verify: Literal["strict", "report"] = Field(
        "strict",
        description="`strict`: nothing runs on weights that fail verify_models; `report`: they "
        "are used anyway, and every report says so (for weights that are small or "
        "random on purpose)",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Pretrained:
        places = [name for name in ("hub", "path", "url") if getattr(self, name) is not None]
        if len(places) != 1:
            found = f"it has {' and '.join(places)}" if places else "it has none"
            raise ValueError(f"needs exactly one of hub, path and url; {found}")
        if self.kind == "checkpoint" and self.hub and not self.file:
            raise ValueError("a checkpoint of a hub needs `file`: which one of the repository")
        if self.url and not self.sha256:
            raise ValueError("`url` needs `sha256`: who answers at an address can change")
        return self

    @field_serializer("path", when_used="json")
    def _name_only(self, path: Path | None) -> str | None:
        """The file is a rule's input; params and results do not say where it lay."""
        return path.name if path else None


class Hubert(Section):
    """Semantic: k-means over one layer of a HuBERT, as AudioLM takes them from w2v-BERT."""

    kind: Literal["hubert"]
    model: str = Field("hubert", description="a name from `pretrained`, of kind hubert")
    layer: int = Field(9, ge=0, description="hidden state that is clustered; 0 is the input's")
    clusters: int = Field(500, ge=2, description="size of the vocabulary")
    centres: str | None = Field(
        None,
        description="a name from `pretrained`, of kind kmeans, instead of fitting; it must have "
        "`clusters` centres",
    )
    normalize: bool = Field(
        False,
        description="bring each segment to mean 0 and deviation 1 first (fairseq's HuBERT base "
        "and we-sharp do not)",
    )
    iterations: int = Field(10, ge=1, description="k-means iterations")
    batch_seconds: float = Field(32.0, gt=0, description="seconds of audio in one batch")
    fit: Fit = Fit()
    sample_rate: int = Field(16000, ge=4000, description="the network's own rate")

    @property
    def shortest(self) -> int:
        """Samples that one frame needs (the receptive field of HuBERT's convolutions)."""
        return 400

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return 320


class Encodec(Section):
    """Acoustic: EnCodec's residual codes, and its decoder (Défossez et al., arXiv 2210.13438)."""

    kind: Literal["encodec"]
    model: str = Field("encodec", description="a name from `pretrained`, of kind encodec")
    quantizers: int = Field(
        8, ge=1, le=128, description="codebooks in use; 8 are 6 kbps of the 24 kHz model"
    )
    batch_seconds: float = Field(32.0, gt=0, description="seconds of audio in one batch")
    fit: Fit = Fit()
    sample_rate: int = Field(24000, ge=4000, description="the network's own rate")

    @property
    def shortest(self) -> int:
        """Samples that one frame needs (the stride of EnCodec's convolutions)."""
        return self.hop

    @property
    def hop(self) -> int:
        """Samples between frames: 75 frames a second of the 24 kHz model, 50 of the 32 kHz one."""
        return 640 if self.sample_rate == RATE_OF_50_HZ else 320
