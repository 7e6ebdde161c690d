"""A piece may never stop a run: whatever a library says of one, the others go on, and it is said."""

from __future__ import annotations

import csv
import json
from random import Random

import numpy as np
import pytest
import soundfile

from etude.audio.cuts import cut_shard
from etude.config import (
    Cut,
    Filter,
    FolderCorpus,
    Memorisation,
    OnOff,
    Render,
    SymbolicTokenSet,
)
from etude.corpus.ingest import ingest_shard
from etude.errors import UserError
from etude.metrics import embed, score
from etude.metrics.memorisation import chroma, evaluate, excerpts, find, reference
from etude.metrics.memorisation.rows import clip_rows, left_out_rows
from etude.metrics.notes import harmony, measure, word2vec
from etude.midi import render
from etude.storage import read_csv, write_csv
from etude.tokenizers import tokenize as audio_tokens
from etude.tokenizers.symbolic import midi_tok, tokenize
from etude.tokenizers.symbolic.onoff import OnOffTokenizer
from tests import music
from tests.unit.test_midi_tok import make

BAD = "a library met what it does not know"


def only_bad(function, is_bad):
    """`function`, but for what is bad, of which it says so."""

    def instead(*args, **kwargs):
        if is_bad(*args):
            raise KeyError(BAD)
        return function(*args, **kwargs)

    return instead


def song(path, lowest):
    music.write_midi(
        path, [(0, 0, [(q, 1, lowest if q == 0 else 60 + q % 12, 80) for q in range(24)])]
    )
    return path


@pytest.fixture
def songs(tmp_path):
    """Ingested MIDI files, of which the second has a note of pitch 1."""
    root = tmp_path / "music"
    for i in range(3):
        song(root / f"song-{i}.mid", 1 if i == 1 else 48)
    table = tmp_path / "ingest.csv"
    ingest_shard(FolderCorpus(source="folder", path=root, shards=1), root, 0, table, 1)
    return root, table


def low(table, *_):
    return (table.pitch == 1).any()


def words_of(path):
    return list(word2vec.read_vectors(path))


SETTINGS = {"seconds": 60, "pieces": 9, "dim": 4, "window": 2, "least": 1, "epochs": 1, "seed": 0}


@pytest.mark.parametrize("pitch", [0, 1, 3, 6, 8, 10])
def test_the_lowest_notes_have_a_harmony(pitch, tmp_path):
    files = [song(tmp_path / "low.mid", pitch), song(tmp_path / "high.mid", pitch + 24)]
    found = [word2vec.sentence(str(path), 60) for path in files]
    assert found[0] == found[1]
    word2vec.train_word2vec(files, tmp_path / "w.txt", settings=SETTINGS, threads=1)
    assert set(words_of(tmp_path / "w.txt")) == set(found[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_word2vec_learns_of_the_others(songs, tmp_path, monkeypatch, caplog, threads):
    monkeypatch.setattr(harmony, "words", only_bad(harmony.words, low))
    files = sorted(songs[0].iterdir())
    with caplog.at_level("INFO"):
        word2vec.train_word2vec(files, tmp_path / "w.txt", settings=SETTINGS, threads=threads)
    assert "song-1.mid is left out: failed: KeyError" in caplog.text
    assert "of 2 pieces (1 left out" in caplog.text
    assert words_of(tmp_path / "w.txt")


def test_clips_that_cannot_be_measured_are_counted(tmp_path, monkeypatch, caplog):
    rows = []
    for i in range(3):
        song(tmp_path / f"clip-{i}.mid", 1 if i == 1 else 48)
        rows.append({"clip": f"clip-{i}", "file": f"clip-{i}.wav", "seconds": "12.0"})
    write_csv(tmp_path / "clips.csv", list(rows[0]), rows)
    monkeypatch.setattr(harmony, "words", only_bad(harmony.words, low))
    measure.measure_folder(
        tmp_path, tmp_path / "m.json", compat="", most=9, harmony_clips=9, form_bars=16, threads=1
    )
    found = json.loads((tmp_path / "m.json").read_text())["generated"]
    assert [row["clip"] for row in found["clips"]] == ["clip-0", "clip-2"]
    assert found["dropped"] == {"no_midi": 0, "unreadable": 0, "no_notes": 0, "failed": 1}
    assert "clip-1 is left out: failed: KeyError" in caplog.text


def rows_by_piece(path):
    return {row["piece"].rpartition("-")[0]: row for row in read_csv(path)}


def test_a_tokenizer_that_fails_costs_the_piece(songs, tmp_path, monkeypatch):
    root, ingest = songs
    encode = OnOffTokenizer.encode_file
    monkeypatch.setattr(
        OnOffTokenizer, "encode_file", only_bad(encode, lambda _, data, *__: b"\x90\x01" in data)
    )
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    OnOffTokenizer(OnOff(kind="onoff")).save(folder)
    tokenize.loaded.cache_clear()
    settings = SymbolicTokenSet(tokenizer="onoff", window=16, stride=8, shortest=8, fewest=4)
    out = [tmp_path / name for name in ("t.jsonl", "t.csv", "s.csv")]
    tokenize.tokenize_shard(settings, Filter(), folder, ingest, root, *out, threads=1)
    rows = rows_by_piece(out[1])
    assert [rows[f"song-{i}"]["status"] for i in range(3)] == ["kept", "rejected", "kept"]
    assert rows["song-1"]["reason"].startswith("failed: KeyError")


def test_byte_pairs_are_learnt_of_the_others(tmp_path, monkeypatch, caplog):
    from etude.midi.notes import read_midi

    tables = [read_midi(music.chorale(tmp_path / f"{i}.mid", Random(i))) for i in range(3)]
    score = only_bad(midi_tok.to_score, lambda table: table.pitch is tables[1].pitch)
    monkeypatch.setattr(midi_tok, "to_score", score)
    tokenizer = make("remi", bpe=360)
    tokenizer.learn(tables)
    assert tokenizer.vocabulary == 360
    assert "a piece is left out: failed: KeyError" in caplog.text


def test_a_renderer_that_fails_costs_the_piece(songs, tmp_path, monkeypatch):
    root, ingest = songs
    calls = only_bad(render.render_midi, lambda path, *_: path.stem == "song-1")
    monkeypatch.setattr(render, "render_midi", calls)
    corpus = FolderCorpus(source="folder", path=root, render=Render(rate=8000))
    render.render_shard(corpus, ingest, root, tmp_path / "wav", 1)
    rows = rows_by_piece(tmp_path / "wav" / "index.csv")
    assert [rows[f"song-{i}"]["status"] for i in range(3)] == ["kept", "rejected", "kept"]
    assert rows["song-1"]["reason"].startswith("failed: KeyError")


# ------------------------------------------------------------------------------------------ audio

CUT = Cut(seconds=1, hop=1, rate=8000, rms_threshold=0)


@pytest.fixture
def cut(tmp_path):
    """Three pieces of four seconds as WAV, cut; the second is loud."""
    wav, shard = tmp_path / "wav", tmp_path / "cut"
    wav.mkdir()
    rows = []
    for i in range(3):
        wave = np.sin(np.arange(4 * 8000) * 0.2 * (1 + i)) * (0.9 if i == 1 else 0.3)
        soundfile.write(wav / f"p{i}.wav", wave, 8000, "PCM_16")
        rows.append({"piece": f"p{i}", "status": "kept", "split": "train", "seconds": "4"})
    for path in (wav / "index.csv", tmp_path / "pieces.csv"):
        write_csv(path, list(rows[0]), rows)
    cut_shard(CUT, wav, shard, 1)
    return tmp_path / "pieces.csv", [wav], [shard]


def loud(waves, *_):
    return np.abs(np.asarray(waves)).max() > 0.5


def test_the_catalogue_goes_on(cut, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(reference, "features", only_bad(reference.features, loud))
    monkeypatch.setattr(reference, "pcm_hash", only_bad(reference.pcm_hash, loud))
    reference.catalogue_corpus(*cut, CUT, tmp_path / "catalogue")
    found = reference.Catalogue.load(tmp_path / "catalogue" / "fingerprints.npz")
    assert found.pieces == ["p0", "p2"]
    hashes = [row["piece"] for row in read_csv(tmp_path / "catalogue" / "hashes.csv")]
    assert hashes == ["p0"] * 4 + ["p2"] * 4
    with (tmp_path / "catalogue" / "left_out.csv").open() as file:
        ((piece, reason),) = list(csv.reader(file))[1:]
    assert (piece, reason) == ("p1", f"failed: KeyError: '{BAD}'")
    assert caplog.text.count("p1 is left out, or a part of it") == 1


@pytest.fixture
def searched(cut, tmp_path, monkeypatch):
    """The catalogue of three pieces, of which the second cannot be read any more; and its Music."""
    reference.catalogue_corpus(*cut, CUT, tmp_path / "catalogue")
    calls = only_bad(excerpts.AudioFile, lambda path: path.stem == "p1")
    monkeypatch.setattr(excerpts, "AudioFile", calls)
    pieces, wav, _ = cut
    return pieces, wav, tmp_path / "catalogue"


def test_the_study_of_copies_goes_on(searched, tmp_path, caplog):
    pieces, wav, catalogue = searched
    evaluate.study_memorisation(
        FolderCorpus(source="folder", path=tmp_path), CUT, Memorisation(planted=3), 0,
        pieces=pieces, wav=wav, catalogue=catalogue, embeddings={}, options={}, midi_root=None,
        output=tmp_path / "recall.csv",
    )  # fmt: skip
    rows = list(read_csv(tmp_path / "recall.csv"))
    assert {row["rung"] for row in rows} == {"exact", "fingerprint", "waveform", "chroma"}
    assert {row["n"] for row in rows} == {"2"}
    assert caplog.text.count("p1 is left out, or a part of it: failed: KeyError") == 1


def test_the_search_for_copies_goes_on(searched, tmp_path, monkeypatch):
    """A held-out piece that cannot be read, and a clip that a library does not know."""
    pieces, wav, catalogue = searched
    rows = [row | {"split": "test"} for row in read_csv(pieces)]
    write_csv(pieces, list(rows[0]), rows)
    music = excerpts.CorpusPieces(pieces, wav)
    known = chroma.Chroma.load(catalogue / "chroma.npz")
    assert known.pieces == ["p0", "p1", "p2"]
    made = [np.sin(np.arange(8000) * 0.2) * level for level in (0.3, 0.9, 0.3)]
    clips = find.SearchedClips(tmp_path, 8000, ["a", "b", "c"], made)
    monkeypatch.setattr(chroma, "features", only_bad(chroma.features, loud))
    said = find.Search(music, CUT, Memorisation(), 0).chroma(clips, known)
    assert np.isfinite(said.scores).tolist() == [True, False, True]
    assert set(said.null.pieces) == {"p0", "p2"}
    assert music.left == {"p1": f"failed: KeyError: '{BAD}'"}
    (row,) = left_out_rows(music.left)
    assert (row["value"], row["note"]) == (1, f"without p1 (failed: KeyError: '{BAD}')")
    assert not list(left_out_rows({}))
    of_clips = clip_rows(said, "generated", clips.names, {}, music, tmp_path)
    assert BAD in list(of_clips)[1]["note"]


class Embedding:
    """How loud; nothing that is a number of p1, or an error."""

    sample_rate, dim = 8000, 2

    def __init__(self, error=None, also=False):
        self.error, self.also = error, also

    def embed(self, waves):
        bad = np.abs(waves).max(1) > (0 if self.also else 0.5)
        if bad.any() and self.error:
            raise self.error
        found = np.repeat(np.abs(waves).mean(1)[:, None, None], 2, axis=2)
        found[bad] = np.nan
        return found


@pytest.mark.parametrize("error", [None, ValueError(BAD)])
def test_embeddings_of_the_corpus_go_on(cut, tmp_path, monkeypatch, caplog, error):
    monkeypatch.setattr(reference, "open_embedding", lambda *_: Embedding(error))
    reference.embed_corpus(*cut, 8000, "own", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as file:
        assert file["piece"].tolist() == ["p0"] * 4 + ["p2"] * 4
        assert np.isfinite(file["windows"]).all()
        assert len(file["windows"]) == 8
    assert "p1 is left out, or a part of it" in caplog.text


def test_an_embedding_that_always_fails_is_an_error_of_its_own(cut, tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "open_embedding", lambda *_: Embedding(ValueError(BAD), True))
    with pytest.raises(UserError, match="no segment could be embedded by own") as caught:
        reference.embed_corpus(*cut, 8000, "own", tmp_path / "e.npz")
    assert BAD in caught.value.why


def test_embeddings_of_clips_go_on(tmp_path, caplog):
    rows = [{"clip": f"clip-{i}", "file": f"clip-{i}.wav", "piece": f"p{i}"} for i in range(3)]
    for i, row in enumerate(rows):
        wave = np.full(8000, 0.9 if i == 1 else 0.3)
        soundfile.write(tmp_path / row["file"], wave, 8000, "PCM_16")
    write_csv(tmp_path / "clips.csv", list(rows[0]), rows)
    found = embed.embed_with(Embedding(ValueError(BAD)), tmp_path, "own")
    assert found.clips.tolist() == [0, 2]
    assert found.names == ["clip-0", "clip-1", "clip-2"]
    assert "clip-1 is left out: failed: ValueError" in caplog.text


def test_a_metric_of_ones_own_that_fails_costs_its_figure(tmp_path, caplog):
    class Own:
        def measure(self, wave, rate):
            if loud(wave):
                raise ValueError(BAD)
            return 1.0

    rows = [{"clip": f"clip-{i}", "file": f"clip-{i}.wav"} for i in range(2)]
    for row, level in zip(rows, (0.3, 0.9), strict=True):
        soundfile.write(tmp_path / row["file"], np.full(8000, level), 8000, "PCM_16")
    write_csv(tmp_path / "clips.csv", list(rows[0]), rows)
    found = list(score.measure_set("generated", tmp_path, 8000, {"own": Own()}))
    assert ["own" in row for row in found] == [True, False]
    assert all(row["level_db"] for row in found)
    assert "generated/clip-1 has no own: failed: ValueError" in caplog.text


def test_audio_tokens_go_on(cut, tmp_path, monkeypatch, caplog):
    import torch

    class Loudness:
        sample_rate, quantizers = 8000, 1

        def frames(self, samples):
            return samples // 80

        def encode(self, wave):
            if loud(wave):
                raise ValueError(BAD)
            return torch.zeros(len(wave), wave.shape[1] // 80, dtype=torch.int64)

        decode = encode

    monkeypatch.setattr(audio_tokens, "load_tokenizer", lambda _: Loudness())
    _, (wav,), (shard,) = cut
    with caplog.at_level("INFO"):
        audio_tokens.tokenize_shard(
            CUT, wav, shard, tmp_path, tmp_path, tmp_path / "t.jsonl", tmp_path / "left.csv"
        )
    made = [json.loads(line)["piece"] for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert made == ["p0"] * 4 + ["p2"] * 4
    assert "p1 is left out, or a part of it: failed: ValueError" in caplog.text
    assert "12 segments, 4 left out" in caplog.text
    (told,) = read_csv(tmp_path / "left.csv")
    assert (told["piece"], told["segments"]) == ("p1", "4")
    assert BAD in told["reason"]
