"""Parts of a user's own: found without an import, checked before they run, as CONTRIBUTING shows."""

from __future__ import annotations

import json
import sys

import contributing
import pytest
import yaml
from refused import invalid, refused

from etude import plugins
from etude.__main__ import main
from etude.config import (
    DEFAULT,
    PluginNetwork,
    PluginTokenizer,
    load_config,
    merge,
    parse_section,
    read,
)
from etude.errors import UserError

PAIRS = {
    "melodies": "corpora.melodies.source",
    "songbook": "corpora.songs.source",
    "loudness": "tokenizers.loudness.kind",
    "steps": "tokenizers.steps.kind",
    "gru": "experiments.audiolm.stages.coarse.network.kind",
    "lstm": "experiments.remi_llama.stages.lm.network.kind",
    "pitches": "evaluation.signals: pitches:Attacks",
    "energy": "evaluation.distances: energy:Energy",
}
CONFIGS = [f"{name}.yaml" for name in PAIRS]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to run in, with the files of CONTRIBUTING.md; its modules are forgotten after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    contributing.write_files(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def write(folder, text, name="mine.py"):
    (folder / name).write_text(text, encoding="utf-8")


def default():
    return yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))


def fails(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert all(word in text for word in words), text
    return text


# --------------------------------------------------------------------- what CONTRIBUTING shows


def test_each_kind_is_shown_in_two_short_files():
    shown = contributing.files()
    assert {*(f"{n}.py" for n in PAIRS), *CONFIGS, "loudest.smk", "rank_clips.py"} == shown.keys()
    assert all(len(text.splitlines()) <= 60 for text in shown.values())


@pytest.mark.parametrize("name", PAIRS)
def test_each_config_stands_alone_and_imports_nothing(name, here):
    config = read(DEFAULT, here / f"{name}.yaml")
    assert PAIRS[name] in config.plugin_parts
    assert name not in sys.modules


def test_the_config_command_tries_each_part(here, capsys):
    assert main(["config", "--configfile", *CONFIGS]) == 0
    tried = capsys.readouterr().out.splitlines()[0].removeprefix("tried: ").split()
    names = [f"{name}:{name.title()}" for name in PAIRS if name != "pitches"]
    assert sorted(tried) == sorted([*names, "pitches:Chroma", "pitches:Attacks"])
    text = (here / "gru.yaml").read_text(encoding="utf-8").replace("dim:", "dm:")
    write(here, text, "gru.yaml")
    assert main(["config", "--configfile", *CONFIGS]) == 1
    said = capsys.readouterr().err
    assert "[plugin-option-unknown]" in said
    assert "did you mean 'dim'?" in said


def test_a_tokenizer_is_saved_and_made_again(here):
    import torch

    from etude.tokenizers import registry

    settings = PluginTokenizer(kind="loudness:Loudness", options={"levels": 4})
    tokenizer = registry.create_tokenizer(settings)
    wave = torch.randn(3, 9600, generator=torch.Generator().manual_seed(0))
    tokenizer.fit([wave])
    first, second = here / "first", here / "second"
    for folder in (first, second):
        folder.mkdir()
        registry.save_tokenizer(tokenizer, settings, folder)
    loaded = registry.load_tokenizer(first)
    assert torch.equal(loaded.encode(wave), tokenizer.encode(wave))
    assert loaded.encode(wave).shape == (3, loaded.frames(9600)) == (3, 20)
    assert loaded.encode(wave).unique().numel() > 8
    assert int(loaded.encode(wave).max()) < loaded.codebook_size == 16
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_network_takes_the_place_of_the_transformer(here):
    import torch
    from safetensors.torch import save_file

    from etude.clips.sampling import ClipStreams
    from etude.config import Sampling
    from etude.config.systems.audiolm import AudioLm
    from etude.storage import atomic
    from etude.systems.audiolm.building import build_stage, load_stage
    from etude.systems.audiolm.sampling import continue_sequence

    network = {"kind": "gru:Gru", "options": {"dim": 16}}
    stages = {"semantic": {"network": network}}
    experiment = AudioLm(system="audiolm", corpus="c", stages=stages)
    packed = {
        "semantic_vocabulary": 5, "semantic_frames": 8, "semantic_frame_rate": 4,
        "codebook_size": 5, "quantizers": 3, "acoustic_frames": 8, "acoustic_frame_rate": 4,
        "cut": {"seconds": 2},
    }  # fmt: skip
    stage = build_stage(experiment, "semantic", packed, seed=0)
    ids = torch.randint(5, (2, 8), generator=torch.Generator().manual_seed(1))
    loss, figures = stage.loss({"semantic": ids, "last": torch.tensor([True, False])})
    loss.backward()
    assert (loss > 0, figures["count"]) == (True, 18)
    given = torch.zeros((2, 1), dtype=torch.long)
    drawn = [
        continue_sequence(stage.eval(), given, 8, ClipStreams([0, 1]), Sampling(), cached=cached)
        for cached in (True, False)
    ]
    assert torch.equal(*drawn)
    stage.save(here)
    with atomic(here / "model.safetensors") as path:
        save_file(stage.state_dict(), path)
    again = load_stage(here)
    assert again.network == PluginNetwork(**network)
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), stage.parameters(), strict=True)
    )


def test_a_network_without_a_cache_is_sampled_too(here):
    """It draws the same ids as with one."""
    import torch

    from etude.clips.sampling import ClipStreams
    from etude.config import Sampling
    from etude.config.systems.audiolm import AudioLm
    from etude.systems.audiolm.building import build_stage
    from etude.systems.audiolm.sampling import continue_sequence

    text = (here / "gru.py").read_text()
    write(here, text.replace("def cache(", "def no_cache("), "slow.py")
    packed = {
        "semantic_vocabulary": 5, "semantic_frames": 8, "semantic_frame_rate": 4,
        "codebook_size": 5, "quantizers": 3, "acoustic_frames": 8, "acoustic_frame_rate": 4,
        "cut": {"seconds": 2},
    }  # fmt: skip
    drawn = []
    for kind in ("gru:Gru", "slow:Gru"):
        stages = {"semantic": {"network": {"kind": kind, "options": {"dim": 16}}}}
        experiment = AudioLm(system="audiolm", corpus="c", stages=stages)
        stage = build_stage(experiment, "semantic", packed, seed=0).eval()
        assert hasattr(stage.transformer, "cache") == (kind == "gru:Gru")
        given = torch.zeros((2, 1), dtype=torch.long)
        drawn.append(continue_sequence(stage, given, 8, ClipStreams([0, 1]), Sampling()))
    assert torch.equal(*drawn)


def test_a_changed_module_is_another_training(here):
    from etude.config.systems.audiolm import AudioLm
    from etude.storage import write_json
    from etude.systems.base import Parts
    from etude.training.stage import stage_fingerprint

    packed = {
        "semantic_vocabulary": 5, "semantic_frames": 8, "semantic_frame_rate": 4, "codebook_size": 5,
        "quantizers": 3, "acoustic_frames": 8, "acoustic_frame_rate": 4, "cut": {"seconds": 2},
        "data_hash": "x",
    }  # fmt: skip
    write_json(here / "packed" / "info.json", packed)
    parts = Parts(packed=here / "packed")
    stages = {"coarse": {"network": {"kind": "gru:Gru"}}}
    experiment = AudioLm(system="audiolm", corpus="c", stages=stages)

    def prints():
        return [stage_fingerprint(experiment, s, parts, 0) for s in ("semantic", "coarse")]

    before = prints()
    write(here, (here / "gru.py").read_text() + "# another\n", "gru.py")
    after = prints()
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


# ---------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gru:Gr", ["no class 'Gr'", "did you mean 'Gru'?", "tokenizers.bands.kind", "gru.py"]),
        ("gruu:Gru", ["no Python module 'gruu'", "did you mean 'gru'?", "PYTHONPATH"]),
        ("etude.none:Gru", ["no Python module 'etude.none'"]),
        ("gru:", ["tokenizers.bands.kind", "my_module:MyClass"]),
        ("sys:path", ["no Python module 'sys'"]),
    ],
)
def test_a_name_that_is_not_there_is_said_before_anything_runs(kind, words, here):
    fails(
        lambda: load_config(merge(default(), {"tokenizers": {"bands": {"kind": kind}}})),
        *words,
        "do:",
    )


def test_only_the_transformer_has_a_forgetful_mask(here):
    stage = {"network": {"kind": "gru:Gru"}, "training": {"forgetful_mask": 0.1}}
    bad = merge(default(), {"experiments": {"audiolm": {"stages": {"fine": stage}}}})
    with invalid("stages.fine.training.forgetful_mask", "not-of-this-system"):
        load_config(bad)


def test_a_module_that_is_no_python(here):
    write(here, "class Broken(:")
    bad = merge(default(), {"tokenizers": {"bands": {"kind": "mine:Broken"}}})
    with refused("plugin-module-invalid", "mine.py", where="tokenizers.bands.kind"):
        load_config(bad)


def test_a_class_may_come_from_elsewhere(here):
    write(here, "from gru import Gru as Mine\nNamed = Mine\n")
    plugins.check_plugin("mine:Mine", "here")
    plugins.check_plugin("mine:Named", "here")
    assert plugins.load_class("mine:Named").__name__ == "Gru"
    (here / "parts" / "inner").mkdir(parents=True)
    write(here / "parts" / "inner", "class Deep: pass", "deep.py")
    assert plugins.module_file("parts.inner.deep:Deep") == here / "parts/inner/deep.py"
    assert plugins.load_class("parts.inner.deep:Deep").__name__ == "Deep"


def test_what_a_class_lacks_is_named(here):
    write(
        here,
        "class Tok:\n    sample_rate = 8000\n    def frame(self, n): ...\n    def encode(self, w): ...\n",
    )
    from etude.tokenizers import registry

    fails(
        lambda: registry.create_tokenizer(PluginTokenizer(kind="mine:Tok")),
        "no 'frames'",
        "'frame'?",
        "mine.py",
    )
    text = (here / "mine.py").read_text().replace("frame(", "frames(")
    write(here, text, "other.py")
    fails(
        lambda: registry.create_tokenizer(PluginTokenizer(kind="other:Tok")),
        "no 'frame_rate'",
        "codebook_size",
    )


def test_a_module_that_cannot_be_imported(here):
    write(here, "import a_package_that_is_not_there\nclass Mine: pass\n")
    plugins.check_plugin("mine:Mine", "here")
    fails(
        lambda: plugins.load_class("mine:Mine"),
        "cannot be imported",
        "a_package_that_is_not_there",
        "mine.py",
    )
    write(here, "1 / 0\nclass Mine: pass\n", "divides.py")
    with refused("plugin-import-failed", "ZeroDivisionError"):
        plugins.load_class("divides:Mine")
    write(here, "Mine = 3\n", "number.py")
    with refused("plugin-class-not-found", "'Mine'"):
        plugins.load_class("number:Mine")


def test_options_are_checked_by_the_signature(here):
    write(here, "class Mine:\n    def __init__(self, size, depth=2): self.all = (size, depth)\n")
    assert plugins.instantiate("mine:Mine", {"size": 3}).all == (3, 2)
    with refused("plugin-option-unknown", "'siz'", "did you mean 'size'?", "size, depth"):
        plugins.instantiate("mine:Mine", {"siz": 3})
    with refused("plugin-option-invalid", "size"):
        plugins.instantiate("mine:Mine", {})
    with refused("plugin-option-unknown", "'size'"):
        plugins.instantiate("mine:Mine", {"size": 1, "depth": 2}, size=3)
    write(here, "class Free:\n    def __init__(self, **options): self.all = options\n", "free.py")
    assert plugins.instantiate("free:Free", {"anything": 1}).all == {"anything": 1}
    write(here, "class Plain: pass\n", "plain.py")
    with refused("plugin-option-unknown", "'x'"):
        plugins.instantiate("plain:Plain", {"x": 1})


def test_options_are_checked_by_a_class_s_settings(here):
    made = plugins.instantiate("loudness:Loudness", {"levels": "4"})
    assert (made.levels, made.hop) == (4, 480), "of the type that Settings says, with its defaults"
    with refused("plugin-option-invalid", "levels", 1):
        plugins.instantiate("loudness:Loudness", {"levels": 1})
    with refused("plugin-option-unknown", "'level'", "did you mean 'levels'?"):
        plugins.instantiate("loudness:Loudness", {"level": 3})


def test_options_survive_the_way_to_a_job():
    settings = PluginTokenizer(kind="a:B", options={"rates": [1, 2.5], "deep": {"x": None}})
    assert parse_section(PluginTokenizer, settings.params()) == settings
    assert json.loads(settings.params("options"))["options"] == settings.options


def test_a_digest_is_of_the_file_s_bytes(here):
    write(here, "class Mine: pass\n")
    before = plugins.plugin_digest("mine:Mine")
    assert plugins.plugin_digest("mine:Other") == before
    write(here, "class Mine: pass  # changed\n")
    assert plugins.plugin_digest("mine:Mine") != before


def test_own_metrics_are_told_apart(here):
    write(here, "class Chroma: pass\n")
    for evaluation, words in [
        ({"embeddings": ["pitches:Chroma", "mine:Chroma"]}, ["two classes are called 'Chroma'"]),
        ({"options": {"pitches:Chroma": {}}}, ["in none of `embeddings`, `signals`, `distances`"]),
        ({"signals": ["Attacks"]}, ["evaluation.signals.0", "my_module:MyClass"]),
    ]:
        fails(lambda e=evaluation: load_config(merge(default(), {"evaluation": e})), *words)
    assert load_config(merge(default(), {"evaluation": {"embeddings": ["pitches:Chroma"]}}))


def test_a_source_that_brings_nothing(here):
    from etude.config import PluginCorpus
    from etude.corpus.fetch import fetch

    write(here, "class Mine:\n    def fetch(self, folder): ...\n")
    with refused("source-brought-nothing", "Mine"):
        fetch(PluginCorpus(source="mine:Mine"), here / "source", 1)
    assert not (here / "source").exists()
    fetch(PluginCorpus(source="melodies:Melodies", options={"pieces": 3}), here / "source", 1)
    assert len(list((here / "source").glob("*.mid"))) == 3


def test_own_figures_of_clips_reach_the_table(here):
    import numpy as np

    from etude.audio.files import write_wav
    from etude.config import Evaluation
    from etude.metrics.registry import open_signals
    from etude.metrics.score import COLUMNS, SIGNAL_COLUMNS, summarise_signals, write_signals
    from etude.results.summary import RunSummary, write_results
    from etude.storage import read_csv, write_csv

    folder = here / "clips"
    folder.mkdir()
    clicks = np.zeros(24000, np.float32)
    clicks[6000::6000] = 0.9
    write_wav(folder / "a.wav", clicks, 24000)
    write_csv(folder / "clips.csv", ["clip", "file"], [{"clip": "a", "file": "a.wav"}])
    own_signals = open_signals(["pitches:Attacks"], {})
    write_signals({"generated": folder}, 24000, here / "signals.csv", own_signals)
    rows = list(read_csv(here / "signals.csv"))
    assert list(rows[0]) == [*SIGNAL_COLUMNS, "Attacks"]
    assert float(rows[0]["Attacks"]) == 3
    common = {"experiment": "e", "system": "s", "train_seed": "0", "draw": "0", "embedding": ""}
    summary = [common | r for r in summarise_signals(rows, {"Attacks": "per second"})]
    write_csv(here / "fad.csv", COLUMNS, summary)
    settings = Evaluation(signals=["pitches:Attacks"])
    run = RunSummary([here / "fad.csv"], [], settings, frozenset())
    assert "\n  Attacks (per second): generated 3" in write_results(run, here)


def test_a_score_that_ones_own_source_cannot_read_is_told_with_its_line(here):
    from etude.config import PluginCorpus
    from etude.corpus.fetch import fetch

    write(here, "class Mine:\n    def fetch(self, folder):\n        raise KeyError('measure 3')\n")
    with refused("plugin-failed", "`fetch`") as caught:
        fetch(PluginCorpus(source="mine:Mine"), here / "source", 1)
    assert caught.value.where.endswith("mine.py, line 3")
    assert "KeyError: 'measure 3'" in caught.value.why
    assert not (here / "source").exists()
