"""What a transformer is told of items, and how it is asked, by the family of the networks.

open    Stable Audio Open: cross-attention sees the text (padded with zeros to one length, no mask)
        and the seconds of start and total; the global state is the two seconds. Without text all
        that cross-attention sees is zeros, and the global state stays: so are items learned that
        guidance is measured from.
three   Stable Audio 3: cross-attention sees the text and the seconds of the whole, which are the
        global state too. What the text lacks in length is a vector of the transformer's own, and
        an empty text is a text like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

VERSION = 1  # raised when a network is told otherwise of the same text and seconds

Conditioning = dict[str, Tensor]  # `cross` [B, L, dim], `whole`, and of some families `mask` [B, L]


class Telling(Protocol):
    """How the networks of a family work together."""

    bare: bool  # whether an empty text is one like any other

    def conditioning(
        self, network: Any, ids: Tensor, mask: Tensor, start: Tensor, total: Tensor
    ) -> Conditioning:
        """Of texts (ids, mask [B, L]) and seconds (start, total [B])."""

    def velocity(
        self, transformer: Any, x: Tensor, time: Tensor, conditioning: Mapping[str, Tensor]
    ) -> Tensor:
        """What is predicted of noisy latents [B, channels, T] at times [B]."""


class Open:
    """Stable Audio Open, and the embedded network."""

    bare = False

    def conditioning(  # noqa: D102
        self, network: Any, ids: Tensor, mask: Tensor, start: Tensor, total: Tensor
    ) -> Conditioning:
        hidden = hidden_of(network.text_encoder, ids, mask)
        found = network.projection(hidden, start.float(), total.float())
        text = found.text_hidden_states * mask[..., None].to(hidden)
        seconds = found.seconds_start_hidden_states, found.seconds_end_hidden_states
        present = (mask.sum(1) > 0)[:, None, None]
        cross = torch.cat([text, *seconds], dim=1) * present.to(hidden)
        return {"cross": cross, "whole": torch.cat(seconds, dim=2)}

    def velocity(  # noqa: D102
        self, transformer: Any, x: Tensor, time: Tensor, conditioning: Mapping[str, Tensor]
    ) -> Tensor:
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        # One position more than latents: the global state stands in front of them.
        rotary = get_1d_rotary_pos_embed(
            transformer.config.attention_head_dim // 2,
            x.shape[2] + 1,
            use_real=True,
            repeat_interleave_real=False,
        )
        found: Tensor = transformer(
            x,
            time,
            encoder_hidden_states=conditioning["cross"],
            global_hidden_states=conditioning["whole"],
            rotary_embedding=tuple(part.to(x.device) for part in rotary),
            return_dict=False,
        )[0]
        return found


class Three:
    """Stable Audio 3."""

    bare = True

    def conditioning(  # noqa: D102
        self, network: Any, ids: Tensor, mask: Tensor, start: Tensor, total: Tensor
    ) -> Conditioning:
        hidden = hidden_of(network.text_encoder, ids, mask)
        whole = network.projection(total.float())
        cross = torch.cat([hidden, whole[:, None].to(hidden)], dim=1)
        return {
            "cross": cross,
            "whole": whole,
            "mask": torch.cat([mask, mask.new_ones(len(mask), 1)], 1),
        }

    def velocity(  # noqa: D102
        self, transformer: Any, x: Tensor, time: Tensor, conditioning: Mapping[str, Tensor]
    ) -> Tensor:
        found: Tensor = transformer(
            x,
            time,
            encoder_hidden_states=conditioning["cross"],
            global_hidden_states=conditioning["whole"],
            encoder_attention_mask=conditioning["mask"],
            return_dict=False,
        )[0]
        return found


TELLING: dict[str, Telling] = {"open": Open(), "three": Three()}


def hidden_of(encoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """States [B, L, dim] of texts; an encoder that sees nothing at all gives no number."""
    there = mask.clone()
    there[:, 0] |= mask.sum(1) == 0
    hidden: Tensor = encoder(input_ids=ids, attention_mask=there).last_hidden_state
    return hidden
