"""MusicGen's network: T5 encoder, projection, decoder; transformers' classes in two sizes.

Quantizer q of frame t stands at position 1 + t + q of the decoder's sequence (the delay pattern of
Copet et al., arXiv 2306.05284); position 0 and all places without a code hold the id `pad`, which
is the codebook's size. The library leaves the delay to its caller, and takes undelayed codes
silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from etude.config.systems.musicgen import TextNetwork
from etude.errors import UserError
from etude.midi.programs import NAMES
from etude.storage import atomic, read_json
from etude.systems.base import Batch
from etude.systems.musicgen.melody import Prefix
from etude.systems.musicgen.texts import TOKENIZER, parts_of_text, read_tokenizer
from etude.systems.stage_module import StageModule, cross_entropy

VERSION = 1  # raised when the same seed gives other weights, or a batch another loss

IGNORED = -1
TEXT_HEADS = 4


def delayed(codes: Tensor, pad: int) -> Tensor:
    """Codes [..., K, T] in the delay pattern -> [..., K, T + K], `pad` where there is none."""
    quantizers, frames = codes.shape[-2:]
    moved = codes.new_full((*codes.shape[:-1], frames + quantizers), pad)
    for q in range(quantizers):
        moved[..., q, 1 + q : 1 + q + frames] = codes[..., q, :]
    return moved


def undelayed(moved: Tensor) -> Tensor:
    """The way back: [..., K, T + K] -> codes [..., K, T]."""
    quantizers = moved.shape[-2]
    frames = moved.shape[-1] - quantizers
    parts = [moved[..., q, 1 + q : 1 + q + frames] for q in range(quantizers)]
    return torch.stack(parts, dim=-2)


class Lm(StageModule):
    """Text -> codes.

    Args:
        shape: `codebook_size`, `quantizers`, `frames` and `frame_rate` of what is learned,
            `vocabulary` of the text; of pretrained networks also `text` and `decoder`, their
            configurations, and `melody` (`chroma`, `length`) of those that follow melodies.
        settings: the sizes of the network; not used for pretrained ones.
        tokenizer: of texts.
    """

    stage = "lm"
    version = 1
    Settings = TextNetwork
    files = (TOKENIZER,)

    def __init__(
        self, shape: Mapping[str, Any], settings: TextNetwork | None, tokenizer: Tokenizer
    ) -> None:
        from transformers import (
            MusicgenDecoderConfig,
            MusicgenForCausalLM,
            MusicgenMelodyDecoderConfig,
            MusicgenMelodyForCausalLM,
            T5Config,
            T5EncoderModel,
        )

        super().__init__(shape, settings)
        text, decoder = configurations(shape, settings or TextNetwork())
        # The stack alone: T5EncoderModel has the same table under two names.
        self.text_encoder = T5EncoderModel(T5Config(**text)).encoder
        self.prefix: Prefix | None = None
        if "melody" in shape:
            self.decoder: Any = MusicgenMelodyForCausalLM(MusicgenMelodyDecoderConfig(**decoder))
            width = self.decoder.config.hidden_size
            self.prefix = Prefix(shape["melody"]["chroma"], shape["melody"]["length"], width)
        else:
            self.decoder = MusicgenForCausalLM(MusicgenDecoderConfig(**decoder))
            width = self.decoder.config.hidden_size
        alike = self.text_encoder.config.hidden_size == width and "decoder" in shape
        self.projection = nn.Identity() if alike else nn.Linear(self.text_dim, width)
        self.tokenizer = tokenizer
        self.label_smoothing = 0.0

    # ---------------------------------------------------------------------------------- sizes

    @property
    def pad(self) -> int:
        """The id of a place without a code."""
        return int(self.shape["codebook_size"])

    @property
    def quantizers(self) -> int:
        """Codebooks."""
        return int(self.shape["quantizers"])

    @property
    def text_dim(self) -> int:
        """Width of a row of the text encoder's table."""
        return int(self.text_encoder.config.hidden_size)

    @property
    def table(self) -> Tensor:
        """The rows of the words that the text encoder knows [vocabulary, text_dim]."""
        table: Tensor = self.text_encoder.embed_tokens.weight
        return table

    # ----------------------------------------------------------------------------------- text

    def rows(
        self, texts: Sequence[str], concepts: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Texts as rows of the table and of learned words.

        Args:
            texts: an empty one stands for no text.
            concepts: learned words, [tokens, text_dim] each; texts name them <concept>.

        Returns:
            rows [B, L, text_dim] and which of them are there [B, L], long.

        Raises:
            UserError: a text names a concept that is not there.
        """
        known = concepts or {}
        names, table = {name: len(rows) for name, rows in known.items()}, self.table
        found = []
        for text in texts:
            parts = parts_of_text(text, self.tokenizer, names)
            rows = [
                known[part.concept].to(table) if part.concept else table[list(part.ids)]
                for part in parts
            ]
            found.append(torch.cat(rows) if rows else table[:0])
        lengths = [len(rows) for rows in found]
        padded = nn.utils.rnn.pad_sequence([*found, table[:1]], batch_first=True)[:-1]
        places = torch.arange(padded.shape[1], device=table.device)
        return padded, (places < torch.tensor(lengths, device=table.device)[:, None]).long()

    def encode(self, rows: Tensor, mask: Tensor, melody: Tensor | None = None) -> Tensor:
        """What the decoder sees of texts: rows [B, L, text_dim], mask [B, L] -> [B, L, dim].

        Zeros where nothing is; so of no text at all, as the original's guidance has it.

        Args:
            melody: [B, T, chroma], of a network that follows melodies; its prefix stands in front.
        """
        there = mask.clone()
        there[:, 0] |= mask.sum(1) == 0  # an encoder that sees nothing at all is no number
        hidden = self.text_encoder(inputs_embeds=rows, attention_mask=there).last_hidden_state
        projected: Tensor = self.projection(hidden)
        states = projected * mask[..., None].to(projected)
        if self.prefix is None:
            return states
        if melody is None:
            front = self.prefix.none(len(states), states)
        else:
            front = self.prefix(melody.to(states))
        return torch.cat([front, states], dim=1)

    def without_text(self, states: Tensor) -> Tensor:
        """What the decoder sees of neither text nor melody, as long as states that have them."""
        if self.prefix is None:
            return torch.zeros_like(states)
        front = self.prefix.none(len(states), states)
        return torch.cat([front, torch.zeros_like(states[:, front.shape[1] :])], dim=1)

    # ---------------------------------------------------------------------------------- codes

    def logits(self, moved: Tensor, states: Tensor, mask: Tensor, cache: Any = None) -> Tensor:
        """Delayed codes [B, K, P] -> logits of what follows each position, [B, K, P, codes]."""
        how: dict[str, Any] = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        if self.prefix is not None:  # states stand in front of the codes, and once in the cache
            seen = cache is not None and cache.get_seq_length() > 0
            how = {} if seen else {"encoder_hidden_states": states}
        out = self.decoder(
            input_ids=moved.flatten(0, 1), cache=cache, use_cache=cache is not None, **how
        )
        logits: Tensor = out.logits.unflatten(0, (-1, self.quantizers))
        return logits[:, :, -moved.shape[2] :]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean over all codes of a batch: `codes` [B, K, T], `ids` and `mask` [B, L] of texts."""
        states = self.encode(self.table[batch["ids"]], batch["mask"])
        logits, wanted = self.predicted(batch["codes"], states, batch["mask"])
        parts = [(logits.flatten(1, 2), wanted.flatten(1))]
        return cross_entropy(parts, self.label_smoothing, IGNORED)

    def predicted(self, codes: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, K, T + K - 1, codes], and what they should have foreseen [B, K, T + K - 1]."""
        moved = delayed(codes, self.pad)
        wanted = moved[..., 1:]
        logits = self.logits(moved[..., :-1], states, mask)
        return logits, wanted.masked_fill(wanted == self.pad, IGNORED)

    def nats(self, codes: Tensor, texts: Sequence[str], words: Mapping[str, Tensor]) -> Tensor:
        """Minus log probability of codes [B, K, T] after texts -> [B, codes of each].

        Args:
            words: rows of learned words that texts name.
        """
        rows, mask = self.rows(texts, words)
        logits, wanted = self.predicted(codes, self.encode(rows, mask), mask)
        lost = F.cross_entropy(
            logits.flatten(0, 2).float(),
            wanted.flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        return lost[wanted.flatten() != IGNORED].unflatten(0, (len(codes), -1))

    # ---------------------------------------------------------------------------------- files

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """As every stage's, with the files that belong to it."""
        return super().config(tokenizers) | {"files": list(self.files)}

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """As every stage, and tokenizer.json."""
        super().save(folder, tokenizers)
        with atomic(folder / TOKENIZER) as temporary:
            self.tokenizer.save(str(temporary))

    @classmethod
    def blank(cls, shape: Mapping[str, Any], network: Any, folder: Path) -> Self:
        """As `load` builds a stage before it takes its weights in."""
        return cls(shape, network, read_tokenizer(folder))


def configurations(
    shape: Mapping[str, Any], settings: TextNetwork
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What T5Config and MusicgenDecoderConfig are made from."""
    if "decoder" in shape:
        return shape["text"], shape["decoder"]
    text = {
        "vocab_size": shape["vocabulary"],
        "d_model": settings.text_dim,
        "d_kv": settings.text_dim // TEXT_HEADS,
        "d_ff": 4 * settings.text_dim,
        "num_layers": settings.text_layers,
        "num_heads": TEXT_HEADS,
        "dropout_rate": settings.dropout,
    }
    pad = shape["codebook_size"]
    decoder = {
        "vocab_size": pad,
        "hidden_size": settings.dim,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "ffn_dim": settings.ffn,
        "num_codebooks": shape["quantizers"],
        "dropout": settings.dropout,
        "max_position_embeddings": 2048,
        "pad_token_id": pad,
        "bos_token_id": pad,
    }
    return text, decoder


# --------------------------------------------------------------------------------- pretrained


def kind_of(folder: Path) -> str:
    """Of which kind of `pretrained` a MusicGen in results/pretrained/ is."""
    melody = read_json(folder / "config.json").get("model_type") == "musicgen_melody"
    return "melody_to_music" if melody else "text_to_music"


def from_pretrained(folder: Path, codec: Mapping[str, Any]) -> Lm:
    """The text encoder, projection and decoder of a MusicGen in results/pretrained/.

    Args:
        codec: `codebook_size`, `quantizers`, `frames`, `frame_rate` of the tokens that it is to
            make.

    Raises:
        UserError: it speaks of another codec's tokens.
    """
    from etude.pretrained.networks import load_network

    whole = load_network(folder, kind_of(folder)).to("cpu", torch.float32)
    text, decoder = (part.config.to_diff_dict() for part in (whole.text_encoder, whole.decoder))
    theirs = {
        "codebook_size": whole.decoder.config.vocab_size,
        "quantizers": whole.decoder.config.num_codebooks,
        "frame_rate": float(whole.audio_encoder.config.frame_rate),
    }
    if wrong := [f"{k} {v} (here {codec[k]})" for k, v in theirs.items() if codec[k] != v]:
        raise UserError(
            "this MusicGen makes the tokens of another codec",
            code="another-codec",
            where=str(folder),
            why=", ".join(wrong),
            do="give the experiment a token set whose acoustic tokenizer is the EnCodec that it "
            "was trained with (facebook/encodec_32khz, 4 quantizers, a cut of rate 32000)",
        )
    shape = {**codec, "vocabulary": text["vocab_size"], "text": text, "decoder": decoder}
    if hasattr(whole.config, "chroma_length"):
        shape["melody"] = {"chroma": whole.config.num_chroma, "length": whole.config.chroma_length}
    shape["known"] = list(NAMES)  # what T5 has surely read of
    model = Lm(shape, None, read_tokenizer(folder))
    model.text_encoder.load_state_dict(whole.text_encoder.encoder.state_dict())
    model.decoder.load_state_dict(whole.decoder.state_dict())
    if model.prefix is not None and isinstance(model.prefix.projection, nn.Linear):
        model.prefix.projection.load_state_dict(whole.audio_enc_to_dec_proj.state_dict())
    if isinstance(model.projection, nn.Linear):
        model.projection.load_state_dict(whole.enc_to_dec_proj.state_dict())
    return model.eval()
