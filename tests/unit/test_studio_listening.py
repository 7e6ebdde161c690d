"""Blind pairs: which come, how they sound, what is kept of the answers; the results of a run."""

import csv
import io
from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest
import soundfile
from refused import refused
from studio import ROOT, open_studio, serving

from etude.metrics.loudness import integrated
from etude.results.preference import BROKEN, read_ratings
from etude.storage import write_csv
from etude.studio.pairs import ClipPair, Item, Test, broken, write_pair

RATES = {"real": 44100, "one": 24000, "two": 16000}


def clips(folder, count=4, rate=24000, loud=0.2, prompts=None, seconds=1.5):
    folder.mkdir(parents=True)
    rows = [{"clip": f"clip-{i:04d}", "file": f"clip-{i:04d}.wav"} for i in range(count)]
    for i, row in enumerate(rows):
        wave = loud * np.sin(np.arange(round(seconds * rate)) * (0.05 + i / 50))
        soundfile.write(folder / row["file"], wave, rate)
    write_csv(folder / "clips.csv", ["clip", "file"], rows)
    if prompts:
        asked = [row | {"prompt": prompts[i % len(prompts)]} for i, row in enumerate(rows)]
        write_csv(folder / "conditions.csv", ["clip", "file", "prompt"], asked)


@pytest.fixture
def results(tmp_path):
    home = tmp_path / "results"
    for name in ("one", "two"):
        clips(
            home / f"clips/{name}/seed-0/draw-0",
            rate=RATES[name],
            loud=0.1 if name == "one" else 0.6,
        )
        clips(home / f"clips/{name}/baselines/reference", rate=44100, seconds=3)
    return home


def test_systems_are_asked_about_equally_and_sides_are_by_chance(results):
    test, random, asked, sides = Test.of_run(results), Random(0), [], Counter()
    assert test.systems == ["one", "real", "two"]
    for _ in range(60):
        pair = test.draw(asked, random)
        assert pair.a.system != pair.b.system
        asked.append((pair.a.key, pair.b.key))
        sides[pair.a.system] += 1
    counts = Counter(frozenset(k.split("/")[0] for k in pair) for pair in asked)
    assert set(counts.values()) == {20}
    used = Counter(key for pair in asked for key in pair)
    assert max(used.values()) - min(used.values()) <= 1, "and so are their clips"
    assert min(sides.values()) > 10


def test_a_pair_is_of_one_condition(tmp_path):
    home = tmp_path / "results"
    for name in ("one", "two"):
        clips(home / f"clips/{name}/seed-0/draw-0", prompts=["a flute", "a drum"])
    clips(home / "clips/one/baselines/reference")
    test = Test.of_run(home)
    assert test.systems == ["one", "two"], "real music was asked for nothing"
    for seed in range(10):
        pair = test.draw([], Random(seed))
        assert pair.a.condition == pair.b.condition != ""


def test_nothing_to_compare(tmp_path):
    clips(tmp_path / "results/clips/one/seed-0/draw-0")
    with refused("nothing-to-listen-to"):
        Test.of_run(tmp_path / "results")


def test_both_sides_are_as_long_and_as_loud_and_of_one_rate(results, tmp_path):
    test = Test.of_run(results)
    for x, y in pairwise(("one", "two", "real", "one")):
        pair = ClipPair(test.items[f"{x}/clip-0000"], test.items[f"{y}/clip-0001"])
        files = [tmp_path / "a.wav", tmp_path / "b.wav"]
        assert write_pair(pair, *files) == pytest.approx(1.5)
        (a, rate), (b, other) = (soundfile.read(file) for file in files)
        assert rate == other == min(RATES[x], RATES[y])
        assert len(a) == len(b) == round(1.5 * rate)
        assert files[0].stat().st_size == files[1].stat().st_size
        assert integrated(a, rate) == pytest.approx(integrated(b, rate), abs=0.3)
        assert abs(a[0]) < 1e-3 > abs(b[0])


def test_a_loud_pair_stays_equally_loud(tmp_path):
    rate = 24000
    spikes = np.zeros(rate)
    spikes[::2400] = 0.9  # a peak far above its loudness
    soundfile.write(tmp_path / "s.wav", spikes, rate)
    soundfile.write(tmp_path / "t.wav", 0.3 * np.sin(np.arange(rate) / 10), rate)
    pair = ClipPair(*(Item(name, "c", "", tmp_path / f"{name}.wav") for name in "st"))
    write_pair(pair, tmp_path / "a.wav", tmp_path / "b.wav")
    a, b = (soundfile.read(tmp_path / f"{side}.wav")[0] for side in "ab")
    assert np.abs(a).max() < 0.99
    assert integrated(a, rate) == pytest.approx(integrated(b, rate), abs=0.5)


def test_broken_music_is_the_same_sound_in_another_order():
    wave = np.random.default_rng(0).normal(size=24000)
    again = broken(wave, 24000, "clip")
    assert np.sort(again) == pytest.approx(np.sort(wave))
    assert np.abs(again - wave).max() > 1
    assert (broken(wave, 24000, "clip") == again).all()


@pytest.fixture
def client(results, tmp_path):
    state = open_studio(
        tmp_path,
        {"pairs": 4, "catch_pairs": 1},
        devices=(),
        codes=(None, "operate"),
        results=results,
        test=Test.of_run(results),
    )
    with serving(state) as found:
        found.state = state
        yield found


def answered(client, value, **more):
    pair = client.get("/api/listen/next").json()
    said = client.post(
        f"/api/listen/{pair['pair']}", json={"answer": value, "heard": [3, 3]} | more
    )
    return pair, said


def test_a_listener_hears_her_pairs_and_no_more(client):
    first = client.get("/api/listen/next").json()
    assert client.get("/api/listen/next").json() == first, "it waits for its answer"
    assert set(first) == {"pair", "number", "of", "seconds", "hear"}, "nothing says what it is"
    a, b = (client.get(f"/api/listen/{first['pair']}/{side}.wav") for side in "ab")
    assert len(a.content) == len(b.content)
    kept = [
        {k: v for k, v in said.headers.items() if k not in ("etag", "last-modified")}
        for said in (a, b)
    ]
    assert kept[0] == kept[1]
    numbers = [answered(client, -1)[0]["number"] for _ in range(5)]
    assert numbers == [1, 2, 3, 4, 5]
    assert client.get("/api/listen/next").json() == {"done": True, "of": 5}
    assert client.get(f"/api/listen/{first['pair']}/a.wav").status_code == 404, "it is gone"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "more", "status"),
    [(3, {}, 422), (True, {}, 422), ("1", {}, 422), (1.5, {}, 422), (1, {"heard": [0, 3]}, 422), (1, {"heard": "x"}, 422), (None, {"heard": [0, 0]}, 200), (2, {}, 200)],
)  # fmt: skip
def test_answers(client, value, more, status):
    pair, said = answered(client, value, **more)
    assert said.status_code == status
    if status == 200:
        again = client.post(f"/api/listen/{pair['pair']}", json={"answer": 1, "heard": [3, 3]})
        assert again.status_code == 409


def test_anothers_pair_is_not_there(client):
    pair = client.get("/api/listen/next").json()["pair"]
    client.cookies.clear()
    client.get("/")
    assert client.get(f"/api/listen/{pair}/a.wav").status_code == 404
    assert (
        client.post(f"/api/listen/{pair}", json={"answer": 1, "heard": [3, 3]}).status_code == 404
    )


@pytest.mark.slow
def test_from_ratings_to_statistics(client, tmp_path):
    """Six people who always prefer the clip of `two`, whichever side it is on."""
    for _ in range(6):
        client.cookies.clear()
        client.get("/")
        for _ in range(5):
            pair = client.get("/api/listen/next").json()["pair"]
            row = client.state.store.row("SELECT * FROM pairs WHERE id = ?", pair)
            wanted = "real" if row["catch"] else "two"
            liked = [side for side in "ab" if row[side].startswith(wanted)]
            better = {"a": -2, "b": 2}[liked[0]] if liked else 0
            assert (
                client.post(
                    f"/api/listen/{pair}", json={"answer": better, "heard": [3, 3]}
                ).status_code
                == 200
            )
    assert client.get("/api/listen/statistics").status_code == 403
    assert client.get("/api/listen/ratings.csv").status_code == 403
    client.post("/api/enter", json={"code": "operate"})
    found = client.get("/api/listen/statistics").json()
    assert (found["listeners"], found["catches"], found["caught"]) == (6, 6, 6)
    systems = {one["system"]: one for one in found["systems"]}
    assert systems["two"]["low"] > 50
    assert systems["one"]["low"] < 50 < systems["one"]["high"]
    text = client.get("/api/listen/ratings.csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 30
    assert sum(row["catch"] == "1" for row in rows) == 6
    assert all(BROKEN in (row["a"], row["b"]) for row in rows if row["catch"] == "1")
    (tmp_path / "r.csv").write_text(text)
    read = read_ratings([tmp_path / "r.csv"])
    assert (len(read.listeners), len(read.kept), read.left_out) == (6, 24, {})


def test_who_sits_at_the_machine_is_the_operator_where_there_is_no_code(tmp_path):
    for at_home, codes, right in (
        (True, (None, None), True),
        (False, (None, None), False),
        (True, (None, "operate"), False),
    ):
        state = open_studio(tmp_path, devices=(), codes=codes)
        state.door.at_home = at_home
        with serving(state, client=("127.0.0.1", 5)) as client:
            assert client.get("/api/me").json()["operator"] == right
        with serving(state, client=("192.0.2.1", 5)) as client:
            assert not client.get("/api/me").json()["operator"]


def test_results_say_which_way_is_better(tmp_path, results):
    from etude.results.leaderboard import COLUMNS

    row = dict.fromkeys(COLUMNS, "") | {
        "experiment": "one",
        "clips": "generated",
        "metric": "kad",
        "value": "2",
    }
    write_csv(results / "leaderboard.csv", COLUMNS, [row, row | {"metric": "et_grid"}])
    with serving(open_studio(tmp_path, devices=(), results=results)) as client:
        found = client.get("/api/results").json()
        assert found["better"] == {"kad": "lower is better", "et_grid": "higher is better"}
        assert found["rows"][0]["value"] == "2"
    with serving(open_studio(tmp_path, devices=())) as client:
        assert client.get("/api/results").status_code == 404
    assert ROOT.is_dir()


def test_a_page_has_the_pairs_and_not_what_stands_behind_them(results, tmp_path, monkeypatch):
    from etude.__main__ import main

    monkeypatch.chdir(tmp_path)
    words = ["listen", "--page", "jury", "--results", str(results), "--pairs", "6"]
    assert main(words) == 0
    page = (tmp_path / "jury/index.html").read_text()
    assert not [word for word in ("real", "broken", "seed-0") if f'"{word}"' in page]
    assert len(list((tmp_path / "jury").glob("*.wav"))) == 16
    (key,) = (results / "listening/pages").glob("*.csv")
    assert key.stem in page
    with key.open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["catch"] for row in rows) == {"0": 6, "1": 2}
    assert main(words) == 1, "nothing that is there is overwritten"
    sent = ["listener,page,pair,answer,heard_s"]
    for row in rows:
        broken_side = next((side for side in "ab" if row[side] == BROKEN), "b")
        sent.append(f"me,{key.stem},{row['pair']},{2 if broken_side == 'a' else -2},6.0")
    (tmp_path / "back.csv").write_text("\n".join(sent) + "\n")
    found = read_ratings([tmp_path / "back.csv"], results / "listening/pages")
    assert (len(found.kept), found.caught, found.catches) == (6, 2, 2)
