"""The original's network of phrases: T5's encoder and decoder, as transformers has them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.t5.modeling_t5 import T5Stack

from etude.config.phrases import T5

VERSION = 2  # raised when the same weights compute other values


class T5Cache:
    """transformers' cache with the memory that it belongs to."""

    def __init__(self, memory: Tensor, keep: Tensor | None) -> None:
        self.memory, self.keep = memory, keep
        self.inner = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def select(self, rows: Tensor) -> None:
        """Go on with these rows of the batch alone."""
        self.memory = self.memory[rows]
        self.keep = None if self.keep is None else self.keep[rows]
        self.inner.batch_select_indices(rows)


class T5Network(nn.Module):
    """Embedded tokens -> states; ids and a memory -> logits of the next ids."""

    def __init__(self, network: T5, vocabulary: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Embedding(vocabulary, network.dim)  # of standard normal numbers
        self.encoder, self.decoder = (_stack(network, decodes) for decodes in (False, True))

    @property
    def width(self) -> int:
        """Numbers of a state."""
        return self.network.dim

    def encode(self, x: Tensor, keep: Tensor) -> Tensor:
        """Embedded tokens [B, T, dim], and which are no padding [B, T] -> states [B, T, dim]."""
        states: Tensor = self.encoder(inputs_embeds=x, attention_mask=keep.long()).last_hidden_state
        return states

    def start(self, memory: Tensor, length: int, keep: Tensor | None = None) -> T5Cache:
        """An empty cache after a memory [B, M, dim]; its length grows by itself."""
        return T5Cache(memory, keep)

    def next(self, ids: Tensor, cache: T5Cache, added: Tensor | None = None) -> Tensor:
        """Logits [B, vocabulary] after one more id each (long [B]); added: as in `logits`."""
        x = self.embedding(ids[:, None])
        x = x if added is None else x + added[:, None]
        return self._decode(x, cache.memory, cache.keep, cache.inner)[:, 0]

    def logits(  # noqa: D102 (as RotaryNetwork's)
        self, ids: Tensor, memory: Tensor, keep: Tensor | None = None, added: Tensor | None = None
    ) -> Tensor:
        x = self.embedding(ids)
        return self._decode(x if added is None else x + added, memory, keep, None)

    def _decode(
        self, x: Tensor, memory: Tensor, keep: Tensor | None, cache: EncoderDecoderCache | None
    ) -> Tensor:
        if keep is None:
            keep = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
        states = self.decoder(
            inputs_embeds=x,
            encoder_hidden_states=memory,
            encoder_attention_mask=keep.long(),
            cache=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        # Tied embeddings are scaled (Raffel et al., arXiv 1910.10683, as in Mesh TensorFlow).
        return F.linear(states * self.width**-0.5, self.embedding.weight)


def _stack(network: T5, decodes: bool) -> Any:
    """T5's encoder or decoder without embeddings, which both share."""
    stack: Any = T5Stack(
        T5Config(
            d_model=network.dim,
            d_ff=network.inner,
            d_kv=network.head_dim,
            num_layers=network.layers,
            num_heads=network.heads,
            dropout_rate=network.dropout,
            is_decoder=decodes,
            use_cache=decodes,
            vocab_size=1,
            eos_token_id=None,
            pad_token_id=None,
        )
    )
    stack.embed_tokens = None
    return stack
