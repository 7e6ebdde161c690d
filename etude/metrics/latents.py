"""Distances in the latent space of a system's own encoder: its clips, real music, and baselines.

A trained stage that encodes the corpus for the next (`encodes` of its StagePlan) can encode any
clip with notes, whoever made it: the generated ones, held-out music, all that clips are compared
with. So these are of the music that comes out, through the decoder and back, not of the latents
that were sampled.

Conventions
    Only clips with notes, of each the first whole bars (`evaluation.symbolic.form_bars`): of a
    real clip of the piece that it is of, each piece once. A row is a latent as the encoder makes
    it, nothing is standardised. The reference is the test split's music, the floor `real` the valid
    split's. **Figures of one encoder alone can be compared**: of another training or experiment the
    space is another, and each row says so.

Metrics
    * `latent_fid`: the Fréchet distance (`etude.metrics.frechet`), at the number of generated
      clips; PhraseLDM's phrase FID (arXiv 2512.11348), whose matrix root is another (below).
    * `latent_kad`: KAD without pairs of one piece (`etude.metrics.kad_clips`), of all clips.
    * `latent_fid_halves`: of the reference's pieces, split at random; the mean of 20 splits.
    * `latent_fid_middles`: of the first halves of its pieces to their second halves.

PhraseLDM takes tr (S1 S2)^1/2 by a symmetric eigendecomposition of S1 S2, which is symmetric only
where S1 and S2 have the same axes; its figure is not a distance, and may be off either way.
`evaluation.symbolic.compat: phraseldm` has it in place of `latent_fid`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import UserError
from etude.metrics import frechet
from etude.metrics.clip_sets import clip_sets
from etude.metrics.distances import Yardstick, measure_sets, tidy
from etude.metrics.kad_clips import jackknife_variance
from etude.metrics.notes.clips import SymbolicClip, read_symbolic
from etude.metrics.notes.whole_bars import whole_bars
from etude.metrics.samples import Clips, ReplicatedFigure, by_subsets, replicate_rows
from etude.metrics.tidy import COLUMNS, REPLICATE_COLUMNS, head
from etude.midi.notes import NoteTable
from etude.pool import Failed, tried
from etude.storage import write_csv
from etude.systems import open_system
from etude.systems.base import Parts

VERSION = 1  # raised when the figures change

Array = NDArray[np.float64]
Encoder = Callable[[NoteTable], Array]
Row = dict[str, Any]

PHRASELDM = "phraseldm"
REFERENCE, GENERATED = "reference", "generated"
FID, KAD = "latent_fid", "latent_kad"
METRICS = {"frechet_distance": FID, "kad": KAD}
UNITS = {FID: "distance", KAD: "100 MMD²"}
DEALS = 20
ONE_SPACE = "of this training's own encoder: no other training's or experiment's figure compares"
ROOT = "by PhraseLDM's matrix root: no distance"
LEAST = 1e-12  # of an eigenvalue, as there


class LatentYardstick(Yardstick):
    """The reference's latents, compared as they are.

    Args:
        compat: `phraseldm`: the Fréchet distance with PhraseLDM's root.
    """

    def __init__(self, reference: Clips, compat: str = "") -> None:
        super().__init__(reference, None, 0.0)
        self.compat = compat

    def measure(self, metric: str, clips: Clips, n: int) -> ReplicatedFigure:  # noqa: D102
        if (metric, self.compat) != ("frechet_distance", PHRASELDM):
            return super().measure(metric, clips, n)
        found = by_subsets(lambda index: phraseldm(self.rows, clips.windows[index]), clips, n)
        found.add(ROOT)
        return found


def phraseldm(real: Array, made: Array) -> float:
    """PhraseLDM's figure for two sets of rows [n, d]: see the head of this module.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(100, 3))
        >>> round(phraseldm(rows, rows + [2, 0, 0]), 6)  # moved by 2: 2 squared
        4.0
    """
    (mean1, cov1), (mean2, cov2) = (frechet.statistics(rows) for rows in (real, made))
    values = np.linalg.eigvalsh(cov1 @ cov2)  # of the lower triangle, as if it were symmetric
    shift = mean1 - mean2
    cross = float(np.sqrt(values.clip(LEAST)).sum())
    return float(shift @ shift + np.trace(cov1) + np.trace(cov2)) - 2 * cross


def latent_distance(real: Array, made: Array) -> float:
    """The Fréchet distance of two sets of rows.

    Example:
        >>> import numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(100, 3))
        >>> round(latent_distance(rows, rows + [2, 0, 0]), 6)
        4.0
    """
    return frechet.frechet_distance(*frechet.statistics(real), *frechet.statistics(made))


# -------------------------------------------------------------------------------- clips to rows


def first_bars(clip: SymbolicClip, most: int) -> NoteTable:
    """The notes that begin in a clip's first whole bars."""
    bars = whole_bars(clip.entire, clip.from_s, clip.entire.seconds - clip.from_s)
    begun = (bars.onset >= 0) & (bars.onset < most)
    return bars.notes.at(begun)


def encode_set(
    encoder: Encoder,
    folder: Path,
    *,
    pieces: Mapping[str, Path],
    most_clips: int,
    most_bars: int,
) -> tuple[Clips, str]:
    """The latents of a set's clips, and what is to be said of them: why there are none, or fewer.

    Args:
        pieces: the corpus's files, for clips that are stretches of them.
    """
    read = read_symbolic(folder, pieces=pieces, most=most_clips)
    chosen = {
        (clip.piece if clip.of_piece else f"clip {i}"): clip for i, clip in enumerate(read.clips)
    }
    rows: list[Array] = []
    failed: list[str] = []
    for clip in chosen.values():
        found = tried(_encoded, (encoder, clip, most_bars))
        if isinstance(found, Failed):
            failed.append(f"{clip.clip}: {found.reason}")
            found = np.zeros((0, 0))
        rows.append(found)
    kept = [(c, r) for c, r in zip(chosen.values(), rows, strict=True) if len(r)]
    lost = len(chosen) - len(kept)
    why = failed[0] if failed else "no whole bar with notes"
    note = f"{lost} of {len(chosen)} clips have no latents ({why})" if lost else ""
    owners = np.repeat(np.arange(len(kept)), [len(r) for _, r in kept])
    windows = np.concatenate([r for _, r in kept]) if kept else np.zeros((0, 1))
    units = [c.piece if c.piece != c.clip else "" for c, _ in kept]
    clips = Clips(windows, owners.astype(np.int64), units, [c.clip for c, _ in kept])
    return clips, note if chosen else read.note or "no clip has notes"


def _encoded(job: tuple[Encoder, SymbolicClip, int]) -> Array:
    encoder, clip, most = job
    notes = first_bars(clip, most)
    if not len(notes):
        return np.zeros((0, 0))
    found = np.asarray(encoder(notes), dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError("its latents are not finite")
    return found


# -------------------------------------------------------------------------------- rows to figures


def score_latents(
    sets: Mapping[str, tuple[Clips, str]], compat: str = ""
) -> tuple[list[Row], list[Row]]:
    """Tidy rows of all sets, the reference among them, and the replicates.

    Args:
        sets: latents of each, and what is to be said of them.
    """
    others = {name: clips for name, (clips, _) in sets.items() if name != REFERENCE}
    notes = {name: note for name, (clips, note) in sets.items() if not clips.count}
    reference, reference_note = sets.get(
        REFERENCE, (Clips(np.zeros((0, 1)), np.zeros(0, np.int64)), "")
    )
    try:
        yardstick = LatentYardstick(reference, compat)
    except UserError as error:
        why = error.what if reference.count else reference_note or error.what
        return [
            {"clips": name, "metric": metric, "unit": UNITS[metric], "n": 0, "note": f"n/a: {why}"}
            for name in others
            for metric in UNITS
        ], []
    rows = list(floors(reference, reference_note))
    replicates: list[Row] = []
    for name, metric, n, found in measure_sets(yardstick, others, notes, tuple(METRICS)):
        row: Row = {"clips": name, "metric": METRICS[metric]}
        if isinstance(found, ReplicatedFigure):
            replicates += replicate_rows(found, row)
            found.add(ONE_SPACE, sets[name][1])
        rows.append(row | {"unit": UNITS[row["metric"]], "n": n} | tidy(found))
    return rows, replicates


def floors(reference: Clips, reference_note: str = "") -> Iterator[Row]:
    """How far real music is from real music: halves of its pieces, and the two halves of each.

    Args:
        reference_note: what is to be said of the reference.
    """
    common = {"clips": REFERENCE, "unit": UNITS[FID]}
    units = int(reference.groups.max()) + 1 if reference.count else 0
    if units < 4:
        for metric in (f"{FID}_halves", f"{FID}_middles"):
            note = f"n/a: {units} held-out pieces, 4 are needed"
            yield common | {"metric": metric, "n": units, "note": note}
        return
    piece = reference.groups[np.searchsorted(reference.numbers, reference.clips)]
    rows, deals = reference.windows, []
    for split in range(DEALS):
        half = np.random.default_rng([split, 11]).permutation(units)[: units // 2]
        one = np.isin(piece, half)
        deals.append(latent_distance(rows[one], rows[~one]))
    between = f"{min(deals):.3g} to {max(deals):.3g} over {DEALS} deals of {units} pieces"
    row = common | {"metric": f"{FID}_halves", "n": units // 2, "value": f"{np.mean(deals):.6f}"}
    yield row | {"note": "; ".join(filter(None, (between, ONE_SPACE, reference_note)))}
    place = _places(reference)
    first, second = place < 0.5, place >= 0.5
    value = latent_distance(rows[first], rows[second])
    without = [
        latent_distance(rows[first & (piece != k)], rows[second & (piece != k)])
        for k in range(units)
    ]
    estimate = ReplicatedFigure(value, value + np.array(without) - np.mean(without), lowest=0.0)
    estimate.deviation = jackknife_variance(np.array(without)) ** 0.5
    estimate.freedom = units - 1
    estimate.add(ONE_SPACE)
    yield common | {"metric": f"{FID}_middles", "n": units} | estimate.cells()


def _places(clips: Clips) -> Array:
    """Where in its clip each row is, from 0 to below 1."""
    counts = np.bincount(clips.clips)
    begins = np.cumsum(counts) - counts
    found: Array = (np.arange(len(clips.clips)) - begins[clips.clips]) / counts[clips.clips]
    return found


def write_latents(
    experiment: Any,
    names: Mapping[str, str],
    *,
    parts: Parts,
    generated: Path,
    baselines: Path,
    pieces: Mapping[str, Path],
    settings: Mapping[str, Any],
    table: Path,
    replicates: Path,
) -> None:
    """All distances in the latent space of one training's encoder, of one draw.

    Args:
        names: the wildcards: experiment, seed and draw.
        parts: with the trained stages that encode.
        settings: of evaluation.symbolic: compat, clips, form_bars.
    """
    encoder = open_system(experiment.system).encoder(experiment, parts)
    folders = clip_sets(baselines) | clip_sets(generated)
    how = {"most_clips": settings["clips"], "most_bars": settings["form_bars"], "pieces": pieces}
    sets = {name: encode_set(encoder, folder, **how) for name, folder in folders.items()}
    rows, drawn = score_latents(sets, settings["compat"])
    clips = f"seed-{names['seed']}/draw-{names['draw']}"
    common = head(experiment, names["experiment"], clips, parts.packed)
    write_csv(replicates, REPLICATE_COLUMNS, drawn)
    write_csv(table, COLUMNS, (common | row for row in rows))
