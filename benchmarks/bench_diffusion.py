"""The diffusion transformer and the solvers beside those of diffusers; half precision.

pytest benchmarks/bench_diffusion.py -m proof
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import pytest
import torch
from record import record, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from etude.config.diffusion import BarTransformer, Denoising
from etude.diffusion.schedules import Schedule
from etude.diffusion.solvers import Sampler
from etude.systems.phrase_ldm.dit import time_features
from etude.systems.phrase_ldm.ldm import Ldm, PieceRequest

pytestmark = pytest.mark.proof
COMMAND = "pytest benchmarks/bench_diffusion.py -m proof"
SHAPE = {
    "slots": 4, "latent": 16, "keys": 12, "modes": 2, "meters": 1,
    "mean": 0.0, "deviation": 1.0, "percentile": 3.3,
}  # fmt: skip
BARS, PIECES, REPEATS = 16, 16, 5
STEP = f"""\
Forward and backward over {PIECES} pieces of {BARS} bars of 4 phrases of 16 numbers; width 128, 4
layers, 4 heads, one thread; beside diffusers' StableAudioDiTModel of the same width, depth and
feed-forward, which has cross-attention besides.
"""
SOLVERS = """\
50 steps over 32 pieces of 16 bars; squaredcos_cap_v2, v, trailing. The network is a
multiplication, so that the solver alone counts.
"""
SAMPLING = """\
DPM-Solver++(2M), 20 steps, 32 pieces of 16 bars, one thread; in training steps over as many pieces.
"""
HALF = """\
What rounding makes of sampled data (50 steps of DDIM, squaredcos_cap_v2, the best network for data
that are normal), and of what the network is told of the time. Relative errors against float32.
"""


def in_turn(*works) -> list[list[float]]:
    """Seconds of each, in turn, after a first time that does not count."""
    times = []
    for _ in range(REPEATS + 1):
        row = []
        for work in works:
            start = time.perf_counter()
            work()
            row.append(time.perf_counter() - start)
        times.append(row)
    return [list(column) for column in zip(*times[1:], strict=True)]


def ours(token: str) -> Ldm:
    torch.manual_seed(0)
    settings = BarTransformer(dim=128, layers=4, heads=4, feed_forward=4, token=token)
    return Ldm(SHAPE, settings)


def theirs(channels: int, length: int):
    """StableAudioDiTModel of the same width, depth and feed-forward."""
    from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel

    torch.manual_seed(0)
    return StableAudioDiTModel(
        sample_size=length, in_channels=channels, num_layers=4, attention_head_dim=32,
        num_attention_heads=4, num_key_value_attention_heads=4, out_channels=channels,
        cross_attention_dim=32, time_proj_dim=64, global_states_input_dim=32,
        cross_attention_input_dim=32,
    )  # fmt: skip


def test_a_training_step_beside_stable_audios():
    rows = []
    for token, channels, length in (("bar", 64, BARS), ("phrase", 16, 4 * BARS)):
        own, other = ours(token), theirs(channels, length)
        about = own.about([PieceRequest(seed, BARS) for seed in range(PIECES)])
        x = torch.randn(PIECES, BARS, 4, 16)
        flat = x.flatten(1).unflatten(1, (length, channels)).transpose(1, 2).contiguous()
        when, cross, wide = (
            torch.rand(PIECES),
            torch.randn(PIECES, 1, 32),
            torch.randn(PIECES, 1, 32),
        )

        def step(own=own, x=x, when=when, about=about) -> None:
            own.network(x, when, about).square().mean().backward()

        def their_step(other=other, flat=flat, when=when, cross=cross, wide=wide) -> None:
            other(flat, when, cross, wide).sample.square().mean().backward()

        mine, peer = in_turn(step, their_step)
        ratio = statistics.median(b / a for a, b in zip(mine, peer, strict=True))
        sizes = [sum(p.numel() for p in m.parameters()) for m in (own.network, other)]
        rows.append([
            token, *(f"{size / 1e6:.2f}" for size in sizes), f"{1000 * min(mine):.0f}",
            f"{1000 * min(peer):.0f}", f"{ratio:.2f}",
        ])  # fmt: skip
    columns = ["position", "parameters (M)", "theirs (M)", "ms", "theirs (ms)", "theirs / ours"]
    record("Diffusion: a training step", COMMAND, [STEP, *table(columns, rows)])


def test_solvers_beside_diffusers():
    """The solver alone: a network that costs nothing."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

    keys = {
        "num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction", "timestep_spacing": "trailing",
    }  # fmt: skip
    others = {
        "dpm": DPMSolverMultistepScheduler(**keys, final_sigmas_type="zero"),
        "ddim": DDIMScheduler(**keys, clip_sample=False),
    }
    noise = torch.randn(32, 16, 4, 16, generator=torch.Generator().manual_seed(0))
    rows = []
    for name, scheduler in others.items():
        sampler = Sampler(Schedule(), "v", name, 50)

        def own(sampler=sampler) -> torch.Tensor:
            return sampler.sample(lambda x, *_: 0.5 * x, noise)

        def other(scheduler=scheduler) -> torch.Tensor:
            scheduler.set_timesteps(50)
            x = noise
            for step in scheduler.timesteps:
                x = scheduler.step(0.5 * x, step, x).prev_sample
            return x

        far = float((own() - other()).abs().max() / other().abs().max())
        mine, peer = in_turn(own, other)
        ratio = statistics.median(b / a for a, b in zip(mine, peer, strict=True))
        rows.append([
            name, f"{1000 * min(mine):.1f}", f"{1000 * min(peer):.1f}", f"{ratio:.2f}",
            f"{far:.0e}",
        ])  # fmt: skip
    columns = ["solver", "ms", "diffusers (ms)", "theirs / ours", "largest relative difference"]
    record("Diffusion: solvers", COMMAND, [SOLVERS, *table(columns, rows)])


def test_sampling_takes_seconds():
    """32 pieces of 16 bars, beside what a training step over them costs."""
    rows = []
    for token in ("bar", "phrase"):
        model = ours(token).eval()
        wanted = [PieceRequest(seed, BARS) for seed in range(32)]
        batch = model.about(wanted)
        x, when = torch.randn(32, BARS, 4, 16), torch.rand(32)

        def make(half: bool, model=model, wanted=wanted) -> None:
            model.make(wanted, Denoising(steps=20), half=half)

        def step(model=model, x=x, when=when, batch=batch) -> None:
            model.network(x, when, batch).square().mean().backward()

        sampled, half, trained = in_turn(lambda: make(False), lambda: make(True), step)
        ratios = [
            statistics.median(a / b for a, b in zip(column, trained, strict=True))
            for column in (sampled, half)
        ]
        rows.append([token, f"{min(sampled):.2f}", *(f"{ratio:.1f}" for ratio in ratios)])
    columns = ["position", "seconds", "training steps it takes", "in bf16"]
    record("Diffusion: sampling", COMMAND, [SAMPLING, *table(columns, rows)])


def test_half_precision():
    schedule = Schedule()
    noise = torch.randn(64, 8, 16, generator=torch.Generator().manual_seed(0))
    deviation = torch.randn(8, 16, generator=torch.Generator().manual_seed(1)).exp()

    def best(x, time, kind):
        """Of data with these deviations, in float64; rounded as v or as epsilon."""
        alpha, sigma = schedule.at(float(time[0]))
        x = x.double()
        x0 = x * alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2)
        epsilon = (x - alpha * x0) / sigma
        if kind[0] == "epsilon":
            return epsilon.to(kind[1]).float()
        return (alpha * epsilon - sigma * x0).to(kind[1]).float()

    made = {}
    for prediction in ("v", "epsilon"):
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            kind = (prediction, dtype)
            sampler = Sampler(schedule, prediction, "ddim", 50)
            made[kind] = sampler.sample(lambda x, time, _, kind=kind: best(x, time, kind), noise)
    exact, steps = made["v", torch.float32], torch.arange(1000)
    frequencies = torch.randn(64, generator=torch.Generator().manual_seed(0))

    def whole(dtype):
        angles = 2 * torch.pi * steps.to(dtype)[:, None] * frequencies.to(dtype)
        return torch.cat([angles.sin(), angles.cos()], 1).float()

    features = {
        "the time in units of 1, features rounded": lambda dtype: time_features(
            steps / 1000, 128
        ).to(dtype),
        "the number of the step, into features of scale 1": whole,
    }
    halves = (torch.float16, torch.bfloat16)
    rows = [
        [
            f"the network's output, as {name}",
            *(f"{relative(made[name, d], exact):.1e}" for d in halves),
        ]
        for name in ("v", "epsilon")
    ]
    rows += [
        [name, *(f"{relative(of(d), of(torch.float32)):.1e}" for d in halves)]
        for name, of in features.items()
    ]
    record("Diffusion: half precision", COMMAND, [HALF, *table(["what", "fp16", "bf16"], rows)])


def relative(values: torch.Tensor, exact: torch.Tensor) -> float:
    return float((values.float() - exact).norm() / exact.norm())
