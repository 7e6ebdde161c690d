"""The report page: complete, static, escaped, and there whatever is missing."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from pages import (
    DISTANCES,
    HISTORY,
    NASTY,
    RATES,
    report,
    tone,
    write_models,
    write_results,
    write_scores,
    write_set,
)
from tidy import rival

from etude.config import Evaluation
from etude.report.runtimes import read_runtimes
from etude.storage import write_csv, write_json, write_text


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


@pytest.mark.slow
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


def test_page_opens_with_the_verdict_and_what_it_took(page):
    text = text_of(page)
    assert "The gate holds. Nearer to real music than " in text
    assert (
        "Trained for 300 steps (semantic), 300 steps (coarse), 300 steps (fine), 3 min 04 s" in text
    )
    assert "Configuration: config/config.yaml, embedded." in text
    assert 'dt>silent clips</dt><dd class="bound">at most 4.6 %<' in page
    assert "Not run: needs weights & patience" in text
    opening = text[: text.index("Leaderboard", text.index("Configuration"))]
    for ratio in ("times as far", "×", "goal"):
        assert ratio not in opening


def test_page_tells_each_rate_once(tmp_path):
    """One that does not hold with its limit among the reasons, the others in tiles."""
    rates = [RATES[0] | {"value": 0.5}, *RATES[1:]]
    write_scores(tmp_path, "audiolm", "audiolm", rates=rates)
    report(tmp_path, ["audiolm"], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    text = text_of(page).lower()
    opening = text[: text.index("leaderboard", text.index("configuration"))]
    assert "copies at least 39 % (limit 5.0 %" in opening
    for name in ("copies", "silent clips", "continued beginnings"):
        assert len(re.findall(rf"{name} ?at (most|least)", opening)) == 1, name


@pytest.mark.slow
def test_page_opens_with_a_clip_and_a_real_one_by_chance(tmp_path):
    """Which ones depends on the seed alone: neither the worst nor the first leads."""
    results = tmp_path / "results"
    write_results(results)
    chosen = set()
    for seed in range(6):
        settings = Evaluation(seed=seed)
        report(results, ["audiolm"], tmp_path / "page", settings=settings, configs=["trust"])
        page = (tmp_path / "page/index.html").read_text()
        opening = page[page.index('id="summary"') : page.index('id="verdict"')]
        kinds = re.findall(r'aria-label="(generated|real) (clip-\d+)"', opening)
        assert [kind for kind, _ in kinds] == ["generated", "real"]
        chosen.add(kinds[0][1])
    assert len(chosen) > 2
    assert "config/config.yaml, embedded, then trust." in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rivals", "said", "colour"),
    [
        ([rival("shuffled", 3.0)], "The gate fails. Farther from real music than shuffled", True),
        ([rival("shuffled", -0.5)], "The gate is undecided. Not clearly nearer than", False),
    ],
)
def test_page_has_a_colour_only_where_the_gate_is_decided(tmp_path, rivals, said, colour):
    write_scores(tmp_path, "audiolm", "audiolm", rivals=rivals)
    report(tmp_path, ["audiolm"], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert said in text_of(page)
    (card,) = re.findall(r'<article class="card (\w+)">', page)
    style = page[: page.index("</style>")]
    assert (f".{card} .headline" in style) == (f".card.{card} {{" in style) == colour


def test_everything_of_the_users_is_escaped(page):
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; Été.mid" in page
    assert len(re.findall("<script>", page)) == 1


def test_every_player_has_a_name_a_picture_and_sound(built, page):
    reader = Reader(page)
    sounds, pictures = reader.all("audio"), reader.all("img")
    assert len(sounds) == len(pictures) == 20 + 2 * 4 + 3 * 2 + 2
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
    assert page.count("ends\N{NO-BREAK SPACE}by\N{NO-BREAK SPACE}itself") == 2  # card and table
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
    assert "Notes (notes) 3,200 notes, 3,100 kept (96.88 %); 100 doubled" in text


def test_run_times_are_of_this_run(page):
    text = text_of(page)
    assert "3 jobs, 1 min 40 s of jobs" in text
    assert "9,999" not in text


@pytest.mark.slow
def test_same_results_give_the_same_bytes(built, tmp_path):
    report(built.parent, ["audiolm"], tmp_path)
    for path in [p for p in built.rglob("*") if p.is_file()]:
        assert (tmp_path / path.relative_to(built)).read_bytes() == path.read_bytes()


# ---------------------------------------------------------------------------- what may be missing


@pytest.mark.slow
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


@pytest.mark.slow
def test_tiny_corpus_says_why_sets_are_empty(tmp_path):
    distances = DISTANCES | {"generated": None, "real": None}
    none = [rival("shuffled", None, note="n/a: no valid split")]
    write_scores(tmp_path, "audiolm", "audiolm", distances=distances, rivals=none)
    baselines = tmp_path / "clips/audiolm/baselines"
    write_set(baselines / "real", [], note="no valid split: too few tune groups\n")
    write_set(baselines / "reconstruction", [tone(1)])
    report(tmp_path, ["audiolm"], tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert "The gate cannot be decided. No valid split." in text
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
    assert text.count("cannot be played") == 2 * 2  # in its card's place and in the table


@pytest.mark.slow
def test_broken_cells_are_dashes(tmp_path):
    write_scores(tmp_path, "audiolm", "audiolm")
    folder = tmp_path / "models/audiolm/fine/seed-0"
    rows = [{"step": 10, "train_loss": "nan"}, {"step": "", "train_loss": "2"}]
    write_csv(folder / "history.csv", HISTORY, rows)
    write_csv(tmp_path / "benchmarks/x.tsv", ["s"], [{"s": "-"}])
    report(tmp_path, ["audiolm"], tmp_path / "report")
    assert "–" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.slow
def test_seeds_share_a_block_and_must_all_hold(tmp_path):
    draws = [f"seed-{s}/draw-{d}" for s in (9, 10) for d in (0, 1)]
    for draw in draws:
        write_scores(tmp_path, "audiolm", "audiolm", draw)
    write_scores(tmp_path, "audiolm", "audiolm", draws[2], rivals=[rival("shuffled", 5.0)])
    report(tmp_path, ["audiolm"], tmp_path / "report")
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert "The gate fails: 3 of 4 sets of clips hold." in text
    assert text.index("seed 9, draw 1") < text.index("seed 10, draw 0")


@pytest.mark.slow
def test_tables_name_the_run(tmp_path):
    """What an earlier run with more seeds left behind is not shown."""
    for seed in (0, 1):
        write_scores(tmp_path, "audiolm", "audiolm", f"seed-{seed}/draw-0")
    tables = [tmp_path / "metrics/audiolm/seed-1/draw-0/fad.csv"]
    report(tmp_path, ["audiolm"], tmp_path / "report", tables=tables)
    text = text_of((tmp_path / "report" / "index.html").read_text())
    assert "The gate holds." in text
    assert "seed 0" not in text


@pytest.mark.slow
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
    text = text.split("How it was measured")[0]  # hashes may hold any digits
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


@pytest.mark.slow
def test_how_a_figure_was_fitted_is_a_tooltip(tmp_path):
    fit = "a line in 1/n through 25 subsets of 16 to 64, slope 2.5, R² 0.981"
    write_scores(tmp_path, "audiolm", "audiolm", note=f"{fit}; 1 clips are silent")
    report(tmp_path, ["audiolm"], tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert f'title="{fit}"' in page
    assert "line in 1/n" not in text_of(page)
    assert "1 clips are silent" in text_of(page)
