"""Every adapter runs without the workflow, by scripts/by_hand.py, and writes the same bytes."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load
from workspace import ROOT, SMOKE, Workspace

from etude.config import DEFAULT, read

pytestmark = pytest.mark.workflow

MODEL = "results/models/kept/coarse/seed-0"
CLIPS = "results/clips/mine"
SEARCHED = "results/memorisation/mine/two_seconds"
# As `mine`, but for a step that is kept: its training is made by hand alone.
KEPT = {
    "system": "audiolm",
    "corpus": "mine",
    "stages": {"coarse": {"training": {"keep_steps": [10]}}},
}

# An output of every rule, in the order of the workflow.
OUTPUTS = {
    "fetch_source": "results/corpora/chorales/source",
    "ingest_corpus": "results/corpora/mine/ingest/0000.csv",
    "decide_split": "results/corpora/mine/pieces.csv",
    "render_midi": "results/corpora/mine/wav/0001",
    "cut_segments": "results/cuts/mine/two_seconds/0000",
    "fit_tokenizer": "results/tokenizers/mine/bands",
    "import_tokenizer": "results/tokenizers/mine/taken",
    "tokenize_audio": "results/tokens/mine/embedded/0001.jsonl",
    "pack_tokens": "results/packed/mine/embedded",
    "train_stage": f"{MODEL}/model.safetensors",
    "keep_step": f"{MODEL}/step-10.safetensors",
    "import_weights": "results/models/given/semantic/seed-0/model.safetensors",
    "generate_clips": f"{CLIPS}/seed-0/draw-0",
    "import_clips": "results/clips/others/seed-0/draw-0",
    "make_baselines": f"{CLIPS}/baselines",
    "embed_clips": "results/embeddings/mine/baselines/timbre.npz",
    "measure_clips": "results/metrics/mine/seed-0/draw-0/signals.csv",
    "score_fad": "results/metrics/mine/seed-0/draw-0/fad.csv",
    "catalogue_corpus": f"{SEARCHED}/catalogue",
    "embed_corpus": f"{SEARCHED}/embeddings/timbre.npz",
    "study_memorisation": f"{SEARCHED}/recall.csv",
    "tokenize_clips": "results/metrics/mine/seed-0/draw-0/tokens.jsonl",
    "extract_prefixes": "results/metrics/mine/seed-0/extraction.csv",
    "find_memorisation": "results/metrics/mine/seed-0/draw-0/memorisation.csv",
    "write_fad": "results/fad.txt",
    "build_report": "results/report/index.html",
}

# Of other systems and of weights from elsewhere: the workflow runs them in tests of their own
# (test_symbolic.py, test_pretrained.py), on experiments that this run does not have.
ELSEWHERE = {
    *("make_tokenizer", "tokenize_midi", "pack_symbolic", "summarise_tokens", "write_events"),
    *("train_word2vec", "measure_symbolic", "score_symbolic"),
    *("score_perplexity", "fetch_weights", "verify_models", "verify_embedding", "check_criteria"),
    *("encode_stage", "score_latents"),  # of systems with latents: test_toys.py, test_phrases.py
    *("caption_corpus", "score_concepts"),  # of systems with texts: test_words.py
    "list_owners",  # of corpora that have owners: test_withdrawal.py
    "verify_text",  # of networks that read texts: test_verify_text.py
    *("clips_over_steps", "measure_over_steps"),  # off by default: test_around.py
}


@pytest.fixture(scope="module")
def opened(finished, tmp_path_factory):
    """A copy of a finished run, every script of it run by hand once more."""
    workspace = Workspace(tmp_path_factory.mktemp("opened") / "run")
    shutil.copytree(finished.folder, workspace.folder, ignore=shutil.ignore_patterns(".snakemake"))
    bands = read(DEFAULT).tokenizers["bands"].model_dump(mode="json")
    weights = {"weights": "results/models/mine/semantic/seed-0"}
    given = {"system": "audiolm", "corpus": "mine", "stages": {"semantic": weights}}
    others = {"system": "external", "corpus": "mine", "clips": f"{CLIPS}/seed-0/draw-0"}
    over = {
        "corpora": {"chorales": {"limit": 2}},
        "tokenizers": {"taken": bands | {"fit": {"folder": "results/tokenizers/mine/bands"}}},
        "experiments": {"kept": KEPT, "given": given, "others": others},
    }
    configs = [SMOKE, workspace.folder / "mine.yaml", workspace.config("over", over)]
    before = workspace.results()
    said = workspace.by_hand(*OUTPUTS.values(), configs=configs).stdout
    return workspace, before, said, configs


def test_there_is_an_output_for_every_script():
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts - {"adapter", "by_hand"} - ELSEWHERE == OUTPUTS.keys()


def test_every_script_runs_by_hand(opened):
    workspace, _, said, _ = opened
    lines = [line for line in said.splitlines() if line.split(".py: ")[0] in OUTPUTS]
    assert [line.split(".py: ")[0] for line in lines] == list(OUTPUTS)
    assert all((workspace.folder / path).exists() for path in OUTPUTS.values())


def test_by_hand_gives_the_bytes_of_the_workflow(opened):
    workspace, before, _, _ = opened
    after = workspace.results()
    different = [name for name in before if before[name] != after.get(name)]
    assert different == []
    weights = MODEL + "/model.safetensors"
    kept, mine = load(after[weights]), load(before[weights.replace("kept", "mine")])
    for name in mine:  # not by bytes: see test_the_same_music_gives_the_same_bytes
        torch.testing.assert_close(kept[name], mine[name], atol=1e-3, rtol=0)


def test_each_script_writes_its_own_log(opened):
    workspace, *_ = opened
    log = workspace.text("results/logs/pack_tokens/mine/embedded.log")
    assert "packed train" in log
    assert "clips" not in log, "the scripts that ran after it have logs of their own"


def test_what_is_missing_is_said(opened):
    workspace, _, _, configs = opened
    shutil.rmtree(workspace.folder / "results/cuts/mine/two_seconds/0000")
    done = workspace.by_hand(OUTPUTS["fit_tokenizer"], configs=configs, check=False)
    assert done.returncode == 1
    assert "results/cuts/mine/two_seconds/0000 is not there yet" in done.stderr
    assert "snakemake --cores all" in done.stderr
    done = workspace.by_hand("results/fat.txt", configs=configs, check=False)
    assert done.returncode == 1
    assert "No rule to produce results/fat.txt" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
