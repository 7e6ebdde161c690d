"""A diffusion transformer over bars (DiT, Peebles and Xie, arXiv 2212.09748).

x [B, bars, slots, z] is noisy; a position is a bar with all its slots, or one slot of a bar. Time
and what is said of the whole piece shift and scale each block (adaLN-zero); what is said of each
bar is added to its positions. Rotary positions (Su et al., arXiv 2104.09864) count bars.

Whatever is not known, or not to be followed, is -1; embeddings have a row of their own for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.config.diffusion import BarTransformer
from etude.systems.phrase_ldm.sections import LETTERS, OF_BARS

VERSION = 1  # raised when the same settings give other networks

FREQUENCIES = (0.25, 64.0)  # cycles per unit of time, the lowest and the highest
# What each condition tells, by the names of tensors: of the piece [B], of its bars [B, bars].
TELLS: dict[str, tuple[str, ...]] = {
    "length": ("length",),
    "key": ("key",),
    "mode": ("mode",),
    "meter": ("meter",),
    "sections": OF_BARS,
}


def time_features(time: Tensor, count: int) -> Tensor:
    """Sines and cosines of the time, float32 [B, count].

    The time is in units of 1 and never rounded to half precision: of the integer steps that the
    original gives to features of scale 1, bf16 leaves nothing (phases up to 10,000), and even in
    float32 the features of neighbours are as good as unrelated.
    """
    low, high = (math.log(frequency) for frequency in FREQUENCIES)
    cycles = torch.linspace(low, high, count // 2, device=time.device, dtype=torch.float32).exp()
    angles = 2 * math.pi * time.float()[:, None] * cycles
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def rotary(length: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions 0 … length - 1, float32 [length, width / 2]."""
    rates = 10000 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (first half, second half) of [..., length, width]."""
    cos, sin = (turn.to(x.dtype) for turn in turns)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class SectionSequence(nn.Module):
    """The sections of a piece as a sequence that positions attend to, as the original has them.

    A section is the embeddings of its letter, its length and its first bar, at the place of that
    bar; at the other bars nothing is. A state of its own stands in front, for pieces without any.
    """

    def __init__(self, settings: BarTransformer) -> None:
        super().__init__()
        dim, far = settings.dim, settings.longest
        sizes = {"bars": far + 1, "first": far, "letter": len(LETTERS)}
        self.tables = nn.ModuleDict({name: nn.Embedding(n + 1, dim) for name, n in sizes.items()})
        self.none = nn.Parameter(0.02 * torch.randn(dim))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, settings.heads, 2 * dim, settings.dropout, F.gelu, batch_first=True,
                norm_first=True,
            )
            for _ in range(settings.section_layers)
        )  # fmt: skip

    def forward(self, about: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """States [B, 1 + bars, dim], and which of them are there."""
        letter, place = about["letter"], about["place"]
        begins = place == 0
        begins[:, 0] = True  # a crop begins within a section
        there = F.pad(begins & (letter >= 0) & about["mask"], (1, 0), value=True)
        context = {"letter": letter, "bars": place + about["left"] + 1, "first": about["start"]}
        states = sum((look_up(self.tables[n], context[n]) for n in self.tables), torch.zeros(()))
        states = torch.cat([self.none.expand(len(letter), 1, -1), states], dim=1)
        for layer in self.layers:
            states = layer(states, src_key_padding_mask=~there)
        return states, there


class DiTBlock(nn.Module):
    """Attention and feed-forward, each shifted, scaled and let through by the piece's vector.

    Args:
        over: what attends to what: `all` positions, the slots of a `bar`, or the bars of a `slot`.
    """

    def __init__(self, settings: BarTransformer, over: str) -> None:
        super().__init__()
        dim, self.heads, self.over = settings.dim, settings.heads, over
        self.dropout, self.gated = settings.dropout, settings.activation == "swiglu"
        inner = round(settings.feed_forward * dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        # Queries and keys of one size keep half precision from overflowing (arXiv 2302.05442).
        self.query_size = nn.Parameter(torch.ones(dim // settings.heads))
        self.key_size = nn.Parameter(torch.ones(dim // settings.heads))
        self.out = nn.Linear(dim, dim)
        self.inner = nn.Linear(dim, inner * (2 if self.gated else 1))
        self.outer = nn.Linear(inner, dim)
        self.section_heads = settings.section_heads if "sections" in settings.conditions else 0
        if self.section_heads:
            self.cross_query = nn.Linear(dim, dim)
            self.kv = nn.Linear(dim, 2 * self.section_heads * (dim // settings.heads))
            self.cross_out = nn.Linear(dim, dim)
            nn.init.zeros_(self.cross_out.weight)
            nn.init.zeros_(self.cross_out.bias)
        self.modulation = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulation.weight)  # each block begins as the identity
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Tensor,
        about: Tensor,
        mask: Tensor | None,
        sections: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """x [B, bars, slots, dim], about [B, dim], mask bool [B, bars] -> as x."""
        changes = self.modulation(F.silu(about))[:, None, None].chunk(6, dim=-1)
        shift, scale, gate, shift_inner, scale_inner, gate_inner = changes
        x = x + gate * self._drop(self._attend(_norm(x) * (1 + scale) + shift, mask))
        if sections is not None:
            x = x + self._drop(self._look(_norm(x), *sections))
        fed = self.inner(_norm(x) * (1 + scale_inner) + shift_inner)
        if self.gated:
            fed, through = fed.chunk(2, dim=-1)
            fed = fed * F.silu(through)
        else:
            fed = F.gelu(fed)
        return x + gate_inner * self._drop(self.outer(self._drop(fed)))

    def _attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        bars, slots = x.shape[1:3]
        parts = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(3, 0, 4, 1, 2, 5)  # each [B, heads, bars, slots, width]
        query = F.rms_norm(query, query.shape[-1:]) * self.query_size
        key = F.rms_norm(key, key.shape[-1:]) * self.key_size
        if self.over != "bar":
            turns = rotary(bars, query.shape[-1], x.device)
            turns = (turns[0][:, None], turns[1][:, None])
            query, key = rotate(query, turns), rotate(key, turns)
        if self.over == "all":
            query, key, value = (part.flatten(2, 3) for part in (query, key, value))
            there = None if mask is None else mask.repeat_interleave(slots, 1)[:, None, None]
        elif self.over == "bar":  # every slot of a bar is there
            query, key, value = (part.transpose(1, 2) for part in (query, key, value))
            there = None
        else:
            query, key, value = (part.transpose(2, 3) for part in (query, key, value))
            there = None if mask is None else mask[:, None, None, None]
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(
            query, key, value.to(query.dtype), there, dropout_p=dropout
        )
        if self.over == "all":
            attended = attended.unflatten(2, (bars, slots))
        elif self.over == "bar":
            attended = attended.transpose(1, 2)
        else:
            attended = attended.transpose(2, 3)
        return self.out(attended.permute(0, 2, 3, 1, 4).flatten(3))

    def _look(self, x: Tensor, states: Tensor, there: Tensor) -> Tensor:
        """Attend to the sections; several heads of queries share one of keys (arXiv 2305.13245)."""
        query = self.cross_query(x).flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = (
            self.kv(states).unflatten(-1, (2, self.section_heads, -1)).permute(2, 0, 3, 1, 4)
        )
        looked = F.scaled_dot_product_attention(
            query, key, value, there[:, None, None], enable_gqa=self.section_heads < self.heads
        )
        return self.cross_out(looked.transpose(1, 2).flatten(2)).view(x.shape)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def look_up(table: nn.Module, numbers: Tensor) -> Tensor:
    """Embeddings: row 0 is for what is not known (-1); what is too far has the last one."""
    assert isinstance(table, nn.Embedding)
    return table((numbers + 1).clamp(0, table.num_embeddings - 1))


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class BarDit(nn.Module):
    """Noisy latents -> what of them is to be predicted.

    Args:
        shape: slots, latent (numbers of a phrase); keys, modes, meters (how many there are).
    """

    def __init__(self, shape: Mapping[str, Any], settings: BarTransformer) -> None:
        super().__init__()
        self.settings, dim = settings, settings.dim
        slots, latent = shape["slots"], shape["latent"]
        self.whole_bars = settings.whole_bars
        width = slots * latent if self.whole_bars else latent
        context = set(settings.conditions)
        self.twins = settings.twins and "sections" in context
        given = 1 + self.twins + settings.self_condition
        self.into = nn.Linear(given * width, dim)
        if not self.whole_bars:
            self.slot = nn.Embedding(slots, dim)
        far = settings.longest
        sizes = {"key": shape["keys"], "mode": shape["modes"], "meter": shape["meters"]}
        sizes |= {"length": far + 1, "letter": len(LETTERS), "place": far, "left": far, "turn": 16}
        self.sections = None
        if settings.section_heads and "sections" in context:
            self.sections = SectionSequence(settings)
        by_embedding = context - {"sections"} if self.sections else context
        names = [n for condition in TELLS if condition in by_embedding for n in TELLS[condition]]
        sizes["start"] = sizes["end"] = far
        # In the order of names that are sorted, so that the same settings give the same weights.
        wanted = sorted([*names, "start", *(["end"] if "length" in context else [])])
        self.embeddings = nn.ModuleDict({n: nn.Embedding(sizes[n] + 1, dim) for n in wanted})
        self.time = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        kinds = ("bar", "slot") if settings.attention == "alternate" else ("all",)
        self.blocks = nn.ModuleList(
            DiTBlock(settings, kinds[layer % len(kinds)]) for layer in range(settings.layers)
        )
        self.last = nn.Linear(dim, 2 * dim)
        self.head = nn.Linear(dim, width)
        for part in self.modules():
            if isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight, std=0.02)
        for part in (self.last, self.head):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        about: Mapping[str, Tensor],
        estimate: Tensor | None = None,
    ) -> Tensor:
        """What the network predicts, as x.

        Args:
            x: [B, bars, slots, z].
            time: float32 [B] in [0, 1].
            about: `mask` bool [B, bars], `start` (from the piece's first bar, [B, bars]), and what
                the conditions tell (TELLS), int64.
            estimate: the last estimate of the data, as x; for `self_condition`.
        """
        mask = about["mask"]
        inputs = [x]
        if self.twins:
            inputs.append(twin_mean(x, twins(about)))
        if self.settings.self_condition:
            inputs.append(torch.zeros_like(x) if estimate is None else estimate)
        h = torch.cat([self._positions(part) for part in inputs], dim=-1)
        h = self.into(h) + self._of_bars(about)[:, :, None]
        if not self.whole_bars:
            h = h + self.slot.weight
        vector = self.time(time_features(time, self.settings.dim)) + self._of_piece(about)
        there = None if bool(mask.all()) else mask
        form = None if self.sections is None else self.sections(about)
        for block in self.blocks:
            h = block(h, vector, there, form)
        shift, scale = self.last(F.silu(vector))[:, None, None].chunk(2, dim=-1)
        return self.head(_norm(h) * (1 + scale) + shift).reshape(x.shape)

    def _positions(self, x: Tensor) -> Tensor:
        """[B, bars, slots, z] -> [B, bars, positions of a bar, their numbers]."""
        return x.flatten(2)[:, :, None] if self.whole_bars else x

    def _of_bars(self, about: Mapping[str, Tensor]) -> Tensor:
        context = {name: about[name] for name in ("start", *OF_BARS) if name in self.embeddings}
        if "end" in self.embeddings:
            length = about["length"][:, None]
            context["end"] = torch.where(length < 0, -1, length - 1 - about["start"])
        tables = self.embeddings
        return sum(
            (look_up(tables[name], context[name]) for name in sorted(context)), torch.zeros(())
        )

    def _of_piece(self, about: Mapping[str, Tensor]) -> Tensor:
        names = [n for n in ("key", "length", "meter", "mode") if n in self.embeddings]
        tables = self.embeddings
        return sum((look_up(tables[name], about[name]) for name in names), torch.zeros(()))


def twins(about: Mapping[str, Tensor]) -> Tensor:
    """Which bars are at the same place of a section of the same letter, bool [B, bars, bars].

    A bar whose section is not known is its own twin alone.
    """
    letter, place = about["letter"], about["place"]
    alike = (letter[:, :, None] == letter[:, None]) & (place[:, :, None] == place[:, None])
    known = (letter >= 0) & about["mask"]
    alike = alike & known[:, :, None] & known[:, None]
    return alike | torch.eye(letter.shape[1], dtype=torch.bool, device=letter.device)


def twin_mean(x: Tensor, alike: Tensor) -> Tensor:
    """The mean of each bar and its twins, as x: each is another noisy look at the same music."""
    weights = alike.to(x.dtype)
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.einsum("bij,bjsz->bisz", weights, x)


def without(about: Mapping[str, Tensor], conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with conditions dropped for some pieces: name -> bool [B], True where dropped."""
    changed = dict(about)
    for condition, dropped in conditions.items():
        for name in TELLS[condition]:
            if name in changed:
                where = dropped.view(-1, *[1] * (changed[name].ndim - 1))
                changed[name] = changed[name].masked_fill(where, -1)
    return changed
