"""Stable Audio as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import etude
from etude.clips.clip import Clip
from etude.clips.progress import never, silent
from etude.config.systems.stable_audio import BESIDE, StableAudio
from etude.errors import UserError
from etude.storage import read_csv
from etude.systems.base import (
    Audition,
    Batch,
    ClipSet,
    Codec,
    Data,
    Parts,
    RealMusic,
    SystemBase,
    TrainingMetric,
)
from etude.systems.conditions import Conditions
from etude.systems.musicgen.data import texts_that_are_read as read_texts
from etude.systems.musicgen.data import vary
from etude.systems.musicgen.texts import read_tokenizer
from etude.systems.stable_audio.adapter import Adapter, Tuned, join, load_adapter, shape_of
from etude.systems.stable_audio.audition import FIGURES, SoundListener
from etude.systems.stable_audio.autoencoder import Autoencoder, of_tokenizer
from etude.systems.stable_audio.autoencoder import from_pretrained as autoencoder_from
from etude.systems.stable_audio.conditioning import TELLING
from etude.systems.stable_audio.data import (
    Mixed,
    SoundWindows,
    check_same,
    read_statistics,
    spans_of,
)
from etude.systems.stable_audio.export_formats import FORMS, write_form
from etude.systems.stable_audio.latents import write_latents
from etude.systems.stable_audio.network import EMBEDDED, Sound, set_strength
from etude.systems.stable_audio.network import from_pretrained as network_from
from etude.systems.stable_audio.player import SoundPlayer, through
from etude.systems.stable_audio.reader import SoundReader
from etude.systems.stable_audio.texts import tokenizer_of
from etude.systems.stage_module import StageModule
from etude.systems.weights import read_stage_config
from etude.tokenizers.magnitude_rvq import MagnitudeRvqTokenizer
from etude.tokenizers.registry import load_tokenizer

AUTOENCODER, BASE, DIT = "autoencoder", "base", "dit"


class StableAudioSystem(SystemBase):
    """What is particular to this system."""

    title, items = "Stable Audio", "segments"
    loss_name = "error of the velocity"
    card_tags = ("music", "audio", "text-to-audio", "stable-audio")
    card_text = f"""\
A generator of sound from text: Stable Audio Open's network (Evans et al., arXiv 2407.14358) as
Étude {etude.__version__} trains or adapts it, with the autoencoder that plays its latents.

    python -m etude generate --from FOLDER --text "dark pad, slow" --duration 8 --output track

plays it (FOLDER: where this lies) in Étude's environment, from any directory."""

    # -------------------------------------------------------------------------------- training

    def build(  # noqa: D102
        self, experiment: StableAudio, stage: str, parts: Parts, seed: int
    ) -> StageModule:
        if stage == AUTOENCODER:
            return self._of_tokenizer(experiment, parts)
        if experiment.base:
            return self._adaptation(experiment, parts, seed)
        settings = experiment.stages.dit.network
        tokenizer = tokenizer_of(texts_that_are_read(experiment, parts), settings.spare_words)
        torch.manual_seed(seed)
        return Sound(self.shape(experiment, stage, parts), settings, tokenizer)

    def _of_tokenizer(self, experiment: StableAudio, parts: Parts) -> Autoencoder:
        tokenizer = load_tokenizer(parts.tokenizers["acoustic"])
        if not isinstance(tokenizer, MagnitudeRvqTokenizer):
            raise UserError(
                "latents are made by the PCA of a magnitude_rvq tokenizer",
                where=str(parts.tokenizers["acoustic"]),
                why=f"this is a {type(tokenizer).__name__}",
                do="name another token set in `tokens`",
            )
        return of_tokenizer(tokenizer, experiment.stages.autoencoder.network.components)

    def _adaptation(self, experiment: StableAudio, parts: Parts, seed: int) -> StageModule:
        torch.manual_seed(seed)
        if experiment.adapt.kind == "full":
            model = Tuned.load(parts.models[BASE])
            model.begun = parts.models[BASE]
            model.shape |= self._learned(experiment, parts, model.shape)
            return model
        base = Sound.load(parts.models[BASE])
        shape = shape_of(base, str(experiment.base), experiment.adapt)
        return Adapter(shape | self._learned(experiment, parts, base.shape), base)

    def take_over(  # noqa: D102
        self, experiment: StableAudio, stage: str, parts: Parts, weights: Path
    ) -> StageModule:
        if weights.is_dir():  # of results/pretrained/
            return self._pretrained(experiment, stage, parts, weights)
        folder = weights.parent
        if stage.startswith(BESIDE):
            return load_adapter(folder, Sound.load(parts.models[BASE]))
        return Autoencoder.load(folder) if stage == AUTOENCODER else Sound.load(folder)

    def _pretrained(
        self, experiment: StableAudio, stage: str, parts: Parts, weights: Path
    ) -> StageModule:
        if stage == AUTOENCODER:
            return autoencoder_from(weights)
        model = network_from(weights, read_statistics(parts.latents[AUTOENCODER]))
        model.shape |= self._learned(experiment, parts, model.shape)
        return model

    def shape(self, experiment: StableAudio, stage: str, parts: Parts) -> dict[str, Any]:  # noqa: D102
        if stage != DIT:
            return {}
        found = read_statistics(parts.latents[AUTOENCODER])
        window = experiment.stages.dit.window
        texts = texts_that_are_read(experiment, parts)
        settings = experiment.stages.dit.network
        keys = ("channels", "mean", "deviation", "percentile", "silence")
        shape = {key: found[key] for key in keys} | {
            "frame_rate": found["rate"] / found["hop"],
            "frames": max(1, round(window * found["rate"] / found["hop"])),
            "vocabulary": tokenizer_of(texts, settings.spare_words).get_vocab_size(),
        }
        return shape | self._learned(experiment, parts, shape)

    def _learned(
        self, experiment: StableAudio, parts: Parts, shape: dict[str, Any]
    ) -> dict[str, Any]:
        """What of the corpus at hand playing needs to know: seconds, and a caption."""
        folder = parts.latents[AUTOENCODER]
        found = read_statistics(folder)
        check_same(found, shape, folder)
        frames = max(1, round(experiment.stages.dit.window * shape["frame_rate"]))
        tokenizer = tokenizer_of([], 1)
        windows = SoundWindows(folder, "train", frames, torch.zeros(0), tokenizer, 1)
        captions = [row["caption"] for row in windows.rows if row["caption"]]
        return {"frames": frames, "spans": spans_of(windows), "example": (captions or [""])[0]}

    def data(  # noqa: D102
        self, experiment: StableAudio, stage: str, parts: Parts
    ) -> tuple[Data, Data]:
        tokenizer, length, shape = self._texts_of(experiment, parts)
        settings, folder = experiment.stages.dit, parts.latents[AUTOENCODER]
        frames = max(1, round(settings.window * shape["frame_rate"]))
        silence = torch.tensor(shape["silence"]).float()
        read = (frames, silence, tokenizer, length)
        bare = TELLING[shape.get("family", EMBEDDED)].bare
        varied = partial(vary, experiment=experiment)  # type: ignore[arg-type]
        items = settings.training.train_items
        train: Data = SoundWindows(folder, "train", *read, varied, items, bare=bare)
        if not len(train):
            raise UserError(
                "there is nothing to train on",
                where=str(folder),
                why="no piece of the training split was encoded",
                do="look at left_out.csv there, and at pieces.csv",
            )
        valid = SoundWindows(folder, "valid", *read, bare=bare)
        borrowed = f"{experiment.base}/{AUTOENCODER}"
        if experiment.base and experiment.adapt.replay and borrowed in parts.latents:
            others = SoundWindows(parts.latents[borrowed], "train", *read, varied, bare=bare)
            train = Mixed(train, others, experiment.adapt.replay)  # type: ignore[arg-type]
        return train, valid

    def _texts_of(self, experiment: StableAudio, parts: Parts) -> tuple[Any, int, dict[str, Any]]:
        """Tokenizer, length and shape of the network that learns."""
        if not experiment.base:
            network = experiment.stages.dit.network
            texts = texts_that_are_read(experiment, parts)
            shape = self.shape(experiment, DIT, parts)
            return tokenizer_of(texts, network.spare_words), network.text_length, shape
        folder = parts.models[BASE]
        about = read_stage_config(folder)
        length = about["shape"].get("text_length", about["network"].get("text_length", 128))
        return read_tokenizer(folder), int(length), about["shape"]

    def figures(self, stage: str) -> tuple[TrainingMetric, ...]:  # noqa: D102
        return FIGURES

    def audition(self, parts: Parts) -> Callable[[Any], Audition]:  # noqa: D102
        return SoundListener(parts, AUTOENCODER)

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        return ""

    def encode(self, experiment: StableAudio, stage: str, parts: Parts, folder: Path) -> None:  # noqa: D102
        write_latents(Autoencoder.load(parts.models[AUTOENCODER]), parts, folder)

    def flops(self, model: nn.Module, batch: Batch) -> float:  # noqa: D102
        return 0.0

    def load(self, folder: Path, parts: Parts) -> StageModule:  # noqa: D102
        about = read_stage_config(folder)
        if about["stage"] == AUTOENCODER:
            return Autoencoder.load(folder)
        if "adapter" not in about["shape"]:
            return Sound.load(folder)
        return load_adapter(folder, Sound.load(parts.models[BASE]))

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: StableAudio, parts: Parts) -> SoundPlayer:  # noqa: D102
        found = self.load(parts.models[DIT], parts)
        network = found
        if isinstance(found, Adapter):
            for name in experiment.adapters:
                join(found, name, parts.models[f"{BESIDE}{name}"])
            network = found.base
        assert isinstance(network, Sound)
        network.shape = found.shape
        autoencoder = Autoencoder.load(parts.models[AUTOENCODER])
        return SoundPlayer(network, autoencoder, held_out_captions(parts))

    def reader(self, weights: Path, tokenizer: Path) -> SoundReader:
        """Pretrained weights as a TextReader of `etude.systems.concept_queries`."""
        return SoundReader(weights)

    def codec(self, parts: Parts) -> Codec:  # noqa: D102
        autoencoder = Autoencoder.load(parts.models[AUTOENCODER])
        return Codec(autoencoder.rate, partial(through, autoencoder))

    def baselines(  # noqa: D102
        self, experiment: StableAudio, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        first = experiment.seeds.train[0]
        autoencoder = Autoencoder.load(parts.models[AUTOENCODER])
        rate, note = autoencoder.rate, "" if real.spans else "no real clips"
        generator = torch.Generator().manual_seed(seed)

        def played(shuffled: bool) -> Iterator[Clip]:
            for span, wave in zip(real.spans, real.waves(rate), strict=True):
                latents = autoencoder.encode(torch.from_numpy(wave)[None])
                if shuffled:
                    order = torch.randperm(latents.shape[2], generator=generator)
                    latents = latents[:, :, order]
                yield Clip(autoencoder.decode(latents)[0].numpy(), {} if shuffled else span.row)

        yield "reconstruction", ClipSet(played(False), rate, note)
        yield "shuffled", ClipSet(played(True), rate, note)
        model = self._untrained(experiment, parts, first)
        player = SoundPlayer(model, autoencoder, held_out_captions(parts))
        asked = player.prepare(experiment.generate, Conditions())
        clips = player.clips(experiment.generate, first, seed, asked, silent, never)
        yield "untrained", ClipSet((Clip(clip.wave) for clip in clips), player.rate)

    def _untrained(self, experiment: StableAudio, parts: Parts, seed: int) -> Sound:
        """The network as its training began: random, or the base."""
        if experiment.base:
            return Sound.load(parts.models[BASE])
        if DIT in parts.models:  # which was not trained here
            return Sound.load(parts.models[DIT])
        model = self.build(experiment, DIT, parts, seed)
        assert isinstance(model, Sound)
        return model.eval()

    forms = FORMS

    def write_form(  # noqa: D102
        self, experiment: StableAudio, parts: Parts, form: str, folder: Path
    ) -> None:
        player, how = self.open(experiment, parts), experiment.generate
        if player.adapted:
            set_strength(player.model, how.adapter_strength, how.strengths)
        write_form(player, parts, DIT, form, folder)

    def card(self, player: SoundPlayer) -> dict[str, Any]:  # noqa: D102
        shape = player.model.shape
        return {"latents": f"{shape['channels']} numbers at {shape['frame_rate']:g} Hz"}


def held_out_captions(parts: Parts) -> list[str]:
    """The captions of the validation split's pieces, or of the training split's.

    In a random order and as often as they occur, so that however few are asked for, they ask for
    what the held-out music is. Nothing outside the workflow, where there are no latents.
    """
    folder = parts.latents.get(AUTOENCODER)
    for split in ("valid", "train"):
        path = folder / f"{split}.csv" if folder else None
        rows = list(read_csv(path)) if path is not None and path.is_file() else []
        if found := [row["caption"] for row in rows if row["caption"]]:
            return [found[n] for n in np.random.default_rng(0).permutation(len(found))]
    return []


def texts_that_are_read(experiment: StableAudio, parts: Parts) -> list[str]:
    """All that the text tokenizer of a base must know."""
    return read_texts(experiment, parts)  # type: ignore[arg-type]  # it asks for templates alone
