"""What a folder would become, shown before any work: `python -m etude audit <folder>`."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from etude.config import Config, Cut, FolderCorpus
from etude.config.systems import CLASSES
from etude.corpus.estimate import (
    advise_shards,
    disk_bytes,
    jobs,
    training_seconds,
    work_seconds,
)
from etude.corpus.group_split import SIDES
from etude.corpus.ingest import read_rows
from etude.corpus.metadata import read_metadata
from etude.corpus.piece_paths import piece_paths
from etude.corpus.rows import OURS, Row, reason_class
from etude.corpus.scan import corpus_files, describe_passed
from etude.corpus.split import assign, parse_tune
from etude.errors import UserError

# What a user can do about a reason; {worst} is the largest or smallest number in its rows.
REMEDIES = {
    "too_long": "filter: {{max_minutes: {worst}}} takes them",
    "has_drums": "filter: {{drums: drop}} takes them without drums, keep with them",
    "only_drums": "filter: {{drums: keep}} takes them",
    "program_not_allowed": "filter: {{programs: null}} takes every instrument",
    "velocity_too_low": "filter: {{min_velocity: {worst}}} takes them",
    "duplicate_of": "duplicates: keep takes them",
    "no_notes": "there is nothing to hear in them",
    "empty_file": "there is nothing in them",
    "no_samples": "there is nothing in them",
    "unreadable": "fix their permissions or links",
    "unsupported_midi": "save them again as type 0 or 1, with times in beats",
    "ends_early": "get them again, or save again what is left of them",
    "not_sound": "their samples are in other units, or are no sound: save them again",
    "too_large": "over 16 MB of MIDI is no piece of music",
    "silent": "there is nothing to hear in them",
}
USUAL = next(name for name, system in CLASSES.items() if system.trained)  # what is advised
BROKEN = "no option takes them: fix or leave them"


def audit(
    root: Path,
    corpus: FolderCorpus,
    settings: Config,
    cores: int,
    notes: Callable[[list[Path]], list[str]] = lambda _: [],
) -> tuple[str, bool]:
    """Look through a folder as ingest and split would; writes nothing.

    Args:
        root: the folder.
        corpus: its settings, as they would be written in the configuration.
        settings: the configuration that it would be laid over: its cut, tokens and training.
        cores: cores that the run would have.
        notes: what tokenizers, which this room does not know, report about the kept MIDI files.

    Returns:
        the findings, and whether a run on it would get past its split.

    Raises:
        UserError: the folder or its metadata.csv cannot be read.
    """
    passed: Counter[str] = Counter()
    files = corpus_files(root, corpus.limit, passed=passed)
    metadata = read_metadata(root, files, OURS)
    rows, tunes = [], []
    for row in read_rows(corpus.rules, root, files, metadata, cores):
        tunes.append(parse_tune(row.pop("ngrams")))
        rows.append(row)
    warnings, trouble = list(metadata.warnings), ""
    drums = sum("drums" in row["programs"] and row["status"] == "kept" for row in rows)
    try:
        warnings += assign(corpus, rows, tunes)
    except UserError as error:
        trouble = str(error)
    kept = [row for row in rows if row["status"] == "kept"]
    over = [f"passed over: {passed_note}"] if (passed_note := describe_passed(passed)) else []
    taken = _kept(kept, drums, corpus)
    blocks = [[f"{root}: {len(files)} files", *taken, *_rejected(rows), *over]]
    if trouble:
        blocks.append(["As it stands the run would stop:", *trouble.splitlines()])
    else:
        blocks.append(_split(kept))
        blocks.append(_expect(root, kept, len(files), corpus, settings, cores))
        if midi := [row for row in kept if row["kind"] == "midi"]:
            blocks.append(notes(list(piece_paths(root, midi).values())))
    blocks.append([f"note: {warning}" for warning in warnings])
    if not trouble:
        blocks.append(_config(root, corpus, _shards(kept)))
    return "\n\n".join("\n".join(block) for block in blocks if block), not trouble


def _kept(kept: Sequence[Row], drums: int, corpus: FolderCorpus) -> list[str]:
    lines = [f"kept: {len(kept)} pieces, {_seconds(kept) / 60:.1f} minutes of music"]
    for kind, name in (("midi", "MIDI"), ("audio", "recordings")):
        of_kind = [row for row in kept if row["kind"] == kind]
        if of_kind:
            minutes = _seconds(of_kind) / 60
            lines.append(f"  {len(of_kind):>7} {name}, {minutes:.1f} minutes")
    if drums and corpus.rules.drums == "drop":
        lines.append(
            f"  {drums:>7} of them have drums, which are left out (filter: {{drums: keep}})"
        )
    return lines


def _rejected(rows: Sequence[Row]) -> list[str]:
    music = [row for row in rows if row["kind"] and row["status"] == "rejected"]
    classes = Counter(map(reason_class, music))
    lines = [f"rejected: {len(music)}"] if music else ["rejected: none"]
    for name, count in classes.most_common():
        of_class = [row for row in music if reason_class(row) == name]
        example = of_class[0]
        lines.append(f"  {count:>7} {name}: {_remedy(name, of_class)}")
        detail = example["reason"].removeprefix(name).lstrip(": ")
        lines.append(f"          such as {example['path']}" + f" ({detail})" * bool(detail))
    others = Counter(PurePosixPath(row["path"]).suffix or "none" for row in rows if not row["kind"])
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        lines.append(f"not music: {others.total()} ({kinds})")
    return lines


def _remedy(name: str, rows: Iterable[Row]) -> str:
    numbers = [float(n) for row in rows for n in re.findall(r"[\d.]+\d|\d", row["reason"])]
    worst = {"too_long": math.ceil(max(numbers, default=0) + 0.1), "velocity_too_low": 1}
    if name == "velocity_too_low":
        worst[name] = int(min(numbers, default=1))
    return REMEDIES.get(name, BROKEN).format(worst=worst.get(name, ""))


def _split(kept: Sequence[Row]) -> list[str]:
    groups = Counter(row["tune_group"] for row in kept)
    sides = Counter(row["split"] for row in kept)
    tunes = Counter(side for _, side in {(row["tune_group"], row["split"]) for row in kept})
    lines = [
        f"tunes: {len(groups)} groups of pieces that share one; each is on one side of the split"
    ]
    group, size = groups.most_common(1)[0]
    if size > 1:
        lines.append(f"  {size:>7} pieces in the largest ({group}, …)")
    for side in SIDES:
        minutes = _seconds(row for row in kept if row["split"] == side) / 60
        about = f"({tunes[side]} groups, {minutes:.1f} minutes)"
        lines.append(f"  {sides[side]:>7} pieces for {side} {about}")
    return lines


def _expect(
    root: Path,
    kept: Sequence[Row],
    files: int,
    corpus: FolderCorpus,
    settings: Config,
    cores: int,
) -> list[str]:
    experiment = CLASSES[USUAL].model_validate({"system": USUAL, "corpus": "mine"})
    cut = settings.cuts[experiment.cut_name(settings)]
    training = training_seconds(experiment, settings) / 60
    midi_s, audio_s = (_seconds(r for r in kept if r["kind"] == k) for k in ("midi", "audio"))
    segments = sum(_segments(float(row["seconds"]), cut) for row in kept)
    stored = _stored(root, kept)
    disk = disk_bytes(midi_s, audio_s, stored, corpus.render.rate, cut)
    shards = _shards(kept)
    minutes = work_seconds(midi_s, audio_s, files, shards) / 60 / cores
    return [
        "to expect (estimates from speeds measured on another machine; yours may differ twofold):",
        f"  {segments:>7} segments of {cut.seconds:g} s, less the silent ones",
        f"  {jobs(shards):>7} jobs with shards: {shards}",
        f"  {minutes:>7.1f} minutes from files to tokens on {cores} cores",
        f"  {training:>7.1f} minutes of training on two cores, with the default steps",
        f"  {disk / 1e6:>7.0f} MB of disk",
    ]


def _config(root: Path, corpus: FolderCorpus, shards: int) -> list[str]:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", root.resolve().name).strip("_-")
    name = name if name[:1].isalpha() else f"my_{name}".rstrip("_")
    given = corpus.model_dump(mode="json", exclude_unset=True, exclude={"source", "path", "shards"})
    entry: dict[str, object] = {"source": "folder", "path": str(root.resolve())}
    entry |= {"shards": shards} if shards > type(corpus).model_fields["shards"].default else {}
    return [
        "three lines of config, for a file such as mine.yaml:",
        f"corpora: {{{name}: {json.dumps(entry | given, ensure_ascii=False)}}}",
        f"experiments: {{{name}: {{system: {USUAL}, corpus: {name}}}}}",
        f"run: [{name}]",
    ]


def _seconds(rows: Iterable[Row]) -> float:
    return sum(float(row["seconds"]) for row in rows)


def _segments(seconds: float, cut: Cut) -> int:
    return 0 if seconds < cut.seconds else int((seconds - cut.seconds) / cut.hop + 1e-6) + 1


def _shards(kept: Sequence[Row]) -> int:
    midi_s, audio_s = (_seconds(r for r in kept if r["kind"] == k) for k in ("midi", "audio"))
    return advise_shards(midi_s, audio_s, len(kept))


def _stored(root: Path, kept: Sequence[Row]) -> float:
    """Bytes of the recordings as they are; compressed ones grow about fourfold as WAV."""
    total = 0.0
    for row in kept:
        if row["kind"] == "audio":
            path = root / row["path"]
            plain = path.suffix.lower() in (".wav", ".aif", ".aiff")
            total += (path.stat().st_size if path.exists() else 0) * (1 if plain else 4)
    return total
