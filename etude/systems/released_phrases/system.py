"""The released PhraseVAE and PhraseLDM as import, generation and metrics see them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from etude.config import Weights
from etude.config.systems.released_phrases import ReleasedPhrases
from etude.devices import choose_device
from etude.midi.keys import find_key
from etude.midi.notes import NoteTable
from etude.storage import hash_file
from etude.systems.base import ClipSet, Parts, RealMusic
from etude.systems.phrase_ldm.system import tokenizer_of
from etude.systems.released_phrases.dit import ReleasedDit, as_found
from etude.systems.released_phrases.vae import SHAPE, ReleasedVae
from etude.systems.released_phrases.vocabulary import INST, Translator
from etude.systems.stage_module import StagedSystem, StageModule
from etude.systems.weights import load_weights, read_hyperparameters, read_weights
from etude.tokenizers.symbolic.base import transposed

if TYPE_CHECKING:
    from etude.systems.released_phrases.player import SongPlayer

log = logging.getLogger(__name__)


class ReleasedPhrasesSystem(StagedSystem):
    """What is particular to this system."""

    title, items = "PhraseVAE and PhraseLDM as released", "songs"
    stages: ClassVar = {"vae": ReleasedVae, "ldm": ReleasedDit}
    card_tags = ("music", "midi", "music-generation", "latent-diffusion")
    card_text = """\
PhraseVAE and PhraseLDM (arXiv 2512.11348) with their authors' weights: whole songs as notes.

    python -m etude generate --from FOLDER --batch_size 2 --output song

makes songs (FOLDER: where this lies) in Étude's environment, from any directory."""

    # --------------------------------------------------------------------------------- weights

    def shape(self, experiment: ReleasedPhrases, stage: str, parts: Parts) -> dict[str, Any]:  # noqa: D102
        return SHAPE if stage == "vae" else {"latent": experiment.stages.ldm.network.latent}

    def take_over(
        self, experiment: ReleasedPhrases, stage: str, parts: Parts, weights: Path
    ) -> StageModule | None:
        """A checkpoint of Lightning's says sizes, scale and clip itself; other files do not."""
        if stage != "ldm":
            return None
        given = experiment.stages.ldm.weights
        if given is None or given.path is None:  # its hash was compared when it was fetched
            given = Weights(path=weights, sha256=hash_file(weights))
        found = read_hyperparameters(weights, given)
        if not found:
            return None
        wanted = experiment.stages.ldm.network
        if (settings := as_found(wanted, found, str(weights))) != wanted:
            log.warning("%s says its sizes itself: %s", weights.name, settings.model_dump())
        model = ReleasedDit({"latent": settings.latent}, settings)
        load_weights(model, model.accept(read_weights(weights, given)), weights)
        return model

    def encode(  # noqa: D102
        self, experiment: ReleasedPhrases, stage: str, parts: Parts, folder: Path
    ) -> None:
        from etude.systems.released_phrases.songs import write_latents

        assert parts.packed is not None
        vae = ReleasedVae.load(parts.models[stage]).to(choose_device())
        write_latents(vae, parts.packed, translator_of(experiment, parts), folder)

    def encoder(  # noqa: D102
        self, experiment: ReleasedPhrases, parts: Parts
    ) -> Callable[[NoteTable], NDArray[np.float64]]:
        from etude.systems.phrase_ldm.latents import posteriors

        vae = ReleasedVae.load(parts.models["vae"]).to(choose_device())
        translator = translator_of(experiment, parts)
        tokenizer = translator.tokenizer

        def encode(notes: NoteTable) -> NDArray[np.float64]:
            settings = tokenizer.settings
            if settings.normalise_key:  # of a clip there is no file that could say its key
                notes = transposed(notes, find_key(notes, settings.key_profile).shift)
            texts = translator.texts(tokenizer.bars(tokenizer.encode(notes)))
            # What is the same for all music (ends of bars, tracks that rest) tells nothing.
            played = [text for text in texts if len(text) > 1 and text[0] != INST]
            return posteriors(vae, played)[0].double().numpy()

        return encode

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: ReleasedPhrases, parts: Parts) -> SongPlayer:  # noqa: D102
        return self._player(experiment, parts, ReleasedDit.load(parts.models["ldm"]))

    @staticmethod
    def _player(experiment: ReleasedPhrases, parts: Parts, ldm: ReleasedDit) -> SongPlayer:
        from etude.systems.released_phrases.player import SongPlayer

        assert parts.corpus is not None
        vae = ReleasedVae.load(parts.models["vae"])
        return SongPlayer(vae, ldm, translator_of(experiment, parts), parts.corpus)

    def baselines(  # noqa: D102
        self, experiment: ReleasedPhrases, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        from etude.systems.released_phrases.baselines import SongBaselines

        assert parts.packed is not None
        released = ReleasedDit.load(parts.models["ldm"])  # whose sizes may be its own
        torch.manual_seed(experiment.seeds.train[0])
        ldm = ReleasedDit(released.shape, released.settings)
        player = self._player(experiment, parts, ldm)
        return SongBaselines(experiment, player, parts.packed, parts.latents["vae"], seed).sets()

    def card(self, player: SongPlayer) -> dict[str, Any]:  # noqa: D102
        settings = player.ldm.settings
        return {
            "latents": f"{player.ldm.shape['latent']} numbers a phrase, four to a bar",
            "scale and clip": f"{settings.scale:g}, {settings.clip:g}, as released",
        }


def translator_of(experiment: ReleasedPhrases, parts: Parts) -> Translator:
    """Between the corpus's tokenizer and the released words.

    Raises:
        UserError: the tokenizer is of another kind.
    """
    tokenizer = tokenizer_of(parts)
    by_track = tokenizer.settings.tracks == "track"
    return Translator(tokenizer, experiment.programs if by_track else ())
