"""What a GPU does: GPT-2-small-size training beside a bare loop, AudioLM's stages, sampling.

make proof-gpu; without a GPU each test says so and is skipped, and the page says "unmeasured".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch
from record import record, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from packed import QUANTIZERS, make_packed

from etude.clips.sampling import ClipStreams
from etude.config import TrainingSettings
from etude.config.systems.audiolm import AudioLm
from etude.config.systems.symbolic_lm import Gpt2, SymbolicSampling, SymbolicTraining
from etude.storage import read_json
from etude.systems.audiolm.building import build_stage
from etude.systems.audiolm.data import PackedData
from etude.systems.audiolm.system import AudioLmSystem
from etude.systems.symbolic_lm.sampling import sample
from etude.systems.symbolic_lm.stage import SymbolicLmStage
from etude.systems.symbolic_lm.system import SymbolicLmSystem
from etude.training.loop import fit
from etude.training.optimiser import build_optimiser
from etude.training.speed import peak_flops, prepare_network
from etude.training.state import TrainingState

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here: unmeasured"),
]
COMMAND = "make proof-gpu"
CONTEXT, VOCABULARY, BATCH, STEPS, WARM = 1024, 50304, 32, 40, 10
SMALL = Gpt2(kind="gpt2", layers=12, heads=12, dim=768, dropout=0.0)
SEED_SIZE = {"dim": 1024, "depth": 6, "heads": 16}  # audiolm-pytorch's defaults in the seed


class Random:
    """Rows of random ids, made once."""

    def __init__(self, rows: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.ids = torch.randint(VOCABULARY, (rows, CONTEXT + 1), generator=generator)

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: list[int], places: object = None) -> dict[str, torch.Tensor]:
        ids = self.ids[indices]
        return {"ids": ids, "lengths": torch.full((len(indices),), CONTEXT + 1)}


def gpt2() -> SymbolicLmStage:
    torch.manual_seed(0)
    shape = {"vocabulary": VOCABULARY, "context": CONTEXT, "pad": None, "bos": None, "eos": None}
    return SymbolicLmStage(shape, SMALL)


def settings_of(compiled: bool) -> SymbolicTraining:
    return SymbolicTraining(
        steps=STEPS, batch_size=BATCH, precision="bf16", compile=compiled, warmup_steps=5,
        learning_rate=3e-4, validate_every=10_000, save_every=10_000,
    )  # fmt: skip


def bare(model: SymbolicLmStage, data: Random, settings: SymbolicTraining) -> float:
    """Seconds of a step of forward, backward, clip, AdamW and nothing else."""
    model.cuda().train()
    prepare_network(model, settings)
    optimiser = build_optimiser(model, settings)
    batch = {name: t.cuda() for name, t in data.batch(list(range(BATCH))).items()}
    began = 0.0
    for step in range(STEPS):
        if step == WARM:
            torch.cuda.synchronize()
            began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            logits = model.network(input_ids=batch["ids"][:, :-1], use_cache=False).logits
        wanted = batch["ids"][:, 1:].flatten()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), wanted).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / (STEPS - WARM)


def steady(timings: list[dict]) -> float:
    """Seconds of a step of the loop, after its first rows."""
    first, last = (next(r for r in timings if r["step"] >= WARM), timings[-1])
    return (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])


def test_gpt2_small(tmp_path: Path) -> None:
    data, rows = Random(BATCH * STEPS), []
    model = gpt2()
    flops = SymbolicLmSystem().flops(model, data.batch(list(range(BATCH))))
    peak = peak_flops(torch.device("cuda"), "bf16")
    del model
    for compiled in (False, True):
        settings = settings_of(compiled)
        state = TrainingState(tmp_path / f"state-{compiled}")
        looped = steady(
            fit(
                gpt2(),
                data,
                None,
                settings,
                0,
                state,
                device="cuda",
                flops=SymbolicLmSystem().flops,
            ).timings
        )
        torch.cuda.empty_cache()
        found = {"bare loop": bare(gpt2(), data, settings), "etude": looped}
        torch.cuda.empty_cache()
        for name, seconds in found.items():
            mfu = f"{flops / seconds / peak:.1%}" if peak else "peak unknown"
            ratio = f"{found['bare loop'] / seconds:.3f}"
            rows.append([name, compiled, f"{BATCH * CONTEXT / seconds:.0f}", mfu, ratio])
    lines = [f"{torch.cuda.get_device_name()}, bf16, {BATCH} rows of {CONTEXT} tokens.", ""]
    columns = ["", "compiled", "tokens/s", "MFU", "beside the bare loop"]
    record("GPU: GPT-2 small", COMMAND, [*lines, *table(columns, rows)])


def seed_sized() -> AudioLm:
    training = TrainingSettings(
        steps=STEPS, batch_size=16, precision="bf16", validate_every=10_000, save_every=10_000
    ).model_dump()
    stage = {"network": SEED_SIZE, "training": training}
    stages = dict.fromkeys(("semantic", "coarse", "fine"), stage)
    return AudioLm(system="audiolm", corpus="c", stages=stages)


def test_audiolm_stages(tmp_path: Path) -> None:
    packed = make_packed(tmp_path / "packed", train=64, semantic=100, frames=75)
    info, wanted, rows = read_json(packed / "info.json"), seed_sized(), []
    data = PackedData(packed / "train", QUANTIZERS)
    for stage in ("semantic", "coarse", "fine"):
        model = build_stage(wanted, stage, info, 0)
        settings = getattr(wanted.stages, stage).training
        state = TrainingState(tmp_path / stage)
        timings = fit(
            model, data, None, settings, 0, state, device="cuda", flops=AudioLmSystem().flops
        ).timings
        last = timings[-1]
        rows.append([stage, f"{last['tokens_per_second']:.0f}", last["mfu"]])
    lines = [f"{torch.cuda.get_device_name()}, bf16, width 1024, depth 6, batch 16, 2 s.", ""]
    columns = ["stage", "predicted tokens/s", "MFU"]
    record("GPU: AudioLM's stages", COMMAND, [*lines, *table(columns, rows)])


def test_sampling_32_clips_of_8_seconds(tmp_path: Path) -> None:
    model = gpt2().cuda().eval()
    sampling = SymbolicSampling(top_k=50, grammar=False)
    torch.cuda.synchronize()
    began = time.perf_counter()
    with torch.inference_mode():
        drawn = sample(model, [[1]] * 32, 400, ClipStreams(list(range(32))), sampling)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    tokens = sum(len(clip.ids) for clip in drawn)
    record(
        "GPU: sampling",
        COMMAND,
        [
            (
                f"{torch.cuda.get_device_name()}: GPT-2 small, 32 clips of 400 tokens (about 8 s "
                f"of music at 50 tokens a second): {seconds:.1f} s, "
                f"{tokens / seconds:.0f} tokens/s."
            )
        ],
    )
