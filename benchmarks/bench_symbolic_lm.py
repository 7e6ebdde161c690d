"""Symbolic language models: sampling beside transformers' own, the cache, the loop, its data.

pytest benchmarks/bench_symbolic_lm.py -m proof
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from record import record, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from symbols import make_symbolic, symbolic_experiment

from etude.clips.sampling import ClipStreams
from etude.config.systems.symbolic_lm import SymbolicNetwork, SymbolicSampling, SymbolicTraining
from etude.storage import read_json
from etude.systems.symbolic_lm.data import PackedRows, TokenWindows
from etude.systems.symbolic_lm.sampling import sample
from etude.systems.symbolic_lm.stage import SymbolicLmStage, build_stage
from etude.training.data import training_batch
from etude.training.loop import fit
from etude.training.optimiser import build_optimiser
from etude.training.state import TrainingState

pytestmark = pytest.mark.proof
COMMAND = "pytest benchmarks/bench_symbolic_lm.py -m proof"
# Smaller figures, to try the script itself: ETUDE_BENCH_SMALL=1.
SMALL = bool(os.environ.get("ETUDE_BENCH_SMALL"))
TOKENS = 128 if SMALL else 512
LONG = 256 if SMALL else 1024
STEPS = 5 if SMALL else 30
NETWORKS = {
    "gpt2": {"kind": "gpt2", "layers": 6, "heads": 8, "dim": 256, "dropout": 0.0},
    "llama": {"kind": "llama", "layers": 6, "heads": 8, "dim": 256},
}
SHAPE = {"vocabulary": 512, "context": 1024, "pad": 0, "bos": 1, "eos": None}


def stage_of(network: dict) -> SymbolicLmStage:
    torch.manual_seed(0)
    return SymbolicLmStage(SHAPE, TypeAdapter(SymbolicNetwork).validate_python(network)).eval()


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_sampling_beside_transformers_generate():
    """The same network, batch, temperature and top-k; in turn, the best of three."""
    rows, ratios = [], []
    for name, batch in [(n, b) for n in NETWORKS for b in (1, 16)]:
        stage = stage_of(NETWORKS[name])
        prompts, sampling = [[1, 5, 6, 7]] * batch, SymbolicSampling(top_k=50, grammar=False)
        given = torch.tensor(prompts)

        def ours(stage=stage, prompts=prompts, sampling=sampling) -> None:
            streams = ClipStreams(list(range(len(prompts))))
            drawn = sample(stage, prompts, TOKENS, streams, sampling, measure=False)
            assert all(len(clip.ids) == TOKENS for clip in drawn)

        def theirs(stage=stage, given=given) -> None:
            stage.network.generate(
                given, attention_mask=torch.ones_like(given), max_new_tokens=TOKENS,
                do_sample=True, top_k=50, pad_token_id=0, eos_token_id=None,
            )  # fmt: skip

        with torch.inference_mode():
            own, other = math.inf, math.inf
            for _ in range(3):
                own, other = min(own, seconds(ours)), min(other, seconds(theirs))
        rate = [f"{batch * TOKENS / s:.0f}" for s in (own, other)]
        ratios.append(other / own)
        rows.append([name, batch, *rate, f"{ratios[-1]:.2f}"])
    columns = ["network", "batch", "tokens/s", "transformers' generate", "ratio"]
    lines = [f"{TOKENS} tokens behind 4, top-k 50, six layers of width 256; the best of three.", ""]
    if not SMALL:
        record("Symbolic sampling", COMMAND, [*lines, *table(columns, rows)])
    print(*rows, sep="\n")
    # One at a time there is less to gain, and clips' own random streams cost what they cost.
    assert min(r for r, row in zip(ratios, rows, strict=True) if row[1] > 1) >= 1


def test_music_transformer_with_and_without_cache():
    network = {"kind": "music_transformer", "layers": 6, "heads": 8, "dim": 256, "dropout": 0.0}
    stage, sampling = stage_of(network), SymbolicSampling(grammar=False)

    def run(cached: bool) -> list[int]:
        drawn = sample(
            stage, [[1]], LONG - 1, ClipStreams([0]), sampling, measure=False, cached=cached
        )
        return drawn[0].ids

    found: dict[bool, list[int]] = {}
    fast, slow = (seconds(lambda c=c: found.update({c: run(c)})) for c in (True, False))
    lines = [
        (
            f"{LONG} tokens, one clip, six layers of width 256: {fast:.1f} s with the cache, "
            f"{slow:.1f} s without, {slow / fast:.1f} times. The tokens are the same."
        )
    ]
    if not SMALL:
        record("Music Transformer's cache", COMMAND, lines)
    print(*lines)
    assert found[True] == found[False]
    assert slow / fast >= (1 if SMALL else 10)


def test_the_loop_beside_a_bare_one(tmp_path: Path):
    """Packed rows: throughput beside forward, backward and step alone; the share of data."""
    packed = make_symbolic(tmp_path / "packed", train=2000)
    wanted = symbolic_experiment(network={"layers": 4, "heads": 4, "dim": 256})
    info = read_json(packed / "info.json")
    settings = SymbolicTraining(
        steps=STEPS, batch_size=16, warmup_steps=2, validate_every=1000, save_every=1000
    )
    data = PackedRows(info["window"], packed / "train", 0)

    def fresh() -> SymbolicLmStage:
        return build_stage(wanted, "lm", info, 0)

    batches: list[dict] = []
    waited = seconds(
        lambda: batches.extend(training_batch(data, 16, step, 0) for step in range(STEPS))
    )
    plain = looped = math.inf
    for attempt in range(3):
        plain = min(plain, seconds(lambda: _bare(fresh(), batches, settings)))
        state = TrainingState(tmp_path / f"state-{attempt}")
        looped = min(looped, seconds(lambda s=state: fit(fresh(), data, None, settings, 0, s)))
    tokens = sum(int((batch["lengths"] - 1).sum()) for batch in batches)
    windows = TokenWindows(packed / "train", 0)
    filled = windows.batch(list(range(64)))
    share = float(filled["lengths"].sum()) / filled["ids"].numel()
    rows = [
        ["bare forward, backward, clip, step", f"{plain:.2f}", f"{tokens / plain:.0f}", "1"],
        ["etude.training.loop", f"{looped:.2f}", f"{tokens / looped:.0f}", f"{plain / looped:.3f}"],
    ]
    lines = [
        (
            f"{STEPS} steps of GPT-2 (four layers of width 256), 16 packed rows, best of three. "
            f"Making all batches took {waited / looped:.1%} of the loop's time; rows hold no gaps "
            f"(windows one a row: {1 - share:.0%} of the places are filled up)."
        ),
        "",
        *table(["", "seconds", "tokens/s", "ratio"], rows),
    ]
    if not SMALL:
        record("The loop on symbols", COMMAND, lines)
    print(*lines, sep="\n")
    assert SMALL or plain / looped >= 0.95
    assert SMALL or waited / looped < 0.05


def _bare(stage: SymbolicLmStage, batches: list[dict], settings: SymbolicTraining) -> None:
    optimiser = build_optimiser(stage, settings)
    stage.train()
    for batch in batches:
        optimiser.zero_grad(set_to_none=True)
        loss, _ = stage.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), settings.clip_norm)
        optimiser.step()
