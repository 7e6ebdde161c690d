"""The player of `phrase_ldm`: latents of whole pieces, their phrases, notes and sound.

What is made of the user's MIDI:
    one file, `keep`      these bars stay as they are, the others are made again
    one file alone        it stays as a whole, and bars are made after it
    two files             a line between their latents, noised and made music of again
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Tell, batches, part_of, stopping
from etude.clips.sampling import clip_seed
from etude.config import CorpusBase
from etude.config.systems.phrase_ldm import PhraseGenerate, PhraseLdm
from etude.devices import choose_device
from etude.errors import UserError
from etude.midi.continuation import after
from etude.midi.notes import NoteTable
from etude.midi.render import play_notes
from etude.systems.base import ShouldStop
from etude.systems.conditions import Conditions, refuse
from etude.systems.phrase_ldm import sections
from etude.systems.phrase_ldm.latents import LONGER, posteriors
from etude.systems.phrase_ldm.ldm import Ldm, PieceRequest, between
from etude.systems.phrase_ldm.user_piece import UserPiece, read_user_piece
from etude.systems.phrase_ldm.vae import Vae
from etude.tokenizers.symbolic.base import transposed
from etude.tokenizers.symbolic.remi_z import RemiZTokenizer
from etude.tokenizers.symbolic.remi_z_vocabulary import Bar

VERSION = 1  # raised when the same latents give other clips

MOST_BARS = 1000  # of a piece
TONICS = {name: number for number, name in zip((0, 2, 4, 5, 7, 9, 11), "CDEFGAB", strict=True)}
MODES = {"major": 0, "minor": 1}
RELATIVE_MINOR = 9  # the pitch class that pieces in minor are moved to


@dataclass
class PhraseRequest:
    """What all clips are asked to be.

    Attributes: bars, meter (its place among the stage's), form (sections; empty: none), seconds
    (at which clips are cut; None: nowhere), shift (semitones that pieces are moved by at the end),
    own (the user's piece, or the first of two), source and known (as in `PieceRequest`), given
    (bars that stay, by number), new (the first bar that is played; those before are the file's).
    """

    bars: int
    meter: int = 0
    form: str = ""
    seconds: float | None = None
    shift: int = 0
    own: UserPiece | None = None
    source: Tensor | None = None
    known: NDArray[np.bool_] | None = None
    given: dict[int, Bar] = field(default_factory=dict)
    new: int = 0
    prompt: str = ""


class PhraseLdmPlayer:
    """Autoencoder, diffusion, tokenizer, and how notes are played, ready to make clips.

    Raises:
        UserError: the two do not fit together.
    """

    Settings = PhraseGenerate

    def __init__(self, vae: Vae, ldm: Ldm, tokenizer: RemiZTokenizer, corpus: CorpusBase) -> None:
        if vae.settings.latent != ldm.shape["latent"]:
            raise UserError(
                "the autoencoder does not fit the diffusion",
                code="another-autoencoder",
                why=f"its latents have {vae.settings.latent} numbers, and those that the diffusion "
                f"has learned {ldm.shape['latent']}",
                do="train the stage ldm on the latents of this autoencoder",
            )
        device = choose_device()
        self.vae, self.ldm = vae.to(device).eval(), ldm.to(device).eval()
        self.tokenizer, self.corpus = tokenizer, corpus

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return self.corpus.render.rate

    # --------------------------------------------------------------------------- what is asked

    def prepare(self, settings: PhraseGenerate, conditions: Conditions) -> PhraseRequest:
        """Read what clips are asked to be.

        Raises:
            UserError: a MIDI file cannot be used, or what is asked does not fit together.
        """
        refuse(conditions, PhraseLdm.conditions, "phrase_ldm")
        own = [read_user_piece(path, self.tokenizer, self.corpus) for path in conditions.files]
        if len(own) > 2:
            raise UserError(
                f"{len(own)} MIDI files: one is continued, two are joined",
                code="too-many-files",
                do="name one or two",
            )
        if settings.keep and len(own) != 1:
            raise UserError(
                f"bars {settings.keep} cannot be kept",
                code="cannot-be-kept",
                where="generate.keep",
                why=f"they are of one MIDI file, and there are {len(own)}",
                do="name one with `midi`, or leave `keep` out",
            )
        meter = self._meter(settings.meter, own)
        bars = settings.length
        if conditions.bars is not None:
            bars = math.ceil(conditions.bars)
        elif conditions.seconds is not None:
            tempo = own[0].tempo if own else self._tempo(settings)
            bars = math.ceil(conditions.seconds / self._bar_seconds(meter, tempo))
        asked = PhraseRequest(bars, meter, settings.sections, conditions.seconds)
        if own:
            asked.own, asked.prompt = own[0], " and ".join(piece.name for piece in own)
            asked.shift = -own[0].moved
            if len(own) == 2:
                self._lie_between(asked, own, settings)
            elif settings.keep:
                self._keep(asked, own[0], settings)
            else:
                self._go_on(asked, own[0])
        elif settings.key:
            asked.shift = self._shift(settings.key)
        if asked.form:
            sections.parse_sections(asked.form, "generate.sections", asked.bars)
        if asked.bars > MOST_BARS:
            raise UserError(
                f"{asked.bars} bars are asked for",
                code="length-out-of-range",
                do=f"ask for {MOST_BARS} at most",
            )
        return asked

    def _meter(self, wanted: str, own: Sequence[UserPiece]) -> int:
        """The place of a time signature among those that the diffusion has learned.

        Raises:
            UserError: it has not, or two pieces have different ones.
        """
        known: list[str] = self.ldm.shape["signatures"]
        meters = dict.fromkeys(piece.meter for piece in own) or {wanted or known[0]: None}
        if len(meters) == 1 and (meter := next(iter(meters))) in known:
            return known.index(meter)
        where = " and ".join(piece.name for piece in own)
        raise UserError(
            f"no music can be made in {' and '.join(meters)}",
            code="meter-not-learned",
            where=where or "generate.meter",
            why=f"the diffusion has learned pieces in {', '.join(known)}",
            do="choose other files" if own else "choose one of these, or train it on others",
        )

    def _bar_seconds(self, meter: int, tempo: float) -> float:
        numerator, denominator = self.signature(meter)
        return 4 * numerator / denominator * 60 / tempo

    def signature(self, meter: int) -> tuple[int, int]:
        """Of a place among the diffusion's meters."""
        numerator, denominator = self.ldm.shape["signatures"][meter].split("/")
        return int(numerator), int(denominator)

    def _tempo(self, settings: PhraseGenerate) -> float:
        return settings.tempo or self.tokenizer.settings.tempo

    def _shift(self, key: str) -> int:
        """Semitones from the key of all training pieces to this one, -6 to 5.

        Raises:
            UserError: they are in keys of their own.
        """
        if not self.tokenizer.settings.normalise_key:
            raise UserError(
                f"the key {key} is not available",
                code="key-not-learned",
                where="generate.key",
                why="the pieces it learned from have keys of their own, so there is none to move "
                "from",
                do="leave `key` out, or set `normalise_key: true` for the tokenizer",
            )
        name, _, mode = key.partition(" ")
        tonic = TONICS[name[0]] + {"#": 1, "b": -1}.get(name[1:], 0)
        up = (tonic - (RELATIVE_MINOR if mode == "minor" else 0)) % 12
        return up - 12 if up > 5 else up

    # ----------------------------------------------------------------------- the user's music

    def _keep(self, asked: PhraseRequest, own: UserPiece, settings: PhraseGenerate) -> None:
        """Some bars of a piece stay; there are as many as it has, or as are asked for."""
        if settings.bars is None and not settings.sections:
            asked.bars = len(own.bars)
        for first, last in settings.kept:
            if last > min(len(own.bars), asked.bars):
                raise UserError(
                    f"bars {first}-{last} cannot be kept",
                    code="cannot-be-kept",
                    where=own.name,
                    why=f"it has {len(own.bars)} bars, and the piece that is made {asked.bars}",
                    do="correct `keep`; the first bar is 1",
                )
            asked.given |= {number: own.bars[number] for number in range(first - 1, last)}
        self._give(asked, asked.given)

    def _go_on(self, asked: PhraseRequest, own: UserPiece) -> None:
        """Bars after a piece, of which as much is known as the network tells apart."""
        room = max(self.ldm.settings.longest - asked.bars, 1)
        before = own.bars[-room:]
        asked.new, asked.bars = len(before), asked.bars + len(before)
        asked.given = dict(enumerate(before))
        asked.form = ""  # of a piece of which only the end is asked for
        self._give(asked, asked.given)

    def _lie_between(
        self, asked: PhraseRequest, own: Sequence[UserPiece], settings: PhraseGenerate
    ) -> None:
        first, second = (self._latents(piece.bars) for piece in own)
        asked.source = between(first, second, settings.between)
        asked.bars = len(asked.source)

    def _give(self, asked: PhraseRequest, given: dict[int, Bar]) -> None:
        numbers = sorted(given)
        asked.known = np.zeros(asked.bars, bool)
        asked.known[numbers] = True
        inner = (self.ldm.shape["slots"], self.ldm.shape["latent"])
        asked.source = torch.zeros(asked.bars, *inner)
        asked.source[numbers] = self._latents([given[number] for number in numbers])

    def _latents(self, bars: Sequence[Bar]) -> Tensor:
        """The means of bars' latents, [bars, slots, z]."""
        mean, _ = posteriors(self.vae, [phrase for bar in bars for phrase in bar.phrases])
        return mean.unflatten(0, (len(bars), -1))

    # ---------------------------------------------------------------------------------- clips

    def clips(
        self,
        settings: PhraseGenerate,
        seed: int,
        draw: int,
        conditions: PhraseRequest,
        progress: Tell,
        should_stop: ShouldStop,
    ) -> Iterator[Clip]:
        """Make pieces batch by batch; each has random numbers of its own."""
        began = time.perf_counter()
        for part in batches(settings.clips, settings.batch_size):
            tell = part_of(stopping(progress, should_stop), part, settings.clips)

            def report(share: float, tell: Tell = tell) -> None:
                used = time.perf_counter() - began
                rest = used * (1 / share - 1)
                tell(GenerationProgress("ldm", 90 * share, used, rest))

            seeds = [clip_seed(draw, number) for number in part]
            wanted = [self._wanted(settings, conditions, own_seed) for own_seed in seeds]
            strength = settings.strength if conditions.known is None else 1.0
            repeats = settings.repeats == "same"
            latents = self.ldm.make(
                wanted, settings.denoising, strength=strength, repeats=repeats, report=report
            )
            forms = [piece.form for piece in wanted]
            for bars, form in zip(self.bars_of(latents, conditions), forms, strict=True):
                yield self._clip(bars, form, settings, conditions, {"seed": seed, "draw": draw})

    def _wanted(self, settings: PhraseGenerate, asked: PhraseRequest, seed: int) -> PieceRequest:
        """One piece; its form is one of the training pieces' where none is asked for."""
        chance = float(torch.rand((), generator=torch.Generator().manual_seed(seed)))
        form = asked.form
        if not form and asked.own is None:
            form = sections.choose_form(self.ldm.shape["forms"], asked.bars, chance) or ""
        return PieceRequest(
            seed,
            asked.bars,
            mode=MODES.get(settings.mode_condition),
            meter=asked.meter,
            form=form,
            source=asked.source,
            known=asked.known,
        )

    def bars_of(
        self, latents: Sequence[Tensor], asked: PhraseRequest | None = None
    ) -> list[list[Bar]]:
        """Latents [bars, slots, z] of pieces as bars; what is given stands as it was."""
        asked = asked or PhraseRequest(0)
        limit = LONGER * self.ldm.shape["longest"]
        phrases = self.vae.decode(torch.cat([piece.flatten(0, 1) for piece in latents]), limit)
        signature, slots = self.signature(asked.meter), self.ldm.shape["slots"]
        positions = self.tokenizer.words.positions(signature)
        programs = asked.own.bars[-1].instruments if asked.own else self.ldm.shape["programs"]
        found, place = [], 0
        for piece in latents:
            bars = []
            for number in range(len(piece)):
                own = asked.given.get(number)
                new = Bar(signature, positions, phrases[place : place + slots], list(programs))
                bars.append(own or new)
                place += slots
            found.append(bars)
        return found

    def notes_of(self, bars: Sequence[Bar], shift: int = 0) -> NoteTable:
        """Bars as notes, moved by semitones."""
        return transposed(self.tokenizer.decode(self.tokenizer.join(bars)), shift)

    def _clip(
        self,
        bars: list[Bar],
        form: str,
        settings: PhraseGenerate,
        asked: PhraseRequest,
        row: dict[str, Any],
    ) -> Clip:
        """A piece as a clip: cut where a length in time is asked, else whole."""
        if settings.programs:
            bars = [replace(bar, instruments=list(settings.programs)) for bar in bars]
        own, begin = asked.own, max(asked.given, default=-1) + 1
        tempo = own.tempo if own and settings.tempo is None else self._tempo(settings)
        table = self.notes_of(bars[asked.new :], asked.shift)
        table = replace(table, tempos=np.array([[0, round(60e6 / tempo)]], np.int64))
        prime_s = self._begin_s(bars[:begin], tempo)
        if own is not None and asked.new:
            table, prime_s = own.piece.joined(own.behind(table)), own.piece.seam_s
        end_s = None if asked.seconds is None else prime_s + asked.seconds
        if end_s is not None:
            table = after(table, 0.0, end_s)
        midi, parts = None, {}
        if own is not None and asked.new:
            midi = own.piece.file(table)
            parts = {"prompts": own.piece.table, "generated": own.piece.behind(table)}
        wave = play_notes(table, self.corpus, end_s or prime_s + settings.seconds, midi)
        if end_s is not None:
            wave = wave[: round(end_s * self.rate)]
        row |= {
            "prime_seconds": f"{prime_s:.3f}",
            "heard_seconds": f"{settings.seconds:g}",
            "bars": len(bars) - asked.new,
        }
        condition = {"prompt": asked.prompt, "sections": form}
        return Clip(wave, row, table, condition, parts, rate=self.rate, midi=midi)

    def _begin_s(self, before: Sequence[Bar], tempo: float) -> float:
        """The second at which the music after some bars begins."""
        quarters = sum(4 * numerator / denominator for numerator, denominator in (
            bar.signature for bar in before
        ))  # fmt: skip
        if before:
            quarters -= before[0].start / self.tokenizer.settings.positions_per_beat
        return quarters * 60 / tempo
