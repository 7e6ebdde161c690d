"""Corpora: where music comes from, what is taken, how it is divided and rendered."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from etude.config.base import (
    BRING,
    OPTIONS,
    OWN,
    Distinct,
    ModuleClass,
    Options,
    Section,
    UserPath,
    chosen_by,
    fault,
)
from etude.config.captions import Captions

QUARTER = 480  # ticks of a beat that is annotated
Program = Annotated[int, Field(ge=0, le=127)]  # General MIDI, counted from 0
Mixture = Annotated[list[Program], Field(min_length=2, max_length=4), Distinct]


class Split(Section):
    """How pieces are divided. Whole tune groups go to one side, so that nothing crosses."""

    mode: Literal["group", "none"] = Field(
        "group",
        description="`group`: by tune group, or by the `split` column of metadata.csv if it has"
        " one; `none`: every piece is for training (to overfit on purpose)",
    )
    train: float = Field(0.7, gt=0, le=1, description="share of the pieces for training")
    valid: float = Field(0.1, ge=0, lt=1, description="share for validation")
    test: float = Field(0.2, ge=0, lt=1, description="share kept for the metrics' reference")
    seed: int = Field(0, ge=0, description="order in which groups are distributed")
    similarity: float = Field(
        0.15,
        gt=0,
        le=1,
        description="pieces that share at least this much of their melodies (8-grams of "
        "intervals of the top voice) are one tune group, unless the column `tune` "
        "of metadata.csv says otherwise",
    )

    @model_validator(mode="after")
    def _sums_to_one(self) -> Split:
        total = self.train + self.valid + self.test
        if abs(total - 1) > 1e-6:
            raise fault("shares-not-one", f": train + valid + test must be 1, they are {total:g}")
        return self


class Filter(Section):
    """Which MIDI files and tracks are taken. The default rejects only what is corrupt or empty."""

    drums: Literal["drop", "keep", "reject"] = Field(
        "drop",
        description="drum tracks: `drop` leaves them out, `reject` refuses pieces that have any",
    )
    programs: list[Program] | None = Field(
        None,
        description="General MIDI programs (0-127) that a piece may use; a piece with others is"
        " rejected",
    )
    map_programs_to: int | None = Field(
        None, ge=0, le=127, description="play every pitched track with this program"
    )
    min_velocity: int = Field(
        1, ge=1, le=127, description="a note below this velocity rejects the piece"
    )
    max_minutes: float = Field(30.0, gt=0, description="longer pieces are rejected")

    @property
    def computing_limit_s(self) -> float:
        """No file may take longer to read or render than the longest piece takes to play."""
        return 60 * max(10.0, self.max_minutes)


# we-sharp's pp_midi: pianos only, no drums, every velocity >= 10 (facts in docs/decisions.md).
WE_SHARP_FILTER = {"drums": "reject", "programs": [0, 1, 2, 3, 4, 5], "min_velocity": 10}


class Render(Section):
    """How MIDI becomes audio (FluidSynth)."""

    rate: int = Field(24000, ge=8000, le=96000, description="samples per second")
    soundfont: UserPath | None = Field(
        None, description="a .sf2 or .sf3 file; none: TimGM6mb from the pretty_midi package"
    )
    gain: float = Field(0.2, gt=0, le=2, description="FluidSynth's gain; above 0.4 chords clip")
    loudness: float | None = Field(
        -20.0, le=0, description="RMS of each piece in dBFS (peak kept below 0); none: as rendered"
    )
    tail_seconds: float = Field(
        2.0, ge=0, le=30, description="longest release after the last note; silence is trimmed"
    )


class Annotations(Section):
    """Files beside each MIDI that say more of it, as POP909 has them; used when music is fetched.

    Beats make music that was played freely follow bar lines; keys become key signatures. Your own
    folder is copied for this, as an archive is unpacked.
    """

    beats: str | None = Field(
        None,
        min_length=1,
        description="beside each MIDI, from its folder, `{stem}` for its name: a line a beat, with "
        "its seconds and 1 in the last column where a bar begins (POP909: beat_midi.txt). Notes "
        "move so that beats are quarter notes; tempos keep the time. A piece without beats is "
        "rejected",
    )
    positions: int | None = Field(
        4,
        ge=1,
        le=48,
        description="positions per beat that notes are moved to; none: they stay where they are",
    )
    keys: str | None = Field(
        None,
        min_length=1,
        description="as `beats`: lines `begin end Gb:maj` (POP909: key_audio.txt)",
    )
    leave_out: list[str] = Field(
        [],
        description="files that are not part of the corpus, for example `*/versions/*` or `*.txt`",
    )

    @model_validator(mode="after")
    def _fits(self) -> Annotations:
        if self.positions is not None and QUARTER % self.positions:
            raise fault(
                "positions-do-not-divide", f"positions: {self.positions} does not divide {QUARTER}"
            )
        return self


class CorpusBase(Section):
    """What every corpus has, wherever it comes from."""

    shards: int = Field(2, ge=1, le=2000, description="jobs that share this corpus in each step")
    limit: int | None = Field(
        None, ge=1, description="use at most this many files (the same ones each time)"
    )
    filter: Filter | Literal["we_sharp"] = Field(
        Filter(), description="which files are used; `we_sharp` is we-sharp's own filter"
    )
    metadata: str = Field(
        "metadata.csv",
        pattern=r"^[^/\\]+\.csv$",
        exclude_if=lambda name: name == "metadata.csv",  # an unused key rereads nothing
        description="the table about the pieces, in the top folder of the corpus; for MAESTRO "
        "`maestro-v3.0.0.csv`, whose column `split` is the official one",
    )
    annotations: Annotations | None = Field(
        None,
        exclude_if=lambda named: named is None,
        description="beats and keys from files beside each MIDI",
    )
    duplicates: Literal["drop", "keep"] = Field(
        "drop", description="keep one or all of several pieces with the same notes or samples"
    )
    max_rejected: float = Field(
        0.9,
        ge=0,
        le=1,
        description="the run stops if a larger share of the music files is rejected",
    )
    split: Split = Field(Split(), description="train, valid, test")
    render: Render = Field(Render(), description="MIDI to audio")
    captions: Captions = Field(
        Captions(), description="pieces in words, for systems that take text"
    )
    # Where these tables lie decides no result; what is in them is read where it is needed.
    ownership: UserPath | None = Field(
        None,
        exclude=True,
        description="a table of who owns each file: a CSV with file, contributor, licence, share, "
        "consent_date, may_train, may_publish. Files without consent stop the run; see "
        "docs/ownership.md",
    )
    withdrawn: UserPath | None = Field(
        None,
        exclude=True,
        description="a table of files whose owners withdrew their consent: a CSV with file, "
        "date, reason; none: withdrawn.csv beside `ownership`, where there is one",
    )
    bring: str | None = Field(None, exclude=True, description=BRING)

    @property
    def rules(self) -> Filter:
        """The filter with the named option sets resolved."""
        return Filter(**WE_SHARP_FILTER) if self.filter == "we_sharp" else self.filter


class Music21Corpus(CorpusBase):
    """Real scores of the installed music21 package, exported at run time, never committed."""

    source: Literal["music21"] = "music21"
    scores: Literal["chorales"] = Field("chorales", description="named list of scores")
    program: int | None = Field(0, ge=0, le=127, description="instrument of all parts; none: as is")
    # Keys that are not used fetch nothing again.
    programs: Annotated[list[Program | Mixture], Distinct] = Field(
        [],
        exclude_if=lambda programs: not programs,
        description="in place of `program`: each score is played by some of these, chosen by "
        "its name; a list of programs is a mixture, assigned to the parts in turn. "
        "Each program has a folder of its own",
    )
    renditions: int = Field(
        1,
        ge=1,
        exclude_if=lambda number: number == 1,
        description="how many of `programs` play each score; `limit` counts renditions",
    )
    vary: bool = Field(
        False,
        exclude_if=lambda wanted: not wanted,
        description="renditions of `programs` differ in tempo (0.65, 1, 1.4) and octave (-1, 0, 1)",
    )

    @model_validator(mode="after")
    def _renditions_are_programs(self) -> Music21Corpus:
        if self.renditions > max(len(self.programs), 1):
            raise fault(
                "too-many-renditions",
                f"renditions: {self.renditions} of {len(self.programs)} programs",
            )
        if self.vary and not self.programs:
            raise fault(
                "nothing-to-vary", "vary: only renditions of `programs` are varied; name some"
            )
        return self


class FolderCorpus(CorpusBase):
    """The user's own folder of MIDI and audio, of any depth, read where it lies."""

    source: Literal["folder"]
    path: UserPath = Field(
        description="the folder with your music, of any depth; metadata.csv in it is carried "
        "through"
    )


class ArchiveCorpus(CorpusBase):
    """A .zip or .tar.gz, local or downloaded once and pinned by its sha256."""

    source: Literal["archive"]
    url: str = Field(description="https address or local path of a .zip, .tar.gz or .tgz")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="expected hash; none: computed and pinned at the first download",
    )


class PluginCorpus(CorpusBase):
    """A class of your own with `fetch(folder)`, which fills a folder with MIDI or audio."""

    source: ModuleClass = Field(description="`module:Class`; see CONTRIBUTING.md")
    options: Options = Field({}, description=OPTIONS)


Corpus = Annotated[
    Annotated[Music21Corpus, Tag("music21")]
    | Annotated[FolderCorpus, Tag("folder")]
    | Annotated[ArchiveCorpus, Tag("archive")]
    | Annotated[PluginCorpus, Tag(OWN)],
    chosen_by("source"),
]
