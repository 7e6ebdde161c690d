"""What symbolic tokenizers would keep of a corpus's notes, tried on a sample: for `etude audit`."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from etude.config import Filter, OnOff, Remi, RemiZ, Structured, Tsd
from etude.pool import map_in_order
from etude.tokenizers.registry import create_tokenizer
from etude.tokenizers.symbolic.account import in_words

SAMPLE = 24  # files
KINDS = {"onoff": OnOff, "remi": Remi, "tsd": Tsd, "structured": Structured, "remi_z": RemiZ}


def forecast_notes(rules: Filter, paths: Sequence[Path], threads: int) -> list[str]:
    """The account of the notes of some files, for each kind of tokenizer as it is by default.

    Args:
        rules: the corpus's filter.
        paths: its MIDI files, at least one; a choice by their names is tried.
        threads: worker processes.
    """
    chosen = heapq.nsmallest(SAMPLE, paths, key=lambda p: hashlib.sha256(bytes(p)).digest())
    _tokenizers()  # forked workers have them
    found = map_in_order(
        partial(_counts, rules), sorted(chosen), threads, title="notes", fallen=lambda *_: {},
        limit_s=rules.computing_limit_s,
    )  # fmt: skip
    totals: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for counts in found:
        for kind, of_piece in counts.items():
            totals[kind].update(of_piece)
    some = f"{len(chosen)} of {len(paths)} files tried"
    return [
        f"notes that a symbolic tokenizer would keep, by its defaults ({some}):",
        *(f"  {kind}: {in_words(counted)}" for kind, counted in totals.items()),
    ]


def _counts(rules: Filter, path: Path) -> dict[str, dict[str, int]]:
    data = path.read_bytes()
    return {kind: t.encode_file(data, rules).counts for kind, t in _tokenizers().items()}


@cache
def _tokenizers() -> dict[str, Any]:
    return {kind: create_tokenizer(settings(kind=kind)) for kind, settings in KINDS.items()}
