"""Texts as numbers: its own tokenizer of words, or the one that a pretrained T5 came with.

Both are a `tokenizers.Tokenizer` in tokenizer.json. A text may name learned words: `<drone>` stands
for the rows of the concept `drone` (etude/systems/textual_inversion).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFC, Lowercase, Sequence
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from etude.errors import UserError, closest

VERSION = 1  # raised when the same text gives other numbers

TOKENIZER = "tokenizer.json"
PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"  # T5's: 0, 1, 2
WORD = r"[\w'-]+"
PLACE = re.compile(r"<([^<>]+)>")


def word_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer that knows the words of these texts, in the order of the alphabet."""
    words = sorted({word for text in texts for word in re.findall(WORD, text.lower())})
    vocabulary = {word: number for number, word in enumerate([PAD, END, UNKNOWN, *words])}
    made = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    made.normalizer = Sequence([NFC(), Lowercase()])
    # Words are what stays; all between them goes.
    made.pre_tokenizer = Split(Regex(WORD), behavior="removed", invert=True)
    made.post_processor = TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, vocabulary[END])]
    )
    return made


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a stage, or of pretrained weights.

    Raises:
        UserError: there is none.
    """
    if not (folder / TOKENIZER).is_file():
        raise UserError(
            "the text tokenizer is not there",
            where=str(folder / TOKENIZER),
            why="texts cannot be read without it",
            do=f"fetch the weights again with their {TOKENIZER}",
        )
    return Tokenizer.from_file(str(folder / TOKENIZER))


@dataclass(frozen=True)
class TextPart:
    """A stretch of a text: ids of the tokenizer, or the name of a concept."""

    ids: tuple[int, ...] = ()
    concept: str = ""


def parts_of_text(text: str, tokenizer: Tokenizer, concepts: Mapping[str, int]) -> list[TextPart]:
    """A text with its learned words.

    Args:
        concepts: those that are there.

    Returns:
        its stretches; the last one ends with the tokenizer's end of a text. Nothing for an empty
        text, which stands for no text at all.

    Raises:
        UserError: a concept is named that is not there.
    """
    if not text.strip():
        return []
    found: list[TextPart] = []
    for number, piece in enumerate(PLACE.split(text)):
        if number % 2 == 0:
            ids = tokenizer.encode(piece, add_special_tokens=False).ids if piece.strip() else []
            found += [TextPart(tuple(ids))] if ids else []
        elif piece in concepts:
            found.append(TextPart(concept=piece))
        else:
            raise UserError(
                f"there is no learned word <{piece}>{closest(piece, concepts)}",
                where=text,
                why=f"there are: {', '.join(f'<{name}>' for name in concepts) or 'none'}",
                do="name one of these, or write the text without < and >",
            )
    ending = tokenizer.encode("", add_special_tokens=True).ids
    return [*found, TextPart(tuple(ending))] if ending else found


def unknown_words(text: str, tokenizer: Tokenizer) -> list[str]:
    """Words that a tokenizer does not know; of one that spells words, none."""
    unknown = tokenizer.token_to_id(UNKNOWN)
    plain = PLACE.sub(" ", text)
    encoding = tokenizer.encode(plain, add_special_tokens=False)
    spans = zip(encoding.ids, encoding.offsets, strict=True)
    return [plain[begin:end] for number, (begin, end) in spans if number == unknown]
