"""AudioLM's player: recordings as primes, tokens to waves, one batch after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from etude.audio.files import read_audio
from etude.clips.clip import Clip
from etude.clips.progress import Stopped, Tell, batches, part_of, stopping
from etude.clips.sampling import clip_seed
from etude.config.systems.audiolm import AudioLm, Generate
from etude.devices import choose_device
from etude.errors import UserError
from etude.systems.audiolm.sampling import AudioLmGenerator, Tokens
from etude.systems.audiolm.stages import AudioLmStage
from etude.systems.base import ShouldStop, Wave
from etude.systems.conditions import Conditions, refuse
from etude.tokenizers.registry import load_tokenizer

VERSION = 1  # raised when the same tokens give other clips

PRIME_SECONDS = 3.0  # the most of a prime that is given to the model
CROSSFADE_SECONDS = 0.05


@dataclass
class Prime:
    """A recording that clips continue.

    Attributes: wave [samples], tokens of its end, context_seconds that these last, name of its
    file (its folder would say on which machine clips were made).
    """

    wave: Wave
    tokens: Tokens
    context_seconds: float
    name: str = ""


@dataclass
class PrimedRequest:
    """What clips are asked to be: seconds of what is generated, and the primes in turn."""

    seconds: float
    primes: Sequence[Prime] = ()


class AudioLmPlayer:
    """The three stages and both tokenizers, ready to make clips."""

    Settings = Generate

    def __init__(self, generator: AudioLmGenerator, semantic: Any, acoustic: Any) -> None:
        self.generator, self.semantic, self.acoustic = generator, semantic, acoustic

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return int(self.acoustic.sample_rate)

    def prepare(self, settings: Generate, conditions: Conditions) -> PrimedRequest:
        """Read and tokenize the recordings that clips continue.

        Raises:
            UserError: the hop leaves a gap, a recording cannot be read or is too short.
        """
        refuse(conditions, AudioLm.conditions, "audiolm")
        window = self.generator.window_seconds
        if settings.hop is not None and settings.hop > window:
            raise UserError(
                f"a hop of {settings.hop:g} s is more than a window, which is {window:g} s long",
                do="give a smaller --hop; half of the window is usual",
            )
        primes = [read_prime(path, self, settings.hop) for path in conditions.files]
        return PrimedRequest(conditions.seconds or settings.seconds, primes)

    def clips(
        self,
        settings: Generate,
        seed: int,
        draw: int,
        conditions: PrimedRequest,
        progress: Tell,
        should_stop: ShouldStop,
    ) -> Iterator[Clip]:
        """Sample and decode clips: clip i continues prime i modulo their number.

        All clips of a prime are made before those of the next, so that batches are full.
        """
        tell = stopping(progress, should_stop)
        turns: Sequence[Prime | None] = conditions.primes or [None]
        for number, prime in enumerate(turns):
            turn = range(number, settings.clips, len(turns))
            share = part_of(tell, range(number, number + 1), len(turns))
            for places in batches(len(turn), settings.batch_size):
                if should_stop():
                    raise Stopped
                batch = turn[places.start : places.stop]
                batch_share = part_of(share, places, len(turn))
                for clip in self._batch(settings, draw, batch, conditions, prime, batch_share):
                    clip.row |= {"seed": seed, "draw": draw}
                    yield clip

    def _batch(
        self,
        settings: Generate,
        draw: int,
        batch: range,
        conditions: PrimedRequest,
        prime: Prime | None,
        tell: Tell,
    ) -> Iterator[Clip]:
        """The clips of these numbers, which share a prime."""
        context = prime.context_seconds if prime else 0.0
        total = conditions.seconds + context
        seeds = [clip_seed(draw, number) for number in batch]
        tokens = self.generator.generate(
            *(total, seeds, settings.sampling, settings.hop),
            *(prime.tokens if prime else None, tell),
            whole_length=settings.whole_length,
        )
        for place, (number, wave) in enumerate(zip(batch, self.play(tokens), strict=True)):
            wave = wave[: round(total * self.rate)]  # the last frame may reach beyond
            if prime is not None:
                wave = join_prime(prime.wave, wave, round(context * self.rate), self.rate)
            row = {
                "tokens": tokens.frames[place] * tokens.acoustic.shape[1],
                "ended": str(tokens.ended[place]).lower(),
                "prime_seconds": f"{len(prime.wave) / self.rate if prime else 0:.3f}",
            }
            condition = {"prime": prime.name if prime else ""}
            yield Clip(wave, row, condition=condition, rate=self.rate, number=number)

    def play(self, tokens: Tokens) -> list[Wave]:
        """Decode each clip as one stream -> float32 [samples] per clip, ended clips shorter."""
        wave = self.acoustic.decode(tokens.acoustic.cpu()).cpu().numpy()
        hop = wave.shape[1] // max(tokens.acoustic.shape[2], 1)
        return [row[: count * hop] for row, count in zip(wave, tokens.frames, strict=True)]


def make_player(
    stages: Mapping[str, AudioLmStage], tokenizers: Mapping[str, Path]
) -> AudioLmPlayer:
    """Put stages and fitted tokenizers (their folders by role) together."""
    device = choose_device()
    generator = AudioLmGenerator(**{name: stage.to(device) for name, stage in stages.items()})  # type: ignore[arg-type]
    codecs = {role: load_tokenizer(folder) for role, folder in tokenizers.items()}
    return AudioLmPlayer(generator, **codecs)


def read_prime(path: Path, player: AudioLmPlayer, hop: float | None = None) -> Prime:
    """Tokenize the last min(3 s, window - hop) of a recording.

    Raises:
        UserError: when it cannot be read or is too short.
    """
    window, rate = player.generator.window_seconds, player.rate
    most = min(PRIME_SECONDS, window - min(hop or window / 2, window))
    wave = read_audio(path, rate, upsample=True)
    # Whole frames of both tokenizers, counted from the end.
    frames = int(min(most, len(wave) / rate) * player.acoustic.frame_rate)
    if frames < 1:
        raise UserError(
            "the priming recording is too short",
            where=str(path),
            why=f"{len(wave) / rate:.2f} s of audio, {most:g} s can be used",
            do="give a longer recording, or a smaller --hop",
        )
    samples = round(frames / player.acoustic.frame_rate * rate)
    acoustic = player.acoustic.encode(torch.from_numpy(wave[-samples:])[None])[:, :, :frames]
    # The semantic tokenizer may read at another rate.
    again = read_audio(path, player.semantic.sample_rate, upsample=True)
    count = round(samples / rate * player.semantic.sample_rate)
    semantic = player.semantic.encode(torch.from_numpy(again[-count:])[None])
    return Prime(wave, Tokens(semantic, acoustic, [frames], [False]), samples / rate, path.name)


def join_prime(prime: Wave, decoded: Wave, context: int, rate: int) -> Wave:
    """The recording itself, then what was generated; its context is not played twice.

    The first `context` samples of `decoded` repeat the end of `prime`; the two meet there in an
    equal-power crossfade that ends where the recording ends.
    """
    fade = min(round(CROSSFADE_SECONDS * rate), context, len(prime))
    if fade == 0:
        return np.concatenate([prime, decoded[context:]])
    angle = np.linspace(0, np.pi / 2, fade, dtype=np.float32)
    meeting = prime[-fade:] * np.cos(angle) + decoded[context - fade : context] * np.sin(angle)
    return np.concatenate([prime[:-fade], meeting, decoded[context:]])
