"""AudioLM's three stages on audiolm-pytorch's own transformers, behind the stages' interface.

What is the library's: networks, their forward in training, its loss (the mean cross-entropy of all
tokens that it predicts, those of the prefix included), its ends of sequence, its forgetful mask.
What is not: the loop, the data and the sampling. Its four known defects, and what is done:

1. with `flash_attn` and its cache its logits are wrong (a single query is told to be causal and
   sees the first key only): here a mask of keys is always given, with which they are right;
2. its fine stage can never give the last code except in the first fine quantizer: sampling is ours,
   and all codes can be drawn;
3. its `AudioLM` never says how many frames it wants: we choose the number;
4. the coarse stage's end of quantizer q shares its embedding with code 0 of q + 1, since ids are
   offset by the codebook's size while each has one more row. That is kept, for weights trained so
   would not fit another; the end itself is never drawn, so only training meets it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.config.networks import PluginNetwork
from etude.config.systems.audiolm import AudioLmPytorch, Network
from etude.systems.audiolm.codebook_transformer import CodebookLayout
from etude.systems.audiolm.library import PACKAGE, RELEASE, library, make
from etude.systems.audiolm.stages import (
    SPECIAL,
    AudioLmStage,
    CoarseStage,
    FineStage,
    SemanticStage,
    flatten_frames,
)
from etude.systems.base import Batch
from etude.systems.stage_module import cross_entropy

VERSION = 1  # raised when the same weights or settings give other values
PADDING = -1  # the library's own id of a place without a token
PREFIX = "transformer.net."  # in front of the library's names of weights

Sizes = dict[str, int]


class LibraryCache:
    """What sampling keeps: keys and values, which keys may be seen, the bias of all positions."""

    def __init__(self, length: int) -> None:
        self.length = length  # positions of the whole sequence, the library's own start included
        self.keys_values: Tensor | None = None
        self.seen: Tensor | None = None
        self.bias: Tensor | None = None

    @property
    def filled(self) -> int:
        """Positions that are in it."""
        return 0 if self.seen is None else self.seen.shape[1]


class LibraryNetwork(nn.Module):
    """One of the library's transformers as a network of a stage (etude.systems.audiolm.networks).

    It computes what the library's forward does, from the same modules; tokens stand as a stage's
    layout has them, so the start that the library puts in front is added here.
    """

    def __init__(self, network: AudioLmPytorch, name: str, **sizes: int) -> None:
        super().__init__()
        self.net: Any = make(
            name,
            dim=network.dim,
            depth=network.depth,
            heads=network.heads,
            attn_dropout=network.dropout,
            ff_dropout=network.dropout,
            flash_attn=network.flash_attn,
            **sizes,
        )

    def embed(self, tokens: Tensor, layout: CodebookLayout) -> Tensor:
        """What the transformer reads at each position [B, T, dim]."""
        raise NotImplementedError

    def seen(self, tokens: Tensor, layout: CodebookLayout) -> Tensor:
        """Which positions the others may see [B, T]."""
        return torch.ones_like(tokens, dtype=torch.bool)

    def start(self) -> Tensor | None:
        """The start [dim] that stands before the layout's first position, if any."""
        return None

    def bias(self, layout: CodebookLayout, length: int) -> Tensor | None:
        """What attention adds [heads, length, length]; the layout is that of the first tokens."""
        raise NotImplementedError

    def logits(self, hidden: Tensor, codebook: int) -> Tensor:
        """Logits over the ids of one codebook: hidden [..., dim] -> [..., size]."""
        raise NotImplementedError

    def cache(self, batch: int, length: int) -> LibraryCache:
        """An empty cache for sequences of this length."""
        return LibraryCache(length + (self.start() is not None))

    def forward(
        self, tokens: Tensor, layout: CodebookLayout, cache: LibraryCache | None = None
    ) -> Tensor:
        """Hidden states [B, T, dim] of tokens [B, T]; with a cache, T new positions after it."""
        cache = self.cache(*tokens.shape) if cache is None else cache
        x, seen, lead = self.embed(tokens, layout), self.seen(tokens, layout), 0
        if not cache.filled:
            cache.bias = self.bias(layout, cache.length)
            if (start := self.start()) is not None:
                x, lead = torch.cat([start.expand(len(x), 1, -1), x], dim=1), 1
                seen = F.pad(seen, (1, 0), value=True)
        before = cache.filled
        cache.seen = seen if cache.seen is None else torch.cat([cache.seen, seen], dim=1)
        here = cache.filled
        hidden, cache.keys_values = self.net.transformer(
            F.pad(x, (0, 0, before, 0)),  # what is cached the transformer leaves out itself
            self_attn_mask=cache.seen,
            attn_bias=None if cache.bias is None else cache.bias[:, :here, :here],
            kv_cache=cache.keys_values,
            return_kv_cache=True,
        )
        return hidden[:, lead:]


class SemanticNetwork(LibraryNetwork):
    """[start] s0 s1 ...; ids after the vocabulary are its end and a place without a token."""

    def __init__(self, network: AudioLmPytorch, sizes: Sizes) -> None:
        super().__init__(
            network, "SemanticTransformer", num_semantic_tokens=sizes["semantic_vocabulary"]
        )

    def embed(self, tokens: Tensor, layout: CodebookLayout) -> Tensor:  # noqa: D102
        net, absent = self.net, tokens > self.net.eos_id
        x = net.semantic_embedding(tokens.masked_fill(absent, 0)).masked_fill(absent[..., None], 0)
        return torch.where((layout.codebooks == SPECIAL)[:, None], net.start_token, x)

    def bias(self, layout: CodebookLayout, length: int) -> Tensor | None:  # noqa: D102
        relative = self.net.transformer.rel_pos_bias
        return None if relative is None else relative(length, length)

    def logits(self, hidden: Tensor, codebook: int) -> Tensor:  # noqa: D102
        # The library has one end; the stage's second is never said.
        return F.pad(self.net.to_logits(hidden), (0, 1), value=-torch.inf)


class CoarseNetwork(LibraryNetwork):
    """[start] s0 s1 ... [start] c00 c01 ...; ends and absent semantic ids are not seen."""

    def __init__(self, network: AudioLmPytorch, sizes: Sizes) -> None:
        super().__init__(
            network,
            "CoarseTransformer",
            codebook_size=sizes["codebook_size"],
            num_coarse_quantizers=sizes["coarse_quantizers"],
            num_semantic_tokens=sizes["semantic_vocabulary"],
        )

    def start(self) -> Tensor:  # noqa: D102
        return self.net.semantic_start_token

    def seen(self, tokens: Tensor, layout: CodebookLayout) -> Tensor:  # noqa: D102
        return (layout.codebooks != 1) | (tokens < self.net.semantic_eos_id)

    def embed(self, tokens: Tensor, layout: CodebookLayout) -> Tensor:  # noqa: D102
        net, codebooks = self.net, layout.codebooks
        semantic, quantizer = codebooks == 1, (codebooks - 2).clamp(min=0)
        known = tokens.masked_fill(~(self.seen(tokens, layout) & semantic), 0)
        codes = tokens.masked_fill(codebooks < 2, 0) + quantizer * net.codebook_size
        x = net.coarse_embedding(codes) + net.coarse_quantize_embedding(quantizer)
        x = torch.where(semantic[:, None], net.semantic_embedding(known), x)
        return torch.where((codebooks == SPECIAL)[:, None], net.coarse_start_token, x)

    def bias(self, layout: CodebookLayout, length: int) -> Tensor | None:  # noqa: D102
        relative = self.net.transformer.rel_pos_bias
        if relative is None:
            return None
        before = torch.arange(length, device=layout.codebooks.device)
        semantic = before <= (layout.codebooks == 1).sum()  # the start among them
        across = semantic[:, None] ^ semantic[None]
        return torch.where(across, self.net.cross_attn_bias, relative(length, length))

    def logits(self, hidden: Tensor, codebook: int) -> Tensor:  # noqa: D102
        if codebook == 1:
            return self.net.to_semantic_logits(hidden)
        # Without the end: when music is over the semantic stage says.
        return hidden @ self.net.coarse_logit_weights[codebook - 2, : self.net.codebook_size].T


class FineNetwork(LibraryNetwork):
    """[start] c00 c01 ... [start] f00 f01 ...: the further codes of the same frames."""

    def __init__(self, network: AudioLmPytorch, sizes: Sizes) -> None:
        super().__init__(
            network,
            "FineTransformer",
            codebook_size=sizes["codebook_size"],
            num_coarse_quantizers=sizes["coarse_quantizers"],
            num_fine_quantizers=sizes["quantizers"] - sizes["coarse_quantizers"],
        )

    def start(self) -> Tensor:  # noqa: D102
        return self.net.coarse_start_token

    def embed(self, tokens: Tensor, layout: CodebookLayout) -> Tensor:  # noqa: D102
        net, codebooks, coarse = self.net, layout.codebooks, self.net.num_coarse_quantizers
        first = (codebooks - 1).clamp(0, coarse - 1)
        further = (codebooks - 1 - coarse).clamp(min=0)
        size = net.codebook_size
        x = net.fine_embedding(tokens + further * size) + net.fine_quantize_embedding(further)
        given = net.coarse_embedding(tokens + first * size) + net.coarse_quantize_embedding(first)
        x = torch.where((codebooks <= coarse)[:, None], given, x)
        return torch.where((codebooks == SPECIAL)[:, None], net.fine_start_token, x)

    def bias(self, layout: CodebookLayout, length: int) -> Tensor | None:
        """By the distance in frames and in quantizers, counted from the window's first frame.

        The library's network is told the distance plus the window's length, so weights that are
        trained with one length say nothing about another.
        """
        net = self.net
        if net.pos_bias_mlp is None:
            return None
        codebooks = layout.codebooks
        coarse, fine = net.num_coarse_quantizers, net.num_fine_quantizers
        given = int((codebooks == SPECIAL).nonzero()[0])
        frames, quantizers = -(-given // coarse), coarse + fine
        index = torch.arange(length, device=codebooks.device)
        behind = index - (given + 2)  # place among the fine codes, negative before them
        starts = (index == 0) | (index == given + 1)
        place = torch.where(behind < 0, (index - 1) // coarse, behind // fine)
        offset = torch.where(behind < 0, (index - 1) % coarse, coarse + behind % fine)
        place, offset = place.masked_fill(starts, 0), offset.masked_fill(starts, 0)
        grid = torch.cartesian_prod(
            torch.arange(2 * frames - 1, device=index.device),
            torch.arange(2 * quantizers - 1, device=index.device),
        )
        values = net.pos_bias_mlp(grid.float())
        rows = (place[:, None] - place[None]) + frames - 1
        columns = (offset[:, None] - offset[None]) + quantizers - 1
        found = values[rows * (2 * quantizers - 1) + columns].permute(2, 0, 1)
        return torch.where(starts[:, None] | starts[None], net.null_pos_bias, found)

    def logits(self, hidden: Tensor, codebook: int) -> Tensor:  # noqa: D102
        coarse = self.net.num_coarse_quantizers
        if codebook <= coarse:
            return hidden @ self.net.coarse_logit_weights[codebook - 1].T
        return hidden @ self.net.fine_logit_weights[codebook - 1 - coarse].T


# --------------------------------------------------------------------------------- the stages


class LibraryStage(AudioLmStage):
    """What the three stages share: the library's loss, its names of weights."""

    version = VERSION
    network_class: type[Any]

    def build(self, network: Network | AudioLmPytorch | PluginNetwork) -> Any:  # noqa: D102
        return self.network_class(network, self.shape)

    @property
    def net(self) -> Any:
        """The library's transformer."""
        return self.transformer.net

    def predictions(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """The library's logits [B, T, V] and the labels [B, T] (PADDING: none) of each part."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The library's: mean cross-entropy in nats per predicted token, prefix and ends included.

        Unlike there ends are appended in validation as well, and labels may be smoothed.
        """
        smoothing = self.label_smoothing if self.training else 0.0
        return cross_entropy(self.predictions(batch), smoothing, PADDING)

    def remembered(self, batch: int, length: int) -> Tensor | None:
        """The library's forgetful mask in training: which keys [B, length] are seen."""
        if not (self.training and self.forgetful_mask):
            return None
        shape = (batch, length)
        mask: Tensor = library().generate_mask_with_prob(shape, self.forgetful_mask, self.device)
        return mask

    def semantic_row(self, batch: Batch) -> Tensor:
        """Semantic ids as the library has them: merged if wanted, the end after, then PADDING."""
        ids, end = batch["semantic"].long(), self.shape["semantic_vocabulary"]
        ids = library().append_eos_id(ids, end)
        if self.shape["deduplicate_semantic"]:
            ids = library().batch_unique_consecutive(ids, pad_value=PADDING)
        return ids

    def accept(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The library's own names (a checkpoint of its trainer) as names of this stage."""
        if any(name.startswith(PREFIX) for name in tensors):
            return tensors
        return {PREFIX + name: tensor for name, tensor in tensors.items()}

    def config(self, tokenizers: Any) -> dict[str, Any]:  # noqa: D102
        return super().config(tokenizers) | {"library": f"{PACKAGE} {RELEASE}"}


class LibrarySemanticStage(LibraryStage, SemanticStage):
    """Language model of semantic tokens; the end follows each segment."""

    network_class = SemanticNetwork

    def predictions(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:  # noqa: D102
        labels = self.semantic_row(batch)
        inputs = labels[:, :-1]
        return [(self.net(ids=inputs, self_attn_mask=self.remembered(*inputs.shape)), labels)]


class LibraryCoarseStage(LibraryStage, CoarseStage):
    """The first quantizers, given semantic tokens; both parts are predicted, and both ends."""

    network_class = CoarseNetwork

    def predictions(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:  # noqa: D102
        semantic = self.semantic_row(batch)
        codes = flatten_frames(batch["acoustic"][:, : self.shape["coarse_quantizers"]].long())
        labels = library().append_eos_id(codes, self.net.coarse_eos_id)
        known = (semantic != PADDING) & (semantic != self.net.semantic_eos_id)
        seen = F.pad(known, (1, labels.shape[1]), value=True)  # the starts and all codes
        remembered = self.remembered(*seen.shape)
        both = self.net(
            semantic_token_ids=semantic.masked_fill(~known, 0),
            coarse_token_ids=labels[:, :-1],
            self_attn_mask=seen if remembered is None else seen & remembered,
        )
        return list(zip(both, (semantic, labels), strict=True))


class LibraryFineStage(LibraryStage, FineStage):
    """The further quantizers of a window, given its first; both parts are predicted, no ends."""

    network_class = FineNetwork

    def predictions(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:  # noqa: D102
        codes, first = self._window(batch), self.shape["coarse_quantizers"]
        coarse, fine = flatten_frames(codes[:, :first]), flatten_frames(codes[:, first:])
        length = coarse.shape[1] + fine.shape[1] + 1
        remembered = self.remembered(len(codes), length)
        both = self.net(coarse, fine[:, :-1], self_attn_mask=remembered)
        return list(zip(both, (coarse, fine), strict=True))


LIBRARY_STAGES: dict[str, type[LibraryStage]] = {
    stage.stage: stage for stage in (LibrarySemanticStage, LibraryCoarseStage, LibraryFineStage)
}
