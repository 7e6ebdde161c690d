"""Fitting a tokenizer on the training split, and on nothing else."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from etude.audio.choice import Segment, choose_segments, training_pieces
from etude.audio.cuts import why_nothing
from etude.config import AnyTokenizer, Cut, Encodec
from etude.config import Tokenizer as Settings
from etude.errors import UserError
from etude.storage import atomic_directory, read_json
from etude.tokenizers.fitted import CONFIG
from etude.tokenizers.registry import create_tokenizer, load_tokenizer, save_tokenizer
from etude.tokenizers.segments import batched, check_cut, read_batch

log = logging.getLogger(__name__)


def fit_tokenizer(
    settings: Settings,
    cut: Cut,
    wav: list[Path],
    cuts: list[Path],
    pieces: Path,
    folder: Path,
    weights: Path | None = None,
    centres: Path | None = None,
) -> None:
    """Fit on a seeded choice of `fit.segments` kept segments of training pieces, and save.

    Args:
        settings: the tokenizer.
        cut: the cut that it is fitted on.
        wav, cuts: folders of piece WAVs and of their cuts, shard by shard.
        pieces: pieces.csv, which holds the split.
        folder: of the fitted tokenizer.
        weights, centres: of a pretrained network and of a k-means that is given, in
            results/pretrained/.

    Raises:
        UserError: if no training piece has a kept segment, or rates do not go together.
    """
    tokenizer = create_tokenizer(settings)
    if weights is not None:
        tokenizer.attach(weights)
    check_cut(cut, tokenizer, f"tokenizer of kind {settings.kind}")
    if isinstance(settings, Encodec) or centres is not None:  # nothing is left to learn
        if centres is not None:
            tokenizer.give_centres(centres)
        with atomic_directory(folder) as temporary:
            save_tokenizer(tokenizer, settings, temporary)
        return
    chosen = _something(settings, cut, wav, cuts, pieces)

    def batches() -> Iterator[Tensor]:
        with tqdm(total=len(chosen), desc="fit", unit="segment", mininterval=1) as progress:
            for batch in batched(chosen, cut.seconds):
                yield read_batch(batch, tokenizer.sample_rate)
                progress.update(len(batch))

    if hasattr(tokenizer, "fit"):  # a plugin may have nothing to learn
        tokenizer.fit(batches())
    with atomic_directory(folder) as temporary:
        save_tokenizer(tokenizer, settings, temporary)
    log.info("fitted on %d segments", len(chosen))


def _something(
    settings: Settings, cut: Cut, wav: list[Path], cuts: list[Path], pieces: Path
) -> list[Segment]:
    """The segments to fit on, at least one."""
    chosen = choose_segments(wav, cuts, pieces, settings.fit.segments, settings.fit.seed)
    if not chosen:
        training = training_pieces(pieces)
        reasons = why_nothing(wav, cuts, training)
        raise UserError(
            "there is nothing to fit a tokenizer on",
            where=str(pieces),
            why=f"none of the {len(training)} pieces of the training split has a kept segment of "
            f"{cut.seconds:g} s" + f" ({reasons})" * bool(reasons),
            do="look at the reasons in the cut's index.csv; shorter segments, a lower "
            "rms_threshold or rate, or more pieces help",
        )
    return chosen


def import_tokenizer(settings: AnyTokenizer, files: list[Path], folder: Path) -> None:
    """Take a tokenizer over as it was fitted elsewhere.

    Args:
        settings: as config has them; all but `fit` must be those that it was fitted with.
        files: all files of its folder.
        folder: what is written.

    Raises:
        UserError: naming the settings that differ, or why the folder cannot be used.
    """
    source = files[0].parent
    try:
        load_tokenizer(source)
        saved = read_json(source / CONFIG)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(
            "the fitted tokenizer cannot be read",
            where=str(source),
            why=str(error).split("\n")[0],
            do="get the folder again; a file of it is missing or damaged",
        ) from None
    theirs = saved.get("settings", saved)  # a tokenizer may keep them beside the rest
    ours = settings.model_dump(mode="json", exclude={"fit"})
    keys = [key for key in ours if ours[key] != theirs.get(key)]
    if keys:
        raise UserError(
            "the tokenizer was fitted with other settings",
            where=str(source),
            why=", ".join(f"{key} is {theirs.get(key)}, here {ours[key]}" for key in keys),
            do="write its settings into this entry of `tokenizers`",
        )
    with atomic_directory(folder) as temporary:
        for file in files:
            target = temporary / file.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
    log.info("taken over as it was fitted: %s", ours["kind"])
