"""Files of others, in and out: what is written is read by their own libraries, and what they write here.

REMI-z's lines are in test_remi_z_lines, learned words and diffusers' form in
test_textual_inversion, stable-audio-tools' checkpoints in test_stable_audio_pretrained,
audiolm-pytorch's in tests/audiolm_pytorch, fadtk's folders in test_outside_doors.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from refused import refused
from symbols import NETWORKS, SHAPE, make_symbolic, symbolic_experiment
from tiny_experiments import make_notes

from etude import config
from etude.__main__ import main
from etude.collection.exchange import read_tables
from etude.config import OnOff, Remi, Tsd
from etude.config.systems.symbolic_lm import SymbolicLm
from etude.errors import UserError
from etude.generation.export_formats import unwrap
from etude.midi.notes import read_midi
from etude.midi.writing import plain_table, write_midi
from etude.storage import hash_folder, read_csv, write_csv
from etude.systems.base import Parts
from etude.systems.symbolic_lm import families
from etude.systems.symbolic_lm.export_formats import fast_tokenizer
from etude.systems.symbolic_lm.stage import build_stage, load_stage
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer, load_symbolic_tokenizer
from etude.training.stage import import_stage
from etude.workflow.imported_weights import weights_file


def tune(path):
    onset = np.arange(32) * 240
    write_midi(plain_table(onset, np.full(32, 240), 60 + np.arange(32) * 5 % 13), path)
    return path


# ----------------------------------------------------------------------------- MidiLM, MidiTok


def test_midilms_tokenizer_is_transformers_fast_one(tmp_path):
    """WordLevel of 4,050 words, split at white space."""
    from transformers import PreTrainedTokenizerFast

    own = create_symbolic_tokenizer(OnOff(kind="onoff"))
    fast_tokenizer(own).save(str(tmp_path / "tokenizer.json"))
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), unk_token="[UNK]", pad_token="[PAD]"
    )
    assert len(theirs) == 4050
    ids = own.encode(read_midi(tune(tmp_path / "a.mid")))
    words = " ".join(own.names()[i] for i in ids)
    assert theirs(words)["input_ids"] == ids
    assert theirs("on_60_17 [PAD]")["input_ids"] == [4048, 4049]
    raw = json.loads((tmp_path / "tokenizer.json").read_text())
    assert (raw["model"]["type"], raw["pre_tokenizer"]["type"]) == ("WordLevel", "Whitespace")


def test_midilms_lines_go_out_and_come_back(tmp_path):
    (tmp_path / "onoff").mkdir()
    create_symbolic_tokenizer(OnOff(kind="onoff")).save(tmp_path / "onoff")
    source, lines = tune(tmp_path / "a.mid"), tmp_path / "a.jsonl"
    words = ["tokens", "--tokenizer", str(tmp_path / "onoff"), "--output"]
    assert main([*words, str(lines), str(source)]) == 0
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [row.keys() for row in rows] == [{"input_ids"}]
    assert max(rows[0]["input_ids"]) < 4048
    assert main([*words, str(tmp_path / "b.mid"), str(lines)]) == 0
    first, second = read_midi(source), read_midi(tmp_path / "b.mid")
    assert np.array_equal(first.pitch, second.pitch)
    lines.write_text(lines.read_text() * 2)
    assert main([*words, str(tmp_path / "c.mid"), str(lines)]) == 0
    assert {path.name for path in tmp_path.glob("c-*.mid")} == {"c-1.mid", "c-2.mid"}
    lines.write_text('{"ids": [1]}\n')
    assert main([*words, str(tmp_path / "d.mid"), str(lines)]) == 1


@pytest.mark.parametrize("settings", [Remi(kind="remi"), Tsd(kind="tsd", bpe=400)])
def test_miditoks_tokenizer_is_miditoks(settings, tmp_path):
    import miditok

    own = create_symbolic_tokenizer(settings)
    table = read_midi(tune(tmp_path / "a.mid"))
    if settings.bpe:
        own.learn(iter([table] * 4))
    (tmp_path / "t").mkdir()
    own.save(tmp_path / "t")
    theirs = getattr(miditok, {"remi": "REMI", "tsd": "TSD"}[settings.kind])(
        params=tmp_path / "t/tokenizer.json"
    )
    found = theirs(tmp_path / "a.mid")
    found = found[0] if isinstance(found, list) else found
    assert found.ids == load_symbolic_tokenizer(tmp_path / "t").encode(table)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_model_of_notes_is_a_folder_of_transformers(kind, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    monkeypatch.chdir(tmp_path)
    make_notes(tmp_path)
    over = {"experiments": {"notes": {"stages": {"lm": {"network": NETWORKS[kind]}}}}}
    settings = config.read(config.DEFAULT, "mine.yaml", overrides=over)
    place, model = (
        tmp_path / "results/tokenizers/mine/remi",
        tmp_path / "results/models/notes/lm/seed-0",
    )
    info = {"window": 64, **load_symbolic_tokenizer(place).describe()} | {"kind": "symbolic"}
    stage = build_stage(settings.experiments["notes"], "lm", info, 0)
    stage.save(model, {"symbolic": hash_folder(place)})
    unwrap(settings, "notes", None, "transformers", tmp_path / "out")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    words = PreTrainedTokenizerFast.from_pretrained(tmp_path / "out")
    ids = load_symbolic_tokenizer(place).encode(read_midi(tune(tmp_path / "a.mid")))
    text = " ".join(load_symbolic_tokenizer(place).names()[i] for i in ids)
    assert words(text)["input_ids"] == ids
    assert (
        theirs.generate(torch.tensor([ids[:8]]), max_new_tokens=4, do_sample=False).shape[1] <= 12
    )
    assert (words.pad_token_id, words.bos_token_id) == (
        load_symbolic_tokenizer(place).pad,
        load_symbolic_tokenizer(place).bos,
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_folder_of_transformers_takes_the_place_of_a_training(kind, tmp_path):
    """As `save_pretrained` of the class wrote it, whoever trained it."""
    packed = make_symbolic(tmp_path / "packed")
    network = families.build_network(symbolic_experiment(kind).stages.lm.network, SHAPE)
    network.save_pretrained(tmp_path / "theirs")
    lm = {"network": NETWORKS[kind], "weights": {"path": str(tmp_path / "theirs")}}
    how = SymbolicLm(system="symbolic_lm", corpus="c", tokens="t", stages={"lm": lm})
    (file,) = weights_file(how.stages.lm.weights, "lm", 0)
    import_stage(how, "lm", 0, Parts(packed=packed), Path(file), tmp_path / "lm/seed-0")
    ids = torch.randint(3, SHAPE["vocabulary"], (2, 16))
    taken = load_stage(tmp_path / "lm/seed-0").network.eval()
    with torch.inference_mode():
        wanted = network.eval()(ids).logits
        torch.testing.assert_close(taken(ids).logits, wanted)


def test_tokens_that_are_no_words_are_refused(tmp_path):
    own = create_symbolic_tokenizer(Tsd(kind="tsd", bpe=400))
    own.learn(iter([read_midi(tune(tmp_path / "a.mid"))] * 4))
    with refused("form-not-possible"):
        fast_tokenizer(own)


# ------------------------------------------------------- recordings: TI-MusicGen, stable-audio-tools


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "concepts"
    for name in ("8bit/a.wav", "8bit/b.wav", "choir/heavy_bass [1].wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, np.zeros(800) + 0.1, 8000)
    return folder


def test_ti_musicgens_tables_go_out_and_come_back(recordings, tmp_path):
    """Written as `datasets` reads them, a JSON object a line; and read from anywhere."""
    from datasets import load_dataset

    table = [{"path": "8bit/b.wav", "caption": "", "split": "test"}]
    write_csv(recordings / "metadata.csv", list(table[0]), table)
    assert (
        main(["exchange", str(recordings), "--form", "concepts", "--output", str(tmp_path / "o")])
        == 0
    )
    sides = {
        "train": str(tmp_path / "o/metadata_train.json"),
        "val": str(tmp_path / "o/metadata_val.json"),
    }
    found = load_dataset("json", data_files=sides, cache_dir=str(tmp_path / "cache"))
    assert {row["concept"] for row in found["train"]} == {"8bit", "choir"}
    assert [row["audio_path"] for row in found["val"]] == [str(recordings / "8bit/b.wav")]
    assert set(found["train"].column_names) == {"audio_path", "encoded_path", "concept", "track_id"}
    assert json.loads((tmp_path / "o/metadata_concepts.json").read_text()).keys() == {
        "8bit",
        "choir",
    }
    (recordings / "metadata.csv").unlink()
    moved = (tmp_path / "o/metadata_train.json").read_text().replace(str(recordings), "/else/where")
    (tmp_path / "o/metadata_train.json").write_text(moved)
    (tmp_path / "o/metadata_concepts.json").write_text('{"choir": "a large choir"}')
    tables = [str(path) for path in sorted((tmp_path / "o").glob("*.json"))]
    assert main(["exchange", str(recordings), "--read", *tables]) == 0
    rows = {row["path"]: row for row in read_csv(recordings / "metadata.csv")}
    assert rows["8bit/a.wav"] == {"path": "8bit/a.wav", "caption": "8bit", "split": "train"}
    assert rows["8bit/b.wav"]["split"] == "valid"
    assert rows["choir/heavy_bass [1].wav"]["caption"] == "a large choir"
    assert main(["exchange", str(recordings), "--read", *tables]) == 1, "nothing is replaced"


def test_stable_audio_tools_dataset_goes_out_and_comes_back(recordings, tmp_path):
    """The rule that is written is run as that program runs it; a rule of others is not run."""
    out = tmp_path / "o"
    assert main(["exchange", str(recordings), "--form", "tools", "--output", str(out)]) == 0
    data = json.loads((out / "dataset.json").read_text())
    (entry,) = data["datasets"]
    assert (data["dataset_type"], entry["path"]) == ("audio_dir", str(recordings))
    spec = importlib.util.spec_from_file_location(
        "metadata_module", entry["custom_metadata_module"]
    )
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    asked = {"relpath": "choir/heavy_bass [1].wav"}
    assert rule.get_custom_metadata(asked, None) == {"prompt": "heavy bass"}
    assert rule.get_custom_metadata({"relpath": "no.wav"}, None) == {"__reject__": True}
    (out / "custom_metadata.py").write_text("raise RuntimeError('it was run')")
    rows = read_tables([out / "dataset.json"], recordings)
    assert {row["path"]: row["caption"] for row in rows}["choir/heavy_bass [1].wav"] == "heavy bass"


@pytest.mark.parametrize("text", ["no json", '[{"score": 1}]', '{"choir": "only a description"}'])
def test_tables_that_are_none_are_refused(text, recordings, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError):
        read_tables([tmp_path / "x.json"], recordings)


# ----------------------------------------------------------------------------------- webMUSHRA


def test_pairs_are_a_listening_test_of_webmushra(tmp_path):
    for number, name in enumerate(("one", "two")):
        place = tmp_path / f"heard/clips/{name}/seed-0/draw-0"
        place.mkdir(parents=True)
        soundfile.write(
            place / "clip-0000.wav", np.sin(np.arange(24000) / (20 + number)) / 2, 24000
        )
        row = {"clip": "clip-0000", "file": "clip-0000.wav"}
        write_csv(place / "clips.csv", ["clip", "file"], [row])
    words = ["listen", "--page", str(tmp_path / "page"), "--results", str(tmp_path / "heard")]
    assert main([*words, "--pairs", "1", "--form", "webmushra"]) == 0
    test = yaml.safe_load((tmp_path / "page/etude.yaml").read_text())
    assert {"testname", "testId", "bufferSize", "stopOnErrors", "remoteService"} <= test.keys()
    kinds = [page["type"] for page in test["pages"]]
    assert (kinds[0], kinds[-1]) == ("generic", "finish")
    pairs = [page for page in test["pages"] if page["type"] == "paired_comparison"]
    assert pairs
    for page in pairs:
        for file in (page["reference"], *page["stimuli"].values()):
            assert (tmp_path / "page" / file.removeprefix("configs/etude/")).is_file()
