"""PhraseVAE and PhraseLDM as training, generation and metrics see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

import etude
from etude.config.systems.phrase_ldm import ORDER, PhraseLdm
from etude.devices import choose_device
from etude.errors import UserError
from etude.midi.keys import find_key
from etude.midi.notes import NoteTable
from etude.systems.base import Batch, ClipSet, Data, Parts, RealMusic, TrainingMetric
from etude.systems.phrase_ldm.ldm import Ldm
from etude.systems.phrase_ldm.phrases import (
    BarItems,
    BarsWithGaps,
    Phrases,
    bar_texts,
    phrases_of,
    read_songs,
    seen_phrases,
    shape_of,
)
from etude.systems.phrase_ldm.pieces import Pieces, read_statistics
from etude.systems.phrase_ldm.sections import read_labels
from etude.systems.phrase_ldm.vae import Autoencode, Infill, PhraseStage, Vae
from etude.systems.stage_module import StagedSystem, StageModule, transformer_flops
from etude.systems.weights import check_tokenizer, load_weights, read_stage_config, read_weights
from etude.tokenizers.symbolic.base import transposed
from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer as load_tokenizer
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.remi_z_vocabulary import NUMBER_OF
from etude.workflow.imported_weights import MODEL

if TYPE_CHECKING:
    from etude.systems.phrase_ldm.player import PhraseLdmPlayer

# Of latents that nobody has made: for networks that are built without a corpus.
NO_STATISTICS = {"mean": 0.0, "deviation": 1.0, "percentile": 3.3, "longest": 64, "forms": []}


class PhraseLdmSystem(StagedSystem):
    """A latent for each phrase, and diffusion over the latents of a piece."""

    title, items = "phrases as latents, and diffusion over these", "pieces"
    loss_name = "loss"
    stages: ClassVar = {"infill": Infill, "autoencode": Autoencode, "vae": Vae, "ldm": Ldm}

    # -------------------------------------------------------------------------------- training

    def build(self, experiment: PhraseLdm, stage: str, parts: Parts, seed: int) -> StageModule:  # noqa: D102
        model = super().build(experiment, stage, parts, seed)
        if isinstance(model, PhraseStage):
            tokenizer = tokenizer_of(parts)
            model.know_numbers(tokenizer.numbers())
            model.notes_of = tokenizer.phrase_notes
            if before := [name for name in ORDER[: ORDER.index(stage)] if name in parts.models]:
                begin_with(model, parts.models[before[-1]])
        if isinstance(model, Vae):
            settings = experiment.stages.vae
            training = settings.training
            model.kl = settings.kl
            model.rising = settings.kl.warm_up * training.steps * training.accumulate
        return model

    def shape(self, experiment: PhraseLdm, stage: str, parts: Parts) -> dict[str, Any]:  # noqa: D102
        tokenizer, signatures = tokenizer_of(parts), experiment.stages.ldm.meters
        if stage != "ldm":
            return shape_of(tokenizer)
        slots = tokenizer.settings.slots
        shape = {"slots": slots, "keys": 12, "modes": 2, "meters": len(signatures)}
        shape["signatures"] = signatures
        if "vae" not in parts.latents:
            latent = experiment.stages.vae.network.latent
            return shape | NO_STATISTICS | {"latent": latent, "programs": [0] * slots}
        folder = parts.latents["vae"]
        found = read_statistics(folder, slots)
        names = ("mean", "deviation", "percentile", "programs", "longest")
        forms = self._pieces(experiment, parts, "train").forms
        of_latents = {name: found[name] for name in names} | {"latent": found["dimension"]}
        return shape | of_latents | {"forms": forms}

    def data(self, experiment: PhraseLdm, stage: str, parts: Parts) -> tuple[Data, Data]:  # noqa: D102
        items = experiment.stage(stage).training.train_items
        if stage == "ldm":
            train = self._pieces(experiment, parts, "train", items, alike=True)
            if not len(train):
                raise UserError(
                    "no training piece has a meter that the diffusion learns",
                    code="nothing-to-train-on",
                    where="stages.ldm.meters",
                    why=f"all {train.left_out} pieces have another than "
                    f"{', '.join(experiment.stages.ldm.meters)}, or change it",
                    do="add their meters there",
                )
            return train, self._pieces(experiment, parts, "valid")
        assert parts.packed is not None
        tokenizer = tokenizer_of(parts)
        songs = {s: read_songs(parts.packed, s, tokenizer) for s in ("train", "valid")}
        if stage == "infill":
            gaps = (experiment.stages.infill.share, experiment.stages.infill.span)
            train_rows, valid_rows = (bar_texts(songs[s], tokenizer) for s in ("train", "valid"))
            return (
                BarsWithGaps(train_rows, tokenizer, *gaps, items=items),
                BarsWithGaps(valid_rows, tokenizer, *gaps),
            )
        known = seen_phrases(songs["train"])
        if stage == "vae" and experiment.stages.vae.network.context != "none":
            bars = {s: [bar.phrases for song in songs[s] for bar in song.bars] for s in songs}
            return (
                BarItems(bars["train"], tokenizer.pad, items=items),
                BarItems(bars["valid"], tokenizer.pad, known=known),
            )
        train_phrases = phrases_of(songs["train"])
        return (
            Phrases(train_phrases, tokenizer.pad, items=items),
            Phrases(phrases_of(songs["valid"]), tokenizer.pad, known=known),
        )

    @staticmethod
    def _pieces(
        experiment: PhraseLdm,
        parts: Parts,
        split: str,
        items: int | None = None,
        *,
        alike: bool = False,
    ) -> Pieces:
        """The latents of a split; their sections are the user's labels where there are any."""
        stage, forms = experiment.stages.ldm, None
        if stage.labels is not None and stage.labels.name in parts.files:
            assert parts.packed is not None
            labels = read_labels(parts.files[stage.labels.name])
            songs = read_songs(parts.packed, split, tokenizer_of(parts))
            forms = [labels.get(song.piece) for song in songs]
        meters = [NUMBER_OF[meter] for meter in map(signature, stage.meters)]
        path = parts.latents["vae"] / f"{split}.safetensors"
        return Pieces(path, stage.crops, forms, meters, items, alike=alike)

    def figures(self, stage: str) -> tuple[TrainingMetric, ...]:  # noqa: D102
        return tuple(getattr(self.stages[stage], "figures", ()))

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        units = {
            "ldm": "mean squared error",
            "vae": "nats per token, and the weighted KL divergence",
        }
        return units.get(stage, "nats per token")

    def flops(self, model: nn.Module, batch: Batch) -> float:
        """Of positions: ids that one half of the network reads, or bars (phrases) of latents."""
        if "targets" in batch:
            length = (batch["ids"].shape[1] + batch["targets"].shape[1]) // 2
            return transformer_flops(model, model.settings, len(batch["ids"]), length)
        rows, bars, slots = batch["mean"].shape[:3]
        positions = bars * (slots if getattr(model.settings, "token", "") == "phrase" else 1)
        return transformer_flops(model, model.settings, rows, positions)

    def load(self, folder: Path, parts: Parts) -> StageModule:
        """A trained stage from its folder, ready to use.

        Raises:
            UserError: no stage is there, one of another system, or one of another tokenizer.
        """
        stage = super().load(folder, parts)
        if "tokenizer" in parts.tokenizers:
            check_tokenizer(folder, read_stage_config(folder), parts.tokenizers["tokenizer"])
        return stage

    def encode(self, experiment: PhraseLdm, stage: str, parts: Parts, folder: Path) -> None:  # noqa: D102
        from etude.systems.phrase_ldm.latents import write_latents

        assert parts.packed is not None
        vae = self.load(parts.models[stage], parts).to(choose_device())
        assert isinstance(vae, Vae)
        least = experiment.stages.vae.least_f1
        write_latents(vae, parts.packed, tokenizer_of(parts), least, folder)

    def encoder(  # noqa: D102
        self, experiment: PhraseLdm, parts: Parts
    ) -> Callable[[NoteTable], NDArray[np.float64]]:
        from etude.systems.phrase_ldm.latents import posteriors

        vae, tokenizer = self.load(parts.models["vae"], parts), tokenizer_of(parts)
        assert isinstance(vae, Vae)
        vae = vae.to(choose_device())

        def encode(notes: NoteTable) -> NDArray[np.float64]:
            settings = tokenizer.settings
            if settings.normalise_key:  # of a clip there is no file that could say its key
                notes = transposed(notes, find_key(notes, settings.key_profile).shift)
            bars = tokenizer.bars(tokenizer.encode(notes))
            phrases = [phrase for bar in bars for phrase in bar.phrases]
            return posteriors(vae, phrases)[0].double().numpy()

        return encode

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: PhraseLdm, parts: Parts) -> PhraseLdmPlayer:  # noqa: D102
        from etude.systems.phrase_ldm.player import PhraseLdmPlayer

        assert parts.corpus is not None
        vae, ldm = (self.load(parts.models[name], parts) for name in ("vae", "ldm"))
        assert isinstance(vae, Vae)
        assert isinstance(ldm, Ldm)
        if "vae" in parts.latents:
            self._same_latents(ldm, parts.latents["vae"], parts.models)
        return PhraseLdmPlayer(vae, ldm, tokenizer_of(parts), parts.corpus)

    @staticmethod
    def _same_latents(ldm: Ldm, folder: Path, models: Any) -> None:
        """See that the diffusion learned these latents.

        Raises:
            UserError: it learned others; what it makes would mean nothing to the autoencoder.
        """
        found = read_statistics(folder, ldm.shape["slots"])
        if any(found[name] != ldm.shape[name] for name in ("mean", "deviation")):
            raise UserError(
                "the diffusion has learned the latents of another autoencoder",
                code="another-autoencoder",
                where=f"{models['ldm']} and {folder}",
                why="the scale of its latents is another",
                do="train the stage ldm again on the latents of this one",
            )

    def baselines(  # noqa: D102
        self, experiment: PhraseLdm, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        from etude.systems.phrase_ldm.baselines import PhraseBaselines

        vae = self.load(parts.models["vae"], parts)
        ldm = self.build(experiment, "ldm", parts, experiment.seeds.train[0])
        assert isinstance(vae, Vae)
        assert isinstance(ldm, Ldm)
        return PhraseBaselines(experiment, parts, vae, ldm, tokenizer_of(parts), seed).sets()

    def card(self, player: PhraseLdmPlayer) -> dict[str, Any]:  # noqa: D102
        shape = player.ldm.shape
        return {
            "latents": f"{shape['latent']} numbers a phrase, {shape['slots']} phrases a bar",
            "meters": ", ".join(shape["signatures"]),
        }

    card_tags = ("music", "midi", "music-generation", "latent-diffusion")
    card_text = f"""\
A generator of whole pieces as notes: an autoencoder of phrases (a track in a bar) and a diffusion
over the latents of a piece, as Étude {etude.__version__} trains them.

    python -m etude generate --from FOLDER --batch_size 4 --output piece
    python -m etude continue my.mid --from FOLDER --bars 8 --out continued

make pieces and continue a MIDI file of yours (FOLDER: where this lies) in Étude's environment,
from any directory."""


def tokenizer_of(parts: Parts) -> RemiZTokenizer:
    """The tokenizer of phrases.

    Raises:
        UserError: it is another kind.
    """
    folder = parts.tokenizers["tokenizer"]
    tokenizer = load_tokenizer(folder)
    if not isinstance(tokenizer, RemiZTokenizer):
        raise UserError(
            "this tokenizer has no phrases",
            code="tokenizer-of-another-kind",
            where=str(folder),
            do="name a token set whose tokenizer is of the kind remi_z",
        )
    return tokenizer


def signature(meter: str) -> tuple[int, int]:
    """4/4 -> (4, 4)."""
    numerator, denominator = meter.split("/")
    return int(numerator), int(denominator)


def begin_with(model: PhraseStage, folder: Path) -> None:
    """The weights of the stage before, in place; what that had not stays as it is.

    Raises:
        UserError: they do not fit.
    """
    tensors = read_weights(folder / MODEL)
    fresh = {name: w for name, w in model.state_dict().items() if name not in tensors}
    load_weights(model, tensors | fresh, folder / MODEL)
