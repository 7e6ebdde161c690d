"""Tune groups against what the chorales are called: the default corpus, as it is exported."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import defaultdict

import numpy as np
import pytest

from etude.config import Music21Corpus, Split
from etude.corpus import scores
from etude.corpus.renditions import Rendition
from etude.corpus.rows import INGEST_COLUMNS
from etude.corpus.scan import choose_files, piece_id
from etude.corpus.split import assign
from etude.corpus.tunes import tune_groups
from etude.midi.notes import notes_hash, read_midi, tune_ngrams

pytestmark = pytest.mark.slow

# Texts that are sung to one tune.
ONE_TUNE = (
    ("O Haupt voll Blut und Wunden", "Befiehl du deine Wege"),
    ("Es ist das Heil uns kommen her", "Sei Lob und Ehr’ dem höchsten Gut"),
    ("Nun ruhen alle Wälder", "O Welt, sieh’ hier dein Leben"),
    ("Ach lieben Christen, seid getrost", "Wär’ Gott nicht mit uns diese Zeit"),
)
# Of texts with several tunes, those pieces that have another than the rest: none of their 8-grams,
# or two, is in any of these.
ANOTHER_TUNE = {"bwv14.5", "bwv24.6", "bwv183.5", "bwv272", "bwv399"}


def plain(title):
    """A title without signs and accents: the lists spell them in several ways."""
    letters = unicodedata.normalize("NFKD", title.lower().replace("ß", "ss"))
    return re.sub("[^a-z]", "", letters)


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    """(name, tune by title, notes) of the default corpus's pieces whose title has several."""
    folder, titles = tmp_path_factory.mktemp("chorales"), scores.titles()
    inside, names = scores.LISTS["chorales"]
    chosen = choose_files([name.replace(".mxl", ".mid") for name in names], 160)
    tunes = {plain(b): plain(a) for a, b in ONE_TUNE}
    of_title = defaultdict(list)
    for target in chosen:
        name = target.removesuffix(".mid")
        if name in titles and name not in ANOTHER_TUNE:
            title = plain(titles[name])
            of_title[tunes.get(title, title)].append(target)
    found = []
    for tune, members in of_title.items():
        for target in members if len(members) > 1 else ():
            job = Rendition(target.replace(".mid", ".mxl"), target, (0,))
            assert not scores.export_score(scores.corpus_folder() / inside, folder, job)
            found.append((target, tune, read_midi(folder / target)))
    return found


def grouped(chorales, similarity):
    """Shares of pairs that are in one group: of one tune, of two."""
    labels = tune_groups([tune_ngrams(table) for *_, table in chorales], similarity)
    together = defaultdict(list)
    for (i, one), (j, other) in itertools.combinations(enumerate(chorales), 2):
        together[one[1] == other[1]].append(labels[i] == labels[j])
    return np.mean(together[True]), np.mean(together[False]), len(together[True])


def test_the_default_finds_tunes_by_their_titles(chorales):
    found, false, pairs = grouped(chorales, Split().similarity)
    assert pairs > 40
    assert found >= 0.95
    assert false == 0
    assert grouped(chorales, 0.3)[0] < 0.9  # what the first edition had


def test_no_tune_is_on_two_sides(chorales):
    rows = [
        dict.fromkeys(INGEST_COLUMNS, "")
        | {"piece": piece_id(name), "path": name, "kind": "midi", "status": "kept"}
        | {"notes_hash": notes_hash(table), "seconds": "30"}
        for name, _, table in chorales
    ]
    assign(Music21Corpus(), rows, [tune_ngrams(table) for *_, table in chorales])
    sides = defaultdict(set)
    for row, (_, tune, _) in zip(rows, chorales, strict=True):
        sides[tune].add(row["split"])
    assert all(len(found) == 1 for found in sides.values())
    assert {side for found in sides.values() for side in found} == {"train", "valid", "test"}


def test_most_chorales_begin_before_a_bar_line_and_have_four_voices(chorales):
    assert sum(table.upbeat > 0 for *_, table in chorales) > len(chorales) / 2
    assert all(len(np.unique(table.track)) == 4 for *_, table in chorales)
    doubled = [len(table) - len(np.unique(np.stack([table.onset, table.pitch]), axis=1).T)
               for *_, table in chorales]  # fmt: skip
    assert sum(doubled) > 100  # two voices at one pitch: both are there
