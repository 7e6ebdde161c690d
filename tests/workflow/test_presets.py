"""The seeds' settings, planned and run on music of a few kilobytes in place of their corpora."""

from __future__ import annotations

import zipfile
from random import Random

import music
import pytest
from workspace import ROOT, SMOKE, jobs

from etude.config import DEFAULT, read
from etude.storage import read_csv, read_json

pytestmark = pytest.mark.workflow
MIDILM, NEUROMUSIC = (ROOT / "config/presets" / f"{n}.yaml" for n in ("midilm", "neuromusic"))
NETWORKS = ("gpt2", "llama", "music_transformer")
TOKENS = ("remi", "tsd", "structured")
SIDES = ("train", "train", "train", "train", "validation", "test")


def archive(folder, version="v2.0.0"):
    """An archive of MAESTRO's layout: a folder of its name, years, a table with the split."""
    top, lines = folder / f"maestro-{version}", ["midi_filename,split,canonical_composer"]
    for i, side in enumerate(2 * SIDES):
        music.chorale(top / f"2004/{i}.midi", Random(i), quarters=64)
        lines.append(f"2004/{i}.midi,{side},Nobody")
    (top / f"maestro-{version}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = folder / "maestro.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(top.rglob("*.*")):
            file.write(member, member.relative_to(folder))
    return path


def nine(workspace):
    """Configuration of Neuromusic's sweep over a little archive."""
    url = str(archive(workspace.folder))
    own = {"corpora": {"maestro": {"url": url, "shards": 1}}}
    return [NEUROMUSIC, workspace.config("own", own)]


def test_neuromusic_plans_its_nine_experiments(workspace):
    configs = nine(workspace)
    settings = read(DEFAULT, *configs)
    pairs = [
        (e.tokens, e.stages.lm.network.kind) for e in map(settings.experiments.get, settings.run)
    ]
    assert sorted(pairs) == sorted((t, n) for t in TOKENS for n in NETWORKS)
    done = workspace.run("-n", configs=configs)
    assert {"fetch_source", "tokenize_midi", "train_stage", "generate_clips"} <= jobs(done)
    cells = map(str.split, (done.stdout + done.stderr).splitlines())
    counts = dict(pair for pair in cells if len(pair) == 2)
    assert (counts["train_stage"], counts["pack_symbolic"], counts["fetch_source"]) == (
        "9",
        "3",
        "1",
    )


def test_midilm_plans_on_a_folder(workspace):
    music.make_chorales(workspace.folder / "midi", 3)
    own = {"corpora": {"midi": {"path": str(workspace.folder / "midi")}}}
    done = workspace.run("-n", configs=[MIDILM, workspace.config("own", own)])
    assert {"tokenize_midi", "pack_symbolic", "train_stage", "generate_clips"} <= jobs(done)


@pytest.mark.proof
@pytest.mark.parametrize("preset", ["midilm", "neuromusic"])
def test_a_few_steps_at_a_shrunken_size(preset, workspace):
    """The seed's settings but for sizes and steps: from its archive or folder to clips."""
    size = {"window": 128, "stride": 64, "shortest": 100}
    if preset == "midilm":
        music.make_chorales(workspace.folder / "midi", 12)
        tiny = {"kind": "gpt2", "layers": 1, "heads": 2, "dim": 16}
        own = {
            "corpora": {"midi": {"path": str(workspace.folder / "midi"), "shards": 1}},
            "tokens": {"onoff": size},
            "experiments": {
                "midilm": {"stages": {"lm": {"network": tiny}}, "generate": {"new_tokens": 48}}
            },
        }
        configs, name = [MIDILM, workspace.config("tiny", own)], "midilm"
    else:
        tiny = [{"kind": "llama", "layers": 1, "heads": 2, "dim": 16}]
        grid = {"tokens": ["remi"], "stages.lm.network": tiny}
        own = {"tokens": {"remi": size}, "sweep": {"neuromusic": {"grid": grid}}}
        configs = [*nine(workspace), workspace.config("tiny", own)]
        (name,) = read(DEFAULT, *configs).run
    few = {"symbolic_lm": {"stages": {"lm": {"training": {"steps": 4, "validate_every": 2}}},
                           "generate": {"clips": 2, "prompt_tokens": 32, "new_tokens": 48}}}  # fmt: skip
    configs += [SMOKE, workspace.config("few", {"defaults": few})]
    experiment = read(DEFAULT, *configs).experiments[name]
    clips = f"results/clips/{name}/seed-{experiment.seeds.train[0]}/draw-0"
    workspace.run(clips, configs=configs)
    folder = workspace.folder / clips
    rows = list(read_csv(folder / "clips.csv"))
    assert [int(row["prompt_tokens"]) for row in rows] == [32, 32]
    assert all((folder / row["midi"]).is_file() for row in rows)
    assert [row["original_length"] > 0 for row in read_json(folder / "results.json")] == [True] * 2
