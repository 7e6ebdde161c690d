"""Clips as files: tokens to waves, primes in front, clips.csv beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from tqdm import tqdm

from etude.audio.files import read_audio, write_wav
from etude.clips.sampling import clip_seed
from etude.config.systems.audiolm import Generate
from etude.errors import UserError
from etude.storage import atomic_directory, hash_file, hash_folder, write_csv, write_json
from etude.systems.audiolm.building import STAGES, load_stage
from etude.systems.audiolm.sampling import AudioLmGenerator, GenerationProgress, Tokens, batches
from etude.systems.audiolm.stages import AudioLmStage
from etude.tokenizers.fitted import weights_of
from etude.tokenizers.registry import load as load_tokenizer
from etude.workflow.given_weights import MODEL

VERSION = 1  # raised when the same tokens give other files

log = logging.getLogger(__name__)
COLUMNS = ["clip", "file", "seed", "draw", "seconds", "tokens", "ended", "prime_seconds"]
CONDITIONS = ["clip", "prime", "prompt", "sections", "length"]
PRIME_SECONDS = 3.0  # the most that a prime can say
CROSSFADE_SECONDS = 0.05


@dataclass
class Instrument:
    """All that is needed to make clips: the three stages and both tokenizers."""

    generator: AudioLmGenerator
    semantic: Any
    acoustic: Any

    @property
    def rate(self) -> int:
        """Samples per second of what it plays."""
        return int(self.acoustic.sample_rate)

    def play(self, tokens: Tokens) -> list[np.ndarray]:
        """Decode each clip as one stream -> float32 [samples] per clip, ended clips shorter."""
        wave = self.acoustic.decode(tokens.acoustic.cpu()).cpu().numpy()
        hop = wave.shape[1] // max(tokens.acoustic.shape[2], 1)
        return [row[: count * hop] for row, count in zip(wave, tokens.frames, strict=True)]


def instrument(stages: Mapping[str, AudioLmStage], semantic: Path, acoustic: Path) -> Instrument:
    """Put stages and the tokenizers of two folders together."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = AudioLmGenerator(**{name: stage.to(device) for name, stage in stages.items()})  # type: ignore[arg-type]
    return Instrument(generator, load_tokenizer(semantic), load_tokenizer(acoustic))


def load_instrument(models: dict[str, Path], semantic: Path, acoustic: Path) -> Instrument:
    """Load trained stages ({stage: folder}) and fitted tokenizers from their folders."""
    return instrument({name: load_stage(models[name]) for name in STAGES}, semantic, acoustic)


@dataclass
class Prime:
    """A recording that clips go on from: its wave [samples] and the tokens of its end."""

    wave: np.ndarray
    tokens: Tokens
    context_seconds: float


def read_prime(path: Path, instrument: Instrument, hop: float | None = None) -> Prime:
    """Tokenize the last min(3 s, window - hop) of a recording.

    Raises:
        UserError: when it cannot be read or is too short to say anything.
    """
    window = instrument.generator.window_seconds
    most = min(PRIME_SECONDS, window - min(hop or window / 2, window))
    wave = read_audio(path, instrument.rate, upsample=True)
    # Whole frames of both tokenizers, counted from the end.
    frames = int(min(most, len(wave) / instrument.rate) * instrument.acoustic.frame_rate)
    if frames < 1:
        raise UserError(
            "the prime says nothing",
            where=str(path),
            why=f"{len(wave) / instrument.rate:.2f} s of audio, {most:g} s can be used",
            do="give a longer recording, or a smaller --hop",
        )
    samples = round(frames / instrument.acoustic.frame_rate * instrument.rate)
    acoustic = instrument.acoustic.encode(torch.from_numpy(wave[-samples:])[None])[:, :, :frames]
    heard = read_audio(path, instrument.semantic.sample_rate, upsample=True)
    count = round(samples / instrument.rate * instrument.semantic.sample_rate)
    semantic = instrument.semantic.encode(torch.from_numpy(heard[-count:])[None])
    tokens = Tokens(semantic, acoustic, [frames], [False])
    return Prime(wave, tokens, samples / instrument.rate)


def join_prime(prime: np.ndarray, decoded: np.ndarray, context: int, rate: int) -> np.ndarray:
    """The recording itself, then what was generated; its context is not played twice.

    The first `context` samples of `decoded` say the end of `prime` again; the two meet there in
    an equal-power crossfade that ends where the recording ends.
    """
    fade = min(round(CROSSFADE_SECONDS * rate), context, len(prime))
    if fade == 0:
        return np.concatenate([prime, decoded[context:]])
    angle = np.linspace(0, np.pi / 2, fade, dtype=np.float32)
    meeting = prime[-fade:] * np.cos(angle) + decoded[context - fade : context] * np.sin(angle)
    return np.concatenate([prime[:-fade], meeting, decoded[context:]])


def fade_out(wave: np.ndarray, rate: int, seconds: float) -> np.ndarray:
    """A raised-cosine fade over the last `seconds`."""
    count = min(round(seconds * rate), len(wave))
    faded = wave.copy()
    if count:
        faded[-count:] *= 0.5 * (1 + np.cos(np.linspace(0, np.pi, count, dtype=np.float32)))
    return faded


@dataclass
class Clip:
    """One generated item: wave float32 [samples] and its row of clips.csv."""

    wave: np.ndarray
    row: dict[str, Any]
    prime: str = ""  # the name of the recording that it goes on from


def generate_clips(
    instrument: Instrument,
    settings: Generate,
    seed: int,
    draw: int,
    prime: Prime | None = None,
    progress: Callable[[GenerationProgress], None] = lambda event: None,
    turn: range | None = None,
) -> Iterable[Clip]:
    """Sample and decode clips, batch by batch.

    `settings.seconds` is the length of what is generated; a prime is played before it.

    Args:
        turn: the numbers of the clips to make; none: all of them.
    """
    turn = range(settings.clips) if turn is None else turn
    context = prime.context_seconds if prime else 0.0
    total = settings.seconds + context
    for places in batches(len(turn), settings.batch_size):
        part = turn[places.start : places.stop]
        seeds = [clip_seed(draw, clip) for clip in part]
        share = _part_of(progress, places, len(turn))
        tokens = instrument.generator.generate(
            *(total, seeds, settings.sampling, settings.hop),
            *(prime.tokens if prime else None, share),
            whole_length=settings.whole_length,
        )
        for place, (index, wave) in enumerate(zip(part, instrument.play(tokens), strict=True)):
            ended = tokens.ended[place]
            count = tokens.frames[place] * tokens.acoustic.shape[1]
            wave = wave[: round(total * instrument.rate)]  # the last frame may reach beyond
            if prime is not None:
                wave = join_prime(
                    prime.wave, wave, round(context * instrument.rate), instrument.rate
                )
            row = {
                "clip": f"clip-{index:04d}",
                "seed": seed,
                "draw": draw,
                "seconds": f"{len(wave) / instrument.rate:.3f}",
                "tokens": count,
                "ended": str(ended).lower(),
                "prime_seconds": f"{len(prime.wave) / instrument.rate if prime else 0:.3f}",
            }
            yield Clip(wave, row)


def _part_of(
    progress: Callable[[GenerationProgress], None], part: range, total: int
) -> Callable[[GenerationProgress], None]:
    """A batch's progress as the whole's."""

    def tell(event: GenerationProgress) -> None:
        done = (part.start + len(part) * event.percent / 100) / total
        rest = event.eta_seconds * (1 + (total - part.stop) / len(part)) if part else 0.0
        progress(GenerationProgress(event.stage, 100 * done, event.seconds, rest))

    return tell


def made_with(models: Mapping[str, Path], semantic: Path, acoustic: Path) -> dict[str, Any]:
    """Hashes of all that made clips: stages, fitted tokenizers, weights of others in these."""
    tokenizers = {"semantic": semantic, "acoustic": acoustic}
    return {
        "stages": {name: hash_file(models[name] / MODEL) for name in models},
        "tokenizers": {role: hash_folder(folder) for role, folder in tokenizers.items()},
        "pretrained": weights_of(tokenizers),
    }


def write_clips(
    clips: Iterable[Clip], folder: Path, rate: int, about: Mapping[str, Any] | None = None
) -> int:
    """Write a folder of clips: WAVs, clips.csv, conditions.csv; returns how many there are.

    Args:
        about: goes into weights.json, which says what made them.
    """
    rows, conditions = [], []
    with atomic_directory(folder) as temporary:
        for clip in clips:
            row = clip.row | {"file": f"{clip.row['clip']}.wav"}
            write_wav(temporary / row["file"], clip.wave, rate)
            rows.append(row)
            conditions.append({"clip": row["clip"], "prime": clip.prime, "length": row["seconds"]})
        for name, columns, table in (
            ("clips", COLUMNS, rows),
            ("conditions", CONDITIONS, conditions),
        ):  # several primes take turns, and each one's clips are made at once
            table.sort(key=lambda row: row["clip"])
            write_csv(temporary / f"{name}.csv", columns, table)
        if about is not None:
            write_json(temporary / "weights.json", about)
    log.info("%d clips", len(rows))
    return len(rows)


def make_clips(
    models: dict[str, Path],
    semantic: Path,
    acoustic: Path,
    settings: Generate,
    seed: int,
    draw: int,
    folder: Path,
) -> None:
    """The clips of an experiment: load, sample, decode, write."""
    instrument = load_instrument(models, semantic, acoustic)
    with ProgressBar("clips") as bar:
        clips = take_turns(instrument, settings, seed, draw, bar)
        write_clips(clips, folder, instrument.rate, made_with(models, semantic, acoustic))


def take_turns(
    instrument: Instrument,
    settings: Generate,
    seed: int,
    draw: int,
    progress: Callable[[GenerationProgress], None] = lambda event: None,
) -> Iterator[Clip]:
    """The clips of all primes: clip i goes on from prime i modulo their number."""
    paths = settings.primes
    if not paths:
        yield from generate_clips(instrument, settings, seed, draw, None, progress)
    for number, path in enumerate(paths):
        prime = read_prime(path, instrument, settings.hop)
        turn = range(number, settings.clips, len(paths))
        share = _part_of(progress, range(number, number + 1), len(paths))
        for clip in generate_clips(instrument, settings, seed, draw, prime, share, turn):
            # Only the name: a folder of results must not say on which machine it was made.
            yield replace(clip, prime=path.name)


class ProgressBar:
    """Generation's progress on the terminal."""

    def __init__(self, name: str) -> None:
        form = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]"
        self.bar = tqdm(total=100.0, desc=name, bar_format=form, mininterval=0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def __call__(self, event: GenerationProgress) -> None:
        """Show an event."""
        self.bar.set_postfix_str(event.stage, refresh=False)
        self.bar.update(max(event.percent - self.bar.n, 0))
