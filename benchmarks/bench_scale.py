"""100,000 pieces: how long planning takes, whether memory is flat; and a million, on paper."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import music
import numpy as np
import pytest
from bench_corpus import fitted
from record import machine, record, table
from workspace import ROOT, Workspace, own_folder

from etude import config
from etude.config import FolderCorpus
from etude.corpus.estimate import advise_shards, jobs
from etude.corpus.rows import INGEST_COLUMNS
from etude.corpus.scan import piece_id
from etude.midi.notes import NoteTable, tune_ngrams
from etude.storage import write_csv

pytestmark = pytest.mark.proof
PIECES, SHARDS = 100_000, 100
SMALL, LARGE = 60, 300  # chorale-size pieces, for slopes
PAGE = ROOT / "docs" / "scaling.md"


# ------------------------------------------------------------------------------------ planning


def many_pieces(folder: Path, count: int) -> None:
    """MIDI files of eight notes each, all different, a thousand a folder."""
    for i in range(count):
        place = folder / f"{i // 1000:03d}"
        if i % 1000 == 0:
            place.mkdir(parents=True)
        random, track = Random(i), bytearray()
        for _ in range(8):
            pitch = random.randrange(40, 90)
            track += bytes([0, 0x90, pitch, 80, 0x83, 0x60, 0x80, pitch, 0])
        track += b"\x00\xff\x2f\x00"
        head = b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk" + len(track).to_bytes(4, "big")
        (place / f"piece-{i:06d}.mid").write_bytes(head + track)


def test_a_hundred_thousand_pieces_are_planned(tmp_path):
    workspace = Workspace(tmp_path)
    many_pieces(tmp_path / "music", PIECES)
    mine = own_folder(tmp_path / "music")
    mine["corpora"]["mine"]["shards"] = SHARDS
    path = workspace.config("mine", mine)
    times = []
    for _ in range(2):  # the first finds the folder's names on the disk
        start = time.perf_counter()
        done = workspace.run("-n", configs=[path])
        times.append(time.perf_counter() - start)
    total = int(re.search(r"^total\s+(\d+)", done.stdout + done.stderr, re.MULTILINE)[1])
    rows = []
    for shards in (1000, SHARDS, 10):
        seconds, memory = measured("ingest", tmp_path / "music", tmp_path / "work", shards)
        rows.append([PIECES // shards, f"{seconds:.2f}", f"{memory:.0f}"])
    lines = [
        (
            f"{PIECES:,} MIDI files, {SHARDS} shards: {total} jobs; a dry run takes "
            f"{times[0]:.1f} s, a second one {times[1]:.1f} s. Ingest of one shard, one process:"
        ),
        "",
        *table(["files in the shard", "seconds", "largest memory of a process, MB"], rows),
    ]
    record("A hundred thousand pieces", "pytest benchmarks/bench_scale.py -m proof", lines)
    assert total < 2000
    assert float(rows[-1][2]) < 1.5 * float(rows[1][2]), "memory grows with the shard"


# ----------------------------------------------------------------------------- time and memory


STAGE = """
import json, resource, sys
from pathlib import Path
from benchmarks.peaks import largest_mb
from etude import config
from etude.config import FolderCorpus
stage, root, work, shards, bands, magnitude = sys.argv[1:]
tokenizers = Path(bands), Path(magnitude)
root, work, cut = Path(root), Path(work), config.read(config.DEFAULT).cuts["two_seconds"]
corpus = FolderCorpus(source="folder", path=root, shards=int(shards))
from etude.corpus.ingest import ingest_shard
from etude.midi.render import render_shard
from etude.audio.cuts import cut_shard
from etude.tokenizers.tokenize import tokenize_shard
def used():
    both = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in both), largest_mb()
start = used()[0]
if stage == "ingest":
    ingest_shard(corpus, root, 0, work / "ingest.csv", 1)
elif stage == "render":
    render_shard(corpus, work / "ingest.csv", root, work / "wav", 1)
elif stage == "cut":
    cut_shard(cut, work / "wav", work / "cuts", 1)
elif stage == "tokenize":
    outputs = work / "tokens.jsonl", work / "left_out.csv"
    tokenize_shard(cut, work / "wav", work / "cuts", *tokenizers, *outputs)
elif stage == "split":
    from etude.corpus.split import decide_split
    decide_split(corpus, [work / "ingest.csv"], work / "pieces.csv")
else:
    from etude.tokenizers.pack import pack_tokens
    pack_tokens([work / "tokens.jsonl"], work / "pieces.csv", *tokenizers, cut, work / "packed")
seconds, memory = used()
print(json.dumps([seconds - start, memory]))
"""


def measured(
    stage: str, root: Path, work: Path, shards: int = 1, tokenizers: tuple[Path, ...] = ()
) -> tuple[float, float]:
    """Processor seconds and largest memory (MB) of a stage over a shard, in its own process."""
    given = [str(p) for p in tokenizers] or ["", ""]
    command = [sys.executable, "-c", STAGE, stage, str(root), str(work), str(shards), *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def size(path: Path) -> int:
    """Bytes of a file or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files if p.is_file())


WRITES = {
    "ingest": "ingest.csv", "render": "wav", "cut": "cuts", "tokenize": "tokens.jsonl",
    "split": "pieces.csv", "pack": "packed",
}  # fmt: skip
BY_SHARD = ("ingest", "render", "cut", "tokenize")


# One job holds all rows for the split, and its cost need not be a straight line: three sizes.
ROWS = (2_500, 10_000, 40_000)


def made_rows(path: Path, count: int) -> None:
    """An ingest table of pieces with tunes: 60 steps of a random walk, as melodies have them."""
    steps, chances = [-4, -2, -1, 0, 1, 2, 3, 5], [0.05, 0.25, 0.15, 0.1, 0.15, 0.2, 0.05, 0.05]
    random = np.random.default_rng(0)
    ones = np.ones(61, dtype=np.int16)

    def row(number: int) -> dict[str, str]:
        pitch = (60 + np.cumsum(random.choice(steps, 61, p=chances)) % 48).astype(np.int16)
        onset = 480 * np.arange(61)
        tempos = np.zeros((0, 2), dtype=np.int64)
        table = NoteTable(onset, 0 * onset + 480, pitch, 80 * ones, 0 * ones, tempos, 480)
        name = f"{number:07d}.mid"
        tune = tune_ngrams(table).astype(">u4").tobytes().hex(" ", 4)
        return dict.fromkeys(INGEST_COLUMNS, "") | {
            "piece": piece_id(name), "path": name, "kind": "midi", "status": "kept", "ngrams": tune,
            "sha256": f"{number:064x}", "notes_hash": f"{number:064x}", "seconds": "32.000",
            "notes": "61", "programs": "0",
        }  # fmt: skip

    write_csv(path, INGEST_COLUMNS, map(row, range(count)))


def split_figures(folder: Path) -> tuple[list[tuple[int, float, float]], float]:
    """Pieces, seconds, MB of decide_split; the exponent with which its time grows."""
    figures = []
    for count in ROWS:
        work = folder / f"rows-{count}"
        work.mkdir(parents=True)
        made_rows(work / "ingest.csv", count)
        figures.append((count, *measured("split", folder, work)))
    (n0, s0, _), (n1, s1, _) = figures[-2:]
    return figures, math.log(s1 / s0) / math.log(n1 / n0)


def test_a_million_pieces_on_paper(tmp_path):
    music.make_chorales(tmp_path / "fit", 20, seed=5)
    corpus = FolderCorpus(source="folder", path=tmp_path / "fit", shards=1)
    tokenizers = tuple(fitted(corpus, tmp_path / "tokenizers"))
    figures: dict[str, dict[int, tuple[float, float, int]]] = {stage: {} for stage in WRITES}
    for count in (SMALL, LARGE):
        root, work = tmp_path / f"music-{count}", tmp_path / f"work-{count}"
        music.make_chorales(root, count, seed=6)
        for stage, output in WRITES.items():
            seconds, memory = measured(stage, root, work, 1, tokenizers)
            figures[stage][count] = seconds, memory, size(work / output)
    rows, hours, gigabytes = [], 0.0, 0.0
    figures.pop("split")  # it has a table of its own
    for stage, of in figures.items():
        (s0, m0, b0), (s1, m1, b1) = of[SMALL], of[LARGE]
        slope, each = (s1 - s0) / (LARGE - SMALL), (b1 - b0) / (LARGE - SMALL)
        if stage in BY_SHARD:
            hours += slope * 1e6 / 3600
        gigabytes += each * 1e6 / 1e9
        figures_of = f"{1000 * slope:.1f}", f"{slope * 1e6 / 3600:.1f}", f"{each / 1000:.0f}"
        rows.append([stage, *figures_of, f"{each * 1e6 / 1e9:.0f}", f"{m0:.0f}", f"{m1:.0f}"])
        assert m1 < 1.3 * m0 + 50, f"{stage}: memory grows with the pieces"
    rows.append(["all that is done by shard", "", f"{hours:.1f}", "", f"{gigabytes:.0f}", "", ""])
    write_page(rows, hours, gigabytes, split_figures(tmp_path / "split"))


def write_page(
    rows: list[list[object]],
    hours: float,
    gigabytes: float,
    split: tuple[list[tuple[int, float, float]], float],
) -> None:
    """docs/scaling.md, from the figures of this run."""
    seconds = 1e6 * mean_seconds()
    shards = advise_shards(seconds, 0, 1_000_000)
    columns = [
        "stage", "ms a piece", "core hours", "kB a piece", "GB", f"MB of memory at {SMALL}",
        f"at {LARGE} pieces",
    ]  # fmt: skip
    settings = config.read(config.DEFAULT)
    longest = max(stage.training.steps for _, stage in settings.experiments["audiolm"].stages)
    measured_rows, power = split
    count, last_s, last_mb = measured_rows[-1]
    split_hours = last_s * (1e6 / count) ** power / 3600
    split_gb = last_mb / 1000 * 1e6 / count
    asked_mb, asked_minutes = 1000 * math.ceil(1.3 * split_gb), math.ceil(60 + 120 * split_hours)
    split_table = table(
        ["pieces", "seconds", "MB"],
        [[f"{n:,}", f"{s:.1f}", f"{m:.0f}"] for n, s, m in measured_rows],
    )
    text = f"""# A million pieces, on paper

Written by `pytest benchmarks/bench_scale.py -m proof -k million`,
{machine()}.
Processor seconds of one process, slopes between {SMALL} and {LARGE} four-part pieces of
{mean_seconds():.0f} s; a million is the slope a million times. Denser music renders up to three
times slower; recordings are copied, not rendered.

{chr(10).join(table(columns, rows))}

- **Jobs.** `etude audit` would advise {shards} shards, which makes {jobs(shards)} jobs: under the
  house's 2,000. Names of shards are known before anything runs, so nothing waits for a checkpoint.
- **Shards.** `shards:` of a corpus; ingest and `etude audit` say a better number for what is there.
  Jobs of some minutes are good ones: a job costs about 5 s of start, and what is added or changed
  runs its own shard again. {1_000_000 // shards:,} files lie in a shard here.
- **Planning.** A dry run over 100,000 files and 417 jobs takes 4 s (docs/benchmarks.md): it lists
  the folder, names and times only. Listing grows with the files, so ten times the files are some
  ten times the listing, half a minute; the rest depends on the jobs.
- **Time.** {hours:.0f} core hours from files to tokens: {hours / 16:.0f} hours on one machine of
  16 cores, {hours / 256:.1f} on a cluster's 256 ([cluster.md](cluster.md)). All of it is by shard.
- **Disk.** {gigabytes / 1000:.1f} TB. Most of it are WAVs of pieces and of segments;
  `write_audio: false` in the cut leaves the segments out (tokenizers read the pieces' WAVs).
- **Memory.** Flat in the number of pieces where it is by shard (last columns), by streams and
  pools; what is held of a whole corpus is its list of names: some 100 bytes a piece.
- **Training** does not grow with the corpus: it has steps ({longest} at the most by default). What
  a million pieces deserve is a larger network for longer, on GPUs; no GPU has been measured yet.

## What one job does for the whole corpus

`decide_split` holds every row and every tune; made tunes of 61 notes, all different:

{chr(10).join(split_table)}

From the last two, time grows with the power {power:.2f} of the pieces. For a million that is
{split_hours:.1f} hours and {split_gb:.0f} GB of memory on one core; in a profile:
`set-resources: {{decide_split: {{mem_mb: {asked_mb}, runtime: {asked_minutes}}}}}`. More tunes in
common cost more. `pack_tokens` streams (its row above): its hours are one job's, so it needs
`runtime` too.
"""
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def mean_seconds() -> float:
    """Length of the made pieces: 44 to 72 quarters of about 0.55 s."""
    return 58 * 0.55
