"""audiolm-pytorch's networks for real, in an environment made from envs/audiolm.yaml alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import music
import pytest
import yaml
from stand_in import run_in_conda, use_stand_in
from workspace import ROOT, SMOKE, Workspace, own_folder

pytestmark = [pytest.mark.proof, pytest.mark.workflow]
STAGES = ("semantic", "coarse", "fine")
NETWORK = {"backend": "audiolm_pytorch", "dim": 32, "depth": 1, "heads": 2}
# What stages of the library's make; the rules behind it run as for any other (tests/conda).
TARGETS = (
    "results/clips/mine/seed-0/draw-0",
    "results/clips/mine/baselines",
    "results/metrics/mine/seed-0/extraction.csv",
)
IN_THE_LIBRARYS = {"train_stage", "generate_clips", "make_baselines", "extract_prefixes"}


@pytest.fixture(scope="module")
def conda(tmp_path_factory):
    """A tiny corpus, three stages of the library's, and a stand-in for conda (tests/conda)."""
    workspace = Workspace(tmp_path_factory.mktemp("library"))
    music.make_chorales(workspace.folder / "music", 8, seed=1)
    mine = own_folder(workspace.folder / "music")
    mine["corpora"]["mine"]["shards"] = 1
    mine["experiments"]["mine"] |= {
        "generate": {"clips": 4},
        "end_of_sequence": "every_segment",
        "stages": {stage: {"network": NETWORK} for stage in STAGES},
    }
    workspace.configs = [SMOKE, workspace.config("mine", mine)]
    with pytest.MonkeyPatch.context() as patch:
        use_stand_in(patch, workspace)
        yield workspace


def environments(workspace) -> dict[str, Path]:
    """Name of an environment's file -> its folder, as Snakemake has made it."""
    names = {path.read_text(): path.stem for path in (ROOT / "envs").glob("*.yaml")}
    copies = (workspace.folder / "envs").glob("*.yaml")
    return {names[path.read_text()]: path.with_suffix("") for path in copies}


def test_the_rules_run_in_the_librarys_environment_alone(conda):
    run_in_conda(conda, *TARGETS)
    lines = [line.split("\t") for line in conda.text("alone.tsv").splitlines()]
    library = str(environments(conda)["audiolm"])
    ran = {script.split(".")[1] for script, prefix in lines if prefix == library}
    assert ran == IN_THE_LIBRARYS
    rows = conda.text(TARGETS[2]).splitlines()
    assert any(row.startswith("train,") and ",exact,0" in row for row in rows), rows
    clips = list((conda.folder / "results/clips/mine/seed-0/draw-0").glob("*.wav"))
    assert len(clips) == 4
    for stage in STAGES:
        card = conda.text(f"results/models/mine/{stage}/seed-0/card.md")
        assert "| steps | 20 |" in card
    again = run_in_conda(conda, *TARGETS)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_the_seeds_checkpoints_take_the_place_of_a_training(conda):
    """Files as its trainer writes them, loaded by import_weights, sampled by generate_clips."""
    python = environments(conda)["audiolm"] / "bin" / "python"
    write = (
        "import sys, torch; from safetensors.torch import load_file\n"
        "for stage in sys.argv[1:]:\n"
        "    tensors = load_file(f'results/models/mine/{stage}/seed-0/model.safetensors')\n"
        "    names = {n.removeprefix('transformer.net.'): t for n, t in tensors.items()}\n"
        "    content = {'model': names, 'optim': {'state': {}}, 'version': '2.4.0'}\n"
        "    torch.save(content, f'{stage}.transformer.20.pt')\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETUDE_")}
    command = [str(python), "-c", write, *STAGES]
    subprocess.run(command, cwd=conda.folder, env=environment, check=True)
    settings = yaml.safe_load(conda.configs[1].read_text())
    # As config/presets/expo_released.yaml names them.
    settings["pretrained"] = {
        f"seed_{s}": {"kind": "checkpoint", "path": f"{s}.transformer.20.pt", "trust": True}
        for s in STAGES
    }
    given = {s: {"network": NETWORK, "weights": {"pretrained": f"seed_{s}"}} for s in STAGES}
    settings["experiments"]["seed"] = settings["experiments"]["mine"] | {"stages": given}
    settings["run"] = ["seed"]
    conda.configs = [SMOKE, conda.config("seed", settings)]
    run_in_conda(conda, "results/clips/seed/seed-0/draw-0")
    lines = [line.split("\t") for line in conda.text("alone.tsv").splitlines()]
    ran = {
        script.split(".")[1]
        for script, prefix in lines
        if Path(prefix).name == python.parents[1].name
    }
    assert "import_weights" in ran
    trained, given = (f"results/clips/{name}/seed-0/draw-0" for name in ("mine", "seed"))
    for path in (conda.folder / trained).glob("*.wav"):
        assert path.read_bytes() == (conda.folder / given / path.name).read_bytes()


def test_the_networks_are_the_librarys(conda):
    """networks.py, run by pytest in the same environment."""
    folder = environments(conda)["audiolm"]
    finds = os.environ.get("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))
    install = ["pip", "install", "--quiet", "--python", str(folder / "bin/python"), "pytest==9.2.0"]
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, *install], check=True, env=os.environ | {"UV_FIND_LINKS": finds})
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ETUDE_")}
    command = [str(folder / "bin/python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/audiolm_pytorch/networks.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
