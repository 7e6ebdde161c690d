"""Proof that pretrained weights do what they are there for, before an expensive run begins.

Checks
    * `weights`: every tensor that the network's configuration asks for, none missing, none of
      another shape; the number of parameters beside the one that the configuration gives.
    * EnCodec: real music comes back. Correlation of log-mel levels of original and decoded clips,
      median over clips, at least 0.9 (random weights: near 0).
    * HuBERT: tokens change as music does. Share of frames whose token differs from the one before,
      between 0.05 and 0.95; and at least a tenth of the vocabulary is in use where there are enough
      frames (stuck or random networks give one token, or another one at each frame).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.config import Cut
from etude.errors import UserError
from etude.metrics.logmel import LogMel
from etude.pretrained.networks import network_class
from etude.storage import read_json, write_csv
from etude.tokenizers.encodec import EncodecTokenizer
from etude.tokenizers.fit import choose_segments
from etude.tokenizers.fitted import CONFIG
from etude.tokenizers.hubert import HubertTokenizer
from etude.tokenizers.pretrained import MODEL
from etude.tokenizers.registry import load
from etude.tokenizers.segments import batched, read_batch

VERSION = 1  # raised when the checks change

log = logging.getLogger(__name__)
COLUMNS = ["check", "value", "lowest", "highest", "passed", "meaning"]
SEGMENTS = 32  # enough to tell a working network from a broken one, seconds on a CPU
ROUND_TRIP = 0.9
CHANGES = (0.05, 0.95)
USED = 0.1


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


def verify_tokenizer(
    folder: Path,
    wav: list[Path],
    cuts: list[Path],
    pieces: Path,
    cut: Cut,
    output: Path,
    *,
    strict: bool,
) -> None:
    """Write the checks of a pretrained tokenizer on real segments as a table.

    Args:
        folder: of the fitted tokenizer.
        strict: whether a failed check stops the run.

    Raises:
        UserError: a check failed, and `strict`.
    """
    tokenizer = load(folder)
    chosen = choose_segments(wav, cuts, pieces, SEGMENTS, tokenizer.settings.fit.seed)
    waves = torch.cat(
        [read_batch(batch, tokenizer.sample_rate) for batch in batched(chosen, cut.seconds)]
    )
    checks = [*check_weights(folder / MODEL, tokenizer.network_kind)]
    if isinstance(tokenizer, EncodecTokenizer):
        checks += check_round_trip(tokenizer, waves)
    elif isinstance(tokenizer, HubertTokenizer):
        checks += check_tokens(tokenizer.encode(waves), tokenizer.codebook_size)
    write_checks(checks, read_json(folder / CONFIG)["weights"], output, strict=strict)


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


def check_round_trip(codec: Any, waves: Tensor) -> Iterator[Check]:
    """Real clips [clips, samples] through a codec and back."""
    decoded = codec.decode(codec.encode(waves))[:, : waves.shape[1]]
    value = spectral_correlation(waves.numpy(), decoded.numpy(), codec.sample_rate)
    yield Check(
        *("round_trip", value, ROUND_TRIP, None),
        "correlation of the log-mel levels of music and of the same music decoded (median)",
    )


def spectral_correlation(
    waves: NDArray[np.float32], others: NDArray[np.float32], rate: int
) -> float:
    """Median over clips of the correlation of their log-mel levels; both [clips, samples]."""
    mel = LogMel(rate)
    found = []
    for wave, other in zip(waves, others, strict=True):
        one, two = (mel.levels(w[None].astype(np.float64))[0].ravel() for w in (wave, other))
        if one.std() > 0 and two.std() > 0:
            found.append(np.corrcoef(one, two)[0, 1])
    return float(np.median(found)) if found else float("nan")


def check_tokens(tokens: Tensor, vocabulary: int) -> Iterator[Check]:
    """How semantic tokens [clips, frames] change, and how many of the vocabulary occur."""
    changed = (tokens[:, 1:] != tokens[:, :-1]).double().mean().item()
    yield Check("change_rate", changed, *CHANGES, "share of frames with another token than before")
    used = tokens.unique().numel() / min(vocabulary, max(tokens.numel(), 1))
    yield Check("used", used, USED, None, "share of the vocabulary that occurs")


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
        row["value"] = f"{row['value']:.6g}"
    write_csv(output, COLUMNS, rows)


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
