"""What AudioLM's clips are compared with, besides the sets that every system has.

reconstruction  the first real clips through the codec: the best that a model of its tokens can do
shuffled        those clips' tokens in random order: right sounds, no music
untrained       the networks before training, sampled alike
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from etude.clips.clip import Clip
from etude.clips.progress import never, silent
from etude.config.systems.audiolm import AudioLm
from etude.systems.audiolm.building import STAGES, build_stage
from etude.systems.audiolm.player import AudioLmPlayer, make_player
from etude.systems.base import ClipSet, Codec, Parts, RealMusic, Wave
from etude.systems.conditions import Conditions
from etude.tokenizers.registry import load_tokenizer

VERSION = 1  # raised when the clip sets change


def baselines(
    experiment: AudioLm, parts: Parts, real: RealMusic, seed: int
) -> Iterator[tuple[str, ClipSet]]:
    """Each set with its name."""
    player = untrained_player(experiment, parts)
    yield "reconstruction", ClipSet(_reconstructed(player, real), player.rate)
    if real.spans:
        yield "shuffled", ClipSet(_shuffled(player, real, seed), player.rate)
    else:
        yield "shuffled", ClipSet([], player.rate, "no real clips")
    yield "untrained", ClipSet(_sampled(player, experiment, seed), player.rate)


def codec(parts: Parts) -> Codec:
    """The acoustic tokenizer, there and back."""
    acoustic = load_tokenizer(parts.tokenizers["acoustic"])

    def through(wave: Wave) -> Wave:
        codes = acoustic.encode(torch.from_numpy(wave)[None])
        decoded: Wave = acoustic.decode(codes)[0].cpu().numpy()
        return decoded

    return Codec(acoustic.sample_rate, through)


def untrained_player(experiment: AudioLm, parts: Parts) -> AudioLmPlayer:
    """The experiment's networks as they are before training, with its tokenizers."""
    settings = experiment.model_copy(update={"end_of_sequence": "none"})
    first, info = experiment.seeds.train[0], parts.info
    stages = {name: build_stage(settings, name, info, first).eval() for name in STAGES}
    return make_player(stages, parts.tokenizers)


def _encoded(player: AudioLmPlayer, real: RealMusic) -> Iterator[torch.Tensor]:
    """The codes of the real clips, int64 [1, quantizers, frames] each."""
    for wave in real.waves(player.rate):
        yield player.acoustic.encode(torch.from_numpy(wave)[None])


def _decoded(player: AudioLmPlayer, codes: torch.Tensor) -> Wave:
    wave: Wave = player.acoustic.decode(codes)[0].cpu().numpy()
    return wave


def _reconstructed(player: AudioLmPlayer, real: RealMusic) -> Iterator[Clip]:
    for span, codes in zip(real.spans, _encoded(player, real), strict=True):
        yield Clip(_decoded(player, codes), span.row)


def _shuffled(player: AudioLmPlayer, real: RealMusic, seed: int) -> Iterator[Clip]:
    codes = torch.cat(list(_encoded(player, real)), dim=2)
    generator = torch.Generator().manual_seed(seed)
    # Each quantizer on its own: the codes keep their frequencies and lose all else.
    mixed = torch.stack(
        [q[:, torch.randperm(q.shape[1], generator=generator)] for q in codes.unbind(1)], 1
    )
    count = len(real.spans)
    for part in mixed.split(mixed.shape[2] // count, dim=2)[:count]:
        yield Clip(_decoded(player, part))


def _sampled(player: AudioLmPlayer, experiment: AudioLm, seed: int) -> Iterator[Clip]:
    prepared = player.prepare(experiment.generate, Conditions())
    for clip in player.clips(experiment.generate, seed, seed, prepared, silent, never):
        yield Clip(clip.wave)
