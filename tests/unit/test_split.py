"""Duplicates, tune groups and sides: nothing crosses, nothing is lost."""

import itertools
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused

from etude.config import FolderCorpus, Split
from etude.corpus.ingest import ingest_shard
from etude.corpus.rows import INGEST_COLUMNS, PIECES_COLUMNS
from etude.corpus.split import assign, check_no_leak, decide_split, summary
from etude.corpus.tunes import tune_groups
from etude.storage import read_csv, write_csv
from tests import music


def corpus(**options):
    return FolderCorpus(source="folder", path="x", **options)


def row(name, notes=None, **options):
    return dict.fromkeys(INGEST_COLUMNS, "") | {
        "piece": name,
        "path": f"{name}.mid",
        "kind": "midi",
        "notes_hash": notes or name,
        "seconds": "30.000",
        "status": "kept",
        **options,
    }


def tune(*grams):
    return np.array(sorted(set(grams)), dtype=np.uint32)


def decided(root, tmp_path, **options):
    """pieces.csv of a folder, by path."""
    found = FolderCorpus(source="folder", path=root, **options)
    tables = [tmp_path / f"ingest/{i}.csv" for i in range(found.shards)]
    for shard, table in enumerate(tables):
        ingest_shard(found, root, shard, table, 1)
    decide_split(found, tables, tmp_path / "pieces.csv")
    rows = list(read_csv(tmp_path / "pieces.csv"))
    assert [r["piece"] for r in rows] == sorted(r["piece"] for r in rows)
    check_no_leak(rows)
    return {r["path"]: r for r in rows}


# ------------------------------------------------------------------------------- tune groups


def by_brute_force(tunes, similarity):
    labels = list(range(len(tunes)))
    sets = [set(t.tolist()) for t in tunes]
    for (i, a), (j, b) in itertools.combinations(enumerate(sets), 2):
        if a and b and len(a & b) / min(len(a), len(b)) >= similarity - 1e-12:
            old, new = sorted((labels[i], labels[j]), reverse=True)
            labels = [new if label == old else label for label in labels]
    return labels


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), max_size=14), max_size=16),
    st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]),
)
def test_groups_equal_brute_force(lists, similarity):
    tunes = [tune(*grams) for grams in lists]
    assert tune_groups(tunes, similarity).tolist() == by_brute_force(tunes, similarity)


def test_groups_are_found_among_common_ngrams():
    """Every n-gram of a large family is common; so is a scale that strangers share."""
    rng = np.random.default_rng(0)
    scale = rng.integers(0, 2**32, 20)
    family = rng.integers(0, 2**32, 100)
    tunes = [tune(*family, *scale) for _ in range(300)]
    tunes += [tune(*rng.integers(0, 2**32, 100), *scale) for _ in range(700)]
    labels = tune_groups(tunes, 0.3)
    assert labels[:300].tolist() == [0] * 300
    assert labels[300:].tolist() == list(range(300, 1000))


def test_what_the_user_calls_a_tune_comes_before_what_is_alike():
    alike, other = tune(*range(10)), tune(*range(20, 30))
    tunes = [alike, alike, other, alike, tune()]
    labels = lambda *names: tune_groups(tunes, 0.15, names).tolist()  # noqa: E731
    assert labels("", "", "", "", "") == [0, 0, 2, 0, 4]
    assert labels("a", "b", "a", "c", "c") == [0, 1, 0, 3, 3]
    assert labels("", "", "", "a", "a") == [0, 0, 2, 0, 0]  # who is not named goes with the like
    assert labels("a", "b", "", "", "") == [0, 0, 2, 0, 4]  # the fourth is like both


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 30), max_size=14), st.sampled_from(["", "a", "b", "c"])),
        max_size=16,
    ),
    st.sampled_from([0.15, 0.5]),
)
def test_named_groups_equal_brute_force(made, similarity):
    tunes, names = [tune(*grams) for grams, _ in made], [name for _, name in made]
    labels = list(range(len(made)))
    sets = [set(t.tolist()) for t in tunes]
    for i, j in itertools.combinations(range(len(made)), 2):
        a, b = sets[i], sets[j]
        alike = a and b and len(a & b) / min(len(a), len(b)) >= similarity - 1e-12
        joined = names[i] == names[j] if names[i] and names[j] else alike
        if joined:
            old, new = sorted((labels[i], labels[j]), reverse=True)
            labels = [new if label == old else label for label in labels]
    assert tune_groups(tunes, similarity, names).tolist() == labels


def test_a_tune_of_the_users_own_is_on_one_side(tmp_path):
    """Recordings too, of which nothing else says that they are one song."""
    root = tmp_path / "music"
    music.make_chorales(root, 20)
    lines = [f"chorale-{i:03}.mid,{'one' if i % 2 else ''},Song {i}" for i in range(20)]
    (root / "metadata.csv").write_text("\n".join(["file,Tune,title", *lines]) + "\n")
    rows = decided(root, tmp_path)
    odd = [row for path, row in rows.items() if row["tune"]]
    assert len(odd) == 10
    assert len({row["split"] for row in odd}) == len({row["tune_group"] for row in odd}) == 1
    assert len({row["tune_group"] for row in rows.values()}) == 11
    assert rows["chorale-003.mid"]["title"] == "Song 3"


# ------------------------------------------------------------------------- nothing crosses


pieces = st.lists(
    st.tuples(
        st.integers(0, 8),  # notes
        st.lists(st.integers(0, 40), max_size=8),  # tune
        st.sampled_from(["kept", "kept", "kept", "rejected"]),
        st.sampled_from(["", "", "train", "valid", "test"]),  # the user's wish
    ),
    min_size=1,
    max_size=30,
)
shares = st.sampled_from([(0.7, 0.1, 0.2), (0.5, 0.5, 0.0), (0.9, 0.0, 0.1), (1.0, 0.0, 0.0)])


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(pieces, shares, st.integers(0, 3), st.sampled_from(["drop", "keep"]))
def test_nothing_crosses_and_nothing_is_lost(made, parts, seed, duplicates):
    train, valid, test = parts
    options = corpus(
        duplicates=duplicates,
        max_rejected=1,
        split=Split(train=train, valid=valid, test=test, seed=seed),
    )
    rows = [
        row(
            f"p{i:02d}", f"n{notes}", status=status, reason="no_notes" * (status != "kept"), split=s
        )
        for i, (notes, _, status, s) in enumerate(made)
    ]
    tunes = [tune(*grams) for _, grams, _, _ in made]
    wishes = {r["piece"]: r["split"] for r in rows}
    kept_before = {r["piece"] for r in rows if r["status"] == "kept"}
    if not kept_before:
        with refused("too-many-rejected"):
            assign(options, rows, tunes)
        return
    assign(options, rows, tunes)
    check_no_leak(rows)
    kept = [r for r in rows if r["status"] == "kept"]
    assert {r["piece"] for r in rows if not r["split"]} == {
        r["piece"] for r in rows if r["status"] == "rejected"
    }
    assert {r["split"] for r in kept} <= {"train", "valid", "test"}
    copies = {r["piece"] for r in rows if r["reason"].startswith("duplicate_of:")}
    assert {r["piece"] for r in kept} | copies == kept_before
    assert (len({r["notes_hash"] for r in kept}) == len(kept)) or duplicates == "keep"
    groups = defaultdict(list)
    for r in kept:
        assert r["tune_group"] == min(
            x["piece"] for x in kept if x["tune_group"] == r["tune_group"]
        )
        groups[r["tune_group"]].append(r)
    for members in groups.values():  # a wish that nobody in the group contradicts is kept
        wished = {wishes[r["piece"]] for r in members} - {""}
        if len(wished) == 1:
            assert {r["split"] for r in members} == wished
    if not any(wishes[r["piece"]] for r in kept):
        wanted = [s for s, share in (("train", train), ("test", test), ("valid", valid)) if share]
        assert {r["split"] for r in kept} == set(wanted[: len(groups)])


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {"train": 1}),
        (2, {"train": 1, "test": 1}),
        (3, {"train": 1, "test": 1, "valid": 1}),
        (10, {"train": 7, "test": 2, "valid": 1}),
        (1000, {"train": 700, "test": 200, "valid": 100}),
    ],
)
def test_shares(count, expected):
    rows = [row(f"p{i}") for i in range(count)]
    assign(corpus(), rows, [tune()] * count)
    assert Counter(r["split"] for r in rows) == expected


def test_seeds_deal_differently_and_again_the_same():
    def sides(seed):
        rows = [row(f"p{i}") for i in range(50)]
        assign(corpus(split=Split(seed=seed)), rows, [tune()] * 50)
        return [r["split"] for r in rows]

    assert sides(0) == sides(0) != sides(1)


def test_one_more_piece_moves_few():
    def sides(count):
        rows = [row(f"p{i}") for i in range(count)]
        assign(corpus(), rows, [tune()] * count)
        return {r["piece"]: r["split"] for r in rows}

    before, after = sides(200), sides(201)
    assert sum(before[piece] != after[piece] for piece in before) < 20


def test_no_split_is_all_training():
    rows = [row(f"p{i}", "same", split="test") for i in range(4)]
    assign(corpus(split=Split(mode="none"), duplicates="keep"), rows, [tune()] * 4)
    assert {r["split"] for r in rows} == {"train"}


# -------------------------------------------------------------------------- the user's split


def test_usual_other_names_of_sides():
    names = ["Training", "val", "dev", "TEST", "eval", "validation"]
    rows = [row(f"p{i}", split=name) for i, name in enumerate(names)]
    assert assign(corpus(), rows, [tune()] * 6) == []
    assert [r["split"] for r in rows] == ["train", "valid", "valid", "test", "test", "valid"]


def test_a_side_that_there_is_not():
    with refused("unknown-split", "'tset'"):
        assign(corpus(), [row("p", split="tset")], [tune()])


def test_a_tune_on_two_sides_goes_to_one_with_a_warning():
    tunes = [tune(*range(10))] * 3 + [tune(*range(20, 30))] * 2 + [tune(*range(40, 50))]
    wishes = ["train", "train", "test", "train", "test", "valid"]
    rows = [row(f"p{i}", split=wish) for i, wish in enumerate(wishes)]
    (warning, *_) = assign(corpus(), rows, tunes)
    assert "puts 2 tunes on two sides" in warning
    assert "2 pieces went with" in warning
    assert [r["split"] for r in rows] == ["train"] * 3 + ["test"] * 2 + ["valid"]


def test_a_large_group_is_a_warning():
    rows = [row(f"p{i:02d}") for i in range(40)]
    tunes = [tune(*range(10))] * 5 + [tune(*range(100 * i, 100 * i + 10)) for i in range(1, 36)]
    assert "5 of 40 pieces (p00" in assign(corpus(), rows, tunes)[0]


def test_a_side_of_little_music_is_a_warning():
    rows = [row(f"p{i:02d}", seconds="6.000") for i in range(10)]
    tunes = [tune(*range(100 * i, 100 * i + 10)) for i in range(10)]
    valid, test = assign(corpus(), rows, tunes)
    assert valid.startswith("valid has 6 s of music: the validation loss says little")
    assert test.startswith("test has 12 s of music: distances to it are mostly chance")


def test_recordings_of_a_kind_that_is_not_read_are_named():
    rows = [row(f"p{i:02d}", seconds="600") for i in range(10)]
    rows.append(row("song", path="song.m4a", kind="", status="rejected", reason="unsupported_type"))
    tunes = [tune(*range(100 * i, 100 * i + 10)) for i in range(11)]
    (warning,) = assign(corpus(), rows, tunes)
    assert "song.m4a" in warning
    assert "ffmpeg" in warning


# ----------------------------------------------------------------------------- planted copies


def test_planted_copies_and_transposed_tunes(tmp_path):
    root = tmp_path / "music"
    paths = music.make_chorales(root, 12, seed=7)
    (root / "a copy.mid").write_bytes(paths[3].read_bytes())
    random = Random("7/5")
    parts = [(0, 0, music.tune(random, 60))]
    for name, up, ticks in (("solo.mid", 0, 480), ("up.mid", 5, 480), ("finer.mid", 0, 960)):
        shifted = [(c, p, [(q, d, n + up, v) for q, d, n, v in notes]) for c, p, notes in parts]
        music.write_midi(root / "tune" / name, shifted, ticks=ticks)
    rows = decided(root, tmp_path)
    assert len(rows) == 16
    copy = rows["a copy.mid"]  # first by path, so it is the one that stays
    assert rows["chorale-003.mid"]["reason"] == f"duplicate_of:{copy['piece']}"
    assert rows["tune/solo.mid"]["reason"] == f"duplicate_of:{rows['tune/finer.mid']['piece']}"
    assert rows["tune/up.mid"]["tune_group"] == rows["tune/finer.mid"]["tune_group"]
    kept = [r for r in rows.values() if r["status"] == "kept"]
    assert len({r["tune_group"] for r in kept}) == 13
    assert Counter(r["split"] for r in kept)["train"] in (9, 10)
    again = (tmp_path / "pieces.csv").read_bytes()
    decided(root, tmp_path)
    assert (tmp_path / "pieces.csv").read_bytes() == again


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [music.make_chorales, music.make_multitrack, music.make_piano, music.make_mixed]
)
def test_made_music_has_tunes_of_its_own(tmp_path, make):
    make(tmp_path / "music", 16)
    rows = decided(tmp_path / "music", tmp_path)
    assert len({r["tune_group"] for r in rows.values()}) == 16


def test_columns(tmp_path):
    root = tmp_path / "music"
    music.make_chorales(root, 3)
    (root / "metadata.csv").write_text("stem,caption,split\nchorale-001,calm,test\n")
    rows = decided(root, tmp_path)
    assert list(rows["chorale-000.mid"]) == [*PIECES_COLUMNS, "caption"]
    assert rows["chorale-001.mid"]["split"] == "test"
    assert rows["chorale-001.mid"]["caption"] == "calm"


# ------------------------------------------------------------------------------------ refusals


def test_the_leakage_gate():
    rows = [row("a", split="train", tune_group="a"), row("b", split="test", tune_group="b")]
    check_no_leak(rows)
    with refused("leaking-split", "tune"):
        check_no_leak([rows[0], rows[1] | {"tune_group": "a"}])
    with refused("leaking-split", "notes"):
        check_no_leak([rows[0], rows[1] | {"notes_hash": "a"}])
    check_no_leak([rows[0], rows[1] | {"notes_hash": "a", "status": "rejected"}])


def test_too_much_rejected():
    bad = [row(f"b{i}", status="rejected", reason="no_notes") for i in range(9)]
    with refused("too-many-rejected", "9 of 10") as caught:
        assign(corpus(max_rejected=0.8), [row("a"), *bad], [tune()] * 10)
    assert "b0.mid: no_notes" in str(caught.value)
    assert "9 no_notes" in str(caught.value)
    assign(corpus(max_rejected=0.9), [row("a"), *bad], [tune()] * 10)
    others = [
        row(f"t{i}", kind="", status="rejected", reason="unsupported_type") for i in range(99)
    ]
    assign(corpus(max_rejected=0), [row("a"), *others], [tune()] * 100)


@pytest.mark.parametrize("rows", [[], [row("t", kind="", status="rejected")]])
def test_no_music(rows):
    with refused("no-music"):
        assign(corpus(), rows, [tune()] * len(rows))


def test_two_files_of_one_name():
    with refused("duplicate-piece-name"):
        assign(corpus(), [row("a"), row("a", path="b.mid")], [tune()] * 2)


@pytest.mark.slow
def test_summary_advises_shards():
    rows = [row(f"p{i}", seconds="3000") for i in range(9000)]
    assign(corpus(), rows, [tune()] * 9000)
    lines = summary(corpus(), rows)
    assert "450000.0 minutes of music in 9000 tune groups" in lines
    assert "better: shards:" in lines[-1]
    assert "better" not in summary(corpus(), rows[:100])[-1]


def test_ingest_tables_may_be_empty(tmp_path):
    write_csv(tmp_path / "0.csv", INGEST_COLUMNS, [row("a", ngrams="00000001 0000000f")])
    write_csv(tmp_path / "1.csv", INGEST_COLUMNS, [])
    decide_split(corpus(), [Path(tmp_path / "0.csv"), tmp_path / "1.csv"], tmp_path / "p.csv")
    assert [r["split"] for r in read_csv(tmp_path / "p.csv")] == ["train"]
