"""100,000 pieces: how long planning takes, whether memory is flat; and a million, on paper."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import music
import pytest
from bench_corpus import fitted
from record import machine, record, table
from workspace import ROOT, Workspace, own_folder

from etude import config
from etude.config import FolderCorpus
from etude.corpus.estimate import advise_shards, jobs

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
import json, resource, sys, time
from pathlib import Path
from etude import config
from etude.config import FolderCorpus
stage, root, work, shards, bands, magnitude = sys.argv[1:]
root, work, cut = Path(root), Path(work), config.read(config.DEFAULT).cuts["two_seconds"]
corpus = FolderCorpus(source="folder", path=root, shards=int(shards))
from etude.corpus.ingest import ingest_shard
from etude.midi.render import render_shard
from etude.audio.cuts import cut_shard
from etude.tokenizers.tokenize import tokenize_shard
start = time.perf_counter()
if stage == "ingest":
    ingest_shard(corpus, root, 0, work / "ingest.csv", 1)
elif stage == "render":
    render_shard(corpus, work / "ingest.csv", root, work / "wav", 1)
elif stage == "cut":
    cut_shard(cut, work / "wav", work / "cuts", 1)
else:
    tokenize_shard(
        cut, work / "wav", work / "cuts", Path(bands), Path(magnitude), work / "tokens.jsonl"
    )
seconds = time.perf_counter() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def measured(
    stage: str, root: Path, work: Path, shards: int = 1, tokenizers: tuple[Path, ...] = ()
) -> tuple[float, float]:
    """Seconds and the largest memory (MB) of one stage over one shard, in a process of its own."""
    given = [str(p) for p in tokenizers] or ["", ""]
    command = [sys.executable, "-c", STAGE, stage, str(root), str(work), str(shards), *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def size(path: Path) -> int:
    """Bytes of a file or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files if p.is_file())


WRITES = {"ingest": "ingest.csv", "render": "wav", "cut": "cuts", "tokenize": "tokens.jsonl"}


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
    for stage, of in figures.items():
        (s0, m0, b0), (s1, m1, b1) = of[SMALL], of[LARGE]
        slope, each = (s1 - s0) / (LARGE - SMALL), (b1 - b0) / (LARGE - SMALL)
        hours, gigabytes = hours + slope * 1e6 / 3600, gigabytes + each * 1e6 / 1e9
        figures_of = f"{1000 * slope:.1f}", f"{slope * 1e6 / 3600:.1f}", f"{each / 1000:.0f}"
        rows.append([stage, *figures_of, f"{each * 1e6 / 1e9:.0f}", f"{m0:.0f}", f"{m1:.0f}"])
        assert m1 < 1.3 * m0 + 50, f"{stage}: memory grows with the pieces"
    rows.append(["together", "", f"{hours:.1f}", "", f"{gigabytes:.0f}", "", ""])
    write_page(rows, hours, gigabytes)


def write_page(rows: list[list[object]], hours: float, gigabytes: float) -> None:
    """docs/scaling.md, from the figures of this run."""
    seconds = 1e6 * mean_seconds()
    shards = advise_shards(seconds, 0, 1_000_000)
    columns = [
        "stage", "ms a piece", "core hours", "kB a piece", "GB", f"MB of memory at {SMALL}",
        f"at {LARGE} pieces",
    ]  # fmt: skip
    settings = config.read(config.DEFAULT)
    longest = max(stage.training.steps for _, stage in settings.experiments["audiolm"].stages)
    text = f"""# A million pieces, on paper

Written by `pytest benchmarks/bench_scale.py -m proof`, {machine()}. Slopes between {SMALL} and
{LARGE} four-part pieces of {mean_seconds():.0f} s, one process; a million is the slope a million
times. Denser music renders up to three times slower; recordings are copied, not rendered.

{chr(10).join(table(columns, rows))}

- **Jobs.** `etude audit` would advise {shards} shards: {jobs(shards)} jobs, under the house's
  2,000. Names of shards are known before anything runs, so nothing waits for a checkpoint.
- **Time.** {hours:.0f} core hours from files to tokens: {hours / 16:.0f} hours on one machine of
  16 cores, {hours / 256:.1f} on a cluster's 256. Everything up to the tokens falls apart by shard.
- **Disk.** {gigabytes / 1000:.1f} TB. Most of it are WAVs of pieces and of segments;
  `write_audio: false` in the cut leaves the segments out (tokenizers read the pieces' WAVs).
- **Memory.** Flat in the number of pieces (last columns), by streams and pools; what is held of a
  whole corpus is its list of names: some 100 bytes a piece.
- **One job for all.** `decide_split` reads every ingest row, and finds tune groups through an
  inverted index of n-grams; `pack_tokens` streams. Both grow with the corpus and have one machine.
- **Training** does not grow with the corpus: it has steps ({longest} at the most by default). What
  a million pieces deserve is a larger network for longer, on GPUs; no GPU has been measured yet.
"""
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def mean_seconds() -> float:
    """Length of the made pieces: 44 to 72 quarters of about 0.55 s."""
    return 58 * 0.55
