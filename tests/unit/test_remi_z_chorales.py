"""Real scores: the demo's 160 chorales through REMI-z and back, and the keys that are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etude.config import Music21Corpus, RemiZ
from etude.corpus.fetch import fetch
from etude.midi.keys import find_key, written_key
from etude.midi.notes import read_midi
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    """The files as the demo's corpus exports them."""
    pytest.importorskip("music21")
    folder = tmp_path_factory.mktemp("chorales") / "source"
    fetch(Music21Corpus(source="music21", limit=160), folder, 2)
    paths = sorted(folder.glob("*.mid"))
    assert len(paths) == 160
    return [(read_midi(path), path.read_bytes()) for path in paths]


def rows(table, ticks):
    """(onset, duration, pitch, voice) with the voices in the order of their notes."""
    scale = ticks // table.ticks_per_quarter
    columns = table.onset * scale, table.duration * scale, table.pitch
    voices = [sorted(np.stack([c[table.track == t] for c in columns], 1).tolist())
              for t in np.unique(table.track)]  # fmt: skip
    return sorted(voices)


def test_they_come_back(chorales):
    """Each onset, pitch and voice of 160 of 160, and each duration up to the longest."""
    tokenizer = RemiZTokenizer(RemiZ(kind="remi_z"))
    notes = clamped = upbeats = 0
    for song, _ in chorales:
        ids = tokenizer.encode(song)
        counts = tokenizer.measured(song, 0)
        assert counts["rounded"] == 0
        clamped, notes, upbeats = (
            clamped + counts["clamped"],
            notes + len(song),
            upbeats + bool(song.upbeat),
        )
        longest = 127 * song.ticks_per_quarter // 12
        cut = replace(song, duration=song.duration.clip(max=longest))
        ticks = np.lcm(song.ticks_per_quarter, tokenizer.ticks_per_quarter)
        back = tokenizer.decode(ids)
        assert rows(back, ticks) == rows(cut, ticks)
        assert back.upbeat * song.ticks_per_quarter == song.upbeat * back.ticks_per_quarter
        assert {len(bar.phrases) for bar in tokenizer.bars(ids)} == {4}
    assert tokenizer.invalid_share(ids) == 0, "the last one's"
    assert clamped <= 2
    assert notes > 40_000
    assert upbeats > 100


def test_keys_agree_with_what_is_printed(chorales):
    """142 of 160 by the float profile, 111 by the original's whole numbers."""
    printed = [written_key(data).shift for _, data in chorales]
    agree = {
        kind: sum(
            (find_key(song, kind).shift - shift) % 12 == 0
            for (song, _), shift in zip(chorales, printed, strict=True)
        )
        for kind in ("float", "integer")
    }
    assert agree["float"] >= 0.85 * 160
    assert 0.6 * 160 <= agree["integer"] < agree["float"]
