"""The report page of 1,000 clips, each with its nearest training music: build and opening time."""

from __future__ import annotations

import time

import pytest
from browser import launched, opened
from pages import COPIES, RATE, report, tone, write_trust
from record import record, table

from etude.audio.files import write_wav
from etude.config import Page
from etude.storage import write_csv

pytestmark = pytest.mark.proof
CLIPS, SECONDS = 1000, 8.0
MOST_TO_BUILD, MOST_TO_OPEN = 60.0, 2.0  # seconds


def test_page_of_a_thousand_clips(tmp_path):
    results = tmp_path / "results"
    write_trust(results, CLIPS, (0,), (0,), SECONDS, ("audiolm",))
    for i in range(6):  # pieces long enough for a thousand different excerpts
        write_wav(results / f"corpora/mine/wav/0000/p{i}.wav", tone(i, 120.0), RATE)
    write_neighbours(results)
    start = time.perf_counter()
    report(results, ["audiolm"], results / "report", Page(), threads=2)
    built = time.perf_counter() - start
    page = results / "report" / "index.html"
    opening = min(opened_in(page) for _ in range(3))
    media = [path for path in (results / "report/media").rglob("*") if path.is_file()]
    megabytes = sum(path.stat().st_size for path in media) / 1e6
    rows = [
        ["build, 2 processes", f"{built:.1f} s", f"{MOST_TO_BUILD:.0f} s"],
        ["open, until what is shown has loaded", f"{opening:.2f} s", f"{MOST_TO_OPEN:.0f} s"],
        ["index.html", f"{page.stat().st_size / 1e6:.1f} MB", ""],
        [f"media, {len(media):,} files", f"{megabytes:.0f} MB", ""],
    ]  # fmt: skip
    about = f"{CLIPS:,} clips of {SECONDS:g} s, each with its nearest training excerpt."
    lines = [about, "", *table(["", "measured", "limit"], rows)]
    record("The report page", "pytest benchmarks/bench_report.py -m proof", lines)
    assert built < MOST_TO_BUILD
    assert opening < MOST_TO_OPEN


def write_neighbours(results):
    """Another training excerpt for every clip, which is the most that there can be to make."""
    path = results / "metrics/audiolm/seed-0/draw-0/memorisation_clips.csv"
    rows = [
        {"clip": f"clip-{i:04d}", "rung": "neighbour", "nearest_piece": f"p{i % 6}",
         "nearest_start_s": f"{0.1 * i:.1f}", "nearest_file": f"corpora/mine/wav/0000/p{i % 6}.wav"}
        for i in range(CLIPS)
    ]  # fmt: skip
    write_csv(path, COPIES, rows)


def opened_in(path):
    """Seconds from the address to the load event and two frames after it, in a running browser."""
    with launched() as browser, opened(browser, path) as page:
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
        return time.perf_counter() - start
