"""All that knew a withdrawn file: found below results/, in caches and among exports, and deleted.

Deleted are the shards that name the file; what was fitted or packed over its corpus; of every
experiment that knows the corpus the stages, latents, clips, figures and curves; the states of their
trainings; embeddings that were kept of its sound; exports within reach that have its hash.
Snakemake then makes what is wanted again. What is not ours is named, never deleted. The order makes
it safe to be killed: the tables that know the file's hash go last, and only then it is noted that
the withdrawal is complete (etude.corpus.withdrawn).

Called by the workflow before its jobs: standard library, pydantic and yaml only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from etude.config import Config
from etude.corpus.consent import root_of
from etude.corpus.scan import list_files, piece_id, printable
from etude.corpus.withdrawn import find, pending, read_withdrawn, record_withdrawn
from etude.generation.registry import drop, exports, forget, knows
from etude.storage import embeddings_folder, hash_file, read_csv, read_json
from etude.workflow.lineage import corpora_behind
from etude.workflow.plan import Plan

RESULTS = Path("results")
TEXTS = {".csv", ".json", ".jsonl", ".txt", ".log", ".html", ".md", ".svg", ".yaml", ".tex"}
SHARDED = ("corpora/{c}/wav/*", "cuts/{c}/*/*", "events/{c}/*/*", "tokens/{c}/*/*")
OF_CORPUS = ("packed/{c}", "memorisation/{c}")
# Models last: of experiments that the configuration has no more, only their cards tell the corpus.
OF_EXPERIMENT = ("latents", "clips", "embeddings", "metrics", "tensorboard", "models")
LAST = ("captions.csv", "owners.csv", "pieces.csv")  # of a corpus; then the ingest tables


@dataclass
class WithdrawnFile:
    """What a withdrawn file is known by.

    Attributes: names (relative path, piece), hashes (sha256 of the file, of its notes or samples,
    and of sounds that were made of it).
    """

    names: set[str] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)

    @property
    def words(self) -> set[bytes]:
        """What no text may hold any more."""
        return {word.encode() for word in self.names | self.hashes}


@dataclass
class RemovalPlan:
    """What knew the files of a corpus.

    Attributes: paths (to delete, in this order), kept (embeddings in the cache), exports (folders
    within reach), elsewhere (exports of which nobody can say), experiments.
    """

    paths: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    exports: list[Path] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    experiments: list[str] = field(default_factory=list)


def carry_out(config: Config, results: Path = RESULTS) -> list[str]:
    """Delete all that knows the files whose withdrawal is pending; lines that say what was done.

    Raises:
        UserError: a table cannot be read.
    """
    lines: list[str] = []
    for corpus, settings in config.corpora.items():
        if names := pending(settings, corpus, results):
            found = survey(config, corpus, names, results)
            lines += delete(found, corpus, len(names), results)
    record_withdrawn(config.corpora, results)
    return lines


# ------------------------------------------------------------------------------------- finding


def survey(
    config: Config, corpus: str, names: Collection[str], results: Path = RESULTS
) -> RemovalPlan:
    """What knew some withdrawn files of a corpus; nothing is changed."""
    piece = identify(config, corpus, names, results)
    found = RemovalPlan(experiments=experiments_on(config, corpus, results))
    shards = [p for pattern in SHARDED for p in results.glob(pattern.format(c=corpus))]
    found.paths += [path for path in shards if not path.is_dir() or path.parts[-1] != "summary"]
    found.paths = [path for path in found.paths if mentions(path, piece.words)]
    found.paths += results.glob(f"tokens/{corpus}/*/summary")
    found.paths += list(_states(results, corpus, found.experiments))
    found.paths += [results / top / e for top in OF_EXPERIMENT for e in found.experiments]
    found.paths += [results / f"criteria/{e}.txt" for e in found.experiments]
    found.paths += _fitted(config, corpus, results)
    found.paths += [results / pattern.format(c=corpus) for pattern in OF_CORPUS]
    rest = [*results.glob("*.*"), results / "report", *results.glob("logs/**/*.log")]
    found.paths += [path for path in rest if mentions(path, piece.words)]
    found.paths.append(results / "corpora" / corpus / "source")
    tables = sorted(results.glob(f"corpora/{corpus}/ingest/*.csv"))
    found.paths += [results / "corpora" / corpus / name for name in LAST]
    found.paths += [path for path in tables if mentions(path, piece.words)]
    found.paths = [path for path in found.paths if os.path.lexists(path)]
    found.kept = list(kept_embeddings(piece.hashes))
    for entry in exports(results):
        if corpus in entry.get("corpora", {}):
            known = knows(entry, piece.hashes)
            if known is None:
                found.elsewhere.append(f"{entry['folder']} ({entry.get('experiment')})")
            elif known:
                found.exports.append(Path(entry["folder"]))
    return found


def identify(config: Config, corpus: str, names: Collection[str], results: Path) -> WithdrawnFile:
    """Everything that withdrawn files are known by, from all that is still here."""
    settings, piece = config.corpora[corpus], WithdrawnFile()
    stated = read_withdrawn(settings)
    piece.hashes |= {stated[name]["sha256"] for name in names if stated[name].get("sha256")}
    folder = results / "corpora" / corpus
    rows = [row for table in _tables(folder) for row in read_csv(table)]
    root = root_of(settings, corpus, results)
    there = list(list_files(root)) if root.is_dir() else []
    piece.hashes |= {hash_file(root / relative) for relative in find(names, there)}
    gone = find(names, [*there, *(row["path"] for row in rows)])
    piece.names |= {form for path in gone for form in (printable(path), piece_id(path))}
    for row in rows:
        if row["piece"] in piece.names or row.get("sha256") in piece.hashes:
            piece.names |= {row["piece"], row["path"]}
            piece.hashes |= {row[key] for key in ("sha256", "notes_hash") if row.get(key)}
    sounds = [p for p in folder.glob("wav/*/*.wav") if p.stem in piece.names]
    clips = (results / "clips" / name for name in experiments_on(config, corpus, results))
    sounds += [path for clip in clips for path in clip.rglob("*.wav")]
    piece.hashes |= {hash_file(path) for path in sounds}
    return piece


def _tables(folder: Path) -> list[Path]:
    """The ingest tables of a corpus, and pieces.csv, as far as they are there."""
    tables = [*sorted((folder / "ingest").glob("*.csv")), folder / "pieces.csv"]
    return [table for table in tables if table.is_file()]


def experiments_on(config: Config, corpus: str, results: Path) -> list[str]:
    """Experiments that know a corpus: of the configuration, and of older ones by their cards."""
    found = [name for name in config.experiments if corpus in corpora_behind(config, name)]
    row = f"| corpus | {corpus} |"
    for card in sorted(results.glob("models/*/*/*/card.md")):
        name = card.parts[-4]
        if name not in config.experiments and row in card.read_text(encoding="utf-8"):
            found.append(name)
    return list(dict.fromkeys(found))


def _states(results: Path, corpus: str, experiments: Collection[str]) -> Iterator[Path]:
    """States of trainings of these experiments, or over this corpus's packed tokens."""
    packed = results.glob(f"packed/{corpus}/*/info.json")
    data = {read_json(path).get("data_hash") for path in packed}
    for about in sorted(results.glob("state/*/about.json")):
        try:
            described = read_json(about)
        except (OSError, ValueError):
            continue
        name = str(described.get("for", "")).partition("/")[0]
        if name in experiments or described.get("data_hash") in data:
            yield about.parent
    for name in experiments:
        yield from (results / "state" / ref.read_text().strip() for ref in _refs(results, name))
        yield results / "state/refs" / name


def _refs(results: Path, name: str) -> list[Path]:
    return sorted((results / "state/refs" / name).glob("*/seed-*"))


def _fitted(config: Config, corpus: str, results: Path) -> list[Path]:
    """Tokenizers that learned from the corpus; what is only described or brought knows nothing."""
    plan = Plan(config)
    found = []
    for folder in sorted(results.glob(f"tokenizers/{corpus}/*")):
        name = folder.name
        innocent = name in config.tokenizers and (
            plan.is_imported(name) or (name in plan.symbolic_tokenizers and not plan.learns(name))
        )
        if not innocent:
            found.append(folder)
    return found


def mentions(path: Path, words: Collection[bytes]) -> bool:
    """Whether a file, or one in a folder, has one of the words in its name or in its text."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        name = os.fsencode(file.name)
        if any(word in name for word in words):
            return True
        if file.suffix in TEXTS and any(word in file.read_bytes() for word in words):
            return True
    return False


def kept_embeddings(hashes: Iterable[str]) -> Iterator[Path]:
    """Embeddings in the user's cache that were made of these sounds, or of nobody knows which."""
    folder = embeddings_folder()
    for digest in sorted(hashes):
        yield from sorted((folder / digest[:2]).glob(f"{digest}-*.npz"))
    # Before names had the sound's hash in front they did not say of what they were.
    yield from sorted(path for path in folder.glob("*/*.npz") if "-" not in path.name)


# ------------------------------------------------------------------------------------ deleting


def delete(found: RemovalPlan, corpus: str, count: int, results: Path = RESULTS) -> list[str]:
    """Delete what was found; what to tell."""
    lines = [f"{count} files of {corpus!r} were withdrawn: deleted is what knew them"]
    for path in found.kept:
        path.unlink(missing_ok=True)
    for folder in found.exports:
        left = drop(folder)
        forget([str(folder)], results)
        lines.append(f"the export {folder} knew them and was deleted")
        lines += [f"  {path} is not ours and stays" for path in left]
    for place in found.elsewhere:
        lines.append(f"an export may know them and is not within reach: {place}; delete it there")
    for path in found.paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    forget([place.rpartition(" (")[0] for place in found.elsewhere], results)
    trainings = ", ".join(found.experiments) or "none"
    lines.append(f"experiments that are trained again at their next run: {trainings}")
    return lines
