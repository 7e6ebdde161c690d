"""Clips to listen to: which are shown, in which order, and what the page says of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from etude.config import Page
from etude.report.evidence import Evidence, Facts, Nearest, read_evidence
from etude.report.figures import Row, decimal, duration, rows_of
from etude.report.media import Job, Medium, make_media
from etude.report.spectrogram import HIGHEST_HZ, LOWEST_HZ
from etude.results.leaderboard import number
from etude.results.systems import clip_sets

PAIRS, FOR_THE_EAR = 6, 2
PAIRED = ("real", "reconstruction")
CHANCE = "random_notes"


@dataclass(frozen=True)
class ClipPlayer:
    """One clip: its sound and picture, what is known of it, its place in each order."""

    name: str
    medium: Medium
    origin: str = ""
    alt: str = ""
    seconds: str = ""
    signals: str = ""
    flags: list[str] = field(default_factory=list)
    prime: float = 0.0  # per cent of the clip that was given, not generated
    nearest: ClipPlayer | None = None  # in the training music
    index: int = 0
    fad: float | None = None
    copies: int = 0  # searches that call it a copy


@dataclass(frozen=True)
class ListeningSet:
    """Clips of one kind in the page's order, and why there may be none."""

    name: str
    players: list[ClipPlayer]
    note: str = ""
    left_out: list[Row] = field(default_factory=list)
    embedding: str = ""
    searched: bool = False
    decided: bool = False

    @property
    def total(self) -> int:
        """How many clips there are."""
        return len(self.players)

    @property
    def title(self) -> str:
        """`seed 0, draw 1` of seed-0-draw-1."""
        return self.name.replace("seed-", "seed ").replace("-draw-", ", draw ")


@dataclass(frozen=True)
class Listening:
    """All clips of one experiment that can be played."""

    experiment: str
    pairs: list[tuple[ClipPlayer | None, ClipPlayer | None]]
    pair_notes: list[str]
    generated: list[ListeningSet]
    others: list[ListeningSet]
    # A generated clip, a real one and one of chance: which ones is decided by the seed alone.
    chosen: tuple[ClipPlayer | None, ClipPlayer | None, ClipPlayer | None]


@dataclass(frozen=True)
class Shelf:
    """A clip set before its media are made."""

    name: str
    folder: Path
    generated: bool
    rows: list[Row]
    jobs: list[Job]
    evidence: Evidence
    neighbours: dict[str, Job] = field(default_factory=dict)  # by clip


def prepare(
    results: Path,
    runs: list[tuple[str, list[str]]],
    media: Path,
    settings: Page,
    threads: int = 1,
    seed: int = 0,
) -> list[Listening]:
    """Make the media of all experiments in one go and say what they are.

    Args:
        runs: each experiment with its clip sets, as seed-0/draw-0.
        media: the folder `media` beside the page.
        seed: chooses the clips at the page's top.
    """
    shelves = [_shelves(results, name, draws, settings) for name, draws in runs]
    jobs = [
        job
        for of_run in shelves
        for shelf in of_run
        for job in (*shelf.jobs, *shelf.neighbours.values())
    ]
    made = make_media(jobs, media, threads)
    return [
        _listening(name, [_clip_set(shelf, made) for shelf in of_run], len(draws), seed)
        for (name, draws), of_run in zip(runs, shelves, strict=True)
    ]


def _shelves(results: Path, experiment: str, draws: list[str], settings: Page) -> list[Shelf]:
    """Generated sets first, then what they are compared with."""
    clips, metrics = results / "clips" / experiment, results / "metrics" / experiment
    shelves = [
        _shelf(results, clips / draw, metrics / draw, draw.replace("/", "-"), settings.media)
        for draw in draws
    ]
    there = {folder.name: folder for folder in sorted((clips / "baselines").glob("*/"))}
    known = [name for name in clip_sets() if name in there]
    for name in [*known, *(name for name in there if name not in known)]:
        if name != "reference":
            most = PAIRS if name in PAIRED else FOR_THE_EAR
            shelves.append(_shelf(results, there[name], metrics / "baselines", name, most))
    return shelves


def _shelf(results: Path, folder: Path, metrics: Path, name: str, most: int) -> Shelf:
    """A set's rows and what is to be made of them; a baseline is cut to `most` rows."""
    experiment = folder.relative_to(results / "clips").parts[0]
    rows = list(rows_of(folder / "clips.csv"))
    generated = metrics.name != "baselines"
    rows = rows if generated else rows[:most]
    evidence = read_evidence(metrics, "generated" if generated else name)
    jobs = [
        Job(folder / row.get("file", ""), f"{experiment}/{name}/{index:04d}")
        for index, row in enumerate(rows[:most])
    ]
    neighbours = {}
    for row in rows[:most] if generated else ():
        nearest = evidence.of(row.get("clip", "")).nearest
        if nearest and nearest.file:
            seconds = number(row.get("seconds")) or 0.0
            neighbours[row.get("clip", "")] = _excerpt(results, experiment, nearest, seconds)
    return Shelf(name, folder, generated, rows, jobs, evidence, neighbours)


def _excerpt(results: Path, experiment: str, nearest: Nearest, seconds: float) -> Job:
    """The job of a neighbour; the same excerpt is made once, whoever is near to it."""
    start = nearest.start_s or 0.0
    key = f"{nearest.file} {start:.3f} {seconds:.3f}".encode()
    name = f"{experiment}/training/{hashlib.sha256(key).hexdigest()[:12]}"
    return Job(results / nearest.file, name, start, seconds)


def _listening(experiment: str, sets: list[ListeningSet], draws: int, seed: int) -> Listening:
    generated, others = sets[:draws], {made.name: made for made in sets[draws:]}
    paired = [others.pop(name) for name in PAIRED if name in others]
    notes = [f"{made.name}: {made.note}" for made in paired if made.note]
    by_name = {made.name: {p.name: p for p in made.players} for made in paired}
    left, right = (by_name.get(name, {}) for name in PAIRED)
    pairs = [(left.get(name), right.get(name)) for name in sorted(left.keys() | right.keys())]
    made = [player for one in generated[:1] for player in one.players]
    choose = Random(f"{seed}/{experiment}")  # noqa: S311 (no secret: neither best nor worst)
    real = [first for first, _ in pairs if first]
    dumb = others[CHANCE].players if CHANCE in others else []
    chosen = (_any(made, choose), _any(real, choose), _any(dumb, choose))
    return Listening(experiment, pairs, notes, generated, list(others.values()), chosen)


def _any(players: list[ClipPlayer], choose: Random) -> ClipPlayer | None:
    playable = [player for player in players if player.medium.audio]
    return choose.choice(playable) if playable else None


def _clip_set(shelf: Shelf, made: dict[Job, Medium]) -> ListeningSet:
    players = []
    for index, row in enumerate(shelf.rows):
        clip = row.get("clip", "")
        medium = made[shelf.jobs[index]] if index < len(shelf.jobs) else Medium()
        facts = shelf.evidence.of(clip)
        job = shelf.neighbours.get(clip)
        near = _neighbour(facts.nearest, made[job] if job else None)
        players.append(_player(index, row, medium, facts, near))
    note = shelf.folder / "note.txt"
    return ListeningSet(
        name=shelf.name,
        players=sorted(players, key=_playable_first) if shelf.generated else players,
        note=note.read_text(encoding="utf-8").strip() if note.is_file() else "",
        left_out=list(rows_of(shelf.folder / "rejected.csv")),
        embedding=shelf.evidence.embedding,
        searched=shelf.evidence.searched,
        decided=shelf.evidence.decided,
    )


def _playable_first(player: ClipPlayer) -> tuple[bool, int]:
    """What has a sound, as it was generated: an order that nobody chose."""
    return not player.medium.audio, player.index


def _neighbour(nearest: Nearest | None, medium: Medium | None) -> ClipPlayer | None:
    if nearest is None:
        return None
    start = f", {_together(f'from {duration(nearest.start_s)}')}" if nearest.start_s else ""
    name = nearest.piece or Path(nearest.file).stem
    verdict = "may be its source" if nearest.flagged else "no copy by that measure"
    return ClipPlayer(
        name=name,
        medium=medium or Medium(trouble="has no sound here"),
        origin=f"{name}{start}",
        alt=_alt(name, medium or Medium()),
        signals=f"nearest by {nearest.rung}, {verdict}" if nearest.rung else "",
    )


def _player(
    index: int, row: Row, medium: Medium, facts: Facts, nearest: ClipPlayer | None
) -> ClipPlayer:
    """A clip with where it comes from, its figures, what is odd about it."""
    name = row.get("clip") or Path(row.get("file", "")).stem
    prime = number(row.get("prime_seconds")) or 0.0
    seconds = medium.seconds or number(row.get("seconds")) or 0.0
    level = number(facts.signals.get("level_db"))
    alt = _alt(name, medium)
    if level is not None:
        alt += f", level {decimal(level, 0)} dBFS"
    return ClipPlayer(
        name=name,
        medium=medium,
        origin=_origin(row),
        alt=alt,
        seconds=f"{seconds:.1f}",
        signals=_signals(facts, row),
        flags=_flags(facts),
        prime=round(100 * min(prime / seconds, 1.0), 2) if seconds else 0.0,
        nearest=nearest,
        index=index,
        fad=facts.fad,
        copies=len(facts.rungs),
    )


def _origin(row: Row) -> str:
    origin, start = row.get("piece") or row.get("source") or "", number(row.get("start_s"))
    if origin and start is not None:
        origin += ", " + _together(f"from {duration(start)}")
    return origin


def _signals(facts: Facts, row: Row) -> str:
    harmony, flatness, level = (
        number(facts.signals.get(key)) for key in ("et_grid", "flatness_db", "level_db")
    )
    known = [
        f"FAD {decimal(facts.fad, 1)}" if facts.fad is not None else "",
        f"et_grid {decimal(harmony)}" if harmony is not None else "",
        f"flatness {decimal(flatness, 0)} dB" if flatness is not None else "",
        f"{decimal(level, 0)} dBFS" if level is not None else "",
        "ends by itself" if row.get("ended") == "true" else "",
    ]
    return ", ".join(_together(text) for text in known if text)


def _flags(facts: Facts) -> list[str]:
    flags = [
        f"may be a copy ({', '.join(facts.rungs)})" if facts.rungs else "",
        "silent" if facts.silent else "",
        "far from real music" if facts.far else "",
        "harmony unlike the others" if facts.odd else "",
    ]
    return list(filter(None, flags))


def _alt(name: str, medium: Medium) -> str:
    if medium.roll:
        return f"Piano roll of {name}: {medium.seconds:.1f} s"
    return (
        f"Spectrogram of {name}: {medium.seconds:.1f} s, {LOWEST_HZ:.0f} Hz to "
        f"{HIGHEST_HZ / 1000:.0f} kHz"
    )


def _together(text: str) -> str:
    """A text that no line breaks."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")
