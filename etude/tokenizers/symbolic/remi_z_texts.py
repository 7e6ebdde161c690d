"""REMI-z as PhraseLDM keeps it: texts of words, JSON lines that are strings, songs in a row.

    "i-13 o-0 p-72 d-12 o-12 p-74 d-12"    a track in a bar, with its instrument
    "[INST]"                               a track that rests
    "b-1"                                  the end of a bar
    "[SEP]"                                the end of a song

This is the level `phrase`. At the level `bar` a line is a whole bar, with its end; at `position`
an onset and what begins there (the instrument of the next track stands at the end of the line
before), and songs have no end. A track that rests is not stated, so tracks are told apart by their
instruments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from etude.errors import UserError
from etude.midi.bars import COMMON
from etude.midi.notes import DRUMS
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.remi_z_vocabulary import SIGNATURES, Bar

VERSION = 1  # raised when bars have other words, or words other bars

END_OF_BAR, END_OF_SONG, RESTS = "b-1", "[SEP]", "[INST]"
WORD = re.compile(r"\[[A-Z0-9]+\]|([biopdvst])-([0-9]{1,3})")
COUNTS = {"b": 2, "o": 128, "i": 129, "p": 256, "d": 128, "v": 32, "s": len(SIGNATURES), "t": 49}


class Texts:
    """Between a tokenizer's bars and words.

    Args:
        programs: the instrument of each slot in the texts; empty: a track's own.
    """

    def __init__(self, tokenizer: RemiZTokenizer, programs: Sequence[int] = ()) -> None:
        self.tokenizer, self.programs = tokenizer, list(programs)
        # Of a drum's pitch the number is 128 more, as there.
        self.words = [f"{letter}-{number}" for letter, number in tokenizer.numbers()]
        self.ids = {self.words[number]: number for number in tokenizer.phrase_vocabulary}

    def tracks(self, bar: Bar) -> list[list[str]]:
        """The words of each track that plays in a bar, in the order of slots."""
        return [
            [f"i-{program}", *(self.words[number] for number in phrase)]
            for program, phrase in zip(self.programs or bar.instruments, bar.phrases, strict=False)
            if phrase
        ]

    def bars(self, words: Iterable[str]) -> list[Bar]:
        """The bars of words up to the end of the song.

        What the tokenizer has no word for is passed over: an onset with all that begins there.
        Ends of bars with nothing between them, not even [INST], are one.
        """
        found: list[Bar] = []
        tracks: dict[int, list[int]] = {}
        program, skipping, begun = 0, False, False
        signature, tempo = COMMON, None
        for word in words:
            if word == END_OF_SONG:
                break
            if word == END_OF_BAR:
                found += [self._bar(tracks, signature, tempo)] if begun else []
                tracks, program, begun = {}, 0, False
                continue
            begun |= word == RESTS or word[0] != "["
            letter, _, number = word.partition("-")
            if letter == "s":
                signature = SIGNATURES[int(number)]
            elif letter == "t":
                tempo = int(number)
            elif letter == "i":
                program, skipping = int(number), False
            elif letter == "o":
                skipping = word not in self.ids
            if word in self.ids and not skipping:
                tracks.setdefault(program, []).append(self.ids[word])
        return [*found, self._bar(tracks, signature, tempo)] if begun else found

    def _bar(
        self, tracks: Mapping[int, list[int]], signature: tuple[int, int], tempo: int | None
    ) -> Bar:
        """Tracks by program in their slots; what has none in one that is free, or in the last."""
        settings = self.tokenizer.settings
        phrases: list[list[int]] = [[] for _ in range(settings.slots)]
        instruments = (self.programs + [0] * settings.slots)[: settings.slots]
        known = {program: slot for slot, program in enumerate(self.programs[: settings.slots])}
        for program in sorted(tracks, key=lambda program: program not in known):
            if program == DRUMS and not settings.drums:
                continue
            free = next((i for i, phrase in enumerate(phrases) if not phrase), settings.slots - 1)
            slot = known.get(program, free)
            instruments[slot] = instruments[slot] if phrases[slot] else program
            phrases[slot] += tracks[program]
        signature = signature if settings.time_signatures else COMMON
        positions = self.tokenizer.words.positions(signature)
        tempo = tempo if settings.tempos else None
        return Bar(signature, positions, phrases, instruments, tempo=tempo)


def to_text_lines(tokenizer: RemiZTokenizer, ids: Sequence[int], level: str) -> Iterator[str]:
    """The lines of a piece, each with its newline; `level` as of `remi_z_lines`."""
    texts = Texts(tokenizer)
    for bar in tokenizer.bars(ids):
        tracks = texts.tracks(bar)
        words = [word for track in tracks for word in track]
        if level == "bar":
            yield _line([*words, END_OF_BAR])
            continue
        rows = [*tracks, [RESTS]] if level == "phrase" else _positions(words)
        yield from map(_line, [*rows, [END_OF_BAR]])
    if level != "position":
        yield _line([END_OF_SONG])


def _positions(words: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    begun = False
    for word in words:
        if (word[0] == "o" and begun) or not rows:
            rows.append([])
        begun |= word[0] == "o"
        rows[-1].append(word)
    return rows


def _line(words: Sequence[str]) -> str:
    return json.dumps(" ".join(words)) + "\n"


def are_texts(lines: Iterable[str]) -> bool:
    """Whether JSON lines are strings, as there, and no objects."""
    first = next((line for line in lines if line.strip()), "")
    return first.lstrip().startswith('"')


def from_text_lines(
    tokenizer: RemiZTokenizer, lines: Iterable[str], where: str
) -> Iterator[list[int]]:
    """The ids of each song of lines of any level; empty ones are passed over.

    Args:
        where: what the lines are of, for messages.

    Raises:
        UserError: a line is no text of these words.
    """
    song: list[str] = []
    for number, line in enumerate(lines, 1):
        for word in _words(line, f"{where}, line {number}"):
            if word != END_OF_SONG:
                song.append(word)
                continue
            yield from _songs(tokenizer, song)
            song = []
    yield from _songs(tokenizer, song)


def _songs(tokenizer: RemiZTokenizer, words: Sequence[str]) -> Iterator[list[int]]:
    """A song's ids, its tracks by the order in which they first play; or nothing."""
    programs = dict.fromkeys(int(word[2:]) for word in words if word[0] == "i")
    slots = tokenizer.settings.slots
    bars = Texts(tokenizer, list(programs)[:slots]).bars(words)
    if any(any(bar.phrases) for bar in bars):
        yield tokenizer.join(bars)


def _words(line: str, where: str) -> list[str]:
    if not line.strip():
        return []
    try:
        text = json.loads(line)
        words = text.split()
    except (ValueError, AttributeError) as error:
        raise _wrong(where, f"{type(error).__name__}: {error}") from None
    for word in words:
        found = WORD.fullmatch(word)
        if found is None or (found[1] and int(found[2]) >= COUNTS[found[1]]):
            raise _wrong(where, f"there is no word {word!r}")
    return words


def _wrong(where: str, why: str) -> UserError:
    return UserError(
        "a line is no text of REMI-z",
        code="not-remi-z-text",
        where=where,
        why=why,
        do='give lines as PhraseLDM keeps them: "i-0 o-0 p-60 d-12"',
    )
