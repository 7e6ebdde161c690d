"""The nearest training music: an export carries the index, a copy is found in it."""

import json

import numpy as np
import pytest
from studio import NOTES, ask, ended, open_studio, serving

from etude import config
from etude.audio.files import write_wav
from etude.metrics.memorisation.catalogue import Catalogue
from etude.metrics.memorisation.fingerprint import RATE, features
from etude.midi.continuation import after
from etude.midi.writing import plain_table, write_midi
from etude.storage import write_csv
from etude.studio.nearest import NearestMusic, NotesIndex, SoundIndex, add_index, open_index
from etude.studio.nearest_routes import words


def piece(seed, notes=120):
    random = np.random.default_rng(seed)
    onset = np.cumsum(random.choice([120, 240, 360, 480], notes))
    return plain_table(onset, random.choice([120, 240, 480], notes), random.integers(48, 80, notes))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run's results: a corpus of sixteen pieces."""
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
    return home


def exported(home, experiment):
    """An export of nothing but its index."""
    given = {
        "corpora": {"mine": {"source": "folder", "path": str(home / "music")}},
        "experiments": {experiment: {"corpus": "mine"}},
        "run": [experiment],
    }
    settings = config.read(config.DEFAULT, overrides=given)
    folder = home / experiment
    folder.mkdir()
    assert add_index(folder, settings, experiment, home / "results")
    return folder


@pytest.fixture(scope="module")
def export(home):
    return exported(home, "remi_llama")


def sounding(table):
    """Notes as plain tones [samples] at the fingerprint's rate."""
    wave = np.zeros(round((table.seconds + 1) * RATE), np.float32)
    for start, pitch in zip(table.onset_s, table.pitch, strict=True):
        time = np.arange(round(0.3 * RATE)) / RATE
        at = round(float(start) * RATE)
        tone = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) * np.exp(-4 * time)
        wave[at : at + len(tone)] += 0.2 * tone
    return wave


@pytest.fixture(scope="module")
def sound_export(home):
    """That of a model of sound, whose corpus was searched for copies."""
    wav = home / "results/corpora/mine/wav/0000"
    wav.mkdir(parents=True)
    waves = {f"p{number:02d}": sounding(piece(number)) for number in range(16)}
    for name, wave in waves.items():
        write_wav(wav / f"{name}.wav", wave, RATE)
    catalogue = home / "results/memorisation/mine/two_seconds/catalogue/fingerprints.npz"
    training = [(name, features(wave)) for name, wave in waves.items() if name < "p12"]
    Catalogue.build(training).save(catalogue)
    return exported(home, "audiolm")


@pytest.mark.slow
def test_of_sound_a_copy_is_found_and_heard(sound_export, tmp_path):
    index = open_index(sound_export)
    assert isinstance(index, SoundIndex)
    assert len(index.null) > 4
    start, long = round(7.3 * RATE), 8 * RATE
    write_wav(tmp_path / "copy.wav", 0.4 * sounding(piece(5))[start:][:long], RATE)
    found = index.search(tmp_path / "copy.wav", 0.0)
    assert (found.piece, found.sounds, found.unusual) == ("Piece 5", True, True)
    assert 7.2 <= found.start_s <= 15.4 - 1.7, "where the likest 1.7 s of the copy stand"
    assert len(index.excerpt(found.piece, found.start_s)) > 5
    write_wav(tmp_path / "own.wav", sounding(piece(98))[:long], RATE)
    own = index.search(tmp_path / "own.wav", 0.0)
    assert own.share < found.share - 0.2
    # What was given is not searched: the copy is a prime, and what follows is the model's own.
    both = np.append(0.4 * sounding(piece(5))[start:][:long], sounding(piece(98))[:long])
    write_wav(tmp_path / "both.wav", both, RATE)
    assert index.search(tmp_path / "both.wav", 0.0).piece == "Piece 5"
    assert index.search(tmp_path / "both.wav", 8.0).share == pytest.approx(own.share, abs=0.05)
    write_wav(tmp_path / "silent.wav", np.zeros(long, np.float32), RATE)
    assert index.search(tmp_path / "silent.wav", 0.0) is None


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "nan" not in words(NearestMusic("a", 1, 0.5, float("nan"), float("nan"), sounds=True))
