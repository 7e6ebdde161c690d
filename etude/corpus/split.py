"""One table of pieces: which are duplicates, which share a tune, and which side each is on.

The split lives here only. Copies of a piece and pieces of one tune are never on two sides;
recordings can be compared by their samples only, so two takes of one song are unrelated.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from etude.config import CorpusBase, Split
from etude.corpus.estimate import advise_shards
from etude.corpus.group_split import SIDES, assign_groups, user_sides
from etude.corpus.rows import INGEST_COLUMNS, PIECES_COLUMNS, Row, counts_text, reason_class
from etude.corpus.scan import is_unread
from etude.corpus.tunes import tune_groups
from etude.errors import UserError
from etude.storage import read_csv, write_csv

VERSION = 2  # raised when groups or splits change
SMALL_SIDE = 60.0  # seconds of held-out music below which there is a warning
LARGE_GROUP = 0.1  # a share of the corpus above which a tune group gets a warning

log = logging.getLogger(__name__)


def decide_split(settings: CorpusBase, ingest: list[Path], output: Path) -> None:
    """Read the ingest tables of all shards and write pieces.csv, sorted by piece.

    Raises:
        UserError: nothing can be used, more than `max_rejected` of the music was rejected, two
            files have the same piece name, or metadata.csv names an unknown split.
    """
    rows: list[Row] = []
    tunes: list[np.ndarray] = []
    columns: list[str] = []
    for path in ingest:
        for row in read_csv(path):
            columns = columns or list(row)
            tunes.append(parse_tune(row.pop("ngrams")))
            rows.append(row)
    order = sorted(range(len(rows)), key=lambda i: rows[i]["path"])
    rows, tunes = [rows[i] for i in order], [tunes[i] for i in order]
    for warning in assign(settings, rows, tunes):
        log.warning("%s", warning)
    own = [c for c in columns if c not in INGEST_COLUMNS and c != "split"]
    rows.sort(key=lambda row: row["piece"])
    write_csv(output, [*PIECES_COLUMNS, *own], rows)
    for line in summary(settings, rows):
        log.info("%s", line)


def assign(settings: CorpusBase, rows: list[Row], tunes: Sequence[np.ndarray]) -> list[str]:
    """Decide duplicates, tune groups and sides; rows (sorted by path) are changed in place.

    In metadata.csv, a `split` overrides the assignment, a `tune` the similarity (`tune_groups`).

    Returns:
        warnings, in words.

    Raises:
        UserError: see `decide_split`.
    """
    warnings: list[str] = []
    wishes = user_sides(rows) if settings.split.mode == "group" else {}
    for row in rows:
        row["tune_group"], row["split"] = "", ""
    _check_names(rows)
    _check_rejected(settings, rows)
    if settings.duplicates == "drop":
        _drop_duplicates(rows)
    kept = [i for i, row in enumerate(rows) if row["status"] == "kept"]
    groups = _groups(settings.split, [rows[i] for i in kept], [tunes[i] for i in kept])
    for members in groups.values():
        for member in members:
            rows[kept[member]]["tune_group"] = rows[kept[members[0]]]["piece"]
    named = defaultdict(list)
    for i in kept:
        named[rows[i]["tune_group"]].append(rows[i])
    sides = assign_groups(settings.split, named, wishes, warnings)
    for group, members_of in named.items():
        for row in members_of:
            row["split"] = sides[group]
        if len(members_of) > max(1, LARGE_GROUP * len(kept)) and settings.split.mode == "group":
            warnings.append(
                f"one tune group has {len(members_of)} of {len(kept)} pieces ({group}, …), all on "
                "one side; a column `tune` in metadata.csv, or a higher split.similarity, splits it"
            )
    if settings.split.mode == "group":
        warnings += _small_sides([rows[i] for i in kept])
    if unread := [r["path"] for r in rows if is_unread(r["path"])]:
        warnings.append(
            f"{len(unread)} recordings are of a kind that is not read ({unread[0]}, …): convert "
            "them, for example with: ffmpeg -i song.m4a song.flac"
        )
    if any(rows[i]["kind"] == "audio" for i in kept):
        warnings.append(
            "recordings are compared by their samples only: two takes of a piece, or one as MP3 "
            "and WAV, may be on two sides; in metadata.csv a column `tune` can say what belongs "
            "together, `split` on which side"
        )
    return warnings


def _small_sides(kept: Sequence[Row]) -> list[str]:
    """Pieces are assigned by number, so a side of few pieces may hold next to no music."""
    seconds = {side: sum(float(r["seconds"]) for r in kept if r["split"] == side) for side in SIDES}
    return [
        f"{side} has {seconds[side]:.0f} s of music: {about} (a minute or more is wanted); add "
        "pieces, or choose them by a column `split` in metadata.csv"
        for side, about in (
            ("valid", "the validation loss says little"),
            ("test", "distances to it are mostly chance"),
        )
        if 0 < seconds[side] < SMALL_SIDE
    ]


def parse_tune(text: str) -> np.ndarray:
    """The n-gram hashes of a row: uint32 [n]."""
    return np.frombuffer(bytes.fromhex(text), dtype=">u4").astype(np.uint32)


def check_no_leak(rows: Iterable[Mapping[str, str]]) -> None:
    """The leakage gate: no notes or samples, and no tune group, on two sides.

    Args:
        rows: of pieces.csv.

    Raises:
        UserError: naming pieces of one tune on two sides.
    """
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for row in rows:
        if row["status"] != "kept":
            continue
        for what, name in (("notes_hash", "notes or samples"), ("tune_group", "tune")):
            if not row[what]:
                continue
            piece, side = first.setdefault((what, row[what]), (row["piece"], row["split"]))
            if side != row["split"]:
                raise UserError(
                    f"two pieces of the same {name} are on two sides of the split",
                    code="leaking-split",
                    where=f"{piece} ({side}) and {row['piece']} ({row['split']})",
                    why="what is trained on must not be what is measured against",
                    do="do not edit pieces.csv by hand; delete it and run again",
                )


def summary(settings: CorpusBase, rows: Sequence[Row]) -> list[str]:
    """What became of the corpus, in lines."""
    music = [row for row in rows if row["kind"]]
    kept = [row for row in music if row["status"] == "kept"]
    others = len(rows) - len(music)
    lines = [
        counts_text(Counter(map(reason_class, music))) + f"; {others} other files" * bool(others)
    ]
    seconds = {
        kind: sum(float(row["seconds"]) for row in kept if row["kind"] == kind)
        for kind in ("midi", "audio")
    }
    groups = len({row["tune_group"] for row in kept})
    lines.append(f"{sum(seconds.values()) / 60:.1f} minutes of music in {groups} tune groups")
    sides = Counter(row["split"] for row in kept)
    lines.append(", ".join(f"{side} {sides[side]}" for side in SIDES))
    shards = advise_shards(seconds["midi"], seconds["audio"], len(rows))
    per_shard = len(rows) / settings.shards
    advice = f"{per_shard:.0f} pieces per shard"
    if not shards / 3 <= settings.shards <= max(2, 3 * shards):
        advice += f"; better: shards: {shards} (jobs of some minutes)"
    return [*lines, advice]


def _check_names(rows: Sequence[Row]) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        other = seen.setdefault(row["piece"], row["path"])
        if other != row["path"]:
            raise UserError(
                f"two files have the same piece name, {row['piece']}",
                code="duplicate-piece-name",
                where=f"{other} and {row['path']}",
                why="names are made from the path and eight digits of its hash",
                do="rename one of them",
            )


def _check_rejected(settings: CorpusBase, rows: Sequence[Row]) -> None:
    music = [row for row in rows if row["kind"]]
    reasons = Counter(reason_class(row) for row in music)
    rejected = len(music) - reasons["kept"]
    if not music:
        raise UserError(
            "the corpus has no music",
            code="no-music",
            where=f"{len(rows)} files were looked at" if rows else "the folder is empty",
            why="music is MIDI (.mid, .midi, .kar) and audio (.wav, .flac, .mp3, .ogg, .aiff)",
            do="check the corpus's path",
        )
    if not reasons["kept"] or rejected > settings.max_rejected * len(music):
        examples = {reason_class(row): f"{row['path']}: {row['reason']}" for row in reversed(music)}
        examples.pop("kept", None)
        raise UserError(
            f"{rejected} of {len(music)} music files were rejected",
            code="too-many-rejected",
            where="for example " + "; ".join(list(examples.values())[:3]),
            why=counts_text(reasons),
            do="`python -m etude audit <folder>` says which option accepts what; "
            "`max_rejected` is the share that may be rejected",
        )


def _drop_duplicates(rows: Sequence[Row]) -> None:
    """Of pieces with equal notes or samples, the first by path stays."""
    first: dict[str, str] = {}
    for row in rows:
        if row["status"] == "kept":
            original = first.setdefault(row["notes_hash"], row["piece"])
            if original != row["piece"]:
                row |= {"status": "rejected", "reason": f"duplicate_of:{original}"}


def _groups(
    settings: Split, rows: Sequence[Row], tunes: Sequence[np.ndarray]
) -> dict[int, list[int]]:
    """Members by group: pieces of one tune, and copies where they are kept."""
    names = [row.get("tune", "").strip() for row in rows]
    labels = tune_groups(tunes, settings.similarity, names).tolist()
    by_hash: dict[str, int] = {}
    merged = list(range(len(rows)))

    def root(label: int) -> int:
        while merged[label] != label:
            label = merged[label]
        return label

    for row, label in zip(rows, labels, strict=True):
        a, b = root(label), root(by_hash.setdefault(row["notes_hash"], label))
        merged[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        groups[root(label)].append(i)
    return groups
