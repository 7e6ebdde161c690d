"""Distances in a system's own latent space: arithmetic, clips to rows, rows to the leaderboard."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ladder import bars_shuffled, random_in_key
from notes_ladder import chorale, table_of
from scipy import linalg
from tidy import head, row

from etude.config.systems.base import TrainedExperiment
from etude.metrics import latents
from etude.metrics.latents import (
    FID,
    KAD,
    PHRASELDM,
    ROOT,
    encode_set,
    first_bars,
    latent_distance,
    phraseldm,
    score_latents,
    write_latents,
)
from etude.metrics.notes.clips import read_symbolic
from etude.metrics.samples import Clips
from etude.midi.writing import write_midi
from etude.results import differences, leaderboard
from etude.storage import read_csv
from etude.systems.base import Parts, SystemBase

# -------------------------------------------------------------------------------------- arithmetic


def rows(seed, n, d, shift=0.0):
    random = np.random.default_rng([seed, n])
    return random.standard_normal((n, d)) @ random.standard_normal((d, d)) + shift


def textbook(one, other):
    """Dowson and Landau's formula in scipy's words."""
    (m1, c1), (m2, c2) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (one, other))
    root = linalg.sqrtm(c1 @ c2).real
    return float((m1 - m2) @ (m1 - m2) + np.trace(c1 + c2 - 2 * root))


def eigenvalues(one, other):
    """By the eigenvalues of the product itself, which is similar to a symmetric matrix."""
    (m1, c1), (m2, c2) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (one, other))
    values = np.linalg.eigvals(c1 @ c2).real.clip(0)
    return float((m1 - m2) @ (m1 - m2) + np.trace(c1 + c2) - 2 * np.sqrt(values).sum())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 12), st.integers(20, 80))
def test_the_root_is_the_right_one(seed, d, n):
    one, other = rows(seed, n, d), rows(seed + 1, n + 7, d, 0.3)
    found = latent_distance(one, other)
    assert found == pytest.approx(textbook(one, other), rel=1e-6, abs=1e-6)
    assert found == pytest.approx(eigenvalues(one, other), rel=1e-6, abs=1e-6)
    assert found == pytest.approx(latent_distance(other, one), rel=1e-6)
    assert latent_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_phraseldms_root_is_right_only_where_the_axes_are_the_same():
    """Of its product it reads one triangle. In 2 x 2 its figure can be written down."""
    one, other = rows(0, 50, 2), rows(1, 60, 2)
    (m1, c1), (m2, c2) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (one, other))
    (a, _), (b, c) = c1 @ c2
    values = [(a + c) / 2 + s * np.hypot((a - c) / 2, b) for s in (1, -1)]
    cross = sum(np.sqrt(max(v, 1e-12)) for v in values)
    expected = (m1 - m2) @ (m1 - m2) + np.trace(c1 + c2) - 2 * cross
    assert phraseldm(one, other) == pytest.approx(expected)
    assert abs(phraseldm(one, other) - latent_distance(one, other)) > 0.01
    # The same axes: the product is symmetric, and both are the distance.
    axes = linalg.qr(rows(2, 4, 4))[0]
    same = [whitened(rows(s, 80, 4)) @ np.diag(scale) @ axes.T for s, scale in (
        (3, (1.0, 2.0, 3.0, 4.0)), (4, (2.0, 1.0, 0.5, 3.0)),
    )]  # fmt: skip
    assert phraseldm(*same) == pytest.approx(latent_distance(*same), rel=1e-6)
    assert latent_distance(*same) == pytest.approx((1 + 1 + 2.5**2 + 1), rel=1e-6)


def whitened(some):
    """Rows of mean 0 and covariance 1."""
    centred = some - some.mean(0)
    return centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred, rowvar=False))).T


# ------------------------------------------------------------------------------------ clips to rows


def encoder(notes):
    """A latent for each bar: sums of sines of its pitches, by place."""
    bar = notes.places().bar
    turn = np.outer(notes.pitch, [0.11, 0.23, 0.31])
    parts = np.concatenate([np.sin(turn), np.cos(turn)], 1) * (
        1 + notes.places().offset[:, None] % 7
    )
    found = np.zeros((int(bar.max()) + 1, 6))
    np.add.at(found, bar, parts)
    return found[np.unique(bar)]


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def make_set(folder, tables):
    lines = [
        {"clip": f"c{i}", "file": f"c{i}.wav", "seconds": "28", "heard_seconds": "2"}
        for i in range(len(tables))
    ]
    write(folder / "clips.csv", lines)
    for line, notes in zip(lines, tables, strict=True):
        write_midi(notes, folder / f"{line['clip']}.mid")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """24 generated clips; of real music 40 stretches of 20 pieces, and 12 of others; damages."""
    root = tmp_path_factory.mktemp("latents")
    pieces = {f"p{i}": root / f"corpus/p{i}.mid" for i in range(32)}
    (root / "corpus").mkdir()
    notes = {name: chorale(i) for i, name in enumerate(pieces)}
    for name, path in pieces.items():
        write_midi(table_of(notes[name]), path)
    base = root / "baselines"
    for name, chosen in (("reference", range(20)), ("real", range(20, 32))):
        lines = [
            {"clip": f"s{i}-{k}", "file": f"s{i}-{k}.wav", "seconds": "2", "piece": f"p{i}",
             "start_s": str(3 + k)}
            for i in chosen for k in range(2)
        ]  # fmt: skip
        write(base / name / "clips.csv", lines)
    random = np.random.default_rng(0)
    make_set(root / "made", [table_of(chorale(100 + i)) for i in range(24)])
    for name, change in (("random_notes", random_in_key), ("shuffled_bars", bars_shuffled)):
        make_set(base / name, [table_of(change(chorale(200 + i), 4, random)) for i in range(24)])
    write(base / "noise/clips.csv", [{"clip": "n0", "file": "n0.wav", "seconds": "2"}])
    return root, pieces


def sets_of(folders, most=16, made=encoder):
    root, pieces = folders
    paths = {p.name: p for p in sorted((root / "baselines").iterdir())} | {
        "generated": root / "made"
    }
    how = {"pieces": pieces, "most_clips": 200, "most_bars": most}
    return {name: encode_set(made, path, **how) for name, path in paths.items()}


@pytest.mark.slow
def test_real_music_is_its_pieces_each_once_and_clips_their_first_bars(folders):
    sets = sets_of(folders)
    reference, note = sets["reference"]
    assert (reference.count, note) == (20, "")
    assert sorted(reference.units) == sorted(f"p{i}" for i in range(20))
    made, _ = sets["generated"]
    assert made.count == 24
    assert not any(made.units)
    few, _ = sets_of(folders, most=8)["generated"]
    assert len(few.windows) == 24 * 8 < len(made.windows)
    clip = read_symbolic(folders[0] / "made").clips[0]
    assert first_bars(clip, 8).places().bar.max() == 7
    empty, why = sets["noise"]
    assert (empty.count, why) == (0, "this set has no notes, only sound")


def test_a_clip_that_cannot_be_encoded_costs_itself_and_is_named(folders):
    calls = iter(range(10**6))

    def fails(notes):
        number = next(calls)
        if number == 1:
            raise ValueError("5/8 has no phrase")
        return encoder(notes) if number != 2 else np.full((3, 6), np.nan)

    root, pieces = folders
    how = {"pieces": pieces, "most_clips": 200, "most_bars": 16}
    made, note = encode_set(fails, root / "made", **how)
    assert made.count == 22
    assert note.startswith("2 of 24 clips have no latents (c1: ")
    assert "5/8 has no phrase" in note
    nothing, note = encode_set(lambda _: np.zeros((0, 6)), root / "made", **how)
    assert (nothing.count, note) == (0, "24 of 24 clips have no latents (no whole bar with notes)")


def test_damaged_music_is_farther_than_real_music(folders):
    table, replicates = score_latents(sets_of(folders))
    found = {(r["clips"], r["metric"]): r for r in table}
    value = {key: float(r["value"]) for key, r in found.items() if r.get("value")}
    for metric in (FID, KAD):
        high = float(found["generated", metric]["ci_high"])
        assert value["random_notes", metric] > high
        assert value["random_notes", metric] > 5 * value["generated", metric]
        assert found["noise", metric]["note"] == "n/a: this set has no notes, only sound"
        assert "no other training's" in found["generated", metric]["note"]
    # Bars in another order have the same latents: the distance does not hear it.
    assert value["shuffled_bars", KAD] < value["random_notes", KAD] / 3
    halves, middles = (value["reference", f"{FID}_{name}"] for name in ("halves", "middles"))
    assert 0 < halves < value["random_notes", FID]
    assert 0 < middles < value["random_notes", FID]
    low, high = (float(found["reference", f"{FID}_middles"][key]) for key in ("ci_low", "ci_high"))
    assert low < middles < high
    assert found["real", FID]["n"] == 12
    assert {(r["clips"], r["metric"]) for r in replicates} >= {("generated", FID), ("real", KAD)}


def test_phraseldms_figure_takes_its_place_by_option(folders):
    sets = sets_of(folders)
    plain, compat = (
        {(r["clips"], r["metric"]): r for r in score_latents(sets, how)[0]}
        for how in ("", PHRASELDM)
    )
    key = "generated", FID
    assert ROOT in compat[key]["note"]
    assert compat[key]["value"] != plain[key]["value"]
    made, reference = sets["generated"][0].windows, sets["reference"][0].windows
    assert float(compat[key]["value"]) == pytest.approx(phraseldm(reference, made), abs=1e-5)
    assert compat["generated", KAD]["value"] == plain["generated", KAD]["value"]


def test_without_held_out_music_every_row_has_the_reason():
    made = Clips(rows(0, 40, 3), np.arange(40) // 4)
    nothing = Clips(np.zeros((0, 1)), np.zeros(0, np.int64))
    table, drawn = score_latents({"generated": (made, ""), "reference": (nothing, "no test split")})
    assert drawn == []
    assert {r["note"] for r in table} == {"n/a: no test split"}
    few = Clips(rows(1, 40, 3), np.arange(40) // 20, ["a", "b"])
    table, _ = score_latents({"generated": (made, ""), "reference": (few, "")})
    notes = {r["metric"]: r.get("note", "") for r in table if r["clips"] == "reference"}
    assert notes[f"{FID}_halves"] == "n/a: 2 held-out pieces, 4 are needed"


class Toy(TrainedExperiment):
    """A system with an encoder."""

    stages: Any = None
    system: str = "toy"
    corpus: str = "c"
    tokens: str = "t"


@pytest.mark.slow
def test_the_table_is_of_the_systems_own_encoder(folders, tmp_path, monkeypatch):
    root, pieces = folders
    asked = {}

    class System(SystemBase):
        def encoder(self, experiment, parts):
            asked["parts"] = parts
            return encoder

    monkeypatch.setattr(latents, "open_system", lambda _: System())
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/info.json").write_text(json.dumps({"data_hash": "d"}))
    parts = Parts(packed=tmp_path / "packed", models={"vae": tmp_path})
    where = {"table": tmp_path / "latents.csv", "replicates": tmp_path / "r.csv"}
    write_latents(
        Toy(),
        {"experiment": "e", "seed": "1", "draw": "2"},
        parts=parts,
        generated=root / "made",
        baselines=root / "baselines",
        pieces=pieces,
        settings={"compat": "none", "clips": 200, "form_bars": 16},
        **where,
    )
    assert asked["parts"] is parts
    found = list(read_csv(where["table"]))
    assert {(r["train_seed"], r["draw"], r["experiment"]) for r in found} == {("1", "2", "e")}
    assert {r["clips"] for r in found} >= {
        "generated",
        "real",
        "reference",
        "random_notes",
        "noise",
    }
    first = where["table"].read_bytes()
    write_latents(
        Toy(),
        {"experiment": "e", "seed": "1", "draw": "2"},
        parts=parts,
        generated=root / "made",
        baselines=root / "baselines",
        pieces=pieces,
        settings={"compat": "none", "clips": 200, "form_bars": 16},
        **where,
    )
    assert where["table"].read_bytes() == first


# --------------------------------------------------------------------------------- the leaderboard


def figures(name, *values):
    """A training for each value: of its clips and of real music in its own space."""
    rows_ = [
        head(name, seed, 0)
        | {"weights": "", "train_seed": str(seed), "draw": "0"}
        | row(clips, FID, value, ci_low="", ci_high="")
        for seed, value in enumerate(values)
        for clips, value in (("generated", value), ("real", value / 2))
    ]
    return leaderboard.ExperimentFigures(name, rows_)


def test_every_set_has_a_figure_in_each_trainings_space():
    board = {
        (r["clips"], r["metric"]): r for r in leaderboard.leaderboard([figures("a", 8.0, 2.0)], {})
    }
    assert float(board["generated", FID]["value"]) == pytest.approx(4.0)  # geometric
    assert float(board["real", FID]["value"]) == pytest.approx(2.0)
    assert board["real", FID]["cells"] == 2


def test_two_experiments_have_no_difference_in_their_own_spaces():
    both = figures("a", 8.0, 2.0), figures("b", 4.0, 5.0)
    (found,) = differences.differences(both, {}, None)
    assert found["verdict"] == "n/a"
    assert "own encoder" in found["note"]
