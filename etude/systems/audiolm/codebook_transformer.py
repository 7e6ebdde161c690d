"""A decoder-only transformer over tokens of several codebooks that share one time axis.

Pre-norm blocks with scaled dot-product attention; rotary positions over *time* (RoFormer,
arXiv 2104.09864) instead of index, so that a semantic token and the acoustic tokens of the same
moment have the same position and attention finds the aligned prefix at once. Every codebook
has its own embedding rows and its own output head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.config.systems.audiolm import Network

VERSION = 1  # raised when the same weights compute other values


@dataclass(frozen=True)
class CodebookLayout:
    """Where each position of a sequence stands: its codebook (long [T]) and time (float [T])."""

    codebooks: Tensor
    times: Tensor

    def __getitem__(self, span: slice) -> CodebookLayout:
        return CodebookLayout(self.codebooks[span], self.times[span])

    def __len__(self) -> int:
        return len(self.codebooks)

    def to(self, device: torch.device | str) -> CodebookLayout:
        """The same layout on a device."""
        return CodebookLayout(self.codebooks.to(device), self.times.to(device))


class KeyValueCache:
    """Static keys and values of all layers: [layers, batch, heads, length, head_dim]."""

    def __init__(self, model: CodebookTransformer, batch: int, length: int) -> None:
        network, weight = model.network, model.embedding.weight
        shape = (network.depth, batch, network.heads, length, network.dim // network.heads)
        self.keys = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new positions and give back all filled ones of a layer."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class CodebookBlock(nn.Module):
    """Attention and feed-forward, each after a LayerNorm, each added to the stream."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        dim = network.dim
        self.heads, self.dropout = network.heads, network.dropout
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim, bias=False)
        self.attention_out = nn.Linear(dim, dim, bias=False)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            nn.Dropout(network.dropout),
        )

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        layer: int,
        cache: KeyValueCache | None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """x [B, T, dim] -> [B, T, dim]; `mask` [B, 1, T, T] takes the place of the causal one."""
        batch, length, dim = x.shape
        qkv = self.query_key_value(self.attention_norm(x))
        query, key, value = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            key, value = cache.write(layer, key, value)
            if cache.length and length > 1:  # several new positions after filled ones
                mask = torch.ones(length, key.shape[2], dtype=torch.bool, device=x.device)
                mask = mask.tril(diagonal=cache.length)
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None and length > 1,
            dropout_p=self.dropout if self.training else 0.0,
        )
        x = x + self.attention_out(attended.transpose(1, 2).reshape(batch, length, dim))
        return x + self.feed_forward(x)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the two halves of each head: x [B, heads, T, head_dim], cos and sin [T, half]."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def forgetful_mask(batch: int, length: int, share: float, device: torch.device) -> Tensor:
    """Causal attention that does not see a random share of the earlier tokens: [B, 1, T, T].

    Every token sees itself and the first one. Liu et al., FCM, arXiv 2210.13432.
    """
    seen = torch.rand(batch, 1, 1, length, device=device) >= share
    seen[..., 0] = True
    itself = torch.eye(length, dtype=torch.bool, device=device)
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return (seen & causal) | itself


class CodebookTransformer(nn.Module):
    """Tokens [B, T] of the codebooks that a layout names -> hidden states -> logits.

    Args:
        codebook_sizes: number of ids of each codebook.
        network: width, depth, heads, dropout, base of the rotary embedding.
    """

    offsets: Tensor
    frequencies: Tensor

    def __init__(self, codebook_sizes: list[int], network: Network) -> None:
        super().__init__()
        self.network, self.codebook_sizes = network, list(codebook_sizes)
        self.embedding = nn.Embedding(sum(codebook_sizes), network.dim)
        self.codebook_embedding = nn.Embedding(len(codebook_sizes), network.dim)
        self.blocks = nn.ModuleList(CodebookBlock(network) for _ in range(network.depth))
        self.norm = nn.LayerNorm(network.dim)
        self.heads = nn.ModuleList(nn.Linear(network.dim, size) for size in codebook_sizes)
        half = network.dim // network.heads // 2
        offsets = torch.tensor([0, *codebook_sizes]).cumsum(0)[:-1]
        frequencies = network.rope_base ** (-torch.arange(half) / half)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.apply(self._initialise)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(
        self,
        tokens: Tensor,
        layout: CodebookLayout,
        cache: KeyValueCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Hidden states [B, T, dim] of tokens [B, T]; with a cache, T new positions after it."""
        x = self.embedding(tokens + self.offsets[layout.codebooks])
        x = x + self.codebook_embedding(layout.codebooks)
        angles = layout.times[:, None] * self.frequencies
        rotation = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, layer, cache, mask)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.norm(x)

    def cache(self, batch: int, length: int) -> KeyValueCache:
        """An empty cache for this many sequences of this length."""
        return KeyValueCache(self, batch, length)

    def logits(self, hidden: Tensor, codebook: int) -> Tensor:
        """Logits over the ids of one codebook: hidden [..., dim] -> [..., size]."""
        return self.heads[codebook](hidden)
