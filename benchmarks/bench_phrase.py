"""Phrases from latents with and without a cache, whole pieces, and half precision.

pytest benchmarks/bench_phrase.py -m proof
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random

import pytest
import torch
from record import record, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import phrases

from etude.config.diffusion import BarTransformer, Denoising
from etude.config.phrases import Kl, Rotary
from etude.config.systems.phrase_ldm import PhraseTraining
from etude.systems.phrase_ldm.fidelity import matches
from etude.systems.phrase_ldm.latents import posteriors
from etude.systems.phrase_ldm.ldm import Ldm, PieceRequest
from etude.systems.phrase_ldm.phrases import Phrases, shape_of
from etude.systems.phrase_ldm.vae import Vae
from etude.training.optimiser import build_optimiser, set_rates

pytestmark = pytest.mark.proof
COMMAND = "pytest benchmarks/bench_phrase.py -m proof"
PIECES, BARS, SLOTS, STEPS = 32, 16, 4, 250
HEAD = f"""\
{PIECES} pieces of {BARS} bars of {SLOTS} phrases ({PIECES * BARS * SLOTS} phrases), the networks of
the default, one thread. The autoencoder learned made-up phrases for {STEPS} steps, so that it ends
them; F1 is of the notes that it writes in bf16 against those in float32, from the same latents.
"""


def trained(rows: list[list[int]]) -> Vae:
    """An autoencoder of the default's size that writes phrases."""
    tokenizer = phrases.tokenizer_of()
    torch.manual_seed(0)
    vae = Vae(shape_of(tokenizer), Rotary(kind="rotary"))
    vae.know_numbers(tokenizer.numbers())
    vae.kl = Kl(weight=0.05)
    training = PhraseTraining(
        steps=STEPS, optimizer="muon", learning_rate=3e-3, muon_learning_rate=4e-3
    )
    optimiser, data = build_optimiser(vae, training), Phrases(rows, tokenizer.pad)
    for step in range(STEPS):
        set_rates(optimiser, step, training)
        optimiser.zero_grad()
        indices = torch.randperm(len(data))[:32].tolist()
        vae.train().loss(data.batch(indices))[0].backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
    return vae.eval()


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_the_cache_and_whole_pieces():
    torch.set_num_threads(1)
    tokenizer, random = phrases.tokenizer_of(), Random(0)
    rows = [phrases.phrase(tokenizer, random, n % 2) for n in range(PIECES * BARS * SLOTS)]
    vae = trained(rows)
    latents, limit = posteriors(vae, rows)[0], 2 * max(map(len, rows))
    written = vae.decode(latents, limit)
    cached, plain = [], []
    for _ in range(3):  # in turn, the best of three
        cached.append(seconds(lambda: vae.decode(latents, limit)))
        plain.append(seconds(lambda: vae.decode(latents, limit, cached=False)))
    ratio = min(plain) / min(cached)
    shape = {
        "slots": SLOTS, "latent": 16, "keys": 12, "modes": 2, "meters": 1,
        "mean": latents.mean(0).tolist(), "deviation": latents.std(0).tolist(), "percentile": 3.3,
    }  # fmt: skip
    ldm = Ldm(shape, BarTransformer()).eval()
    wanted = [PieceRequest(seed, BARS) for seed in range(PIECES)]
    made: list[torch.Tensor] = []
    diffusion = seconds(lambda: made.extend(ldm.make(wanted, Denoising())))
    with torch.autocast("cpu", torch.bfloat16):
        half = vae.decode(latents, limit)
    notes = tokenizer.phrase_notes
    f1 = matches((notes(a), notes(b)) for a, b in zip(written, half, strict=True)).f1
    lines = table(
        ["what", "seconds", "ratio"],
        [
            ["phrases, with a cache", f"{min(cached):.2f}", "1"],
            ["phrases, without", f"{min(plain):.2f}", f"{ratio:.1f}"],
            ["latents, 20 steps", f"{diffusion:.2f}", f"{diffusion / min(cached):.1f}"],
            ["pieces in all", f"{diffusion + min(cached):.2f}", ""],
        ],
    )
    lines += ["", f"Note F1 in bf16: {f1:.3f}."]
    record("Phrases: cache, whole pieces, half precision", COMMAND, [HEAD, *lines])
    assert len(written) == len(rows)
    assert ratio >= 5, "the cache is not worth it"
    assert diffusion + min(cached) < 10
    assert f1 >= 0.97
