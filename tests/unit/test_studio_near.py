"""The nearest training music: an export carries the index, a copy is found in it."""

import json

import numpy as np
import pytest
from studio import NOTES, ask, ended, open_studio, serving

from etude import config
from etude.midi.continuation import after
from etude.midi.writing import plain_table, write_midi
from etude.storage import write_csv
from etude.studio.near import Near, NotesIndex, add_index, open_index
from etude.studio.nearness import words


def piece(seed, notes=120):
    random = np.random.default_rng(seed)
    onset = np.cumsum(random.choice([120, 240, 360, 480], notes))
    return plain_table(onset, random.choice([120, 240, 480], notes), random.integers(48, 80, notes))


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A folder with the index of a corpus of sixteen pieces."""
    home = tmp_path_factory.mktemp("near")
    rows = []
    for number in range(16):
        write_midi(piece(number), home / f"music/p{number:02d}.mid")
        split = "test" if number > 11 else "train"
        rows.append(
            {
                "piece": f"p{number:02d}",
                "path": f"p{number:02d}.mid",
                "kind": "midi",
                "status": "kept",
                "split": split,
                "title": f"Piece {number}",
            }
        )
    write_csv(home / "results/corpora/mine/pieces.csv", list(rows[0]), rows)
    given = {
        "corpora": {"mine": {"source": "folder", "path": str(home / "music")}},
        "experiments": {"remi_llama": {"corpus": "mine"}},
        "run": ["remi_llama"],
    }
    settings = config.read(config.DEFAULT, overrides=given)
    (home / "export").mkdir()
    assert add_index(home / "export", settings, "remi_llama", home / "results")
    return home / "export"


def test_a_copy_is_found_and_music_of_ones_own_is_not(export, tmp_path):
    index = open_index(export)
    assert isinstance(index, NotesIndex)
    write_midi(after(piece(3), 10.0, 18.0), tmp_path / "copy.mid")
    found = index.search(tmp_path / "copy.mid", 0.0)
    assert found.piece == "Piece 3"
    assert found.share > 0.9 > found.most
    assert found.unusual
    assert found.start_s == pytest.approx(10, abs=1.5)
    write_midi(piece(99), tmp_path / "own.mid")
    own = index.search(tmp_path / "own.mid", 0.0)
    assert own.share < 0.2
    assert "more than usual" in words(found)
    assert "more than usual" not in words(own)


def test_what_was_given_is_no_copy(export, tmp_path):
    """A training piece that a visitor brought, and the model's own notes behind it."""
    prime, own = after(piece(2), 0.0, 6.0), piece(77, 40)
    shifted = own.onset + (7 * 960)
    both = plain_table(
        np.append(prime.onset, shifted),
        np.append(prime.duration, own.duration),
        np.append(prime.pitch, own.pitch),
    )
    write_midi(both, tmp_path / "clip.mid")
    index = open_index(export)
    assert index.search(tmp_path / "clip.mid", 0.0).share > 0.3
    assert index.search(tmp_path / "clip.mid", 6.5).share < 0.2


def test_too_few_notes_say_nothing(export, tmp_path):
    write_midi(piece(1, 5), tmp_path / "short.mid")
    assert open_index(export).search(tmp_path / "short.mid", 0.0) is None
    assert "too short" in words(None)


def test_the_training_music_is_heard_beside_a_clip(export, tmp_path):
    state = open_studio(tmp_path)
    instrument = next(i for i in state.instruments.values() if i.exported.name == "notes")
    state.kept[f"near {instrument.id}"] = open_index(export)
    with serving(state) as client:
        clip = ended(client, ask(client).json()["id"])["clips"][0]["id"]
        assert "too short" in client.get(f"/api/clips/{clip}/near").json()["words"]
        write_midi(after(piece(4), 0.0, 8.0), state.store.clips / f"{clip}.mid")
        told = client.get(f"/api/clips/{clip}/near").json()
        assert told["piece"] == "Piece 4"
        assert client.get(f"/api/clips/{clip}/near.wav").content[:4] == b"RIFF"
        client.cookies.clear()
        client.get("/")
        assert client.get(f"/api/clips/{clip}/near").status_code == 404


def test_a_model_without_an_index_says_so(tmp_path):
    with serving(open_studio(tmp_path)) as client:
        clip = ended(client, ask(client).json()["id"])["clips"][0]["id"]
        said = client.get(f"/api/clips/{clip}/near")
        assert (said.status_code, "without an index" in json.loads(said.text)["error"]) == (
            404,
            True,
        )
    assert NOTES


def test_words_are_of_numbers():
    assert "nan" not in words(Near("a", 1, 0.5, float("nan"), float("nan"), sounds=True))
