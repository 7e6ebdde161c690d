"""The rows of a corpus's tables, and how they are counted."""

from __future__ import annotations

from collections import Counter

INGEST_COLUMNS = [
    *("piece", "path", "kind", "sha256", "notes_hash", "ngrams", "seconds", "notes", "programs"),
    *("status", "reason"),
]
PIECES_COLUMNS = [*(c for c in INGEST_COLUMNS if c != "ngrams"), "tune_group", "split"]
OURS = {*INGEST_COLUMNS, "tune_group"}  # names that a user's column cannot have

Row = dict[str, str]


def reason_class(row: Row) -> str:
    """`kept`, or the reason of a rejection without its details."""
    return "kept" if row["status"] == "kept" else row["reason"].partition(":")[0]


def counts_text(counts: Counter[str]) -> str:
    """Counts in words: `12 kept, 3 rejected (2 corrupt_midi, 1 no_notes)`."""
    reasons = {name: count for name, count in counts.most_common() if name != "kept"}
    text = f"{counts['kept']} kept, {sum(reasons.values())} rejected"
    return text + (f" ({', '.join(f'{n} {name}' for name, n in reasons.items())})" * bool(reasons))
