"""The network of an AudioLM stage: Étude's, the library's that the seed used, or a user's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from etude.config.base import OPTIONS, OWN, ModuleClass, Options, Section


class Network(Section):
    """A decoder-only transformer."""

    dim: int = Field(192, ge=8, description="width")
    depth: int = Field(3, ge=1, description="layers")
    heads: int = Field(4, ge=1, description="attention heads")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in attention and feed-forward")
    rope_base: float = Field(200.0, gt=1, description="base of the rotary embedding over time")

    @model_validator(mode="after")
    def _heads_divide(self) -> Network:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} must be a multiple of 2 x heads ({2 * self.heads})")
        return self


class AudioLmPytorch(Section):
    """The network of the package audiolm-pytorch 2.4.0, as we-sharp trained it."""

    backend: Literal["audiolm_pytorch"] = Field(
        description="chooses this network; docs/audiolm-pytorch.md says how to install it"
    )
    dim: int = Field(1024, ge=8, multiple_of=2, description="width")
    depth: int = Field(6, ge=1, description="layers (we-sharp: 12 in the semantic stage)")
    heads: int = Field(16, ge=1, description="attention heads, each 64 wide whatever `dim` is")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in attention and feed-forward")
    flash_attn: bool = Field(
        False, description="the library's fused attention; it leaves the position bias out"
    )


class OwnNetwork(Section):
    """A network class of your own in place of the transformer."""

    kind: ModuleClass = Field(description="`module:Class`; see CONTRIBUTING.md")
    options: Options = Field({}, description=OPTIONS)


def _chosen(value: Any) -> str:
    """The member of the union: `kind` is the user's own, `backend` a library, neither Étude's."""
    read = value.get if isinstance(value, dict) else lambda key: getattr(value, key, None)
    if read("kind") is not None:
        return OWN
    return str(read("backend") or "Network")


_chosen.__name__ = "backend"  # pydantic's messages name it

AnyNetwork = Annotated[
    Annotated[Network, Tag("Network")]
    | Annotated[AudioLmPytorch, Tag("audiolm_pytorch")]
    | Annotated[OwnNetwork, Tag(OWN)],
    Discriminator(_chosen),
]
