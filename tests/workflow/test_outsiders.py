"""What CONTRIBUTING.md shows, done: sources, tokenizers, networks, metrics, a rule of one's own."""

from __future__ import annotations

import csv
from random import Random

import contributing
import pytest
from workspace import ROOT, SMOKE, Workspace, jobs

pytestmark = pytest.mark.workflow

NAMES = ("melodies", "songbook", "loudness", "steps", "gru", "lstm", "pitches", "energy")
PARTS = [f"{name}.yaml" for name in NAMES]
FEW = {
    "run": ["audiolm", "remi_llama"],
    "experiments": {
        "audiolm": {
            "stages": {s: {"training": {"steps": 4}} for s in ("semantic", "coarse", "fine")},
            "generate": {"clips": 4},
        },
        "remi_llama": {
            "corpus": "songs",
            "stages": {"lm": {"training": {"steps": 4}}},
            "generate": {"clips": 4, "prompt_tokens": 8, "new_tokens": 24},
        },
    },
}
FAD = "results/fad.txt"


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """All parts at once, from music to the table."""
    workspace = Workspace(tmp_path_factory.mktemp("outside"))
    contributing.write_files(workspace.folder)
    write_songs(workspace.folder / "songs")
    workspace.config("few", FEW)
    workspace.run(FAD, configs=configs(workspace))
    return workspace


def write_songs(folder):
    """Sixteen songs, and a page that is none."""
    folder.mkdir()
    for number in range(16):
        random = Random(number)
        notes = (random.choice("CDEFGAB") + random.choice("45") for _ in range(32))
        (folder / f"song-{number:02d}.txt").write_text(" ".join(notes), encoding="utf-8")
    (folder / "notes.txt").write_text("What this folder holds", encoding="utf-8")


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
    assert "\n  Chroma distance_Energy (distance): generated " in text
    assert '"kind": "steps:Steps"' in outside.text("results/tokenizers/songs/steps/config.json")
    assert '"kind": "lstm:Lstm"' in outside.text("results/models/remi_llama/lm/seed-0/config.json")
    assert "\nnotes-" in outside.text("results/corpora/songs/ingest/0000.csv")
    assert "not_a_note" in outside.text("results/corpora/songs/ingest/0000.csv")


def test_a_second_run_does_nothing(outside):
    assert jobs(outside.run("-n", FAD, configs=configs(outside))) == set()


@pytest.mark.parametrize(
    ("module", "expected", "untouched"),
    [
        ("melodies.py", ["fetch_source"], []),
        ("loudness.py", ["fit_tokenizer", "tokenize_audio"], ["fetch_source", "cut_segments"]),
        ("songbook.py", ["fetch_source"], ["fit_tokenizer"]),
        ("songs/song-00.txt", ["fetch_source"], ["fit_tokenizer"]),
        ("steps.py", ["make_tokenizer", "tokenize_midi"], ["fetch_source", "cut_segments"]),
        ("lstm.py", ["Training remi_llama: lm"], ["Training audiolm", "fit_tokenizer"]),
        ("energy.py", ["score_fad"], ["embed_clips", "generate_clips"]),
        ("gru.py", ["Training audiolm: coarse", "make_baselines"], ["Training audiolm: fine", "fit_tokenizer"]),
        ("pitches.py", ["embed_clips", "measure_clips", "score_fad"], ["generate_clips"]),
    ],
)  # fmt: skip
def test_a_changed_module_reruns_what_hangs_on_it(outside, module, expected, untouched):
    path = outside.folder / module
    before = path.read_text(encoding="utf-8")
    more = " C5" if path.suffix == ".txt" else "\nVERSION = 2\n"
    path.write_text(before + more, encoding="utf-8")
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
    assert len(rows) == 8
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
