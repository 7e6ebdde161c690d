"""`snakemake --sdm conda`, with a stand-in for conda: each rule in its own environment, alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import music
import pytest
import yaml
from workspace import ROOT, SMOKE, jobs, own_folder

pytestmark = pytest.mark.workflow
HERE = Path(__file__).parent
LENT = sysconfig.get_path("purelib")


@pytest.fixture
def conda(workspace, monkeypatch):
    """A corpus and the settings with which Snakemake finds the stand-in."""
    music.make_chorales(workspace.folder / "music", 8, seed=1)
    mine = own_folder(workspace.folder / "music")
    mine["corpora"]["mine"]["shards"] = 1
    mine["experiments"]["mine"]["generate"] = {"clips": 4}
    workspace.configs = [SMOKE, workspace.config("mine", mine)]
    ours = [str(HERE / "bin"), str(Path(sys.executable).parent)]
    monkeypatch.setenv("PATH", os.pathsep.join([*ours, os.environ["PATH"]]))
    monkeypatch.setenv("ETUDE_LENT", LENT)
    monkeypatch.setenv("ETUDE_ALONE", str(workspace.folder / "alone.tsv"))
    return workspace


def run(workspace, *targets):
    prefix = ["--conda-prefix", workspace.folder / "envs"]
    return workspace.run(*targets, "--sdm", "conda", *prefix, configs=workspace.configs)


def nothing_to_do(done) -> bool:
    return "Nothing to be done" in done.stdout + done.stderr


def ran(workspace) -> dict[str, str]:
    """Rule -> the environment that its script ran in, by the name of its file."""
    files = {}  # prefix -> text of the environment's file, which Snakemake has copied beside it
    for path in (workspace.folder / "envs").glob("*.yaml"):
        files[str(path.with_suffix(""))] = path.read_text()
    names = {path.read_text(): path.stem for path in (ROOT / "envs").glob("*.yaml")}
    lines = workspace.text("alone.tsv").splitlines()
    pairs = (line.split("\t") for line in lines)
    return {script.split(".")[1]: names[files[prefix]] for script, prefix in pairs}


def declared() -> dict[str, str]:
    """Rule -> the environment that it names."""
    found, rule = {}, ""
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for line in file.read_text().splitlines():
            if line.startswith("rule "):
                rule = line[5:-1]
            elif "../envs/" in line:
                found[rule] = Path(line.strip().strip('"')).stem
    return found


def test_pieces_are_read_in_the_environment_of_their_rules(conda):
    target = "results/corpora/mine/pieces.csv"
    run(conda, target)
    assert ran(conda) == {"ingest_corpus": "corpus", "decide_split": "corpus"}
    assert nothing_to_do(run(conda, target))


def test_what_an_environment_lacks_is_not_lent(tmp_path):
    """The proof can fail: without the catch numpy would come from the main environment."""
    env = {"dependencies": ["python=3.11", {"pip": ["pyyaml"]}]}
    file = tmp_path / "env.yaml"
    file.write_text(yaml.safe_dump(env))
    create = ["env", "create", "--file", str(file), "--prefix", str(tmp_path / "env")]
    subprocess.run([sys.executable, str(HERE / "bin/conda"), *create], check=True)
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
    command = [sys.executable, str(HERE / "bin/conda"), *create]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "ffmpeg" in done.stderr


@pytest.mark.proof
def test_everything_runs_with_each_rule_alone(conda):
    from record import record

    began = time.monotonic()
    run(conda)
    seconds = time.monotonic() - began
    assert "generated" in conda.text("results/fad.txt")
    assert (conda.folder / "results/report/index.html").is_file()
    where, names = ran(conda), declared()
    assert where == {rule: names[rule] for rule in where}
    # These need another configuration: a download, weights of another run, somebody else's clips.
    elsewhere = {"fetch_source", "import_tokenizer", "import_weights", "import_clips", "keep_step"}
    assert names.keys() - where.keys() <= elsewhere
    # audiolm is for another network; tests/audiolm_pytorch runs the rules in it.
    every = {path.stem for path in (ROOT / "envs").glob("*.yaml")}
    assert set(where.values()) == every - {"audiolm"}
    began = time.monotonic()
    assert jobs(run(conda, "-n")) == set()
    assert nothing_to_do(run(conda))
    again = time.monotonic() - began
    lines = [
        (
            f"Eight pieces, few steps, `snakemake --sdm conda` with a stand-in for conda that builds "
            f"each environment's pip part with uv: {seconds:.0f} s, the environments included. Plan "
            f"and second run, which do nothing: {again:.0f} s together."
        )
    ]
    record("An environment for each rule", "pytest tests/conda -m proof", lines)
