"""Music Transformer (Huang et al., arXiv 1809.04281): attention by content and by distance.

The logit of query i and key j <= i is (q_i k_j + q_i e_{i-j}) / sqrt(d): e_0 … e_{n-1} are the
layer's learned embeddings of the distance, shared by its heads. All q_i e_d of a layer are one
matrix product; "skewing" (a pad and a reshape) puts each where its key stands, and torch's fused
attention takes the result as a mask that is added. Post-norm and ReLU; sinusoids are added to the
token embeddings, as Neuromusic's network has it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from etude.storage import atomic, write_json

MODEL_TYPE = "etude_music_transformer"


@dataclass(frozen=True)
class Sizes:
    """The numbers that fix the network."""

    vocabulary: int
    context: int
    layers: int
    heads: int
    dim: int
    feed_forward: int
    dropout: float = 0.1


def skew(products: Tensor) -> Tensor:
    """[.., T, T] with column d the product with distance T-1-d -> [.., T, T] with column j key j.

    Row i then has at key j <= i the product with distance i - j; what is right of the diagonal
    is of no meaning.
    """
    *outer, rows, columns = products.shape
    padded = F.pad(products, (1, 0))
    return padded.reshape(*outer, columns + 1, rows)[..., 1:, :]


class AttentionCache:
    """Keys and values of all layers, in memory that is taken once."""

    def __init__(self, sizes: Sizes, batch: int, length: int, like: Tensor) -> None:
        shape = (sizes.layers, batch, sizes.heads, length, sizes.dim // sizes.heads)
        self.keys = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.values = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.length = 0

    def add(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put in what is new -> all of the layer so far; `length` moves on with the last layer."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Layer(nn.Module):
    """Relative attention and feed-forward, each followed by its norm."""

    causal: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads, self.dropout = sizes.heads, sizes.dropout
        self.query_key_value = nn.Linear(sizes.dim, 3 * sizes.dim)
        self.out = nn.Linear(sizes.dim, sizes.dim)
        self.distances = nn.Embedding(sizes.context, sizes.dim // sizes.heads)
        self.inner = nn.Linear(sizes.dim, sizes.feed_forward)
        self.outer = nn.Linear(sizes.feed_forward, sizes.dim)
        self.norms = nn.ModuleList([nn.LayerNorm(sizes.dim), nn.LayerNorm(sizes.dim)])

    def forward(
        self, x: Tensor, index: int, causal: Tensor, cache: AttentionCache | None
    ) -> Tensor:
        """x [B, T, dim] -> the same shape; causal [T, keys] is 0 or -inf."""
        x = self.norms[0](x + self._drop(self._attend(x, index, causal, cache)))
        fed = self.outer(self._drop(F.relu(self.inner(x))))
        return self.norms[1](x + self._drop(fed))

    def _attend(
        self, x: Tensor, index: int, causal: Tensor, cache: AttentionCache | None
    ) -> Tensor:
        parts = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = cache.add(index, key, value)
        bias = self.relative(query, key.shape[2])
        bias = bias / math.sqrt(query.shape[-1]) + causal.to(bias.dtype)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, bias, dropout_p=dropout)
        return self.out(attended.transpose(1, 2).flatten(2))

    def relative(self, query: Tensor, keys: int) -> Tensor:
        """Queries [B, H, T, d], the last T of `keys` positions -> products [B, H, T, keys]."""
        count = query.shape[2]
        far_first = self.distances.weight[:keys].flip(0)  # distance keys-1 … 0
        products = query @ far_first.T
        if count == 1:
            return products
        if count == keys:
            return skew(products)
        rows = torch.arange(keys - count, keys, device=query.device)[:, None]
        places = torch.arange(keys, device=query.device) - rows + keys - 1
        return products.gather(-1, places.clamp(0, keys - 1).expand_as(products))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class MusicTransformerModel(nn.Module):
    """Token ids [B, T] -> logits [B, T, vocabulary]; `cache` gets new positions only."""

    sinusoids: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.dim)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.head = nn.Linear(sizes.dim, sizes.vocabulary)
        self.register_buffer("sinusoids", sinusoids(sizes.context, sizes.dim), persistent=False)
        self.apply(_initialise)

    def cache(self, batch: int, length: int) -> AttentionCache:
        """A cache for `length` positions of `batch` sequences."""
        return AttentionCache(self.sizes, batch, length, self.embedding.weight)

    def forward(
        self, ids: Tensor, cache: AttentionCache | None = None, *, last: bool = False
    ) -> Tensor:
        """`last`: the logits of the last position only."""
        start = cache.length if cache is not None else 0
        end = start + ids.shape[1]
        x = self.embedding(ids) * math.sqrt(self.sizes.dim) + self.sinusoids[start:end]
        x = F.dropout(x, self.sizes.dropout, self.training)
        rows = torch.arange(start, end, device=ids.device)[:, None]
        ahead = torch.arange(end, device=ids.device) > rows
        causal = torch.zeros(ahead.shape, device=ids.device).masked_fill(ahead, -torch.inf)
        for index, layer in enumerate(self.layers):
            x = layer(x, index, causal, cache)
        if cache is not None:
            cache.length = end
        return self.head(x[:, -1:] if last else x)

    def settings(self) -> dict[str, Any]:
        """What config.json says of the network."""
        return {"model_type": MODEL_TYPE, **asdict(self.sizes)}

    def save_pretrained(self, folder: Path | str) -> None:
        """Write model.safetensors and config.json."""
        weights = {n: w.detach().cpu().contiguous() for n, w in self.state_dict().items()}
        with atomic(Path(folder) / "model.safetensors") as temporary:
            save_file(weights, temporary, {"format": "pt"})
        write_json(Path(folder) / "config.json", self.settings())

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """The network of a folder, ready to sample."""
        values = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        model = cls(Sizes(**{name: values[name] for name in Sizes.__annotations__}))
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return model.eval()


def sinusoids(length: int, dim: int) -> Tensor:
    """Position encodings of Vaswani et al. (arXiv 1706.03762): float32 [length, dim]."""
    place = torch.arange(length, dtype=torch.float64)[:, None]
    angle = place * torch.exp(torch.arange(0, dim, 2, dtype=torch.float64) * -math.log(1e4) / dim)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).float()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
