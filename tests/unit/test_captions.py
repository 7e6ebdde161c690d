"""Captions: each source of words, their order, what has none; scores played in several ways."""

import mido
import numpy as np
import pytest
from pydantic import ValidationError
from refused import invalid, refused

from etude.config import Captions, CorpusBase, Music21Corpus
from etude.config.systems.textual_inversion import TextualInversion
from etude.corpus.captions import caption_corpus, concept_of, from_file_name
from etude.corpus.fetch import fetch
from etude.corpus.renditions import Rendition, renditions, varied
from etude.midi.descriptors import words_of
from etude.midi.notes import NoteTable, parse_midi, read_midi
from etude.midi.programs import NAMES, together
from etude.storage import read_csv, write_csv
from etude.workflow.sources import fetch_params

KINDS = ["program", "register", "tempo", "density", "mode"]
MAJOR, MINOR = (0, 4, 7, 0, 5, 9, 7, 11, 2, 7, 0, 4), (0, 3, 7, 0, 5, 8, 7, 11, 2, 7, 0, 3)


def table(steps=MAJOR, base=60, program=0, bpm=100, quarter=480, length=240):
    count = len(steps)
    return NoteTable(
        np.arange(count, dtype=np.int64) * length,
        np.full(count, length, np.int64),
        np.array([base + s for s in steps], np.int16),
        np.full(count, 80, np.int16),
        np.broadcast_to(np.array(program, np.int16), count).copy(),
        np.array([[0, 60_000_000 // bpm]], np.int64),
        quarter,
    )


def midi(path, program=0, base=72, bpm=150):
    file, track = mido.MidiFile(), mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm)))
    track.append(mido.Message("program_change", program=program))
    for step in MINOR:
        track.append(mido.Message("note_on", note=base + step, velocity=80))
        track.append(mido.Message("note_off", note=base + step, time=240))
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


def test_words_say_what_stands_out():
    assert words_of(table(), KINDS) == ["piano", "major"]
    assert words_of(table(MINOR, 72, 114, 160), KINDS) == ["steel drum", "high", "fast", "minor"]
    slow = table(base=36, bpm=60, length=960)
    assert words_of(slow, KINDS) == ["piano", "low", "slow", "sparse", "major"]
    assert words_of(table(bpm=120, length=120), ["density"]) == ["dense"]
    assert words_of(slow, ["tempo", "program"]) == ["slow", "piano"], "in the order that is asked"
    chromatic = table(tuple(range(12)))
    assert words_of(chromatic, ["mode"]) == [], "all pitch classes alike have no mode"


def test_several_programs_are_said_by_how_much_they_play():
    assert words_of(table(program=[12, 52, 52] * 4), ["program"]) == ["choir and marimba"]
    assert words_of(table(program=[0, 1, 2, 3] * 3), ["program"]) == ["ensemble"]
    assert words_of(table(program=[128, 0, 0] * 4), ["program"]) == ["piano and drums"]
    assert len(NAMES) == len(set(NAMES)) == 128
    assert together([0, 40, 42]) == "piano, violin and cello"


@pytest.mark.parametrize(
    ("path", "caption"),
    [
        ("heavy bass [0481].wav", "heavy bass"),
        ("ours/acid/heavy_bass v1.2 [0481].wav", "acid heavy bass v1.2"),
        ("ours/a 4.5 kHz hiss.flac", "a 4.5 kHz hiss"),  # not cut at the first "."
        ("ours/été à la mer.wav", "été à la mer"),
        ("[0481].wav", ""),
    ],
)
def test_a_file_name_is_a_caption(path, caption):
    assert from_file_name(path) == caption


def corpus(tmp_path, rows, captions=None):
    """Captions of these pieces, by piece."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(tmp_path / "pieces.csv", columns, rows)
    settings = CorpusBase(captions=captions or Captions())
    caption_corpus(settings, tmp_path / "pieces.csv", tmp_path, tmp_path / "captions.csv", 1)
    return {row["piece"]: row for row in read_csv(tmp_path / "captions.csv")}


def piece(path, kind="audio", **more):
    return {"piece": path, "path": path, "kind": kind, "status": "kept"} | more


def test_the_first_source_that_has_one_counts(tmp_path):
    midi(tmp_path / "high.mid", 114)
    rows = [
        piece("a/said.wav", caption="  what she\n said "),
        piece("a/unsaid.wav", caption=""),
        piece("high.mid", "midi", caption=""),
        piece("loose_name.wav", caption=""),
        piece("[1].wav", caption=""),
        piece("bad.wav", caption="x") | {"status": "rejected"},
    ]
    found = corpus(tmp_path, rows)
    said = {name: (row["caption"], row["source"]) for name, row in found.items()}
    assert said == {
        "a/said.wav": ("what she said", "column"),
        "a/unsaid.wav": ("a", "folder"),
        "high.mid": ("steel drum, high, fast, minor", "notes"),
        "loose_name.wav": ("loose name", "file_name"),
        "[1].wav": ("", ""),
    }
    reason = found["[1].wav"]["reason"]
    assert reason == "column: empty; folder: empty; notes: empty; file_name: empty"
    assert found["a/said.wav"]["concept"] == "a", "the folder, whatever the caption is"
    assert concept_of("high.mid") == ""


def test_signs_of_learned_words_and_accents_apart_do_not_stop_a_training(tmp_path):
    """A caption with <...> would name a word that is not there, at the step that draws it."""
    found = corpus(
        tmp_path,
        [
            piece("bo\u0308en/a.wav", caption="mu\u0308de"),  # as macOS writes it
            piece("x/b.wav", caption="a <loud> drum"),
        ],
    )
    apart, signs = found.values()
    assert (apart["concept"], apart["caption"], apart["reason"]) == ("b\u00f6en", "m\u00fcde", "")
    assert (signs["caption"], "<" in signs["reason"]) == ("a loud drum", True)
    names = TextualInversion(
        system="textual_inversion", corpus="c", base="base", concepts=["bo\u0308en"]
    )
    assert names.concepts == ["b\u00f6en"]


def test_config_orders_and_limits_the_sources(tmp_path):
    midi(tmp_path / "steel_drum/one.mid", 114)
    rows = [piece("steel_drum/one.mid", "midi", mood="calm")]

    def caption(**settings):
        return corpus(tmp_path, rows, Captions(**settings))["steel_drum/one.mid"]["caption"]

    assert caption() == "steel drum", "a folder before the notes"
    assert caption(**{"from": ["notes"], "words": ["mode"]}) == "minor"
    assert caption(**{"from": ["column"], "column": "mood"}) == "calm"
    with refused("missing-column", "'moods'", "did you mean 'mood'?"):
        caption(**{"from": ["column"], "column": "moods"})
    with pytest.raises(ValidationError):
        Captions(**{"from": ["notes", "notes"]})


def test_a_file_that_is_gone_is_a_row(tmp_path):
    rows = [piece("gone.mid", "midi")]
    found = corpus(tmp_path, rows, Captions(**{"from": ["notes"]}))
    assert found["gone.mid"]["reason"].startswith("notes: unreadable")


def test_a_score_is_played_by_programs_of_its_name():
    programs = [0, 114, [52, 12]]
    settings = Music21Corpus(programs=programs, renditions=2, vary=True)
    names = [f"bwv{i}.mxl" for i in range(60)]
    found = [r for name in names for r in renditions(settings, name)]
    assert {r.programs for r in found} == {(0,), (114,), (52, 12)}
    assert len({r.target for r in found}) == len(found) == 120
    assert {(r.tempo, r.octave) for r in found} == {
        (t, o) for t in (0.65, 1, 1.4) for o in (-1, 0, 1)
    }
    for r in found:
        assert r.target == f"{together(r.programs).replace(' ', '_')}/{r.score[:-4]}.mid"
    # A program more changes no other rendition's way of being played.
    more = Music21Corpus(programs=[*programs, 19], renditions=4, vary=True)
    assert set(found) <= {r for name in names for r in renditions(more, name)}
    plain = Music21Corpus()
    assert renditions(plain, "bwv1.6.mxl") == [Rendition("bwv1.6.mxl", "bwv1.6.mid", (0,))]
    assert "programs" not in fetch_params(plain), "a key that is not used fetches nothing anew"
    with invalid("renditions", "too-many-renditions"):
        Music21Corpus(programs=[0], renditions=2)
    with invalid("vary", "nothing-to-vary"):
        Music21Corpus(vary=True)


def test_a_rendition_has_its_tempo_and_octave(tmp_path):
    data = midi(tmp_path / "a.mid", base=100, bpm=120).read_bytes()
    before = parse_midi(data)
    faster = parse_midi(varied(data, Rendition("", "", tempo=1.4, octave=1)))
    assert faster.seconds == pytest.approx(before.seconds / 1.4, rel=1e-3)
    assert faster.pitch.tolist() == (before.pitch + 12).tolist()
    lower = parse_midi(varied(data, Rendition("", "", octave=-1)))
    assert lower.seconds == pytest.approx(before.seconds)
    high = midi(tmp_path / "b.mid", base=110).read_bytes()  # some leave the range
    left, whole = parse_midi(varied(high, Rendition("", "", octave=1))), parse_midi(high)
    stays = whole.pitch + 12 < 128
    assert left.pitch.tolist() == (whole.pitch[stays] + 12).tolist()
    assert left.onset_s.tolist() == pytest.approx(whole.onset_s[stays].tolist())
    assert varied(data, Rendition("", "")) == data


@pytest.mark.slow
def test_scores_are_fetched_in_folders_of_their_programs(tmp_path):
    pytest.importorskip("music21")
    settings = Music21Corpus(programs=[114, [52, 12]], renditions=2, vary=True, limit=3)
    fetch(settings, tmp_path / "source", 1)
    files = sorted((tmp_path / "source").glob("*/*.mid"))
    assert len(files) == 3, "limit counts renditions"
    for file in files:
        programs = {"steel_drum": [114], "choir_and_marimba": [12, 52]}[file.parent.name]
        assert read_midi(file).programs() == programs
    assert len(list(read_csv(tmp_path / "source/metadata.csv"))) == 3
