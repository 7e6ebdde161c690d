"""Symbolic tokenizers and token sets: from MIDI to the tokens of language models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_serializer, model_validator

from etude.config.base import OWN, Distinct, Section, UserPath, chosen_by, fault
from etude.config.pretrained import Encodec, Hubert
from etude.config.tokens import MagnitudeRvq, Mfcc, PluginTokenizer, SemitoneBands, TokenSet

SYMBOLIC_KINDS = ("onoff", "remi", "tsd", "structured", "remi_z")
EVENT_KINDS = ("onoff", "remi_z")  # what `write_events` is for
MidiPitch = Annotated[int, Field(ge=0, le=127)]


class SymbolicFit(Section):
    """What byte pairs are learnt from: the training split of a corpus. Others learn nothing."""

    corpus: str | None = Field(None, description="none: the corpus that is being tokenized")
    pieces: int = Field(2000, ge=1, description="training pieces used at most")
    seed: int = Field(0, ge=0, description="choice of pieces")
    folder: UserPath | None = Field(
        None,
        exclude_if=lambda folder: folder is None,
        description="a tokenizer that was made elsewhere (results/tokenizers/, `etude export`): "
        "it is taken as it is",
    )

    @field_serializer("folder", when_used="json")
    def _name_only(self, folder: Path | None) -> str | None:
        """Its files are a rule's input; params and results do not say where they lay."""
        return folder.name if folder else None


class OnOff(Section):
    """Symbolic: MidiLM's `on|off_<pitch>_<delta>`, 4,050 tokens (88 pitches, 23 deltas)."""

    kind: Literal["onoff"]
    fit: SymbolicFit = SymbolicFit()
    ticks_per_quarter: int = Field(
        480, ge=24, le=960, description="resolution that files are brought to"
    )
    drop_doubled: bool = Field(
        True,
        description="a note that begins while its pitch sounds is joined with the sounding one",
    )
    drop_chords: bool = Field(
        False,
        description="leave out chords of `chord_notes` or more notes of equal onset and duration, "
        "so that a melody remains",
    )
    chord_notes: int = Field(3, ge=2, description="notes that make a chord")
    tempo: float = Field(120.0, gt=0, le=1000, description="quarters a minute of decoded music")
    velocity: int = Field(80, ge=1, le=127, description="velocity of decoded music")
    compat: Literal["we_sharp"] | None = Field(
        None,
        description="`we_sharp`: we-sharp's own steps, defects included (docs/decisions.md)",
    )


class _MidiTok(Section):
    """What the tokenizers of the MidiTok package share; the defaults are Neuromusic's."""

    fit: SymbolicFit = SymbolicFit()
    lowest_pitch: MidiPitch = Field(21, description="lower notes are left out")
    highest_pitch: MidiPitch = Field(108, description="higher notes are left out")
    beat_resolution: dict[Annotated[str, Field(pattern=r"^\d+_\d+$")], int] = Field(
        {"0_4": 8, "4_12": 4},
        min_length=1,
        description="positions a beat for durations from_to beats",
    )
    velocities: int = Field(16, ge=1, le=127, description="velocity levels")
    chords: bool = Field(True, description="chord tokens (Structured has none)")
    programs: bool = Field(True, description="instrument tokens")
    tempos: bool = Field(False, description="tempo tokens (none: decoded at `tempo`)")
    rests: bool = Field(False, description="rest tokens")
    drum_pitches: bool = Field(
        False, description="tokens of their own for drums' pitches; false: as pitched notes"
    )
    drop_doubled: bool = Field(True, description="leave out notes of equal onset and pitch")
    tempo: float = Field(120.0, gt=0, le=1000, description="quarters a minute of decoded music")
    bpe: int | None = Field(
        None,
        ge=300,
        le=200_000,
        description="learn byte pairs up to this vocabulary on the training split; none: no",
    )

    @model_validator(mode="after")
    def _pitches_in_order(self) -> Any:
        if self.lowest_pitch > self.highest_pitch:
            raise fault(
                "pitches-out-of-order",
                f"lowest_pitch: {self.lowest_pitch} is above highest_pitch {self.highest_pitch}",
            )
        return self


class Remi(_MidiTok):
    """Symbolic: REMI (bars, positions, notes) by MidiTok, with Neuromusic's settings."""

    kind: Literal["remi"]


class Tsd(_MidiTok):
    """Symbolic: TSD (time shifts and durations) by MidiTok, with Neuromusic's settings."""

    kind: Literal["tsd"]


class Structured(_MidiTok):
    """Symbolic: Structured (fixed order of token types) by MidiTok, Neuromusic's settings."""

    kind: Literal["structured"]


class RemiZ(Section):
    """Symbolic: REMI-z, whose bars hold one track after the other; what PhraseVAE reads."""

    kind: Literal["remi_z"]
    fit: SymbolicFit = SymbolicFit()
    positions_per_beat: int = Field(12, ge=1, le=48, description="positions of a quarter note")
    longest: int = Field(
        127, ge=1, le=1023, description="positions of the longest duration; longer ones are cut"
    )
    tracks: Literal["track", "program"] = Field(
        "track",
        description="`track`: every track of a file is one, and every bar states all of them; "
        "`program`: tracks of one program are one, and a bar states those that play in it",
    )
    slots: int = Field(
        4, ge=1, le=64, description="at most this many tracks: those with the most notes"
    )
    order: Literal["pitch", "file"] = Field(
        "pitch",
        description="of tracks, drums last: `pitch`: by the mean over the whole piece, from high "
        "to low; `file`: as they are in the file (programs by their numbers)",
    )
    time_signatures: bool = Field(
        True, description="time signature tokens; false: bars of four quarters throughout"
    )
    tempos: bool = Field(False, description="tempo tokens (none: decoded at `tempo`)")
    drums: bool = Field(
        False, description="drums, where the corpus's filter keeps them; false: left out"
    )
    velocities: bool = Field(False, description="32 velocities (none: decoded at `velocity`)")
    normalise_key: bool = Field(
        False, description="move each piece to C major or A minor, by at most six semitones"
    )
    key_from: Literal["notes", "file"] = Field(
        "notes",
        description="`file`: from the key signatures of the file, where it has any, else `notes`",
    )
    key_profile: Literal["float", "integer"] = Field(
        "float",
        description="how keys are found from notes: the profile as REMI-z means it, or in whole "
        "numbers, as REMI-z has it",
    )
    tempo: float = Field(120.0, gt=0, le=1000, description="quarters a minute of decoded music")
    velocity: int = Field(64, ge=1, le=127, description="velocity of decoded music")


AnyTokenizer = Annotated[
    Annotated[SemitoneBands, Tag("semitone_bands")]
    | Annotated[Mfcc, Tag("mfcc")]
    | Annotated[MagnitudeRvq, Tag("magnitude_rvq")]
    | Annotated[Hubert, Tag("hubert")]
    | Annotated[Encodec, Tag("encodec")]
    | Annotated[OnOff, Tag("onoff")]
    | Annotated[Remi, Tag("remi")]
    | Annotated[Tsd, Tag("tsd")]
    | Annotated[Structured, Tag("structured")]
    | Annotated[RemiZ, Tag("remi_z")]
    | Annotated[PluginTokenizer, Tag(OWN)],
    chosen_by("kind"),
]


class SymbolicTokenSet(Section):
    """A symbolic token set: one tokenizer over the MIDI of a corpus, cut into windows."""

    tokenizer: str = Field(description="a symbolic tokenizer from `tokenizers`")
    window: int = Field(1024, ge=8, le=65536, description="tokens of a window, at most")
    stride: int = Field(512, ge=1, description="tokens between starts of windows")
    shortest: int = Field(
        796,
        ge=1,
        description="where this many tokens or more remain after the last whole window's successor "
        "began, one more window holds the last `window` tokens",
    )
    short_pieces: Literal["keep", "drop"] = Field(
        "keep",
        description="a piece shorter than a window: one shorter window, or `too_short`",
    )
    long_pieces: Literal["cut", "drop"] = Field(
        "cut",
        exclude_if=lambda choice: choice == "cut",  # an unused key makes nothing again
        description="a piece longer than a window: several windows, or `too_long` (for systems "
        "that read whole pieces, one per row)",
    )
    fewest: int = Field(16, ge=2, description="a piece of fewer tokens is `too_short` in any case")
    transpositions: Annotated[list[Annotated[int, Field(ge=-24, le=24)]], Distinct] = Field(
        [0, -1, 1], min_length=1, description="semitones; other than 0 for training only"
    )
    ends: bool = Field(
        True, description="BOS before and EOS after a piece, where the tokenizer has them"
    )
    max_seconds: float | None = Field(
        None, gt=0, description="use only the notes that begin before this (Neuromusic: 180)"
    )
    first_window_only: bool = Field(
        False, description="of each piece only the first `window` tokens (Neuromusic: 1025)"
    )
    write_events: bool = Field(
        False,
        description="also write to results/events/, of each piece: `onoff`: MidiLM's files of each "
        "step; `remi_z`: JSON lines of its bars, phrases and positions",
    )

    @model_validator(mode="after")
    def _fits(self) -> SymbolicTokenSet:
        if self.stride > self.window:
            raise fault(
                "gaps-between-windows",
                f"stride: {self.stride} leaves gaps between windows of {self.window}",
            )
        if self.shortest > self.window:
            raise fault(
                "longer-than-a-window",
                f"shortest: {self.shortest} is more than a window ({self.window})",
            )
        if 0 not in self.transpositions:
            raise fault(
                "no-transposition-0",
                "transpositions: must have 0: the held-out pieces are as they are",
            )
        return self

    @property
    def roles(self) -> dict[str, str]:
        """Its tokenizer by role."""
        return {"tokenizer": self.tokenizer}

    def tokens_params(self) -> str:
        """What decides the tokens, as JSON for a rule's params."""
        keys = [key for key in type(self).model_fields if key != "write_events"]
        return self.params(*keys)


def _which(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
    return "SymbolicTokenSet" if "tokenizer" in keys else "TokenSet"


AnyTokenSet = Annotated[
    Annotated[TokenSet, Tag("TokenSet")] | Annotated[SymbolicTokenSet, Tag("SymbolicTokenSet")],
    Discriminator(_which),
]
