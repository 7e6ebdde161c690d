"""From a folder of music to results/fad.txt, on what people really have."""

from __future__ import annotations

import csv
import shutil
import warnings
from pathlib import Path

import music
import pytest
import torch
from safetensors.torch import load
from workspace import ROOT, SMOKE, jobs, own_folder

pytestmark = pytest.mark.workflow


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_run_leaves_what_the_readme_promises(finished):
    results = finished.folder / "results"
    text = finished.text("results/fad.txt")
    assert text.splitlines()[-1].startswith("gate: ")
    for name in ("generated", "real", "reconstruction", "shuffled", "untrained"):
        assert f"\n  {name}" in text
    assert "clap-laion-audio: not run" in text
    assert (results / "report/index.html").is_file()
    pieces = rows(results / "corpora/mine/pieces.csv")
    assert {row["split"] for row in pieces if row["status"] == "kept"} == {"train", "valid", "test"}
    clips = rows(results / "clips/mine/seed-0/draw-0/clips.csv")
    assert len(clips) == 8
    assert all(0 < float(row["seconds"]) <= 2 for row in clips), "a piece may end early"


def test_a_second_run_does_nothing(finished):
    mine = finished.folder / "mine.yaml"
    done = finished.run(configs=[SMOKE, mine])
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "expected", "untouched"),
    [
        (
            {"corpora": {"mine": {"split": {"train": 0.6, "valid": 0.2, "test": 0.2}}}},
            {"decide_split", "fit_tokenizer", "train_stage"},
            {"ingest_corpus", "render_midi", "cut_segments"},
        ),
        (
            {"experiments": {"mine": {"stages": {"fine": {"training": {"steps": 21}}}}}},
            {"train_stage", "generate_clips", "score_fad"},
            {"pack_tokens", "tokenize_audio", "make_baselines"},
        ),
        (
            {"experiments": {"mine": {"generate": {"clips": 9}}}},
            {"generate_clips", "make_baselines", "write_fad"},
            {"train_stage", "pack_tokens"},
        ),
        (
            {"experiments": {"mine": {"stages": {"fine": {"training": {"keep_steps": [10]}}}}}},
            {"train_stage", "keep_step"},
            {"pack_tokens"},
        ),
    ],
    ids=["split", "steps", "clips", "keep_steps"],
)
def test_a_change_of_config_reruns_what_hangs_on_it(finished, change, expected, untouched):
    change = finished.config("change", change)
    done = finished.run("-n", configs=[SMOKE, finished.folder / "mine.yaml", change])
    planned = jobs(done)
    assert expected <= planned
    assert not untouched & planned


def test_the_same_music_gives_the_same_bytes(finished, workspace):
    shutil.copytree(finished.folder / "music", workspace.folder / "music")
    # The path is part of the settings' hash, the bytes of the music are not.
    mine = workspace.config("mine", own_folder(workspace.folder / "music"))
    workspace.run(configs=[SMOKE, mine])
    first, second = finished.results(), workspace.results()
    # Other tests may have added experiments of their own to the first.
    assert second.keys() <= first.keys()
    different = {name for name in second if first[name] != second[name]}
    trained = {name for name in different if name.startswith("results/models/")}
    named = {n for n in different if trained and n.endswith("/weights.json")}  # their hash
    assert different <= trained | named, "all but weights and what is drawn of training is equal"
    if trained:
        agree_on_the_third_time(trained, finished, workspace, mine)


def agree_on_the_third_time(trained, finished, workspace, mine):
    """A stage of 20 steps that differs is trained once more; two of three must be equal.

    Some one training in fifty differs in the last bits, on a loaded machine and for a reason
    that was not found (docs/decisions.md). A loop that is not deterministic fails here.
    """
    stages = {name.rsplit("/", 1)[0] for name in trained}
    warnings.warn(f"trained again, since it differed in its bits: {stages}", stacklevel=1)
    assert len(stages) == 1, "that is no rare event"
    weights = f"{stages.pop()}/model.safetensors"
    other = [run.results()[weights] for run in (finished, workspace)]
    near = [load(content) for content in other]
    for name in near[0]:
        torch.testing.assert_close(near[0][name], near[1][name], atol=1e-3, rtol=0)
    for path in (workspace.folder / "results/state").glob("*/finished.pt"):
        path.unlink()
    workspace.run("--forcerun", weights, weights, configs=[SMOKE, mine])
    assert workspace.results()[weights] in other


@pytest.mark.parametrize(
    "make",
    [
        music.make_mixed,
        *(
            pytest.param(m, marks=pytest.mark.proof)
            for m in (music.make_multitrack, music.make_piano)
        ),
    ],
)
def test_folders_unlike_the_chorales(make, workspace):
    make(workspace.folder / "music", 12, seed=3)
    mine = workspace.config("mine", own_folder(workspace.folder / "music"))
    if make is music.make_mixed:  # as far as music comes; the others go on to the gate
        workspace.by_hand("results/clips/mine/seed-0/draw-0", "--before", configs=[SMOKE, mine])
    else:
        workspace.run(configs=[SMOKE, mine])
        assert workspace.text("results/fad.txt").splitlines()[-1].startswith("gate: ")
    kept = [
        r
        for r in rows(workspace.folder / "results/corpora/mine/pieces.csv")
        if r["status"] == "kept"
    ]
    assert len(kept) >= 11, "by default only corrupt and empty files are rejected"


@pytest.mark.proof
@pytest.mark.parametrize(("pieces", "missing"), [(1, ["generated", "real"]), (2, ["real"])])
def test_a_corpus_too_small_to_be_split_trains_and_says_what_is_missing(pieces, missing, workspace):
    music.make_chorales(workspace.folder / "music", pieces, seed=5)
    mine = workspace.config("mine", own_folder(workspace.folder / "music"))
    workspace.run(configs=[SMOKE, mine])
    text = workspace.text("results/fad.txt")
    for name in missing:
        line = next(line for line in text.splitlines() if line.startswith(f"  {name}"))
        assert "n/a" in line
    assert "tune groups" in text[text.index("\nnot measured") :]
    assert (workspace.folder / "results/clips/mine/seed-0/draw-0/clip-0000.wav").is_file()


def test_the_simplest_case_gives_its_training_segment_back(workspace):
    """Greedy generation equals the training tokens: all parts fit together."""
    import numpy as np

    from etude.audio.files import read_audio
    from etude.config import Sampling
    from etude.systems import open_system
    from etude.systems.audiolm.building import STAGES
    from etude.systems.audiolm.data import PackedData
    from etude.systems.base import Parts

    preset = ROOT / "config/presets/overfit.yaml"
    workspace.by_hand("results/clips/overfit/seed-0/draw-0", "--before", configs=[preset])
    results = workspace.folder / "results"
    models = {s: results / f"models/overfit/{s}/seed-0" for s in STAGES}
    named = {"semantic": "bands", "acoustic": "magnitude"}
    tokenizers = {r: results / "tokenizers/one_piece" / n for r, n in named.items()}
    player = open_system("audiolm").open(None, Parts(models=models, tokenizers=tokenizers))
    taught = PackedData(results / "packed/one_piece/embedded/train", 4).batch([0])
    tokens = player.generator.generate(2.0, [0], Sampling(temperature=0))
    assert torch.equal(tokens.semantic, taught["semantic"])
    assert torch.equal(tokens.acoustic, taught["acoustic"])
    clip = read_audio(results / "clips/overfit/seed-0/draw-0/clip-0000.wav", 24000)
    expected = player.acoustic.decode(taught["acoustic"])[0].numpy()
    np.testing.assert_allclose(clip, expected, atol=1e-4)


@pytest.mark.proof
def test_tokenizers_of_the_pretrained_shapes_pass_through_all_stages(workspace):
    """99 frames of semantic tokens and 150 frames x 8 codebooks for two seconds."""
    music.make_chorales(workspace.folder / "music", 4, seed=2)
    mine = own_folder(workspace.folder / "music") | {
        "tokenizers": {
            "hubert_shape": {
                "kind": "semitone_bands", "sample_rate": 16000, "hop": 320,
                "receptive_field": 400, "clusters": 500,
            },
            "encodec_shape": {
                "kind": "magnitude_rvq", "hop": 320, "codebook_size": 1024, "quantizers": 8,
                "iterations": 2,
            },
        },
        "tokens": {"shaped": {"cut": "two_seconds", "semantic": "hubert_shape", "acoustic": "encodec_shape"}},
    }  # fmt: skip
    mine["experiments"]["mine"] |= {
        "tokens": "shaped",
        "coarse_quantizers": 3,
        "stages": {
            s: {"training": {"steps": 2, "audition": True}} for s in ("semantic", "coarse", "fine")
        },
        "generate": {"clips": 2},
    }
    workspace.run(configs=[SMOKE, workspace.config("mine", mine)])
    info = (workspace.folder / "results/packed/mine/shaped/info.json").read_text()
    assert '"semantic_frames": 99' in info
    assert '"acoustic_frames": 150' in info
    assert "generated" in workspace.text("results/fad.txt")
    log = workspace.text("results/logs/train_stage/mine/coarse/seed-0.log")
    assert "step 2: heard et_grid" in log
    assert list(workspace.folder.glob("results/tensorboard/mine/coarse/0/events*"))
