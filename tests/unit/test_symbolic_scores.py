"""There and back on real scores: ten chorales through every symbolic tokenizer."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from pydantic import TypeAdapter

from etude.config import AnyTokenizer, Music21Corpus
from etude.corpus.fetch import fetch
from etude.midi.cleaning import join_doubled, table_notes
from etude.midi.notes import read_midi
from etude.tokenizers.symbolic.factory import create_symbolic_tokenizer
from etude.tokenizers.symbolic.midilm_vocabulary import encode_notes

pytestmark = pytest.mark.slow
KINDS = ("remi", "tsd", "structured")
SCORES = 10
FINE, COARSE, LONGEST = 1 / 8, 1 / 4, 12  # quarters: midi_tok.py says what comes back


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Note tables of chorales as the demo's corpus exports them."""
    pytest.importorskip("music21")
    folder = tmp_path_factory.mktemp("scores") / "source"
    fetch(Music21Corpus(source="music21", limit=SCORES), folder, 1)
    tables = [read_midi(path) for path in sorted(folder.glob("*.mid"))]
    assert len(tables) == SCORES
    return tables


def tokenizer_of(kind):
    return create_symbolic_tokenizer(TypeAdapter(AnyTokenizer).validate_python({"kind": kind}))


def in_quarters(table):
    """(onset, duration, pitch) of all notes, times in quarters."""
    onset, duration = (
        table.onset / table.ticks_per_quarter,
        table.duration / table.ticks_per_quarter,
    )
    return list(zip(onset.tolist(), duration.tolist(), table.pitch.tolist(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_come_back_up_to_the_grid(kind, scores):
    """Every note has its like, half a position away at the most, and there are no others."""
    tokenizer = tokenizer_of(kind)
    for table in scores:
        ids = tokenizer.encode(table)
        found = defaultdict(list)
        for onset, duration, pitch in in_quarters(tokenizer.decode(ids)):
            found[pitch].append((onset, duration))
        own = in_quarters(table)
        for onset, duration, pitch in own:
            # Two voices in unison are one note: as long as one of them.
            lengths = [d for o, d, p in own if p == pitch and abs(o - onset) <= FINE / 2]
            near = [d for o, d in found[pitch] if abs(o - onset) <= FINE / 2 + 1e-9]
            assert near, f"no {pitch} at {onset}"
            step = COARSE if duration >= 4 else FINE
            wanted = [min(length, LONGEST) for length in lengths]
            assert all(min(abs(d - w) for w in wanted) <= step / 2 + 1e-9 for d in near)
        places = {(round(o / FINE), p) for o, _, p in own}
        assert sum(map(len, found.values())) == len(places), "nothing is added or lost"
        assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_onoff_gives_scores_back_up_to_its_deltas(scores):
    """Exactly, where all deltas are among the 23; else no farther than they were rounded."""
    tokenizer, exact = tokenizer_of("onoff"), 0
    for table in scores:
        cleaned = join_doubled(table_notes(table, tokenizer.ticks_per_quarter))[0].sorted()
        _, delta, nearest = encode_notes(cleaned)
        error = int(np.abs(np.cumsum(nearest) - np.cumsum(delta)).max())
        found = tokenizer.decode(tokenizer.encode(table))
        for pitch in np.unique(cleaned.pitch):
            here, there = cleaned.pitch == pitch, found.pitch == pitch
            for ours, theirs in (
                (cleaned.start[here], found.onset[there]),
                (cleaned.end[here], found.onset[there] + found.duration[there]),
            ):
                assert len(ours) == len(theirs)
                assert np.abs(np.sort(ours) - np.sort(theirs)).max() <= error
        exact += error == 0
    assert exact, "chorales of quarters and eighths are written without any error"
