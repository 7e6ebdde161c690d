"""MIDI to packed symbolic tokens by the workflow: once made, nothing is made again."""

from __future__ import annotations

import pytest
from workspace import Workspace, own_folder

from etude.storage import read_csv, read_json
from tests import music

TARGETS = [
    "results/packed/mine/events",
    "results/packed/mine/pairs",
    "results/tokens/mine/events/summary",
    "results/events/mine/events/0000",
]


@pytest.mark.slow
@pytest.mark.workflow
def test_midi_becomes_packed_tokens(tmp_path):
    workspace = Workspace(tmp_path)
    music.make_chorales(tmp_path / "music", 8)
    mine = own_folder(tmp_path / "music")
    mine["corpora"]["mine"]["shards"] = 1
    mine["tokenizers"] = {"onoff": {"kind": "onoff"}, "remi": {"kind": "remi", "bpe": 400}}
    mine["tokens"] = {
        "events": {"tokenizer": "onoff", "window": 128, "stride": 64, "shortest": 100},
        "pairs": {"tokenizer": "remi", "transpositions": [0]},
    }
    config = workspace.config("mine", mine)
    workspace.run(*TARGETS, configs=[config])
    results = tmp_path / "results"
    events, pairs = (read_json(results / "packed/mine" / n / "info.json") for n in mine["tokens"])
    assert (events["vocabulary"], pairs["vocabulary"], pairs["bos"]) == (4050, 400, 1)
    assert sum(split["pieces"] for split in events["splits"].values()) == 8
    assert not (results / "corpora" / "mine" / "wav").exists()  # nothing was rendered
    totals = read_csv(results / "tokens/mine/events/summary/totals.csv")
    assert {row["count"]: row["total"] for row in totals}["pieces_kept"] == "8"
    assert len(list((results / "events/mine/events/0000").glob("*.tokens.txt"))) == 8
    done = workspace.run("-n", *TARGETS, configs=[config])
    assert "Nothing to be done" in done.stdout + done.stderr
    # Another way of splitting learns byte pairs anew, and leaves rule-based tokens as they are.
    mine["corpora"]["mine"]["split"] = {"seed": 1}
    done = workspace.run("-n", *TARGETS, configs=[workspace.config("other", mine)])
    assert "make_tokenizer" in done.stdout
    assert "Tokenizing mine (events)" not in done.stdout
    assert "Tokenizing mine (pairs)" in done.stdout
