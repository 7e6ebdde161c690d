"""Two systems that are nothing but new files and two lines each, from music to the page."""

from __future__ import annotations

import shutil
import textwrap

import music
import pytest
import soundfile
from toys.checkout import CLASSES, HEAVY, LIGHT, REGISTRIES, changed_lines, new_files, with_toys
from workspace import SMOKE, Workspace, jobs

from etude.storage import read_csv, read_json

pytestmark = [pytest.mark.workflow, pytest.mark.proof]  # two systems: six minutes

FEW = {"training": {"steps": 12, "warmup_steps": 2, "batch_size": 4, "validate_every": 6}}
CLIPS = {"clips": 4, "seconds": 2.0}
EXPERIMENTS = {
    "latents": {
        "system": "toy_latents", "corpus": "mine", "tokens": "onoff",
        "stages": {"vae": FEW, "prior": FEW}, "generate": CLIPS,
    },
    "words": {
        "system": "toy_text", "corpus": "mine",
        "stages": {"words": FEW}, "generate": CLIPS | {"text": "a chorale"},
    },
}  # fmt: skip


def configured(workspace, name="toys", **changes):
    """The configuration of both experiments; keyword arguments replace parts of one."""
    music_here = str(workspace.folder / "music")
    experiments = {name: e | changes.get(name, {}) for name, e in EXPERIMENTS.items()}
    content = {
        "corpora": {"mine": {"source": "folder", "path": music_here, "shards": 1}},
        "tokenizers": {"onoff": {"kind": "onoff"}},
        "tokens": {"onoff": {"tokenizer": "onoff", "window": 256, "stride": 128, "shortest": 192}},
        "experiments": experiments,
        "run": list(experiments),
    }
    return [SMOKE, workspace.config(name, content)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return with_toys(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def played(checkout, tmp_path_factory):
    """Both experiments on a small corpus, through everything."""
    workspace = Workspace(tmp_path_factory.mktemp("toys"), checkout)
    music.make_chorales(workspace.folder / "music", 12, seed=1)
    workspace.run(configs=configured(workspace))
    return workspace


@pytest.fixture
def changed(checkout, tmp_path):
    """Changes a toy in a copy of the copied checkout: (file below it, old, new) -> the copy."""

    def change(name, old, new):
        copy = shutil.copytree(checkout, tmp_path / "changed")
        text = (copy / name).read_text(encoding="utf-8")
        assert old in text
        (copy / name).write_text(text.replace(old, new), encoding="utf-8")
        return copy

    return change


def rows(workspace, path):
    return read_csv(workspace.folder / "results" / path)


def said(done):
    return done.stdout + done.stderr


# ------------------------------------------------------------------------------------ the recipe


def test_a_system_is_new_files_and_a_line_in_each_registry(checkout):
    changed = changed_lines(checkout)
    assert changed.keys() == REGISTRIES
    for lines in changed.values():
        assert [line[0] for line in lines] == ["+"] * len(CLASSES)
    own = (*(f"{LIGHT}/{name}.py" for name in CLASSES), *(f"{HEAVY}/{n}/" for n in CLASSES))
    assert all(name.startswith(own) for name in new_files(checkout))


# --------------------------------------------------------------------------- through everything


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_each_stage_is_trained_with_its_figures(played, experiment):
    for stage in EXPERIMENTS[experiment]["stages"]:
        folder = f"models/{experiment}/{stage}/seed-0"
        history = list(rows(played, f"{folder}/history.csv"))
        assert history[-1]["step"] == "12"
        assert ("accuracy" in " ".join(history[0])) == (stage != "prior")
        for file in ("model.safetensors", "config.json", "curve.svg", "card.md"):
            assert (played.folder / "results" / folder / file).is_file()


def test_a_stage_encodes_the_corpus_for_the_next(played):
    folder = played.folder / "results/latents/latents/vae/seed-0"
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert names == {"statistics.json", *(f"{s}.safetensors" for s in ("train", "valid", "test"))}
    scale = read_json(folder / "statistics.json")
    shape = read_json(played.folder / "results/models/latents/prior/seed-0/config.json")["shape"]
    assert shape.items() >= scale.items()
    assert not (played.folder / "results/latents/words").exists()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_clips_are_written_as_every_systems(played, experiment):
    folder = played.folder / f"results/clips/{experiment}/seed-0/draw-0"
    clips = rows(played, f"clips/{experiment}/seed-0/draw-0/clips.csv")
    assert [row["clip"] for row in clips] == [f"clip-{number:04d}" for number in range(4)]
    for row in clips:
        info = soundfile.info(folder / row["file"])
        assert (info.channels, info.frames) == (1, round(2.0 * info.samplerate))
        assert (folder / f"{row['clip']}.mid").is_file() == (experiment == "latents")
    conditions = rows(played, f"clips/{experiment}/seed-0/draw-0/conditions.csv")
    assert {row["prompt"] for row in conditions} <= {"a chorale" if experiment == "words" else ""}


def test_baselines_are_the_shared_and_the_systems_own(played):
    dumb = {"random_notes", "one_chord", "spectrum_noise", "grains"}
    shared = {"reference", "real", "noise", "untrained"} | dumb
    own = {"latents": {"reconstruction"}, "words": {"shuffled"}}
    for experiment, sets in own.items():
        folder = played.folder / f"results/clips/{experiment}/baselines"
        names = {path.name for path in folder.iterdir() if path.is_dir()}
        assert names >= shared | sets
        for name in shared | sets:
            assert list((folder / name).glob("*.wav")), f"{experiment}: {name}"
        notes = {path.parent.name for path in folder.glob("*/*.mid")}
        assert notes >= {"random_notes", "one_chord", "untrained"} or experiment == "words"
        assert not notes or experiment == "latents"
        assert not notes & {"spectrum_noise", "grains"}


def test_they_are_measured_and_searched_for_copies(played):
    results = played.folder / "results/metrics"
    for experiment in EXPERIMENTS:
        folder = f"{experiment}/seed-0/draw-0"
        metrics = {row["metric"] for row in rows(played, f"metrics/{folder}/fad.csv")}
        assert "frechet_distance" in metrics
        assert rows(played, f"metrics/{folder}/memorisation.csv")
        assert (results / folder / "symbolic.csv").is_file() == (experiment == "latents")
        assert not (results / experiment / "seed-0/perplexity.csv").exists()  # no likelihood
    searched = rows(played, "metrics/latents/seed-0/draw-0/memorisation_clips.csv")
    assert len({row["clip"] for row in searched if row["clips"] == "generated"}) == 4


def test_clips_are_measured_in_the_latent_space_of_the_system_that_has_one(played):
    found = list(rows(played, "metrics/latents/seed-0/draw-0/latents.csv"))
    measured = {row["clips"] for row in found if row["metric"] == "latent_fid" and row["value"]}
    assert measured >= {"generated", "real", "reconstruction", "untrained", "random_notes"}
    missing = {row["clips"]: row["note"] for row in found if not row["value"]}
    assert missing.keys() >= {"noise", "grains"}, "sets of sound alone"
    assert not (played.folder / "results/metrics/words/seed-0/draw-0/latents.csv").exists()
    board = rows(played, "leaderboard.csv")
    (own,) = (r for r in board if (r["clips"], r["metric"]) == ("generated", "latent_fid"))
    assert float(own["floor"]) > 0
    assert float(own["value"]) > 0
    assert "own encoder" in own["note"]


def test_they_go_to_the_table_and_the_page(played):
    text = played.text("results/fad.txt")
    for experiment in EXPERIMENTS:
        assert f"\n  {experiment} (toy_" in text
    assert text.splitlines()[-1].startswith("gate: ")
    board = rows(played, "leaderboard.csv")
    assert {row["system"] for row in board} == set(CLASSES)
    page = played.text("results/report/index.html")
    assert all(name in page for name in [*EXPERIMENTS, "vae", "prior"])
    for meaning in ("frames of real music in random order", "held-out windows as tokens"):
        assert meaning in text + page


def test_a_second_run_does_nothing(played):
    assert jobs(played.run("-n", configs=configured(played))) == set()


def test_the_first_stage_is_what_the_second_depends_on(played):
    few = FEW | {"training": FEW["training"] | {"learning_rate": 1e-3}}
    change = {"latents": {"stages": {"vae": few, "prior": FEW}}}
    done = played.run("-n", configs=configured(played, "other", **change))
    for job in ("Training latents: vae", "Training latents: prior"):
        assert job in said(done)
    assert "encode_stage" in said(done)
    change = {"latents": {"stages": {"vae": FEW, "prior": few}}}
    done = played.run("-n", configs=configured(played, "other", **change))
    assert "Training latents: vae" not in said(done)
    assert "encode_stage" not in said(done)


# ---------------------------------------------------------------------------------- the commands


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_they_are_exported_and_play(played, experiment):
    config = configured(played)[1]
    command = ["--experiment", experiment, "--configfile", SMOKE, config]
    once = ["--duration", "1.5", "--batch_size", "2"]
    played.etude("generate", *command, *once, "--output", f"{experiment}-here")
    folder = f"exported-{experiment}"
    played.etude("export", *command, "--output", folder)
    played.etude("generate", "--from", folder, *once, "--output", f"{experiment}-there")
    for number in (1, 2):
        pair = [played.folder / f"{experiment}-{place}{number}.wav" for place in ("here", "there")]
        assert pair[0].read_bytes() == pair[1].read_bytes()
        info = soundfile.info(pair[0])
        assert info.frames == round(1.5 * info.samplerate)


def test_a_condition_that_means_nothing_is_refused(played):
    config = configured(played)[1]
    prime = played.folder / "music" / "chorale-000.mid"
    done = played.etude(
        "generate", "--experiment", "words", "--prime_wave", prime, "--configfile", SMOKE, config,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "text" in said(done)  # what it takes
    assert "Traceback" not in said(done)


def test_config_and_doctor_know_them(played):
    files = ["--configfile", *configured(played)]
    played.etude("config", *files)
    doctor = played.etude("doctor", *files, check=False)
    assert "Traceback" not in said(doctor)
    assert "still to come" in said(doctor)


def test_their_training_is_estimated_before_it_begins(checkout, tmp_path):
    """The forecast at the start of a run counts what their stages are going to predict."""
    workspace = Workspace(tmp_path, checkout)
    music.make_chorales(tmp_path / "music", 4, seed=1)
    long = {"training": {"steps": 100_000, "batch_size": 64}}
    change = {"words": {"stages": {"words": long}}}
    seconds = """
        import sys
        from etude import config
        from etude.corpus.forecast import forecast
        print(forecast(config.read(config.DEFAULT, *sys.argv[1:])).training_s)
        """
    files = map(str, configured(workspace, **change))
    done = workspace.python("-c", textwrap.dedent(seconds), *files)
    assert float(done.stdout) > 600


def test_clean_keeps_what_is_configured_and_finds_what_is_not(played):
    both = said(played.etude("clean", "--configfile", *configured(played)))
    assert "  latents/" not in both
    assert "  models/" not in both
    alone = played.config("alone", {"run": ["words"], **_only("words", played)})
    rest = said(played.etude("clean", "--configfile", SMOKE, alone))
    assert "  latents/latents" in rest
    assert "  models/latents" in rest
    assert "  models/words" not in rest


def _only(name, workspace):
    """The configuration of one experiment."""
    path = str(workspace.folder / "music")
    corpora = {"mine": {"source": "folder", "path": path, "shards": 1}}
    return {"corpora": corpora, "experiments": {name: EXPERIMENTS[name]}}


# ------------------------------------------------------------------------------------- bad input


def failed(workspace, checkout, *targets, configs=None):
    """A run of another checkout in the same folder that must end in an error of four lines."""
    other = Workspace(workspace.folder, checkout)
    done = other.run(*targets, configs=configs or configured(workspace), check=False)
    assert done.returncode == 1
    assert "Traceback" not in said(done)
    return said(done)


def test_needs_in_a_circle_are_an_error_before_anything_runs(played, changed):
    old, new = '{"prior": ("vae",)}', '{"prior": ("vae",), "vae": ("prior",)}'
    told = failed(played, changed(f"{LIGHT}/toy_latents.py", old, new), "-n")
    assert all(words in told for words in ("vae needs prior", "prior needs vae"))


def test_a_need_that_is_no_stage_names_those_that_are(played, changed):
    old, new = '{"prior": ("vae",)}', '{"prior": ("vea",)}'
    told = failed(played, changed(f"{LIGHT}/toy_latents.py", old, new), "-n")
    assert all(words in told for words in ("prior needs vea", "vae, prior"))


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("conditions.seconds), row, notes=notes)", "conditions.seconds), row)", "notes"),
        ("row, notes=notes)", "row, notes=notes, rate=8000)", "8000"),
    ],
)
def test_a_clip_that_is_not_as_claimed_fails_at_once(played, changed, old, new, word):
    copy = changed(f"{HEAVY}/toy_latents/system.py", old, new)
    told = failed(played, copy, "results/clips/latents/seed-0/draw-7")
    assert word in told
    assert not (played.folder / "results/clips/latents/seed-0/draw-7").exists()


def test_a_system_that_is_not_there_names_those_that_are(played):
    bad = configured(played, "bad", words={"system": "toy_txt"})
    told = failed(played, played.checkout, "-n", configs=bad)
    assert all(name in told for name in ("toy_txt", "toy_text", "toy_latents", "audiolm"))
