"""What became of every file: kept or rejected and why, by corpus and by cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from etude.report.figures import Row, rows_of
from etude.results.leaderboard import number
from etude.storage import read_json
from etude.tokenizers.symbolic.account import in_words

KNOWN_COLUMNS = {
    *("piece", "path", "kind", "sha256", "notes_hash", "ngrams", "seconds", "notes", "programs"),
    *("status", "reason", "tune_group", "split"),
}
SPLITS = ("train", "valid", "test")
EXAMPLES = 50  # rejected files named per reason; the table of pieces has them all
REASONS = {
    "corrupt_midi": "the MIDI cannot be read",
    "corrupt_audio": "the audio cannot be decoded",
    "ends_early": "less is there than the file promises",
    "not_sound": "samples far beyond what a recording can have",
    "empty_file": "the file has no bytes",
    "unsupported_midi": "MIDI without beats, or of patterns without a common time",
    "no_notes": "the MIDI has no note that counts",
    "no_samples": "the audio has no samples",
    "silent": "no sound at all",
    "only_drums": "has drums alone, which are left out",
    "too_large": "larger than a piece can be, or than a WAV can hold",
    "crashed": "brings the library down that reads it",
    "takes_too_long": "its reader found no end",
    "failed": "met something that the program does not know",
    "too_long": "longer than max_minutes",
    "has_drums": "has a drum track, and the filter refuses drums",
    "program_not_allowed": "uses an instrument that the filter refuses",
    "velocity_too_low": "has a note softer than the filter allows",
    "unsupported_type": "neither MIDI nor audio",
    "non_finite_samples": "has samples that are no numbers",
    "unreadable": "the file could not be opened",
    "duplicate_of": "the same notes or samples as another piece, which was kept",
    "too_short": "the end of a piece, shorter than a segment",
    "blank_segment": "quieter than the cut's threshold",
    "rate_too_low": "recorded below the cut's rate",
}


@dataclass
class Reason:
    """A reason for rejection, how often it was, and some of its files."""

    name: str
    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    @property
    def meaning(self) -> str:
        """In plain words; empty if the keyword says it all."""
        return REASONS.get(self.name, "")


@dataclass
class Reasons:
    """Rejections, grouped by the keyword before the colon."""

    by_name: dict[str, Reason] = field(default_factory=dict)

    def add(self, reason: str, what: str = "") -> None:
        """Count one; `what` is the file, named while there is room."""
        name, _, detail = reason.partition(":")
        group = self.by_name.setdefault(name.strip() or "no reason given", Reason(name.strip()))
        group.name = name.strip() or "no reason given"
        group.count += 1
        if what and len(group.examples) < EXAMPLES:
            group.examples.append((what, detail.strip()))

    def __iter__(self) -> Iterator[Reason]:
        """The most frequent first."""
        return iter(sorted(self.by_name.values(), key=lambda r: (-r.count, r.name)))

    def __len__(self) -> int:
        return len(self.by_name)


@dataclass
class CutCount:
    """The segments of one cut."""

    name: str
    kept: int = 0
    rejected: int = 0
    seconds: float = 0.0
    reasons: Reasons = field(default_factory=Reasons)


@dataclass
class CorpusCount:
    """One corpus in figures."""

    name: str
    pieces: Counter[str] = field(default_factory=Counter)  # by split
    seconds: Counter[str] = field(default_factory=Counter)  # by split
    kinds: Counter[str] = field(default_factory=Counter)
    groups: set[str] = field(default_factory=set)
    rejected: int = 0
    duplicates: int = 0
    reasons: Reasons = field(default_factory=Reasons)
    lost: Reasons = field(default_factory=Reasons)  # kept, but no audio could be made of it
    metadata: dict[str, Counter[str]] = field(default_factory=dict)
    cuts: list[CutCount] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)  # their account, by token set
    render: Row = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """Pieces that are used."""
        return sum(self.pieces.values())

    @property
    def splits(self) -> list[str]:
        """Splits that any piece is in, train first."""
        return [s for s in SPLITS if s in self.pieces] + sorted(set(self.pieces) - set(SPLITS))


def read_corpus(
    pieces: Path, wav: list[Path], cuts: list[Path], tokens: Sequence[Path] = ()
) -> CorpusCount:
    """Count a corpus, row by row; what is not there counts as nothing.

    Args:
        pieces: its table, corpora/{corpus}/pieces.csv.
        wav: its shards, corpora/{corpus}/wav/{shard}.
        cuts: the shards of its cuts, cuts/{corpus}/{cut}/{shard}.
        tokens: what was counted of its notes, tokens/{corpus}/{tokens}/summary.
    """
    count = CorpusCount(pieces.parent.name)
    for row in rows_of(pieces):
        _add_piece(count, row)
    by_name: dict[str, CutCount] = {}
    for shard in sorted(cuts):
        cut = by_name.setdefault(shard.parent.name, CutCount(shard.parent.name))
        for row in rows_of(shard / "index.csv"):
            _add_segment(cut, row)
    count.cuts = list(by_name.values())
    for shard in sorted(wav):
        _add_audio(count, shard)
    for summary in sorted(tokens):
        totals = {row["count"]: int(row["total"]) for row in rows_of(summary / "totals.csv")}
        count.notes[summary.parent.name] = in_words(totals)
    return count


def _add_audio(count: CorpusCount, shard: Path) -> None:
    for row in rows_of(shard / "index.csv"):
        if row.get("status") == "rejected":
            count.lost.add(row.get("reason", ""), row.get("piece", ""))
    render = read_json(path) if (path := shard / "render.json").is_file() else {}
    if render.pop("rendered", bool(render)):  # shards are alike, but for those without MIDI
        count.render = flatten(render)


def _add_piece(count: CorpusCount, row: Row) -> None:
    if row.get("status") != "kept":
        reason = row.get("reason", "")
        count.rejected += 1
        count.duplicates += reason.startswith("duplicate_of")
        count.reasons.add(reason, row.get("path", ""))
        return
    split = row.get("split") or "none"
    count.pieces[split] += 1
    count.seconds[split] += number(row.get("seconds")) or 0.0  # type: ignore[assignment]
    count.kinds[row.get("kind", "")] += 1
    count.groups |= {row["tune_group"]} if row.get("tune_group") else set()
    for column in row.keys() - KNOWN_COLUMNS:
        values = count.metadata.setdefault(column, Counter())
        if row[column] and (row[column] in values or len(values) < EXAMPLES):
            values[row[column]] += 1


def _add_segment(cut: CutCount, row: Row) -> None:
    if row.get("status") == "kept":
        cut.kept += 1
        cut.seconds += number(row.get("seconds")) or 0.0
    else:
        cut.rejected += 1
        cut.reasons.add(row.get("reason", ""))


def flatten(data: object, prefix: str = "") -> Row:
    """Nested settings as one row of texts: {"a": {"b": 1}} -> {"a.b": "1"}."""
    if not isinstance(data, dict):
        return {prefix: "none" if data is None else str(data)}
    row: Row = {}
    for key in sorted(data):
        row |= flatten(data[key], f"{prefix}.{key}" if prefix else str(key))
    return row
