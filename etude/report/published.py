"""The published run: docs/results/ and the README's table, which is rendered from it.

docs/results/ holds leaderboard.csv, differences.csv, fad.txt, config.json (the whole resolved
configuration) and hashes.json; where checkpoints were measured also over_steps.csv, and a figure of
each experiment. Its README.md has all tables. The README of the repository has one table. Both
stand between two markers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.config import Config
from etude.errors import UserError
from etude.report.over_steps import read_stop, read_stops, svg_of
from etude.results.leaderboard import FLOOR, GENERATED, PRIMARY, number
from etude.results.rates import COPIED, DECIDING
from etude.results.summary import NAMES
from etude.results.systems import about, clip_sets, worthless
from etude.storage import hash_file, read_csv, read_json, write_csv, write_json, write_text

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "results"
README = ROOT / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
FILES = ("leaderboard.csv", "differences.csv", "fad.txt")
NOT_YET = "*No run is published yet. `python -m etude table --publish results` puts one here.*"
HASHES = "hashes.json"
OVER_STEPS = "over_steps.csv"
METRIC = "frechet_distance"  # of a run that names no primary metric
CALLED = NAMES | {METRIC: "Fréchet distance"}
SEARCHES = tuple(f"{COPIED}{name}" for name in DECIDING)

Row = dict[str, str]


def publish(results: Path, settings: Config, docs: Path = DOCS) -> None:
    """Copy a run's figures, its whole configuration and their hashes.

    Raises:
        UserError: a table is not there, or an experiment failed in it.
    """
    over_steps = [
        f"metrics/{name}/{OVER_STEPS}" for name in settings.evaluation.over_steps.experiments
        if name in settings.run
    ]  # fmt: skip
    for name in (*FILES, *over_steps):
        if not (results / name).is_file():
            raise UserError(
                "there is nothing to publish",
                code="nothing-to-publish",
                where=str(results / name),
                do="make it first: snakemake --cores all",
            )
    rows = list(read_csv(results / "leaderboard.csv"))
    if failed := [row["experiment"] for row in rows if row["note"].startswith("failed")]:
        raise UserError(
            "an unfinished run is not published",
            code="run-unfinished",
            where=str(results / "leaderboard.csv"),
            why=f"failed: {', '.join(failed)}",
            do="fix it and run again",
        )
    missing = {row["experiment"] for row in rows} - set(settings.run)
    if missing:
        raise UserError(
            "the configuration is of another run",
            code="config-of-another-run",
            why=f"its `run` does not name {', '.join(sorted(missing))}",
            do="give the files of that run with --configfile",
        )
    for name in FILES:
        write_text(docs / name, (results / name).read_text(encoding="utf-8"))
    write_json(docs / "config.json", _names_only(settings.model_dump(mode="json")))
    names = [*FILES, "config.json", *_publish_over_steps([results / p for p in over_steps], docs)]
    write_json(docs / HASHES, {name: hash_file(docs / name) for name in names})


def _publish_over_steps(tables: list[Path], docs: Path) -> list[str]:
    """One table of all checkpoints, and a figure of each experiment; the names of the files."""
    for left in (docs / OVER_STEPS, *docs.glob("over-steps-*.svg")):  # of another run
        left.unlink(missing_ok=True)
    rows = [row for table in tables for row in read_csv(table)]
    if not rows:
        return []
    write_csv(docs / OVER_STEPS, list(rows[0]), rows)
    drawn = {stop.experiment: svg_of(stop) for stop in read_stops(tables)}
    figures = {f"over-steps-{name}.svg": svg for name, svg in drawn.items() if svg}
    for name, svg in figures.items():
        write_text(docs / name, svg)
    return [OVER_STEPS, *figures]


def _names_only(value: Any) -> Any:
    """Without the places on the machine of the run: of an absolute path the name is left."""
    if isinstance(value, dict):
        return {key: _names_only(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_names_only(one) for one in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def check_published(docs: Path = DOCS) -> list[str]:
    """What of the published files is not as it was published."""
    if not docs.is_dir():
        return []
    known = read_json(docs / HASHES)
    return [n for n, digest in known.items() if hash_file(docs / n) != digest]


def render(docs: Path = DOCS) -> str:
    """The README's table in Markdown: the primary metric, a line for each experiment."""
    path = docs / "leaderboard.csv"
    if not path.is_file():
        return NOT_YET
    rows = list(read_csv(path))
    metric, embedding = _primary(rows)
    head = [
        "experiment",
        "generated",
        "real music",
        "nearest rival",
        "copies",
        "trainings",
        "clips",
    ]
    lines = [
        (
            f"{CALLED[metric]}{f' on `{embedding}`' if embedding else ''} to held-out real music: "
            "lower is nearer. Intervals are 95 %."
        ),
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for name in dict.fromkeys(row["experiment"] for row in rows):
        own = [row for row in rows if row["experiment"] == name]
        known = [r for r in own if (r["metric"], r["embedding"]) == (metric, embedding)]
        lines.append(f"| {' | '.join([name, *_short(known, own)])} |")
    return "\n".join([*lines, "", _gate(docs)])


def _short(rows: list[Row], all_rows: list[Row]) -> list[str]:
    """The cells of one experiment in the README's table."""
    known = {row["clips"]: row for row in rows if row["value"]}
    made, floor = known.get(GENERATED), known.get(FLOOR)
    if made is None:
        return ["n/a", *[""] * 5]
    beaten = [row for clips, row in known.items() if clips in about(made["system"]).rivals]
    rival = min(beaten, key=lambda row: float(row["value"]), default=None)
    return [
        f"**{_figure(made)}**",
        f"{float(floor['value']):.3g}" if floor else "",
        f"{float(rival['value']):.3g} ({rival['clips'].replace('_', ' ')})" if rival else "",
        (_copies(all_rows) or "not searched").partition(" (")[0],
        f"{len(made['train_seeds'].split())} x {len(made['draws'].split())}",
        made["n"],
    ]


def render_all(docs: Path = DOCS) -> str:
    """All distances of the primary kind in Markdown, a table for each embedding."""
    path = docs / "leaderboard.csv"
    if not path.is_file():
        return NOT_YET
    rows = list(read_csv(path))
    metric, first = _primary(rows)
    lines = [f"{CALLED[metric]} to held-out real music, with 95 % intervals."]
    distances = [r for r in rows if r["metric"] == metric and r["value"]]
    distances.sort(key=lambda row: row["embedding"] != first)
    for embedding in dict.fromkeys(row["embedding"] for row in distances):
        lines += _block([r for r in distances if r["embedding"] == embedding], embedding)
    lines += [""]
    for name in dict.fromkeys(row["experiment"] for row in rows):
        lines += _experiment([row for row in rows if row["experiment"] == name])
    return "\n".join([*lines, *_where_to_stop(docs), "", _gate(docs)])


def _where_to_stop(docs: Path) -> list[str]:
    """What the checkpoints say of each experiment, with its figure."""
    path = docs / OVER_STEPS
    rows = list(read_csv(path)) if path.is_file() else []
    every = (
        read_stop([row for row in rows if row["experiment"] == name])
        for name in dict.fromkeys(row["experiment"] for row in rows)
    )
    lines = []
    for stop in filter(None, every):
        lines += ["", f"**{stop.experiment}, where to stop**: {stop.said} {' '.join(stop.why[:2])}"]
        picture = f"over-steps-{stop.experiment}.svg"
        if (docs / picture).is_file():
            lines += ["", f"![{stop.experiment}: copies against distance over steps]({picture})"]
    return lines


def _primary(rows: list[Row]) -> tuple[str, str]:
    """Metric and embedding that were named before the run."""
    named = ((r["metric"], r["embedding"]) for r in rows if r.get("role") == PRIMARY)
    return next(named, (METRIC, next((r["embedding"] for r in rows if r["metric"] == METRIC), "")))


def _gate(docs: Path) -> str:
    return f"`{(docs / 'fad.txt').read_text(encoding='utf-8').splitlines()[-1]}`"


def _block(rows: list[Row], embedding: str) -> list[str]:
    """The distances of all experiments under one embedding, a line each."""
    sets = [n for n in clip_sets() if n != GENERATED and any(r["clips"] == n for r in rows)]
    # As in leaderboard.csv: what is worthless to any of these systems is a ceiling.
    kinds = dict.fromkeys((n for r in rows for n in worthless(r["system"])), "ceiling")
    kinds[FLOOR] = "floor"
    head = [embedding, GENERATED, *(f"{n} ({kinds[n]})" if n in kinds else n for n in sets), "n"]
    lines = ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name in dict.fromkeys(row["experiment"] for row in rows):
        known = {r["clips"]: r for r in rows if r["experiment"] == name}
        made = known.get(GENERATED)
        cells = [f"{float(known[n]['value']):.3g}" if n in known else "" for n in sets]
        own = [f"**{_figure(made)}**", *cells, made["n"]] if made else ["n/a", *cells, ""]
        lines.append(f"| {' | '.join([name, *own])} |")
    return lines


def _experiment(rows: list[Row]) -> list[str]:
    """Seeds, the share of clips that look like copies, and what the figures depend on."""
    made = [r for r in rows if r["clips"] == GENERATED and r["train_seeds"]]
    first = made[0] if made else rows[0]
    trainings, draws = (len(first[key].split()) for key in ("train_seeds", "draws"))
    sentence = (
        f"**{first['experiment']}** ({first['system']}): {trainings} training"
        f"{'s' * (trainings != 1)} with {draws} draw{'s' * (draws != 1)} each"
        + (", so intervals are of sampling only" if trainings == draws == 1 else "")
    )
    if copies := _copies(rows):
        sentence += f"; flagged as copies: {copies}"
    return [
        (
            f"- {sentence}; settings `{first['config_hash']}`, data `{first['data_hash'][:16]}`, "
            f"code `{first['code_hash']}`, environment `{first['env_hash']}`."
        )
    ]


def _copies(rows: list[Row]) -> str:
    """The largest upper bound of the clips flagged as copies, and by which search."""
    made = [r for r in rows if r["clips"] == GENERATED and r["train_seeds"]]
    flagged = [r for r in made if r["metric"] in SEARCHES and r["value"]]
    worst = max(flagged, key=lambda row: float(row["ci_high"] or 1), default=None)
    if worst is None or not worst["ci_high"]:
        return ""
    return f"at most {100 * float(worst['ci_high']):.3g} % ({worst['metric'].removeprefix(COPIED)})"


def _figure(row: Row) -> str:
    value, low, high = (number(row[key]) for key in ("value", "ci_low", "ci_high"))
    between = "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
    return f"{value:.3g}{between}"


def write_readme(readme: Path = README, docs: Path = DOCS) -> None:
    """Put the tables between the markers of the README and of the published run's own page.

    Raises:
        UserError: the markers are not there.
    """
    text = readme.read_text(encoding="utf-8")
    write_text(readme, with_table(text, render(docs)))
    page = docs / "README.md"
    if page.is_file():
        write_text(page, with_table(page.read_text(encoding="utf-8"), render_all(docs)))


def with_table(text: str, table: str) -> str:
    """A page with another table."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(
            "the page has no place for the table",
            code="no-place-for-table",
            do=f"put {BEGIN} and {END} where it belongs",
        )
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
