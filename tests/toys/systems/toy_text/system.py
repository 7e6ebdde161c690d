"""Text to tokens: a recurrent step over frames of the codec, begun by the bytes of the text."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import ClassVar

import datasets
import numpy as np
import torch
from torch import nn

from etude.clips import sampling
from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Stopped, batches, never, silent
from etude.config import Sampling
from etude.config.systems.toy_text import Generate, ToyText
from etude.devices import choose_device
from etude.systems.base import ClipSet, Codec
from etude.systems.conditions import Conditions, refuse
from etude.systems.stage_module import OF_TOKENS, StagedSystem, StageModule, cross_entropy
from etude.tokenizers.registry import load_tokenizer

VERSION = 1  # raised when results change
LETTERS, DIM = 32, 64  # bytes of a text that count; width


def spelled(text):
    """A text as numbers, long [LETTERS]."""
    raw = text.encode()[:LETTERS]
    return torch.tensor([*raw, *[0] * (LETTERS - len(raw))])


class Words(StageModule):
    """The network and its loss."""

    stage = "words"

    def __init__(self, shape, settings=None):
        super().__init__(shape, settings)
        self.size, self.quantizers = shape["codebook"], shape["quantizers"]
        self.letters = nn.Embedding(256, DIM)
        self.codes = nn.ModuleList(nn.Embedding(self.size, DIM) for _ in range(self.quantizers))
        self.step = nn.GRU(DIM, DIM, batch_first=True)
        self.head = nn.Linear(DIM, self.quantizers * self.size)

    def forward(self, text, before, state=None):
        """Bytes [B, LETTERS], frames so far [B, Q, T] -> logits of the next, [B, T + 1, Q, size].

        With the state of the frames before these, logits are [B, T, Q, size].
        """
        steps = sum(table(before[:, q]) for q, table in enumerate(self.codes))
        if state is None:  # the text stands in front of the first frame
            steps = torch.cat([self.letters(text).mean(1, keepdim=True), steps], dim=1)
        hidden, state = self.step(steps, state)
        return self.head(hidden).unflatten(2, (self.quantizers, self.size)), state

    def loss(self, batch):
        logits, _ = self(batch["text"], batch["codes"][:, :, :-1])
        wanted = batch["codes"].transpose(1, 2)
        return cross_entropy([(logits.flatten(1, 2), wanted.flatten(1))], 0.0, ignored=-1)


class Segments:
    """Training items: the codes of a segment, and the name of its piece."""

    def __init__(self, parts, split):
        self.rows = datasets.load_from_disk(str(parts.packed / split))
        self.quantizers = parts.info["quantizers"]

    def __len__(self):
        return len(self.rows)

    def batch(self, indices, places=None):
        rows = self.rows[list(indices)]
        codes = torch.tensor(rows["acoustic"]).view(len(indices), self.quantizers, -1)
        return {"codes": codes, "text": torch.stack([spelled(name) for name in rows["piece"]])}


class Player:
    """Plays texts."""

    Settings = Generate

    def __init__(self, network, codec):
        self.network, self.codec = network.to(choose_device()).eval(), codec
        self.rate = codec.sample_rate

    def prepare(self, settings, conditions):
        refuse(conditions, ToyText.conditions, "toy_text")
        text, seconds = conditions.text or settings.text, conditions.seconds or settings.seconds
        return replace(conditions, text=text, seconds=seconds)

    def clips(self, settings, seed, draw, conditions, progress, should_stop):
        began = time.perf_counter()
        for part in batches(settings.clips, settings.batch_size):
            if should_stop():
                raise Stopped
            for codes in self.sample(conditions, [sampling.clip_seed(draw, n) for n in part]):
                row = {"seed": seed, "draw": draw}
                wave = self.wave(codes, conditions.seconds)
                yield Clip(wave, row, condition={"prompt": conditions.text})
            used, share = time.perf_counter() - began, part.stop / settings.clips
            progress(GenerationProgress("words", 100 * share, used, used * (1 / share - 1)))

    @torch.no_grad()
    def sample(self, conditions, seeds):
        """Codes [clips, Q, T]; each clip has a random stream of its own."""
        device, quantizers = self.network.device, self.network.quantizers
        streams = sampling.ClipStreams(seeds, device)
        text = spelled(conditions.text).to(device).expand(len(seeds), -1)
        codes, state = torch.zeros(len(seeds), quantizers, 0, dtype=torch.long, device=device), None
        for _ in range(math.ceil(conditions.seconds * self.codec.frame_rate)):
            logits, state = self.network(text, codes[:, :, -1:], state)
            chance = streams.uniform(quantizers)
            drawn = [
                sampling.draw(logits[:, -1, q], chance[:, q], Sampling()) for q in range(quantizers)
            ]
            codes = torch.cat([codes, torch.stack(drawn, dim=1)[..., None]], dim=2)
        return codes

    def shuffled(self, real, seconds, seed):
        """Real music as codes, their frames in random order."""
        generator = torch.Generator().manual_seed(seed)
        for wave in real.waves(self.rate):
            codes = self.codec.encode(torch.from_numpy(wave)[None])[0]
            order = torch.randperm(codes.shape[1], generator=generator)
            yield Clip(self.wave(codes[:, order], seconds))

    def wave(self, codes, seconds):
        """Codes [Q, T] as sound, float32 [samples], of exactly this length."""
        wave, length = self.codec.decode(codes[None].cpu())[0].cpu(), round(seconds * self.rate)
        return np.pad(wave.numpy()[:length], (0, max(length - len(wave), 0)))


class ToyTextSystem(StagedSystem):
    """What is particular to this system."""

    title, items = "Toy: sound from text", "segments"
    card_text = "Plays what a text asks for."
    stages: ClassVar = {"words": Words}

    def shape(self, experiment, stage, parts):
        return {"codebook": parts.info["codebook_size"], "quantizers": parts.info["quantizers"]}

    def data(self, experiment, stage, parts):
        return Segments(parts, "train"), Segments(parts, "valid")

    def figures(self, stage):
        return OF_TOKENS

    def open(self, experiment, parts):
        network = self.load(parts.models["words"], parts)
        return Player(network, load_tokenizer(parts.tokenizers["acoustic"]))

    def codec(self, parts):
        codec = load_tokenizer(parts.tokenizers["acoustic"])

        def through(wave):
            return codec.decode(codec.encode(torch.from_numpy(wave)[None]))[0].cpu().numpy()

        return Codec(codec.sample_rate, through)

    def baselines(self, experiment, parts, real, seed):
        settings, first = experiment.generate, experiment.seeds.train[0]
        network = self.build(experiment, "words", parts, first)
        player = Player(network, load_tokenizer(parts.tokenizers["acoustic"]))
        yield "shuffled", ClipSet(player.shuffled(real, settings.seconds, seed), player.rate)
        asked = player.prepare(settings, Conditions())
        yield (
            "untrained",
            ClipSet(player.clips(settings, first, seed, asked, silent, never), player.rate),
        )
