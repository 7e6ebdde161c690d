"""What a run makes of its corpora: shards, cuts, tokenizers, token sets.

Methods that take `wildcards` are input functions of rules; anything with these attributes will do.
A pattern is a path with `{names}`; those that are not filled here are left for the rule.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from etude.config import PRETRAINED_KINDS, Config, Corpus, Cut, SymbolicTokenSet
from etude.plugins import is_plugin
from etude.workflow.sources import is_fetched

Files = list[str]
InputFunction = Callable[[Any], Files]


def fill(pattern: str, **values: str | Files) -> Files:
    """A pattern for every combination of these values; other names stay as they are."""
    names = [name for name in values if f"{{{name}}}" in pattern]
    lists = [[v] if isinstance(v := values[name], str) else v for name in names]
    found = []
    for combination in itertools.product(*lists):
        path = pattern
        for name, value in zip(names, combination, strict=True):
            path = path.replace(f"{{{name}}}", value)
        found.append(path)
    return found


def names_in(pattern: str) -> list[str]:
    """The names that a pattern leaves open."""
    return re.findall(r"\{(\w+)\}", pattern)


def share(cores: int, jobs: int, most: int) -> int:
    """Threads of each of some jobs that can run side by side, 1 to `most`.

    Two jobs of one thread do more than one job of two that follow each other (docs/decisions.md).
    """
    return max(1, min(most, cores // max(1, jobs)))


class DataPlan:
    """Corpora, tokenizers and token sets of a configuration, as rules ask for them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        named = config.tokenizers
        self.symbolic_tokenizers = [name for name in named if config.is_symbolic(name)]
        self.audio_tokenizers = [name for name in named if name not in self.symbolic_tokenizers]
        sets = config.tokens.items()
        self.symbolic_sets = [n for n, tokens in sets if isinstance(tokens, SymbolicTokenSet)]
        self.audio_sets = [name for name in config.tokens if name not in self.symbolic_sets]

    # ---------------------------------------------------------------------------- corpora

    def corpus_of(self, wildcards: Any) -> Corpus:
        """The settings of the corpus that the wildcards name."""
        return self.config.corpora[wildcards.corpus]

    def source_folder(self, wildcards: Any) -> str | Files:
        """What a corpus is read from: the fetched folder; a user's own folder is no input."""
        fetched = is_fetched(self.config.corpora[wildcards.corpus])
        return f"results/corpora/{wildcards.corpus}/source" if fetched else []

    def shards_of(self, corpus: str) -> Files:
        """The shard names of a corpus, known before anything runs."""
        return [f"{shard:04d}" for shard in range(self.config.corpora[corpus].shards)]

    def shards_together(self, wildcards: Any) -> int:
        """How many shards of a corpus a rule can work on side by side."""
        return len(self.shards_of(wildcards.corpus))

    def per_shard(self, pattern: str) -> InputFunction:
        """An input function: the pattern for every shard of the corpus."""
        return lambda wildcards: fill(pattern, shard=self.shards_of(wildcards.corpus))

    # ------------------------------------------------------------------------- tokenizers

    def is_given(self, tokenizer: str) -> bool:
        """Whether a tokenizer is taken over from elsewhere."""
        return self.config.tokenizers[tokenizer].fit.folder is not None

    def learns(self, tokenizer: str) -> bool:
        """Whether a symbolic tokenizer learns from the training split: byte pairs, a user's own."""
        settings = self.config.tokenizers[tokenizer]
        return is_plugin(settings.kind) or getattr(settings, "bpe", None) is not None

    def where_it_learns(self, pattern: str) -> InputFunction:
        """An input function: the pattern (per shard) where the tokenizer learns; else nothing."""
        return lambda wildcards: (
            self.per_shard(pattern)(wildcards) if self.learns(wildcards.tokenizer) else []
        )

    def fitted(self, tokenizer: str, corpus: str) -> str:
        """The folder of a tokenizer as it is fitted for a corpus."""
        fit = self.config.tokenizers[tokenizer].fit
        return f"results/tokenizers/{fit.corpus or corpus}/{tokenizer}"

    def tokenizer_of(self, role: str) -> Callable[[Any], str]:
        """An input function: the tokenizer of a token set that has this role."""
        return lambda wildcards: self.fitted(
            self.config.tokens[wildcards.tokens].roles[role], wildcards.corpus
        )

    def fitting_cut(self, wildcards: Any) -> Cut:
        """The cut of the segments that a tokenizer is fitted on."""
        return self.config.cuts[self.config.audio_tokenizer(wildcards.tokenizer).fit.cut]

    def fit_shards(self, pattern: str) -> InputFunction:
        """An input function: the pattern per shard, with the cut that a tokenizer is fitted on."""

        def files(wildcards: Any) -> Files:
            cut = self.config.audio_tokenizer(wildcards.tokenizer).fit.cut
            return fill(pattern, cut=cut, shard=self.shards_of(wildcards.corpus))

        return files

    def pretrained_of(self, key: str) -> InputFunction:
        """An input function: the weights that a tokenizer names under a key; nothing for most."""

        def folder(wildcards: Any) -> Files:
            name = getattr(self.config.tokenizers[wildcards.tokenizer], key, None)
            return [f"results/pretrained/{name}"] if name in self.config.pretrained else []

        return folder

    def given_weights_of(self, wildcards: Any) -> Files:
        """The user's own file of pretrained weights; nothing where it is fetched or to come."""
        weights = self.config.pretrained[wildcards.pretrained]
        to_come = weights.bring is not None and weights.path and not weights.path.exists()
        return [str(weights.path)] if weights.path and not to_come else []

    @property
    def pretrained_tokenizers(self) -> Files:
        """The tokenizers that are networks which others trained."""
        named = self.config.tokenizers.items()
        return [name for name, tokenizer in named if tokenizer.kind in PRETRAINED_KINDS]

    def verified_tokenizers(self, wildcards: Any) -> Files:
        """The proof that pretrained tokenizers of a token set work; nothing for embedded ones."""
        names = self.config.tokens[wildcards.tokens].roles.values()
        pretrained = [name for name in names if name in self.pretrained_tokenizers]
        folders = [self.fitted(name, wildcards.corpus) for name in pretrained]
        return [f"{folder.replace('tokenizers', 'verified', 1)}.csv" for folder in folders]

    # ------------------------------------------------------------------------- token sets

    def cut_of_tokens(self, wildcards: Any) -> str:
        """The cut of a token set."""
        return self.config.audio_tokens(wildcards.tokens).cut
