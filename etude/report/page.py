"""The report page: everything that a run made, in one folder that opens from disk.

`index.html` holds its style and its script; audio and pictures lie in media/ beside it. There is
no network in it, and it reads and plays without JavaScript.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

import etude
from etude.config import Evaluation
from etude.metrics.table import Table, read_tables
from etude.report import spectrogram
from etude.report.corpus import SPLITS, CorpusCount, read_corpus
from etude.report.distances import describe
from etude.report.figures import Row, decimal, duration, some
from etude.report.listening import prepare
from etude.report.runtimes import read_runtimes
from etude.report.training import read_training
from etude.storage import atomic_directory, read_json, write_text

VERSION = 1  # raised when the page changes

log = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Made:
    """What a run made, path by path: earlier runs may have left more in the same folders."""

    tables: list[Path] = field(default_factory=list)  # metrics/{experiment}/{clips}/fad.csv
    histories: list[Path] = field(default_factory=list)  # models/{experiment}/.../history.csv
    pieces: list[Path] = field(default_factory=list)  # corpora/{corpus}/pieces.csv
    wav: list[Path] = field(default_factory=list)  # corpora/{corpus}/wav/{shard}
    cuts: list[Path] = field(default_factory=list)  # cuts/{corpus}/{cut}/{shard}
    packed: list[Path] = field(default_factory=list)  # packed/{corpus}/{tokens}

    def words(self, results: Path) -> dict[str, set[str]]:
        """For each experiment and corpus the names of folders on the way to what it made."""
        words: dict[str, set[str]] = defaultdict(set)
        for paths in vars(self).values():
            for path in paths:
                _, name, *others = path.relative_to(results).parts
                words[name].update(others, ["baselines"])
        return dict(words)


def build_report(
    results: Path, run: list[str], folder: Path, made: Made, settings: Evaluation | None = None
) -> None:
    """Write folder/index.html and folder/media/.

    Args:
        results: the folder of results.
        run: names of the experiments that are shown, in this order.
        made: what in the folder of results is of this run.
        settings: the gate of config; none: its defaults.
    """
    runs = [_Run(name, []) for name in run]
    for table in read_tables(made.tables):
        for one in runs:
            if one.name == table.rows[0]["experiment"]:
                one.tables.append(table)
    with atomic_directory(folder / "media") as media:
        listening = [prepare(results, one.name, one.draws, media) for one in runs]
    trainings = [
        read_training(name, [p for p in made.histories if p.parents[2].name == name])
        for name in run
    ]
    settings = settings or Evaluation()
    text = results / "fad.txt"
    context = {
        "results": [describe(one.name, one.tables, settings) for one in runs],
        "listening": listening,
        "trainings": list(filter(None, trainings)),
        "corpora": [_corpus(pieces, made) for pieces in made.pieces],
        "runtimes": read_runtimes(results, made.words(results)),
        "provenance": [row for one in runs for row in one.provenance],
        "packed": list(map(_packed, made.packed)),
        "fad": text.read_text(encoding="utf-8") if text.is_file() else "",
        "version": etude.__version__,
        "picture": spectrogram,
        "settings": settings,
    }
    write_text(folder / "index.html", _template().render(context))
    log.info("%s: %s", folder / "index.html", some(len(run), "experiment"))


@dataclass
class _Run:
    """An experiment and its tables, one per training seed and draw."""

    name: str
    tables: list[Table]

    @property
    def provenance(self) -> list[Row]:
        """The first row of each table: names, seeds, hashes."""
        return [table.rows[0] for table in self.tables]

    @property
    def draws(self) -> list[str]:
        return [f"seed-{row['train_seed']}/draw-{row['draw']}" for row in self.provenance]


def _corpus(pieces: Path, made: Made) -> CorpusCount:
    """A corpus and what was made of it."""
    wav, cuts = (
        [path for path in paths if path.parents[1].name == pieces.parent.name]
        for paths in (made.wav, made.cuts)
    )
    return read_corpus(pieces, wav, cuts)


def _packed(folder: Path) -> Row:
    """What models were trained on: corpus, token set, sizes."""
    path = folder / "info.json"
    info = read_json(path) if path.is_file() else {}
    splits = info.get("splits", {})
    sizes = [
        f"{name}: {some(int(size.get('items', 0)), 'sequence')} of "
        f"{some(int(size.get('pieces', 0)), 'piece')}"
        for name, size in ((s, splits[s]) for s in SPLITS if s in splits)
    ]
    about = {"corpus": folder.parent.name, "tokens": folder.name, "sizes": "; ".join(sizes)}
    return about | {"hash": str(info.get("data_hash", ""))}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"decimal": decimal, "duration": duration, "some": some}
    environment.filters.update(filters)
    return environment.get_template("template.html.j2")
