"""The presets for released weights, end to end to the page: look-alikes in the originals' formats.

we-sharp's are written and read with audiolm-pytorch, which is installed aside.
"""

from __future__ import annotations

import pytest
import tiny_models
import torch
from released import WE_SHARP, write_takes, write_tuned, write_words
from safetensors.torch import load_file
from workspace import ROOT, Workspace, install_aside, jobs

from etude.storage import read_csv, read_json

pytestmark = pytest.mark.workflow
PRESETS = ROOT / "config/presets"
SPLIT = {"train": 0.25, "valid": 0.25, "test": 0.5}  # the reference is the largest part
FEW = {"memorisation": {"null_clips": 8, "planted": 0}}
WORDS = ["steel drum", "organ"]


def local(path, **more):
    return {"hub": None, "path": path, "verify": "report"} | more


def run(workspace, preset, content):
    """Run all jobs of the preset, `content` laid over it, in one process -> its configs, its plan."""
    configs = [PRESETS / f"{preset}.yaml", workspace.config("tiny", content)]
    planned = jobs(workspace.run("-n", configs=configs))
    workspace.by_hand(configs=configs)
    return configs, planned


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("words"))
    for name, hertz in zip(WORDS, (900, 200), strict=True):
        write_takes(workspace.folder / "concepts" / name, 8, hertz, 32000, "take", seconds=6.0)
    whole = tiny_models.make_musicgen(workspace.folder / "models/musicgen")
    tiny_models.fill_codebooks(whole, workspace.folder / "models/musicgen")
    whole.audio_encoder.save_pretrained(str(workspace.folder / "models/encodec"))
    write_words(workspace.folder / "ti-best.pt", WORDS, rows=2, width=32)
    clips = {"seconds": 2, "clips": 4}
    content = {
        "corpora": {"concepts": {"shards": 1, "split": SPLIT}},
        "cuts": {"five_seconds_32khz": {"seconds": 2}},
        "pretrained": {
            "musicgen_small": local("models/musicgen"),
            "encodec_32khz": local("models/encodec"),
        },
        "experiments": {
            "small": {"generate": clips},
            "words": {"concepts": WORDS, "tokens_per_concept": 2, "generate": clips},
        },
        "evaluation": FEW | {"concepts": {"clips": 4, "segments": 8}},
    }
    return workspace, *run(workspace, "ti_musicgen_released", content)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("tuned"))
    write_takes(workspace.folder / "ours", 8, 440, 32000, "wobbly siren, slow", seconds=6.0)
    write_tuned(workspace.folder / "audio-tune-model", tmp_path_factory.mktemp("work"))
    content = {
        "corpora": {"ours": {"shards": 1, "split": SPLIT}},
        "pretrained": {"tuned": {"verify": "report"}},
        "experiments": {
            "audio_tune": {
                "stages": {"dit": {"window": 1.0}},
                "generate": {"clips": 4, "seconds": 2, "denoising": {"steps": 4}},
            }
        },
        "evaluation": FEW,
    }
    return workspace, *run(workspace, "audio_tune", content)


@pytest.fixture(scope="module")
def expo(tmp_path_factory):
    """we-sharp's three checkpoints, HuBERT, k-means and EnCodec, and a folder of ready WAV files."""
    sklearn = ("scikit-learn==1.9.1", "threadpoolctl==3.8.0", "narwhals==2.29.0")
    packages = ("-r", ROOT / "requirements/audiolm.txt", *sklearn)
    aside = install_aside(tmp_path_factory.mktemp("aside"), *packages)
    workspace = Workspace(tmp_path_factory.mktemp("expo"), aside=(aside,))
    data, models = workspace.folder / "expo-data", workspace.folder / "models"
    write_takes(data / "music", 8, 440, 24000, "piece", seconds=6.0)
    tiny_models.make_hubert(models / "hubert", layers=9)
    tiny_models.fill_codebooks(tiny_models.make_encodec(models / "encodec"), models / "encodec")
    workspace.python("-c", WE_SHARP, data)
    small = {"network": {"dim": 32, "depth": 1, "heads": 2}}
    stages = dict.fromkeys(("semantic", "coarse", "fine"), small)
    content = {
        "corpora": {"expo": {"shards": 1, "split": SPLIT}},
        "pretrained": {"hubert": local("models/hubert"), "encodec": local("models/encodec")},
        "experiments": {
            "expo_released": {"stages": stages, "generate": {"clips": 4, "seconds": 3}}
        },
        "evaluation": {"memorisation": FEW["memorisation"] | {"prefixes": 2}},
    }
    return workspace, *run(workspace, "expo_released", content)


@pytest.fixture(params=["expo", "words", "tuned"])
def released(request):
    return request.getfixturevalue(request.param)


def board(workspace, metric):
    rows = read_csv(workspace.folder / "results/leaderboard.csv")
    return [row for row in rows if row["metric"] == metric and row["clips"] == "generated"]


def test_released_weights_go_to_the_page_without_a_training(released):
    workspace, configs, planned = released
    assert {"import_weights", "generate_clips", "find_memorisation", "build_report"} <= planned
    assert not {"train_stage", "keep_step"} & planned
    assert not (workspace.folder / "results/state").exists()
    assert any(row["value"] for row in board(workspace, "frechet_distance"))
    (copies,) = board(workspace, "memorised_exact")
    assert float(copies["value"]) == 0
    page = workspace.text("results/report/index.html")
    assert 'id="verdict"' in page
    assert copies["experiment"] in page
    assert not jobs(workspace.run("-n", configs=configs))


def test_the_words_are_those_of_the_file(words):
    workspace, *_ = words
    file = torch.load(workspace.folder / "ti-best.pt", weights_only=True)
    made = workspace.folder / "results/models/words/concept/seed-0"
    again = torch.load(made / "words.pt", weights_only=True)
    assert again.keys() == file.keys()
    for name, about in file.items():
        assert torch.equal(again[name]["embeds"], about["embeds"]), name
    asked = read_csv(workspace.folder / "results/clips/words/seed-0/draw-0/conditions.csv")
    prompts = " ".join(row["prompt"] for row in asked)
    assert all(f"<{name}>" in prompts for name in WORDS)
    table = read_csv(workspace.folder / "results/metrics/words/seed-0/concept.csv")
    assert {row["concept"] for row in table} == set(WORDS)


def test_the_tuned_weights_are_those_of_the_file(tuned):
    workspace, *_ = tuned
    clips = workspace.folder / "results/clips/audio_tune/seed-0/draw-0"
    assert [row["seconds"] for row in read_csv(clips / "clips.csv")] == ["2.000"] * 4
    asked = {row["prompt"] for row in read_csv(clips / "conditions.csv")}
    assert asked == {"wobbly siren, slow"}
    origin = read_json(workspace.folder / "results/pretrained/tuned/origin.json")
    assert origin["from"] == "model.ckpt"


def test_the_expos_weights_are_those_of_the_files(expo):
    workspace, *_ = expo
    data, results = workspace.folder / "expo-data", workspace.folder / "results"
    for stage, step in (("semantic", 25000), ("coarse", 29219), ("fine", 24245)):
        file = data / f"{stage}.transformer.{step}.pt"
        theirs = torch.load(file, weights_only=True)["model"]
        ours = load_file(results / f"models/expo_released/{stage}/seed-0/model.safetensors")
        names = {name.removeprefix("transformer.net."): name for name in ours}
        assert theirs.keys() == names.keys()
        assert all(torch.equal(theirs[short], ours[name]) for short, name in names.items())
    info = read_json(results / "packed/expo/expo/info.json")
    assert (info["semantic_vocabulary"], info["quantizers"]) == (500, 8)
    clips = results / "clips/expo_released/seed-0/draw-0"
    assert [row["seconds"] for row in read_csv(clips / "clips.csv")] == ["3.000"] * 4
