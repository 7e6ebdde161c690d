"""Listening to words while they are learned: clips of each concept beside its held-out pieces."""

from __future__ import annotations

import torch

from etude.clips.sampling import ClipStreams, clip_seed
from etude.config import Sampling
from etude.systems.base import Audition, Parts, Wave
from etude.systems.musicgen.data import Codes, read_captions
from etude.systems.musicgen.player import open_codec
from etude.systems.musicgen.sampling import sample
from etude.systems.textual_inversion.concepts import Concepts

CLIPS = 10  # of each concept, as in the original
GUIDANCE = 1.5
DISTANCE = "distance"  # the mean over concepts


class InversionListener:
    """`listener(stage) -> Audition`: the same draws, and the same held-out segments, every time."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.codec = parts, open_codec(parts.tokenizers)
        self.captions = read_captions(parts.captions)
        self.real: dict[str, list[Wave]] = {}

    @torch.inference_mode()
    def __call__(self, stage: Concepts) -> Audition:
        """Clips of as many frames as were learned, one concept after the other."""
        stage.eval()
        audition = Audition({}, [], int(self.codec.sample_rate))
        for name in stage.names:
            if name not in self.real:
                self.real[name] = self._held_out(name)
            made = self._made(stage, name)
            audition.waves += made[:2]
            audition.pairs[f"{DISTANCE} {name}"] = made, self.real[name]
        return audition

    def _made(self, stage: Concepts, name: str) -> list[Wave]:
        assert stage.experiment is not None
        text = stage.experiment.templates.test[0].replace("{}", f"<{name}>")
        rows, mask = stage.base.rows([text] * CLIPS, stage.words())
        streams = ClipStreams([clip_seed(0, clip) for clip in range(CLIPS)], stage.device)
        frames = int(stage.base.shape["frames"])
        given = (stage.base, rows, mask, frames, streams, Sampling(top_k=250))
        codes = sample(*given, guidance=GUIDANCE)
        return list(self.codec.decode(codes.cpu()).cpu().numpy())

    def _held_out(self, name: str) -> list[Wave]:
        assert self.parts.packed is not None
        for split in ("valid", "train"):  # the latter where nothing is held out
            quantizers = self.parts.info["quantizers"]
            found = Codes(self.parts.packed / split, quantizers, self.captions, of=[name])
            if len(found) > 1:
                break
        step = max(1, len(found) // 64)
        codes = found.codes(range(0, len(found), step))
        return list(self.codec.decode(codes).cpu().numpy())
