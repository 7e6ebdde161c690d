"""What surrounds the main job: errors, commands, external clips, kept steps, the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import music
import pytest
import soundfile
from workspace import ROOT, SMOKE, jobs, own_folder

from etude.storage import read_csv

pytestmark = pytest.mark.workflow


def test_a_misspelt_key_fails_before_anything_runs(workspace):
    bad = workspace.config("bad", {"cuts": {"two_seconds": {"secnds": 3}}})
    done = workspace.run("-n", configs=[bad], check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "cuts.two_seconds.secnds" in said
    assert "did you mean 'seconds'?" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: None, ["cannot be read", "music"]),
        (lambda folder: folder.mkdir(), ["the corpus has no music"]),
        (
            lambda folder: (folder.mkdir(), (folder / "a.mid").write_bytes(b"no music")),
            ["0 kept, 1 rejected (1 corrupt_midi)"],
        ),
    ],
    ids=["missing", "empty", "unusable"],
)
def test_a_folder_without_music_is_a_clear_error(prepare, words, workspace):
    prepare(workspace.folder / "music")
    mine = workspace.config("mine", own_folder(workspace.folder / "music"))
    done = workspace.run(configs=[SMOKE, mine], check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert all(word in said for word in words), said[-3000:]
    assert "Traceback" not in said


def test_a_missing_soundfont_is_a_clear_error(finished):
    render = {"corpora": {"mine": {"render": {"soundfont": "no-such.sf2"}}}}
    change = finished.config("soundfont", render)
    target = "results/corpora/other/wav/0000"
    other = own_folder(finished.folder / "music", "other")
    other["corpora"]["other"] |= render["corpora"]["mine"]
    change = finished.config("soundfont", other)
    done = finished.run(target, configs=[SMOKE, change], check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "no-such.sf2" in said
    assert "Traceback" not in said


def test_audit_says_what_would_happen(finished):
    said = finished.etude("audit", finished.folder / "music").stdout
    assert "12" in said
    assert "corpora: {music:" in said
    assert "run:" in said


def test_generate_outside_the_workflow(finished):
    mine = finished.folder / "mine.yaml"
    said = finished.etude(
        "generate", "--experiment", "mine", "--duration", "3", "--batch_size", "2",
        "--output", "track", "--progress", "progress.json", "--configfile", SMOKE, mine,
    ).stdout  # fmt: skip
    assert said.split() == ["track1.wav", "track2.wav"]
    waves = [soundfile.read(finished.folder / name) for name in said.split()]
    assert max(len(wave) / rate for wave, rate in waves) == 3.0, "shorter where the piece ends"
    assert abs(waves[0][0][-1]) < 1e-3, "the end is faded"
    assert json.loads(finished.text("progress.json"))["percent"] > 95


def test_a_hop_that_would_leave_gaps_is_refused(finished):
    mine = finished.folder / "mine.yaml"
    arguments = ["--experiment", "mine", "--hop", "3", "--configfile", SMOKE, mine]
    done = finished.etude("generate", *arguments, check=False)
    assert done.returncode == 1
    assert "more than a window" in done.stderr


def test_generate_goes_on_from_a_recording(finished):
    mine = finished.folder / "mine.yaml"
    prime = next((finished.folder / "results/corpora/mine/wav").rglob("*.wav"))
    said = finished.etude(
        "generate", "--experiment", "mine", "--duration", "2", "--batch_size", "1", "--fade", "0",
        "--prime_wave", prime, "--output", "primed", "--configfile", SMOKE, mine,
    ).stderr  # fmt: skip
    made, rate = soundfile.read(finished.folder / "primed1.wav")
    given, _ = soundfile.read(prime)
    # A model of twenty steps may end the piece after the first window, which says one second more.
    seconds = pytest.approx(1, rel=0.03) if "ended by itself" in said else 2
    assert (len(made) - len(given)) / rate == seconds, "the prime is played once"
    until = len(given) - rate // 10
    assert abs(made[:until] - given[:until]).max() < 1e-3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "--experiment", "none"], ["no experiment 'none'", "audiolm"]),
        (["generate", "--experiment", "audiolm"], ["not trained yet", "model.safetensors"]),
        (["evaluate", "--baseline", "nowhere", "--eval", "nowhere"], ["no such folder", "nowhere"]),
        (
            ["evaluate", "--baseline", ".", "--eval", ".", "--model", "vggish"],
            ["vggish", "evaluation.fadtk"],
        ),
        (["audit", "nowhere"], ["nowhere"]),
    ],
)
def test_mistakes_at_the_command_line(arguments, words, workspace):
    done = workspace.etude(*arguments, check=False)
    assert done.returncode == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr


def test_evaluate_compares_two_folders(finished):
    clips = finished.folder / "results/clips/mine"
    real, made = clips / "baselines/reference", clips / "seed-0/draw-0"
    said = finished.etude("evaluate", "--baseline", real, "--eval", made).stdout
    assert "exact copies (same samples): 0 of 8" in said
    copies = finished.etude("evaluate", "--baseline", real, "--eval", real).stdout
    count = len(list(real.glob("*.wav")))
    assert f"exact copies (same samples): {count} of {count}" in copies


def test_somebody_elses_clips_stand_in_the_same_table(copied):
    clips = copied.folder / "results/clips/mine/baselines/real"
    theirs = {
        "experiments": {"theirs": {"system": "external", "corpus": "mine", "clips": str(clips)}},
        "run": ["mine", "theirs"],
    }
    configs = [SMOKE, copied.folder / "mine.yaml", copied.config("theirs", theirs)]
    copied.run("results/fad.txt", configs=configs)
    text = copied.text("results/fad.txt")
    board = list(read_csv(copied.folder / "results/leaderboard.csv"))
    assert "\n  theirs (external), training seed 0, draw 0: measured, not judged\n" in text
    metric = {"experiment": "theirs", "metric": "frechet_distance"}
    found = [r for r in board if metric.items() <= r.items() and r["value"]]
    figures = {r["clips"]: float(r["value"]) for r in found}
    assert figures["generated"] == pytest.approx(figures["real"], abs=0.01)


def test_midi_of_others_is_planned_with_its_notes(workspace):
    """Nothing is tokenized or trained for it; its notes are measured as every system's."""
    for folder, count in (("music", 6), ("theirs", 2)):
        music.make_chorales(workspace.folder / folder, count, seed=count)
    mine = own_folder(workspace.folder / "music")
    mine["experiments"]["mine"] = {
        "system": "external", "corpus": "mine", "clips": str(workspace.folder / "theirs"),
    }  # fmt: skip
    plain = jobs(workspace.run("-n", configs=[SMOKE, workspace.config("plain", mine)]))
    mine["experiments"]["mine"]["notes"] = True
    notes = jobs(workspace.run("-n", configs=[SMOKE, workspace.config("notes", mine)]))
    assert {"train_word2vec", "measure_symbolic", "score_symbolic"} <= notes - plain
    assert not {"pack_tokens", "tokenize_audio", "train_stage"} & notes


def test_midi_of_others_goes_to_the_page_with_its_notes_and_texts(copied):
    """A folder of MIDI with conditions.csv, in the table of a corpus that is there already."""
    folder = copied.folder / "theirs"
    music.make_chorales(folder, 4, seed=9)
    names = sorted(path.name for path in folder.rglob("*.mid"))
    lines = [f"{name},a slow tune {number}" for number, name in enumerate(names)]
    (folder / "conditions.csv").write_text("\n".join(["clip,prompt", *lines, ""]), "utf-8")
    theirs = {"system": "external", "corpus": "mine", "clips": str(folder), "notes": True}
    content = {"experiments": {"theirs": theirs}, "run": ["theirs"]}
    configs = [SMOKE, copied.folder / "mine.yaml", copied.config("theirs", content)]
    copied.run(configs=configs)
    board = list(read_csv(copied.folder / "results/leaderboard.csv"))
    metrics = {r["metric"] for r in board if r["experiment"] == "theirs" and r["value"]}
    assert {"frechet_distance", "memorised_exact", "pitch_class_kl"} <= metrics
    clips = copied.folder / "results/clips/theirs/seed-0/draw-0"
    told = {row["clip"]: row["prompt"] for row in read_csv(clips / "conditions.csv")}
    assert sorted(told.values()) == [f"a slow tune {number}" for number in range(4)]
    assert len(list(clips.glob("*.mid"))) == len(list(clips.glob("*.wav"))) == 4
    assert "theirs" in copied.text("results/report/index.html")


def test_kept_steps_are_outputs_and_each_can_be_measured(copied):
    keep = {"experiments": {"mine": {"stages": {"semantic": {"training": {"keep_steps": [10]}}}}}}
    target = "results/models/mine/semantic/seed-0/step-10.safetensors"
    configs = [SMOKE, copied.folder / "mine.yaml", copied.config("keep", keep)]
    copied.run(target, configs=configs)
    assert (copied.folder / target).stat().st_size > 1_000_000
    before = copied.results()
    done = copied.etude("evaluate", "--experiment", "mine", "--step", 10, "--configfile", *configs)
    assert "mine-step-10: results/metrics/mine-step-10/" in done.stdout
    assert "frechet_distance" in done.stdout
    after = copied.results()
    assert {name: after[name] for name in before} == before, "the run's own results stay"
    models = "results/models/{}/semantic/seed-0/{}.safetensors"
    assert after[models.format("mine-step-10", "model")] == before[models.format("mine", "step-10")]
    assert not (copied.folder / "results/state/refs/mine-step-10").exists(), "nothing is trained"


@pytest.mark.proof
def test_earlier_steps_are_measured_as_the_end(copied):
    over = copied.config("over", {"evaluation": {"over_steps": {"experiments": ["mine"]}}})
    configs, page = [SMOKE, copied.folder / "mine.yaml", over], "results/report/index.html"
    clips = copied.folder / "results/clips/mine"
    before = (clips / "seed-0/draw-0/clip-0000.wav").read_bytes()
    copied.run(page, configs=configs)
    assert (clips / "seed-0/draw-0/clip-0000.wav").read_bytes() == before
    asked = [
        [row["clip"] for row in read_csv(folder / "conditions.csv")]
        for folder in (clips / "seed-0/draw-0", *sorted((clips / "over_steps").glob("at-*")))
    ]
    assert len(asked) == 3
    assert asked[0] == asked[1] == asked[2]
    rows = list(read_csv(copied.folder / "results/metrics/mine/over_steps.csv"))
    steps = {row["clips"]: row["steps"] for row in rows if row["metric"] == "kad"}
    assert steps == {
        "at-0.25": "semantic 5, coarse 5, fine 5",
        "at-0.5": "semantic 10, coarse 10, fine 10",
        "at-1": "semantic 20, coarse 20, fine 20",
        "real": "",
    }
    pairs = [(r["against"], r["clips"]) for r in rows if r["metric"] == "kad_difference"]
    assert pairs == [("at-0.25", "at-0.5"), ("at-0.25", "at-1"), ("at-0.5", "at-1")]
    assert all(row["value"] for row in rows if row["metric"].startswith("kad"))
    searched = [row["note"] for row in rows if row["metric"] == "copied"]
    assert len(searched) == 3
    assert all("n/a: the null has" in note for note in searched)
    assert "Copies could not be counted: the null has" in copied.text(page)
    assert not jobs(copied.run("-n", configs=configs)), "a second run has nothing to do"


def test_snakemakes_own_report_builds(finished):
    finished.run("--report", "report.html", configs=[SMOKE, finished.folder / "mine.yaml"])
    assert (finished.folder / "report.html").stat().st_size > 100_000
    text = finished.text("report.html")
    for name in ("memorisation.csv", "memorisation_clips.csv", "per_clip.csv", "signals.csv"):
        assert f"results/metrics/mine/seed-0/draw-0/{name}" in text


MISSING = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"there is no {{name}} here", name=name)

sys.meta_path.insert(0, Missing())
"""
# Of main.in what Snakemake itself needs (numpy: its schedulers), and what reads the configuration.
NEEDED = {"jinja2", "numpy", "packaging", "psutil", "pydantic", "pyyaml", "snakemake", "tqdm"}


def test_the_default_plans_without_the_packages_of_its_jobs(tmp_path):
    listed = (ROOT / "requirements/main.in").read_text(encoding="utf-8").splitlines()
    names = {n for n in listed if n and n[0] != "#" and "snakemake" not in n} - NEEDED
    assert {"torch", "symusic", "soundfile", "scipy", "pillow"} <= names
    modules = {n.replace("-", "_") for n in names} | {"PIL", "faiss", "fluidsynth"}
    (tmp_path / "sitecustomize.py").write_text(MISSING.format(names=modules), encoding="utf-8")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    start = [sys.executable, "-c", "import torch"]
    assert (
        b"there is no torch here"
        in subprocess.run(start, capture_output=True, env=env, check=False).stderr
    )
    command = [sys.executable, "-m", "snakemake", "-n", "-s", str(ROOT / "Snakefile")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env
    )
    assert done.returncode == 0, done.stderr


def test_clean_knows_the_states_of_a_run(copied):
    """By the configuration, and where that has changed since by the weights that are there."""
    refs = copied.folder / "results/state/refs"
    states = {path.read_text().strip() for path in refs.glob("mine/*/seed-0")}
    assert len(states) == 3
    mine = [SMOKE, copied.folder / "mine.yaml"]
    steps = {stage: {"training": {"steps": 7}} for stage in ("semantic", "coarse", "fine")}
    changed = copied.config("steps", {"experiments": {"mine": {"stages": steps}}})

    def removable(*configs):
        said = copied.etude("clean", "--configfile", *configs).stdout
        return {state for state in states if f"state/{state}  (no training uses it" in said}

    assert removable(*mine) == removable(*mine, changed) == set()
    refs.rename(refs.with_name("away"))
    assert removable(*mine) == set()
    assert removable(*mine, changed) == states
