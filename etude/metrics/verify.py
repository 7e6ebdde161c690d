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

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.audio.choice import choose_segments
from etude.config import Cut
from etude.metrics.checks import Check, check_weights, write_checks
from etude.metrics.logmel import LogMel
from etude.storage import read_json
from etude.tokenizers.encodec import EncodecTokenizer
from etude.tokenizers.fitted import CONFIG
from etude.tokenizers.hubert import HubertTokenizer
from etude.tokenizers.pretrained import MODEL
from etude.tokenizers.registry import load_tokenizer
from etude.tokenizers.segments import batched, read_batch

VERSION = 1  # raised when the checks change
SEGMENTS = 32  # enough to tell a working network from a broken one, seconds on a CPU
ROUND_TRIP = 0.9
CHANGES = (0.05, 0.95)
USED = 0.1


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
    tokenizer = load_tokenizer(folder)
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
    """Median over clips of the correlation of their log-mel levels; both [clips, samples].

    Example:
        >>> import numpy as np
        >>> wave = np.random.default_rng(0).normal(0, 0.1, (1, 24000)).astype(np.float32)
        >>> round(spectral_correlation(wave, wave, 24000), 3)
        1.0
    """
    mel = LogMel(rate)
    found = []
    for wave, other in zip(waves, others, strict=True):
        one, two = (mel.levels(w[None].astype(np.float64))[0].ravel() for w in (wave, other))
        if one.std() > 0 and two.std() > 0:
            found.append(np.corrcoef(one, two)[0, 1])
    return float(np.median(found)) if found else float("nan")


def check_tokens(tokens: Tensor, vocabulary: int) -> Iterator[Check]:
    """How semantic tokens [clips, frames] change, and how many of the vocabulary occur.

    Example:
        >>> import torch
        >>> tokens = torch.arange(64).reshape(8, 8)  # never the same twice: noise, not music
        >>> [(check.check, check.passed) for check in check_tokens(tokens, 64)]
        [('change_rate', False), ('used', True)]
    """
    changed = (tokens[:, 1:] != tokens[:, :-1]).double().mean().item()
    yield Check("change_rate", changed, *CHANGES, "share of frames with another token than before")
    used = tokens.unique().numel() / min(vocabulary, max(tokens.numel(), 1))
    yield Check("used", used, USED, None, "share of the vocabulary that occurs")
