"""MusicGen as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

import etude
from etude.clips.clip import Clip
from etude.clips.progress import never, silent
from etude.config.systems.musicgen import MusicGen
from etude.errors import UserError
from etude.systems.base import Batch, ClipSet, Codec, Data, Parts, RealMusic, TrainingMetric, Wave
from etude.systems.concept_queries import ConceptQuery
from etude.systems.conditions import Conditions
from etude.systems.musicgen.concept_queries import known_sounds
from etude.systems.musicgen.data import (
    Captioned,
    known_words,
    read_captions,
    splits_of,
    texts_that_are_read,
)
from etude.systems.musicgen.network import Lm, from_pretrained
from etude.systems.musicgen.player import MusicGenPlayer, open_codec
from etude.systems.musicgen.reader import CodecReader
from etude.systems.musicgen.texts import TOKENIZER, word_tokenizer
from etude.systems.stage_module import (
    OF_TOKENS,
    StagedSystem,
    StageModule,
    transformer_flops,
)
from etude.systems.weights import read_stage_config

STAGE = "lm"


class MusicGenSystem(StagedSystem):
    """What is particular to this system."""

    title, items = "MusicGen", "segments"
    loss_name = "cross-entropy"
    stages: ClassVar[Mapping[str, type[StageModule]]] = {STAGE: Lm}
    card_tags = ("music", "audio", "text-to-audio", "musicgen")
    card_text = f"""\
A generator of music from text: MusicGen (Copet et al., arXiv 2306.05284) as Étude
{etude.__version__} trains or opens it, with the codec that plays its tokens.

    python -m etude generate --from FOLDER --text "music box, slow" --duration 8 --output track

plays it (FOLDER: where this lies) in Étude's environment, from any directory."""

    # -------------------------------------------------------------------------------- training

    def build(self, experiment: MusicGen, stage: str, parts: Parts, seed: int) -> Lm:  # noqa: D102
        torch.manual_seed(seed)
        settings = experiment.stage(stage)
        tokenizer = word_tokenizer(texts_that_are_read(experiment, parts))
        model = Lm(self.shape(experiment, stage, parts), settings.network, tokenizer)
        model.label_smoothing = settings.training.label_smoothing
        return model

    def take_over(  # noqa: D102
        self, experiment: MusicGen, stage: str, parts: Parts, weights: Path
    ) -> Lm | None:
        if weights.is_dir():
            return from_pretrained(weights, codec_shape(parts))
        if not (weights.parent / TOKENIZER).is_file():
            return None
        model = Lm.load(weights.parent)
        check_shape(model, codec_shape(parts), weights)
        if experiment.stage(stage).weights.fine_tune:  # type: ignore[union-attr]
            self._same_words(experiment, parts, model, weights)
        return model

    def _same_words(self, experiment: MusicGen, parts: Parts, model: Lm, weights: Path) -> None:
        ours = word_tokenizer(texts_that_are_read(experiment, parts))
        if ours.to_str() != model.tokenizer.to_str():
            raise UserError(
                "these weights learned other words than this corpus has",
                where=str(weights),
                why=f"{model.tokenizer.get_vocab_size()} words there, {ours.get_vocab_size()} here",
                do="train on from weights of a corpus with the same words, or take them as they "
                "are (without `fine_tune`)",
            )

    def shape(self, experiment: MusicGen, stage: str, parts: Parts) -> dict[str, Any]:  # noqa: D102
        tokenizer = word_tokenizer(texts_that_are_read(experiment, parts))
        known = known_words(experiment, parts)
        return codec_shape(parts) | {"vocabulary": tokenizer.get_vocab_size(), "known": known}

    def data(self, experiment: MusicGen, stage: str, parts: Parts) -> tuple[Data, Data]:  # noqa: D102
        train, valid = splits_of(experiment, parts, experiment.stage(stage).training.train_items)
        captions = read_captions(parts.captions)
        tokenizer = word_tokenizer(texts_that_are_read(experiment, parts))
        read = (captions, tokenizer, experiment)
        return Captioned(train, *read, varied=True), Captioned(valid, *read, varied=False)

    def figures(self, stage: str) -> tuple[TrainingMetric, ...]:  # noqa: D102
        return OF_TOKENS

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        return "nats per token"

    def flops(self, model: nn.Module, batch: Batch) -> float:  # noqa: D102
        assert isinstance(model, Lm)
        rows, quantizers, frames = batch["codes"].shape
        return transformer_flops(model, model.settings, rows, frames + quantizers - 1)

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: MusicGen, parts: Parts) -> MusicGenPlayer:  # noqa: D102
        model = Lm.load(parts.models[STAGE])
        return MusicGenPlayer(
            *(model, open_codec(parts.tokenizers)),
            takes=MusicGen.conditions,
            texts=held_out_captions(experiment, parts),
        )

    def asked(
        self, experiment: MusicGen, parts: Parts, seed: int, settings: Any
    ) -> Iterator[ConceptQuery]:
        """Sounds whose words were learned from captions; see `etude.systems.concept_queries`."""
        yield from known_sounds(experiment, parts, self.open(experiment, parts), settings, seed)

    def reader(self, weights: Path, tokenizer: Path) -> CodecReader:
        """Pretrained weights as a TextReader of `etude.systems.concept_queries`."""
        return CodecReader(weights, tokenizer)

    def codec(self, parts: Parts) -> Codec:  # noqa: D102
        acoustic = open_codec(parts.tokenizers)

        def through(wave: Wave) -> Wave:
            decoded: Wave = acoustic.decode(acoustic.encode(torch.from_numpy(wave)[None]))
            return decoded[0].cpu().numpy()

        return Codec(acoustic.sample_rate, through)

    def baselines(  # noqa: D102
        self, experiment: MusicGen, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        first = experiment.seeds.train[0]
        model = self._untrained(experiment, parts, first)
        player = MusicGenPlayer(
            *(model, open_codec(parts.tokenizers)),
            takes=MusicGen.conditions,
            texts=held_out_captions(experiment, parts),
        )
        yield from sets_of_codec(player, experiment.generate.seconds, real, seed)
        asked = player.prepare(experiment.generate, Conditions())
        clips = player.clips(experiment.generate, first, seed, asked, silent, never)
        yield "untrained", ClipSet((Clip(clip.wave) for clip in clips), player.rate)

    def _untrained(self, experiment: MusicGen, parts: Parts, seed: int) -> Lm:
        """The network as training would begin; of a pretrained one, one like it."""
        if STAGE not in parts.models:
            return self.build(experiment, STAGE, parts, seed)
        folder = parts.models[STAGE]
        torch.manual_seed(seed)
        about = read_stage_config(folder)
        return Lm.blank(about["shape"], Lm.read_network(about["network"]), folder)

    def card(self, player: MusicGenPlayer) -> dict[str, Any]:  # noqa: D102
        return {"codec": f"{player.acoustic.quantizers} x {player.acoustic.codebook_size}"}


def check_shape(model: Lm, codec: dict[str, Any], where: Path) -> None:
    """See that a network makes the tokens that are packed here.

    Raises:
        UserError: it does not.
    """
    keys = ("codebook_size", "quantizers", "frame_rate")
    if wrong := [
        f"{k} {model.shape[k]} (here {codec[k]})" for k in keys if model.shape[k] != codec[k]
    ]:
        raise UserError(
            "these weights learned the tokens of another codec",
            where=str(where),
            why=", ".join(wrong),
            do="give the experiment the token set that they were trained with",
        )


def codec_shape(parts: Parts) -> dict[str, Any]:
    """What of a packed token set's shape fixes the network."""
    info = parts.info
    return {
        "codebook_size": info["codebook_size"],
        "quantizers": info["quantizers"],
        "frames": info["acoustic_frames"],
        "frame_rate": float(info["acoustic_frame_rate"]),
    }


def held_out_captions(experiment: MusicGen, parts: Parts) -> list[str]:
    """The captions of the validation split's pieces, or of all where it has none; of known sounds.

    In a random order and as often as they occur, so that however few are asked for, they ask for
    what the held-out music is. Nothing outside the workflow, where no packed tokens are.
    """
    if parts.packed is None or parts.captions is None:
        return []
    import datasets

    captions = read_captions(parts.captions)
    held_out = datasets.load_from_disk(str(parts.packed / "valid"))["piece"]
    rows = [captions[piece] for piece in dict.fromkeys(held_out) if piece in captions]
    rows = [r for r in rows or captions.values() if r["concept"] not in experiment.leave_out]
    return [rows[number]["caption"] for number in np.random.default_rng(0).permutation(len(rows))]


def sets_of_codec(
    player: MusicGenPlayer, seconds: float, real: RealMusic, seed: int
) -> Iterator[tuple[str, ClipSet]]:
    """Real clips through the codec, and their frames in random order."""
    codec = player.acoustic
    generator = torch.Generator().manual_seed(seed)

    def played(shuffled: bool) -> Iterator[Clip]:
        for span, wave in zip(real.spans, real.waves(player.rate), strict=True):
            codes = codec.encode(torch.from_numpy(wave)[None])
            if shuffled:
                codes = codes[:, :, torch.randperm(codes.shape[2], generator=generator)]
            (decoded,) = player.decode(codes, seconds)
            yield Clip(decoded, {} if shuffled else span.row)

    note = "" if real.spans else "no real clips"
    yield "reconstruction", ClipSet(played(False), player.rate, note)
    yield "shuffled", ClipSet(played(True), player.rate, note)
