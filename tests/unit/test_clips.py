"""Clips as files: primes, fades, folders, and the clip sets that surround them."""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refused import refused

from etude.audio.files import write_wav
from etude.audio.levels import fade_out
from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Stopped, never, silent
from etude.clips.writing import COMPARED, write_clips
from etude.config import CorpusBase, Cut
from etude.config.systems.audiolm import Generate
from etude.config.systems.external import External
from etude.generation.baselines import CorpusFiles, choose_spans, find_spans, make_baselines, places
from etude.metrics.clip_sets import clip_sets, count_clips, read_clips, stretch
from etude.metrics.folders import compare_folders, find_copies
from etude.metrics.notes.clips import read_symbolic
from etude.midi.writing import plain_table, write_midi
from etude.storage import read_csv, write_csv
from etude.systems import open_system
from etude.systems.audiolm.player import AudioLmPlayer, Prime, PrimedRequest, join_prime
from etude.systems.audiolm.sampling import Tokens
from etude.systems.base import Parts, Span
from etude.systems.conditions import Conditions
from etude.systems.external.importing import import_clips

RATE = 24000


def tone(hertz, seconds=2.0, rate=RATE, phase=0.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate + phase)).astype(
        np.float32
    )


def test_the_prime_is_heard_once_and_meets_at_equal_power():
    generator = np.random.default_rng(0)
    prime = generator.standard_normal(RATE).astype(np.float32)
    decoded = generator.standard_normal(2 * RATE).astype(np.float32)
    joined = join_prime(prime, decoded, context=RATE // 2, rate=RATE)
    assert len(joined) == RATE + 2 * RATE - RATE // 2
    fade = RATE // 20
    np.testing.assert_array_equal(joined[: RATE - fade], prime[:-fade])
    np.testing.assert_array_equal(joined[RATE:], decoded[RATE // 2 :])
    # Unlike sounds keep their power while they cross.
    assert joined[RATE - fade : RATE].std() == pytest.approx(1, abs=0.08)


def test_a_prime_shorter_than_the_crossfade():
    joined = join_prime(np.ones(10, np.float32), np.ones(100, np.float32), 10, RATE)
    assert len(joined) == 100
    assert len(join_prime(np.ones(10, np.float32), np.ones(100, np.float32), 0, RATE)) == 110


def test_fade_out_ends_in_silence_and_leaves_the_rest():
    wave = np.ones(1000, np.float32)
    faded = fade_out(wave, 1000, 0.5)
    assert faded[-1] == pytest.approx(0, abs=1e-6)
    assert (faded[:500] == 1).all()
    assert (np.diff(faded[500:]) <= 0).all()
    assert (fade_out(wave, 1000, 0) == wave).all()


def clip(wave, **row):
    return Clip(wave, {"seed": 0, "draw": 0, "prime_seconds": "0.000"} | row)


def test_clips_are_written_whole_or_not_at_all(tmp_path):
    def broken():
        yield clip(tone(440))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_clips(broken(), tmp_path / "clips", RATE)
    assert list(tmp_path.iterdir()) == []


def test_a_metric_does_not_hear_the_prime(tmp_path):
    clips = [clip(tone(440, 3.0), prime_seconds="1.000")]
    assert write_clips(clips, tmp_path / "set", RATE) == count_clips(tmp_path / "set") == 1
    [(row, wave)] = read_clips(tmp_path / "set", RATE)
    assert row["clip"] == "clip-0000"
    assert len(wave) == 2 * RATE


def test_clip_sets_are_found(tmp_path):
    write_clips([clip(tone(440))], tmp_path / "made", RATE)
    assert list(clip_sets(tmp_path / "made")) == ["generated"]
    write_clips([Clip(tone(220))], tmp_path / "base" / "real", RATE, COMPARED)
    write_clips([], tmp_path / "base" / "noise", RATE, COMPARED, note="why")
    assert list(clip_sets(tmp_path / "base")) == ["noise", "real"]
    assert (tmp_path / "base/noise/note.txt").read_text() == "why\n"


def columns(folder, name="clips.csv"):
    return (folder / name).read_text().splitlines()[0]


def test_each_kind_of_set_has_its_columns_in_their_order(tmp_path):
    notes = plain_table([0], [240], [60])
    made = Clip(tone(440), {"loudness": 3, "entropy": 1, "tokens": 2}, notes, {"text": "calm"})
    write_clips([made], tmp_path / "a", RATE, notes=True, about={"stages": {}})
    assert columns(tmp_path / "a") == (
        "clip,file,midi,seed,draw,seconds,tokens,ended,prime_seconds,heard_seconds,entropy,loudness"
    )
    assert columns(tmp_path / "a", "conditions.csv") == "clip,prime,prompt,sections,length,text"
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        *("clip-0000.wav", "clip-0000.mid", "clips.csv", "conditions.csv", "weights.json")
    }
    write_clips([], tmp_path / "b", RATE, COMPARED, notes=True)
    assert columns(tmp_path / "b") == (
        "clip,file,midi,piece,start_s,seconds,prime_seconds,heard_seconds"
    )
    write_clips([Clip(tone(440))], tmp_path / "c", RATE, COMPARED)
    assert columns(tmp_path / "c") == "clip,file,piece,start_s,seconds"
    assert {p.name for p in (tmp_path / "c").iterdir()} == {
        *("clip-0000.wav", "clips.csv", "note.txt")
    }


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        (Clip(np.zeros((2, 10), np.float32)), "shape [2, 10]"),
        (Clip(np.zeros(10, np.int16)), "of int16"),
        (Clip(np.array([0, np.nan], np.float32)), "not finite"),
        (Clip([0.0]), "shape"),
        (Clip(tone(440), rate=44100), "at 44100 samples per second"),
        (Clip(tone(440)), "without notes"),
    ],
)
def test_what_is_no_clip_is_a_clear_error_at_once(tmp_path, made, wrong):
    def clips():
        yield made
        raise AssertionError("the next was made as well")

    with refused("invalid-clip", wrong) as error:
        write_clips(clips(), tmp_path / "x", RATE, maker="the system dream", notes=True)
    assert error.value.what.startswith("the system dream")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [24000.5, 0, -24000, 10**7, None, "24000"])
def test_an_impossible_rate_is_a_clear_error(tmp_path, rate):
    with refused("impossible-rate"):
        write_clips([Clip(tone(440))], tmp_path / "x", rate, maker="the system dream")


# --------------------------------------------------------------------------- real stretches


def cut_folder(folder, pieces):
    rows = [
        {"segment": f"{piece}_{k:05d}", "piece": piece, "start_s": 2.0 * k,
         "status": "kept" if kept == "x" else "rejected"}
        for piece, pattern in pieces.items()
        for k, kept in enumerate(pattern)
    ]  # fmt: skip
    folder.mkdir(parents=True)
    write_csv(folder / "index.csv", ["segment", "piece", "start_s", "status"], rows)
    return folder


@pytest.fixture
def spans(tmp_path):
    cuts = cut_folder(tmp_path / "cut", {"a": "xxxx", "b": "x.xx", "c": "xx", "d": "xx"})
    sides = (("a", "train"), ("b", "valid"), ("c", "test"), ("d", ""))
    splits = [{"piece": p, "split": s} for p, s in sides]  # d is a duplicate
    write_csv(tmp_path / "pieces.csv", ["piece", "split"], splits)

    def find(seconds, seed=0):
        found = find_spans(tmp_path / "pieces.csv", [tmp_path], [cuts], Cut(), seconds, seed)
        return {split: [(s.piece, s.start_s) for s in s_] for split, s_ in found.items()}

    return find


def test_spans_begin_at_random_places_behind_the_first_second(spans):
    found = spans(2.0)
    assert {split: len(members) for split, members in found.items()} == {
        "train": 3,  # of 8 s the last 7: three, and a second of play
        "valid": 2,  # a segment alone, from its beginning; one of two that follow each other
        "test": 1,
    }
    assert found["valid"][0] == ("b", 0.0)
    starts = [start for _, start in found["train"]]
    assert 1 <= starts[0] < starts[0] + 2 <= starts[1] < starts[1] + 2 <= starts[2] <= 6
    assert not any((10 * start).is_integer() for start in starts), "no grid"
    assert found == spans(2.0) != spans(2.0, seed=1)


def test_longer_spans_lie_on_kept_segments_only_and_do_not_overlap(spans):
    found = spans(3.0)
    assert {split: [piece for piece, _ in members] for split, members in found.items()} == {
        "train": ["a"],
        "valid": ["b"],
        "test": ["c"],
    }
    assert 4 <= found["valid"][0][1] <= 5
    assert found["test"] == [("c", 1.0)]
    assert spans(6.0)["valid"] == []
    assert spans(4.0)["test"] == [("c", 0.0)], "too short to leave a second out"


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 5), st.floats(0, 30), st.floats(0.5, 9), st.integers(0, 99))
def test_places_stay_in_their_run(first, length, seconds, seed):
    last = first + length
    found = places(first, last, seconds, np.random.default_rng(seed))
    assert all(a + seconds <= b + 2e-3 for a, b in pairwise(found))
    assert all(first - 1e-3 <= start <= last - seconds + 1e-3 for start in found)
    assert bool(found) == (length + 1e-6 >= seconds)
    if last - seconds >= 1:
        assert all(start >= 1 - 1e-3 for start in found)


def test_a_clip_is_heard_in_its_middle_where_it_is_long_enough(tmp_path):
    """Music from silence begins with a first note on a bar line; real clips do not."""
    row = {"clip": "clip-0003", "seconds": "12", "prime_seconds": "1.5", "heard_seconds": "2"}
    found = [stretch(row | {"draw": str(draw)}) for draw in range(200)]
    starts = [start for start, _ in found]
    assert {heard for _, heard in found} == {2.0}
    assert 2.5 <= min(starts) < 3
    assert 8.5 < max(starts) <= 9
    assert stretch(row) == stretch(row)
    assert stretch(row | {"seconds": "5.4"}) == (1.5, 2.0), "too short"
    assert stretch({"clip": "a", "seconds": "12", "prime_seconds": "1.5"}) == (1.5, None)


def test_a_choice_is_seeded_and_takes_each_span_once(tmp_path):
    spans = [Span(piece, 2.0 * k, tmp_path) for piece in "abc" for k in range(5)]
    chosen = choose_spans(spans, 6, seed=1)
    assert len(set(chosen)) == 6
    assert chosen == choose_spans(spans, 6, seed=1) != choose_spans(spans, 6, seed=2)
    assert set(choose_spans(spans, 99, seed=1)) == set(spans)


@pytest.mark.slow
def test_a_split_of_which_nothing_is_heard_says_why(tmp_path):
    """The pieces are there, but too short, too quiet or silent: not "no test split"."""
    wav, cuts = tmp_path / "wav", tmp_path / "cuts"
    write_wav(wav / "a.wav", tone(440, 4.0), RATE)
    columns = ["segment", "piece", "start_s", "status", "reason"]
    segments = [("a", "kept", ""), ("b", "rejected", "too_short"), ("c", "rejected", "too_short")]
    segments.append(("d", "rejected", "blank_segment:rms=3"))
    rows = [
        {"segment": f"{piece}_00000", "piece": piece, "start_s": 0, "status": status, "reason": why}
        for piece, status, why in segments
    ]
    write_csv(cuts / "index.csv", columns, rows)
    silent = [{"piece": "e", "status": "rejected", "reason": "silent"}]
    write_csv(wav / "index.csv", ["piece", "status", "reason"], silent)
    sides = {"a": "train", "b": "test", "c": "test", "d": "test", "e": "valid"}
    pieces = tmp_path / "pieces.csv"
    write_csv(pieces, ["piece", "split"], [{"piece": p, "split": s} for p, s in sides.items()])
    make_baselines(
        External(system="external", corpus="c", clips=tmp_path),
        Parts(),
        Cut(),
        files=CorpusFiles(pieces),
        wav=[wav],
        cuts=[cuts],
        seed=0,
        folder=tmp_path / "made",
    )
    copies = list(read_csv(tmp_path / "made/copies/clips.csv"))
    assert [(row["piece"], row["start_s"]) for row in copies] == [("a", "0.0")]
    notes = {
        name: (tmp_path / f"made/{name}/note.txt").read_text() for name in ("reference", "real")
    }
    assert notes == {
        "reference": "no stretch of 2 s in the test split is kept whole "
        "(2 too_short, 1 blank_segment)\n",
        "real": "no stretch of 2 s in the valid split is kept whole (1 silent)\n",
    }
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        *("reference", "real", "noise", "copies", "reconstruction", "shuffled", "untrained"),
        *("random_notes", "one_chord", "spectrum_noise", "grains"),
    }
    # Of recordings alone: a transcription of the one piece tells keys and rhythm.
    counts = {path.parent.name: count_clips(path.parent) for path in tmp_path.glob("made/*/*.csv")}
    assert {counts[name] for name in ("random_notes", "one_chord", "spectrum_noise", "grains")} == {
        64
    }
    assert (tmp_path / "made/shuffled/note.txt").read_text() == "this system has no tokens\n"


# ------------------------------------------------------------------------ folders of a user


def test_external_clips_become_a_set_and_nothing_is_lost(tmp_path):
    source = tmp_path / "theirs"
    (source / "deep").mkdir(parents=True)
    soundfile.write(source / "one.wav", tone(440, rate=44100), 44100)
    soundfile.write(source / "deep" / "two é.flac", np.stack([tone(330)] * 2, 1), RATE)
    (source / "bad.wav").write_bytes(b"RIFF nothing")
    (source / "notes.txt").write_text("hello")
    soundfile.write(source / "cut.ogg", tone(440), RATE)
    (source / "cut.ogg").write_bytes((source / "cut.ogg").read_bytes()[:-500])
    soundfile.write(source / "loud.wav", 1e30 * tone(440), RATE, "FLOAT")
    (source / os.fsdecode(b"\xff.wav")).write_bytes(b"no UTF-8 name")
    assert import_clips(source, RATE, 2.0, tmp_path / "set") == 2
    rejected = {row["path"]: row["reason"] for row in read_csv(tmp_path / "set/rejected.csv")}
    assert set(rejected) == {"bad.wav", "notes.txt", "cut.ogg", "loud.wav", "\\xff.wav"}
    assert rejected["cut.ogg"].startswith("ends_early")
    assert rejected["loud.wav"].startswith("not_sound")
    assert [len(wave) for _, wave in read_clips(tmp_path / "set", RATE)] == [2 * RATE, 2 * RATE]


def test_long_external_clips_are_cut_to_one_length(tmp_path):
    (tmp_path / "theirs").mkdir()
    soundfile.write(tmp_path / "theirs" / "long.wav", tone(440, 5.5), RATE)
    soundfile.write(tmp_path / "theirs" / "short.wav", tone(440, 1.5), RATE)
    assert import_clips(tmp_path / "theirs", RATE, 2.0, tmp_path / "set") == 3
    seconds = [row["seconds"] for row in read_csv(tmp_path / "set/clips.csv")]
    assert seconds == ["2.000", "2.000", "1.500"]


def external_notes(tmp_path, kind="midi"):
    """A folder of MIDI, and what the job that imports it is given."""
    corpus = CorpusBase()
    write_csv(tmp_path / "pieces.csv", ["status", "kind"], [{"status": "kept", "kind": kind}])
    onset = np.arange(12) * 240
    for number in range(3):
        table = plain_table(onset, np.full(12, 240), 60 + number + onset % 7)
        write_midi(table, tmp_path / f"theirs/deep/{number}.mid")
    return tmp_path / "theirs", Parts(corpus=corpus, pieces=tmp_path / "pieces.csv")


def test_midi_of_others_is_a_set_with_notes(tmp_path):
    source, parts = external_notes(tmp_path)
    (source / "bad.mid").write_bytes(b"MThd nothing")
    (source / "readme.txt").write_text("hello")
    soundfile.write(source / "deep/2.wav", tone(440, 3.0), RATE)
    (source / "conditions.csv").write_text("file,prompt,mood\ndeep/1.mid,a slow hymn,sad\n")
    experiment = External(system="external", corpus="c", clips=source, notes=True)
    assert open_system("external").bring(experiment, RATE, tmp_path / "set", parts) == 3
    rows = list(read_csv(tmp_path / "set/clips.csv"))
    assert [row["source"] for row in rows] == ["deep/0.mid", "deep/1.mid", "deep/2.mid"]
    assert {row["heard_seconds"] for row in rows} == {"2"}
    for row in rows:
        own = source / row["source"]
        assert (tmp_path / "set" / row["midi"]).read_bytes() == own.read_bytes()
    waves = [soundfile.read(tmp_path / "set" / row["file"])[0] for row in rows]
    assert len(waves[2]) == 3 * RATE, "the recording beside the notes"
    assert abs(waves[0]).max() > 0.05, "played"
    asked = {row["clip"]: row for row in read_csv(tmp_path / "set/conditions.csv")}
    assert (asked["clip-0001"]["prompt"], asked["clip-0001"]["mood"]) == ("a slow hymn", "sad")
    reasons = {row["path"]: row["reason"] for row in read_csv(tmp_path / "set/rejected.csv")}
    assert reasons.keys() == {"bad.mid", "readme.txt"}
    read = read_symbolic(tmp_path / "set")
    assert [len(clip.entire) for clip in read.clips] == [12, 12, 12]


def test_midi_of_others_has_the_capabilities_of_notes(tmp_path):
    plain = External(system="external", corpus="c", clips=tmp_path)
    notes = External(system="external", corpus="c", clips=tmp_path, notes=True)
    assert (External.makes, plain.makes) == ({"audio"}, {"audio"})
    assert notes.makes == {"audio", "notes"}
    assert set(notes.rivals) - set(plain.rivals) == {"one_chord"}
    assert "notes" not in plain.params(), "a key that is not used imports nothing anew"


def test_midi_is_not_taken_for_clips_of_sound(tmp_path):
    source, parts = external_notes(tmp_path)
    with refused("no-readable-clip", "`notes: true`", where=source):
        import_clips(source, RATE, 2.0, tmp_path / "set")
    source, parts = external_notes(tmp_path, kind="audio")
    experiment = External(system="external", corpus="c", clips=source, notes=True)
    with refused("midi-against-recordings"):
        open_system("external").bring(experiment, RATE, tmp_path / "set", parts)


def test_a_folder_without_clips_is_a_clear_error(tmp_path):
    (tmp_path / "theirs").mkdir()
    with refused("no-readable-clip"):
        import_clips(tmp_path / "theirs", RATE, 2.0, tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.slow
def test_copies_are_found_whatever_the_container(tmp_path):
    for folder, names in (("real", ("a.wav", "b.wav")), ("made", ("x.flac", "y.wav"))):
        (tmp_path / folder).mkdir()
        for k, name in enumerate(names):
            hertz = (
                440
                if (folder, name) in (("real", "a.wav"), ("made", "x.flac"))
                else (500 if folder == "real" else 600) + k
            )
            samples = (tone(hertz, 4) * 32767).astype(np.int16)
            soundfile.write(tmp_path / folder / name, samples, RATE)
    text = compare_folders(tmp_path / "real", tmp_path / "made", "logmel", tmp_path / "out")
    assert "exact copies (same samples): 1 of 2" in text
    assert "x.flac = a.wav" in text
    rows = list(read_csv(tmp_path / "out/hash_comparison_detailed.csv"))
    assert [row["is_match"] for row in rows] == ["True", "False"]


def test_unmatched_clips_are_listed_as_well():
    rows = find_copies({"r": "1", "s": "1"}, {"a": "1", "b": "2"})
    assert [row["matched_dataset_files"] for row in rows] == ["r, s", "No match"]


class FakeGenerator:
    """Plays one second of a constant for each clip."""

    window_seconds = 2.0
    sample_rate = 1000

    def __init__(self):
        self.asked = []

    def generate(self, total, seeds, sampling, hop, prime, tell, *, whole_length):
        self.asked.append((prime, len(seeds)))
        tell(GenerationProgress("fine", 100.0, total, 0.0))
        return Tokens(torch.zeros(len(seeds), 1), torch.zeros(len(seeds), 1, 1),
                      [1] * len(seeds), [False] * len(seeds))  # fmt: skip

    def decode(self, codes):
        return torch.ones(len(codes), 2000)


@pytest.fixture
def player():
    fake = FakeGenerator()
    return AudioLmPlayer(fake, fake, fake)


def recording(path):
    return Prime(np.zeros(1000, np.float32), path.name, 1.0, path.name)


@pytest.mark.parametrize(
    ("prime", "expected"),
    [
        ("a.wav", ["a.wav"] * 5),
        (["a.wav", "b.wav"], ["a.wav", "b.wav", "a.wav", "b.wav", "a.wav"]),
        (None, [""] * 5),
    ],
)
def test_primes_take_turns_and_conditions_name_them(tmp_path, player, prime, expected):
    settings, told = Generate(clips=5, batch_size=2, prime=prime), []
    prepared = PrimedRequest(2.0, [recording(path) for path in settings.primes])
    clips = player.clips(settings, 3, 4, prepared, lambda e: told.append(e.percent), never)
    assert write_clips(clips, tmp_path / "set", 1000) == 5
    conditions = list(read_csv(tmp_path / "set" / "conditions.csv"))
    assert [row["prime"] for row in conditions] == expected
    assert [row["clip"] for row in conditions] == [f"clip-{i:04d}" for i in range(5)]
    rows = list(read_csv(tmp_path / "set" / "clips.csv"))
    assert {(row["seed"], row["draw"], row["ended"]) for row in rows} == {("3", "4", "false")}
    assert sum(count for _, count in player.generator.asked) == 5
    assert {name for name, _ in player.generator.asked} == {name or None for name in expected}
    assert told == sorted(told)
    assert told[-1] == pytest.approx(100)


@pytest.mark.parametrize("asks", [1, 2, 3])
def test_a_player_stops_when_it_is_asked_to(tmp_path, player, asks):
    answers = iter([*[False] * (asks - 1), True])
    settings = Generate(clips=6, batch_size=2)
    clips = player.clips(settings, 0, 0, PrimedRequest(2.0), silent, lambda: next(answers))
    with pytest.raises(Stopped):
        write_clips(clips, tmp_path / "set", 1000)
    assert list(tmp_path.iterdir()) == []


def test_conditions_that_mean_nothing_are_refused(player):
    with refused("condition-not-taken", "text"):
        player.prepare(Generate(), Conditions(text="calm"))
    with refused("hop-too-large"):
        player.prepare(Generate(hop=3.0), Conditions())


@pytest.mark.parametrize("prime", [[], ["x/a.wav", "y/a.wav"], ["1", "2", "3"]])
def test_primes_that_cannot_be_told_apart_or_heard(prime):
    with pytest.raises(ValueError, match="prime"):
        Generate(clips=2, prime=prime)
