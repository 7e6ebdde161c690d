"""A language model of notes as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import etude
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.devices import choose_device
from etude.systems.base import ClipSet, Parts, RealMusic, SystemBase

if TYPE_CHECKING:
    from etude.systems.symbolic_lm.player import SymbolicLmPlayer


class SymbolicLmSystem(SystemBase):
    """One language model of symbols."""

    title, items = "symbolic language model", "windows"

    # -------------------------------------------------------------------------------- training

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: SymbolicLm, parts: Parts) -> SymbolicLmPlayer:  # noqa: D102
        from etude.systems.symbolic_lm.player import SymbolicLmPlayer
        from etude.systems.symbolic_lm.stage import load_stage
        from etude.tokenizers.symbolic.making import load as load_tokenizer

        assert parts.corpus is not None
        folder = parts.tokenizers["tokenizer"]
        stage = load_stage(parts.models["lm"], folder).to(choose_device())
        return SymbolicLmPlayer(stage, load_tokenizer(folder), parts.corpus, parts.packed)

    def baselines(  # noqa: D102
        self, experiment: SymbolicLm, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        from etude.systems.symbolic_lm.baselines import SymbolicBaselines

        return SymbolicBaselines(experiment, parts, seed).sets()

    def card(self, player: SymbolicLmPlayer) -> dict[str, Any]:  # noqa: D102
        return {"context": f"{player.stage.shape['context']} tokens"}

    card_tags = ("music", "midi", "music-generation")
    card_text = f"""\
A generator of music as notes: a language model over symbolic tokens, as Étude {etude.__version__}
trains it.

    python -m etude generate --from FOLDER --duration 8 --batch_size 4 --output track
    python -m etude continue my.mid --from FOLDER --bars 8 --out continued

play it and go on from a MIDI file of yours (FOLDER: where this lies) in Étude's environment, from
any directory. models/lm of a GPT-2 or a Llama is read by transformers' `from_pretrained` too."""

    # ------------------------------------------------------------------------------- evaluation
