"""What CONTRIBUTING.md shows, done: a source, a tokenizer, a network, metrics, a rule of one's own."""

from __future__ import annotations

import csv

import contributing
import pytest
from workspace import ROOT, SMOKE, Workspace, jobs

pytestmark = pytest.mark.workflow

PARTS = ["melodies.yaml", "loudness.yaml", "gru.yaml", "pitches.yaml"]
FEW = {
    "run": ["audiolm"],
    "experiments": {
        "audiolm": {
            "stages": {s: {"training": {"steps": 4}} for s in ("semantic", "coarse", "fine")},
            "generate": {"clips": 4},
        }
    },
}
FAD = "results/fad.txt"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """All parts at once, from music to the table."""
    workspace = Workspace(tmp_path_factory.mktemp("outside"))
    contributing.write_files(workspace.folder)
    workspace.config("few", FEW)
    workspace.run(FAD, configs=configs(workspace))
    return workspace


def configs(workspace):
    return [SMOKE, *(workspace.folder / name for name in [*PARTS, "few.yaml"])]


def test_every_part_of_a_users_own_is_at_work(outside):
    text = outside.text(FAD)
    assert "Chroma," in outside.text("results/leaderboard.csv")
    assert "\n  Attacks (per second): generated " in text
    assert text.splitlines()[-1].startswith("gate: ")
    results = outside.folder / "results"
    assert len(list(results.glob("corpora/melodies/source/*.mid"))) == 16
    assert '"kind": "loudness:Loudness"' in outside.text(
        "results/tokenizers/melodies/loudness/config.json"
    )
    assert '"semantic_vocabulary": 36' in outside.text("results/packed/melodies/loud/info.json")
    assert '"kind": "gru:Gru"' in outside.text("results/models/audiolm/coarse/seed-0/config.json")
    assert (results / "embeddings/audiolm/baselines/Chroma.npz").is_file()


def test_a_second_run_does_nothing(outside):
    assert jobs(outside.run("-n", FAD, configs=configs(outside))) == set()


@pytest.mark.parametrize(
    ("module", "expected", "untouched"),
    [
        ("melodies.py", ["fetch_source"], []),
        ("loudness.py", ["fit_tokenizer", "tokenize_audio"], ["fetch_source", "cut_segments"]),
        ("gru.py", ["Training audiolm: coarse", "make_baselines"], ["Training audiolm: fine", "fit_tokenizer"]),
        ("pitches.py", ["embed_clips", "measure_clips", "score_fad"], ["generate_clips"]),
    ],
)  # fmt: skip
def test_a_changed_module_reruns_what_hangs_on_it(outside, module, expected, untouched):
    path = outside.folder / module
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "\nVERSION = 2\n", encoding="utf-8")
    try:
        said = outside.run("-n", FAD, configs=configs(outside)).stdout
    finally:
        path.write_text(before, encoding="utf-8")
    assert all(words in said for words in expected)
    assert not any(words in said for words in untouched)


def test_clips_outside_the_workflow(outside):
    said = outside.etude(
        "generate", "--experiment", "audiolm", "--duration", "2", "--batch_size", "1",
        "--configfile", *configs(outside),
    ).stdout  # fmt: skip
    assert said.split() == ["track1.wav"]


def test_a_wrong_option_is_four_lines_in_the_job(outside):
    bad = {"tokenizers": {"loud2": {"kind": "loudness:Loudness", "options": {"level": 3}}}}
    target = "results/tokenizers/melodies/loud2"
    bad = [*configs(outside), outside.config("bad", bad)]
    done = outside.run(target, configs=bad, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Loudness has no option 'level' (did you mean 'levels'?)" in said
    assert "Traceback" not in said


def test_a_rule_of_ones_own(outside):
    (outside.folder / "etude").symlink_to(ROOT)
    table = "results/loudest.csv"
    own = outside.folder / "loudest.smk"
    outside.run(table, "-s", own, configs=configs(outside))
    with (outside.folder / table).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert float(rows[0]["rms"]) >= float(rows[-1]["rms"]) > 0
    before = (outside.folder / table).read_bytes()
    outside.by_hand(table, "--snakefile", own, configs=configs(outside))
    assert (outside.folder / table).read_bytes() == before


def test_a_sweep_is_planned_as_its_experiments(outside):
    grid = {"stages.coarse.training.learning_rate": [1e-3, 2e-3]}
    sweep = {"sweep": {"rate": {"base": "audiolm", "grid": grid}}, "run": ["rate"]}
    swept = [*configs(outside), outside.config("sweep", sweep)]
    said = outside.run("-n", FAD, configs=swept).stdout
    for rate in ("0p001", "0p002"):
        assert f"results/metrics/rate-{rate}/seed-0/draw-0/fad.csv" in said
