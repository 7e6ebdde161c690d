"""Windows of tokens as latents, and a flow from noise to these latents; played as notes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from etude.clips import sampling
from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Stopped, batches, never, silent
from etude.config import GenerateSettings, Sampling
from etude.config.systems.toy_latents import ToyLatents
from etude.devices import choose_device
from etude.midi.render import render_midi
from etude.midi.writing import apart, to_score
from etude.storage import read_json, write_json
from etude.systems.base import ClipSet
from etude.systems.conditions import Conditions, refuse
from etude.systems.stage_module import OF_TOKENS, StagedSystem, StageModule, cross_entropy
from etude.tokenizers.symbolic.factory import load_symbolic_tokenizer as load_tokenizer

VERSION = 1  # raised when results change
GROUP, LATENT, DIM = 8, 8, 64  # tokens to a latent; its numbers; width
STEPS = 8  # of the flow, from noise to a latent


class Vae(StageModule):
    """Groups of tokens to latents and back."""

    stage = "vae"

    def __init__(self, shape, settings=None):
        super().__init__(shape, settings)
        self.words = nn.Embedding(shape["vocabulary"], DIM)
        self.narrow = nn.Linear(GROUP * DIM, LATENT)
        self.wide = nn.Linear(LATENT, GROUP * shape["vocabulary"])

    def encode(self, ids):
        """Long [B, T] -> [B, T / GROUP, LATENT]."""
        return self.narrow(self.words(ids).unflatten(1, (-1, GROUP)).flatten(2))

    def logits(self, latents):
        """[B, n, LATENT] -> [B, n * GROUP, vocabulary]."""
        return self.wide(latents).unflatten(2, (GROUP, -1)).flatten(1, 2)

    def loss(self, batch):
        ids, latents = batch["rows"], self.encode(batch["rows"])
        error, figures = cross_entropy([(self.logits(latents), ids)], 0.0, ignored=-1)
        return error + 1e-3 * latents.square().mean(), figures


class Prior(StageModule):
    """The direction from data to noise, at a time between 0 (data) and 1 (noise)."""

    stage = "prior"

    def __init__(self, shape, settings=None):
        super().__init__(shape, settings)
        self.places = nn.Parameter(torch.randn(shape["positions"], DIM) * 0.02)
        self.into = nn.Linear(2 * LATENT + 2, DIM)
        self.out = nn.Linear(DIM, LATENT)

    def forward(self, noisy, when):
        angle = torch.pi * when[:, None, None].expand(*noisy.shape[:2], 1)
        around = noisy.mean(1, keepdim=True).expand_as(noisy)  # what the whole window is like
        seen = torch.cat([noisy, around, angle.sin(), angle.cos()], dim=2)
        return self.out(F.gelu(self.into(seen) + self.places))

    def loss(self, batch):
        """Squared error of the direction, at a time and with a noise of each item's own."""
        rows, when = batch["rows"], batch["places"].float()
        seeds = [int(place * 2**40) for place in batch["places"].tolist()]
        noise = torch.stack([normal(rows.shape[1:], seed) for seed in seeds]).to(rows.device)
        noisy = torch.lerp(rows, noise, when[:, None, None])
        return F.mse_loss(self(noisy, when), noise - rows), {"count": len(rows)}


def normal(shape, seed):
    """Standard normal numbers from a seed of their own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Rows:
    """Training items: tokens or latents; `places` say at which time of the flow they are seen."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def batch(self, indices, places=None):
        places = np.linspace(0.05, 0.95, len(indices)) if places is None else places
        return {"rows": self.rows[list(indices)], "places": torch.as_tensor(places)}


def tokens(parts, split):
    """The windows of a split, long [items, T]; T is a multiple of GROUP."""
    length, rows = positions(parts) * GROUP, datasets.load_from_disk(str(parts.packed / split))
    ids = torch.full((len(rows), length), parts.info["pad"])
    for row, window in zip(ids, rows["input_ids"], strict=True):
        row[: len(window)] = torch.tensor(window)
    return ids


def positions(parts):
    """Latents of a window."""
    return -(-parts.info["window"] // GROUP)


class Player:
    """Draws latents, decodes them to tokens, and plays these as notes."""

    Settings = GenerateSettings

    def __init__(self, vae, prior, parts):
        self.device = choose_device()
        self.vae, self.prior = vae.to(self.device).eval(), prior.to(self.device).eval()
        self.tokenizer = load_tokenizer(parts.tokenizers["tokenizer"])
        self.corpus, self.rate = parts.corpus, parts.corpus.render.rate

    def prepare(self, settings, conditions):
        refuse(conditions, ToyLatents.conditions, "toy_latents")
        return replace(conditions, seconds=conditions.seconds or settings.seconds)

    def clips(self, settings, seed, draw, conditions, progress, should_stop):
        began = time.perf_counter()
        for part in batches(settings.clips, settings.batch_size):
            if should_stop():
                raise Stopped
            for ids in self.sample([sampling.clip_seed(draw, number) for number in part]):
                notes = self.tokenizer.decode(ids.tolist())
                row = {"seed": seed, "draw": draw, "heard_seconds": f"{conditions.seconds:g}"}
                yield Clip(self.wave(notes, conditions.seconds), row, notes=notes)
            used, share = time.perf_counter() - began, part.stop / settings.clips
            progress(GenerationProgress("prior", 100 * share, used, used * (1 / share - 1)))

    @torch.no_grad()
    def sample(self, seeds):
        """Tokens [clips, T]; each clip has random numbers of its own."""
        shape = (self.prior.shape["positions"], LATENT)
        latents = torch.stack([normal(shape, seed) for seed in seeds]).to(self.device)
        for step in range(STEPS):
            when = torch.full((len(seeds),), 1 - step / STEPS, device=self.device)
            latents = latents - self.prior(latents, when) / STEPS
        logits = self.vae.logits(latents * self.prior.shape["deviation"] + self.prior.shape["mean"])
        special = (self.tokenizer.pad, self.tokenizer.bos, self.tokenizer.eos)
        logits[..., [number for number in special if number is not None]] = -torch.inf
        chance = sampling.ClipStreams(seeds, self.device).uniform(logits.shape[1])
        drawn = sampling.draw(logits.flatten(0, 1), chance.flatten(), Sampling())
        return drawn.view(len(seeds), -1).cpu()

    def wave(self, notes, seconds):
        """Notes as sound, float32 [samples], of exactly this length."""
        wave, length = np.zeros(0, np.float32), round(seconds * self.rate)
        if len(notes):
            wave = render_midi(to_score(apart(notes)), self.corpus.render, self.corpus.rules)
        return np.pad(wave[:length], (0, max(length - len(wave), 0)))


class ToyLatentsSystem(StagedSystem):
    """What is particular to this system."""

    title, items = "Toy: notes by diffusion over latents", "windows"
    card_text = "Plays notes from nothing."
    stages: ClassVar = {"vae": Vae, "prior": Prior}

    def shape(self, experiment, stage, parts):
        if stage == "vae":
            return {"vocabulary": parts.info["vocabulary"]}
        # An untrained prior has no latents to learn their scale from. It stands in the stage's own
        # config.json as well, so that what is exported plays without them.
        scale = {"mean": 0.0, "deviation": 1.0}
        if "vae" in parts.latents:
            scale = read_json(parts.latents["vae"] / "statistics.json")
        return {"positions": positions(parts), **scale}

    def data(self, experiment, stage, parts):
        if stage == "vae":
            return Rows(tokens(parts, "train")), Rows(tokens(parts, "valid"))
        folder, scale = parts.latents["vae"], self.shape(experiment, stage, parts)
        files = [load_file(folder / f"{split}.safetensors") for split in ("train", "valid")]
        train, valid = ((file["latents"] - scale["mean"]) / scale["deviation"] for file in files)
        return Rows(train), Rows(valid)

    def figures(self, stage):
        return OF_TOKENS if stage == "vae" else ()

    @torch.no_grad()
    def encode(self, experiment, stage, parts, folder):
        vae = self.load(parts.models["vae"], parts)
        for split in ("train", "valid", "test"):
            latents = vae.encode(tokens(parts, split))
            save_file({"latents": latents}, folder / f"{split}.safetensors")
            if split == "train":  # what is held out decides nothing
                scale = {"mean": float(latents.mean()), "deviation": float(latents.std())}
                write_json(folder / "statistics.json", scale)

    def encoder(self, experiment, parts):
        vae, tokenizer = (
            self.load(parts.models["vae"], parts),
            load_tokenizer(parts.tokenizers["tokenizer"]),
        )

        @torch.no_grad()
        def encode(notes):
            ids = tokenizer.encode(notes)
            ids += [parts.info["pad"]] * (-len(ids) % GROUP)
            return vae.encode(torch.tensor([ids]))[0].double().numpy()

        return encode

    def open(self, experiment, parts):
        return Player(*(self.load(parts.models[name], parts) for name in ("vae", "prior")), parts)

    def baselines(self, experiment, parts, real, seed):
        settings, first = experiment.generate, experiment.seeds.train[0]
        parts = replace(parts, latents={})
        stages = (self.build(experiment, name, parts, first) for name in ("vae", "prior"))
        player = Player(*stages, parts)
        held_out = [player.tokenizer.decode(ids.tolist()) for ids in tokens(parts, "valid")]
        clips = (
            Clip(player.wave(n, settings.seconds), notes=n) for n in held_out[: settings.clips]
        )
        note = "" if held_out else "no valid split: the corpus has fewer than three tune groups"
        yield "reconstruction", ClipSet(clips, player.rate, note, midi=True)
        asked = player.prepare(settings, Conditions())
        clips = player.clips(settings, first, seed, asked, silent, never)
        yield "untrained", ClipSet(clips, player.rate, midi=True)
