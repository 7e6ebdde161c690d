"""`snakemake --sdm conda`, with a stand-in for conda: each rule in its own environment, alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import music
import pytest
import tiny_models
import yaml
from stand_in import BIN, LENT, run_in_conda, use_stand_in
from workspace import ROOT, SMOKE, jobs, own_folder

pytestmark = pytest.mark.workflow


@pytest.fixture
def conda(workspace, monkeypatch):
    """A corpus and the settings with which Snakemake finds the stand-in."""
    music.make_chorales(workspace.folder / "music", 8, seed=1)
    mine = own_folder(workspace.folder / "music")
    mine["corpora"]["mine"]["shards"] = 1
    mine["experiments"]["mine"]["generate"] = {"clips": 4}
    workspace.configs = [SMOKE, workspace.config("mine", mine)]
    use_stand_in(monkeypatch, workspace)
    return workspace


def nothing_to_do(done) -> bool:
    return "Nothing to be done" in done.stdout + done.stderr


def ran(workspace) -> set[tuple[str, str]]:
    """Each script that ran, and the environment that it ran in, by the name of its file."""
    files = {}  # prefix -> text of the environment's file, which Snakemake has copied beside it
    for path in (workspace.folder / "envs").glob("*.yaml"):
        files[str(path.with_suffix(""))] = path.read_text()
    names = {path.read_text(): path.stem for path in (ROOT / "envs").glob("*.yaml")}
    pairs = (line.split("\t") for line in workspace.text("alone.tsv").splitlines())
    return {(script.split(".")[1], names[files[prefix]]) for script, prefix in pairs}


def declared() -> dict[tuple[str, str], str]:
    """The script and environment of each rule -> its name."""
    found = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            # audiolm-pytorch's environment is for another network: tests/audiolm_pytorch has it.
            env = re.search(r'conda:\s*(?:system_env|"([^"]+)")', text)
            script = re.search(r'script:\s*"([^"]+)"', text)
            found[Path(script[1]).stem, Path(env[1] or "torch").stem] = text.split(":")[0]
    return found


def test_pieces_are_read_in_the_environment_of_their_rules(conda):
    target = "results/corpora/mine/pieces.csv"
    run_in_conda(conda, target)
    assert ran(conda) == {("ingest_corpus", "corpus"), ("decide_split", "corpus")}
    assert nothing_to_do(run_in_conda(conda, target))


def test_what_an_environment_lacks_is_not_lent(tmp_path):
    """The proof can fail: without the catch numpy would come from the main environment."""
    env = {"dependencies": ["python=3.11", {"pip": ["pyyaml"]}]}
    file = tmp_path / "env.yaml"
    file.write_text(yaml.safe_dump(env))
    create = ["env", "create", "--file", str(file), "--prefix", str(tmp_path / "env")]
    subprocess.run([sys.executable, str(BIN / "conda"), *create], check=True)
    code = f"import sys; sys.path += [{LENT!r}, {str(ROOT)!r}]; import numpy, etude, numpy.fft"
    command = [str(tmp_path / "env/bin/python"), "-c", code]
    borrowed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert borrowed.returncode == 0, borrowed.stderr
    alone = {"ETUDE_LENT": LENT, "ETUDE_ALONE": str(tmp_path / "alone.tsv")}
    code = f"import sys; sys.path += [{LENT!r}, {str(ROOT)!r}]; import etude, numpy"
    done = subprocess.run(
        [*command[:2], code], env=os.environ | alone, capture_output=True, text=True, check=False
    )
    assert "No module named 'numpy'" in done.stderr


def test_the_stand_in_gives_no_more_than_it_can(tmp_path):
    (tmp_path / "env.yaml").write_text("dependencies: [python=3.11, ffmpeg=7]")
    create = ["env", "create", "--file", str(tmp_path / "env.yaml"), "--prefix", "env"]
    command = [sys.executable, str(BIN / "conda"), *create]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "ffmpeg" in done.stderr


def whole(workspace) -> None:
    """Audio, symbols and a kept step: the run of which the time is told."""
    config = yaml.safe_load(workspace.configs[1].read_text())
    few = {"steps": 10, "batch_size": 4, "keep_steps": [5]}
    config["experiments"]["mine"]["stages"] = {"semantic": {"training": few}}
    config["tokenizers"] = {"pairs": {"kind": "remi", "bpe": 400}}
    config["tokens"] = {
        "pairs": {"tokenizer": "pairs", "window": 128, "stride": 64, "shortest": 96}
    }
    config["experiments"]["notes"] = {"system": "symbolic_lm", "corpus": "mine", "tokens": "pairs"}
    config["run"] = ["mine", "notes"]
    config["criteria"] = {"mine": {"exact_matches": 0}}
    workspace.configs = [SMOKE, workspace.config("mine", config)]


# What the whole run has no use for, by the outputs of the rules that make it.
ELSEWHERE = (
    "results/corpora/other/pieces.csv",  # of a source that is fetched
    "results/tokenizers/other/magnitude",  # taken over
    "results/models/second/semantic/seed-0/model.safetensors",  # as well
    "results/clips/theirs/seed-0/draw-0",  # of somebody else
    "results/verified/other/heard.csv",  # of a pretrained network
    "results/events/other/events/0000",  # MidiLM's own files
)


def elsewhere(workspace) -> None:
    """What was made elsewhere: music, tokenizers, weights, clips, a network."""
    folder = workspace.folder
    for what in ("tokenizers/mine/magnitude", "models/mine/semantic/seed-0"):
        shutil.copytree(folder / "results" / what, folder / "given" / Path(what).parts[0])
    archive = shutil.make_archive(str(folder / "music"), "zip", folder / "music")
    shutil.copytree(folder / "results/clips/mine/seed-0/draw-0", folder / "clips")
    tiny_models.make_hubert(folder / "given/hubert")
    hubert = {"kind": "hubert", "path": str(folder / "given/hubert"), "verify": "report"}
    fit = {"fit": {"folder": str(folder / "given/tokenizers")}}
    weights = {"semantic": {"weights": str(folder / "given/models")}}
    config = {
        "corpora": {"other": {"source": "archive", "url": archive, "shards": 1}},
        "pretrained": {"hubert": hubert},
        "tokenizers": {
            "magnitude": {"kind": "magnitude_rvq", **fit},
            "heard": {"kind": "hubert", "layer": 1, "clusters": 16, "fit": {"segments": 8}},
        },
        "tokens": {"events": {"tokenizer": "onoff", "window": 128, "stride": 64, "shortest": 96,
                              "write_events": True}},
        "experiments": {
            "second": {"system": "audiolm", "corpus": "other", "stages": weights},
            "theirs": {"system": "external", "corpus": "other", "clips": str(folder / "clips")},
        },
        "run": ["second"],
    }  # fmt: skip
    workspace.configs = [SMOKE, workspace.config("other", config)]


@pytest.mark.proof
def test_everything_runs_with_each_rule_alone(conda):
    from record import record

    whole(conda)
    began = time.monotonic()
    run_in_conda(conda)
    seconds = time.monotonic() - began
    assert "generated" in conda.text("results/fad.txt")
    assert (conda.folder / "results/report/index.html").is_file()
    began = time.monotonic()
    assert jobs(run_in_conda(conda, "-n")) == set()
    assert nothing_to_do(run_in_conda(conda))
    again = time.monotonic() - began
    elsewhere(conda)
    run_in_conda(conda, *ELSEWHERE)
    known = declared()
    assert ran(conda) <= known.keys()
    # Networks that are asked of fadtk or of a hub have no stand-in: nobody brings their weights.
    missing = {known[pair] for pair in known.keys() - ran(conda)}
    # (test_fadtk.py runs fadtk's with a loader of ours.)
    of_embeddings = ("embed_clips_pretrained", "embed_clips_fadtk")
    assert missing == {*of_embeddings, "verify_embedding", "verify_embedding_fadtk"}
    lines = [
        (
            f"Eight pieces, few steps, audio and symbols, `snakemake --sdm conda` with a stand-in "
            f"for conda that builds each environment's pip part with uv: {seconds:.0f} s, the "
            f"environments included. Plan and second run, which do nothing: {again:.0f} s together. "
            f"{len(known) - len(missing)} of {len(known)} rules ran, each with the packages of its "
            f"own environment alone; the others ({', '.join(sorted(missing))}) need weights that "
            "nobody could bring here."
        )
    ]
    record("An environment for each rule", "pytest tests/conda -m proof", lines)
