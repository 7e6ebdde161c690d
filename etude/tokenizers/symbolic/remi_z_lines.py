"""REMI-z as JSON lines, and back: an object a bar, a phrase (a track in a bar) or a position.

    {"bar": 0, "tokens": ["s-4/4", "i-0", "o-0", "p-72", "d-12", "b-1"]}
    {"bar": 0, "signature": "4/4", "slot": 0, "instrument": 0, "tokens": ["o-0", "p-72", "d-12"]}
    {"bar": 0, "signature": "4/4", "slot": 0, "instrument": 0, "position": 0, "tokens": ["p-72", …]}

The bar of an upbeat has `start`, one with a tempo token `tempo`. A slot without notes has a line
without tokens (its position is null), so that nothing is lost on the way back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from etude.errors import UserError
from etude.tokenizers.symbolic.remi_z_vocabulary import BAR, ONSET, Bar, Vocabulary

LEVELS = ("bar", "phrase", "position")
Rows = Iterator[tuple[dict[str, Any], list[int]]]


def to_lines(
    words: Vocabulary, ids: Sequence[int], bars: Sequence[Bar], level: str
) -> Iterator[str]:
    """The JSON lines of a piece, each with its newline.

    Args:
        ids, bars: the piece as ids and as the bars that these are.
        level: one of LEVELS.
    """
    rows = _of_bars(words, ids) if level == "bar" else _of_slots(words, bars, level)
    for row, output in rows:
        yield json.dumps(row | {"tokens": [words.names[i] for i in output]}) + "\n"


def from_lines(words: Vocabulary, lines: Iterable[str], where: str) -> list[int]:
    """The ids of JSON lines of any level, bars and slots in the order in which they stand.

    Args:
        where: what the lines are of, for messages.

    Raises:
        UserError: a line is not of this form, or has a token that the tokenizer does not have.
    """
    number_of = {name: i for i, name in enumerate(words.names)}
    ids: list[int] = []
    before: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            ids += [number_of[name] for name in _line_tokens(words, row, before)]
            before = row
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                "a line is no REMI-z of this tokenizer",
                where=f"{where}, line {number}",
                why=f"{type(error).__name__}: {error}",
                do="write lines as `python -m etude tokens` does, with the tokens that it has",
            ) from None
    return [*ids, number_of["b-1"]] if "slot" in before else ids


def _line_tokens(words: Vocabulary, row: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """What a line adds: the end of a bar; the head of a bar, a slot, a position; its notes."""
    settings, output = words.settings, []
    if "slot" not in row:
        return [*(["b-1"] if "slot" in before else []), *row["tokens"]]
    if "slot" not in before or row["bar"] != before["bar"]:
        output += ["b-1"] if "slot" in before else []
        output += [f"s-{row['signature']}"] if settings.time_signatures else []
        output += [f"u-{row['start']}"] if "start" in row else []
        output += [f"t-{row['tempo']}"] if settings.tempos else []
    new = (row["bar"], row["slot"]) != (before.get("bar"), before.get("slot"))
    stated = settings.tracks == "track" or row["tokens"]
    output += [f"i-{row['instrument']}"] if new and stated else []
    output += [f"o-{row['position']}"] if row.get("position") is not None else []
    return [*output, *row["tokens"]]


def _of_bars(words: Vocabulary, ids: Sequence[int]) -> Rows:
    end, begin, number = words.id(BAR, 1), 0, 0
    for place, i in enumerate(ids, 1):
        if i == end or place == len(ids):
            yield {"bar": number}, list(ids[begin:place])
            begin, number = place, number + 1


def _of_slots(words: Vocabulary, bars: Sequence[Bar], level: str) -> Rows:
    playing = [[slot for slot, phrase in enumerate(bar.phrases) if phrase] for bar in bars]
    last = max((max(slots) for slots in playing if slots), default=0)
    for number, (bar, slots) in enumerate(zip(bars, playing, strict=True)):
        head: dict[str, Any] = {"bar": number, "signature": "{}/{}".format(*bar.signature)}
        head |= {"start": bar.start} if bar.start else {}
        head |= {} if bar.tempo is None else {"tempo": bar.tempo}
        for slot in range(last + 1) if words.settings.tracks == "track" else slots or [0]:
            row = head | {"slot": slot, "instrument": bar.instruments[slot]}
            if level == "phrase":
                yield row, bar.phrases[slot]
                continue
            for position, output in _moments(words, bar.phrases[slot]):
                yield row | {"position": position}, output


def _moments(words: Vocabulary, phrase: list[int]) -> Iterator[tuple[int | None, list[int]]]:
    """A phrase by its positions; what stands before the first one has none."""
    begins = [place for place, i in enumerate(phrase) if words.kinds[i] == ONSET]
    if not begins or begins[0]:
        yield None, phrase[: begins[0] if begins else None]
    for begin, stop in pairwise([*begins, len(phrase)]):
        yield int(words.values[phrase[begin]]), phrase[begin + 1 : stop]
