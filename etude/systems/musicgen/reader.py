"""A pretrained text-to-music network as its proof asks it: how likely a sound is after a text.

No corpus and no captions are needed: the weights and the tokenizer of their codec alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etude.devices import choose_device
from etude.pretrained.networks import load_network
from etude.systems.base import Wave
from etude.systems.musicgen.network import from_pretrained, kind_of
from etude.tokenizers.registry import load_tokenizer

BATCH = 4


class CodecReader:
    """`nats(waves, texts)`, and music through the codec that came with the weights.

    Args:
        weights: a folder of results/pretrained/.
        tokenizer: the fitted acoustic tokenizer whose codes the network is to make.

    Raises:
        UserError: the network makes the tokens of another codec.
    """

    unit = "nats per token"

    def __init__(self, weights: Path, tokenizer: Path) -> None:
        self.codec: Any = load_tokenizer(tokenizer)
        shape = {
            "codebook_size": self.codec.codebook_size,
            "quantizers": self.codec.quantizers,
            "frame_rate": float(self.codec.frame_rate),
            "frames": 1,
        }
        self.model = from_pretrained(weights, shape).to(choose_device())
        self.weights = weights

    @property
    def rate(self) -> int:
        """Samples per second of what it hears."""
        return int(self.codec.sample_rate)

    @torch.inference_mode()
    def nats(self, waves: Sequence[Wave], texts: Sequence[str]) -> NDArray[np.float64]:
        """Mean nats per token of clips of one length under texts -> [texts, clips]."""
        codes = self.codec.encode(torch.from_numpy(np.stack(waves))).long()
        found = np.zeros((len(texts), len(waves)))
        for start in range(0, len(waves), BATCH):
            part = codes[start : start + BATCH].to(self.model.device)
            for row, text in enumerate(texts):
                nats = self.model.nats(part, [text] * len(part), {})
                found[row, start : start + len(part)] = nats.double().mean(1).cpu().numpy()
        return found

    @torch.inference_mode()
    def by_own_codec(self, waves: Sequence[Wave]) -> list[Wave]:
        """Clips encoded by the tokenizer and decoded by the codec that lies in the weights."""
        codes = self.codec.encode(torch.from_numpy(np.stack(waves))).long()
        codec = load_network(self.weights, kind_of(self.weights)).audio_encoder
        codec = codec.to("cpu", torch.float32)
        decoded = codec.decode(codes.cpu()[None], [None]).audio_values[:, 0]
        return list(decoded.numpy()[:, : len(waves[0])])
