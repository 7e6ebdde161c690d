"""The configuration: errors a user can act on, merging, the reference in step with the models."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from refused import invalid, refused

import etude.__main__
import etude.runs
from etude.config import (
    DEFAULT,
    Config,
    Corpus,
    Cut,
    Experiment,
    load_config,
    merge,
    parse_section,
    read,
)
from etude.config.systems import CLASSES
from etude.config.systems.audiolm import AudioLm
from etude.errors import UserError
from etude.reference import render_reference
from etude.workflow.needs import downloads

ROOT = Path(__file__).resolve().parents[2]
PRESETS = sorted((ROOT / "config" / "presets").glob("*.yaml"))


def default():
    return yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))


def complaint(over):
    with pytest.raises(UserError) as caught:
        load_config(merge(default(), over))
    return str(caught.value)


def experiment(**keys):
    return {"experiments": {"audiolm": keys}}


def training(**keys):
    return experiment(stages={"coarse": {"training": keys}})


def chorales(**keys):
    return {"corpora": {"chorales": keys}}


def two_seconds(**keys):
    return {"cuts": {"two_seconds": keys}}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.stem)
def test_the_default_and_every_preset_are_valid(preset):
    assert read(DEFAULT).run[0] == "audiolm"
    alone = "overlay" not in yaml.safe_load(preset.read_text(encoding="utf-8"))
    assert read(DEFAULT, preset, overrides=None if alone else {"run": ["audiolm"]}).run


@pytest.mark.parametrize(
    ("over", "mistake"),
    [
        (
            {"experiments": {"audiolm": {"stages": {"coarse": {"training": {"step": 3}}}}}},
            ("experiments.audiolm.stages.coarse.training.step", "extra_forbidden", "did you mean 'steps'?", "batch_size"),
        ),
        ({"corpora": {"chorales": {"limt": 3}}}, ("corpora.chorales.limt", "extra_forbidden", "'limit'", "shards")),
        ({"tokn": {}}, ("tokn", "extra_forbidden", "did you mean 'tokens'?", "experiments")),
        ({"run": ["audolm"]}, ("run", "unknown-name", "did you mean 'audiolm'?")),
        ({"experiments": {"audiolm": {"corpus": "choral"}}}, ("experiments.audiolm.corpus", "unknown-name", "'chorales'")),
        ({"cuts": {"two_seconds": {"rate": 3}}}, ("cuts.two_seconds.rate", "greater_than_equal", "4000", "3")),
        ({"corpora": {"chorales": {"source": "folde"}}}, ("corpora.chorales", "union_tag_invalid", "'folder'", "'archive'")),
        ({"corpora": {"chorales": {"filter": {"drum": 1}}}}, ("corpora.chorales.filter.drum", "extra_forbidden", "'drums'")),
        ({"corpora": {"chorales": {"split": {"train": 0.9}}}}, ("corpora.chorales.split", "shares-not-one", "1")),
        ({"corpora": {"a b": {"source": "music21"}}}, ("corpora", "invalid-name", "'a b'")),
        ({"tokens": {"embedded": {"semantic": "magnitude"}}}, ("tokens.embedded.semantic", "tokenizer-of-another-kind")),
        (
            {"experiments": {"audiolm": {"coarse_quantizers": 4}}},
            ("experiments.audiolm.coarse_quantizers", "too-many-quantizers"),
        ),
        (
            {"experiments": {"audiolm": {"stages": {"fine": {"network": {"dim": 50}}}}}},
            ("experiments.audiolm.stages.fine.network.dim", "heads-do-not-divide"),
        ),
        (experiment(generate={"hop": 2.5}), ("audiolm.generate.hop", "hop-too-large")),
        ({"experiments": {"audiolm": {"system": "audio"}}}, ("experiments.audiolm", "union_tag_invalid", "'audiolm'")),
        ({"experiments": {"audiolm": None}}, ("experiments.audiolm", "model_attributes_type")),
        ({"evaluation": {"embeddings": ["logmell"]}}, ("evaluation.embeddings", "unknown-name", "did you mean 'logmel'?")),
        ({"evaluation": {"embeddings": ["vgish", "logmel"]}}, ("evaluation.embeddings", "unknown-name", "did you mean 'vggish'?")),
        ({"evaluation": {"embeddings": ["vggish"]}}, ("evaluation.embeddings", "no-embedding-runs", "logmel")),
        ({"evaluation": {"embeddings": ["logmel", "logmel"]}}, ("evaluation.embeddings", "named-twice", "'logmel'")),
        (experiment(seeds={"train": [-1]}), ("experiments.audiolm.seeds.train.0", "greater_than_equal", "-1")),
        (experiment(seeds={"generate": [3, 3]}), ("audiolm.seeds.generate", "named-twice", "3")),
        (training(keep_steps=[0]), ("coarse.training.keep_steps.0", "greater_than", "0")),
        (training(keep_steps=[5, 5]), ("coarse.training.keep_steps", "named-twice", "5")),
        (training(steps=9, keep_steps=[10]), ("experiments.audiolm.stages.coarse.training.keep_steps", "step-never-made", "10", "9")),
        (training(betas=[0.9, 1.0]), ("coarse.training.betas.1", "less_than", "1")),
        (training(betas=[-0.1, 0.9]), ("coarse.training.betas.0", "greater_than_equal")),
        (training(schedule="cosin"), ("coarse.training.schedule", "literal_error", "did you mean 'cosine'?")),
        (chorales(filter={"programs": [0, 128]}), ("chorales.filter.programs.1", "less_than_equal", "127", "128")),
        (chorales(filter="we_shap"), ("chorales.filter", "literal_error", "did you mean 'we_sharp'?")),
        (chorales(source="foldr"), ("corpora.chorales", "union_tag_invalid", "did you mean 'folder'?")),
        (experiment(end_of_sequence="evry_segment"), ("experiments.audiolm.end_of_sequence", "literal_error", "did you mean 'every_segment'?")),
        (two_seconds(rate=16000), ("tokenizers.bands.fit.cut", "rates-differ", "'two_seconds'", "16000", "sample_rate", "24000", "'bands'")),
        (two_seconds(seconds=0.015, hop=0.015), ("tokenizers.bands.fit.cut", "segment-too-short", "360", "480")),
        (two_seconds(seconds=0.022, hop=0.022), ("tokenizers.magnitude.fit.cut", "segment-too-short", "528", "'magnitude'", "640")),
        (two_seconds(hop=2.5), ("cuts.two_seconds.hop", "gaps-between-windows", "2.5", "2")),
    ],
)  # fmt: skip
def test_a_mistake_names_the_key_what_is_allowed_and_the_nearest(over, mistake):
    with invalid(*mistake) as caught:
        load_config(merge(default(), over))
    assert caught.value.code == "invalid-config"
    assert caught.value.do


@pytest.mark.parametrize(
    ("defaults", "code", "named"),
    [
        ({"audolm": {}}, "unknown-key", ["`defaults.audolm`", "did you mean 'audiolm'?"]),
        ({"corpus": "smoke"}, "not-a-section", ["`defaults.corpus`", "'smoke'"]),
        ({"audiolm": [3]}, "not-a-section", ["`defaults.audiolm`", "[3]"]),
    ],
)
def test_defaults_are_keys_of_sections(defaults, code, named):
    with refused(code, *named):
        load_config(merge(default(), {"defaults": defaults}))


def test_three_lines_are_a_configuration_of_ones_own(tmp_path):
    mine = {
        "corpora": {"mine": {"source": "folder", "path": "/music"}},
        "experiments": {"mine": {"system": "audiolm", "corpus": "mine"}},
        "run": ["mine"],
    }
    config = load_config(merge(default(), mine))
    assert config.experiments["mine"].stages.coarse.training.steps == 340


def test_a_users_home_may_be_written_as_a_shell_does():
    corpus = {"mine": {"source": "folder", "path": "~/music"}}
    assert (
        load_config(merge(default(), {"corpora": corpus})).corpora["mine"].path
        == Path.home() / "music"
    )


def test_a_stage_keeps_what_is_not_named():
    stages = {"semantic": {"training": {"steps": 7}}}
    wanted = AudioLm(system="audiolm", corpus="c", stages=stages)
    assert wanted.stages.semantic.training.steps == 7
    assert wanted.stages.semantic.training.batch_size == 32
    assert wanted.stages.fine.training.steps == 260


def test_defaults_lie_under_every_entry():
    config = read(DEFAULT, ROOT / "config/presets/smoke.yaml")
    for name in config.run:
        plans = config.experiments[name].stage_plans()
        assert {plan.settings.training.steps for plan in plans} == {20}, name
    mine = {"corpora": {"a": {"source": "music21"}, "b": {"source": "music21", "limit": 3}}}
    corpora = load_config(merge(default(), mine | {"defaults": {"corpus": {"limit": 9}}})).corpora
    assert (corpora["a"].limit, corpora["b"].limit) == (9, 3), "what an entry names itself wins"


def test_we_sharps_filter_is_a_named_set():
    config = load_config(merge(default(), {"corpora": {"chorales": {"filter": "we_sharp"}}}))
    rules = config.corpora["chorales"].rules
    assert (rules.drums, rules.programs, rules.min_velocity) == ("reject", [0, 1, 2, 3, 4, 5], 10)


def test_params_of_a_rule_survive_the_way_through_json():
    config = read(DEFAULT)
    corpus = config.corpora["chorales"]
    assert parse_section(Corpus, corpus.params()) == corpus
    assert json.loads(corpus.params("limit", "source")) == {"limit": 160, "source": "music21"}
    assert (
        parse_section(Experiment, config.experiments["audiolm"].params())
        == config.experiments["audiolm"]
    )


def test_another_kind_replaces_an_entry():
    over = {"corpora": {"chorales": {"source": "folder", "path": "/music"}}}
    assert "limit" not in merge(default(), over)["corpora"]["chorales"]


@pytest.mark.slow
@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=3)),
        lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_nonsense_is_a_user_error(nonsense):
    for key in ("corpora", "experiments", "tokens", "cuts", "evaluation"):
        raw = merge(default(), {key: nonsense}) if isinstance(nonsense, dict) else {key: nonsense}
        with suppress(UserError):
            load_config(raw)


def test_unreadable_yaml_is_a_user_error(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("run: [", encoding="utf-8")
    with refused("unreadable-config", where=path):
        read(path)


def test_the_reference_is_in_step():
    written = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    assert written == render_reference(), "run: python -m etude config --write"


def test_the_reference_has_every_section_that_the_configuration_reaches():
    reached = {"Config", *Config.model_json_schema()["$defs"]}
    assert {"TrainingSettings", "Weights", "Augment", "Word2Vec"} < reached
    shown = [line[4:] for line in render_reference().splitlines() if line.startswith("### ")]
    assert sorted(shown) == sorted(reached)  # each once
    for name in CLASSES:
        assert f"## experiments of the system {name}\n" in render_reference()


def test_parsing_needs_no_heavy_package():
    import subprocess
    import sys

    code = (
        "import sys, etude.config, etude.runs, etude.corpus.scan, etude.metrics.registry;"
        "import etude.workflow.imported_weights, etude.workflow.imported_tokenizers;"
        "heavy = {'torch', 'numpy', 'pandas', 'datasets', 'symusic', 'scipy'} & set(sys.modules);"
        "print(*sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), "imported at parse time"


def test_a_word_that_is_not_known_is_said_once():
    text = complaint(chorales(filter="we_shap"))
    assert text.count("corpora.chorales.filter") == 1
    assert "literal" not in complaint(chorales(filter={"drum": 1})), "keys were meant, not a word"


def test_a_hop_that_is_not_named_is_the_length_of_a_segment():
    assert (Cut().hop, Cut(seconds=5).hop, Cut(seconds=5, hop=None).hop) == (2, 5, 5)
    assert Cut(seconds=5, hop=2.5).hop == 2.5
    assert parse_section(Cut, Cut(seconds=5).params()) == Cut(seconds=5)
    row = next(
        x for x in render_reference().splitlines() if x.startswith("| `hop` | number ≥ 0.01")
    )
    assert "| none |" in row
    assert "equal to it" in row


def test_files_and_overrides_are_read_as_the_workflow_reads_them(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("corpora: {chorales: {source: folder, path: /m}}", encoding="utf-8")
    overrides = {"corpora": {"chorales": {"shards": 7}}}
    corpus = read(DEFAULT, mine, overrides=overrides).corpora["chorales"]
    assert (corpus.source, corpus.limit, corpus.shards) == ("folder", None, 7)
    assert read(DEFAULT, mine).corpora["chorales"].shards == 2
    assert read(DEFAULT).corpora["chorales"].limit == 160


@pytest.mark.parametrize("text", ["- run", "run", "3", b"\xff\xfe\xff"])
def test_a_file_without_keys_is_a_user_error(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with refused("unreadable-config", where=path):
        read(DEFAULT, path)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--cores", "4", "--configfile", "my.yaml"], ["results/fad.txt", "-n"], ["-n"]],
)
def test_resume_hands_everything_to_snakemake(arguments, monkeypatch):
    seen = []
    monkeypatch.setattr(etude.runs, "resume", seen.append)
    assert etude.__main__.main(["resume", *arguments]) == 0
    assert seen == [arguments]


def test_resume_has_a_help(capsys):
    with pytest.raises(SystemExit) as left:
        etude.__main__.main(["resume", "--help"])
    assert left.value.code == 0
    assert "arguments for snakemake" in capsys.readouterr().out


def test_no_requirement_is_idle():
    """What is asked for is imported by name, but for what others need of it."""
    lines = (ROOT / "requirements/main.in").read_text(encoding="utf-8").splitlines()
    names = {"pyyaml": "yaml", "pyfluidsynth": "fluidsynth", "faiss-cpu": "faiss", "pillow": "PIL"}
    others = {"snakemake", "pretty_midi"}  # runs the rules; its wheel holds the SoundFont
    others |= {"tensorboard"}  # torch.utils.tensorboard
    others |= {"snakemake-executor-plugin-slurm"}  # snakemake --executor slurm
    others |= {"faiss-cpu", "gensim", "miditok", "mido", "transformers"}  # until they are merged
    code = "\n".join(p.read_text(encoding="utf-8") for p in ROOT.glob("etude/**/*.py"))
    for line in (x for x in lines if x and not x.startswith("#")):
        name = names.get(line, line)
        assert line in others or re.search(rf"^\s*(import|from) {name}\b", code, re.MULTILINE), line


@pytest.mark.parametrize("preset", ["expo", "expo_etude"])
def test_the_full_expo_has_the_readme_steps(preset):
    folder = ROOT / "config/presets"
    short, full = (
        read(DEFAULT, folder / f"{preset}.yaml", *more).experiments[preset].stages
        for more in ([], [folder / "expo_full.yaml"])
    )
    assert [s.training.steps for _, s in short] == [25000, 29219, 24245]
    assert [s.training.steps for _, s in full] == [100_000, 100_000, 150_000]
    assert [s.training.batch_size * s.training.accumulate for _, s in full] == [256, 64, 32]


def test_new_keys_that_are_not_used_change_no_parameter():
    experiment = read(DEFAULT).experiments["audiolm"]
    said = experiment.stage_params("fine") + experiment.untrained_params() + experiment.params()
    assert not [w for w in ("whole_length", "top_share") if w in said]


def test_the_gate_decides_by_embeddings_that_are_measured():
    from etude.config import Evaluation

    assert Evaluation().gate_embeddings == ["timbre", "harmony"]
    assert Evaluation(embeddings=["harmony", "form"]).gate_embeddings == ["harmony"]
    assert Evaluation(embeddings=["logmel", "vggish"]).gate_embeddings == ["logmel"]
    with invalid("gate_embeddings", "unknown-name", "'timbr'"):
        Evaluation(gate_embeddings=["timbr"])


def test_an_overlay_alone_says_what_it_is_laid_over():
    full, expo = (DEFAULT.parent / f"presets/{name}.yaml" for name in ("expo_full", "expo"))
    with refused("overlay-alone", where=full) as caught:
        read(DEFAULT, full)
    assert "config/presets/expo.yaml" in caught.value.do
    assert read(DEFAULT, expo, full).experiments["expo"].stages.fine.training.steps == 150_000
    assert read(DEFAULT, full, overrides={"run": ["audiolm"]}).run == ["audiolm"]


def test_what_will_be_downloaded_is_said_until_it_is_there(tmp_path):
    settings = read(DEFAULT, DEFAULT.parent / "presets/neuromusic.yaml")
    (line,) = downloads(settings, tmp_path)
    assert "'maestro' from https://storage.googleapis.com/" in line
    (tmp_path / "corpora/maestro/source").mkdir(parents=True)
    assert downloads(settings, tmp_path) == []
    assert downloads(read(DEFAULT), tmp_path) == []
