"""How long each rule took, from Snakemake's benchmark files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from etude.results.leaderboard import number

# Rules whose last wildcard (a tokenizer, an embedding, a step) is in no input of the page.
RULES_BY_NAME = {"fit_tokenizer", "embed_clips", "keep_step"}


@dataclass
class RunTime:
    """All jobs of one rule."""

    rule: str
    jobs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    memory_mb: float = 0.0
    share: float = 0.0  # of the seconds of all rules, in per cent


def read_runtimes(results: Path, made: Mapping[str, set[str]]) -> list[RunTime]:
    """Run-times by rule, the longest first.

    Jobs of earlier runs are left out, and so is the rule that builds the page: it is not over yet.

    Args:
        made: for each experiment and corpus of this run the shards, cuts, seeds and so on that
            it has.
    """
    root = results / "benchmarks"
    rules: dict[str, RunTime] = {}
    for path in sorted(root.rglob("*.tsv")):
        parts = path.relative_to(root).with_suffix("").parts
        if not _is_of_run(parts, made):
            continue
        for row in _rows(path):
            seconds = number(row.get("s"))
            if seconds is not None:
                rule = rules.setdefault(parts[0], RunTime(parts[0]))
                rule.jobs += 1
                rule.seconds += seconds
                rule.slowest = max(rule.slowest, seconds)
                rule.memory_mb = max(rule.memory_mb, number(row.get("max_rss")) or 0.0)
    total = sum(rule.seconds for rule in rules.values()) or 1.0
    for rule in rules.values():
        rule.share = round(100 * rule.seconds / total, 2)
    return sorted(rules.values(), key=lambda rule: (-rule.seconds, rule.rule))


def _is_of_run(parts: tuple[str, ...], made: Mapping[str, set[str]]) -> bool:
    """Whether a job is of this run: rule, experiment or corpus, and its other wildcards."""
    rule, *names = parts
    if rule == "build_report":
        return False
    if not names:
        return True
    if rule in RULES_BY_NAME:
        names = names[:-1]
    return names[0] in made and made[names[0]].issuperset(names[1:])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))
