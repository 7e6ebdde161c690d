"""`python -m etude tokens`: a MIDI file as JSON lines of tokens, and lines as a MIDI file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from etude.config import Filter
from etude.corpus.scan import music_kind
from etude.errors import UserError
from etude.midi.notes import MidiError, read_bytes
from etude.midi.writing import write_midi
from etude.storage import check_place, write_text
from etude.tokenizers.symbolic.account import in_words
from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer


def convert(source: Path, folder: Path, level: str, output: Path) -> str:
    """Write a MIDI file as JSON lines, or JSON lines as a MIDI file, by what `source` is.

    A tokenizer without bars and phrases has one line for a file, `{"input_ids": [...]}`, as MidiLM;
    of several lines, each becomes a file of its own.

    Args:
        folder: of the tokenizer.
        level: what a line is: bar, phrase or position.

    Returns:
        what became of the notes, in words.

    Raises:
        UserError: the file cannot be read.
    """
    tokenizer: Any = load_symbolic_tokenizer(folder)
    check_place(output)
    try:
        if not hasattr(tokenizer, "to_lines"):
            if music_kind(source.name) == "midi":
                return _to_ids(tokenizer, source, output)
            return _from_ids(tokenizer, source, output)
        if music_kind(source.name) == "midi":
            return _to_lines(tokenizer, source, level, output)
        return _to_midi(tokenizer, source, output)
    except (MidiError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "the file cannot be read",
            where=str(source),
            why=str(error),
            do="give a MIDI file, or JSON lines that this command wrote",
        ) from None


def _to_lines(tokenizer: Any, source: Path, level: str, output: Path) -> str:
    encoded = tokenizer.encode_file(read_bytes(source), Filter(drums="keep"))
    write_text(output, "".join(tokenizer.to_lines(encoded.ids[0], level)))
    return in_words(encoded.counts)


def _to_midi(tokenizer: Any, source: Path, output: Path) -> str:
    lines = source.read_text(encoding="utf-8").splitlines()
    table = tokenizer.decode(tokenizer.from_lines(lines, str(source)))
    if not len(table):
        raise MidiError("no_notes")
    write_midi(table, output)
    return f"{len(table)} notes"


def _to_ids(tokenizer: Any, source: Path, output: Path) -> str:
    encoded = tokenizer.encode_file(read_bytes(source), Filter(drums="keep"))
    write_text(output, json.dumps({"input_ids": encoded.ids[0]}) + "\n")
    return in_words(encoded.counts)


def _from_ids(tokenizer: Any, source: Path, output: Path) -> str:
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    tables = [tokenizer.decode([int(i) for i in json.loads(line)["input_ids"]]) for line in lines]
    tables = [table for table in tables if len(table)]
    if not tables:
        raise MidiError("no_notes")
    for number, table in enumerate(tables, 1):
        several = len(tables) > 1
        path = output.with_name(f"{output.stem}-{number}{output.suffix}") if several else output
        write_midi(table, path)
    return f"{sum(map(len, tables))} notes in {len(tables)} files"
