"""The parts of a user's own, each made once as its job would make it: mistakes before the run."""

from __future__ import annotations

from etude import own
from etude.config import Config, OwnCorpus, OwnNetwork, OwnTokenizer
from etude.config.systems.audiolm import AudioLm
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.metrics.registry import open_embedding, open_signals
from etude.systems.audiolm.networks import build_network
from etude.systems.symbolic_lm import families
from etude.tokenizers.registry import create

RATE = 24000  # samples per second, for embeddings
CODEBOOKS = [2, 16]  # ids, for networks
SYMBOLS = {"vocabulary": 16, "context": 32}  # for networks of symbols


def try_parts(settings: Config) -> list[str]:
    """Import every `module:Class` of a configuration and make it from its options.

    Returns:
        The names of those that were tried.

    Raises:
        UserError: one cannot be imported, lacks something, or does not fit its options.
    """
    for corpus in settings.corpora.values():
        if isinstance(corpus, OwnCorpus):
            own.create(corpus.source, corpus.options, ("fetch",))
    for tokenizer in settings.tokenizers.values():
        if isinstance(tokenizer, OwnTokenizer):
            create(tokenizer)
    for experiment in settings.experiments.values():
        if isinstance(experiment, AudioLm):
            for _, stage in experiment.stages:
                if isinstance(stage.network, OwnNetwork):
                    build_network(CODEBOOKS, stage.network)
        if isinstance(experiment, SymbolicLm) and isinstance(
            experiment.stages.lm.network, OwnNetwork
        ):
            families.build_network(experiment.stages.lm.network, SYMBOLS)
    evaluation = settings.evaluation
    for name in filter(own.is_own, evaluation.embeddings):
        open_embedding(name, RATE, evaluation.options)
    open_signals(evaluation.signals, evaluation.options)
    return list(dict.fromkeys(settings.own_parts.values()))
