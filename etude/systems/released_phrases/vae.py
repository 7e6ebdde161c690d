"""PhraseVAE as its authors gave it out: T5, a normalised projection to 64 numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from etude.config.systems.released_phrases import PhraseT5
from etude.errors import UserError
from etude.systems.phrase_ldm.vae import Vae
from etude.systems.released_phrases.vocabulary import BOS, EOS, NAMES, PAD, QUERIES

VERSION = 1  # raised when the same file gives other weights

SHAPE = {"vocabulary": len(NAMES), "pad": PAD, "bos": BOS, "eos": EOS, "slots": 1}
# Of four names for one tensor a file may have any: T5 ties its embeddings.
TIED = ("shared", "encoder.embed_tokens", "decoder.embed_tokens", "lm_head")
RENAMED = {
    "t5.encoder.": "network.encoder.",
    "t5.decoder.": "network.decoder.",
    "layer_norm.": "norm.",
    "post_proj.": "memory_head.",
    "proj.": "latent_head.",
}


class ReleasedVae(Vae):
    """The network of `phrase_ldm` at the released sizes, with the released words."""

    version = VERSION

    @classmethod
    def read_network(cls, values: Mapping[str, Any]) -> PhraseT5:  # noqa: D102
        return PhraseT5.model_validate(values)

    def accept(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a hub's model.safetensors or of Lightning's checkpoint, renamed.

        Raises:
            UserError: it holds no T5, or one whose embeddings are not tied.
        """
        plain = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
        tied = [plain.pop(key) for name in TIED if (key := f"t5.{name}.weight") in plain]
        if not tied or len(tied[0]) <= max(QUERIES):
            raise UserError(
                "these are not the weights of a PhraseVAE",
                code="checkpoint-of-another-model",
                where="stages.vae.weights",
                why="there is no embedding of T5 among them",
                do="name the model.safetensors of LongshenOu/phrase-vae, or the .ckpt it is of",
            )
        if any(not torch.equal(tied[0], other) for other in tied[1:]):
            raise UserError(
                "the embeddings of this T5 are not tied",
                code="checkpoint-of-another-model",
                where="stages.vae.weights",
                why="the released network reads and writes with the same ones",
                do="name the released weights",
            )
        found = {renamed(name): tensor for name, tensor in plain.items()}
        found["network.embedding.weight"] = tied[0]
        # Queries are words here: what was learned of them is in the embedding.
        found["queries"] = tied[0][QUERIES].clone()
        return found | {"done": torch.zeros((), dtype=torch.long)}


def renamed(name: str) -> str:
    """The name of a tensor in Étude's network."""
    for theirs, ours in RENAMED.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
