"""Windows of tokens as latents, and a flow from noise to these latents; played as notes."""

from __future__ import annotations

import time
from dataclasses import replace

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from etude.clips import sampling
from etude.clips.clip import Clip
from etude.clips.progress import GenerationProgress, Stopped, batches
from etude.config import GenerateSettings, Sampling
from etude.config.systems.toy_latents import ToyLatents
from etude.devices import choose_device
from etude.midi.render import render_midi
from etude.midi.writing import apart, to_score
from etude.storage import read_json, write_json
from etude.systems.base import ClipSet, Conditions, Figure, SystemBase, refuse
from etude.systems.network import StageNetwork
from etude.tokenizers.symbolic.making import load as load_tokenizer

VERSION = 1  # raised when results change
GROUP, LATENT, DIM = 8, 8, 64  # tokens to a latent; its numbers; width
STEPS = 8  # of the flow, from noise to a latent


class Vae(StageNetwork):
    """Groups of tokens to latents and back."""

    def __init__(self, stage, shape):
        super().__init__(stage, shape)
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
        """Cross-entropy of the tokens, and how many of them come back."""
        ids, latents = batch["rows"], self.encode(batch["rows"])
        logits = self.logits(latents)
        figures = {"accuracy": float((logits.argmax(-1) == ids).float().mean())}
        error = F.cross_entropy(logits.flatten(0, 1), ids.flatten())
        return error + 1e-3 * latents.square().mean(), {**figures, "count": ids.numel()}


class Prior(StageNetwork):
    """The direction from data to noise, at a time between 0 (data) and 1 (noise)."""

    def __init__(self, stage, shape):
        super().__init__(stage, shape)
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


class ToyLatentsSystem(SystemBase):
    """What is particular to this system."""

    title, items = "Toy: notes by diffusion over latents", "windows"
    card_text = "Plays notes from nothing."

    def shape(self, experiment, stage, parts):
        if stage == "vae":
            return {"vocabulary": parts.info["vocabulary"]}
        # An untrained prior has no latents to learn their scale from. It stands in the stage's own
        # config.json as well, so that what is exported plays without them.
        scale = {"mean": 0.0, "deviation": 1.0}
        if "vae" in parts.latents:
            scale = read_json(parts.latents["vae"] / "statistics.json")
        return {"positions": positions(parts), **scale}

    def build(self, experiment, stage, parts, seed):
        torch.manual_seed(seed)
        return {"vae": Vae, "prior": Prior}[stage](stage, self.shape(experiment, stage, parts))

    def data(self, experiment, stage, parts):
        if stage == "vae":
            return Rows(tokens(parts, "train")), Rows(tokens(parts, "valid"))
        folder, scale = parts.latents["vae"], self.shape(experiment, stage, parts)
        files = [load_file(folder / f"{split}.safetensors") for split in ("train", "valid")]
        train, valid = ((file["latents"] - scale["mean"]) / scale["deviation"] for file in files)
        return Rows(train), Rows(valid)

    def figures(self, stage):
        return (Figure("accuracy", "share", "higher"),) if stage == "vae" else ()

    def load(self, folder, parts):
        return {"vae": Vae, "prior": Prior}[read_json(folder / "config.json")["stage"]].restore(
            folder
        )

    @torch.no_grad()
    def encode(self, experiment, stage, parts, folder):
        vae = self.load(parts.models["vae"], parts)
        for split in ("train", "valid", "test"):
            latents = vae.encode(tokens(parts, split))
            save_file({"latents": latents}, folder / f"{split}.safetensors")
            if split == "train":  # what is held out decides nothing
                scale = {"mean": float(latents.mean()), "deviation": float(latents.std())}
                write_json(folder / "statistics.json", scale)

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
        clips = player.clips(settings, first, seed, asked, lambda event: None, lambda: False)
        yield "untrained", ClipSet(clips, player.rate, midi=True)
