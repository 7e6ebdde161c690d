"""The report page: complete, static, escaped, and there whatever is missing."""

import json
import os
import re
import select
import shutil
import subprocess
import time
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from etude.metrics.score import COLUMNS, SIGNAL_COLUMNS
from etude.report.figures import in_order
from etude.report.page import Made, build_report
from etude.report.runtimes import read_runtimes
from etude.storage import write_csv, write_json, write_text

RATE = 24000
HISTORY = ["step", "train_loss", "valid_loss", "accuracy"]
NASTY = "<script>alert('x')</script> & Été.mid"
DISTANCES = {
    "generated": 9.4, "real": 8.1, "reconstruction": 5.2, "shuffled": 27.1, "untrained": 34.3,
    "noise": 187.0,
}  # fmt: skip
HARMONY = {"real": 0.95, "reconstruction": 0.94, "shuffled": 0.69, "untrained": 0.67, "noise": 0.5}


# ---------------------------------------------------------------------- a small tree of results


def tone(seed, seconds=1.0, level=0.1):
    """A few harmonics, fading."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.zeros_like(time)
    for note in generator.integers(48, 72, 4):
        start = generator.uniform(0, seconds / 2)
        hertz = 440 * 2 ** ((note - 69) / 12)
        fade = np.exp(-2 * (time - start).clip(0)) * (time >= start)
        wave += sum(np.sin(2 * np.pi * hertz * k * time) * fade / k**1.5 for k in range(1, 9))
    return level * wave


def write_set(folder, waves, rows=None, note=""):
    folder.mkdir(parents=True)
    names = [f"clip-{i:04d}" for i in range(len(waves))]
    for name, wave in zip(names, waves, strict=True):
        soundfile.write(folder / f"{name}.wav", wave, RATE, subtype="PCM_16")
    plain = [{"clip": name, "file": f"{name}.wav"} for name in names]
    rows = [base | extra for base, extra in zip(plain, rows or [{}] * len(names), strict=True)]
    columns = ["clip", "file", "piece", "start_s", "ended", "prime_seconds", "source"]
    write_csv(folder / "clips.csv", columns, rows)
    write_text(folder / "note.txt", note)
    return names


def write_scores(results, experiment, system, draw="seed-0/draw-0", distances=DISTANCES, **over):
    seed, number_ = (part.split("-")[1] for part in draw.split("/"))
    common = {
        "experiment": experiment, "system": system, "reference": "mine test", "split": "test",
        "train_seed": seed, "draw": number_, "config_hash": "c0ffee", "data_hash": "da7a" * 16,
    }  # fmt: skip
    rows = []
    for clips, value in distances.items():
        rows += [
            {"clips": clips, "metric": "et_grid", "value": HARMONY.get(clips, 0.91), "n": 20},
            {"clips": clips, "metric": "flatness_db", "value": -27.0, "n": 20},
            {"clips": clips, "metric": "silent", "value": 0, "n": 20},
        ]
        cell = {"note": "n/a: no valid split"} if value is None else {"value": value}
        embedded = {"metric": "frechet_distance", "embedding": "logmel", "n": 20}
        rows.append({"clips": clips} | embedded | cell | over)
    missing = {"clips": "generated", "metric": "frechet_distance", "embedding": "clap-x"}
    rows.append(missing | {"note": "not run: needs weights & patience"})
    write_csv(
        results / "metrics" / experiment / draw / "fad.csv", COLUMNS, (common | r for r in rows)
    )


def write_signals(path, kind, names, odd=()):
    rows = [
        {"clips": kind, "clip": n, "et_grid": 0.4 if n in odd else 0.9, "flatness_db": -25,
         "level_db": -80 if n == "clip-0001" else -20}
        for n in names
    ]  # fmt: skip
    write_csv(path, SIGNAL_COLUMNS, rows)


def write_corpus(results):
    pieces = [
        {"piece": f"p{i}", "path": f"a/p{i}.mid", "kind": "midi", "seconds": 60, "status": "kept",
         "tune_group": f"g{i // 2}", "split": ("train", "train", "valid", "test")[i % 4],
         "composer": NASTY if i == 0 else "Clara"}
        for i in range(8)
    ]  # fmt: skip
    bad = {"kind": "midi", "status": "rejected"}
    pieces += [
        bad | {"piece": "x", "path": NASTY, "reason": "corrupt_midi: not a MIDI file"},
        bad | {"piece": "y", "path": "y.mid", "reason": "duplicate_of:p0"},
    ]
    columns = ["piece", "path", "kind", "seconds", "status", "reason", "composer", "tune_group"]
    folder = results / "corpora" / "mine"
    write_csv(folder / "pieces.csv", [*columns, "split"], pieces)
    render = {"fluidsynth": "2.3.4", "settings": {"gain": 0.2}, "soundfont": "TimGM6mb.sf2"}
    write_json(folder / "wav" / "0000" / "render.json", render)
    index = [{"piece": "p7", "status": "rejected", "reason": "silent"}]
    write_csv(folder / "wav" / "0000" / "index.csv", list(index[0]), index)
    write_json(folder / "wav" / "0001" / "render.json", {"rendered": False})
    segments = [{"segment": f"p0_{i}", "seconds": 2, "status": "kept"} for i in range(30)]
    reasons = ["blank_segment:rms=12", "blank_segment:rms=3", "too_short"]
    segments += [{"segment": "z", "status": "rejected", "reason": r} for r in reasons]
    columns = ["segment", "seconds", "status", "reason"]
    write_csv(results / "cuts/mine/two_seconds/0000/index.csv", columns, segments)


def write_models(results, experiment, seeds=(0,)):
    for stage, low in (("semantic", 0.9), ("coarse", 2.1), ("fine", 2.6)):
        for seed in seeds:
            folder = results / "models" / experiment / stage / f"seed-{seed}"
            history = [
                {"step": s, "train_loss": low + 3 * np.exp(-s / 60) + 0.05 * int(seed),
                 "valid_loss": low + 0.1 + 3 * np.exp(-s / 55) if s % 50 == 0 else "",
                 "accuracy": 0.5 if s % 50 == 0 else ""}
                for s in range(10, 301, 10)
            ]  # fmt: skip
            write_csv(folder / "history.csv", HISTORY, history)
            timings = [{"step": 300, "seconds": 61.5, "tokens_per_second": 12345.6}]
            write_csv(folder / "timings.csv", list(timings[0]), timings)


def write_results(results, clips=20, draws=("seed-0/draw-0",), seconds=1.0):
    """Everything that a run of one AudioLM experiment leaves behind."""
    root = results / "clips" / "audiolm"
    for number_, draw in enumerate(draws):
        waves = [tone(100 * number_ + i, seconds) for i in range(clips)]
        if clips > 1:
            waves[1] = np.zeros(round(seconds * RATE))
        rows = [
            {"ended": "true" if i == 2 else "false", "prime_seconds": "0"} for i in range(clips)
        ]
        names = write_set(root / draw, waves, rows)
        write_signals(
            results / "metrics/audiolm" / draw / "signals.csv", "generated", names, ["clip-0003"]
        )
        write_scores(results, "audiolm", "audiolm", draw)
    origin = [{"piece": f"p{i}", "start_s": 4.0 * i} for i in range(4)]
    for name, shift in (("real", 0), ("reconstruction", 0), ("shuffled", 50), ("untrained", 80)):
        waves = [tone(900 + shift + i, seconds) for i in range(4)]
        write_set(root / "baselines" / name, waves, origin if shift == 0 else None)
    noise = np.random.default_rng(0).standard_normal((3, round(seconds * RATE))) * 0.1
    write_set(root / "baselines" / "noise", list(noise))
    write_models(results, "audiolm", {draw.split("/")[0].split("-")[1] for draw in draws})
    write_corpus(results)
    head = "s\th:m:s\tmax_rss\n"
    write_text(
        results / "benchmarks/train_stage/audiolm/fine/seed-0.tsv", f"{head}61.5\t0\t900.5\n"
    )
    write_text(results / "benchmarks/train_stage/audiolm/coarse/seed-0.tsv", f"{head}30\t0\tNA\n")
    write_text(results / "benchmarks/render_midi/mine/0000.tsv", f"{head}8.5\t0\t100\n")
    write_text(results / "benchmarks/render_midi/other/0000.tsv", f"{head}9999\t0\t100\n")
    write_text(results / "fad.txt", "experiment <audiolm>\ngate: holds (…)\n")
    splits = {"train": {"items": 30, "pieces": 4}}
    info = {"data_hash": "da7a" * 16, "splits": splits}
    write_json(results / "packed/mine/embedded/info.json", info)


def everything(results, run, **over):
    """All that lies in a folder of results, as if one run had made it."""
    patterns = {
        "tables": [f"metrics/{name}/seed-*/draw-*/fad.csv" for name in run],
        "histories": [f"models/{name}/*/seed-*/history.csv" for name in run],
        "pieces": ["corpora/*/pieces.csv"],
        "wav": ["corpora/*/wav/*"],
        "cuts": ["cuts/*/*/*"],
        "packed": ["packed/*/*"],
    }
    found = {
        key: in_order(p for g in globs for p in results.glob(g)) for key, globs in patterns.items()
    }
    return Made(**found | over)


def report(results, run, folder, **over):
    build_report(results, run, folder, everything(results, run, **over))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a page of a whole run."""
    results = tmp_path_factory.mktemp("run") / "results"
    write_results(results)
    report(results, ["audiolm"], results / "report")
    return results / "report"


@pytest.fixture
def page(built):
    return (built / "index.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Attributes of all elements, ids, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def text_of(page):
    return " ".join("".join(Reader(page).text).split())


# ------------------------------------------------------------------------------------- the page


def test_page_is_well_formed_and_its_links_lead_somewhere(built, page):
    reader = Reader(page)
    assert not reader.open
    ids = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a.get("href") or a.get("src") for _, a in reader.elements]
    for link in filter(None, links):
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (built / link).is_file(), link


def test_page_needs_no_network(page):
    without_namespace = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//cdn|@import|fetch\(|XMLHttp", without_namespace)


def test_page_says_the_verdict_in_words(page):
    text = text_of(page)
    assert "The gate holds." in text
    assert "1.16 times as far from held-out music as other real music is" in text
    assert "FD 9.40 < 0.7 x 27.10 (shuffled) = 18.97" in text
    assert "Not run: needs weights & patience" in text
    assert "No clip is silent." in text


def test_everything_of_the_users_is_escaped(page):
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; Été.mid" in page
    assert len(re.findall("<script>", page)) == 1


def test_every_player_has_a_name_a_picture_and_sound(built, page):
    reader = Reader(page)
    sounds, pictures = reader.all("audio"), reader.all("img")
    assert len(sounds) == len(pictures) == 16 + 2 * 4 + 3 * 2
    assert all(s["aria-label"] and "controls" in s for s in sounds)
    assert all(p["alt"].startswith("Spectrogram of") for p in pictures)
    assert len(list(built.glob("media/audiolm/seed-0-draw-0/*.flac"))) == 20
    for path in built.glob("media/**/*.png"):
        assert path.stat().st_size < 32_000


def test_flac_holds_the_same_samples(built):
    wav = built.parent / "clips/audiolm/seed-0/draw-0/clip-0000.wav"
    flac = built / "media/audiolm/seed-0-draw-0/0000.flac"
    assert soundfile.info(flac).subtype == "PCM_16"
    samples = [soundfile.read(path, dtype="int16")[0] for path in (wav, flac)]
    np.testing.assert_array_equal(*samples)
    assert flac.stat().st_size < 0.8 * wav.stat().st_size


def test_odd_clips_are_flagged(page):
    assert page.count("ends\N{NO-BREAK SPACE}by\N{NO-BREAK SPACE}itself") == 1
    captions = re.findall(r"<figcaption>.*?</figcaption>", page, re.DOTALL)
    flagged = {
        re.search(r"clip-\d+", c)[0]: re.findall(r'flag">(.*?)<', c)
        for c in captions
        if "flag" in c
    }
    assert flagged == {
        "clip-0001": ["silent"],
        "clip-0003": ["harmony unlike the others"],
    }


def test_corpus_is_counted(page):
    text = text_of(page)
    assert "corrupt_midi the MIDI cannot be read" in text
    assert "30 segments kept, 1.0 minutes; 3 left out." in text
    assert "2 blank_segment" in text
    assert "duplicate_of" in text
    assert "Kept, but without audio 1 silent no sound at all p7" in text
    assert "composer" in text
    assert "TimGM6mb.sf2" in text


def test_run_times_are_of_this_run(page):
    text = text_of(page)
    assert "3 jobs, 1 min 40 s of jobs" in text
    assert "9,999" not in text


def test_same_results_give_the_same_bytes(built, tmp_path):
    report(built.parent, ["audiolm"], tmp_path)
    for path in [p for p in built.rglob("*") if p.is_file()]:
        assert (tmp_path / path.relative_to(built)).read_bytes() == path.read_bytes()


# ---------------------------------------------------------------------------- what may be missing


def test_page_of_nothing(tmp_path):
    report(tmp_path / "results", ["audiolm", "other"], tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert text.count("There are no figures of this experiment.") == 2
    assert (tmp_path / "report" / "media").is_dir()


def test_page_of_a_run_that_has_distances_only(tmp_path):
    write_scores(tmp_path, "audiolm", "audiolm")
    report(tmp_path, ["audiolm"], tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert "The gate holds." in text
    assert "There are no clips." in text


def test_tiny_corpus_says_why_sets_are_empty(tmp_path):
    distances = DISTANCES | {"generated": None, "real": None}
    write_scores(tmp_path, "audiolm", "audiolm", distances=distances)
    baselines = tmp_path / "clips/audiolm/baselines"
    write_set(baselines / "real", [], note="no valid split: too few tune groups\n")
    write_set(baselines / "reconstruction", [tone(1)])
    report(tmp_path, ["audiolm"], tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert "The gate cannot be decided: no valid split" in text
    assert "real: no valid split: too few tune groups" in text


def test_external_experiment_is_measured_not_judged(tmp_path):
    write_scores(tmp_path, "theirs", "external", distances={"generated": 12.0, "real": 8.0})
    folder = tmp_path / "clips/theirs/seed-0/draw-0"
    write_set(folder, [tone(0)], [{"source": NASTY}])
    write_csv(folder / "rejected.csv", ["path", "reason"], [{"path": NASTY, "reason": "odd"}])
    report(tmp_path, ["theirs"], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    text = text_of(page)
    assert "measured, not judged" in text
    assert "1 file of the folder could not be used" in text
    assert "<script>alert" not in page
    assert "Training of" not in text


def test_clip_that_cannot_be_read_is_named(tmp_path):
    folder = tmp_path / "clips/audiolm/seed-0/draw-0"
    write_scores(tmp_path, "audiolm", "audiolm")
    write_set(folder, [tone(0), np.zeros(0), tone(2)])
    (folder / "clip-0000.wav").write_bytes(b"RIFF nothing")
    (folder / "clip-0002.wav").unlink()
    report(tmp_path, ["audiolm"], tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert text.count("cannot be played") == 2


def test_broken_cells_are_dashes(tmp_path):
    write_scores(tmp_path, "audiolm", "audiolm")
    folder = tmp_path / "models/audiolm/fine/seed-0"
    rows = [{"step": 10, "train_loss": "nan"}, {"step": "", "train_loss": "2"}]
    write_csv(folder / "history.csv", HISTORY, rows)
    write_csv(tmp_path / "benchmarks/x.tsv", ["s"], [{"s": "-"}])
    report(tmp_path, ["audiolm"], tmp_path / "report")
    assert "–" in (tmp_path / "report" / "index.html").read_text()


def test_seeds_share_a_block_and_must_all_hold(tmp_path):
    draws = [f"seed-{s}/draw-{d}" for s in (9, 10) for d in (0, 1)]
    for draw in draws:
        write_scores(tmp_path, "audiolm", "audiolm", draw)
    bad = DISTANCES | {"generated": 25.0}
    write_scores(tmp_path, "audiolm", "audiolm", draws[2], bad)
    report(tmp_path, ["audiolm"], tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert "The gate fails: 3 of 4 sets of clips pass." in text
    assert text.index("seed 9, draw 1") < text.index("seed 10, draw 0")


def test_tables_name_the_run(tmp_path):
    """What an earlier run with more seeds left behind is not shown."""
    for seed in (0, 1):
        write_scores(tmp_path, "audiolm", "audiolm", f"seed-{seed}/draw-0")
    tables = [tmp_path / "metrics/audiolm/seed-1/draw-0/fad.csv"]
    report(tmp_path, ["audiolm"], tmp_path / "report", tables=tables)
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert "The gate holds." in text
    assert "seed 0" not in text


def test_leftovers_are_not_counted(tmp_path):
    """What lies in the folders from earlier runs: more shards, other cuts, another seed."""
    results = tmp_path / "results"
    write_results(results, clips=2)
    old = [{"segment": f"old_{i}", "seconds": 2, "status": "kept"} for i in range(1000)]
    for folder in ("two_seconds/0007", "forgotten/0000"):
        write_csv(results / "cuts/mine" / folder / "index.csv", list(old[0]), old)
    lost = [{"piece": "old", "status": "rejected", "reason": "silent"}] * 77
    write_csv(results / "corpora/mine/wav/0007/index.csv", list(lost[0]), lost)
    write_models(results, "audiolm", (5,))
    write_json(results / "packed/mine/forgotten/info.json", {})
    for name in ("ingest_corpus/mine/0007", "cut_segments/mine/forgotten/0000"):
        write_text(results / f"benchmarks/{name}.tsv", "s\th:m:s\tmax_rss\n9999\t0\t100\n")
    made = {
        "histories": list(results.glob("models/audiolm/*/seed-0/history.csv")),
        "wav": [results / "corpora/mine/wav" / shard for shard in ("0000", "0001")],
        "cuts": [results / "cuts/mine/two_seconds/0000"],
        "packed": [results / "packed/mine/embedded"],
    }
    report(results, ["audiolm"], tmp_path / "now", **made)
    text = text_of((tmp_path / "now/index.html").read_text())
    assert "3 jobs, 1 min 40 s of jobs" in text
    for leftover in ("forgotten", "1,030", "1,000", "77", "9,999"):
        assert leftover not in text, leftover
    report(results, ["audiolm"], tmp_path / "all")
    text = text_of((tmp_path / "all/index.html").read_text())
    assert "forgotten" in text
    assert "1,030" in text


def test_jobs_of_this_run(tmp_path):
    made = {"mine": {"0000", "seed-0", "draw-0", "fine", "baselines"}}
    names = {
        "write_fad": True,
        "build_report": False,
        "fetch_source/mine": True,
        "ingest_corpus/mine/0000": True,
        "ingest_corpus/mine/0007": False,
        "ingest_corpus/other/0000": False,
        "fit_tokenizer/mine/codec": True,
        "embed_clips/mine/seed-0/draw-0/logmel": True,
        "embed_clips/mine/seed-1/draw-0/logmel": False,
        "measure_clips/mine/baselines": True,
        "keep_step/mine/fine/seed-0/step-10": True,
    }
    for name in names:
        write_text(tmp_path / f"benchmarks/{name}.tsv", "s\tmax_rss\n1\t1\n")
    jobs = sum(rule.jobs for rule in read_runtimes(tmp_path, made))
    assert jobs == sum(names.values())


def test_intervals_are_drawn_where_there_are_any(tmp_path):
    write_scores(tmp_path, "audiolm", "audiolm", ci_low=4.0, ci_high=11.0)
    report(tmp_path, ["audiolm"], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert 'class="reach"' in page
    assert "(4.00 to 11.00)" in page
    assert "drawn again and again, lie at 4.0 to 11.0." in text_of(page)


# -------------------------------------------------------------------------------- in a browser


class Browser:
    """Chromium without a window, spoken to by its DevTools protocol over two pipes."""

    def __init__(self, profile):
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            pytest.skip("no chromium here; apt-get install chromium to run this test")
        (read, self.out), (self.inn, write) = os.pipe(), os.pipe()
        switches = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--mute-audio", "--remote-debugging-pipe", f"--user-data-dir={profile}",
        ]  # fmt: skip
        shell = [
            "sh",
            "-c",
            f'exec "$@" 3</dev/fd/{read} 4>/dev/fd/{write}',
            "sh",
            chromium,
            *switches,
        ]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(shell, pass_fds=(read, write), **quiet)
        os.close(read)
        os.close(write)
        self.count, self.rest, self.session, self.events = 0, b"", None, []

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.inn)

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def receive(self):
        while b"\0" not in self.rest:
            assert select.select([self.inn], [], [], 60)[0], "the browser does not answer"
            part = os.read(self.inn, 1 << 16)
            assert part, "the browser has ended"
            self.rest += part
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, path):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        self.until("document.readyState == 'complete'")

    def evaluate(self, code):
        answer = self.call(
            "Runtime.evaluate", expression=code, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, code):
        deadline = time.monotonic() + 30
        while not self.evaluate(code):
            assert time.monotonic() < deadline, f"never true: {code}"
            time.sleep(0.05)

    def press(self, key, text=""):
        about = {"key": key, "code": "Space" if key == " " else key, "text": text}
        about["windowsVirtualKeyCode"] = {" ": 32, "ArrowRight": 39}[key]
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)


@pytest.fixture
def browser(built, tmp_path):
    made = Browser(tmp_path / "profile")
    try:
        made.open(built / "index.html")
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_page_works_in_a_browser(browser):
    screens = "[...document.querySelectorAll('button.screen')]"
    sounds = "[...document.querySelectorAll('audio')]"
    # One player at a time, by mouse and by keyboard.
    browser.evaluate(f"{screens}[4].click()")
    browser.until(f"{sounds}[4].currentTime > 0")
    assert browser.evaluate(f"{screens}[4].getAttribute('aria-pressed')") == "true"
    browser.evaluate(f"{screens}[5].focus()")
    browser.press(" ", " ")
    browser.until(f"{sounds}[5].currentTime > 0")
    assert browser.evaluate(f"{sounds}[4].paused")
    browser.until(f"{sounds}[5].ended || {sounds}[5].paused")
    browser.press("ArrowRight")
    browser.until(f"{sounds}[5].currentTime >= 0.2")
    # Every sound and picture is there and can be decoded.
    browser.evaluate(f"{sounds}.forEach(s => {{ s.preload = 'auto'; s.load(); }})")
    browser.until(f"{sounds}.every(s => s.error || s.readyState == 4)")
    assert browser.evaluate(f"{sounds}.every(s => s.duration > 0.9)")
    browser.until("[...document.images].every(i => i.complete)")
    assert browser.evaluate("[...document.images].every(i => i.naturalWidth == 360)")
    # Sorting.
    column = "[...document.querySelectorAll('#times tbody th')].map(c => c.textContent)"
    assert browser.evaluate(column) == ["train_stage", "render_midi"]
    browser.evaluate("document.querySelectorAll('#times thead button')[2].click()")
    assert browser.evaluate(column) == ["render_midi", "train_stage"]
    # A phone.
    small = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **small)
    assert browser.evaluate("document.scrollingElement.scrollWidth") == 360
    # Nothing went wrong, and nothing was asked of a network.
    methods = {event["method"] for event in browser.events}
    assert not methods & {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}
    asked = [e for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    urls = [event["params"]["request"]["url"] for event in asked]
    assert urls
    assert all(url.startswith(("file:", "data:")) for url in urls)


@pytest.mark.slow
def test_page_plays_without_its_script(browser, built):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.call("Page.reload")
    time.sleep(1)
    browser.until("document.readyState == 'complete'")
    assert browser.evaluate("document.querySelectorAll('button').length") == 0
    shown = "[...document.querySelectorAll('audio')].every(a => a.controls && a.clientHeight > 20)"
    assert browser.evaluate(shown)
