"""The account of a piece's notes: each that came in is in a window, or was left out for a reason.

It is of the piece as it is, not transposed. Columns of the tables beside the tokens:
notes_in = notes_out + the sum of what stands under REASONS.
"""

from __future__ import annotations

from collections.abc import Mapping

REASONS = {  # column -> in words; in the order in which notes are left out
    "lost_drums": "of drums",
    "lost_no_end": "never ending",
    "lost_no_length": "of no length",
    "lost_beyond_max_seconds": "beginning after max_seconds",
    "lost_out_of_range": "out of the tokenizer's range",
    "lost_doubled": "doubled (their pitch begins or sounds already)",
    "lost_simultaneous": "one with another on the tokenizer's grid",
    "lost_in_chords": "in chords that are dropped",
    "lost_slots": "of tracks beyond the tokenizer's slots",
    "lost_no_word": "without a word in the vocabulary",
    "lost_unsaid": "lost by a tokenizer that does not say why",
    "lost_in_no_window": "in no window (the rest of a piece, or a piece that is too short)",
}
ACCOUNT = ("notes_in", "notes_out", *REASONS)


def account(notes_in: int, notes_out: int, **lost: int) -> dict[str, int]:
    """The columns of a piece; `lost` by reason, without `lost_`.

    Example:
        >>> found = account(10, 8, doubled=2)
        >>> found["notes_in"], found["notes_out"], found["lost_doubled"]
        (10, 8, 2)
    """
    zeros: dict[str, int] = dict.fromkeys(ACCOUNT, 0)
    found = {f"lost_{reason}": count for reason, count in lost.items()}
    return zeros | {"notes_in": notes_in, "notes_out": notes_out} | found


def in_words(totals: Mapping[str, int]) -> str:
    """`320 notes, 161 kept (50.31 %); 150 doubled, 9 out of range`.

    Example:
        >>> in_words(account(320, 310, doubled=10))
        '320 notes, 310 kept (96.88 %); 10 doubled (their pitch begins or sounds already)'
    """
    all_, out = totals.get("notes_in", 0), totals.get("notes_out", 0)
    if not all_:
        return "no notes"
    lost = [(totals.get(column, 0), text) for column, text in REASONS.items()]
    losses = ", ".join(f"{count:,} {text}" for count, text in lost if count)
    return f"{all_:,} notes, {out:,} kept ({100 * out / all_:.2f} %)" + (
        f"; {losses}" if losses else ""
    )
