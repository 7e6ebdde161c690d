"""From MIDI to tokens, ingest and rendering, each beside the way that people know."""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import music
import numpy as np
import pretty_midi
import pytest
from record import record, table

import etude.midi.render as rendering
from etude import config
from etude.audio.cuts import cut_shard
from etude.config import FolderCorpus, Render
from etude.corpus.ingest import ingest_shard
from etude.corpus.split import decide_split
from etude.midi.synth import SoundFont
from etude.setup import default_soundfont
from etude.tokenizers.fit import fit_tokenizer
from etude.tokenizers.tokenize import tokenize_shard

pytestmark = pytest.mark.proof
CORES, FILES = 2, 40
SETTINGS = config.read(config.DEFAULT)
CUT = SETTINGS.cuts["two_seconds"]


def needs(*programs: str) -> None:
    """Skip where what is compared with is not installed."""
    if missing := [name for name in programs if not shutil.which(name)]:
        pytest.skip(f"not installed: {', '.join(missing)}")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# ------------------------------------------------------------------------------ MIDI to tokens


def seeds_way(folder: Path, rendered: Path | None, midi: Path) -> None:
    """pretty_midi load and check, a fluidsynth and an ffmpeg process, cuts written at two rates.

    The cuts are made with `wave` and NumPy, which is less work than the seed's pydub.
    `rendered` takes synthesis out: WAVs that lie there already.
    """
    score = pretty_midi.PrettyMIDI(str(midi))
    for instrument in score.instruments:
        if instrument.is_drum or any(note.velocity < 10 for note in instrument.notes):
            return
    full = folder / f"{midi.stem}-44100.wav"
    if rendered is None:
        fluidsynth(midi, full)
    else:
        full = rendered / full.name
    mono = folder / f"{midi.stem}.wav"
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-i",
        str(full),
        "-ac",
        "1",
        "-ar",
        "16000",
        str(mono),
    ]
    subprocess.run(command, check=True)
    with wave.open(str(mono)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    for number, start in enumerate(range(0, len(samples), 32000)):
        chunk = samples[start : start + 32000]
        if np.sqrt(np.mean(np.square(chunk, dtype=float))) < 100:
            continue
        places = np.arange(round(len(chunk) * 1.5)) / 1.5
        higher = np.interp(places, np.arange(len(chunk)), chunk).astype(np.int16)
        for rate, data in ((16000, chunk), (24000, higher)):
            with wave.open(str(folder / f"{mono.name}_seg{number}-{rate}.wav"), "wb") as file:
                file.setparams((1, 2, rate, 0, "NONE", ""))
                file.writeframes(data.tobytes())


def fluidsynth(midi: Path, output: Path, rate: int = 44100) -> None:
    """One process a file."""
    command = ["fluidsynth", "-ni", "-q", "-r", str(rate), "-F", str(output)]
    command += [str(default_soundfont()), str(midi)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_seeds_way(midis: list[Path], folder: Path, rendered: Path | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with ProcessPoolExecutor(CORES) as pool:
        list(pool.map(partial(seeds_way, folder, rendered), midis))


def run_ours(corpus: FolderCorpus, work: Path, tokenizers: list[Path]) -> None:
    """Ingest, render, cut and tokenize, as the workflow's jobs do."""
    ingest_shard(corpus, corpus.path, 0, work / "ingest.csv", CORES)
    rendering.render_shard(corpus, work / "ingest.csv", corpus.path, work / "wav", CORES)
    cut_shard(CUT, work / "wav", work / "cuts", CORES)
    if tokenizers:
        tokenize_shard(
            CUT,
            work / "wav",
            work / "cuts",
            *tokenizers,
            work / "tokens.jsonl",
            work / "left_out.csv",
        )


def fitted(corpus: FolderCorpus, work: Path) -> list[Path]:
    """Both embedded tokenizers; fitting them is no part of the comparison."""
    run_ours(corpus, work, [])
    decide_split(corpus, [work / "ingest.csv"], work / "pieces.csv")
    folders = [work / "bands", work / "magnitude"]
    for folder in folders:
        kind = SETTINGS.tokenizers[folder.name]
        fit_tokenizer(kind, CUT, [work / "wav"], [work / "cuts"], work / "pieces.csv", folder)
    return folders


@contextmanager
def no_synthesis() -> Iterator[None]:
    """Synthesis costs nothing: a stretch of noise of the right length, made beforehand."""
    noise = (0.1 * np.random.default_rng(0).standard_normal(44100 * 120)).astype(np.float32)

    def play(self, events, rate, gain, tail, programs=None):
        return noise[: round((events.end_s + tail) * rate)].copy()

    true, SoundFont.play = SoundFont.play, play
    try:
        yield
    finally:
        SoundFont.play = true


def test_from_midi_to_tokens(tmp_path):
    needs("fluidsynth", "ffmpeg")
    midis = music.make_chorales(tmp_path / "music", FILES, seed=11)
    corpus = FolderCorpus(source="folder", path=tmp_path / "music", shards=1)
    tokenizers = fitted(corpus, tmp_path / "fit")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs_whole = min(seconds(lambda: run_seeds_way(midis, theirs, None)) for _ in range(2))
    kept = tmp_path / "rendered"
    shutil.copytree(theirs, kept)
    theirs_rest = min(seconds(lambda: run_seeds_way(midis, theirs, kept)) for _ in range(2))
    ours_whole = min(seconds(lambda: run_ours(corpus, ours, tokenizers)) for _ in range(2))
    with no_synthesis():
        ours_rest = min(seconds(lambda: run_ours(corpus, ours, tokenizers)) for _ in range(2))
        ours_cuts = min(seconds(lambda: run_ours(corpus, ours, [])) for _ in range(2))
    rows = [
        ["all steps", f"{theirs_whole:.1f}", f"{ours_whole:.1f}", _ratio(theirs_whole, ours_whole)],
        ["synthesis out", f"{theirs_rest:.1f}", f"{ours_rest:.1f}", _ratio(theirs_rest, ours_rest)],
        [
            "synthesis and tokens out",
            f"{theirs_rest:.1f}",
            f"{ours_cuts:.1f}",
            _ratio(theirs_rest, ours_cuts),
        ],
    ]
    lines = [
        (
            f"{FILES} four-part pieces, {CORES} processes on either side, the better of two runs. "
            "The seed's way makes no tokens; ours does, in the first two rows."
        ),
        "",
        *table(["", "the seed's way, s", "Étude, s", "ratio"], rows),
    ]
    record("From MIDI to tokens", "pytest benchmarks/bench_corpus.py -m proof", lines)
    assert theirs_whole > ours_whole


def _ratio(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.1f}"


# --------------------------------------------------------------------------------------- ingest


def test_ingest_beside_pretty_midi(tmp_path):
    rows = []
    for name, count, quarters in (("chorale-size", 2000, None), ("6,000 notes", 100, 1550)):
        folder = tmp_path / name
        for i in range(count):
            music.chorale(folder / f"{i:03d}.mid", Random(f"{name}/{i}"), quarters)
        files = sorted(folder.glob("*.mid"))
        notes = np.mean([_notes(path) for path in files[:5]])
        corpus = FolderCorpus(source="folder", path=folder, shards=1)

        def ours(corpus=corpus, folder=folder) -> None:
            ingest_shard(corpus, folder, 0, tmp_path / "ingest.csv", 1)

        def theirs(files=files) -> None:
            for path in files:
                pretty_midi.PrettyMIDI(str(path))

        mine, other = min(seconds(ours) for _ in range(3)), seconds(theirs)
        rows.append(
            [name, count, f"{notes:.0f}", f"{other:.2f}", f"{mine:.3f}", _ratio(other, mine)]
        )
    columns = ["files", "number", "notes", "pretty_midi, s", "ingest, s", "ratio"]
    lines = [
        (
            "Ingest reads, hashes, filters and describes; the loop only loads. One process on "
            "either side."
        ),
        "",
        *table(columns, rows),
    ]
    record("Ingest beside pretty_midi", "pytest benchmarks/bench_corpus.py -m proof", lines)
    assert all(float(row[-1]) > 1 for row in rows)


def _notes(path: Path) -> int:
    return sum(len(i.notes) for i in pretty_midi.PrettyMIDI(str(path)).instruments)


# ------------------------------------------------------------------------------------ rendering


def cpu_seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds, children's included."""

    def used() -> float:
        both = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(u.ru_utime + u.ru_stime for u in both)

    before, start = used(), time.perf_counter()
    work()
    return time.perf_counter() - start, used() - before


def test_rendering_beside_the_command(tmp_path):
    needs("fluidsynth")
    midis = music.make_chorales(tmp_path / "music", 24, seed=12)
    corpus = FolderCorpus(source="folder", path=tmp_path / "music", shards=1)
    rate = Render().rate
    ingest_shard(corpus, corpus.path, 0, tmp_path / "ingest.csv", 1)
    rendering.load_soundfont(None)

    def ours(threads: int) -> None:
        rendering.render_shard(
            corpus, tmp_path / "ingest.csv", corpus.path, tmp_path / "wav", threads
        )

    def theirs() -> None:
        for path in midis:
            fluidsynth(path, tmp_path / f"{path.stem}.wav", rate)

    runs = {
        "fluidsynth, one process a file": theirs,
        "Étude, 1 thread": lambda: ours(1),
        "Étude, 2 threads": lambda: ours(2),
    }
    figures = {name: min(cpu_seconds(work) for _ in range(2)) for name, work in runs.items()}
    music_s = sum(pretty_midi.PrettyMIDI(str(path)).get_end_time() for path in midis)
    base = figures["fluidsynth, one process a file"]
    rows = [
        [
            n,
            f"{w:.2f}",
            f"{c:.2f}",
            f"{base[0] / w:.2f}",
            f"{base[1] / c:.2f}",
            f"{music_s / w:.0f}",
        ]
        for n, (w, c) in figures.items()
    ]
    one, two = figures["Étude, 1 thread"][0], figures["Étude, 2 threads"][0]
    columns = ["", "wall, s", "CPU, s", "faster (wall)", "faster (CPU)", "x real time"]
    lines = [
        (
            f"{len(midis)} pieces, {music_s / 60:.1f} minutes, {rate} Hz, the better of two runs. "
            f"Two threads beside one: {one / two:.2f} times."
        ),
        "",
        *table(columns, rows),
    ]
    record("Rendering beside fluidsynth", "pytest benchmarks/bench_corpus.py -m proof", lines)
    assert base[0] > one
