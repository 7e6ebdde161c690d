"""The ladder's tables: tidy rows of a clip set, rows of single clips, and the gate's share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from etude.metrics.memorisation.excerpts import CorpusPieces
from etude.metrics.memorisation.find import Verdicts, nearest_files
from etude.metrics.memorisation.null import exact_interval

VERSION = 3  # raised when rows change

CLIP_COLUMNS = [
    *("clips", "clip", "rung", "embedding", "score", "null_p99", "flagged"),
    *("nearest_piece", "nearest_start_s", "nearest_file", "note"),
]

OF_NOTES = ("notes", "melody", "bars")  # searches that are studied at lengths of their own

Row = dict[str, Any]


def tidy(verdicts: Verdicts, clips: str) -> Iterator[Row]:
    """Rows `memorised_<rung>`, its own figures, `null_p99_<rung>` and `null_flagged_<rung>`."""
    name, common = verdicts.rung, {"clips": clips, "embedding": verdicts.embedding}
    judged = verdicts.scores[np.isfinite(verdicts.scores)]
    row = common | {"metric": f"memorised_{name}", "unit": "share", "n": len(judged)}
    if verdicts.reason or not len(judged):
        yield row | {"note": f"n/a: {verdicts.reason or 'no clip can be judged'}"}
    else:
        yield row | share(int((judged > verdicts.threshold).sum()), len(judged))
    yield from ({"clips": clips, "embedding": ""} | figure for figure in verdicts.figures)
    if verdicts.null is None or not len(verdicts.null.scores):
        return
    null = verdicts.null
    about = {"n": len(null.scores), "note": f"{len(set(null.pieces))} held-out pieces"}
    value = f"{null.threshold:.6f}"
    yield common | about | {"metric": f"null_p99_{name}", "value": value, "unit": "score"}
    flagged, tried = null.false_positives()
    if tried:
        row = common | {"metric": f"null_flagged_{name}", "unit": "share", "n": tried}
        yield row | share(flagged, tried) | {"note": "each half at the other half's threshold"}


def share(found: int, n: int) -> Row:
    """A share with its exact interval.

    Example:
        >>> share(0, 300)  # none of 300: at most 1.2 %, at 95 %
        {'value': '0.000000', 'ci_low': '0.000000', 'ci_high': '0.012221', 'n': 300}
    """
    low, high = exact_interval(found, n)
    return {"value": f"{found / n:.6f}", "ci_low": f"{low:.6f}", "ci_high": f"{high:.6f}", "n": n}


def clip_rows(
    verdicts: Verdicts,
    clips: str,
    names: list[str],
    faults: Mapping[str, str],
    music: CorpusPieces,
    results: Path,
) -> Iterator[Row]:
    """A row for each clip that the search has looked at."""
    if not len(verdicts.scores):
        return
    files = nearest_files(music, results, verdicts.places)
    decided = not verdicts.reason
    for name, score, (piece, start), file in zip(
        names, verdicts.scores, verdicts.places, files, strict=True
    ):
        common = {"clips": clips, "clip": name, "rung": verdicts.rung}
        common["embedding"] = verdicts.embedding
        if not np.isfinite(score):
            why = verdicts.faults.get(name) or faults.get(name, "nothing to compare")
            yield common | {"note": f"n/a: {why}"}
            continue
        yield common | {
            "score": f"{score:.6f}",
            "null_p99": f"{verdicts.threshold:.6f}" if decided else "",
            "flagged": str(bool(score > verdicts.threshold)).lower() if decided else "n/a",
            "nearest_piece": piece,
            "nearest_start_s": f"{start:.2f}" if piece else "",
            "nearest_file": file,
            "note": "" if decided else f"n/a: {verdicts.reason}",
        }


def recall_rows(study: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Rows `recall_<rung>_<attack>` of a study, as they are in memorisation.csv.

    Of notes, and of copies that are not as long as a segment of the cut, the name has the length.
    """
    rows = list(study)
    own = rows[0]["clip_s"] if rows else ""
    for row in rows:
        longer = row["clip_s"] != row["span_s"]
        attack = row["attack"] + f"_span_in_{float(row['clip_s']):g}s" * longer
        attack += f"_{float(row['clip_s']):g}s" * (
            (row["rung"] in OF_NOTES or row["clip_s"] != own) and not longer
        )
        figures = {
            key: row[key] for key in ("embedding", "value", "ci_low", "ci_high", "n", "note")
        }
        name = f"recall_{row['rung']}_{attack}"
        yield figures | {"clips": "planted", "metric": name, "unit": "share"}


def left_out_rows(left: Mapping[str, str]) -> Iterator[Row]:
    """A row `searched_without`: how many pieces could not be read, or only in part, and why.

    Example:
        >>> [row["note"] for row in left_out_rows({"a.mid": "corrupt", "b.mid": "corrupt"})]
        ['without a.mid (corrupt), and 1 more']
    """
    if left:
        figures = {"value": len(left), "unit": "pieces", "n": len(left)}
        yield figures | {"metric": "searched_without", "note": without(left)}


def without(left: Mapping[str, str]) -> str:
    """What was left out, in a line; empty where nothing was.

    Example:
        >>> without({"a.mid": "corrupt", "b.mid": "corrupt"})
        'without a.mid (corrupt), and 1 more'
    """
    if not left:
        return ""
    piece, reason = min(left.items())
    more = f", and {len(left) - 1} more" * (len(left) > 1)
    return f"without {piece} ({reason}){more}"


def extraction_rows(found: Iterable[Mapping[str, str]]) -> Iterator[Row]:
    """Rows `extracted_<exact|nearly>_<prefix>` of training and held-out items.

    Example:
        >>> found = {"items": "train", "prefix": "25", "metric": "exact", "value": "0.1", "n": "10"}
        >>> [(row["metric"], row["value"]) for row in extraction_rows([found])]
        [('extracted_exact_after_25', '0.1')]
    """
    for row in found:
        figures = {key: row.get(key, "") for key in ("value", "ci_low", "ci_high", "n", "note")}
        metric = f"extracted_{row['metric']}" + f"_after_{row['prefix']}" * bool(row["prefix"])
        yield figures | {"clips": f"prefixes_{row['items']}", "metric": metric, "unit": "share"}
