"""`python -m etude tokens`: a MIDI file as JSON lines of tokens, and lines as a MIDI file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etude.config import Filter
from etude.corpus.scan import music_kind
from etude.errors import UserError
from etude.midi.notes import MidiError, NoteTable, read_bytes
from etude.midi.writing import write_midi
from etude.storage import check_place, write_text
from etude.tokenizers.symbolic.account import in_words
from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer
from etude.tokenizers.symbolic.remi_z_texts import are_texts, from_text_lines, to_text_lines


def convert(source: Path, folder: Path, level: str, output: Path, *, texts: bool = False) -> str:
    """Write a MIDI file as JSON lines, or JSON lines as a MIDI file, by what `source` is.

    A tokenizer without bars and phrases has one line for a file, `{"input_ids": [...]}`, as MidiLM;
    of several lines, each becomes a file of its own.

    Args:
        folder: of the tokenizer.
        level: what a line is: bar, phrase or position.
        texts: lines as PhraseLDM keeps them, not objects; lines that are read may be either.

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
            return _to_lines(tokenizer, source, level, output, texts=texts)
        return _to_midi(tokenizer, source, output)
    except (MidiError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "the file cannot be read",
            code="unreadable-notes",
            where=str(source),
            why=str(error),
            do="give a MIDI file, or JSON lines that this command wrote",
        ) from None


def _to_lines(tokenizer: Any, source: Path, level: str, output: Path, *, texts: bool) -> str:
    encoded = tokenizer.encode_file(read_bytes(source), Filter(drums="keep"))
    ids = encoded.ids[0]
    lines = to_text_lines(tokenizer, ids, level) if texts else tokenizer.to_lines(ids, level)
    write_text(output, "".join(lines))
    return in_words(encoded.counts)


def _to_midi(tokenizer: Any, source: Path, output: Path) -> str:
    lines = source.read_text(encoding="utf-8").splitlines()
    if are_texts(lines):
        songs = list(from_text_lines(tokenizer, lines, str(source)))
    else:
        songs = [tokenizer.from_lines(lines, str(source))]
    return _write_all([tokenizer.decode(ids) for ids in songs], output)


def _to_ids(tokenizer: Any, source: Path, output: Path) -> str:
    encoded = tokenizer.encode_file(read_bytes(source), Filter(drums="keep"))
    write_text(output, json.dumps({"input_ids": encoded.ids[0]}) + "\n")
    return in_words(encoded.counts)


def _from_ids(tokenizer: Any, source: Path, output: Path) -> str:
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    tables = [tokenizer.decode([int(i) for i in json.loads(line)["input_ids"]]) for line in lines]
    return _write_all(tables, output)


def _write_all(tables: Sequence[NoteTable], output: Path) -> str:
    """Each with notes as a MIDI file; several get numbers."""
    tables = [table for table in tables if len(table)]
    if not tables:
        raise MidiError("no_notes")
    several = len(tables) > 1
    for number, table in enumerate(tables, 1):
        path = output.with_name(f"{output.stem}-{number}{output.suffix}") if several else output
        write_midi(table, path)
    return f"{sum(map(len, tables))} notes" + (f" in {len(tables)} files" if several else "")
