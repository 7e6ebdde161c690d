"""The report page: everything that a run made, in one folder that opens from disk.

`index.html` holds its style and its script; audio and pictures lie in media/ beside it. There is
no network in it, and it reads and plays without JavaScript.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

import etude
from etude.config import Evaluation, Page
from etude.plugins import plugin_label
from etude.report import spectrogram
from etude.report.concepts import read_words
from etude.report.copies import Copies, read_copies
from etude.report.corpus import SPLITS, CorpusCount, read_corpus
from etude.report.distances import distance_tables
from etude.report.figures import (
    Row,
    capitalised,
    decimal,
    duration,
    figure,
    in_order,
    numbers,
    p_value,
    percent,
    rows_of,
    some,
)
from etude.report.leaderboard import read_boards, read_differences, read_figures, shown_first
from etude.report.listening import prepare
from etude.report.over_steps import read_stops
from etude.report.provenance import read_provenance
from etude.report.runtimes import read_runtimes
from etude.report.summary import LEFT, RIGHT, read_places
from etude.report.training import read_training
from etude.results.leaderboard import weights_named
from etude.results.summary import LADDER
from etude.results.systems import about, rivals
from etude.results.table import Table, read_tables
from etude.storage import atomic_directory, read_json, write_text
from etude.tokenizers.usage import hardly_used

VERSION = 9  # raised when the page changes

log = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class RunOutputs:
    """What a run made, path by path: earlier runs may have left more in the same folders."""

    tables: list[Path] = field(default_factory=list)  # metrics/{experiment}/{clips}/fad.csv
    histories: list[Path] = field(default_factory=list)  # models/{experiment}/.../history.csv
    pieces: list[Path] = field(default_factory=list)  # corpora/{corpus}/pieces.csv
    wav: list[Path] = field(default_factory=list)  # corpora/{corpus}/wav/{shard}
    cuts: list[Path] = field(default_factory=list)  # cuts/{corpus}/{cut}/{shard}
    tokens: list[Path] = field(default_factory=list)  # tokens/{corpus}/{tokens}/summary
    packed: list[Path] = field(default_factory=list)  # packed/{corpus}/{tokens}
    # Each of these may be absent; the page then says so.
    leaderboard: list[Path] = field(default_factory=list)  # leaderboard.csv
    differences: list[Path] = field(default_factory=list)  # differences.csv
    memorisation: list[Path] = field(default_factory=list)  # metrics/.../memorisation.csv
    symbolic: list[Path] = field(default_factory=list)  # metrics/.../symbolic.csv
    perplexity: list[Path] = field(default_factory=list)  # metrics/{experiment}/seed-S/
    rivals: list[Path] = field(default_factory=list)  # metrics/.../rivals.csv
    concepts: list[Path] = field(default_factory=list)  # metrics/{experiment}/seed-S/concept.csv
    over_steps: list[Path] = field(default_factory=list)  # metrics/{experiment}/over_steps.csv

    def read(self) -> list[Table]:
        """One table per experiment, training seed and draw."""
        tables = [*self.tables, *self.memorisation, *self.perplexity]
        return read_tables(tables, self.rivals, self.concepts)

    def words(self, results: Path) -> dict[str, set[str]]:
        """For each experiment and corpus the names of folders on the way to what it made."""
        words: dict[str, set[str]] = defaultdict(set)
        for paths in vars(self).values():
            for path in paths:
                _, *names = path.relative_to(results).parts
                if names:  # leaderboard.csv is of no one experiment
                    words[names[0]].update(names[1:], ["baselines"])
        return dict(words)


def build_report(
    results: Path,
    run: list[str],
    folder: Path,
    made: RunOutputs,
    settings: Evaluation | None = None,
    *,
    page: Page | None = None,
    configs: Sequence[str] = (),
    threads: int = 1,
) -> None:
    """Write folder/index.html and folder/media/.

    Args:
        results: the folder of results.
        run: names of the experiments that are shown, in this order.
        made: what in the folder of results is of this run.
        settings: the gate of config; none: its defaults.
        page: how many clips are played and shown; none: its defaults.
        configs: names of the files that were laid over the embedded configuration.
        threads: processes that make sounds and pictures.
    """
    settings, page = settings or Evaluation(), page or Page()
    runs = [_ExperimentTables(name, []) for name in run]
    for table in made.read():
        for one in (one for one in runs if one.name == table.experiment):
            one.tables.append(table)
    sets = [(one.name, one.draws) for one in runs]
    with atomic_directory(folder / "media") as media:
        listening = prepare(results, sets, media, page, threads, settings.seed)
    text = results / "fad.txt"
    context = {
        **_figures(runs, made, settings),
        "listening": listening,
        "chosen": {listened.experiment: listened.chosen for listened in listening},
        "configs": list(configs),
        "corpora": [_corpus(pieces, made) for pieces in made.pieces],
        "runtimes": read_runtimes(results, made.words(results)),
        "packed": list(map(_packed, made.packed)),
        "made_with": read_provenance(),
        "fad": text.read_text(encoding="utf-8") if text.is_file() else "",
        "version": etude.__version__,
        "picture": spectrogram,
        "settings": settings,
        "shown": page.clips,
        "rivals": rivals(one.system for one in runs),
        "with_notes": {one.name for one in runs if "notes" in about(one.system).makes},
    }
    write_text(folder / "index.html", _template().render(context))
    log.info("%s: %s", folder / "index.html", some(len(run), "experiment"))


def _figures(
    runs: list[_ExperimentTables], made: RunOutputs, settings: Evaluation
) -> dict[str, Any]:
    """Everything in figures: verdicts, leaderboard, differences, copies, curves."""
    run = [one.name for one in runs]
    board = [row for path in made.leaderboard for row in rows_of(path)]
    # Without a leaderboard the figures of clips come from each experiment's own tables.
    plain = board or [row for one in runs for table in one.tables for row in table.rows]
    symbolic = [row for path in in_order(made.symbolic) for row in rows_of(path)]
    # What the ladder of copies says has a section of its own.
    board, figures = (
        [row for row in rows if not row.get("metric", "").startswith(LADDER)]
        for rows in (board, [*plain, *([] if board else symbolic)])
    )
    trainings = [
        read_training(name, [p for p in made.histories if p.parents[2].name == name])
        for name in run
    ]
    pairs = read_differences((row for path in made.differences for row in rows_of(path)), run)
    shown, more = shown_first(pairs)
    results = [distance_tables(one.name, one.tables, settings) for one in runs]
    words = [(result.name, result.word) for result in results]
    return {
        "results": results,
        "places": read_places(plain, words, settings.deciding, settings.gate_clips),
        "ends": (LEFT, RIGHT),
        "boards": read_boards(board, run, settings.deciding),
        "figures": read_figures(figures, run, map(plugin_label, settings.signals)),
        "differences": shown,
        "more_differences": more,
        "compared": any(path.is_file() for path in made.differences),
        "copies": list(filter(None, (_copies(name, made, plain) for name in run))),
        "trainings": list(filter(None, trainings)),
        "words": read_words(made.concepts),
        "stops": read_stops(made.over_steps),
        "trained": {t.experiment: t.summary for t in trainings if t},
        "provenance": [row for one in runs for row in one.provenance],
        "weights": weights_named([*board, *plain]),
        "hashes": next(({k: r.get(k, "") for k in ("code_hash", "env_hash")} for r in board), {}),
    }


def _copies(name: str, made: RunOutputs, board: list[Row]) -> Copies | None:
    """The searches for copies of an experiment: metrics/{experiment}/{clips}/memorisation.csv."""
    own = [path for path in in_order(made.memorisation) if name in path.parts]
    return read_copies(name, own, board)


@dataclass
class _ExperimentTables:
    """An experiment and its tables, one per training seed and draw."""

    name: str
    tables: list[Table]

    @property
    def provenance(self) -> list[Row]:
        """The first row of each table: names, seeds, hashes."""
        return [table.rows[0] for table in self.tables]

    @property
    def system(self) -> str:
        """The system that it is of; empty where there are no tables."""
        return self.provenance[0]["system"] if self.tables else ""

    @property
    def draws(self) -> list[str]:
        return [f"seed-{row['train_seed']}/draw-{row['draw']}" for row in self.provenance]


def _corpus(pieces: Path, made: RunOutputs) -> CorpusCount:
    """A corpus and what was made of it."""
    wav, cuts, tokens = (
        [path for path in paths if path.parents[1].name == pieces.parent.name]
        for paths in (made.wav, made.cuts, made.tokens)
    )
    return read_corpus(pieces, wav, cuts, tokens)


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
    lost = info.get("left_out", {}).get("segments", 0)
    why = [f"{some(lost, 'segment')} could not be tokenized (left_out.csv)"] if lost else []
    details = "; ".join([*sizes, *why, *hardly_used(info)])
    about = {"corpus": folder.parent.name, "tokens": folder.name, "sizes": details}
    return about | {"hash": str(info.get("data_hash", ""))}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for write in (capitalised, decimal, duration, figure, numbers, p_value, percent, some):
        environment.filters[write.__name__] = write
    return environment.get_template("template.html.j2")
