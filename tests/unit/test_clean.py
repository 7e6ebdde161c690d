"""Clean-up: what nothing refers to goes, and nothing else, whatever lies in results/."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from etude import config, runs
from etude.__main__ import main
from etude.clean import survey as module
from etude.clean.survey import SECTIONS, gone_name
from etude.storage import atomic, atomic_directory

ROOT = Path(__file__).resolve().parents[2]
MINE = {
    "corpora": {"mine": {"source": "folder", "path": "music", "shards": 2}},
    "experiments": {"mine": {"system": "audiolm", "corpus": "mine"}},
    "run": ["mine"],
}


def output(path, content="x", folder=False):
    """What a rule has made: the file or folder, and Snakemake's record of it."""
    place = Path(path)
    file = place / "index.csv" if folder else place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    name = base64.urlsafe_b64encode(path.encode()).decode()
    record = Path(".snakemake/metadata", name)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"endtime": time.time()}))
    return place


def state(digit, whose="mine/semantic/seed-0", refer=False):
    folder = Path("results/state", digit * 24)
    folder.mkdir(parents=True)
    (folder / "finished.pt").write_text("weights" * 100)
    (folder / "lock").touch()
    (folder / "history.csv").write_text("step,train_loss\n10,1.0\n")
    about = {"for": whose, "data_hash": "0" * 64}
    (folder / "about.json").write_text(json.dumps(about))
    if refer:
        ref = Path("results/state/refs", whose)
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(digit * 24 + "\n")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with results of `mine`, which is configured, and of `old`, which is not."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(json.dumps(MINE))
    for name in ("mine", "old"):
        output(f"results/corpora/{name}/pieces.csv")
        output(f"results/corpora/{name}/wav/0001", folder=True)
        output(f"results/cuts/{name}/two_seconds/0000", folder=True)
        output(f"results/tokens/{name}/embedded/0000.jsonl")
        output(f"results/models/{name}/semantic/seed-0/model.safetensors")
        output(f"results/clips/{name}/seed-0/draw-0", folder=True)
        output(f"results/metrics/{name}/seed-0/draw-0/fad.csv")
        Path(f"results/logs/train_stage/{name}").mkdir(parents=True)
        Path(f"results/logs/train_stage/{name}/x.log").touch()
    output("results/fad.txt")
    return tmp_path


def clean(*options):
    return main(["clean", "--configfile", "mine.yaml", *options])


def tree():
    return {p.as_posix() for p in Path("results").rglob("*") if not p.is_dir() or p.is_symlink()}


def test_by_default_nothing_is_removed(here, capsys):
    before = tree()
    assert clean() == 0
    assert tree() == before
    said = capsys.readouterr().out
    assert "corpora/old  ('old' is not in `corpora`)" in said
    assert "models/old  ('old' is not in `experiments`)" in said
    assert "nothing was removed" in said
    assert "corpora/mine" not in said
    assert "not ours" not in said


def test_names_that_are_gone_go(here, capsys):
    for name in ("mine", "old"):
        Path(f"results/corpora/{name}/archive.json").touch()  # the pin of an archive
    mine = {path for path in tree() if "/old/" not in path or "/logs/" in path}
    assert clean("--delete") == 0
    assert tree() == mine
    assert "removed" in capsys.readouterr().out
    assert not Path("results/corpora/old").exists(), "folders that became empty go too"
    assert not [p for p in Path(".snakemake/metadata").iterdir() if b"/old/" in decoded(p)]
    assert clean() == 0
    assert "everything is referred to" in capsys.readouterr().out


def decoded(record):
    return base64.urlsafe_b64decode(record.name)


def test_what_no_rule_made_stays_and_is_named(here, capsys, monkeypatch):
    theirs = [
        "results/notes.txt",
        "results/corpora/old/my notes.md",
        "results/models/old/semantic/seed-0/listen.txt",
        "results/models/mine-backup/semantic/seed-0/model.safetensors",
        "results/state/readme.txt",
        f"results/state/{'e' * 24}/my.txt",
        f"results/state/{'f' * 23}/finished.pt",
    ]
    state("e")
    for path in theirs:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("mine")
    assert clean("--delete") == 0
    said = capsys.readouterr().out
    for path in theirs:
        assert Path(path).read_text() == "mine", path
    for path in theirs[:-1]:
        assert path.removeprefix("results/") in said
    assert f"state/{'f' * 23}" in said
    assert not Path(f"results/state/{'e' * 24}/finished.pt").exists()


def test_what_was_changed_or_put_beside_stays(here, capsys, monkeypatch):
    """An entry that was moved or copied into an output is younger than it, whatever its date."""
    monkeypatch.setattr(module, "SLACK_S", -1000.0)  # all that is here counts as late
    before = tree()
    assert clean("--delete") == 0
    assert tree() == before
    assert "not ours" in capsys.readouterr().out
    monkeypatch.setattr(module, "SLACK_S", 0.5)
    time.sleep(1)
    take = Path("results/clips/old/seed-0/draw-0/my take.wav")
    take.write_text("mine")
    os.utime(take, (0, 0))
    assert clean("--delete") == 0
    left = {path for path in tree() if "/old/" in path and "/logs/" not in path}
    assert left == {take.as_posix()}
    assert "clips/old/seed-0/draw-0/my take.wav" in capsys.readouterr().out


def test_links_are_never_followed(here, tmp_path_factory, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious.wav").write_text("precious")
    links = ["results/corpora/old/wav/0001/x.wav", "results/link", "results/models/old/deep"]
    for link in links:
        Path(link).symlink_to(elsewhere / "precious.wav" if link.endswith("x.wav") else elsewhere)
    recorded = output("results/clips/gone/baselines", folder=True)
    (recorded / "index.csv").unlink()
    recorded.rmdir()
    recorded.symlink_to(elsewhere)
    assert clean("--delete") == 0
    assert (elsewhere / "precious.wav").read_text() == "precious"
    assert all(Path(link).is_symlink() for link in [*links, recorded])
    said = capsys.readouterr().out
    assert all(link.removeprefix("results/") in said for link in links)


def test_results_may_be_a_link_itself(here, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk") / "of another name"
    Path("results").rename(disk)
    Path("results").symlink_to(disk)
    assert clean("--delete") == 0
    assert not (disk / "models/old").exists()
    assert (disk / "models/mine").exists()


def test_records_that_lead_elsewhere_count_for_nothing(here, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "model.safetensors"
    outside.write_text("precious")
    for path in ("results/../../x", str(outside), f"results/{outside}", "results", "other/old/x"):
        record = Path(".snakemake/metadata", base64.urlsafe_b64encode(path.encode()).decode())
        record.write_text(json.dumps({"endtime": 9e12}))
    Path(".snakemake/metadata/no code!").write_text("{}")
    assert clean("--delete") == 0
    assert outside.exists()
    assert Path("results/models/mine").exists()


def test_shards_that_are_no_more(here):
    output("results/corpora/mine/wav/0007", folder=True)
    output("results/corpora/mine/ingest/0007.csv")
    output("results/corpora/mine/ingest/0001.csv")
    assert clean("--delete") == 0
    assert not Path("results/corpora/mine/wav/0007").exists()
    assert not Path("results/corpora/mine/ingest/0007.csv").exists()
    assert Path("results/corpora/mine/ingest/0001.csv").exists()


def test_long_records(here):
    """Snakemake cuts long names into folders that begin with @."""
    path = "results/models/old/semantic/seed-0/" + "x" * 200 + ".safetensors"
    made = output("results/models/old/semantic/seed-0/short")
    made.rename(path)
    code = base64.urlsafe_b64encode(path.encode()).decode()
    record = Path(".snakemake/metadata", "@" + code[:254], code[254:])
    record.parent.mkdir()
    record.write_text(json.dumps({"endtime": time.time()}))
    assert clean("--delete") == 0
    assert not Path(path).exists()
    assert not record.exists()


# -------------------------------------------------------------------------------------- states


def test_states(here, capsys, monkeypatch):
    monkeypatch.setattr("etude.clean.command.fingerprints", lambda *_: {"b" * 24})
    finished = state("a", refer=True)
    configured = state("b")
    superseded = state("c")
    of_old = state("d", "old/semantic/seed-0", refer=True)
    nameless = state("e")
    (nameless / "about.json").write_text('{"stage": "semantic"}')
    no_note = state("f")
    (no_note / "about.json").unlink()
    other_seed = state("1", "mine/semantic/seed-5", refer=True)
    unfinished = state("2", "mine/coarse/seed-0", refer=True)
    assert clean("--delete") == 0
    left = {path.name[0] for path in Path("results/state").iterdir() if path.name != "refs"}
    assert left == {p.name[0] for p in (finished, configured, nameless, no_note, unfinished)}
    said = capsys.readouterr().out
    assert f"{nameless.name}  (it does not say which training it is of)" in said
    assert f"{superseded.name}  (no training uses it (mine/semantic/seed-0, data 00000000))" in said
    assert not any(path.exists() for path in (superseded, of_old, other_seed))
    refs = {path.as_posix() for path in Path("results/state/refs").rglob("seed-*")}
    assert refs == {f"results/state/refs/mine/{stage}/seed-0" for stage in ("semantic", "coarse")}


def test_the_state_of_a_seed_whose_weights_are_there_stays(here):
    kept = state("1", "mine/semantic/seed-5", refer=True)
    output("results/models/mine/semantic/seed-5/model.safetensors")
    assert clean("--delete") == 0
    assert kept.exists()


def test_a_state_that_a_training_holds_stays(here, capsys):
    held = state("c")
    code = f"import filelock; lock = filelock.FileLock({str(held / 'lock')!r}); lock.acquire(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True);" + code + "; print()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as training:
        training.stdout.readline()
        end = time.monotonic() + 10
        while not module.is_locked(held) and time.monotonic() < end:
            time.sleep(0.05)
        assert clean("--delete") == 0
        assert (held / "finished.pt").exists()
        assert "a training has it locked" in capsys.readouterr().out
        training.communicate(b"\n")
    assert clean("--delete") == 0
    assert not held.exists()


def test_trainings_leave_a_note_which_state_is_theirs(tmp_path):
    from etude.training.state import TrainingState

    for digit in "ab":
        TrainingState(tmp_path / "state" / (digit * 24)).refer("mine/semantic/seed-0")
    ref = tmp_path / "state/refs/mine/semantic/seed-0"
    assert ref.read_text() == "b" * 24 + "\n", "the last one counts"


# ----------------------------------------------------------------------------------- leftovers


def test_leftovers_of_killed_jobs(here, capsys):
    """Their names as those who write them make them."""
    kept = state("a", refer=True)
    code = """
        import os, sys
        from pathlib import Path
        from etude.storage import atomic, atomic_directory
        with (atomic("results/corpora/mine/x.csv") as a, atomic("results/models/mine/y.tar.gz") as b,
              atomic_directory("results/cuts/mine/new/0000") as folder, atomic(sys.argv[1]) as c):
            for path in (a, b, folder / "z.wav", c):
                path.write_text("half")
            os._exit(9)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(kept / "state.pt")]
    assert (
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
        == 9
    )
    Path("results/packed/.pack-ab12_x9z").mkdir(parents=True)
    Path("results/corpora/mine/.source.download.part").write_text("half")
    alive = Path(f"results/corpora/mine/.pieces.{os.getpid()}.part.csv")
    alive.write_text("half")
    theirs = [Path("results/.hidden.part"), Path("results/corpora/mine/.pack-mine")]
    for path in theirs:
        path.touch()
    assert len([path for path in tree() if ".part" in path]) == 7
    assert clean("--delete") == 0
    said = capsys.readouterr().out
    assert {path for path in tree() if ".part" in path or ".pack" in path} == {
        path.as_posix() for path in [alive, *theirs]
    }
    assert not Path("results/packed").exists()
    assert (kept / "finished.pt").exists()
    assert f"process {os.getpid()}" in said
    assert "left behind by a killed job" in said


def test_the_names_of_temporary_files_are_known(tmp_path):
    with atomic(tmp_path / "a.csv") as one, atomic_directory(tmp_path / "b") as two:
        one.touch()
        assert module.LEFTOVER.fullmatch(one.name)
        assert module.LEFTOVER.fullmatch(two.name)
    for name in (".part", "x.part", ".x.part", "a.1.part", ".x.1.partly", ".pack-", "part"):
        assert not module.LEFTOVER.fullmatch(name), name


# ------------------------------------------------------------------------------ whose, and when


def test_a_live_run_forbids_removal(here, capsys):
    code = "from etude.runs import record_main; record_main(); print(flush=True); input()"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdin=pipe, stdout=pipe) as run:
        run.stdout.readline()
        before = tree()
        assert clean("--delete") == 1
        said = capsys.readouterr().err
        assert "[run-is-alive]" in said
        assert str(run.pid) in said
        assert clean() == 0, "to look is allowed"
        run.communicate(b"\n")
    assert tree() == before
    assert clean("--delete") == 0


def test_jobs_and_locks_forbid_removal(here, capsys):
    before = tree()
    with runs.record("train_stage"):
        assert clean("--delete") == 1
        said = capsys.readouterr().err
        assert "[run-is-alive]" in said
        assert "train_stage" in said
    Path(".snakemake/locks").mkdir()
    Path(".snakemake/locks/0.input.lock").touch()
    assert clean("--delete") == 1
    assert "[run-is-alive]" in capsys.readouterr().err
    assert tree() == before


def last_run(*arguments):
    runs.RECORDS.mkdir(parents=True, exist_ok=True)
    note = {"pid": 1, "birth": "x", "host": runs._host(), "state": "ended", "args": list(arguments)}
    (runs.RECORDS / "main.json").write_text(json.dumps(note))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cores", "2", "--configfile", "mine.yaml", "-n"],
        ["--configfile=mine.yaml"],
        ["--configfiles", "mine.yaml", "--cores", "2"],
    ],
)
def test_the_configuration_is_that_of_the_last_run(here, capsys, arguments):
    last_run(*arguments)
    assert main(["clean", "--delete"]) == 0
    assert "mine.yaml" in capsys.readouterr().out.splitlines()[0]
    assert Path("results/models/mine").exists()
    assert not Path("results/models/old").exists()


@pytest.mark.parametrize("arguments", [None, ["--config", "run=[x]"], ["--profile", "p"]])
def test_without_a_configuration_nothing_is_judged(here, capsys, arguments):
    if arguments:
        last_run(*arguments)
    before = tree()
    assert main(["clean", "--delete"]) == 1
    assert "[no-run-on-record]" in capsys.readouterr().err
    assert tree() == before


def test_nothing_to_clean(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["clean"]) == 0
    assert "nothing to clean" in capsys.readouterr().out


def test_without_snakemakes_records_nothing_is_ours(here, capsys):
    for record in Path(".snakemake/metadata").iterdir():
        record.unlink()
    before = tree()
    assert clean("--delete") == 0
    assert tree() == before
    assert "not ours" in capsys.readouterr().out


def test_every_folder_of_the_rules_is_known():
    """A new folder of outputs needs its line in SECTIONS, or its leftovers would stay for ever."""
    settings = config.read(config.DEFAULT, overrides=MINE)
    named = {"corpus": "corpora", "cut": "cuts", "tokens": "tokens", "tokenizer": "tokenizers"}
    named |= {"experiment": "experiments", "pretrained": "pretrained"}
    for rules in (ROOT / "rules").glob("*.smk"):
        for block in re.findall(
            r"^    output:\n((?:        .*\n)+)", rules.read_text(), re.MULTILINE
        ):
            for path in re.findall(r'"results/([^"]+)"', block):
                wildcards = [named[w] for w in re.findall(r"\{(\w+)", path) if w in named]
                assert tuple(wildcards) == SECTIONS.get(path.split("/")[0], ()), path
    assert gone_name("fad.txt", settings) is None
    assert gone_name("report/media", settings) is None
    assert gone_name("verified/chorales/bands.csv", settings) is None
    assert gone_name("criteria/audiolm.txt", settings) is None
    gone = ("verified/chorales/old.csv", "'old' is not in `tokenizers`")
    assert gone_name("verified/chorales/old.csv", settings) == gone
