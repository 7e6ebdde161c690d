"""The network of a stage: Étude's transformer, or a class of the user's.

What a network must offer, made from `codebook_sizes` (ids of each codebook) and its options:

* `forward(tokens [B, T], layout) -> hidden [B, T, dim]`; position i may see only 0 ... i. The
  layout says where the positions stand: `codebooks` (long [T]), `times` (float [T], in frames).
* `logits(hidden [..., dim], codebook) -> [..., codebook_sizes[codebook]]`.
* if it can: `cache(batch, length)`, an object that `forward` then gets as third argument, with the
  new positions only. Without one sampling runs over the whole sequence at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from etude import plugins
from etude.config.networks import PluginNetwork
from etude.config.systems.audiolm import AudioLmPytorch, Network
from etude.systems.audiolm.codebook_transformer import CodebookTransformer

NEEDS = ("forward", "logits", "state_dict")


def build_network(codebook_sizes: list[int], network: Network | PluginNetwork) -> Any:
    """The network for these codebooks, freshly initialised.

    Raises:
        UserError: a class of the user's that is not there or does not fit its options.
    """
    if isinstance(network, Network):
        return CodebookTransformer(codebook_sizes, network)
    return plugins.instantiate(network.kind, network.options, NEEDS, codebook_sizes=codebook_sizes)


def read_network(values: Mapping[str, Any]) -> Network | AudioLmPytorch | PluginNetwork:
    """The settings that a stage's config.json holds."""
    if "backend" in values:
        return AudioLmPytorch.model_validate(values)
    return (PluginNetwork if "kind" in values else Network).model_validate(values)


def can_cache(network: nn.Module) -> bool:
    """Whether sampling may hand it new positions only."""
    return hasattr(network, "cache")
