"""Before a model of owned music leaves the house: were its clips searched for copies, how well?

Read from what the workflow has found, results/metrics/{experiment}/{clips}/memorisation.csv, which
also has the share of planted copies that each search finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from etude.errors import UserError
from etude.storage import hash_file, read_csv, read_json
from etude.workflow.imported_weights import MODEL

TABLE = "memorisation.csv"
Row = dict[str, str]


def copy_check_text(
    name: str, clips: Sequence[str], models: Mapping[str, Path], results: Path = Path("results")
) -> str:
    """The part of a model card about copies: what was found in clips, and what would have been.

    Args:
        clips: the sets of the training that is exported, as in seed-0/draw-0.
        models: the folders of its stages.

    Raises:
        UserError: a set has not been searched, or not with these weights, or without planted
            copies. Where too little music is held out to judge by, the text says so.
    """
    parts = ["## Copies of the training music", ""]
    for which in clips:
        path = results / "metrics" / name / which / TABLE
        _check_searched(path, results / "clips" / name / which, models)
        rows = list(read_csv(path))
        every = [row for row in rows if row["metric"].startswith("recall_")]
        planted = [row for row in every if row["value"]]
        found = [row for row in rows if _is_finding(row)]
        if not every or not found:
            raise UserError(
                "nobody knows how many copies the search would have found",
                code="recall-not-known",
                where=str(path),
                why="no copies were planted to measure its recall" if found else "it found nothing",
                do="set evaluation.memorisation.planted (10 and more) and run the workflow again: "
                f"snakemake --cores all {path}",
            )
        lines = [f"| {_rung(row)} | {_flagged(row)} | {_recall(row, planted)} |" for row in found]
        parts += [
            f"Clips of {which}, and copies that were planted to see what the search finds:",
            "",
            "| rung | clips flagged | planted copies found |",
            "|---|---|---|",
            *lines,
            "",
        ]
        if not planted:  # a small collection can be published, and says what is not known
            parts += [
                f"**How many copies this search would find is not known**: {_why(every)}.",
                "",
            ]
    parts += [
        "A rung flags what is nearer to the training music than 99 % of held-out music is.",
        "What a recall leaves open, the search cannot see.",
        "",
    ]
    return "\n".join(parts)


def _check_searched(path: Path, clips: Path, models: Mapping[str, Path]) -> None:
    """See that clips of these weights were searched."""
    again = f"snakemake --cores all {path}, with the --configfile that this command had"
    if not path.is_file():
        raise UserError(
            "the clips of this experiment were not searched for copies of the training music",
            code="not-searched-for-copies",
            where=str(path),
            why="its corpus has owners, and nothing of theirs is published unsearched",
            do=f"run the search: {again}",
        )
    try:
        stages = read_json(clips / "weights.json")["stages"]
    except (OSError, ValueError, KeyError):
        stages = {}
    if any(stages.get(stage) != hash_file(folder / MODEL) for stage, folder in models.items()):
        raise UserError(
            "the clips that were searched for copies are not of these weights",
            code="searched-with-other-weights",
            where=str(clips),
            why="the experiment was trained again since",
            do=f"make and search them again: {again}",
        )


def _is_finding(row: Row) -> bool:
    return row["clips"] == "generated" and row["metric"].startswith("memorised_")


def _rung(row: Row) -> str:
    rung = row["metric"].removeprefix("memorised_")
    return f"{rung} ({row['embedding']})" if row["embedding"] else rung


def _flagged(row: Row) -> str:
    return f"{_share(row)} of {row['n']}" if row["value"] else row["note"]


def _share(row: Row) -> str:
    value, low, high = (100 * float(row[key]) for key in ("value", "ci_low", "ci_high"))
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def _why(planted: Sequence[Row]) -> str:
    """The commonest reason for which the recall of planted copies has no value."""
    return Counter(row["note"].removeprefix("n/a: ") for row in planted).most_common(1)[0][0]


def _recall(found: Row, planted: Sequence[Row]) -> str:
    """Of a search: unaltered copies, and the least and the most of those that were altered."""
    start = found["metric"].replace("memorised_", "recall_", 1) + "_"
    own = [
        row
        for row in planted
        if row["metric"].startswith(start) and row["embedding"] == found["embedding"]
    ]
    same = [row for row in own if row["metric"].removeprefix(start).startswith("exact")]
    altered = sorted((row for row in own if row not in same), key=lambda row: float(row["value"]))
    words = [f"unaltered {_share(row)} of {row['n']}" for row in same[:1]]
    if altered:
        least, most = altered[0], altered[-1]
        words.append(
            f"altered in {len(altered)} ways, from {_share(least)} "
            f"({least['metric'].removeprefix(start)}) to {_share(most)}"
        )
    return "; ".join(words) or "not measured"
