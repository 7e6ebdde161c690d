"""What a release says of itself: one number in all places, the catalog, what users must change."""

import datetime as dt
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import etude
from etude import config
from etude.config.base import merge
from etude.config.reading import load_config
from etude.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
RELEASE = re.compile(r"^## (\d+\.\d+\.\d+) - (\S+)$", re.MULTILINE)
OLD = ROOT / "tests/fixtures/config_0_1.yaml"  # the default of 0.1, without its comments
PRESETS = ROOT / "config/presets"


def read(*files):
    raw = {}
    for file in files:
        raw = merge(raw, yaml.safe_load(file.read_text(encoding="utf-8")))
    return raw


def test_the_version_is_the_same_in_all_places():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest, day = RELEASE.findall(CHANGES)[0]
    assert etude.__version__ == project["version"] == citation["version"] == newest
    assert citation["date-released"] == dt.date.fromisoformat(day)
    assert citation["license"] == project["license"]
    assert CHANGES.index("## Unreleased") < CHANGES.index(f"## {newest}")


def test_the_catalog_finds_what_it_asks_for():
    """Standardized usage: workflow/Snakefile, config/README.md, how the software is installed."""
    entry = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))
    usage = entry["usage"]
    assert entry.keys() == {"usage"}
    assert usage.keys() == {"mandatory-flags", "software-stack-deployment"}
    assert usage["mandatory-flags"]["flags"] == ["--cores all"]
    assert usage["software-stack-deployment"] == {
        "conda": True, "apptainer": False, "apptainer+conda": False, "report": True,
    }  # fmt: skip
    rules = "\n".join(p.read_text(encoding="utf-8") for p in sorted(ROOT.glob("rules/*.smk")))
    assert "conda:" in rules
    assert "report(" in rules
    assert 'include: "../Snakefile"' in (ROOT / "workflow/Snakefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8").lower()
    assert {"snakemake", "workflow"} <= set(re.findall(r"\w+", readme))
    assert (ROOT / "config/README.md").is_file()


def test_the_configuration_of_the_first_version_still_works():
    load_config(read(OLD))
    for preset in ("smoke", "overfit"):
        load_config(read(config.DEFAULT, OLD, PRESETS / f"{preset}.yaml"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"evaluation": {"gate_ratio": 0.7}}, {}),
        ({"evaluation": {"gate_harmony": 0.85}}, {"evaluation": {"gate_embeddings": ["harmony"]}}),
        (
            {"evaluation": {"memorisation": {"gate_share": 0.05}}},
            {"evaluation": {"gate_copied": 0.05}},
        ),
    ],
)
def test_keys_that_are_gone_are_named_and_what_takes_their_place_is_valid(old, new):
    default = read(config.DEFAULT)
    key = list(old["evaluation"])[-1]
    key = next(iter(old["evaluation"][key])) if key == "memorisation" else key
    assert key in CHANGES.split("### Added")[0]
    with pytest.raises(UserError) as refused:
        load_config(merge(default, old))
    assert key in str(refused.value)
    load_config(merge(default, new))


@pytest.mark.parametrize("name", ["midilm", "tsd_music_transformer"])
def test_experiments_that_the_demo_had_are_in_another_preset(name):
    assert f"`{name}`" in CHANGES.split("### Added")[0]
    with pytest.raises(UserError):
        load_config(merge(read(config.DEFAULT), {"run": [name]}))
    load_config(merge(read(config.DEFAULT, PRESETS / "all.yaml"), {"run": [name]}))


def test_an_overlay_alone_is_refused():
    assert read(PRESETS / "expo_full.yaml")["overlay"]
    with pytest.raises(UserError):
        config.read(config.DEFAULT, PRESETS / "expo_full.yaml")


@pytest.mark.parametrize(
    ("key", "now"),
    [
        ("generate.clips", 64),
        ("evaluation.gate_clips", 64),
        ("evaluation.embeddings", ["timbre", "harmony", "time"]),
        ("split.similarity", 0.15),
    ],
)
def test_defaults_are_what_the_list_says(key, now):
    values = read(OLD)
    values["evaluation"] = {}  # it named its embeddings
    settings = load_config(values)
    owners = {
        "generate": settings.experiments["audiolm"].generate,
        "evaluation": settings.evaluation,
        "split": settings.corpora["chorales"].split,
    }
    owner, name = key.split(".")
    assert getattr(owners[owner], name) == now
