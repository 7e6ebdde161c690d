"""What leaves the house: with everyone's consent, and with a card that says whose music it knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from refused import refused
from tiny_experiments import HEAD, ROWS, make_owned, write_search

from etude import config
from etude.generation.clips import make_clips
from etude.generation.export import export
from etude.generation.export_formats import unwrap
from etude.generation.registry import drop, exports
from etude.generation.trained import in_results
from etude.storage import read_csv, read_json, write_csv, write_json, write_text
from etude.systems import open_system
from etude.workflow.lineage import corpora_behind, corpora_used, experiments_behind
from etude.workflow.plan import Plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def owned(tmp_path, monkeypatch):
    """A trained experiment over a corpus of three people's music."""
    monkeypatch.chdir(tmp_path)
    return make_owned(tmp_path)


def test_the_card_says_whose_music_it_is(owned, tmp_path):
    export(owned, "mine", None, tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    for line in ("| Ann | 1.00 | 25.0 % |", "| Bo | 3.00 | 75.0 % |", "| Cy | 0.00 | 0.0 % |"):
        assert line in card
    assert "Licences: by agreement (3.0 min); CC-BY-4.0 (1.0 min); CC0-1.0 (0.0 min)." in card
    made = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert str(tmp_path).encode() not in made
    assert b"ownership.csv" not in made


def test_the_card_says_what_the_search_for_copies_found(owned, tmp_path):
    export(owned, "mine", None, tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    start = card.index("## Copies of the training music")
    assert start > card.index("## Owners")
    for line in (
        "| exact | 0 % [0, 6] of 64 | unaltered 100 % [94, 100] of 60 |",
        (
            "| fingerprint | 2 % [0, 8] of 64 | unaltered 100 % [94, 100] of 60; altered in 2 ways, "
            "from 0 % [0, 6] (reversed) to 98 % [91, 100] |"
        ),
        "| neighbours (timbre) | n/a: too few | not measured |",
    ):
        assert line in card


def test_other_forms_are_exports_too(owned, tmp_path, monkeypatch):
    """With owners' consent, on record, and with the pieces by which a withdrawal finds them."""
    system = type(open_system("audiolm"))
    monkeypatch.setattr(system, "forms", ("plain",))
    monkeypatch.setattr(
        system, "write_form", lambda _, e, p, form, folder: write_text(folder / "a/model.bin", form)
    )
    unwrap(owned, "mine", None, "plain", tmp_path / "out")
    assert (tmp_path / "out/a/model.bin").read_text() == "plain"
    assert "| Bo | 3.00 |" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    about = read_json(tmp_path / "out/export.json")
    assert list(about["sha256"]) == ["a/model.bin"]
    export(owned, "mine", None, tmp_path / "plain")
    assert about["pieces"] == read_json(tmp_path / "plain/export.json")["pieces"]
    assert [Path(entry["folder"]).name for entry in exports()] == ["out", "plain"]
    drop(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with refused("unknown-form", "'other'"):
        unwrap(owned, "mine", None, "other", tmp_path / "other")
    (tmp_path / "results/metrics/mine/seed-3/draw-0/memorisation.csv").unlink()
    with refused("not-searched-for-copies"):
        unwrap(owned, "mine", None, "plain", tmp_path / "again")


def test_unsearched_music_is_not_published(owned, tmp_path):
    table = tmp_path / "results/metrics/mine/seed-3/draw-0/memorisation.csv"
    rows = list(read_csv(table))
    write_csv(table, list(rows[0]), [row for row in rows if not row["metric"].startswith("recall")])
    with refused("recall-not-known") as error:
        export(owned, "mine", None, tmp_path / "out")
    assert "evaluation.memorisation.planted" in error.value.do
    table.unlink()
    with refused("not-searched-for-copies") as error:
        export(owned, "mine", None, tmp_path / "out")
    assert (
        "snakemake --cores all results/metrics/mine/seed-3/draw-0/memorisation.csv"
        in error.value.do
    )
    export(owned, "mine", 5, tmp_path / "out")
    write_search(tmp_path, "mine", (3,))
    write_json(tmp_path / "results/clips/mine/seed-3/draw-0/weights.json", {"stages": {}})
    with refused("searched-with-other-weights"):
        export(owned, "mine", None, tmp_path / "again")


def test_what_may_not_be_published_is_named(owned, tmp_path):
    unsaid = [row.removesuffix("yes") + "no" for row in ROWS[1:]]
    write_text(tmp_path / "ownership.csv", "\n".join([HEAD, ROWS[0], *unsaid]))
    with refused("may-not-be-published", "'mine'", "2 of 3") as error:
        export(owned, "mine", None, tmp_path / "out")
    assert "zwei für.wav (Bo)" in error.value.why
    assert "held out.wav (Cy)" in error.value.why
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (ROWS[:2], "no row (1): held out.wav"),
        ([*ROWS[:2], ROWS[2].replace("yes,yes", "no,yes")], "Cy"),
    ],
)
def test_consent_that_is_gone_stops_an_export(rows, words, owned, tmp_path):
    write_text(tmp_path / "ownership.csv", "\n".join([HEAD, *rows]))
    with refused("may-not-be-published", "1 of 3") as error:
        export(owned, "mine", None, tmp_path / "out")
    assert words in error.value.why


def test_without_pieces_nobody_can_tell(owned, tmp_path):
    (tmp_path / "results/corpora/mine/pieces.csv").unlink()
    with refused("pieces-not-here", "'mine'"):
        export(owned, "mine", None, tmp_path / "out")


@pytest.mark.slow
def test_clips_have_their_owners_beside_them(owned, tmp_path):
    rows = [
        {"contributor": "Ann", "pieces": 1, "minutes": "1.00", "share": "1.0000"},
        {"contributor": "Cy", "pieces": 1, "minutes": "0.00", "share": "0.0000"},
    ]
    owners = tmp_path / "results/corpora/mine/owners.csv"
    write_csv(owners, [*rows[0], "held_out_minutes"], rows)
    trained = in_results(owned, "mine", None)
    short = trained.experiment.generate.model_copy(
        update={"clips": 1, "seconds": 0.6, "prime": None}
    )
    experiment = trained.experiment.model_copy(update={"generate": short})
    for name, tables in (("with", [owners]), ("without", [])):
        make_clips(
            *(experiment, trained.parts, 3, 0, tmp_path / name),
            owners=tables,
            should_stop=lambda: False,
        )
    about = read_json(tmp_path / "with/weights.json")
    assert about.pop("owners") == {"mine": [{"contributor": "Ann", "minutes": 1.0, "share": 1.0}]}
    assert about == read_json(tmp_path / "without/weights.json"), "no owners, no words about them"


def test_what_a_model_was_built_upon_is_known_too(owned, tmp_path):
    content = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    theirs = json.loads(json.dumps(content["experiments"]["mine"])) | {"corpus": "theirs"}
    for stage in theirs["stages"].values():
        stage["weights"] = {"path": "results/models/mine/coarse", "fine_tune": True}
    content["experiments"] |= {"theirs": theirs, "other": theirs | {"corpus": "other"}}
    for name in ("theirs", "other"):
        content["corpora"][name] = {"source": "folder", "path": "x"}
    del content["experiments"]["other"]["stages"]
    content["tokenizers"]["bands"]["fit"]["corpus"] = "other"
    content["run"] = ["theirs"]
    write_text(tmp_path / "mine.yaml", yaml.safe_dump(content))
    settings = config.read(config.DEFAULT, tmp_path / "mine.yaml")
    assert experiments_behind(settings, "theirs") == ["theirs", "mine"]
    assert set(corpora_behind(settings, "theirs")) == {"theirs", "mine", "other"}
    assert corpora_behind(settings, "other") == ["other"]
    assert set(corpora_used(settings)) == {"theirs", "mine", "other"}

    class Wildcards:
        experiment = "theirs"

    assert Plan(settings).owners_of(Wildcards()) == ["results/corpora/mine/owners.csv"]


def test_borrowed_latents_are_known_too():
    """Replay of the base's music: its corpus is behind the adaptation."""
    settings = config.read(config.DEFAULT, ROOT / "config/presets/stable_audio.yaml")
    borrowing = {
        name: {other for plan in experiment.stage_plans() for other, _, _ in plan.borrows}
        for name, experiment in settings.experiments.items()
    }
    assert any(borrowing.values())
    for name, others in borrowing.items():
        known = set(corpora_behind(settings, name))
        assert known >= {settings.experiments[other].corpus for other in others}
