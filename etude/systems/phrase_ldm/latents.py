"""A trained VAE and packed pieces -> latents of all phrases, their scale, and how true they are.

{split}.safetensors
    mean, log_variance   float32 [bars of all pieces, slots, z]: the posterior of each phrase
    lengths              int64 [pieces]: bars
    key, mode, meter     int64 [pieces]: tonic (0 is C), 0 for major and 1 for minor, the place of
                         the time signature in SIGNATURES, or -1 where it changes
    repeat               int64 [bars]: the first bar of its piece that is equal
statistics.json
    mean, deviation      of each of the z numbers, over draws of the training split's posteriors
    percentile           within which 99.9 % of these lie, in deviations: the one place of the clip
    dimension, slots     z, and phrases of a bar
    programs             of each slot the commonest of the training split
    longest              tokens of its longest phrase
    fidelity             by split: phrases, unseen ones, F1 of notes (with durations, of unseen
                         phrases, of each slot's), share of phrases without a fault, nats of the KL
                         divergence per phrase
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from etude.errors import UserError
from etude.midi.keys import find_key
from etude.storage import write_json
from etude.systems.phrase_ldm.fidelity import matches
from etude.systems.phrase_ldm.phrases import Song, filled, phrases_of, read_songs
from etude.systems.phrase_ldm.vae import Vae
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.remi_z_vocabulary import NUMBER_OF

VERSION = 1  # raised when latents or statistics change

log = logging.getLogger(__name__)

BATCH = 256  # phrases encoded at once
WITHIN = 0.999
DRAWS_SEED = 0  # of the draws from posteriors that the scale is measured on
MOST_JUDGED = 4096  # phrases of a split that are decoded and compared, spread evenly
LONGER = 2  # decoded phrases may have this many times the tokens of the longest known one
CHANGES = -1  # the meter of a piece that has several


@torch.inference_mode()
def posteriors(vae: Vae, phrases: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of phrases, float32 [phrases, z], on the CPU; like lengths together.

    An autoencoder that sees bars (`bar_layers`) needs the phrases of whole bars.
    """
    bars = [range(i, i + vae.together) for i in range(0, len(phrases), vae.together)]
    bars.sort(key=lambda bar: max(len(phrases[i]) for i in bar))
    order = [i for bar in bars for i in bar]
    size = (len(phrases), vae.settings.latent)
    mean, log_variance = torch.zeros(size), torch.zeros(size)
    step = BATCH // vae.together * vae.together
    for start in range(0, len(order), step):
        part = order[start : start + step]
        ids = filled([phrases[i] for i in part], vae.shape["pad"]).to(vae.device)
        found = vae.posterior(ids)
        mean[part], log_variance[part] = (tensor.cpu() for tensor in found)
    return mean, log_variance


def write_latents(
    vae: Vae, packed: Path, tokenizer: RemiZTokenizer, least_f1: float, folder: Path
) -> None:
    """Write all files of this module's head.

    Raises:
        UserError: held-out phrases lose more notes than `least_f1` allows, or pieces have more
            tracks than the tokenizer has slots.
    """
    splits = [split for split in ("train", "valid", "test") if (packed / split).is_dir()]
    songs = {split: read_songs(packed, split, tokenizer) for split in splits}
    train = songs["train"]
    known = frozenset(map(tuple, phrases_of(train)))
    longest = max(map(len, known))
    statistics: dict[str, Any] = {
        "dimension": vae.settings.latent,
        "slots": tokenizer.settings.slots,
        "programs": common_programs(train, tokenizer.settings.slots),
        "longest": longest,
        "fidelity": {},
    }
    for split in splits:
        content = _of_split(vae, songs[split], tokenizer)
        save_file(content, folder / f"{split}.safetensors")
        if split == "train":  # what is held out decides nothing
            statistics |= scale(content["mean"], content["log_variance"])
        if songs[split]:
            fidelity = _fidelity(vae, songs[split], content, tokenizer, known, LONGER * longest)
            statistics["fidelity"][split] = fidelity
            log.info("%s: note F1 %.3f (unseen phrases %.3f), %.1f nats a phrase",
                     split, fidelity["f1"], fidelity["f1_unseen"] or 0, fidelity["kl"])  # fmt: skip
    write_json(folder / "statistics.json", statistics)
    refuse_poor(statistics["fidelity"], least_f1)


def refuse_poor(fidelity: dict[str, Any], least_f1: float) -> None:
    """Hold latents back that keep too few notes: what is made of them could only be worse.

    Raises:
        UserError: of the held-out phrases (of training, where none are held out).
    """
    split = next(name for name in ("valid", "test", "train") if name in fidelity)
    if (found := fidelity[split]["f1"]) < least_f1:
        raise UserError(
            f"the autoencoder keeps too few notes: F1 {found:.3f}, {least_f1:g} is the least",
            where=f"{fidelity[split]['phrases']} phrases of the {split} split",
            why="pieces made of its latents could be no better than these",
            do="train it longer (stages.vae.training.steps) or lower stages.vae.kl.weight; "
            "stages.vae.least_f1 is the limit",
        )


def common_programs(songs: Sequence[Song], slots: int) -> list[int]:
    """Of each slot the program that most pieces have there; of equal ones the lowest."""
    found = []
    for slot in range(slots):
        counts = Counter(
            song.bars[0].instruments[slot]
            for song in songs
            if any(bar.phrases[slot] for bar in song.bars)
        )
        found.append(min(counts, key=lambda p: (-counts[p], p), default=0))
    return found


def scale(mean: Tensor, log_variance: Tensor) -> dict[str, Any]:
    """Mean, deviation and percentile of draws from posteriors [bars, slots, z]."""
    generator = torch.Generator().manual_seed(DRAWS_SEED)
    noise = torch.randn(mean.shape, generator=generator)
    draws = (mean + noise * (log_variance / 2).exp()).flatten(0, 1).double()
    middle, deviation = draws.mean(0), draws.std(0).clamp(min=1e-6)
    standard = ((draws - middle) / deviation).abs().numpy()
    return {
        "mean": middle.tolist(),
        "deviation": deviation.tolist(),
        "percentile": float(np.quantile(standard, WITHIN)),
    }


def _of_split(vae: Vae, songs: Sequence[Song], tokenizer: RemiZTokenizer) -> dict[str, Tensor]:
    slots = tokenizer.settings.slots
    for song in songs:
        if len(song.bars[0].phrases) != slots:
            raise UserError(
                f"a piece has {len(song.bars[0].phrases)} tracks, and the tokenizer {slots} slots",
                where=song.piece,
                do="delete results/tokens and results/packed of this token set, and run again",
            )
    mean, log_variance = posteriors(vae, phrases_of(songs))
    return {
        "mean": mean.unflatten(0, (-1, slots)).contiguous(),
        "log_variance": log_variance.unflatten(0, (-1, slots)).contiguous(),
        "repeat": torch.from_numpy(
            np.concatenate([np.zeros(0, np.int64), *(repeats(song) for song in songs)])
        ),
        **{name: torch.tensor(v, dtype=torch.long) for name, v in described(songs, tokenizer)},
    }


def described(songs: Sequence[Song], tokenizer: RemiZTokenizer) -> list[tuple[str, list[int]]]:
    """What is known of each piece: lengths, key, mode, meter."""
    keys = [find_key(tokenizer.decode(tokenizer.join(song.bars))) for song in songs]
    meters = [{bar.signature for bar in song.bars} for song in songs]
    return [
        ("lengths", [len(song.bars) for song in songs]),
        ("key", [key.tonic for key in keys]),
        ("mode", [int(key.minor) for key in keys]),
        ("meter", [NUMBER_OF[next(iter(m))] if len(m) == 1 else CHANGES for m in meters]),
    ]


def repeats(song: Song) -> NDArray[np.int64]:
    """For each bar the first of its piece that has the same phrases."""
    first: dict[Any, int] = {}
    keys = [(bar.signature, tuple(map(tuple, bar.phrases))) for bar in song.bars]
    return np.array([first.setdefault(key, n) for n, key in enumerate(keys)], np.int64)


def _fidelity(
    vae: Vae,
    songs: Sequence[Song],
    content: dict[str, Tensor],
    tokenizer: RemiZTokenizer,
    known: frozenset[tuple[int, ...]],
    limit: int,
) -> dict[str, Any]:
    """How many notes of a split's phrases come back from the mean of their latents."""
    phrases, slots = phrases_of(songs), tokenizer.settings.slots
    bars, most = len(phrases) // slots, MOST_JUDGED // slots  # whole bars, which may be context
    places = np.unique(np.linspace(0, bars - 1, most).round().astype(int))
    chosen = (places[:, None] * slots + np.arange(slots)).ravel()
    mean, log_variance = (content[name].flatten(0, 1) for name in ("mean", "log_variance"))
    written = vae.decode(mean[chosen], limit)
    notes = tokenizer.phrase_notes
    pairs = [(notes(phrases[i]), notes(ids)) for i, ids in zip(chosen, written, strict=True)]
    unseen = [p for i, p in zip(chosen, pairs, strict=True) if tuple(phrases[i]) not in known]
    by_slot = [
        [p for i, p in zip(chosen, pairs, strict=True) if i % slots == s] for s in range(slots)
    ]
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return {
        "phrases": len(pairs),
        "unseen": len(unseen),
        "f1": matches(pairs).f1,
        "f1_durations": matches(pairs, durations=True).f1,
        "f1_unseen": matches(unseen).f1 if unseen else None,
        "f1_slots": [matches(part).f1 if part else None for part in by_slot],
        "exact": sum(left == right for left, right in pairs) / len(pairs),
        "kl": float(kl.mean()),
    }
