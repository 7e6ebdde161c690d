"""The doctor says what is missing, with a command, and fails only where a run cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from etude import setup
from etude.__main__ import main
from etude.config import DEFAULT, read
from etude.corpus import forecast
from etude.doctor import configured, machine
from etude.doctor.command import doctor, examine
from etude.storage import hash_file, write_csv, write_json

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_file(folder, **content):
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def found(what, configfiles=()):
    return [finding for finding in examine(configfiles) if finding.what == what]


def test_all_is_well(here, capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "This run can work here" in text
    assert "!!" not in text
    assert not list(here.iterdir()), "it leaves nothing behind"


def test_a_bare_python_is_told_what_to_type(here):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-S", "-m", "etude", "doctor"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "0 of " in run.stdout
    assert "do: make setup" in run.stdout


def test_packages_beside_the_lock(tmp_path):
    (tmp_path / "requirements").mkdir()
    lock, asked = tmp_path / "requirements/lock.txt", tmp_path / "requirements/main.in"
    asked.write_text("# comment\nnumpy\n")
    lock.write_text(f"numpy=={machine.installed('numpy')}\n")
    assert machine.examine_packages(tmp_path).state == "ok"
    lock.write_text("numpy==0.0.1\n")
    other = machine.examine_packages(tmp_path)
    assert other.state == "absent"
    assert "(0.0.1)" in other.text
    lock.write_text("numpy==0.0.1\nno-such-helper==1\n")
    assert machine.examine_packages(tmp_path).state == "absent", "nobody asked for it by name"
    asked.write_text("no_such_helper\n")
    assert machine.examine_packages(tmp_path).state == "broken"


@pytest.mark.slow
def test_the_library_counts_only_where_midi_is_rendered(here, monkeypatch):
    monkeypatch.setattr(setup, "find_libfluidsynth", lambda: None)
    assert found("libfluidsynth")[0].state == "broken"
    music = here / "music"
    music.mkdir()
    (music / "a.wav").write_bytes(b"")
    own = config_file(
        here,
        corpora={"mine": {"source": "folder", "path": str(music)}},
        experiments={"mine": {"system": "audiolm", "corpus": "mine"}},
        run=["mine"],
    )
    (finding,) = found("libfluidsynth", [own])
    assert (finding.state, "apt-get" in finding.do) == ("absent", True)
    (music / "b.MID").write_bytes(b"")
    assert found("libfluidsynth", [own])[0].state == "broken"
    music.rename(here / "moved")
    assert [f.state for f in found("music", [own])] == ["broken"]


def test_a_gpu_that_torch_cannot_use_is_named(monkeypatch):
    monkeypatch.setattr(machine, "gpus", list)
    monkeypatch.setattr(machine, "driver_gpus", lambda: ["NVIDIA H100"])
    (gpu,) = (f for f in machine.examine_devices() if f.what == "GPU")
    assert "NVIDIA H100" in gpu.text
    assert "download.pytorch.org" in gpu.do


@pytest.fixture
def pretrained(here):
    content = {
        "pretrained": {"hubert": {"kind": "hubert", "hub": "no/such"}},
        "tokenizers": {"words": {"kind": "hubert", "model": "hubert"}},
        "tokens": {"t": {"cut": "two_seconds", "semantic": "words", "acoustic": "magnitude"}},
        "experiments": {"e": {"system": "audiolm", "corpus": "chorales", "tokens": "t"}},
        "run": ["e"],
    }
    return config_file(here, **content)


@pytest.mark.slow
def test_weights_fetched_verified_changed(here, pretrained, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr(configured, "_in_cache", lambda settings: False)
    (finding,) = found("weights", [pretrained])
    assert (finding.state, finding.do) == ("absent", "hf download no/such")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert found("weights", [pretrained])[0].state == "broken"
    folder = here / "results/pretrained/hubert"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "origin.json", {"sha256": hash_file(folder / "model.safetensors")})
    (finding,) = found("weights", [pretrained])
    assert (finding.state, "not verified yet" in finding.text) == ("ok", True)
    table = here / "results/verified/chorales/words.csv"
    for passed, state in ((True, "ok"), (False, "broken")):
        write_csv(table, ["check", "passed"], [{"check": "weights", "passed": passed}])
        assert found("weights", [pretrained])[0].state == state
    table.unlink()
    (folder / "model.safetensors").write_bytes(b"others")
    assert "changed since" in found("weights", [pretrained])[0].text


def test_a_wrong_configuration_is_one_finding(here):
    text, works = doctor([config_file(here, nonsense=1)])
    assert not works
    assert "nonsense" in text


@pytest.mark.slow
def test_disk_locks_and_folder(here, monkeypatch):
    locks = here / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").write_text("")
    (finding,) = found("locks")
    assert (finding.state, finding.do) == ("broken", "make resume")
    monkeypatch.setattr(forecast, "free_bytes", lambda results: 1e6)
    (finding,) = found("disk")
    assert (finding.state, "1 MB free" in finding.text) == ("broken", True)
    (here / "results").write_text("a file")
    assert found("results/")[0].state == "broken"


# ------------------------------------------------------------------------------- the forecast


def test_the_forecast_shrinks_with_what_is_there(here):
    config = read(DEFAULT)
    whole = forecast.forecast(config)
    assert not whole.unknown
    assert whole.disk > 4 * forecast.MADE_BYTES
    packed = here / "results/packed/chorales"
    for name in config.run:
        (packed / config.experiments[name].tokens).mkdir(parents=True, exist_ok=True)
        (packed / config.experiments[name].tokens / "info.json").write_text("{}")
    trained = here / "results/models/remi_llama/lm/seed-0/model.safetensors"
    trained.parent.mkdir(parents=True)
    trained.write_bytes(b"")
    later = forecast.forecast(config)
    assert later.work_s == 0
    assert 0 < later.disk < whole.disk
    assert 0 < later.training_s < whole.training_s


def test_an_unmeasured_folder_is_said_to_be_unknown(here, monkeypatch, capsys):
    own = config_file(
        here,
        corpora={"mine": {"source": "folder", "path": str(here)}},
        experiments={"mine": {"system": "audiolm", "corpus": "mine"}},
        run=["mine"],
    )
    config = read(DEFAULT, own)
    assert forecast.forecast(config).unknown == ("mine",)
    forecast.announce(config)
    text = capsys.readouterr().err
    assert "at least" in text
    assert f"python -m etude audit {here}" in text
    rows = [{"status": "kept", "kind": "audio", "seconds": 3600.0}]
    write_csv(here / "results/corpora/mine/pieces.csv", list(rows[0]), rows)
    found = forecast.forecast(config)
    assert not found.unknown
    assert found.disk > 3600 * forecast.CD_BYTES
    monkeypatch.setattr(forecast, "free_bytes", lambda results: 10.0)
    assert any("warning:" in line for line in forecast.forecast_lines(found, config))


def test_what_a_limit_leaves_out_is_said(here, capsys):
    for number in range(30):
        (here / f"{number}.mid").touch()
    (here / "notes.txt").touch()
    own = config_file(
        here,
        corpora={"mine": {"source": "folder", "path": str(here), "limit": 24}},
        experiments={"mine": {"system": "audiolm", "corpus": "mine"}},
        run=["mine"],
    )
    forecast.announce(read(DEFAULT, own))
    said = "of the corpus 'mine' the run takes 24 of 30 files of music, since its `limit` is 24"
    assert said in capsys.readouterr().err
    for number in range(6):
        (here / f"{number}.mid").unlink()
    forecast.announce(read(DEFAULT, own))
    assert "left out" not in capsys.readouterr().err
    forecast.announce(read(DEFAULT, config_file(here, corpora={"chorales": {"limit": 5}})))
    assert "'chorales' the run takes 5 of " in capsys.readouterr().err


def test_a_tokenizer_that_uses_few_of_its_codes_is_doubtful(here):
    info = {"semantic_vocabulary": 128, "codebook_size": 256}
    full, one = ({"used": 256, "alone": n, "piece": "x"} for n in (3, 200))
    poor = {"used": 60, "alone": 0, "piece": ""}
    info["codes_used"] = {"semantic": [poor], "acoustic": [full, one]}
    write_json(here / "results/packed/chorales/embedded/info.json", info)
    acoustic, semantic = found("codes")
    assert "the semantic codebook has 128 codes, the training music uses 60" in semantic.text
    assert "codebook 2 of 2 has 256 codes, the training music uses 256, 200 of them in x" in (
        acoustic.text
    )
    text, works = doctor([])
    assert works
    assert "??  codes" in text
    assert "What is marked ?? makes its results doubtful" in text


def test_it_stays_silent_in_jobs(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["snakemake", "--mode", "subprocess"])
    forecast.announce(read(DEFAULT))
    assert not capsys.readouterr().err


def test_a_larger_network_is_slower(here):
    big = {
        "experiments": {"remi_llama": {"stages": {"lm": {"network": {"dim": 768, "layers": 12}}}}}
    }
    small, large = read(DEFAULT), read(DEFAULT, config_file(here, **big))
    assert forecast.forecast(large).training_s > 3 * forecast.forecast(small).training_s
    assert forecast.forecast(large).disk > forecast.forecast(small).disk + 1e9
