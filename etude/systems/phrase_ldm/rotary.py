"""An encoder and a decoder of phrases: pre-norm blocks, rotary positions, tied embeddings.

RMSNorm in front of each part (Zhang and Sennrich, arXiv 1910.07467), rotary positions by index
(RoFormer, arXiv 2104.09864), scaled dot-product attention, no biases. The encoder sees a phrase
from both sides; the decoder sees what it has written, and the memory through cross-attention.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.config.phrases import Rotary

VERSION = 2  # raised when the same weights compute other values

BASE = 1000.0  # of the rotary frequencies: phrases and bars are short
Rotation = tuple[Tensor, Tensor]


class RotaryCache:
    """What the decoder keeps of a batch: keys and values of the memory, and of what it has written.

    Both are [layers, 2, B, heads, positions, head_dim].
    """

    def __init__(self, memory: Tensor, keep: Tensor | None, written: Tensor) -> None:
        self.memory, self.keep, self.written = memory, keep, written
        self.length = 0

    def select(self, rows: Tensor) -> None:
        """Go on with these rows of the batch alone."""
        self.memory, self.written = self.memory[:, :, rows], self.written[:, :, rows]
        self.keep = None if self.keep is None else self.keep[rows]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new positions of a layer and give back all that it has."""
        end = self.length + keys.shape[2]
        self.written[layer, 0, :, :, self.length : end] = keys
        self.written[layer, 1, :, :, self.length : end] = values
        return self.written[layer, 0, :, :, :end], self.written[layer, 1, :, :, :end]


class RotaryBlock(nn.Module):
    """Attention to itself, to a memory where it has one, and a feed-forward part."""

    def __init__(self, network: Rotary, *, crosses: bool) -> None:
        super().__init__()
        dim, inner = network.dim, network.inner
        self.heads, self.dropout = network.heads, network.dropout
        self.norm = nn.RMSNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        if crosses:
            self.cross_norm = nn.RMSNorm(dim)
            self.cross_query = nn.Linear(dim, dim, bias=False)
            self.kv = nn.Linear(dim, 2 * dim, bias=False)
            self.cross_out = nn.Linear(dim, dim, bias=False)
        self.feed_forward = nn.Sequential(
            nn.RMSNorm(dim),
            nn.Linear(dim, inner, bias=False),
            nn.GELU(),
            nn.Linear(inner, dim, bias=False),
            nn.Dropout(network.dropout),
        )

    def forward(
        self,
        x: Tensor,
        rotation: Rotation,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        memory: tuple[Tensor, Tensor, Tensor | None] | None = None,
        cache: tuple[RotaryCache, int] | None = None,
    ) -> Tensor:
        """x [B, T, dim] -> the same shape.

        Args:
            rotation: cos and sin of the positions of x.
            mask: which positions may be seen, bool [B, 1, 1, T]; None: all, or by `causal`.
            memory: its keys and values [B, heads, M, head_dim] and which of it may be seen.
            cache: where new positions are stored, and the layer that this is.
        """
        query, key, value = self._split(self.query_key_value(self.norm(x)), 3)
        query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            key, value = cache[0].write(cache[1], key, value)
        x = x + self.out(self._attend(query, key, value, mask, causal=causal))
        if memory is not None:
            keys, values, keep = memory
            (query,) = self._split(self.cross_query(self.cross_norm(x)), 1)
            x = x + self.cross_out(self._attend(query, keys, values, keep))
        return x + self.feed_forward(x)

    def of_memory(self, memory: Tensor) -> Tensor:
        """Keys and values of a memory [B, M, dim]: [2, B, heads, M, head_dim]."""
        return torch.stack(self._split(self.kv(memory), 2))

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        batch, length, _ = x.shape
        return x.view(batch, length, parts, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        *,
        causal: bool = False,
    ) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, dropout_p=dropout
        )
        return attended.transpose(1, 2).flatten(2)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate the two halves of each head: x [B, heads, T, head_dim], cos and sin [T, half]."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class RotaryNetwork(nn.Module):
    """Embedded tokens -> states; ids and a memory -> logits of the next ids."""

    frequencies: Tensor

    def __init__(self, network: Rotary, vocabulary: int) -> None:
        super().__init__()
        self.network = network
        self.embedding = nn.Embedding(vocabulary, network.dim)
        layers = range(network.layers)
        self.encoder_blocks = nn.ModuleList(RotaryBlock(network, crosses=False) for _ in layers)
        self.decoder_blocks = nn.ModuleList(RotaryBlock(network, crosses=True) for _ in layers)
        self.encoder_norm, self.decoder_norm = nn.RMSNorm(network.dim), nn.RMSNorm(network.dim)
        half = network.dim // network.heads // 2
        frequencies = BASE ** (-torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.apply(self._initialise)
        for name, weight in self.named_parameters():  # each block adds little at first
            if name.endswith(("out.weight", "feed_forward.3.weight")):
                nn.init.zeros_(weight)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):  # so that rows of embeddings have length 1
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)

    @property
    def width(self) -> int:
        """Numbers of a state."""
        return self.network.dim

    def encode(self, x: Tensor, keep: Tensor) -> Tensor:
        """Embedded tokens [B, T, dim], and which are no padding [B, T] -> states [B, T, dim]."""
        rotation, mask = self._rotation(x, 0), keep[:, None, None]
        for block in self.encoder_blocks:
            x = block(x, rotation, mask)
        return self.encoder_norm(x)

    def start(self, memory: Tensor, length: int, keep: Tensor | None = None) -> RotaryCache:
        """An empty cache for up to `length` ids after a memory [B, M, dim]."""
        of_memory = torch.stack([self._block(i).of_memory(memory) for i in range(self._layers)])
        batch, heads = memory.shape[0], self.network.heads
        shape = (self._layers, 2, batch, heads, length, self.width // heads)
        written = torch.zeros(shape, dtype=of_memory.dtype, device=memory.device)
        return RotaryCache(of_memory, keep, written)

    def next(self, ids: Tensor, cache: RotaryCache, added: Tensor | None = None) -> Tensor:
        """Logits [B, vocabulary] after one more id each (long [B]); added: as in `logits`."""
        x = self.embedding(ids[:, None])
        x = x if added is None else x + added[:, None]
        rotation = self._rotation(x, cache.length)
        keep = None if cache.keep is None else cache.keep[:, None, None]
        for layer in range(self._layers):
            keys, values = cache.memory[layer]
            block = self._block(layer)
            x = block(x, rotation, memory=(keys, values, keep), cache=(cache, layer))
        cache.length += 1
        return self._logits(x)[:, 0]

    def logits(
        self,
        ids: Tensor,
        memory: Tensor,
        keep: Tensor | None = None,
        added: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, T, vocabulary] after each of the ids [B, T], given a memory [B, M, dim].

        Args:
            keep: which of the memory is there, bool [B, M]; None: all.
            added: to the embeddings of the ids, [B, T, dim].
        """
        x = self.embedding(ids)
        x = x if added is None else x + added
        rotation = self._rotation(x, 0)
        seen = None if keep is None else keep[:, None, None]
        for layer in range(self._layers):
            keys, values = self._block(layer).of_memory(memory)
            x = self._block(layer)(x, rotation, causal=True, memory=(keys, values, seen))
        return self._logits(x)

    @property
    def _layers(self) -> int:
        return self.network.layers

    def _block(self, layer: int) -> RotaryBlock:
        block = self.decoder_blocks[layer]
        assert isinstance(block, RotaryBlock)
        return block

    def _logits(self, x: Tensor) -> Tensor:
        # In float32 always: the eight bits of bfloat16 make ties of logits that are near each
        # other, and one other id changes all that is written after it.
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(self.decoder_norm(x.float()), self.embedding.weight)

    def _rotation(self, x: Tensor, first: int) -> Rotation:
        places = torch.arange(first, first + x.shape[1], device=x.device)
        angles = places[:, None] * self.frequencies
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)
