"""Sampling with a cache and in batches; the training loop beside a bare one."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import torch
from packed import make_packed
from record import record, table

from etude import config
from etude.clips.sampling import ClipStreams
from etude.config import Sampling
from etude.config.systems.audiolm import AudioLm, Network
from etude.storage import read_json
from etude.systems.audiolm.building import STAGES
from etude.systems.audiolm.codebook_transformer import KeyValueCache
from etude.systems.audiolm.data import PackedData
from etude.systems.audiolm.sampling import continue_sequence
from etude.systems.audiolm.stages import AudioLmStage
from etude.training.data import training_batch
from etude.training.loop import fit
from etude.training.optimiser import build_optimiser
from etude.training.state import TrainingState

pytestmark = pytest.mark.proof
COMMON = {"end_of_sequence": "piece_end", "deduplicate_semantic": False, "window_seconds": 2.0}
SHAPES = {
    "embedded": {
        "semantic_vocabulary": 128, "codebook_size": 256, "quantizers": 4, "coarse_quantizers": 2,
        "semantic_frames": 100, "acoustic_frames": 75, "semantic_rate": 50.0,
        "acoustic_rate": 37.5, "fine_frames": 25,
    },
    "HuBERT and EnCodec": {
        "semantic_vocabulary": 500, "codebook_size": 1024, "quantizers": 8, "coarse_quantizers": 3,
        "semantic_frames": 99, "acoustic_frames": 150, "semantic_rate": 50.0,
        "acoustic_rate": 75.0, "fine_frames": 25,
    },
}  # fmt: skip
COARSE = AudioLm(system="audiolm", corpus="c").stages.coarse


def coarse(shape: str, network: Network = COARSE.network) -> AudioLmStage:
    torch.manual_seed(0)
    return STAGES["coarse"](SHAPES[shape] | COMMON, network).eval()


def sample(stage: AudioLmStage, batch: int, cached: bool = True) -> float:
    """Seconds to sample a whole window of codes for a batch of clips."""
    prefix = torch.zeros(batch, stage.shape["semantic_frames"] + 1, dtype=torch.long)
    count = stage.shape["acoustic_frames"] * stage.shape["coarse_quantizers"]
    streams = ClipStreams(list(range(batch)), stage.device)
    start = time.perf_counter()
    continue_sequence(stage, prefix, count, streams, Sampling(), cached=cached)
    return time.perf_counter() - start


def largest_difference(stage: AudioLmStage, batch: int) -> float:
    """Between logits with the cache, token by token, and without it, over the full length."""
    length = len(stage.full_layout)
    tokens = torch.randint(stage.shape["codebook_size"], (batch, length))
    tokens = tokens % torch.tensor(stage.codebook_sizes())[stage.codebooks]
    cache, parts = KeyValueCache(stage.transformer, batch, length), []
    last = max(stage.targets)
    with torch.inference_mode():
        whole = stage.transformer.logits(stage.transformer(tokens, stage.full_layout), last)
        for i in range(length):
            hidden = stage.transformer(tokens[:, i : i + 1], stage.full_layout[i : i + 1], cache)
            parts.append(stage.transformer.logits(hidden, last))
    return float((torch.cat(parts, 1) - whole).abs().max())


def test_cached_and_batched_sampling():
    rows = []
    for shape in SHAPES:
        stage = coarse(shape)
        batch = 16
        sample(stage, 2)
        with_cache = min(sample(stage, batch) for _ in range(2))
        without = sample(stage, batch, cached=False)
        many, single = min(sample(stage, 32) for _ in range(2)), min(sample(stage, 1) for _ in "ab")
        rows.append(
            [
                shape, len(stage.full_layout), f"{with_cache:.2f}", f"{without:.1f}",
                f"{without / with_cache:.1f}", f"{largest_difference(stage, 2):.1e}",
                f"{many:.2f}", f"{32 * single:.2f}", f"{32 * single / many:.1f}",
            ]
        )  # fmt: skip
    columns = [
        "shape", "positions", "cached, s", "uncached, s", "ratio", "largest logit difference",
        "32 clips at once, s", "32 single ones, s", "ratio",
    ]  # fmt: skip
    lines = [
        (
            "The coarse stage of the default network, one window of codes; cached and uncached for "
            "16 clips at once. A single clip is timed once and counted 32 times."
        ),
        "",
        *table(columns, rows),
    ]
    record("Sampling", "pytest benchmarks/bench_models.py -m proof", lines)
    assert all(float(row[5]) < 1e-4 for row in rows)


# --------------------------------------------------------------------------------- training


def bare(stage: AudioLmStage, batches: list[dict], settings: config.TrainingSettings) -> float:
    """Seconds of forward, backward and step, with nothing around them."""
    optimiser = build_optimiser(stage, settings)
    stage.train()
    start = time.perf_counter()
    for batch in batches:
        optimiser.zero_grad(set_to_none=True)
        loss, _ = stage.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), settings.clip_norm)
        optimiser.step()
    return time.perf_counter() - start


def test_the_loop_beside_a_bare_one(tmp_path: Path):
    packed = make_packed(tmp_path / "packed", train=512, semantic=100, frames=75)
    info = read_json(packed / "info.json")
    shape = SHAPES["embedded"] | COMMON
    shape |= {"semantic_vocabulary": info["semantic_vocabulary"]}
    shape |= {"codebook_size": info["codebook_size"]}
    steps, data = 30, PackedData(packed / "train", info["quantizers"])
    settings = COARSE.training.model_copy(
        update={"steps": steps, "warmup_steps": 2, "validate_every": 1000, "save_every": 1000}
    )

    def fresh() -> AudioLmStage:
        torch.manual_seed(0)
        return STAGES["coarse"](shape, COARSE.network)

    start = time.perf_counter()
    batches = [training_batch(data, settings.batch_size, step, 0) for step in range(steps)]
    waited = time.perf_counter() - start
    bare(fresh(), batches[:3], settings)
    plain = looped = math.inf
    for attempt in range(3):  # in turn, so that a slow moment meets both
        plain = min(plain, bare(fresh(), batches, settings))
        start = time.perf_counter()
        fit(fresh(), data, None, settings, 0, TrainingState(tmp_path / f"state-{attempt}"))
        looped = min(looped, time.perf_counter() - start)
    tokens = steps * settings.batch_size * len([c for c in fresh().targets if c >= 0])
    rows = [
        ["bare forward, backward, clip, step", f"{plain:.2f}", f"{tokens / plain:.0f}", "1"],
        ["etude.training.loop", f"{looped:.2f}", f"{tokens / looped:.0f}", f"{plain / looped:.3f}"],
    ]
    lines = [
        (
            f"{steps} steps of the coarse stage, batch {settings.batch_size}, the best of three. "
            "The loop reads its data, counts, logs and saves its final state as well. "
            f"Making all batches took {waited:.2f} s, {waited / looped:.1%} of the loop's time."
        ),
        "",
        *table(["", "seconds", "tokens/s", "ratio"], rows),
    ]
    record("The training loop", "pytest benchmarks/bench_models.py -m proof", lines)
    assert plain / looped > 0.5
