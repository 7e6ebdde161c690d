"""The page in short: sounds first, and where each model is between real music and chance."""

import pytest
from pages import report, tone, write_results, write_set

from etude.report.summary import LEFT, RIGHT, read_places

PRIMARY = ("kad", "harmony")


def rows(name="a", n="64", **values):
    """Of leaderboard.csv: each set's value, or value and interval."""
    found = []
    for clips, value in values.items():
        one, low, high = value if isinstance(value, tuple) else (value, "", "")
        cells = {"value": str(one), "ci_low": str(low), "ci_high": str(high), "n": n}
        found.append(
            {"experiment": name, "clips": clips, "metric": "kad", "embedding": "harmony"} | cells
        )
    return found


def place(found, word="holds", least=64):
    (one,) = read_places(found, [("a", word)], PRIMARY, least)
    return one


def test_real_music_is_nothing_and_chance_all_of_the_way():
    table = rows(generated=(3.0, 2.0, 4.0), real=1.0, random_notes=11.0, reconstruction=2.0)
    one = place(table)
    assert (one.share, one.low, one.high) == pytest.approx((0.2, 0.1, 0.3))
    assert one.at == pytest.approx(LEFT + 0.2 * (RIGHT - LEFT))
    assert one.reach == pytest.approx((LEFT + 0.1 * (RIGHT - LEFT), LEFT + 0.3 * (RIGHT - LEFT)))
    assert one.codec == pytest.approx(LEFT + 0.1 * (RIGHT - LEFT))
    assert one.said == "20 % (10 % to 30 %)"


def test_what_is_beyond_either_end_stays_in_the_figure():
    assert place(rows(generated=900.0, real=0.0, random_notes=10.0)).at == 99
    assert place(rows(generated=-900.0, real=0.0, random_notes=10.0)).at == 1


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (
            rows(n="8", generated=3.0, real=1.0, random_notes=11.0),
            "too few clips: 8, 64 are needed",
        ),
        (rows(generated=3.0, real=1.0), "not measured"),
        (rows(generated="", real=1.0, random_notes=11.0), "not measured"),
        (rows(name="b", generated=3.0, real=1.0, random_notes=11.0), "not measured"),
        (rows(generated=3.0, real=11.0, random_notes=11.0), "hears no difference"),
    ],
)
def test_nothing_is_said_that_was_not_measured(found, note):
    one = place(found)
    assert one.share is None
    assert note in one.said


def test_each_verdict_has_words():
    table = rows(generated=3.0, real=1.0, random_notes=11.0)
    said = {word: place(table, word).verdict for word in ("holds", "fails", "undecided", "n/a")}
    assert len(set(said.values())) == 4
    assert said["holds"].startswith("clearly better")


@pytest.mark.slow
def test_the_page_begins_with_sounds_and_figures_come_behind_them(tmp_path):
    results = tmp_path / "results"
    write_results(results)
    write_set(results / "clips/audiolm/baselines/random_notes", [tone(5), tone(6)])
    report(results, ["audiolm"], results / "report")
    page = (results / "report/index.html").read_text(encoding="utf-8")
    parts = ("summary", "verdict", "listen", "leaderboard", "differences", "method")
    order = [page.index(f'<section id="{name}"') for name in parts]
    assert order == sorted(order)
    top = page[: page.index('<section id="verdict"')]
    assert [kind for kind in ("generated", "real", "chance") if f'aria-label="{kind} ' in top] == [
        "generated",
        "real",
        "chance",
    ]
    for word in ("FAD", "KAD", "gate"):
        assert word not in page[page.index('<section id="summary"') : page.index("<figure class=")]


def test_clips_of_its_own_concepts_have_no_place_among_all_music():
    """Words that were learned are judged by likelihood; music of all sounds is no measure of them."""
    table = rows(generated=3.0, real=1.0, random_notes=11.0)
    one = place([row | {"system": "textual_inversion"} for row in table])
    assert one.share is None
    assert "its own concepts" in one.said
    assert place([row | {"system": "musicgen"} for row in table]).share == pytest.approx(0.2)
