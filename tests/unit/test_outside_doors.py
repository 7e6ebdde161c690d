"""`etude evaluate` over what others made: MIDI, statistics of fadtk's, texts, results of Neuromusic's."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import music
import numpy as np
import pytest
import soundfile
import tiny_models
from refused import refused
from stretches import RATE, fill
from stretches import music as sound
from tiny_experiments import make_notes

from etude import config
from etude.__main__ import main
from etude.metrics.checkpoint import checkpoint_overlay
from etude.metrics.fadtk_files import read_statistics
from etude.metrics.folder_notes import find_note_copies, read_notes
from etude.midi.notes import read_midi
from etude.midi.writing import write_midi
from etude.storage import read_csv, write_json


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real MIDI, and clips of which one is a real file in another key."""
    home = tmp_path_factory.mktemp("midi")
    for folder, count in (("real", 5), ("made", 2)):
        for number in range(count):  # short: harmony is read chord by chord
            random = Random(f"{folder} {number}")
            music.chorale(home / folder / f"{folder}{number}.mid", random, quarters=16)
    name = sorted((home / "real").rglob("*.mid"))[2]
    table = read_midi(name)
    moved = table.at(np.arange(len(table)))
    object.__setattr__(moved, "pitch", (table.pitch + 2).astype(np.int16))
    write_midi(moved, home / "made/copy.mid")
    return home, name.name


def run(capsys, *words) -> str:
    assert main(["evaluate", "--workers", "1", "--no-cache", *map(str, words)]) == 0
    return capsys.readouterr().out


@pytest.mark.slow
def test_two_folders_of_midi(folders, tmp_path, capsys):
    home, copied = folders
    out = tmp_path / "out"
    said = run(capsys, "--baseline", home / "real", "--eval", home / "made", "--output", out)
    assert f"copy.mid = {copied}" in said
    assert "all of 1 of 3 clips" in said
    assert "Distances (logmel)" in said, "they are heard too"
    assert str(home / "real") in said
    assert "etude-evaluate-" not in said, "nobody knows the folder that was rendered into"
    assert (out / "summary.txt").read_text() == said
    made = {path.name for path in out.iterdir() if path.is_file()}
    assert made >= {
        "notes.csv", "note_copies.csv", "note_regions.png", "distances.csv", "regions.png",
        "hash_comparison_detailed.csv", "match_distribution.png", "match_frequency.png",
        "distances_distributions.png", "pitch_classes.svg",
    }  # fmt: skip
    figures = {(r["clips"], r["metric"]): r for r in read_csv(out / "notes.csv")}
    assert float(figures["real", "pitch_class_kl"]["value"]) >= 0
    assert {row["clip"] for row in read_csv(out / "note_copies.csv")} >= {"copy.mid"}


def test_copies_of_notes_are_found_where_they_are(folders):
    home, copied = folders
    real, made = read_notes(home / "real"), read_notes(home / "made")
    rows, places = find_note_copies(real, made)
    found = {row["clip"]: row for row in rows}
    assert (found["copy.mid"]["share"], found["copy.mid"]["file"]) == ("1.000", copied)
    assert places.sum() == len(made.tables)
    others = [float(row["share"]) for name, row in found.items() if name != "copy.mid"]
    assert max(others) < 1


def test_midi_is_not_compared_with_recordings(folders, tmp_path, capsys):
    home, _ = folders
    fill(tmp_path / "real", 2, 2)
    words = ["evaluate", "--baseline", str(tmp_path / "real"), "--eval", str(home / "made")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "[midi-against-recordings]" in said
    assert "Traceback" not in said


def test_a_folder_without_notes_is_a_clear_error(tmp_path):
    (tmp_path / "broken.mid").write_bytes(b"MThd nothing")
    with refused("no-notes"):
        read_notes(tmp_path)


# ------------------------------------------------------------------------------ audio, as files


@pytest.mark.slow
def test_the_command_leaves_tables_and_figures(tmp_path, capsys):
    real, made = fill(tmp_path / "real", 4, 8), fill(tmp_path / "made", 3, 2, first=50)
    soundfile.write(made / "same.wav", sound(8, 1), RATE)
    out = tmp_path / "out"
    run(capsys, "--baseline", real, "--eval", made, "-o", out)
    rows = list(read_csv(out / "distances.csv"))
    assert {row["clips"] for row in rows} == {"clips", "real vs real", "noise"}
    assert all(row["value"] or row["note"].startswith("n/a: ") for row in rows)
    matches = {r["probe_filename"]: r for r in read_csv(out / "hash_comparison_detailed.csv")}
    assert matches["same.wav"]["matched_dataset_files"] == "001.wav"
    for name in ("match_distribution", "match_frequency", "regions"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    first = {path.name: path.read_bytes() for path in out.glob("*.*")}
    run(capsys, "--baseline", real, "--eval", made, "-o", out)
    assert {path.name: path.read_bytes() for path in out.glob("*.*")} == first


def test_the_heatmap_counts_each_stretch_where_its_nearest_lies():
    from etude.metrics.folder_files import regions
    from etude.metrics.samples import Clips

    windows = np.array([[0.0, 0], [1, 0], [2, 0], [0, 5], [1, 5]])
    real = Clips(windows, np.arange(5)), np.array([0, 0, 0, 1, 1])
    made = Clips(np.array([[2.1, 0], [0, 5.2], [0, 4.9]]), np.arange(3))
    counts = regions(real, made)
    assert counts.shape == (2, 10)
    assert counts[0, 6] == 1, "the third of three stretches"
    assert counts[1, 0] == 2
    assert counts.sum() == 3


# ------------------------------------------------------------------------- fadtk's statistics


@pytest.mark.slow
def test_statistics_of_fadtk_take_the_place_of_music(tmp_path, capsys):
    """Read and written in its three forms, with numpy alone."""
    real, made = fill(tmp_path / "real", 6, 8), fill(tmp_path / "made", 3, 4, first=50)
    run(capsys, "--baseline", made, "--eval", real, "-o", tmp_path / "of-real")
    mu = np.load(tmp_path / "of-real/stats/logmel/mu.npy")
    cov = np.load(tmp_path / "of-real/stats/logmel/cov.npy")
    rows = [np.load(p) for p in sorted((tmp_path / "of-real/embeddings/logmel").glob("*.npy"))]
    assert len(rows) == 6
    np.testing.assert_allclose(np.concatenate(rows).mean(0), mu, atol=1e-4)
    np.savez(tmp_path / "pop.npz", **{"logmel.mu": mu, "logmel.cov": cov})
    said = [
        run(capsys, "--baseline", place, "--eval", made).splitlines()[1].split()[-1]
        for place in (tmp_path / "pop.npz", tmp_path / "of-real")
    ]
    assert said[0] == said[1]
    (tmp_path / "of-real/stats/logmel/mu.npy").unlink()
    (tmp_path / "of-real/stats/logmel/cov.npy").unlink()
    (tmp_path / "of-real/stats/logmel").rmdir()
    found = read_statistics(tmp_path / "of-real", "logmel")
    np.testing.assert_allclose(found[0], mu, atol=1e-4)
    np.testing.assert_allclose(found[1], cov, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"vggish.mu": np.zeros(3), "vggish.cov": np.eye(3)}, "it has those of: vggish"),
        ({"logmel.mu": np.zeros(3), "logmel.cov": np.eye(4)}, "a mean [3] and a covariance [4, 4]"),
        ({"logmel.mu": np.zeros(3), "logmel.cov": np.eye(3)}, "3 dimensions"),
        (None, "pickle"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(content, why, tmp_path, capsys):
    file = tmp_path / "x.npz"
    if content is None:
        file.write_bytes(b"no archive")
    else:
        np.savez(file, **content)
    fill(tmp_path / "made", 2, 2)
    assert main(["evaluate", "--baseline", str(file), "--eval", str(tmp_path / "made")]) == 1
    assert why in capsys.readouterr().err


# ---------------------------------------------------------------------------- texts, by a CLAP


@pytest.mark.slow
def test_texts_beside_clips_are_scored(tmp_path, capsys):
    tiny_models.make_clap(tmp_path / "clap")
    real, made = fill(tmp_path / "real", 4, 2), fill(tmp_path / "made", 2, 2, first=50)
    (made / "conditions.csv").write_text("clip,text\n050,a loud drum\n051.wav,a flute\nno,thing\n")
    out = tmp_path / "out"
    words = ("--baseline", real, "--eval", made, "--weights", tmp_path / "clap", "-o", out)
    said = run(capsys, *words)
    assert "CLAP's cosine of clip and text" in said
    rows = list(read_csv(out / "texts.csv"))
    assert [row["prompt"] for row in rows] == ["a loud drum", "a flute"]
    assert all(-1 <= float(row["cosine"]) <= 1 for row in rows)
    said = run(capsys, *words[:-2], "--model", "clap-laion-audio")
    assert "Distances (clap-laion-audio)" in said
    (tmp_path / "clap/model.safetensors").write_bytes(b"half a download")
    assert main(["evaluate", *map(str, words)]) == 1
    assert "[unreadable-weights]" in capsys.readouterr().err


def test_a_table_that_names_no_clips_is_said(tmp_path):
    from etude.clips.conditions_table import read_conditions

    (tmp_path / "conditions.csv").write_text("text\na drum\n")
    with refused("missing-column"):
        read_conditions(tmp_path, ["a.wav"])


# ---------------------------------------------------------------------- Neuromusic's results


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_results_of_neuromusic_are_evaluated(whose, folders, tmp_path, capsys):
    """In its folders and in Étude's, which a run leaves beside results.json."""
    home, _ = folders
    files, rows = sorted((home / "real").rglob("*.mid")), []
    for number in range(2):
        name = f"clip-{number:04d}"
        parts = zip(("prompt", "generated", "original"), files[number : number + 3], strict=True)
        for part, file in parts:
            folder = {"prompt": "prompts", "original": "originals"}.get(part, part)
            target = (
                tmp_path / f"runs/{name}/midi/{part}.midi"
                if whose == "theirs"
                else tmp_path / f"{folder}/{name}.mid"
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        rows.append({"composition_dir": f"runs/{name}" if whose == "theirs" else name})
    write_json(tmp_path / "results.json", [*rows, {"composition_dir": "gone"}])
    assert main(["evaluate", "-r", str(tmp_path / "results.json"), "-o", str(tmp_path / "o")]) == 0
    assert "2 of 3 compositions" in capsys.readouterr().out
    kl = json.loads((tmp_path / "o/kl_divergence.json").read_text())
    assert kl.keys() == {"pitch_class", "duration", "harmony"}
    spread = json.loads((tmp_path / "o/features_distributions.json").read_text())
    assert len(spread["generated"]["pitch_class"]) == 2
    assert (tmp_path / "o/distances_distributions.png").is_file()


THEIR_COLUMNS = {  # of a row that Neuromusic's test.py writes
    *("composition_dir", "prompt_length", "generated_length", "original_length"),
    *("continued_original_length", "ended_with_eos", "prompt_original_path", "entropy"),
    "generation_time",
}


@pytest.mark.slow
def test_results_go_out_in_neuromusics_layout_and_come_back(folders, tmp_path, capsys):
    """Written of a clip folder of Étude's: a folder a composition, with the four files of its own."""
    home, _ = folders
    files, clips, rows = sorted((home / "real").rglob("*.mid")), tmp_path / "clips", []
    for number in range(2):
        name = f"clip-{number:04d}"
        places = (f"prompts/{name}", f"generated/{name}", f"originals/{name}", name)
        for place, file in zip(places, files[number:], strict=False):
            (clips / place).parent.mkdir(parents=True, exist_ok=True)
            (clips / f"{place}.mid").write_bytes(file.read_bytes())
        rows.append({
            "composition_dir": name, "prompt_length": 64, "generated_length": 96,
            "original_length": 80, "continued_original_length": 144, "ended_with_eos": False,
            "prompt_original_path": "a.mid", "entropy": 1.5, "invalid_share": 0.0,
            "generation_time": 0.25,
        })  # fmt: skip
    write_json(clips / "results.json", rows)
    out, again = tmp_path / "out", tmp_path / "again"
    assert main(["evaluate", "-r", str(clips / "results.json"), "-o", str(out)]) == 0
    written = json.loads((out / "results.json").read_text())
    assert [row.keys() for row in written] == [THEIR_COLUMNS] * 2
    for row, file in zip(written, files, strict=False):
        midi = out / "compositions" / row["composition_dir"].rpartition("/")[2] / "midi"
        assert midi.parent == Path(row["composition_dir"]), "whole, as Neuromusic looks there"
        assert {path.name for path in midi.iterdir()} == {
            *("prompt.midi", "generated.midi", "original.midi", "continued_original.midi")
        }
        assert (midi / "prompt.midi").read_bytes() == file.read_bytes()
        assert row["continued_original_length"] == 64 + 96, "the prompt and what was generated"
    assert main(["evaluate", "-r", str(out / "results.json"), "-o", str(again)]) == 0
    for name in ("kl_divergence.json", "features_distributions.json"):
        assert (out / name).read_bytes() == (again / name).read_bytes()
    spread = json.loads((again / "features_distributions.json").read_text())
    assert len(spread["generated"]["duration"]) == 2
    assert not (again / "compositions").exists(), "it is in that layout already"
    capsys.readouterr()


def test_results_that_are_none_are_refused(tmp_path, capsys):
    (tmp_path / "results.json").write_text('[{"score": 1}]')
    assert main(["evaluate", "-r", str(tmp_path / "results.json")]) == 1
    assert "[not-neuromusic-results]" in capsys.readouterr().err


# ------------------------------------------------------------------------------ one checkpoint


def test_a_checkpoint_is_an_experiment_beside_its_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_notes(tmp_path)
    keep = tmp_path / "keep.yaml"
    keep.write_text(
        "experiments: {notes: {stages: {lm: {training: {keep_steps: [10]}}}, "
        "seeds: {train: [3, 5]}}}"
    )
    settings = config.read(config.DEFAULT, tmp_path / "mine.yaml", keep)
    overlay = checkpoint_overlay(settings, "notes", 10)
    both = config.read(config.DEFAULT, tmp_path / "mine.yaml", keep, overrides=overlay)
    stage = both.experiments["notes-step-10"].stage("lm")
    assert both.run == ["notes-step-10"]
    assert stage.imported
    assert str(stage.weights.path) == "results/models/notes/lm/seed-3/step-10.safetensors"
    assert stage.network == settings.experiments["notes"].stage("lm").network
    assert both.experiments["notes-step-10"].seeds.train == [3]
    with refused("step-not-kept", 11):
        checkpoint_overlay(settings, "notes", 11)
    with refused("unknown-experiment", "'note'"):
        checkpoint_overlay(settings, "note", 10)
