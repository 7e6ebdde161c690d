"""Who owns what: tables as people write them, consent before anything runs, shares by minutes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from etude import config
from etude.config import FolderCorpus
from etude.corpus.consent import check_run
from etude.corpus.ingest import ingest_shard
from etude.corpus.licences import licence
from etude.corpus.owners import Owners, count_owners, write_owners
from etude.corpus.ownership import check_consent, read_ownership
from etude.corpus.scan import choose_files
from etude.errors import UserError
from etude.storage import read_csv, write_csv

HEAD = "file,contributor,licence,share,consent_date,may_train,may_publish"
AGREED = "CC-BY-4.0,,2026-03-01,yes,yes"
FILES = ["a/one.wav", "a/two.wav", "b/drei für.wav"]


def table(folder, *rows, head=HEAD, **how):
    path = folder / "ownership.csv"
    path.write_text("\n".join([head, *rows]) + "\n", **{"encoding": "utf-8"} | how)
    return path


def agreed(*files, who="Ann"):
    return [f"{file},{who},{AGREED}" for file in files]


def test_a_whole_table(tmp_path):
    path = table(
        tmp_path, *agreed(*FILES[:2]), f"drei für.wav,Bo,other: our own deal,1,{AGREED[11:]}"
    )
    found = check_consent(path, [*FILES, "notes.txt"])
    assert {name: [r.contributor for r in rights] for name, rights in found.rights.items()} == {
        FILES[0]: ["Ann"], FILES[1]: ["Ann"], FILES[2]: ["Bo"],
    }  # fmt: skip
    right = found.rights[FILES[2]][0]
    assert (right.licence, right.share, str(right.consent)) == (
        "other: our own deal",
        1,
        "2026-03-01",
    )
    assert right.may_train
    assert right.may_publish


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_as_spreadsheets_save_it(encoding, separator, tmp_path):
    rows = ["b/drei für.wav,Bö Ø,CC0-1.0,100 %,31.05.2026,Yes,NO"]
    text = [
        line.replace(",", separator)
        for line in [HEAD.replace("consent_date", "Consent date"), *rows]
    ]
    path = table(tmp_path, *text[1:], head=text[0], encoding=encoding, newline="\r\n")
    (right,) = check_consent(path, FILES[2:]).rights[FILES[2]]
    assert (right.contributor, str(right.consent), right.may_publish) == (
        "Bö Ø",
        "2026-05-31",
        False,
    )


def test_all_files_without_consent_are_named(tmp_path):
    files = [*(f"jam {i}.wav" for i in range(40)), "late.wav", "sold.wav", "fine.wav", "cover.png"]
    path = table(
        tmp_path,
        *agreed("fine.wav"),
        "late.wav,Cy,CC0-1.0,,,yes,yes",
        "sold.wav,Di,all rights reserved,0.5,2026-01-01,yes,yes",
        "sold.wav,Ed,all rights reserved,0.5,2026-01-01,no,yes",
    )
    with pytest.raises(UserError) as error:
        check_consent(path, files)
    assert error.value.what == "42 of 43 music files have no consent to be trained on"
    for words in (
        "no row (40)",
        "no consent date (1): late.wav (Cy)",
        "may_train is not yes (1): sold.wav (Ed)",
    ):
        assert words in error.value.why
    assert all(f"jam {i}.wav" in error.value.why for i in range(40)), "not only the first"
    assert "fine.wav" not in error.value.why
    assert "cover.png" not in error.value.why


def test_a_name_of_two_files_is_consent_to_neither(tmp_path):
    path = table(tmp_path, *agreed("take.wav"))
    with pytest.raises(UserError, match=r"no consent") as error:
        check_consent(path, ["ann/take.wav", "bo/take.wav"])
    assert "no row (2)" in error.value.why
    check_consent(
        table(tmp_path, *agreed("ann/take.wav", "bo/take.wav")), ["ann/take.wav", "bo/take.wav"]
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"{FILES[0]},Ann,CC-BY-4,,2026-03-01,yes,yes", "'CC-BY-4' is not known (did you mean 'CC-BY-4.0'?)"),
        (f"{FILES[0]},Ann,all right reserved,,2026-03-01,yes,yes", "did you mean 'all rights reserved'?"),
        (f"{FILES[0]},Ann,,,2026-03-01,yes,yes", "licence is empty"),
        (f"{FILES[0]},,CC0-1.0,,2026-03-01,yes,yes", "contributor is empty"),
        (",Ann,CC0-1.0,,2026-03-01,yes,yes", "file is empty"),
        (f"{FILES[0]},Ann,CC0-1.0,,03/04/2026,yes,yes", "no date like 2026-05-31"),
        (f"{FILES[0]},Ann,CC0-1.0,,2026-02-30,yes,yes", "no date like 2026-05-31"),
        (f"{FILES[0]},Ann,CC0-1.0,,9999-01-01,yes,yes", "lies in the future"),
        (f"{FILES[0]},Ann,CC0-1.0,,2026-03-01,perhaps,yes", "may_train must be yes or no"),
        (f"{FILES[0]},Ann,CC0-1.0,1.5,2026-03-01,yes,yes", "no share of a whole"),
        (f"{FILES[0]},Ann,CC0-1.0,1/0,2026-03-01,yes,yes", "no share of a whole"),
        (f"{FILES[0]},Ann,CC0-1.0,40 %,2026-03-01,yes,yes", "shares sum to 0.40, not to 1"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used(row, words, tmp_path):
    with pytest.raises(UserError, match="1 of 2 rows") as error:
        read_ownership(table(tmp_path, row, *agreed(FILES[1])), FILES)
    assert words in error.value.why
    assert "row 2" in error.value.why or FILES[0] in error.value.why


def test_all_wrong_rows_are_named_at_once(tmp_path):
    rows = [f"{i}.wav,Ann,CC-BY,,2026-01-01,yes,yes" for i in range(30)]
    with pytest.raises(UserError, match="30 of 30 rows") as error:
        read_ownership(table(tmp_path, *rows), [])
    assert error.value.why.count("is not known") == 30


def test_what_two_contributors_state_must_agree(tmp_path):
    one, two = (f"{FILES[0]},{who},CC0-1.0,{{}},2026-03-01,yes,yes" for who in ("Ann", "Bo"))
    rights = read_ownership(table(tmp_path, one.format("33 %"), two.format("0.67")), FILES).rights
    assert [round(right.share, 2) for right in rights[FILES[0]]] == [0.33, 0.67]
    rights = read_ownership(table(tmp_path, one.format(""), two.format("")), FILES).rights
    assert [right.share for right in rights[FILES[0]]] == [0.5, 0.5]
    for first, second, words in (("1/3", "", "others do not"), ("0.9", "0.9", "sum to 1.80")):
        with pytest.raises(UserError) as error:
            read_ownership(table(tmp_path, one.format(first), two.format(second)), FILES)
        assert words in error.value.why
    with pytest.raises(UserError) as error:
        read_ownership(table(tmp_path, one.format(""), one.format("")), FILES)
    assert "has two rows" in error.value.why


def test_a_table_that_is_none(tmp_path):
    with pytest.raises(UserError, match="not there"):
        read_ownership(tmp_path / "none.csv", FILES)
    (tmp_path / "ownership.csv").write_text("")
    with pytest.raises(UserError, match="lacks the column file"):
        read_ownership(tmp_path / "ownership.csv", FILES)
    path = table(tmp_path, head=HEAD.replace("licence", "license"))
    with pytest.raises(UserError, match=r"lacks the column licence \(did you mean 'license'\?\)"):
        read_ownership(path, FILES)


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
        ("CC0-1.0 OR CC-BY-4.0", "CC0-1.0 OR CC-BY-4.0"),
        ("All Rights Reserved", "all rights reserved"),
        ("other: ask Ann first", "other: ask Ann first"),
    ],
)
def test_words_for_a_licence(word, known):
    assert licence(word) == known
    assert licence(licence(word)) == known


def test_other_must_say_what():
    with pytest.raises(ValueError, match="not known"):
        licence("other: ")


# --------------------------------------------------------------------------------- the corpus


@pytest.fixture
def owned(tmp_path):
    """A folder of three recordings, of two channels and of 96 kHz among them, and its table."""
    folder = tmp_path / "music"
    for number, (name, rate, channels) in enumerate(
        (("a/one.wav", 24000, 1), ("a/two.wav", 24000, 2), ("b/drei für.wav", 96000, 1))
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(np.arange(rate * (number + 1)) * 0.05 * (number + 1))
        soundfile.write(path, np.tile(tone[:, None], channels), rate)
    return folder, table(tmp_path, *agreed(*FILES[:2]), *agreed(FILES[2], who="Bö"))


def test_ingest_refuses_what_nobody_agreed_to(owned, tmp_path):
    folder, path = owned
    settings = FolderCorpus(source="folder", path=folder, shards=1)
    tables = settings.model_copy(update={"ownership": path})
    ingest_shard(settings, folder, 0, tmp_path / "0.csv", 1, tables)
    assert [row["status"] for row in read_csv(tmp_path / "0.csv")] == ["kept"] * 3
    table(tmp_path, *agreed(*FILES[:2]))
    with pytest.raises(UserError, match="1 of 3 music files") as error:
        ingest_shard(settings, folder, 0, tmp_path / "1.csv", 1, tables)
    assert FILES[2] in error.value.why
    assert not (tmp_path / "1.csv").exists()


def test_a_run_is_refused_before_anything_runs(owned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, path = owned
    content = {
        "corpora": {"ours": {"source": "folder", "path": str(folder), "ownership": str(path)}},
        "experiments": {"model": {"system": "audiolm", "corpus": "ours"}},
        "run": ["model"],
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    settings = config.read(config.DEFAULT, tmp_path / "mine.yaml")
    check_run(settings)
    table(tmp_path, *agreed(*FILES[1:]))
    with pytest.raises(UserError, match="1 of 3 music files"):
        check_run(settings)
    assert "ownership" not in settings.corpora["ours"].params(), "where it lies decides no result"
    content["corpora"]["ours"]["limit"] = 1
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    chosen = config.read(config.DEFAULT, tmp_path / "mine.yaml")
    (only,) = choose_files(FILES, 1)
    table(tmp_path, *agreed(only))
    check_run(chosen)  # what `limit` leaves out needs no consent
    table(tmp_path, *agreed(*(file for file in FILES if file != only)))
    with pytest.raises(UserError, match="1 of 1 music files"):
        check_run(chosen)


def test_shares_are_by_minutes_of_the_training_split(tmp_path):
    two = (
        "a/two.wav,Ann,CC0-1.0,25 %,2026-01-01,yes,yes",
        "a/two.wav,Bo,CC0-1.0,75 %,2026-01-01,yes,yes",
    )
    path = table(tmp_path, *agreed("a/one.wav"), *two, *agreed("held.wav", "bad.wav", who="Cy"))
    rows = [
        {"path": "a/one.wav", "seconds": "60", "split": "train", "status": "kept"},
        {"path": "a/two.wav", "seconds": "120", "split": "train", "status": "kept"},
        {"path": "held.wav", "seconds": "600", "split": "test", "status": "kept"},
        {"path": "bad.wav", "seconds": "600", "split": "", "status": "rejected"},
    ]
    rights = read_ownership(path, [row["path"] for row in rows]).rights
    found = {row["contributor"]: row for row in count_owners(rows, rights)}
    assert [found[name]["minutes"] for name in ("Ann", "Bo", "Cy")] == ["1.50", "1.50", "0.00"]
    assert [found[name]["share"] for name in ("Ann", "Bo", "Cy")] == ["0.5000", "0.5000", "0.0000"]
    assert found["Cy"] == {
        "contributor": "Cy", "pieces": 1, "minutes": "0.00", "share": "0.0000", "held_out_minutes": "10.00",
    }  # fmt: skip
    write_csv(tmp_path / "pieces.csv", list(rows[0]), rows)
    write_owners(tmp_path / "pieces.csv", rights, tmp_path / "ours/owners.csv")
    owners = Owners.read(tmp_path / "ours/owners.csv")
    assert owners.corpus == "ours"
    assert owners.about == [
        {"contributor": "Ann", "minutes": 1.5, "share": 0.5},
        {"contributor": "Bo", "minutes": 1.5, "share": 0.5},
    ]
