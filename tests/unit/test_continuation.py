"""`continue`: the user's own music comes out as it went in, and what follows begins on a beat."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from fractions import Fraction

import mido
import numpy as np
import pytest
from players import player_of, settings_of

from etude.clips.progress import never, silent
from etude.clips.writing import write_clips
from etude.config.systems.symbolic_lm import SymbolicSampling
from etude.midi.continuation import read_piece
from etude.midi.notes import DRUMS, parse_midi, read_midi
from etude.midi.writing import plain_table
from etude.storage import read_csv
from etude.systems.conditions import Conditions
from etude.systems.symbolic_lm import families

KINDS = ("onoff", "remi", "tsd", "structured", "remi_z")
TICKS = 384  # not a resolution that any tokenizer has


def note(channel, pitch, start, length, velocity=77):
    """Two messages at times in quarters."""
    key = {"channel": channel, "note": pitch}
    return [
        (start, mido.Message("note_on", velocity=velocity, **key)),
        (start + length, mido.Message("note_off", velocity=3, **key)),
    ]


def song(*tracks, ticks=TICKS, form=1):
    """A file of tracks of (time in quarters, message)."""
    file = mido.MidiFile(type=form, ticks_per_beat=ticks)
    for events in tracks:
        track, at = mido.MidiTrack(), 0
        for time, message in sorted(events, key=lambda event: event[0]):
            track.append(message.copy(time=round(time * ticks) - at))
            at = round(time * ticks)
        file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    return data.getvalue()


def tempo(time, bpm):
    return time, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))


def metre(time, beats, unit):
    return time, mido.MetaMessage("time_signature", numerator=beats, denominator=unit)


def control(time, channel, number, value):
    return time, mido.Message("control_change", channel=channel, control=number, value=value)


def program(time, channel, number):
    return time, mido.Message("program_change", channel=channel, program=number)


def melody(channel, start, count, step=0.5, low=60):
    notes = [note(channel, low + 7 * i % 12, start + i * step, step) for i in range(count)]
    return list(itertools.chain(*notes))


SONGS = {
    "slow": (song([tempo(0, 60), *melody(0, 0, 16)]), 8, 4),
    "tempo changes": (
        song([tempo(0, 60), tempo(3, 90), tempo(6, 47)], [program(0, 2, 40), *melody(2, 0, 17)]),
        9,
        4,
    ),
    "waltz": (song([metre(0, 3, 4), tempo(0, 140), *melody(0, 0, 12)]), 6, 3),
    "upbeat, then 6/8": (
        song([metre(0, 1, 4), metre(1, 4, 4), metre(13, 6, 8), *melody(0, 0, 29)]),
        14.5,
        3,
    ),
    "pedals, drums and a fade": (
        song(
            [tempo(0, 100), metre(0, 4, 4)],
            [program(0, 0, 24), control(0, 0, 64, 127), control(7, 0, 7, 0), *melody(0, 0, 15)],
            [*melody(9, 0, 40, low=36), *note(3, 12, 20, 1)],  # far too low for any tokenizer
        ),
        21,
        4,
    ),
    "played by hand": (
        song([tempo(0, 83), *note(0, 60, 0.013, 0.9), *note(0, 67, 1.06, 0.7), *note(0, 64, 2.4, 2.3)]),
        5,
        4,
    ),
    "in one track": (song([tempo(0, 70), *melody(0, 0, 9), *melody(1, 0, 9)], form=0), 5, 4),
    "long": (song([tempo(0, 60), tempo(100, 180), *melody(0, 0, 400)]), 200, 4),
}  # fmt: skip


BARS = 4


@pytest.fixture(scope="module", params=KINDS)
def player(request):
    return player_of(request.param)


def continued(player, data, folder, clips=2, sampling=None, **conditions):
    path = folder / "mine.mid"
    path.write_bytes(data)
    settings = settings_of(clips=clips, sampling=sampling or SymbolicSampling())
    prepared = player.prepare(settings, Conditions((path,), **({"tokens": 0} | conditions)))
    return list(player.clips(settings, 0, 0, prepared, silent, never))


def events(data):
    return [[str(message) for message in track] for track in mido.MidiFile(file=io.BytesIO(data)).tracks]  # fmt: skip


def moments(table):
    """Notes in seconds, so that a tempo counts."""
    columns = (table.onset_s, table.end_s, table.pitch, table.velocity, table.program)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SONGS)
def test_own_music_comes_out_as_it_went_in_and_the_seam_is_on_a_beat(player, name, tmp_path):
    data, seam, quarters = SONGS[name]
    own, some = parse_midi(data), 0
    for clip in continued(player, data, tmp_path, clips=2, bars=BARS):
        old, new = events(data), events(clip.midi)
        assert new[: len(old)] == old
        whole = parse_midi(clip.midi)
        first = whole.at(whole.onset < seam * TICKS)
        assert moments(first) == moments(own)
        later = whole.at(whole.onset >= seam * TICKS)
        assert len(first) + len(later) == len(whole)
        assert float(clip.row["prime_seconds"]) == pytest.approx(read_piece(data).seam_s, abs=1e-3)
        assert read_piece(data).seam == seam * TICKS
        end = int((later.onset + later.duration).max(initial=0))
        assert end <= (seam + BARS * quarters) * TICKS, "bars are those of the last metre"
        grid = max(24, player.tokenizer.ticks_per_quarter)
        assert all((later.onset * grid) % TICKS < grid) or player.tokenizer.settings.kind == "onoff"
        if len(later):
            # The first note is on a grid: of 24 to a quarter, and behind a bar of 64ths of 48.
            behind_64ths = player.tokenizer.settings.kind == "remi_z"
            step = Fraction(int(later.onset[0]), TICKS) * (48 if behind_64ths else 24)
            assert step.denominator == 1
            some += 1
        assert len(clip.wave) / player.rate > read_piece(data).seam_s * bool(len(later))
    assert some, "nothing follows"


def test_new_parts_do_not_sound_by_the_pedals_and_faders_of_the_old(tmp_path):
    data = SONGS["pedals, drums and a fade"][0]
    piece = read_piece(data)
    new = plain_table([0, 100], [90, 90], [60, 40], program=[24, DRUMS], ticks_per_quarter=TICKS)
    whole = piece.joined(replace(new, onset=new.onset + piece.seam, tempos=new.tempos[:0]))
    tracks = mido.MidiFile(file=io.BytesIO(piece.file(whole))).tracks[3:]
    assert [track.name for track in tracks] == ["continuation"] * 2
    channels = [{m.channel for m in track if not m.is_meta} for track in tracks]
    assert channels == [{1}, {9}], "0 is in use, and faded out"
    assert tracks[0][1].control == 121
    assert [m.program for m in tracks[0] if m.type == "program_change"] == [24]


def test_a_piece_that_uses_all_channels_is_gone_on_from():
    tracks = [[program(0, c, 10 + c), *note(c, 60, 0, 1)] for c in range(16) if c != 9]
    piece = read_piece(song(*tracks))
    new = plain_table([0, 1], [1, 1], [60, 62], program=[17, 99], ticks_per_quarter=TICKS)
    whole = piece.joined(replace(new, onset=new.onset + piece.seam, tempos=new.tempos[:0]))
    found = parse_midi(piece.file(whole))
    assert moments(found.at(found.onset < piece.seam)) == moments(piece.table)
    assert sorted(found.program[found.onset >= piece.seam].tolist()) == [17, 99]


@pytest.mark.slow
def test_a_model_that_hears_only_the_end_knows_where_in_the_bar_it_is(player, tmp_path):
    data = SONGS["tempo changes"][0]
    for clip in continued(player, data, tmp_path, clips=4, tokens=3, bars=2):
        found = parse_midi(clip.midi)
        assert moments(found.at(found.onset < 9 * TICKS)) == moments(parse_midi(data))


@pytest.mark.slow
def test_positions_never_go_back(tmp_path):
    """REMI, all draws: what the grammar allows never writes a note before one that stands."""
    player = player_of("remi")
    names = player.tokenizer.names()
    for tokens in (0, 3):
        path = tmp_path / "mine.mid"
        path.write_bytes(SONGS["waltz"][0])
        settings = settings_of(clips=8, new_tokens=200)
        prepared = player.prepare(settings, Conditions((path,), tokens=tokens))
        settings = settings.model_copy(update={"prompt_tokens": prepared.given})
        for music in player.music(settings, 0, prepared):
            before = -1
            for i in [*music.given.ids, *music.drawn.ids]:
                kind, _, value = names[i].partition("_")
                if kind == "Position":
                    assert int(value) > before
                    before = int(value)
                before = -1 if kind == "Bar" else before
            assert player.tokenizer.invalid_share(music.drawn.ids, music.given.ids) == 0


@pytest.mark.slow
def test_a_written_clip_set_says_where_the_prompt_ends(player, tmp_path):
    data, seam, _ = SONGS["tempo changes"]
    clips = continued(player, data, tmp_path, tokens=10)
    write_clips(clips, tmp_path / "set", player.rate, notes=True)
    for row in read_csv(tmp_path / "set/clips.csv"):
        whole = read_midi(tmp_path / "set" / row["midi"])
        part = read_midi(tmp_path / "set/generated" / row["midi"])
        prompt = read_midi(tmp_path / "set/prompts" / row["midi"])
        assert moments(prompt) == moments(parse_midi(data))
        later = whole.at(whole.onset >= seam * TICKS)
        start = float(row["prime_seconds"])
        assert later.onset_s - start == pytest.approx(part.onset_s, abs=2e-3)
        assert later.pitch.tolist() == part.pitch.tolist()


@pytest.mark.slow
def test_tempos_of_the_model_s_own_follow_the_seam(tmp_path):
    data, seam, _ = SONGS["slow"]
    player = player_of("remi", tempos=True)
    for clip in continued(player, data, tmp_path, clips=2, bars=1):
        found = parse_midi(clip.midi)
        assert found.tempos[found.tempos[:, 0] <= seam * TICKS].tolist() == [[0, 10**6]]
        assert np.diff(found.tempos[:, 0]).min(initial=1) >= 0


def test_what_follows_ones_own_music_does_not_end_before_it_is_long_enough(tmp_path, monkeypatch):
    """A model that would end at once, as behind a whole song; from nothing it may."""
    player = player_of("tsd")
    plain, eos = families.next_logits, player.tokenizer.eos

    def over(*given):
        logits = plain(*given).clone()
        logits[:, eos] = 1e6
        return logits

    monkeypatch.setattr(families, "next_logits", over)
    data = song([tempo(0, 100), *note(0, 60, 0, 1), *note(0, 64, 1, 1)])
    for clip in continued(player, data, tmp_path, clips=2, bars=1):
        assert clip.row["ended"] == "false"
        assert len(clip.parts["generated"])
    prepared = player.prepare(settings_of(), Conditions(seconds=0.5))
    free = settings_of(sampling=SymbolicSampling(grammar=False))
    clips = list(player.clips(free, 0, 0, prepared, silent, never))
    assert {clip.row["ended"] for clip in clips} == {"true"}


@pytest.mark.slow
def test_what_follows_is_in_the_key_of_ones_own_music(tmp_path):
    """A tokenizer that moves pieces to C: what is drawn for a tune is drawn a tone up for that."""
    player = player_of("remi_z", normalise_key=True)
    scale = [0, 2, 4, 5, 7, 9, 11, 12, 0, 4, 7, 0]
    found = []
    for tonic in (60, 62):
        notes = itertools.chain(
            *(note(0, tonic + step, i / 2, 0.5) for i, step in enumerate(scale))
        )
        (clip,) = continued(player, song([*notes]), tmp_path, clips=1, bars=4)
        later = parse_midi(clip.midi)
        found.append(later.at(later.onset >= 6 * TICKS))
    one, other = found
    assert len(one) > 3
    assert (one.onset == other.onset).all()
    assert (one.pitch + 2 == other.pitch).all()
