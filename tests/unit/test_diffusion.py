"""Schedules, predictions, solvers and guidance: parity with diffusers, and what must always hold."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.diffusion.guidance import deviation, guided
from etude.diffusion.predictions import (
    from_x0,
    noised,
    squared_error,
    stratified,
    target,
    to_x0,
)
from etude.diffusion.schedules import Schedule
from etude.diffusion.solvers import Sampler, clip_of

KINDS = ("squared_cosine", "linear", "cosine", "flow")
PREDICTIONS = ("v", "epsilon", "x0")
SHAPE = (2, 6, 4)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Known:
    """The best denoiser of data that are normal, with another mean and deviation in each place."""

    def __init__(self, schedule: Schedule, prediction: str) -> None:
        self.schedule, self.prediction = schedule, prediction
        self.mean, self.deviation = normal(*SHAPE[1:], seed=1), normal(*SHAPE[1:], seed=2).exp()

    def __call__(self, x, time, estimate=None):
        alpha, sigma = (level.view(-1, 1, 1).double() for level in self.schedule.levels(time))
        x, power = x.double(), self.deviation.double() ** 2
        share = alpha * power / (alpha**2 * power + sigma**2)
        x0 = self.mean + share * (x - alpha * self.mean)
        arguments = (x0, x, alpha, sigma, self.schedule.straight)
        return from_x0(self.prediction, *arguments).float()


# ------------------------------------------------------------------------------ parity with others


def theirs(name: str, kind: str, prediction: str, **more):
    """A scheduler of diffusers, imported late: it takes seconds."""
    import importlib

    module, cls = {
        "ddim": ("scheduling_ddim", "DDIMScheduler"),
        "ddpm": ("scheduling_ddpm", "DDPMScheduler"),
        "dpm": ("scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler"),
    }[name]
    made = getattr(importlib.import_module(f"diffusers.schedulers.{module}"), cls)
    betas = {"squared_cosine": "squaredcos_cap_v2", "linear": "linear"}[kind]
    words = {"v": "v_prediction", "epsilon": "epsilon", "x0": "sample"}
    more.setdefault("timestep_spacing", "trailing")
    if name == "dpm":
        more.setdefault("lower_order_final", True)
        more.setdefault("final_sigmas_type", "zero")
    else:
        more.setdefault("clip_sample", False)
    return made(
        num_train_timesteps=1000, beta_schedule=betas, prediction_type=words[prediction], **more
    )


def their_samples(scheduler, denoiser, noise, steps, **more):
    """Their loop, with our network, which wants the time in units of 1."""
    scheduler.set_timesteps(steps)
    x = noise
    for step in scheduler.timesteps:
        time = torch.full((len(x),), float(step) / 1000)
        x = scheduler.step(denoiser(x, time), step, x, **more).prev_sample
    return x


@pytest.mark.slow
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("kind", ["squared_cosine", "linear"])
def test_solvers_agree_with_diffusers(kind, prediction):
    schedule = Schedule(kind)
    denoiser, noise = Known(schedule, prediction), normal(*SHAPE, seed=3)
    for solver in ("ddim", "dpm"):
        # Their sigma of the noisiest step (20,291) is float32, and epsilon is multiplied by it.
        rounded = (solver, kind, prediction) == ("dpm", "squared_cosine", "epsilon")
        near = 3e-3 if rounded else 1e-4
        for steps in (10, 20, 50):
            ours = Sampler(schedule, prediction, solver, steps).sample(denoiser, noise)
            other = their_samples(theirs(solver, kind, prediction), denoiser, noise, steps)
            assert (ours - other).abs().max() < near


@pytest.mark.slow
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddpm_agrees_with_diffusers_given_the_same_noise(prediction, monkeypatch):
    import diffusers.schedulers.scheduling_ddpm as module

    schedule = Schedule("squared_cosine")
    denoiser, noise = Known(schedule, prediction), normal(*SHAPE, seed=3)
    draws = [normal(*SHAPE, seed=100 + i) for i in range(50)]
    ours_next, theirs_next = iter(draws), iter(draws)
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(theirs_next))
    sampler = Sampler(schedule, prediction, "ddpm", 50)
    ours = sampler.sample(denoiser, noise, fresh=lambda: next(ours_next))
    other = their_samples(theirs("ddpm", "squared_cosine", prediction), denoiser, noise, 50)
    assert (ours - other).abs().max() < 1e-3
    assert len(list(ours_next)) == 1, "none at the last step; theirs has there noise of size 0"


@pytest.mark.slow
def test_leading_spacing_eta_and_clip_agree_with_diffusers():
    schedule = Schedule("squared_cosine")
    denoiser, noise = Known(schedule, "v"), normal(*SHAPE, seed=3)
    scheduler = theirs("ddim", "squared_cosine", "v", timestep_spacing="leading")
    ours = Sampler(schedule, "v", "ddim", 20, "leading").sample(denoiser, noise)
    assert (ours - their_samples(scheduler, denoiser, noise, 20)).abs().max() < 1e-3
    scheduler = theirs("ddim", "squared_cosine", "v", clip_sample=True, clip_sample_range=2.5)
    ours = Sampler(schedule, "v", "ddim", 20, clip=2.5).sample(denoiser, noise)
    other = their_samples(scheduler, denoiser, noise, 20, use_clipped_model_output=True)
    assert (ours - other).abs().max() < 1e-3
    fresh = normal(*SHAPE, seed=9)
    scheduler = theirs("ddim", "squared_cosine", "v")
    ours = Sampler(schedule, "v", "ddim", 20, eta=0.5).sample(denoiser, noise, fresh=lambda: fresh)
    other = their_samples(scheduler, denoiser, noise, 20, eta=0.5, variance_noise=fresh)
    assert (ours - other).abs().max() < 1e-3


@pytest.mark.slow
def test_a_straight_schedule_agrees_with_diffusers_euler():
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
        FlowMatchEulerDiscreteScheduler,
    )

    schedule = Schedule("flow")
    denoiser, noise = Known(schedule, "v"), normal(*SHAPE, seed=3)
    sampler = Sampler(schedule, "v", "ddim", 20)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=sampler.times())
    x = noise
    for time, step in zip(sampler.times(), scheduler.timesteps, strict=True):
        x = scheduler.step(denoiser(x, torch.full((2,), time)), step, x).prev_sample
    assert (sampler.sample(denoiser, noise) - x).abs().max() < 1e-3


# ------------------------------------------------------------------------------ what always holds


@given(
    st.sampled_from(KINDS),
    st.sampled_from(PREDICTIONS),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_a_network_that_is_right_gives_the_data_back(kind, prediction, place, seed):
    """At every time, both ends included: x0 -> what is to be predicted -> x0."""
    schedule = Schedule(kind)
    x0, noise = normal(3, 5, seed=seed % 997), normal(3, 5, seed=seed % 991 + 1000)
    alpha, sigma = schedule.at(float(schedule.snap(torch.tensor(place))))
    x = alpha * x0 + sigma * noise
    wanted = target(prediction, x0, noise, alpha, sigma, schedule.straight)
    found = to_x0(prediction, wanted, x, alpha, sigma, schedule.straight)
    # Only epsilon has a division: by alpha.
    near = 1e-5 if prediction != "epsilon" else 1e-5 + 1e-6 / max(alpha, 1e-9)
    assert (found - x0).abs().max() < near


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0.0, 0.9999])
def test_v_is_an_identity_at_both_ends(kind, place):
    schedule = Schedule(kind)
    time = schedule.snap(torch.tensor([place] * 2))
    x0, noise = normal(*SHAPE), normal(*SHAPE, seed=1)
    x, v = noised(schedule, "v", x0, noise, time)
    alpha, sigma = (level.view(-1, 1, 1) for level in schedule.levels(time))
    assert torch.allclose(to_x0("v", v, x, alpha, sigma, schedule.straight), x0, atol=1e-5)
    if place:
        assert torch.allclose(from_x0("v", x0, x, alpha, sigma, schedule.straight), v, atol=1e-5)


@given(st.sampled_from(KINDS), st.integers(25, 3000), st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_times_fall_and_levels_are_of_power_one(kind, table, count):
    schedule = Schedule(kind, table)
    for spacing in ("trailing", "leading") if schedule.tabled else ("trailing",):
        times = schedule.times(count, spacing)
        assert len(times) == count
        assert all(0 <= time <= 1 for time in times)
        assert times == sorted(set(times), reverse=True)
        alpha, sigma = schedule.levels(torch.tensor(times, dtype=torch.float32))
        power = alpha + sigma if schedule.straight else alpha**2 + sigma**2
        assert torch.allclose(power, torch.ones(count), atol=1e-6)
        assert (alpha.diff() >= 0).all(), "there is more signal at each step"
        single = torch.tensor([schedule.at(time) for time in times])
        assert torch.allclose(single, torch.stack([alpha, sigma], 1), atol=1e-6)
    if schedule.tabled:
        assert schedule.times(count)[0] == (table - 1) / table, "trailing begins at pure noise"
        assert schedule.times(count, "leading")[-1] == 0


def test_levels_hardly_depend_on_the_number_of_steps():
    when = torch.linspace(0.1, 0.9, 9)
    for kind in ("squared_cosine", "linear"):
        fine, coarse = (Schedule(kind, steps).levels(when)[0] for steps in (4000, 500))
        assert (fine - coarse).abs().max() < 0.01


def test_snapped_times_are_those_of_the_table():
    schedule = Schedule("squared_cosine", 50)
    assert schedule.snap(torch.tensor([0.0, 0.019, 0.021, 0.999])).tolist() == pytest.approx(
        [0.0, 0.0, 0.02, 0.98]
    )
    assert Schedule("flow").snap(torch.tensor([0.123])).item() == pytest.approx(0.123)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_solver_finds_a_distribution_that_is_known(kind):
    """With the best denoiser: mean and deviation of what is made are those of the data."""
    schedule = Schedule(kind)
    denoiser = Known(schedule, "v")
    noise = normal(2000, *SHAPE[1:])
    fresh = torch.Generator().manual_seed(5)
    for solver in ("dpm", "ddim", "ddpm"):
        if solver == "ddpm" and schedule.straight:
            continue
        sampler = Sampler(schedule, "v", solver, 200 if solver == "ddpm" else 100)
        made = sampler.sample(
            denoiser, noise, fresh=lambda: torch.randn(noise.shape, generator=fresh)
        )
        assert ((made.mean(0) - denoiser.mean) / denoiser.deviation).abs().max() < 0.08
        assert (made.std(0) / denoiser.deviation - 1).abs().max() < 0.08


@pytest.mark.parametrize(("solver", "eta"), [("dpm", 0.0), ("ddim", 0.0), ("ddim", 1.0)])
def test_temperature_is_the_deviation_of_what_is_made(solver, eta):
    """Of normal data: with the best denoiser the process is linear in its noise."""
    schedule = Schedule()
    denoiser, noise = Known(schedule, "v"), normal(2000, *SHAPE[1:])
    fresh = torch.Generator().manual_seed(5)
    sampler = Sampler(schedule, "v", solver, 100, eta=eta, temperature=0.5)
    made = sampler.sample(denoiser, noise, fresh=lambda: torch.randn(noise.shape, generator=fresh))
    assert ((made.mean(0) - denoiser.mean) / denoiser.deviation).abs().max() < 0.08
    assert (made.std(0) / denoiser.deviation - 0.5).abs().max() < 0.08


def test_second_order_needs_fewer_steps():
    schedule = Schedule("squared_cosine")
    denoiser, noise = Known(schedule, "v"), normal(64, *SHAPE[1:])
    exact = Sampler(schedule, "v", "ddim", 1000).sample(denoiser, noise)
    error = {
        solver: float((Sampler(schedule, "v", solver, 20).sample(denoiser, noise) - exact).norm())
        for solver in ("dpm", "ddim")
    }
    assert error["dpm"] < error["ddim"] / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["dpm", "ddim"])
def test_what_is_known_stays_and_is_noised_at_each_step(kind, solver):
    schedule = Schedule(kind)
    inner, noise, source = Known(schedule, "v"), normal(*SHAPE, seed=3), normal(*SHAPE, seed=4)
    known = torch.zeros(SHAPE, dtype=torch.bool)
    known[:, :3] = True
    wrong = []

    def denoiser(x, time, estimate):
        alpha, sigma = schedule.at(float(time[0]))
        wrong.append(float((x - alpha * source - sigma * noise)[known].abs().max()))
        return inner(x, time, estimate)

    made = Sampler(schedule, "v", solver, 20).sample(denoiser, noise, source=source, known=known)
    assert torch.allclose(made[known], source[known], atol=1e-5)
    assert max(wrong) < 1e-4
    assert not torch.allclose(made[~known], source[~known], atol=0.1)


def test_strength_says_how_much_of_a_source_is_left():
    schedule = Schedule("squared_cosine")
    denoiser, source = Known(schedule, "v"), 2 * normal(*SHAPE, seed=4)
    sampler, asked = Sampler(schedule, "v", "dpm", 20), []

    def counted(x, time, estimate):
        asked.append(float(time[0]))
        return denoiser(x, time, estimate)

    far = []
    for strength in (0.1, 0.5, 1.0):
        noise = normal(*SHAPE, seed=3)
        made = sampler.sample(counted, noise, source=source, strength=strength)
        far.append(float((made - source).norm()))
    assert far == sorted(far)
    assert len(asked) == 2 + 10 + 20


def test_the_last_estimate_is_handed_on():
    schedule = Schedule("squared_cosine")
    inner, seen = Known(schedule, "v"), []

    def denoiser(x, time, estimate):
        seen.append(estimate)
        return inner(x, time, estimate)

    Sampler(schedule, "v", "dpm", 5).sample(denoiser, normal(*SHAPE))
    assert seen[0] is None
    assert all(estimate.shape == SHAPE for estimate in seen[1:])


def test_the_state_is_float32_when_the_network_is_not():
    schedule = Schedule("squared_cosine")
    inner, kinds = Known(schedule, "v"), set()

    def denoiser(x, time, estimate):
        kinds.update({x.dtype, time.dtype})
        return inner(x, time, estimate).bfloat16()

    made = Sampler(schedule, "v", "dpm", 10).sample(denoiser, normal(*SHAPE).bfloat16())
    assert kinds == {torch.float32}
    assert made.dtype == torch.float32


def test_a_clip_that_cuts_off_what_is_usual_is_refused():
    with pytest.raises(ValueError, match=r"2\.5"):
        Sampler(Schedule(), clip=1.0)
    assert clip_of(1.2) == 2.5
    assert clip_of(3.45) == 3.45
    far = Sampler(Schedule(), "x0", "ddim", 5, clip=2.5).sample(lambda x, *_: x + 9, normal(*SHAPE))
    assert far.max() == 2.5


def test_fresh_noise_is_refused_where_it_means_nothing():
    with pytest.raises(ValueError, match="straight"):
        Sampler(Schedule("flow"), solver="ddpm")
    with pytest.raises(ValueError, match="fresh"):
        Sampler(Schedule(), "x0", "ddpm", 5).sample(lambda x, *_: x, normal(*SHAPE))
    with pytest.raises(ValueError, match="leading"):
        Schedule("cosine").times(5, "leading")
    with pytest.raises(ValueError, match="25"):
        Schedule("linear", 10)


# ---------------------------------------------------------------------------------------- training


def test_masked_loss_does_not_change_with_padding():
    output, wanted = normal(2, 5, 3, 4), normal(2, 5, 3, 4, seed=1)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    loss = squared_error(output, wanted, mask)
    alone = torch.cat([(output - wanted)[0], (output - wanted)[1, :2]]).square().mean()
    assert torch.allclose(loss, alone)
    garbage = torch.where(mask[..., None, None], output, torch.full_like(output, 1e4))
    assert torch.equal(loss, squared_error(garbage, wanted, mask))
    assert squared_error(garbage, wanted) > 1e6, "unmasked, padding counts"


def test_times_of_a_batch_are_spread_and_each_is_uniform():
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([stratified(torch.rand(8, generator=rng)) for _ in range(2000)])
    assert (drawn.sort(1).values.diff(dim=1) - 1 / 8).abs().max() < 1e-5
    for column in drawn.T:
        assert abs(float(column.mean()) - 0.5) < 0.03
        assert abs(float(column.var()) - 1 / 12) < 0.01


# ---------------------------------------------------------------------------------------- guidance


def test_guidance_goes_from_free_to_conditioned_and_beyond():
    free, wanted = normal(*SHAPE), normal(*SHAPE, seed=1)
    both = (lambda *_: wanted), (lambda *_: free)
    x, time = normal(*SHAPE), torch.zeros(2)
    assert torch.equal(guided(*both, 1.0)(x, time, None), wanted)
    assert torch.allclose(guided(*both, 0.0)(x, time, None), free)
    assert torch.allclose(guided(*both, 3.0)(x, time, None), 3 * wanted - 2 * free, atol=1e-5)


def test_rescaled_guidance_has_the_deviation_of_what_is_conditioned():
    free, wanted = normal(*SHAPE), normal(*SHAPE, seed=1)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    both = (lambda *_: wanted), (lambda *_: free)
    x, time = normal(*SHAPE), torch.zeros(2)
    plain = guided(*both, 4.0)(x, time, None)
    made = guided(*both, 4.0, rescale=1.0, mask=mask)(x, time, None)
    for item, count in ((0, 6), (1, 3)):
        expected = wanted[item, :count].std(correction=0)
        assert math.isclose(made[item, :count].std(correction=0), expected, rel_tol=1e-4)
        assert plain[item, :count].std(correction=0) > 2 * expected
    assert torch.allclose(deviation(made, mask)[1].squeeze(), made[1, :3].std(correction=0))
