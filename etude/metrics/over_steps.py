"""Where to stop: the distance and the copies of a training's checkpoints, as one tidy table.

Distance. KAD, as the gate's, but to the *validation* split: a step that is chosen by this table has
not been chosen by the music that the leaderboard measures with. Without a validation split it is
the test split, and the note says what that means. The floor is held-out music of the other split.
Rows `kad_difference` have every later checkpoint less every earlier one; their intervals hold all
together (95 %, Bonferroni).

Copies. One search, so that a share has one chance rate: that of notes where clips have notes and
held-out music is enough for it, else that of the same sound (`fingerprint`). The chance rate is the
share of held-out excerpts that the same search flags, each half of them at the other's threshold.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from etude.config import Cut, Memorisation
from etude.errors import UserError
from etude.metrics.distances import UNITS, Yardstick, tidy
from etude.metrics.embed import embed_set
from etude.metrics.kad_clips import difference
from etude.metrics.memorisation.catalogue import Catalogue
from etude.metrics.memorisation.excerpts import CorpusPieces
from etude.metrics.memorisation.find import Search, SearchedClips, Verdicts, guarded
from etude.metrics.memorisation.notes import NoteIndex, midi_files
from etude.metrics.memorisation.rows import share
from etude.metrics.registry import Options, projection, residual_weight
from etude.metrics.samples import Clips, read_sets
from etude.metrics.tidy import COLUMNS, head
from etude.plugins import plugin_label
from etude.storage import read_csv, write_csv

VERSION = 1  # raised when the figures change

OVER_STEPS_COLUMNS = [*COLUMNS[:3], "steps", "against", *COLUMNS[3:]]
METRIC, DIFFERENCE = "kad", "kad_difference"
COPIED, CHANCE = "copied", "copied_by_chance"
REAL = "real"
MOST = 1000  # clips of the reference, as of the test split's (etude.generation.baselines)
LEVEL = 0.95
SELECTION = (
    "there is no validation split: this is the test split's music, and the figures there of a step "
    "that was chosen by it are too good"
)

log = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True)
class Sources:
    """Where everything lies.

    Attributes:
        clips: a folder with a clip set for each earlier checkpoint.
        end: the clips of the end of the training.
        end_embedded, baselines: .npz of `embed_sets`, by the same embedding.
        notes: whether clips have notes.
        midi_root: where the corpus's MIDI lies; None: there is none.
    """

    clips: Path
    end: Path
    end_embedded: Path
    baselines: Path
    pieces: Path
    wav: list[Path]
    catalogue: Path
    packed: Path | None
    notes: bool
    midi_root: Path | None


def measure_over_steps(
    experiment: Any,
    name: str,
    checkpoints: Mapping[str, Mapping[str, int]],
    cut: Cut,
    settings: Memorisation,
    *,
    seeds: tuple[int, int],
    seed: int,
    embedding: str,
    options: Options,
    sources: Sources,
    table: Path,
) -> None:
    """Write over_steps.csv of an experiment.

    Args:
        checkpoints: the step of each stage that varies, by checkpoint; the end is the last.
        seeds: of the training and of the draw.
        seed: of what is drawn of held-out music.

    Raises:
        UserError: a clip cannot be embedded.
    """
    folders = {key: sources.clips / key for key in checkpoints}
    folders[list(checkpoints)[-1]] = sources.end
    embedded = {
        key: embed_set(folder, embedding, cut.rate, options)
        for key, folder in list(folders.items())[:-1]
    }
    embedded |= {list(folders)[-1]: read_sets([sources.end_embedded])["generated"]}
    baselines = read_sets([sources.baselines])
    split, rows = distance_rows(embedding, embedded, baselines)
    search = Search(CorpusPieces(sources.pieces, sources.wav), cut, settings, seed)
    copies = copy_rows(_searched(search, folders, sources))
    clips = f"seed-{seeds[0]}/draw-{seeds[1]}"
    heads = {of: head(experiment, name, clips, sources.packed, of) for of in (split, "train")}
    steps = {key: {"steps": written(of)} for key, of in checkpoints.items()}
    every = [(split, row) for row in rows] + [("train", row) for row in copies]
    tidied = (heads[of] | steps.get(row["clips"], {}) | row for of, row in every)
    write_csv(table, OVER_STEPS_COLUMNS, tidied)


def written(steps: Mapping[str, int]) -> str:
    """The step of each stage: `semantic 32, coarse 60`.

    Example:
        >>> written({"semantic": 32, "coarse": 60})
        'semantic 32, coarse 60'
    """
    return ", ".join(f"{stage} {step}" for stage, step in steps.items())


def distance_rows(
    embedding: str, sets: Mapping[str, Clips], baselines: Mapping[str, Clips]
) -> tuple[str, list[Row]]:
    """The split that is measured against, and rows of each checkpoint, the floor and all pairs.

    Args:
        sets: the checkpoints' clips in the order of their steps.
        baselines: `real` is of the validation split, `reference` of the test split.
    """
    valid = baselines[REAL].count > 0
    split, note = ("valid", "") if valid else ("test", SELECTION)
    reference = baselines[REAL if valid else "reference"]
    floor = {REAL: baselines["reference"]} if valid else {}
    name = plugin_label(embedding)
    common: Row = {"embedding": name, "unit": UNITS[METRIC]}
    try:
        yardstick = Yardstick(first(reference), *projection(embedding), residual_weight(embedding))
    except UserError as error:
        rows = [common | {"clips": key, "metric": METRIC, "n": 0} for key in sets]
        return split, [row | {"note": f"n/a: {error.what}"} for row in rows]
    rows = []
    for key, clips in {**sets, **floor}.items():
        row = common | {"clips": key, "metric": METRIC, "n": clips.count}
        try:
            found = yardstick.measure(METRIC, clips, clips.count)
            found.add(note)
            rows.append(row | tidy(found))
        except UserError as error:
            rows.append(row | tidy(error.what))
    return split, rows + [common | row for row in _differences(yardstick, sets)]


def first(clips: Clips) -> Clips:
    """At most MOST clips of a set; it lies in a random order."""
    inside = clips.clips < MOST
    return Clips(clips.windows[inside], clips.clips[inside], clips.units, clips.names)


def _differences(yardstick: Yardstick, sets: Mapping[str, Clips]) -> Iterator[Row]:
    """Every later checkpoint less every earlier one; what has no figure is left out."""
    pairs = list(combinations(sets, 2))
    tallies = {}
    for key, clips in sets.items():
        try:
            tallies[key] = yardstick.tally(clips)
        except UserError as error:
            log.warning("%s is not compared with others: %s", key, error.what)
    for earlier, later in pairs:
        if not {earlier, later} <= tallies.keys():
            continue
        row: Row = {"clips": later, "against": earlier, "metric": DIFFERENCE}
        row["n"] = sets[later].count
        level = 1 - (1 - LEVEL) / len(pairs)
        try:
            figures = difference(tallies[later], tallies[earlier], level)
        except UserError as error:
            yield row | {"note": f"n/a: {error.what}"}
            continue
        names = ("value", "ci_low", "ci_high")
        yield row | {key: f"{x:.6f}" for key, x in zip(names, figures, strict=True)}


# -------------------------------------------------------------------------------------- copies


def _searched(search: Search, folders: Mapping[str, Path], sources: Sources) -> dict[str, Verdicts]:
    """What the search says of the clips of each checkpoint."""
    heard = {key: SearchedClips.read(folder, search.cut.rate) for key, folder in folders.items()}
    if sources.notes and sources.midi_root:
        scores = NoteIndex(search.music, midi_files(read_csv(sources.pieces), sources.midi_root))
        found = {
            key: guarded("notes", "", lambda c=clips: search.notes(c, scores))  # type: ignore[misc]
            for key, clips in heard.items()
        }
        if not list(found.values())[-1].reason:
            return found
    known = Catalogue.load(sources.catalogue / "fingerprints.npz")
    return {
        key: guarded("fingerprint", "", lambda c=clips: search.fingerprint(c, known))  # type: ignore[misc]
        for key, clips in heard.items()
    }


def copy_rows(found: Mapping[str, Verdicts]) -> list[Row]:
    """The share of flagged clips of each checkpoint, and the chance rate of the last one's search.

    The search is named in `note`; where it decides nothing, the reason.
    """
    rows: list[Row] = []
    for key, said in found.items():
        judged = said.scores[np.isfinite(said.scores)]
        row = {"clips": key, "metric": COPIED, "unit": "share", "n": len(judged)}
        if said.reason or not len(judged):
            rows.append(row | {"note": f"n/a: {said.reason or 'no clip can be judged'}"})
            continue
        flagged = int((judged > said.threshold).sum())
        rows.append(row | share(flagged, len(judged)) | {"note": f"by {said.rung}"})
    last = list(found.values())[-1]
    flagged, tried = last.null.false_positives() if last.null and not last.reason else (0, 0)
    if tried:
        row = {"clips": REAL, "metric": CHANCE, "unit": "share"}
        rows.append(row | share(flagged, tried) | {"note": f"by {last.rung}"})
    return rows
