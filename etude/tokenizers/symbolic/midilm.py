"""From a MIDI file to `onoff` ids through MidiLM's steps, each of them counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from etude.config import OnOff
from etude.midi import cleaning, we_sharp
from etude.midi.event_files import TOKENS, cleaned_files, seed_files
from etude.midi.events import DRUM_CHANNEL
from etude.midi.messages import Messages
from etude.midi.tempo import seconds_at
from etude.tokenizers.symbolic.account import ACCOUNT, account
from etude.tokenizers.symbolic.base import Encoded
from etude.tokenizers.symbolic.midilm_vocabulary import (
    UNKNOWN,
    encode_notes,
    token_names,
    token_numbers,
)

VERSION = 2  # raised when ids, counts or statistics change

# Columns of the table of pieces. `error_ticks` is the sum of |nearest - true| over all deltas.
COUNTS = (
    *ACCOUNT,
    *("lines", "note_ons", "velocity_zero", "drum_lines", "pairs", "never_begin"),
    *("deleted_lines", "chords", "chord_notes", "tokens"),
    *("unknowns", "changed_deltas", "error_ticks", "ticks"),
)


def clean_and_encode(
    settings: OnOff,
    messages: Messages,
    transpositions: Sequence[int],
    max_seconds: float | None,
    files: bool,
) -> Encoded:
    """What was meant: see `cleaning`."""
    resolution = settings.ticks_per_quarter
    lines, counts = cleaning.sort_lines(messages, resolution)
    begin, end, more = cleaning.pair_lines(lines)
    whole = cleaning.notes_of(lines, begin, end)
    notes = _begun_before(whole, messages, resolution, max_seconds)
    cleaned, doubled = notes, np.zeros(len(notes), bool)
    if settings.drop_doubled:
        cleaned, doubled = cleaning.join_doubled(notes)
    in_chord, chords = cleaning.find_chords(cleaned, settings.chord_notes)
    melody = cleaned.at(~in_chord) if settings.drop_chords else None
    final = cleaned if melody is None else melody
    ids, delta, nearest = encode_notes(final)
    encoded = Encoded({t: encode_notes(final, t)[0].tolist() for t in transpositions})
    drums = messages.on & (messages.velocity > 0) & (messages.channel == DRUM_CHANNEL)
    kept = account(
        counts["note_ons"] + int(drums.sum()),
        len(ids) // 2,
        drums=int(drums.sum()),
        no_end=more.pop("never_end"),
        no_length=more.pop("no_length"),
        beyond_max_seconds=len(whole) - len(notes),
        doubled=int(doubled.sum()),
        in_chords=len(cleaned) - len(final),
        out_of_range=len(final) - len(ids) // 2,
    )
    encoded.counts = dict.fromkeys(COUNTS, 0) | kept | counts | more
    encoded.counts |= {
        "deleted_lines": 2 * int(doubled.sum()),
        "chords": len(chords),
        "chord_notes": int(in_chord.sum()),
        "tokens": len(ids),
        "changed_deltas": int((nearest != delta).sum()),
        "error_ticks": int(np.abs(nearest - delta).sum()),
        "ticks": int(delta.sum()),
    }
    encoded.statistics = _statistics(final.pitch.tolist(), final.velocity.tolist(), chords)
    if files:
        gone = notes.at(doubled)
        encoded.files = cleaned_files(lines, (begin, end), gone, cleaned, melody, chords)
        names = token_names()
        encoded.files[TOKENS] = "".join(f"{names[i]}\n" for i in ids.tolist())
    return encoded


def encode_as_the_seed(
    settings: OnOff, messages: Messages, transpositions: Sequence[int], files: bool
) -> Encoded:
    """What MidiLM does: see `we_sharp`."""
    lines = we_sharp.read_lines(messages)
    ordered = we_sharp.sort_blocks(lines)
    pairs = we_sharp.map_pairs(ordered)
    kept, gone = we_sharp.drop_doubled(ordered)
    melody, chords = we_sharp.drop_chords(kept, pairs)
    final = melody if settings.drop_chords else kept
    number = token_numbers()
    encoded = Encoded(
        {t: [number.get(w, UNKNOWN) for w in we_sharp.words(final, t)] for t in transpositions}
    )
    ids = encoded.ids[0]
    ons = [line for line in final if line.on]
    unknown = [line.on for line, i in zip(final, ids, strict=True) if i == UNKNOWN]
    kept_notes = account(
        sum(line.on for line in lines),
        len(ons) - sum(unknown),
        doubled=sum(line.on for line in gone),
        in_chords=sum(line.on for line in kept) - len(ons),
        no_word=sum(unknown),
    )
    encoded.counts = (
        dict.fromkeys(COUNTS, 0)
        | kept_notes
        | {
            "lines": len(lines),
            "note_ons": sum(line.on for line in lines),
            "velocity_zero": sum(line.on and not line.velocity for line in lines),
            "pairs": len(pairs),
            "deleted_lines": len(gone),
            "chords": sum(chords.values()),
            "chord_notes": sum(len(chord) * n for chord, n in chords.items()),
            "tokens": len(ids),
            "unknowns": len(unknown),
            "ticks": sum(line.delta for line in final),
        }
    )
    encoded.statistics = _statistics(
        [line.note for line in ons], [line.velocity for line in ons], chords.elements()
    )
    if files:
        shown = melody if settings.drop_chords else None
        encoded.files = seed_files(lines, ordered, pairs, (kept, gone), shown, chords)
        encoded.files[TOKENS] = "".join(f"{word}\n" for word in we_sharp.words(final))
    return encoded


def _begun_before(
    notes: cleaning.NoteArrays, messages: Messages, resolution: int, seconds: float | None
) -> cleaning.NoteArrays:
    if seconds is None:
        return notes
    tempos = messages.tempos.copy()
    tempos[:, 0] = cleaning.scaled(tempos[:, 0], messages.ticks_per_quarter, resolution)
    return notes.at(seconds_at(notes.start, tempos, resolution) < seconds)


def _statistics(
    pitches: list[int], velocities: list[int], chords: Iterable[tuple[int, ...]]
) -> dict[tuple[str, str], int]:
    found = Counter(("pitch", str(pitch)) for pitch in pitches)
    found.update(("velocity", str(velocity)) for velocity in velocities)
    found.update(("chord", "_".join(map(str, chord))) for chord in chords)
    return dict(found)
