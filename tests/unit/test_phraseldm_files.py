"""PhraseLDM's files, in and out: its JSON lines of REMI-z and its latents, by their own libraries.

Lines are strings of words that its tokenizer (transformers') knows; latents are dicts of torch.save.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from etude.__main__ import main
from etude.config import RemiZ
from etude.diffusion.latent_files import read_theirs, save_split, write_theirs
from etude.errors import UserError
from etude.midi.notes import read_midi
from etude.storage import read_json
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer as create
from etude.tokenizers.symbolic.remi_z_texts import from_text_lines, to_text_lines
from tests import music

FIXTURES = Path(__file__).parents[1] / "fixtures"
LEVELS = ("bar", "phrase", "position")
LINES = {
    "phrase": [
        *("i-13 o-0 p-72 d-12 o-12 p-74 d-12", "i-0 o-0 p-48 d-24 p-45 d-24", "[INST]", "b-1"),
        *("[INST]", "b-1", "i-0 o-24 p-50 d-6", "[INST]", "b-1", "[SEP]"),
    ],
    "bar": [
        "i-13 o-0 p-72 d-12 o-12 p-74 d-12 i-0 o-0 p-48 d-24 p-45 d-24 b-1",
        *("b-1", "i-0 o-24 p-50 d-6 b-1", "[SEP]"),
    ],
    "position": [
        *("i-13 o-0 p-72 d-12", "o-12 p-74 d-12 i-0", "o-0 p-48 d-24 p-45 d-24", "b-1"),
        *("b-1", "i-0 o-24 p-50 d-6", "b-1"),
    ],
}
NOTES = [(0, 72, 13), (0, 48, 0), (0, 45, 0), (12, 74, 13)]  # of the first bar: position, …


def theirs(folder):
    (folder / "remi_z").mkdir()
    settings = RemiZ(kind="remi_z", slots=3, tracks="program", time_signatures=False)
    create(settings).save(folder / "remi_z")
    return create(settings)


def notes_of(table):
    tick = table.ticks_per_quarter // 12
    rows = zip(table.onset // tick, table.pitch, table.program, strict=True)
    return sorted((int(a), int(b), int(c)) for a, b, c in rows)


@pytest.mark.parametrize("level", LEVELS)
def test_its_lines_become_midi_and_its_lines_again(tmp_path, level):
    """By command; nothing of Étude's writes the file that is read."""
    theirs(tmp_path)
    lines = "".join(json.dumps(line) + "\n" for line in LINES[level])
    (tmp_path / "theirs.jsonl").write_text(lines)
    words = ["tokens", "--tokenizer", str(tmp_path / "remi_z"), "--output"]
    assert main([*words, str(tmp_path / "a.mid"), str(tmp_path / "theirs.jsonl")]) == 0
    found = notes_of(read_midi(tmp_path / "a.mid"))
    # Its reader takes ends of bars in a row for one; an [INST] between them says a bar of rests.
    last = 72 if level != "phrase" else 120
    assert found == sorted([*NOTES, (last, 50, 0)])
    out = ["--form", "phraseldm", "--level", level, str(tmp_path / "a.mid")]
    assert main([*words, str(tmp_path / "b.jsonl"), *out]) == 0
    again = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    if level == "phrase":
        assert again == LINES[level]
    assert all(isinstance(line, str) for line in again)


@pytest.mark.parametrize("level", ["bar", "phrase"])
def test_a_song_of_its_own_library_is_read(tmp_path, level):
    """Lines and notes by remi-z itself (tests/fixtures/make_remi_z.py)."""
    theirs(tmp_path)
    content = json.loads((FIXTURES / "remi_z.json").read_text())
    lines = "".join(json.dumps(line) + "\n" for line in content["lines"][level])
    (tmp_path / "song.jsonl").write_text(lines)
    words = ["tokens", "--tokenizer", str(tmp_path / "remi_z"), "--output"]
    assert main([*words, str(tmp_path / "song.mid"), str(tmp_path / "song.jsonl")]) == 0
    table = read_midi(tmp_path / "song.mid")
    tick = table.ticks_per_quarter // 12
    columns = (table.onset // tick, table.pitch, table.duration // tick, table.program)
    found = sorted([int(value) for value in row] for row in zip(*columns, strict=True))
    assert found == content["notes"]
    assert len({program for *_, program in found}) == 3


def test_its_tokenizer_knows_every_word(tmp_path):
    released = pytest.importorskip("released_phrases")
    tokenizer = theirs(tmp_path)
    folder = tmp_path / "music"
    music.make_chorales(folder, 2, seed=3)
    known = released.tokenizer()
    for path in sorted(folder.glob("*.mid")):
        for level in LEVELS:
            ids = tokenizer.encode(read_midi(path))
            text = " ".join(json.loads(line) for line in to_text_lines(tokenizer, ids, level))
            assert known.unk_token_id not in known(text)["input_ids"]


def test_its_own_library_reads_the_lines(tmp_path):
    """remi-z, where it is installed: the same notes as there were."""
    remi_z = pytest.importorskip("remi_z")
    tokenizer = theirs(tmp_path)
    music.make_chorales(tmp_path / "music", 1, seed=3)
    (path,) = sorted((tmp_path / "music").glob("*.mid"))
    ids = tokenizer.encode(read_midi(path))
    bars = [json.loads(line) for line in to_text_lines(tokenizer, ids, "bar")][:-1]
    song = remi_z.MultiTrack.from_remiz_str(" ".join(bars))
    assert len(song) == len(bars)
    found = sorted(
        (48 * number + note[0], note[1], note[2])
        for number, bar in enumerate(song)
        for track in bar.tracks.values()
        for note in track.get_note_list()
    )
    table = tokenizer.decode(ids)
    tick = table.ticks_per_quarter // 12
    rows = zip(table.onset // tick, table.pitch, table.duration // tick, strict=True)
    assert found == sorted((int(a), int(b), int(c)) for a, b, c in rows)


@pytest.mark.parametrize("level", LEVELS)
def test_songs_stand_one_after_another(level):
    tokenizer = create(RemiZ(kind="remi_z", slots=3, tracks="program"))
    first = [line for line in LINES["phrase"] if line != "[INST]"]
    texts = [json.dumps(line) for line in [*first, *first]]
    found = list(from_text_lines(tokenizer, texts, ""))
    assert len(found) == 2
    assert found[0] == found[1]
    again = [line for ids in found for line in to_text_lines(tokenizer, ids, level)]
    assert sum("[SEP]" in line for line in again) == (0 if level == "position" else 2)


@pytest.mark.parametrize(
    "line", ["hello", '"i-0 o-0 x-3"', '"i-0 o-128"', '["i-0"]', '"i-0 o--1"', "3"]
)
def test_what_is_no_text_is_told_with_its_line(line):
    tokenizer = create(RemiZ(kind="remi_z"))
    with pytest.raises(UserError) as error:
        list(from_text_lines(tokenizer, ['"i-0 o-0 p-60 d-12"', line], "a.jsonl"))
    assert error.value.where == "a.jsonl, line 2"


# ------------------------------------------------------------------------------------ latents


def test_latents_go_out_as_it_keeps_them_and_come_back(tmp_path):
    random = np.random.default_rng(0)
    mean = torch.from_numpy(random.normal(size=(20, 64)).astype(np.float32))
    ours, target, again = (tmp_path / name for name in ("ours", "theirs", "again"))
    for folder in (ours, target, again):
        folder.mkdir()
    both = {"mean": mean, "log_variance": mean * 0}
    save_split(ours, "train", ["a", "b"], [8, 12], both)
    assert main(["exchange", str(ours), "--form", "latents", "--output", str(target)]) == 0
    content = torch.load(target / "train_data.pt", weights_only=True)
    assert {name: song["length"] for name, song in content.items()} == {"a": 8, "b": 12}
    assert torch.equal(content["b"]["latent"], mean[8:])
    assert main(["exchange", str(again), "--read", str(target / "train_data.pt")]) == 0
    back = load_file(again / "train.safetensors")
    assert torch.equal(back["mean"], mean)
    assert back["lengths"].tolist() == [8, 12]
    found = read_json(again / "statistics.json")
    assert found["scale"] == pytest.approx(float(mean.std(0).mean()), rel=1e-6)
    assert found["percentile"] == pytest.approx(float(np.quantile(mean.abs(), 0.999)), rel=1e-4)
    assert write_theirs(again, tmp_path / "theirs") == ["train_data.pt"]


def test_its_table_of_all_songs_is_read(tmp_path):
    """Rows of songs of different lengths, padded or not."""
    latents = [torch.ones(8, 4), torch.full((12, 4), 2.0)]
    torch.save({"latents": latents, "lengths": [8, 8]}, tmp_path / "all_songs_latents.pt")
    assert read_theirs([tmp_path / "all_songs_latents.pt"], tmp_path) == 2
    assert load_file(tmp_path / "train.safetensors")["mean"][:, 0].tolist() == [1] * 8 + [2] * 8


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"a": {"latent": torch.zeros(3, 4), "length": 3}},
        {"a": {"latent": torch.zeros(4, 4)}, "b": {"latent": torch.zeros(4, 5)}},
        {"a": 3},
        [1, 2],
        torch.zeros(3),
    ],
)
def test_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "train_data.pt")
    with pytest.raises(UserError) as error:
        read_theirs([tmp_path / "train_data.pt"], tmp_path)
    assert error.value.where == str(tmp_path / "train_data.pt")
    assert not (tmp_path / "train.safetensors").exists()


def test_a_broken_file_and_two_of_a_split(tmp_path):
    (tmp_path / "train_data.pt").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(UserError):
        read_theirs([tmp_path / "train_data.pt"], tmp_path)
    for name in ("valid_data.pt", "val_data.pt"):
        torch.save({"a": {"latent": torch.zeros(4, 4)}}, tmp_path / name)
    with pytest.raises(UserError):
        read_theirs([tmp_path / "valid_data.pt", tmp_path / "val_data.pt"], tmp_path)


def test_a_folder_without_latents(tmp_path):
    with pytest.raises(UserError):
        write_theirs(tmp_path, tmp_path)
