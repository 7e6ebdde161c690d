"""`python -m etude pack`: what a musician or a contributor takes along, in one ZIP.

README.md          what is in it
clips/             chosen clips under their experiment's name (.wav, .mid), and clips.csv: what each
                   was asked to be, its seeds
model/             an export of the experiment (etude.generation.export): weights, card, settings
ownership/         owners.csv of each corpus with owners: whose music the model knows, and how much
recordings/        with --contributor: that person's own files, and captions.csv with their captions
manifest.json      the SHA-256 of every file
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from etude.config import Config, FolderCorpus
from etude.corpus.piece_paths import piece_paths
from etude.errors import UserError
from etude.generation.disclosure import owned_corpora
from etude.generation.export import export, publishing
from etude.generation.registry import forget, register
from etude.generation.trained import LoadedExperiment, in_results
from etude.storage import atomic, hash_file, read_csv, write_csv, write_json, write_text

CLIPS = ["file", "clip", "experiment", "train_seed", "draw", "seconds", "caption"]
CAPTIONS = ["file", "caption", "source"]
DATE = (1980, 1, 1, 0, 0, 0)  # of every member: the same content is the same file


def pack(
    settings: Config,
    name: str,
    output: Path,
    *,
    chosen: Sequence[str] = (),
    draw: int | None = None,
    seed: int | None = None,
    weights: bool = True,
    contributor: str = "",
) -> list[str]:
    """Write the ZIP, whole or not at all; the names of what is in it.

    Args:
        chosen: names of clips (clip-0003); none: all of the draw.
        draw, seed: of generation and of training; None: the first that config names.
        weights: whether the model goes along.
        contributor: whose recordings go along.

    Raises:
        UserError: something that was named is not there, or an owner has not agreed to publishing
            (of clips alone too); the file exists.
    """
    if output.suffix != ".zip" or output.exists():
        why = "it exists" if output.exists() else "its name does not end in .zip"
        raise UserError(
            "no pack can be written there", where=str(output), why=why, do="name another"
        )
    trained = in_results(settings, name, seed)
    draw = trained.experiment.seeds.generate[0] if draw is None else draw
    clips = Path(f"results/clips/{name}/seed-{trained.seed}/draw-{draw}")
    with tempfile.TemporaryDirectory(prefix="etude-pack-") as scratch:
        folder = Path(scratch, "pack")
        count = _clips(trained, clips, draw, chosen, folder / "clips")
        publishing(settings, trained)  # clips, too, leave with everybody's consent
        if weights:
            export(settings, name, seed, folder / "model")
            forget({str((folder / "model").absolute())})
        _ownership(settings, name, folder / "ownership")
        own = _recordings(settings, trained, contributor, folder) if contributor else 0
        write_text(folder / "README.md", _readme(trained, count, weights, contributor, own))
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in found]
        write_json(folder / "manifest.json", {n: hash_file(folder / n) for n in names})
        _zip(folder, output)
    register(settings, name, trained.seed, output)
    return sorted([*names, "manifest.json"])


def _clips(
    trained: LoadedExperiment, source: Path, draw: int, chosen: Sequence[str], target: Path
) -> int:
    """Copy clips under names that say whose they are; how many."""
    table = source / "clips.csv"
    if not table.is_file():
        raise UserError(
            "there are no clips of this experiment",
            where=str(source),
            do=f"make them first: snakemake --cores all {source}",
        )
    rows = {row["clip"]: row for row in read_csv(table)}
    if unknown := [clip for clip in chosen if clip not in rows]:
        raise UserError(
            f"there is no clip {unknown[0]!r}",
            where=str(table),
            do=f"name one of {len(rows)}, such as {next(iter(rows), 'none')}",
        )
    asked = source / "conditions.csv"
    told = {row["clip"]: row for row in read_csv(asked)} if asked.is_file() else {}
    target.mkdir(parents=True)
    lines = []
    for clip in chosen or rows:
        row, condition = rows[clip], told.get(clip, {})
        for file in filter(None, (row["file"], row.get("midi"))):
            shutil.copyfile(source / file, target / f"{trained.name}-{Path(file).name}")
        lines.append(
            {
                "file": f"{trained.name}-{row['file']}",
                "clip": clip,
                "experiment": trained.name,
                "train_seed": trained.seed,
                "draw": draw,
                "seconds": row["seconds"],
                "caption": condition.get("prompt") or condition.get("prime") or "",
            }
        )
    write_csv(target / "clips.csv", CLIPS, lines)
    return len(lines)


def _ownership(settings: Config, name: str, target: Path) -> None:
    for owned in owned_corpora(settings, name):
        source = Path(f"results/corpora/{owned.corpus}/owners.csv")
        if source.is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / f"{owned.corpus}.csv")


def _recordings(settings: Config, trained: LoadedExperiment, contributor: str, folder: Path) -> int:
    """Copy a contributor's own files, with their captions; how many."""
    lines: list[dict[str, str]] = []
    names: set[str] = set()
    for owned in owned_corpora(settings, trained.name):
        if owned.ownership is None:
            continue
        corpus = settings.corpora[owned.corpus]
        fetched = Path("results/corpora", owned.corpus, "source")
        root = corpus.path if isinstance(corpus, FolderCorpus) else fetched
        paths = piece_paths(root, list(owned.rows))
        table = Path(f"results/corpora/{owned.corpus}/captions.csv")
        captions = {row["piece"]: row for row in read_csv(table)} if table.is_file() else {}
        for row in owned.rows:
            rights = owned.ownership.rights.get(row["path"], ())
            names |= {right.contributor for right in rights}
            if contributor not in {right.contributor for right in rights}:
                continue
            file = Path("recordings", owned.corpus, row["path"])
            if not paths[row["piece"]].is_file():
                raise UserError("a recording is not there", where=str(paths[row["piece"]]))
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(paths[row["piece"]], folder / file)
            caption = captions.get(row["piece"], {})
            lines.append({"file": file.as_posix()} | {k: caption.get(k, "") for k in CAPTIONS[1:]})
    if not lines:
        raise UserError(
            f"nothing is owned by {contributor!r}",
            where="--contributor",
            do=f"use one of: {', '.join(sorted(names)) or 'none, no corpus has a table of owners'}",
        )
    write_csv(folder / "recordings" / "captions.csv", CAPTIONS, lines)
    return len(lines)


def _readme(
    trained: LoadedExperiment, clips: int, weights: bool, contributor: str, own: int
) -> str:
    lines = [
        f"# {trained.name}",
        "",
        f"- clips/: {clips} clips; clips.csv says what each was asked to be, and its seeds",
    ]
    if weights:
        lines.append(
            "- model/: its weights and card; `python -m etude generate --from model` plays it"
        )
    if own:
        lines.append(f"- recordings/: {own} recordings of {contributor}, with their captions")
    lines += [
        "- ownership/: whose music the model learned from, where the corpus says it",
        "- manifest.json: the SHA-256 of each file",
        "",
        "No licence is given here: the rights depend on the music that the model learned from.",
        "",
    ]
    return "\n".join(lines)


def _zip(folder: Path, output: Path) -> None:
    """All files in the order of their names, with one date: equal content, equal bytes."""
    with atomic(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), DATE)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with path.open("rb") as source, file.open(member, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
