"""What clips of notes go on from: held-out pieces, or the user's own MIDI."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from etude.config import CorpusBase
from etude.config.systems.symbolic_lm import SymbolicGenerate
from etude.corpus.ingest import taken
from etude.errors import UserError
from etude.midi.notes import MidiError, read_midi
from etude.tokenizers.symbolic.base import SymbolicTokenizer

VERSION = 1  # raised when the same pieces give other prompts


@dataclass
class Prompt:
    """What a clip goes on from: ids without a beginning's; whose they are; how it went on."""

    ids: list[int] = field(default_factory=list)
    source: str = ""
    original: list[int] = field(default_factory=list)


def held_out_prompts(
    packed: Path, settings: SymbolicGenerate, split: str = "valid"
) -> list[Prompt]:
    """The beginnings of held-out pieces, and how they really go on.

    They are of the validation split: what is measured against the test split must not hold it.

    Raises:
        UserError: no piece is long enough.
    """
    import datasets

    dataset = datasets.load_from_disk(str(packed / split))
    found, longest = [], 0
    for row in dataset:
        if row["window"] or row["transpose"]:
            continue
        ids, size = row["input_ids"], settings.prompt_tokens
        longest = max(longest, len(ids))
        if len(ids) > size:
            found.append(Prompt(ids[:size], row["piece"], ids[size : size + settings.new_tokens]))
    if not found:
        raise UserError(
            f"no held-out piece has a prompt of {settings.prompt_tokens} tokens",
            where=str(packed / split),
            why=f"the longest has {longest} tokens, and something must follow the prompt",
            do="set a smaller `generate: {prompt_tokens: …}`",
        )
    return found


def read_prompt(
    path: Path, tokenizer: SymbolicTokenizer, corpus: CorpusBase, tokens: int | None = None
) -> Prompt:
    """A user's own MIDI as a prompt, with the corpus's filter.

    Args:
        tokens: how many it must have; None: as many as there are.

    Raises:
        UserError: it cannot be read, has no notes or drums alone, or is shorter than asked.
    """
    try:
        whole = read_midi(path)
        table = taken(corpus.rules, whole)
    except MidiError as error:
        raise UserError(
            "the prompt cannot be used",
            where=str(path),
            why=str(error),
            do="give another MIDI file, or change the corpus's `filter`",
        ) from None
    if len(whole) and not len(whole.without_drums()):
        raise UserError(
            "the prompt has only drums",
            where=str(path),
            why="the tokens are of pitched notes",
            do="give a MIDI file with a part that is no drums",
        )
    ids = tokenizer.encode(table) if len(table) else []
    if not ids:
        raise UserError(
            "the prompt has no notes that the tokenizer reads",
            where=str(path),
            do="give a MIDI file with pitched notes",
        )
    if tokens is not None and len(ids) < tokens:
        raise UserError(
            f"the prompt is shorter than asked: {len(ids)} tokens of {tokens}",
            where=str(path),
            do=f"ask for no more than {len(ids)} (`prompt_tokens`), or give a longer piece",
        )
    return Prompt(list(ids), path.name)
