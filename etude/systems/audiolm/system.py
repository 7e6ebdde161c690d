"""AudioLM as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import etude
from etude.config.systems.audiolm import AudioLm
from etude.systems.base import ClipSet, Parts, RealMusic, SystemBase

if TYPE_CHECKING:
    from etude.systems.audiolm.player import AudioLmPlayer


class AudioLmSystem(SystemBase):
    """Three transformers over discrete audio tokens."""

    title, items = "AudioLM", "segments"

    # -------------------------------------------------------------------------------- training

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: AudioLm, parts: Parts) -> AudioLmPlayer:  # noqa: D102
        from etude.systems.audiolm.building import STAGES, load_stage
        from etude.systems.audiolm.player import make_player

        stages = {name: load_stage(parts.models[name]) for name in STAGES}
        return make_player(stages, parts.tokenizers)

    def baselines(  # noqa: D102
        self, experiment: AudioLm, parts: Parts, real: RealMusic, seed: int
    ) -> Iterator[tuple[str, ClipSet]]:
        from etude.systems.audiolm.baselines import baselines

        return baselines(experiment, parts, real, seed)

    def card(self, player: AudioLmPlayer) -> dict[str, Any]:  # noqa: D102
        return {"window": f"{player.generator.window_seconds:g} s"}

    card_tags = ("music", "audio", "audio-generation", "audiolm")
    card_text = f"""\
A generator of music: AudioLM (Borsos et al., arXiv 2209.03143) as Étude {etude.__version__} trains
it, three transformers over discrete audio tokens, with the tokenizers that make and play them.

    python -m etude generate --from FOLDER --duration 8 --batch_size 4 --output track

plays it (FOLDER: where this lies) in Étude's environment, from any directory; neither Snakemake nor
the corpus is needed. To go on from these weights on other music, name this folder as `weights` of a
stage, and its tokenizers/semantic and tokenizers/acoustic as `fit.folder` of the tokenizers."""

    # ------------------------------------------------------------------------------- evaluation
