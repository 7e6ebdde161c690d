"""After a run with failures: the tables of what is complete, and a row for each failure.

The Snakefile's `onerror` says what is complete, in a file; the work is done in a process of its
own, since Snakemake's may lack the packages. The files that it writes are dated to the first second
of 1970: older than all that they are made of, so the next run makes them again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from etude.config import Evaluation
from etude.errors import UserError
from etude.results.listening import write_listening
from etude.results.summary import RunSummary, write_results
from etude.storage import read_json

OLD = 1.0  # seconds; 0 is taken for "no time" by some tools
WRITTEN = ("fad.txt", "leaderboard.csv", "differences.csv")
REMADE = ("results/fad.txt", "results/report/index.html")  # with the leaderboard beside the first


def write_incomplete(plan: Path, results: Path = Path("results")) -> str:
    """Write what a run left complete; gives back the text of fad.txt.

    Args:
        plan: JSON with tables, replicates, rivals, concepts, gated, failed {experiment: why}, hashes, evaluation.

    Raises:
        UserError: it is another file.
    """
    try:
        known = read_json(plan)
        run = RunSummary(
            tables=[Path(path) for path in known["tables"]],
            replicates=[Path(path) for path in known["replicates"]],
            rivals=[Path(path) for path in known["rivals"]],
            concepts=[Path(path) for path in known["concepts"]],
            settings=Evaluation.model_validate(known["evaluation"]),
            gated=frozenset(known["gated"]),
            hashes=known["hashes"],
            failed=known["failed"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            "this does not say what of a run is complete", code="unreadable-plan",
            where=str(plan),
            why=f"it is not what the workflow writes: {str(error).splitlines()[0]}",
            do="run the workflow, which calls this command itself after a failure",
        ) from None
    text = write_results(run, results)
    outdate([results / name for name in WRITTEN])
    return text


def write_rated(ratings: list[Path], configs: list[Path]) -> None:
    """Put ratings into results/listening/, and remake the tables and the page with them.

    Raises:
        UserError: as `write_listening`, or the tables cannot be made.
    """
    print(write_listening(ratings), end="")
    there = [made for made in REMADE if Path(made).exists()]
    if failed := [made for made in there if not write_page(made, configs, old=False)]:
        raise UserError(
            "what listeners said is kept, but not everything was made again with it", code="not-all-remade",
            where=", ".join(failed),
            do="name the run's own configuration with --configfile, or run the workflow again",
        )


def write_page(page: str, configs: list[Path], *, old: bool = True) -> bool:
    """Build the report of the complete experiments, or another output, by the rule's own script.

    Args:
        old: whether it is dated so that the next run makes it again.

    Returns:
        Whether it could be made; why not is printed.
    """
    script = Path(__file__).resolve().parents[2] / "scripts" / "by_hand.py"
    command = [sys.executable, str(script), page]
    command += ["--configfile", *map(str, configs)] if configs else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{page} could not be made of what is there:\n{done.stderr[-1000:]}")
        return False
    if old:
        outdate([Path(page)])
    return True


def outdate(paths: list[Path]) -> None:
    """Make files older than anything that they could be made of."""
    for path in paths:
        if path.exists():
            os.utime(path, (OLD, OLD))
