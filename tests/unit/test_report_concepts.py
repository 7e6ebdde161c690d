"""The page's section on learned words: rows a word by concepts, over trainings, with controls."""

import pages
import pytest

from etude.metrics.concepts import COLUMNS
from etude.report.concepts import read_words
from etude.storage import write_csv

NAMES = ("real", "null", "nearest", "untrained", "wrong", "learned")


def write_words(
    results, name, tokens, seed, worth, ends=-0.01, concepts=("drone", "bell"), primary=""
):
    """concept.csv of a training: `worth` nats of each word; `ends` of the intervals of controls."""
    rows = [
        dict.fromkeys(COLUMNS, "")
        | {"concept": concept, "tokens": tokens, "condition": condition, "text": "", "note": ""}
        | (
            {
                "primary_metric": primary and "harmony kad",
                "primary": primary,
                "against_null": worth,
                "ci_low": worth - 0.01,
                "ci_high": worth + 0.01,
                "distance": 20,
            }
            if condition == "learned"
            else {"word_ci_low": -0.2, "word_ci_high": ends, "word_less": -0.1, "pieces": 9}
            if condition != "real"
            else {"note": "the codec cannot say it"}
        )
        for concept in concepts
        for condition in NAMES
    ]
    path = results / f"metrics/{name}/seed-{seed}/concept.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, COLUMNS, rows)
    return path


def test_the_table_of_rows_by_concepts(tmp_path):
    """Ordered by rows, means over trainings; a word that one control bears has not beaten all."""
    paths = [
        write_words(tmp_path, "twenty", 20, 0, -0.3),
        write_words(tmp_path, "one", 1, 0, -0.1, ends=0.001),
        write_words(tmp_path, "five", 5, 0, -0.2),
        write_words(tmp_path, "five", 5, 1, -0.4, concepts=("drone",)),
    ]
    found = read_words(paths)
    assert found.concepts == ["drone", "bell"]
    assert [word for word, _ in found.grid] == [("one", "1"), ("five", "5"), ("twenty", "20")]
    (one, _), (five, bell), (twenty, _) = (cells for _, cells in found.grid)
    assert (one.value, one.beaten, one.distance) == (-0.1, False, 20)
    assert (five.value, five.low, five.high) == (pytest.approx(-0.3), -0.4, -0.2)
    assert (five.trainings, bell.trainings, bell.value) == (2, 1, -0.2)
    assert (twenty.low, twenty.high, twenty.beaten) == (-0.31, -0.29, True)
    assert found.shown == ["distance"]
    assert found.primary == ""
    assert read_words([]) is None


def test_known_words_of_a_base_are_beside_the_table(tmp_path):
    """They are the ceiling: in its rows, not in the table of new words."""
    base = write_words(tmp_path, "base", 0, 0, -0.5, concepts=("piano",), primary=4.5)
    alone = read_words([base])
    assert (alone.concepts, alone.grid) == ([], [])
    both = read_words([base, write_words(tmp_path, "five", 5, 0, -0.2)])
    assert both.concepts == ["drone", "bell"]
    assert [word for word, _ in both.grid] == [("five", "5")]
    assert set(both.rows) == {"base", "five"}
    assert (both.primary, both.shown) == ("harmony kad", ["distance", "primary"])


@pytest.mark.slow
def test_the_page_has_them(tmp_path):
    results = tmp_path / "results"
    pages.write_results(results)
    name = "audiolm"
    pages.report(results, [name], tmp_path / "plain")
    assert 'id="words"' not in (tmp_path / "plain/index.html").read_text(encoding="utf-8")
    path = write_words(results, name, 5, 0, -0.25)
    pages.report(results, [name], tmp_path / "page", concepts=[path])
    text = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert 'href="#words"' in text
    assert "−0.250" in text
    assert "all controls beaten" in text
    assert "the codec cannot say it" in text
