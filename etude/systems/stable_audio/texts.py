"""Captions as numbers of one length; words that come later have rows of their own.

An embedded text encoder learns the words of its corpus. Captions of an adaptation may have others:
these share `spare` rows by a hash of the word, so that two new words hardly ever are the same, and
the vocabulary of a base never grows. A pretrained tokenizer spells every word and needs none.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from etude.systems.musicgen.texts import UNKNOWN, WORD, word_tokenizer

VERSION = 1  # raised when the same text gives other numbers

SPARE = "spare'{}"  # is one word to the tokenizer


def tokenizer_of(texts: Iterable[str], spare: int) -> Tokenizer:
    """A tokenizer of the words of these texts, and of `spare` more."""
    return word_tokenizer([*texts, *(SPARE.format(number) for number in range(spare))])


def with_spares(text: str, tokenizer: Tokenizer) -> str:
    """A text in which words that the tokenizer does not know are spare ones."""
    if tokenizer.token_to_id(SPARE.format(0)) is None:
        return text
    vocabulary = tokenizer.get_vocab()
    spare = sum(word.startswith(SPARE.format("")) for word in vocabulary)

    def known(found: re.Match[str]) -> str:
        word = found[0].lower()
        if word in vocabulary:
            return word
        return SPARE.format(zlib.crc32(word.encode()) % spare)

    return re.sub(WORD, known, text)


def new_words(text: str, tokenizer: Tokenizer) -> list[str]:
    """Words of a text that the tokenizer did not learn; of one that spells words, none."""
    if tokenizer.token_to_id(SPARE.format(0)) is None:
        return []
    return [w for w in re.findall(WORD, text) if tokenizer.token_to_id(w.lower()) is None]


def as_ids(
    texts: Sequence[str], tokenizer: Tokenizer, length: int, *, bare: bool = False
) -> dict[str, Tensor]:
    """Texts as `ids` and `mask`, long [B, length]; a text that is too long is cut off.

    An empty text stands for no text at all: nothing of it is there.

    Args:
        bare: of an empty text what the tokenizer makes of it is there.
    """
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        wanted = bare or text.strip()
        found = tokenizer.encode(with_spares(text, tokenizer)).ids if wanted else []
        if len(found) > length:  # the end of a text stays its end
            found = [*found[: length - 1], found[-1]]
        ids[row, : len(found)] = torch.tensor(found, dtype=torch.long)
        mask[row, : len(found)] = 1
    return {"ids": ids, "mask": mask}


def is_cut(text: str, tokenizer: Tokenizer, length: int) -> bool:
    """Whether a text is longer than what is read of it."""
    return len(tokenizer.encode(with_spares(text, tokenizer)).ids) > length


__all__ = ["UNKNOWN", "as_ids", "is_cut", "new_words", "tokenizer_of", "with_spares"]
