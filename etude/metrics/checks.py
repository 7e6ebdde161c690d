"""Checks of pretrained weights: a figure each, the range in which it must lie, and the table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from etude.errors import UserError
from etude.pretrained.networks import network_class
from etude.storage import write_csv

log = logging.getLogger(__name__)
COLUMNS = ["check", "value", "lowest", "highest", "passed", "meaning"]


@dataclass(frozen=True)
class Check:
    """One figure and the range in which it must lie."""

    check: str
    value: float
    lowest: float | None
    highest: float | None
    meaning: str

    @property
    def passed(self) -> bool:
        """Whether the figure is in its range; one that is not a number is not."""
        low = self.lowest is None or self.value >= self.lowest
        high = self.highest is None or self.value <= self.highest
        return bool(np.isfinite(self.value)) and low and high


def check_weights(folder: Path, kind: str) -> Iterator[Check]:
    """Names, shapes and the number of parameters against what config.json asks for."""
    model, info = network_class(kind).from_pretrained(
        str(folder), output_loading_info=True, local_files_only=True
    )
    missing = [key for key in info["missing_keys"] if "masked_spec_embed" not in key]
    meaning = "tensors that config.json asks for and the file does not have"
    yield Check("missing_tensors", len(missing), None, 0, meaning)
    wrong = len(info.get("mismatched_keys", []))
    yield Check("wrong_shapes", wrong, None, 0, "tensors of another shape")
    with torch.device("meta"):
        expected = sum(p.numel() for p in network_class(kind)(model.config).parameters())
    count = sum(p.numel() for p in model.parameters())
    yield Check("parameters", count, expected, expected, "as many as config.json gives")
    finite = sum(not bool(torch.isfinite(p).all()) for p in model.parameters())
    yield Check("not_finite", finite, None, 0, "tensors with NaN or infinite values")


def write_checks(
    checks: list[Check], weights: dict[str, str], output: Path, *, strict: bool
) -> None:
    """Write the table, say what failed, and stop the run where that is wanted.

    Raises:
        UserError: a check failed, and `strict`.
    """
    failed = [check for check in checks if not check.passed]
    for check in checks:
        bounds = f"[{_bound(check.lowest)}, {_bound(check.highest)}]"
        word = "passed" if check.passed else "FAILED"
        log.info("%s: %.6g in %s: %s", check.check, check.value, bounds, word)
    if failed and strict:
        first = failed[0]
        raise UserError(
            f"the weights of {weights['from']} do not work: {first.check} is {first.value:.4g}",
            code="weights-do-not-work",
            where=f"sha256 {weights['sha256']}",
            why=f"{first.meaning}; it must lie in "
            f"[{_bound(first.lowest)}, {_bound(first.highest)}]"
            + (f"; {len(failed) - 1} more checks failed" if len(failed) > 1 else ""),
            do="fetch the weights again (delete the folder in results/pretrained/), or name "
            "others; to use them all the same, set `verify: report`",
        )
    if failed:
        log.warning(
            "%d checks failed; the weights are used all the same, as `verify: report` allows",
            len(failed),
        )
    rows = [vars(check) | {"passed": str(check.passed).lower()} for check in checks]
    for row in rows:
        for key in ("value", "lowest", "highest"):
            row[key] = "" if row[key] is None else f"{row[key]:.6g}"
    write_csv(output, COLUMNS, rows)


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
