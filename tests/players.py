"""Symbolic players of untrained networks."""

from __future__ import annotations

import torch
from pydantic import TypeAdapter
from symbols import NETWORKS, SHAPE

from etude.config import AnyTokenizer, CorpusBase
from etude.config.systems.symbolic_lm import SymbolicGenerate, SymbolicNetwork
from etude.systems.symbolic_lm.player import SymbolicLmPlayer
from etude.systems.symbolic_lm.stage import SymbolicLmStage
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer


def stage_of(kind="gpt2", shape=SHAPE):
    torch.manual_seed(1)
    network = TypeAdapter(SymbolicNetwork).validate_python(NETWORKS[kind])
    stage = SymbolicLmStage(shape, network).eval()
    with torch.no_grad():  # untrained networks say the same of everything
        for parameter in stage.parameters():
            parameter.mul_(3)
    return stage


def player_of(kind="onoff", network="gpt2", context=64, **options):
    tokenizer = create_symbolic_tokenizer(
        TypeAdapter(AnyTokenizer).validate_python({"kind": kind, **options})
    )
    shape = {"vocabulary": tokenizer.vocabulary, "context": context}
    shape |= {name: getattr(tokenizer, name) for name in ("pad", "bos", "eos")}
    return SymbolicLmPlayer(stage_of(network, shape), tokenizer, CorpusBase())


def settings_of(**values):
    return SymbolicGenerate(
        **{"clips": 3, "seconds": 1.0, "new_tokens": 60, "batch_size": 2} | values
    )
