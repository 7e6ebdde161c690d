"""What an adaptation changed: how far weights moved, and what of it is in what is made.

changed.json of a stage
    moved      norm of the difference of all weights / norm of the base's
    made       root mean square of (latents with - latents without) / that of those without, of
               the same texts, seconds and noise
    nothing    whether both are 0 but for rounding: it does nothing
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etude.clips.sampling import ClipStreams
from etude.diffusion.solvers import Sampler
from etude.storage import write_json
from etude.systems.stable_audio.network import Sound, set_strength

CHANGED = "changed.json"
ITEMS, STEPS = 4, 6
LEAST = 1e-4  # below this an adaptation is said to do nothing

log = logging.getLogger(__name__)


def write_changed(folder: Path, found: dict[str, float]) -> None:
    """Write changed.json, and say where nothing was changed."""
    nothing = max(found.values()) < LEAST
    if nothing:
        log.warning("this adaptation does nothing: weights moved by %.1e of their size, what is "
                    "made by %.1e", found["moved"], found["made"])  # fmt: skip
    write_json(folder / CHANGED, {**found, "nothing": nothing})


def changed_by_adapter(base: Sound) -> dict[str, float]:
    """Of low-rank adapters in a base."""
    from peft.tuners.lora import Linear

    base.eval()
    layers = [p for p in base.transformer.modules() if isinstance(p, Linear)]
    moved = [layer.get_delta_weight(name) for layer in layers for name in layer.active_adapters]
    frozen = [p for p in base.transformer.parameters() if not p.requires_grad]
    set_strength(base, 0.0)
    without = _made(base, base.shape)
    set_strength(base, 1.0)
    made = _made(base, base.shape)
    return {"moved": _share(moved, frozen), "made": _difference(made, without)}


def changed_by_training(trained: Sound, base: Sound) -> dict[str, float]:
    """Of a training of all weights."""
    begun = dict(base.named_parameters())
    pairs = [(w.detach().cpu(), begun[name].detach()) for name, w in trained.named_parameters()]
    moved = _share((now - before for now, before in pairs), (before for _, before in pairs))
    made, without = (_made(network.eval(), trained.shape) for network in (trained, base))
    return {"moved": moved, "made": _difference(made, without)}


@torch.no_grad()
def _made(network: Sound, shape: Mapping[str, Any]) -> Tensor:
    """A few latents, always of the same noise; seconds and the text of half of them as learned."""
    spans = [tuple(span) for span in shape["spans"]] or [(0.0, 10.0)]
    texts = [shape.get("example", ""), ""] * (ITEMS // 2)
    conditioning = network.conditioning_of(
        texts, [spans[number % len(spans)] for number in range(ITEMS)]
    )
    streams = ClipStreams(list(range(ITEMS)), network.device)
    size = [shape["frames"]] * ITEMS
    noise = streams.normal(size, shape["channels"]).transpose(1, 2)
    sampler = Sampler(network.schedule, steps=STEPS)
    return sampler.sample(lambda x, time, _: network.velocity(x, time, conditioning), noise).cpu()


def _share(moved: Iterable[Tensor], whole: Iterable[Tensor]) -> float:
    def square(tensors: Iterable[Tensor]) -> float:
        return sum(float(t.detach().double().square().sum()) for t in tensors)

    return math.sqrt(square(moved) / max(square(whole), 1e-30))


def _difference(found: Tensor, without: Tensor) -> float:
    def size(values: Tensor) -> float:
        return float(values.double().square().mean().sqrt())

    return size(found - without) / max(size(without), 1e-30)
