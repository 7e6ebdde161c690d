"""The memorisation test: recall of planted copies, cost of the search, tunes across the split.

$ETUDE_RESULTS may name the results/ of a finished run of the default configuration: corpus,
catalogue and embeddings are taken from it. $ETUDE_RECALL may name the folder of the run.
"""

from __future__ import annotations

import csv
import os
import time
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from finished import start_from
from peaks import own_mb, reset_peak
from record import record, table
from workspace import Workspace

from etude.config import Split
from etude.corpus.tunes import tune_groups
from etude.metrics.memorisation import attacks, chroma
from etude.metrics.memorisation.excerpts import HELD_OUT, CorpusPieces
from etude.metrics.memorisation.fingerprint import RATE
from etude.metrics.memorisation.neighbours import Neighbours
from etude.metrics.memorisation.null import Null, exact_interval
from etude.midi.notes import read_midi, tune_ngrams

pytestmark = pytest.mark.proof

COPIES, TRAINING, CLIPS, DIMENSIONS = 300, 1_000_000, 1000, 192
COMMAND = "pytest benchmarks/bench_memorisation.py -m proof"
# The fingerprint misses held chords, which are in many pieces and so count for little; those the
# waveform tells. The goals (0.99, 0.95) are the ladder's.
LEAST = {
    ("exact", "exact"): 1.0,
    **dict.fromkeys([("waveform", a) for a in ("exact", "gain", "offset")], 0.99),
    **dict.fromkeys([("waveform", a) for a in ("noise_30db", "reencoded")], 0.95),
    **dict.fromkeys(
        [("fingerprint", a) for a in ("exact", "gain", "offset", "noise_30db", "reencoded")], 0.95
    ),
    **dict.fromkeys([("notes", a) for a in attacks.SEMITONES], 0.95),
    **dict.fromkeys([("chroma", a) for a in attacks.RENDERED], 0.9),  # issue 14's goal, at 8 s
}
AT_EIGHT = ("notes", "chroma")  # two seconds of a chorale are not its own: judged at eight
FALSE_POSITIVES = 0.03  # at a nominal 0.01; 4 of 320 were measured


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Workspace:
    """The chorales of the demo, with many planted copies, spans in longer clips among them."""
    kept = os.environ.get("ETUDE_RECALL")
    workspace = Workspace(Path(kept) if kept else tmp_path_factory.mktemp("recall"))
    if not (workspace.folder / "results").is_dir():
        searched = (f"memorisation/*/*/{part}" for part in ("catalogue", "embeddings"))
        start_from(workspace.folder, ("corpora", "cuts", *searched))
    full = {
        "evaluation": {"memorisation": {"planted": COPIES, "null_clips": 640, "embedded": True}}
    }
    target = "results/memorisation/chorales/two_seconds/recall.csv"
    workspace.run(target, configs=[workspace.config("full", full)])
    return workspace


def by_length(rows: list[dict[str, str]]) -> list[str]:
    """A table for each length of copy and clip: attacks against rungs."""
    lines: list[str] = []
    for span, clip in dict.fromkeys((row["span_s"], row["clip_s"]) for row in rows):
        there = [row for row in rows if (row["span_s"], row["clip_s"]) == (span, clip)]
        found = {(rung_of(row), row["attack"]): row for row in there}
        rungs = list(dict.fromkeys(rung for rung, _ in found))
        attacked = dict.fromkeys(attack for _, attack in found)
        cells = [
            [attack.replace("_", " "), *(share(found.get((rung, attack))) for rung in rungs)]
            for attack in attacked
        ]
        lines += ["", f"{float(span):g} s in {float(clip):g} s", "", *table(["", *rungs], cells)]
    return lines


def rung_of(row: dict[str, str]) -> str:
    return f"{row['rung']} {row['embedding']}".strip()


def share(row: dict[str, str] | None) -> str:
    """Recall with its interval."""
    if row is None or row["note"]:
        return "n/a"
    value, low, high = (float(row[key]) for key in ("value", "ci_low", "ci_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def test_recall_of_planted_copies(corpus):
    path = Path(corpus.folder, "results/memorisation/chorales/two_seconds/recall.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    note = (
        f"At 1 % false positives, {COPIES} copies of each, 95 % exact; other_voice: church organ, "
        "there is no second SoundFont here. Of two seconds the fingerprint misses held chords, "
        "which are in many pieces; those the waveform tells. Chroma misses much: few chords are "
        "nobody's own."
    )
    record("Recall of planted copies", COMMAND, [note, *by_length(rows)])
    for row in rows:
        least = LEAST.get((row["rung"], row["attack"]))
        whole = row["span_s"] == row["clip_s"] and (
            row["rung"] not in AT_EIGHT or row["clip_s"] == "8.0"
        )
        if least and whole:
            assert float(row["value"]) >= least, row


def test_held_out_music_is_seldom_a_copy_by_chroma(corpus):
    """Each half of the held-out pieces at the threshold of the other half."""
    folder = corpus.folder / "results"
    shards = sorted((folder / "corpora/chorales/wav").iterdir())
    music = CorpusPieces(folder / "corpora/chorales/pieces.csv", shards)
    known = chroma.Chroma.load(folder / "memorisation/chorales/two_seconds/catalogue/chroma.npz")
    lines = []
    for seconds in (2.0, 8.0):
        excerpts = music.excerpts(HELD_OUT, seconds, 640, 0)
        waves = [music.read(excerpt, RATE) for excerpt in excerpts]
        start = time.process_time()
        found = known.search([chroma.features(wave) for wave in waves])
        each = 1000 * (time.process_time() - start) / len(waves)
        scores = np.array([match.score for match in found])
        null = Null(scores, [excerpt.piece for excerpt in excerpts])
        flagged, tried = null.false_positives()
        low, high = exact_interval(flagged, tried)
        lines.append(
            f"{seconds:g} s: {flagged} of {tried} held-out excerpts flagged "
            f"({flagged / tried:.3f}, {low:.3f} to {high:.3f}); {each:.0f} ms of CPU a clip, "
            "features included."
        )
        assert flagged / tried <= FALSE_POSITIVES
    record("Held-out music called a copy by chroma", COMMAND, [" ".join(lines)])


def test_search_of_a_thousand_clips_in_a_million_segments():
    """Training embeddings are drawn in blocks; clips are near some of them."""
    faiss.omp_set_num_threads(2)
    reset_peak()  # what other benchmarks of this process held is none of it
    random = np.random.default_rng(0)
    windows = random.standard_normal((TRAINING, DIMENSIONS), dtype=np.float32)
    copied = random.integers(0, TRAINING, CLIPS)
    noise = 0.1 * random.standard_normal((CLIPS, DIMENSIONS), dtype=np.float32)
    clips = windows[copied] + noise
    start = time.perf_counter()
    space = Neighbours(windows)
    built = time.perf_counter() - start
    start = time.perf_counter()
    found = space.search(clips, np.arange(CLIPS), CLIPS)
    searched = time.perf_counter() - start
    memory = own_mb() / 1024
    line = (
        f"1,000 clips against 1,000,000 segment embeddings of {DIMENSIONS} dimensions, 2 threads: "
        f"index {built:.1f} s, search {searched:.1f} s, memory at most {memory:.1f} GB "
        "(the embeddings themselves included)."
    )
    record("Search for the nearest training segment", COMMAND, [line])
    assert [one.window for one in found] == copied.tolist()
    assert built + searched < 60


def test_reharmonised_tunes_are_found_across_the_split(corpus):
    """The tune of each chorale under other chords, in another key, a few notes changed."""
    random = np.random.default_rng(0)
    source = Path(corpus.folder, "results/corpora/chorales/source")
    tables = [read_midi(path) for path in sorted(source.glob("*.mid"))]
    tunes, planted = [tune_ngrams(one) for one in tables], []
    for one in tables:
        tune = reharmonised(one, random)
        planted.append(tune_ngrams(tune))
    labels = tune_groups([*tunes, *planted], Split().similarity)
    known = [i for i, tune in enumerate(tunes) if len(tune)]
    found = np.array([labels[i] == labels[len(tunes) + i] for i in known])
    share = float(found.mean())
    lines = [f"{found.sum()} of {len(found)} re-harmonised tunes stand in their tune's group."]
    record("Tunes across the split", COMMAND, [*lines, "", f"Share: {share:.3f}."])
    assert share >= 0.95


def reharmonised(one, random):
    """The top voice with other notes below it, transposed, one note in forty changed."""
    pitch = one.pitch.copy()
    last = np.append(np.diff(one.onset) > 0, True)
    lower = ~last
    pitch[lower] = np.maximum(20, pitch[last].min() - 1 - random.integers(0, 24, lower.sum()))
    changed = last & (random.random(len(pitch)) < 1 / 40)
    pitch[changed] += random.integers(1, 3, changed.sum()).astype(np.int16)
    made = replace(one, pitch=(pitch + random.integers(-5, 6)).astype(np.int16))
    return made.at(made.order())
