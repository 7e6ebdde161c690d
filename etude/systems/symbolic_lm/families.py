"""The networks of `symbolic_lm`: what config names, as one kind of module.

`next_logits(network, ids, cache)` and `all_logits(network, ids)` are all that training and
sampling use. A network of the user's offers `forward(ids [B, T]) -> logits [B, T, V]`; with
`cache(batch, length)` it gets that as a second argument, with new positions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor, nn

from etude import plugins
from etude.config.systems.symbolic_lm import Gpt2, Llama, MusicTransformer, SymbolicNetwork
from etude.systems.symbolic_lm.music_transformer import MusicTransformerModel, Sizes

NEEDS = ("forward", "state_dict")


def build_network(network: SymbolicNetwork, shape: Mapping[str, Any]) -> nn.Module:
    """A network for `vocabulary` ids and `context` positions, freshly initialised.

    Raises:
        UserError: a class of the user's that is not there or does not fit its options.
    """
    sizes = {key: shape[key] for key in ("vocabulary", "context")}
    if isinstance(network, Gpt2):
        return _gpt2(network, shape)
    if isinstance(network, Llama):
        return _llama(network, shape)
    if isinstance(network, MusicTransformer):
        n = network
        numbers = (sizes["vocabulary"], sizes["context"], n.layers, n.heads, n.dim, n.inner)
        return MusicTransformerModel(Sizes(*numbers, n.dropout))
    model: nn.Module = plugins.instantiate(network.kind, network.options, NEEDS, **sizes)
    return model


def read_network(values: Mapping[str, Any]) -> SymbolicNetwork:
    """The settings that a stage's config.json holds."""
    found: SymbolicNetwork = TypeAdapter(SymbolicNetwork).validate_python(dict(values))
    return found


def _gpt2(network: Gpt2, shape: Mapping[str, Any]) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape["vocabulary"],
        n_positions=shape["context"],
        n_embd=network.dim,
        n_layer=network.layers,
        n_head=network.heads,
        n_inner=network.feed_forward,
        resid_pdrop=network.dropout,
        embd_pdrop=network.dropout,
        attn_pdrop=network.dropout,
        **_specials(shape),
    )
    return GPT2LMHeadModel(config)


def _llama(network: Llama, shape: Mapping[str, Any]) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape["vocabulary"],
        max_position_embeddings=shape["context"],
        hidden_size=network.dim,
        intermediate_size=network.inner,
        num_hidden_layers=network.layers,
        num_attention_heads=network.heads,
        num_key_value_heads=network.key_value_heads or network.heads,
        attention_dropout=network.attention_dropout,
        rope_parameters={"rope_type": "default", "rope_theta": network.rope_base},
        **_specials(shape),
    )
    return LlamaForCausalLM(config)


def _specials(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Special ids under transformers' names; padding is masked here, so none is declared."""
    return {"bos_token_id": shape.get("bos"), "eos_token_id": shape.get("eos")}


def is_theirs(network: nn.Module) -> bool:
    """Whether the network is one of transformers'."""
    return hasattr(network, "prepare_inputs_for_generation")


def all_logits(network: Any, ids: Tensor) -> Tensor:
    """Ids [B, T] -> logits [B, T, V]."""
    if is_theirs(network):
        logits: Tensor = network(input_ids=ids, use_cache=False).logits
        return logits
    found: Tensor = network(ids)
    return found


def next_logits(network: Any, ids: Tensor, cache: Any = None) -> Tensor:
    """Logits after the last of the ids, [B, V]; with a cache the ids are the new ones only."""
    if is_theirs(network):
        known = {"use_cache": False} if cache is None else {"use_cache": True, "cache": cache}
        logits: Tensor = network(input_ids=ids, logits_to_keep=1, **known).logits
    elif isinstance(network, MusicTransformerModel):
        logits = network(ids, cache, last=True)
    else:
        logits = network(ids) if cache is None else network(ids, cache)
    return logits[:, -1]


def open_cache(network: Any, batch: int, length: int) -> Any:
    """A cache for `length` positions; None for a network that has none."""
    if is_theirs(network):
        from transformers.cache_utils import Cache

        return Cache(layers=[_layer(length) for _ in range(network.config.num_hidden_layers)])
    return network.cache(batch, length) if hasattr(network, "cache") else None


def _layer(length: int) -> Any:
    """A layer of transformers' cache in memory that is taken once: theirs copies all at each token.

    Defined here, since importing transformers takes seconds.
    """
    from transformers.cache_utils import DynamicLayer

    class FixedMemory(DynamicLayer):
        """Writes into place and gives views."""

        def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
            shape = (*key_states.shape[:2], length, key_states.shape[3])
            self.all_keys = key_states.new_empty(shape)
            self.all_values = value_states.new_empty(shape)
            self.keys, self.values = self.all_keys[:, :, :0], self.all_values[:, :, :0]
            self.device, self.is_initialized = key_states.device, True

        def update(
            self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            start = self.get_seq_length()
            end = start + key_states.shape[2]
            self.all_keys[:, :, start:end] = key_states
            self.all_values[:, :, start:end] = value_states
            self.keys, self.values = self.all_keys[:, :, :end], self.all_values[:, :, :end]
            return self.keys, self.values

    return FixedMemory()


def tied(network: nn.Module) -> dict[str, str]:
    """Names of weights that are another's, as {name: the other's}."""
    first: dict[int, str] = {}
    found = {}
    for name, tensor in nn.Module.state_dict(network, keep_vars=True).items():
        place = tensor.data_ptr() if tensor.numel() else id(tensor)
        if place in first:
            found[name] = first[place]
        else:
            first[place] = name
    return found
