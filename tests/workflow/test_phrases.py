"""Whole pieces by `phrase_ldm`: from MIDI files to the table and the page, in a minute."""

from __future__ import annotations

import music
import pytest
from workspace import SMOKE, Workspace

from etude.config.systems.phrase_ldm import PhraseLdm
from etude.midi.notes import read_midi
from etude.storage import read_csv, read_json

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

FEW = {"steps": 8, "batch_size": 4, "warmup_steps": 2, "validate_every": 4}
TINY = {"kind": "rotary", "dim": 24, "layers": 1, "heads": 2, "latent": 4}
DIT = {"dim": 24, "layers": 1, "heads": 2}
GENERATE = {"clips": 3, "bars": 3, "batch_size": 3}


def configured(workspace, name="tiny", **changes):
    """One experiment on a small folder."""
    stages = {
        "vae": {"network": TINY, "training": FEW, "least_f1": 0},
        "ldm": {"network": DIT, "training": FEW},
    }
    experiment = {
        "system": "phrase_ldm", "corpus": "mine", "tokens": "pieces", "stages": stages,
        "generate": GENERATE,
    }  # fmt: skip
    pieces = {"tokenizer": "remi_z", "window": 65536, "stride": 65536, "transpositions": [0]}
    music_here = str(workspace.folder / "music")
    content = {
        "corpora": {"mine": {"source": "folder", "path": music_here, "shards": 1}},
        "tokenizers": {"remi_z": {"kind": "remi_z", "normalise_key": True}},
        "tokens": {"pieces": pieces},
        "experiments": {"mine": experiment | changes},
        "evaluation": {"embeddings": ["harmony"]},
        "run": ["mine"],
    }
    return [SMOKE, workspace.config(name, content)]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("phrases"))
    music.make_chorales(workspace.folder / "music", 8, seed=1)
    workspace.by_hand(configs=configured(workspace))
    return workspace


def rows(workspace, path):
    return list(read_csv(workspace.folder / "results" / path))


def test_stages_are_trained_one_after_the_other(played):
    models = played.folder / "results/models/mine"
    assert {path.name for path in models.iterdir()} == {"vae", "ldm"}
    assert rows(played, "models/mine/vae/seed-0/history.csv")[-1]["note_f1"]
    latents = played.folder / "results/latents/mine/vae/seed-0"
    statistics = read_json(latents / "statistics.json")
    shape = read_json(models / "ldm/seed-0/config.json")["shape"]
    assert all(shape[name] == statistics[name] for name in ("mean", "deviation", "percentile"))


def test_clips_have_their_bars(played):
    clips = rows(played, "clips/mine/seed-0/draw-0/clips.csv")
    assert [row["bars"] for row in clips] == ["3"] * 3
    folder = played.folder / "results/clips/mine/seed-0/draw-0"
    for row in clips:
        table = read_midi(folder / row["midi"])
        assert table.places().bar.max(initial=0) < 3


def test_its_sets_are_made_with_the_trained_autoencoder(played):
    folder = played.folder / "results/clips/mine/baselines"
    for name in PhraseLdm.sets:
        assert (folder / name / "clips.csv").is_file(), name
        assert list((folder / name).glob("*.mid")), name


def test_it_goes_to_the_table_and_the_page(played):
    text, page = played.text("results/fad.txt"), played.text("results/report/index.html")
    assert "\n  mine (phrase_ldm" in text
    assert text.splitlines()[-1].startswith("gate: ")
    assert "gaussian latents" in text + page
    for stage in ("vae", "ldm"):
        assert stage in page


def test_it_is_exported_and_goes_on_from_a_file(played):
    config = configured(played)
    played.etude("export", "--experiment", "mine", "--configfile", *config, "--output", "out")
    own = played.folder / "music" / "chorale-000.mid"
    played.etude(
        *("continue", own, "--from", "out", "--bars", "2", "--batch_size", "1"),
        *("--out", "longer"),
    )
    before, after = read_midi(own), read_midi(played.folder / "longer1.mid")
    assert len(after) >= len(before)
    assert after.onset[: len(before)].tolist() == before.onset.tolist()
