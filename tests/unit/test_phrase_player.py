"""What `phrase_ldm` plays: lengths, keys, forms, the user's own MIDI, the sets it is compared with."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import phrases
import pytest
import torch
from pydantic import ValidationError
from refused import invalid, refused
from safetensors.torch import load_file

from etude.clips.progress import never, silent
from etude.config import RemiZ
from etude.config.systems.phrase_ldm import PhraseGenerate, PhraseLdm
from etude.errors import UserError
from etude.generation.command import laid_over, with_files
from etude.midi.keys import find_key
from etude.midi.notes import parse_midi, read_midi
from etude.midi.writing import write_midi
from etude.storage import read_json, write_json
from etude.systems import open_system
from etude.systems.conditions import Conditions
from etude.systems.phrase_ldm import player as of_player
from etude.systems.phrase_ldm.phrases import read_songs
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.training.stage import encode_stage

SYSTEM = open_system("phrase_ldm")
BEAT_S = 0.5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Untrained networks as trained stages, with their latents: parts and experiment."""
    folder = tmp_path_factory.mktemp("phrases")
    parts, experiment = phrases.parts_of(folder), phrases.experiment()
    for stage in ("vae", "ldm"):
        model = SYSTEM.build(experiment, stage, parts, 0)
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        place = folder / "models" / stage
        model.save(place, parts.info["tokenizers"])
        parts = replace(parts, models={**parts.models, stage: place})
        if stage == "vae":
            encode_stage(experiment, "vae", parts, folder / "latents")
            parts = replace(parts, latents={"vae": folder / "latents"})
    return parts, experiment


def decode(tokenizer):
    """A decoder that writes other notes for other latents."""
    number = tokenizer.numbers().index

    def write(latents, limit):
        written = []
        for latent in latents.tolist():
            pitch = 60 + int(abs(latent[0]) * 1e3) % 12
            onset = 12 * (int(abs(latent[1]) * 1e3) % 4)
            written.append([number(("o", onset)), number(("p", pitch)), number(("d", 12))])
        return written

    return write


@pytest.fixture
def player(trained):
    parts, experiment = trained
    found = SYSTEM.open(experiment, parts)
    found.vae.decode = decode(found.tokenizer)
    return found


def settings_of(**values):
    return PhraseGenerate(**{"clips": 3, "bars": 4, "seconds": 1.0, "batch_size": 2} | values)


def play(player, settings=None, draw=0, **conditions):
    settings = settings or settings_of()
    asked = player.prepare(settings, Conditions(**conditions))
    return list(player.clips(settings, 0, draw, asked, silent, never))


def notes(table):
    return list(zip(table.onset.tolist(), table.pitch.tolist(), table.track.tolist(), strict=True))


@pytest.fixture
def own(tmp_path):
    """A MIDI file of six bars in G major, and its bars in C."""
    tokenizer = phrases.tokenizer_of()
    bars = phrases.song(tokenizer, Random(5), 6)
    assert any(bars[-1].phrases)
    table = tokenizer.decode(tokenizer.join(bars))
    moved = of_player.transposed(table, 7)
    write_midi(moved, tmp_path / "own.mid")
    return tmp_path / "own.mid", bars


# --------------------------------------------------------------------------------------- lengths


@pytest.mark.slow
@pytest.mark.parametrize("bars", [1, 5, 300])
def test_a_piece_has_the_bars_that_were_asked_for(player, bars):
    (clip,) = play(player, settings_of(bars=bars, clips=1))
    assert clip.row["bars"] == bars
    found = clip.notes.places().bar
    assert (found.min(), found.max()) == (0, bars - 1)
    assert len(clip.notes) == bars * phrases.SLOTS
    assert len(clip.wave) / player.rate >= 4 * BEAT_S * (bars - 1)


def test_seconds_and_bars_may_be_asked_for(player):
    for clip in play(player, seconds=5.0):
        assert len(clip.wave) == 5 * player.rate
        assert clip.notes.onset_s.max() < 5.0
        assert clip.row["bars"] == 3
    assert {clip.row["bars"] for clip in play(player, bars=7)} == {7}


@pytest.mark.slow
def test_a_piece_does_not_depend_on_its_batch(player):
    first = play(player, settings_of(clips=5, batch_size=5))
    second = play(player, settings_of(clips=5, batch_size=2))
    assert [notes(clip.notes) for clip in first] == [notes(clip.notes) for clip in second]
    assert len({str(notes(clip.notes)) for clip in first}) == 5
    assert all(np.array_equal(a.wave, b.wave) for a, b in zip(first, second, strict=True))
    other = play(player, settings_of(clips=5), draw=1)
    assert [notes(clip.notes) for clip in first] != [notes(clip.notes) for clip in other]


def test_slots_are_tracks_with_the_programs_of_the_training_pieces(player):
    (clip, *_) = play(player)
    assert Counter(clip.notes.track.tolist()) == {0: 4, 1: 4}
    assert set(clip.notes.program[clip.notes.track == 1].tolist()) == {40}
    (clip, *_) = play(player, settings_of(programs=[11, 12], tempo=60))
    assert clip.notes.programs() == [11, 12]
    assert clip.notes.onset_s.max() >= 3 * 4.0


# ---------------------------------------------------------------------------------- forms and keys


def test_sections_say_how_long_a_piece_is(player):
    settings = settings_of(bars=None, sections="i2A3A3")
    assert settings.length == 8
    for clip in play(player, settings):
        assert clip.row["bars"] == 8
        assert clip.condition["sections"] == "i2A3A3"
    with invalid("sections", "length-of-sections", 8, 9):
        settings_of(bars=9, sections="i2A3A3")
    with refused("length-of-sections", 8, 9):
        play(player, settings, bars=9)
    with pytest.raises(ValidationError):
        settings_of(sections="A8-B8")


@pytest.mark.slow
def test_without_sections_a_form_of_the_training_pieces_is_taken(player):
    forms = player.ldm.shape["forms"]
    lengths = {sum(int(n) for n in form if n.isdigit()): form for form in forms}
    bars = next(n for n in lengths if n < 10)
    for clip in play(player, settings_of(bars=bars)):
        assert clip.condition["sections"] in forms
    for clip in play(player, settings_of(bars=300, clips=1)):
        assert clip.condition["sections"] == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "shift"), [("G", -5), ("D minor", 5), ("Bb", -2), ("F# minor", -3)]
)
def test_a_key_moves_what_is_decoded(player, key, shift):
    plain, moved = play(player, settings_of()), play(player, settings_of(key=key))
    mode = key.split()[1] if " " in key else "any"
    assert settings_of(key=key).asked_mode == mode
    for before, after in zip(plain, moved, strict=True):
        if mode == "any":  # else it is also asked for another mode
            assert (after.notes.pitch == before.notes.pitch + shift).all()
    assert player._shift(key) == shift


def test_a_key_that_is_none_is_refused(player, trained):
    for key in ("H", "c", "G dorian"):
        with pytest.raises(ValidationError):
            settings_of(key=key)
    with invalid("mode", "mode-of-another-key", "D minor"):
        settings_of(key="D minor", mode="major")
    player.tokenizer = RemiZTokenizer(RemiZ(kind="remi_z", slots=phrases.SLOTS))
    with refused("key-not-learned", "G", where="generate.key") as error:
        play(player, settings_of(key="G"))
    assert "normalise_key" in str(error.value)


def test_a_meter_that_was_not_learned_is_refused(player):
    with refused("meter-not-learned", "3/4") as error:
        play(player, settings_of(meter="3/4"))
    assert "4/4" in str(error.value)


# -------------------------------------------------------------------------------- the user's own


def test_bars_that_are_kept_stay_and_the_others_are_made(player, own):
    path, bars = own
    settings = settings_of(keep="1-2, 5-5", bars=None)
    tokenizer = phrases.tokenizer_of()
    wanted = notes(read_midi(path))
    length = tokenizer.ticks_per_quarter * 4
    found = []
    for clip in play(player, settings, files=(path,)):
        assert clip.row["bars"] == len(bars)
        ours = {note for note in notes(clip.notes) if note[0] // length in (0, 1, 4)}
        kept = {
            (onset * tokenizer.ticks_per_quarter // read_midi(path).ticks_per_quarter, pitch, track)
            for onset, pitch, track in wanted
        }
        assert ours == {note for note in kept if note[0] // length in (0, 1, 4)}
        assert clip.condition["prompt"] == "own.mid"
        assert float(clip.row["prime_seconds"]) == pytest.approx(5 * 4 * BEAT_S)
        found.append(str([note for note in notes(clip.notes) if note[0] // length == 2]))
    assert len(set(found)) > 1


def test_what_goes_on_leaves_the_file_as_it_is(player, own):
    path, _ = own
    before = read_midi(path)
    for clip in play(player, settings_of(bars=3), files=(path,)):
        whole = parse_midi(clip.midi)
        assert notes(whole.at(whole.onset_s < before.seconds))[: len(before)] == notes(before)
        new = clip.parts["generated"]
        assert len(new) == 3 * phrases.SLOTS
        assert clip.row["bars"] == 3
        seam = float(clip.row["prime_seconds"])
        assert before.seconds <= seam <= before.seconds + BEAT_S
        assert seam <= clip.notes.onset_s[len(before) :].min() < seam + 4 * BEAT_S
        assert clip.midi.startswith(path.read_bytes()[:4])


def test_two_files_give_what_lies_between(player, own, tmp_path):
    path, _ = own
    tokenizer = phrases.tokenizer_of()
    short = phrases.songs(6)[4][:4]
    write_midi(tokenizer.decode(tokenizer.join(short)), tmp_path / "other.mid")
    clips = play(player, settings_of(between=0.5), files=(path, tmp_path / "other.mid"))
    assert {clip.row["bars"] for clip in clips} == {4}
    assert clips[0].condition["prompt"] == "own.mid and other.mid"
    with refused("too-many-files", 3):
        play(player, files=(path, path, path))


def test_files_that_cannot_be_used_are_said(player, own, tmp_path):
    path, _ = own
    bad = tmp_path / "bad.mid"
    bad.write_bytes(b"MThd")
    for file in (bad, tmp_path / "absent.mid"):
        with refused("unusable-midi", where=file):
            play(player, files=(file,))
    with refused("cannot-be-kept"):
        play(player, settings_of(keep="1-9", bars=None), files=(path,))
    with invalid("keep", "cannot-be-kept", "`midi`"):
        settings_of(keep="1-2", midi=["a.mid", "b.mid"])
    with refused("condition-not-taken", "text"):
        play(player, text="a waltz")


def test_a_file_in_another_meter_is_refused(player, tmp_path):
    tokenizer = phrases.tokenizer_of()
    bars = phrases.songs(2, signature=(3, 4))[0]
    write_midi(tokenizer.decode(tokenizer.join(bars)), tmp_path / "waltz.mid")
    with refused("meter-not-learned", "3/4"):
        play(player, files=(tmp_path / "waltz.mid",))


# ------------------------------------------------------------------------------ the command line


def test_all_keys_can_be_set_on_the_command_line():
    base = settings_of(midi="own.mid", keep="1-2")
    options = Namespace(clips=3, set=["bars=null", "sections=A2B2", "denoising.steps=7", "key=G"])
    found = laid_over(base, options)
    assert (found.length, found.sections, found.denoising.steps, found.key) == (4, "A2B2", 7, "G")
    assert (found.clips, found.batch_size, found.keep) == (3, 2, "")
    for wrong in ("bars", "=4", "bars=[", "bras=4", "denoising=4", "bars=0"):
        with pytest.raises(UserError):
            laid_over(base, Namespace(clips=1, set=[wrong]))


def test_files_that_are_set_on_the_command_line_are_what_clips_go_on_from():
    options = Namespace(clips=1, set=["midi=[a.mid, b.mid]", "between=0.3"])
    settings = laid_over(settings_of(), options)
    assert with_files(Conditions(), settings).files == (Path("a.mid"), Path("b.mid"))
    with refused("conflicting-options"):
        with_files(Conditions(files=(Path("c.mid"),)), settings)
    plain = Conditions(files=(Path("c.mid"),))
    assert with_files(plain, settings_of()) == plain


# ----------------------------------------------------------------------------- what does not fit


def test_stages_that_do_not_fit_are_refused(trained, tmp_path):
    parts, experiment = trained
    other = phrases.experiment({"vae": {"network": phrases.TINY | {"latent": 4}}})
    SYSTEM.build(other, "vae", parts, 0).save(tmp_path / "vae", parts.info["tokenizers"])
    models = parts.models | {"vae": tmp_path / "vae"}
    with refused("another-autoencoder"):
        SYSTEM.open(experiment, replace(parts, models=models))
    statistics = read_json(parts.latents["vae"] / "statistics.json")
    statistics["mean"][0] += 1
    (tmp_path / "latents").mkdir()
    write_json(tmp_path / "latents" / "statistics.json", statistics)
    with refused("another-autoencoder"):
        SYSTEM.open(experiment, replace(parts, latents={"vae": tmp_path / "latents"}))


def test_another_tokenizer_is_refused(trained, tmp_path):
    parts, experiment = trained
    phrases.tokenizer_of(tempo=99).save(tmp_path)
    with refused("another-tokenizer"):
        SYSTEM.open(experiment, replace(parts, tokenizers={"tokenizer": tmp_path}))


def test_no_piece_in_the_meters_is_said(trained):
    parts, _ = trained
    waltz = phrases.experiment({"ldm": {"network": phrases.TINY_DIT, "meters": ["3/4"]}})
    with refused("nothing-to-train-on"):
        SYSTEM.data(waltz, "ldm", parts)


def test_labels_are_the_sections_of_pieces_that_have_them(trained, tmp_path):
    parts, _ = trained
    lengths = [len(song.bars) for song in read_songs(parts.packed, "train", phrases.tokenizer_of())]
    table = tmp_path / "forms.csv"
    table.write_text(f"piece,sections\ntrain_1,i1Z{lengths[1] - 1}\n", encoding="utf-8")
    labelled = phrases.experiment({"ldm": {"network": phrases.TINY_DIT, "labels": str(table)}})
    assert labelled.stages.ldm.files == [table]
    assert str(tmp_path) not in labelled.stage_params("ldm")
    here = replace(parts, files={table.name: table})
    with_labels, _ = SYSTEM.data(labelled, "ldm", here)
    without, _ = SYSTEM.data(labelled, "ldm", parts)
    assert with_labels.forms[1] == f"i1Z{lengths[1] - 1}" != without.forms[1]
    assert with_labels.forms[2:] == without.forms[2:]
    assert SYSTEM.shape(labelled, "ldm", here)["forms"] == with_labels.forms
    table.write_text("piece,sections\ntrain_1,A99\n", encoding="utf-8")
    with refused("length-of-sections", 99):
        SYSTEM.data(labelled, "ldm", here)


def test_the_experiment_must_have_phrases():
    from etude.config import SymbolicTokenSet

    experiment = phrases.experiment()
    token_set = SymbolicTokenSet(tokenizer="remi")
    config = type("C", (), {"cuts": {"two_seconds": 1}, "tokens": {"t": token_set}})()
    config.tokenizers = {"remi": object()}
    with invalid("experiments.e.tokens", "tokenizer-of-another-kind"):
        experiment.check("experiments.e", config)
    config.tokenizers = {"remi": RemiZ(kind="remi_z", slots=3)}
    experiment.check("experiments.e", config)
    with invalid("experiments.e.generate.programs", "programs-do-not-fit", "2 of 3"):
        phrases.experiment(generate={"programs": [1, 2]}).check("experiments.e", config)


def test_a_clips_notes_are_encoded_as_the_corpus_is(trained):
    """In any key: the corpus is in C or A minor."""
    parts, experiment = trained
    encode, tokenizer = SYSTEM.encoder(experiment, parts), phrases.tokenizer_of()
    songs = read_songs(parts.packed, "train", tokenizer)
    means = load_file(parts.latents["vae"] / "train.safetensors")["mean"].flatten(0, 1)
    for shift in (0, 5):
        start = compared = 0
        for song in songs:
            table = of_player.transposed(tokenizer.decode(tokenizer.join(song.bars)), shift)
            found = encode(table)
            assert found.dtype == np.float64
            assert len(found) > phrases.SLOTS * (len(song.bars) - 2)
            home = find_key(tokenizer.decode(tokenizer.join(song.bars))).shift
            if home == 0:  # made-up pieces may be in a key of their own
                wanted = means[start : start + len(found)].numpy()
                np.testing.assert_allclose(found, wanted, atol=1e-4)
                compared += 1
            start += phrases.SLOTS * len(song.bars)
        assert compared > 2
    assert len(encode(tokenizer.decode([]))) == 0


# ----------------------------------------------------------------------------------------- sets


def test_the_sets_are_made_and_are_what_they_say(trained):
    from etude.systems.phrase_ldm.baselines import PhraseBaselines

    parts, experiment = trained
    vae = SYSTEM.load(parts.models["vae"], parts)
    ldm = SYSTEM.build(experiment, "ldm", parts, 0)
    made = PhraseBaselines(experiment, parts, vae, ldm, phrases.tokenizer_of(), seed=1)
    vae.decode = decode(made.tokenizer)
    sets = {name: (clip_set, list(clip_set.clips)) for name, clip_set in made.sets()}
    assert set(sets) == set(PhraseLdm.sets)
    for name, (clip_set, clips) in sets.items():
        assert clip_set.midi, name
        assert clips, name
        assert all(clip.notes is not None and "heard_seconds" in clip.row for clip in clips), name
    copies = sets["copies"][1][0]
    song = made.songs["train"][int(copies.row["piece"].split("_")[1])]
    table = made.tokenizer.decode(made.tokenizer.join(song.bars))
    assert notes(copies.notes) == notes(table)
    real = {str(bar.phrases) for song in made.songs["valid"] for bar in song.bars}
    for clip in sets["independent_bars"][1]:
        bars = made.tokenizer.bars(made.tokenizer.encode(clip.notes))
        assert {str(bar.phrases) for bar in bars[1:-1]} <= real | {str([[], []])}
    rows = np.concatenate(list(made._drawn(5, 0)))
    assert max(Counter(rows.tolist()).values()) - min(Counter(rows.tolist()).values()) <= 1


def test_a_corpus_without_held_out_pieces_says_why_sets_are_empty(tmp_path):
    from etude.systems.phrase_ldm.baselines import PhraseBaselines

    parts = phrases.pack(tmp_path, {"train": phrases.songs(4)})
    experiment = phrases.experiment()
    vae = SYSTEM.build(experiment, "vae", parts, 0).eval()
    vae.save(tmp_path / "vae", parts.info["tokenizers"])
    parts = replace(parts, models={"vae": tmp_path / "vae"})
    encode_stage(experiment, "vae", parts, tmp_path / "latents")
    parts = replace(parts, latents={"vae": tmp_path / "latents"})
    ldm = SYSTEM.build(experiment, "ldm", parts, 0)
    made = PhraseBaselines(experiment, parts, vae, ldm, phrases.tokenizer_of(), seed=1)
    vae.decode = decode(made.tokenizer)
    sets = dict(made.sets())
    assert "fewer than three" in sets["shuffled_latents"].note
    assert not list(sets["reconstruction"].clips)
    assert list(sets["gaussian_latents"].clips)
