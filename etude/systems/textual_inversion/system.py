"""Textual inversion as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import etude
from etude.clips.clip import Clip
from etude.clips.progress import never, silent
from etude.config.systems.textual_inversion import TextualInversion
from etude.errors import UserError
from etude.pretrained.network_hash import hash_state
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
from etude.systems.concept_queries import ConceptQuery
from etude.systems.conditions import Conditions
from etude.systems.musicgen.network import Lm
from etude.systems.musicgen.player import MusicGenPlayer, open_codec
from etude.systems.musicgen.system import MusicGenSystem, sets_of_codec
from etude.systems.stage_module import StageModule, transformer_flops
from etude.systems.textual_inversion.audition import DISTANCE, InversionListener
from etude.systems.textual_inversion.concept_queries import learned_words, with_untrained
from etude.systems.textual_inversion.concepts import Concepts, check_names
from etude.systems.textual_inversion.data import splits_of
from etude.systems.textual_inversion.files import check_base, read_concepts

BASE, CONCEPT = "base", "concept"
FIGURES = (
    TrainingMetric("against_null", "nats per token"),
    TrainingMetric(DISTANCE, "to held-out pieces", from_audition=True),
)


class TextualInversionSystem(SystemBase):
    """What is particular to this system."""

    title, items = "Textual inversion", "segments"
    loss_name = "cross-entropy"
    card_tags = ("music", "audio", "text-to-audio", "textual-inversion")
    card_text = f"""\
New words for a text-to-music model, learned by Étude {etude.__version__} as textual inversion does
(Gal et al., arXiv 2208.01618): the model itself is as it was, bit for bit (frozen.json). Each word
is also a file of its own in diffusers' form.

    python -m etude generate --from FOLDER --text "<word> high, slow" --duration 8 --output track

plays it (FOLDER: where this lies) in Étude's environment, from any directory."""

    # -------------------------------------------------------------------------------- training

    def build(  # noqa: D102
        self, experiment: TextualInversion, stage: str, parts: Parts, seed: int
    ) -> Concepts:
        check_names(experiment.concepts)
        base = Lm.load(parts.models[BASE])
        torch.manual_seed(seed)
        model = Concepts(self._shape(experiment, base), experiment, base)
        model.begin()
        return model

    def take_over(  # noqa: D102
        self, experiment: TextualInversion, stage: str, parts: Parts, weights: Path
    ) -> StageModule:
        if stage == BASE:
            return Lm.load(weights.parent)
        return self._from_file(experiment, parts, weights)

    def _from_file(self, experiment: TextualInversion, parts: Parts, file: Path) -> Concepts:
        """Words that were learned elsewhere."""
        base = Lm.load(parts.models[BASE])
        shape, found = self._shape(experiment, base), read_concepts(file)
        check_concepts_there(experiment.concepts, found, file)
        for name in experiment.concepts:
            check_base(found[name], shape["base_sha256"], shape["text_dim"], file, name)
        rows = [found[name].rows for name in experiment.concepts]
        model = Concepts(shape | {"tokens": len(rows[0])}, experiment, base)
        with torch.no_grad():
            model.rows.copy_(torch.stack(rows))
        return model

    def _shape(self, experiment: TextualInversion, base: Lm) -> dict[str, Any]:
        return {
            "concepts": list(experiment.concepts),
            "tokens": experiment.tokens_per_concept,
            "text_dim": base.text_dim,
            "base": experiment.base,
            "base_sha256": hash_state([base]),
        }

    def data(  # noqa: D102
        self, experiment: TextualInversion, stage: str, parts: Parts
    ) -> tuple[Data, Data]:
        return splits_of(experiment, parts)

    def figures(self, stage: str) -> tuple[TrainingMetric, ...]:  # noqa: D102
        return FIGURES

    def audition(self, parts: Parts) -> Callable[[Any], Audition]:  # noqa: D102
        return InversionListener(parts)

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        return "nats per token"

    def flops(self, model: nn.Module, batch: Batch) -> float:  # noqa: D102
        assert isinstance(model, Concepts)
        rows, quantizers, frames = batch["codes"].shape
        base = model.base
        return transformer_flops(base, base.settings, rows, frames + quantizers - 1)

    # ------------------------------------------------------------------------------- generation

    def load(self, folder: Path, parts: Parts) -> Concepts:  # noqa: D102
        return Concepts.load(folder)

    def open(self, experiment: TextualInversion, parts: Parts) -> MusicGenPlayer:  # noqa: D102
        base, words = open_words(parts)
        return self._player(experiment, parts, base, words)

    def _player(
        self, experiment: TextualInversion, parts: Parts, base: Lm, words: dict[str, Tensor]
    ) -> MusicGenPlayer:
        return MusicGenPlayer(
            *(base, open_codec(parts.tokenizers)),
            takes=TextualInversion.conditions,
            concepts=words,
            texts=[t.replace("{}", f"<{w}>") for t in experiment.templates.test for w in words],
        )

    def asked(
        self, experiment: TextualInversion, parts: Parts, seed: int, settings: Any
    ) -> Iterator[ConceptQuery]:
        """Each concept, for metrics; see `etude.systems.concept_queries`."""
        base, words = open_words(parts)
        first = self.build(experiment, CONCEPT, parts, seed)
        begun = {name: rows.detach() for name, rows in first.words().items()}
        player = self._player(experiment, parts, base, with_untrained(words, begun))
        yield from learned_words(experiment, parts, player, settings, seed)

    def codec(self, parts: Parts) -> Codec:  # noqa: D102
        return MusicGenSystem().codec(parts)

    def baselines(  # noqa: D102
        self, experiment: TextualInversion, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        first = experiment.seeds.train[0]
        model = self.build(experiment, CONCEPT, parts, first)
        words = {name: rows.detach() for name, rows in model.words().items()}
        player = self._player(experiment, parts, model.base, words)
        yield from sets_of_codec(player, experiment.generate.seconds, real, seed)
        asked = player.prepare(experiment.generate, Conditions())
        clips = player.clips(experiment.generate, first, seed, asked, silent, never)
        yield "untrained", ClipSet((Clip(clip.wave) for clip in clips), player.rate)

    def card(self, player: MusicGenPlayer) -> dict[str, Any]:  # noqa: D102
        words = ", ".join(f"<{name}>" for name in player.concepts)
        return {"words": f"{words}, {len(next(iter(player.concepts.values())))} rows each"}


def open_words(parts: Parts) -> tuple[Lm, dict[str, Tensor]]:
    """The base and the learned words of a trained experiment.

    Raises:
        UserError: the words were learned with another base.
    """
    base, folder = Lm.load(parts.models[BASE]), parts.models[CONCEPT]
    model = Concepts.load(folder)
    sha256 = hash_state([base])
    for name in model.names:
        path = folder / f"{name}.safetensors"
        check_base(read_concepts(path)[name], sha256, base.text_dim, path, name)
    return base, {name: rows.detach() for name, rows in model.words().items()}


def check_concepts_there(names: list[str], found: dict[str, Any], file: Path) -> None:
    """See that a file has the words of an experiment, all of one length.

    Raises:
        UserError: naming what it has.
    """
    missing = [name for name in names if name not in found]
    lengths = {len(found[name].rows) for name in names if name in found}
    if not missing and len(lengths) == 1:
        return
    raise UserError(
        f"the file lacks the word <{missing[0]}>" if missing else "words of several lengths",
        where=str(file),
        why=f"it has: {', '.join(f'<{n}> ({len(w.rows)} rows)' for n, w in found.items())}",
        do="name the words that are in it in `concepts`; of one length each run",
    )
