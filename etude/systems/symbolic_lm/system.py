"""A language model of notes as training, generation and metrics see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import etude
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.devices import choose_device
from etude.systems.base import (
    Batch,
    Beginnings,
    ClipSet,
    Data,
    Ids,
    Parts,
    RealMusic,
    SystemBase,
    TrainingMetric,
)
from etude.systems.network_check import LENGTH, VOCABULARY, try_causal
from etude.systems.stage_module import OF_TOKENS, transformer_flops
from etude.systems.symbolic_lm import families
from etude.systems.symbolic_lm.data import open_data
from etude.systems.symbolic_lm.export_formats import FORM, write_transformers
from etude.systems.symbolic_lm.prefixes import extract_prefixes
from etude.systems.symbolic_lm.stage import (
    SymbolicLmStage,
    build_stage,
    load_stage,
    score,
    symbolic_shape,
)

if TYPE_CHECKING:
    from etude.systems.symbolic_lm.player import SymbolicLmPlayer


class SymbolicLmSystem(SystemBase):
    """One language model of symbols."""

    title, items = "symbolic language model", "windows"
    loss_name = "cross-entropy"

    # -------------------------------------------------------------------------------- training

    def build(self, experiment: SymbolicLm, stage: str, parts: Parts, seed: int) -> SymbolicLmStage:  # noqa: D102
        model = build_stage(experiment, stage, parts.info, seed)
        model.label_smoothing = experiment.stage(stage).training.label_smoothing
        return model

    def shape(self, experiment: SymbolicLm, stage: str, parts: Parts) -> dict[str, Any]:  # noqa: D102
        return symbolic_shape(experiment, parts.info)

    def data(self, experiment: SymbolicLm, stage: str, parts: Parts) -> tuple[Data, Data]:  # noqa: D102
        assert parts.packed is not None
        training = experiment.stages.lm.training
        return open_data(parts.packed, parts.info, training, parts.tokenizers.get("tokenizer"))

    def figures(self, stage: str) -> tuple[TrainingMetric, ...]:  # noqa: D102
        return OF_TOKENS

    def loss_unit(self, stage: str) -> str:  # noqa: D102
        return "nats per token"

    def flops(self, model: nn.Module, batch: Batch) -> float:  # noqa: D102
        rows, length = batch["ids"].shape
        return transformer_flops(model, model.settings, rows, length - 1)

    def load(self, folder: Path, parts: Parts) -> SymbolicLmStage:  # noqa: D102
        return load_stage(folder, parts.tokenizers.get("tokenizer"))

    def try_network(self, network: Any) -> None:  # noqa: D102
        shape = {"vocabulary": VOCABULARY, "context": LENGTH}
        model = families.build_network(network, shape).eval()

        def cached(ids: Tensor, prompt: int) -> Tensor:
            cache = families.open_cache(model, len(ids), LENGTH)
            parts = [ids[:, :prompt], *ids[:, prompt:].split(1, dim=1)]
            return torch.stack([families.next_logits(model, part, cache) for part in parts], 1)

        has_cache = hasattr(model, "cache")
        logits = partial(families.all_logits, model)
        try_causal(network.kind, logits, cached if has_cache else None)

    # ------------------------------------------------------------------------------- generation

    def open(self, experiment: SymbolicLm, parts: Parts) -> SymbolicLmPlayer:  # noqa: D102
        from etude.systems.symbolic_lm.player import SymbolicLmPlayer
        from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer as load_tokenizer

        assert parts.corpus is not None
        tokenizer = load_tokenizer(parts.tokenizers["tokenizer"])
        stage = self.load(parts.models["lm"], parts).to(choose_device())
        return SymbolicLmPlayer(stage, tokenizer, parts.corpus, parts.packed)

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

play it and continue a MIDI file of yours (FOLDER: where this lies) in Étude's environment, from
any directory. models/lm of a GPT-2 or a Llama is read by transformers' `from_pretrained` too."""

    forms = (FORM,)

    def write_form(self, experiment: SymbolicLm, parts: Parts, form: str, folder: Path) -> None:  # noqa: D102
        write_transformers(parts, folder)

    # ------------------------------------------------------------------------------- evaluation

    def continuation(self, parts: Parts, settings: Any, seed: int) -> Beginnings:  # noqa: D102
        return extract_prefixes(parts, settings, seed)

    def nats(  # noqa: D102
        self, stage: SymbolicLmStage, windows: Sequence[tuple[str, Ids, int]]
    ) -> list[NDArray[np.float64]]:
        return score(stage, windows)

    def note_counter(self, parts: Parts) -> Callable[[Sequence[int]], int]:  # noqa: D102
        from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer as load_tokenizer

        return load_tokenizer(parts.tokenizers["tokenizer"]).notes_in
