"""card.md: what a stage is, what it was trained on, and what it is not good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from etude.config import TrainedExperiment, TrainingSettings
from etude.systems import open_system
from etude.training.loop import TrainingResult
from etude.training.transfer import Origin

LIMITS = "knows this corpus only; ask for the rights in it before you publish clips"
LIMITS_GIVEN = "ask for the rights in all music it learned from before you publish clips"


def trained_card(
    experiment: TrainedExperiment,
    stage: str,
    seed: int,
    info: dict[str, Any],
    size: int,
    trained: TrainingResult,
    origin: Origin | None,
) -> str:
    """The card of a stage that was trained here, from nothing or from other weights.

    Args:
        info: the packed token set's info.json.
        size: number of parameters.
        origin: the weights that training began with.
    """
    settings, system = experiment.stage(stage), open_system(experiment.system)
    items, unit = system.items, system.loss_unit(stage)
    train, valid = info["splits"]["train"], info["splits"]["valid"]
    steps, written = _steps(settings.training, trained.history)
    rows = {
        "system": f"{system.title}, {stage} stage",
        "parameters": f"{size:,}",
        "corpus": experiment.corpus,
        "token set": experiment.tokens,
        **({"fine-tuned from": _file(origin)} if origin else {}),
        "trained on": f"{train['items']} {items} of {train['pieces']} pieces",
        "validated on": f"{valid['items']} {items} of {valid['pieces']} pieces",
        "steps": steps,
        "batch size": settings.training.batch_size * settings.training.accumulate,
        "training seed": seed,
        "validation loss": "no data" if written is None else f"{written:.4f} {unit}".strip(),
        "data hash": info["data_hash"],
        "limits": LIMITS if origin is None else LIMITS_GIVEN,
    }
    return _page(stage, rows, origin)


def _steps(
    settings: TrainingSettings, history: Sequence[Mapping[str, Any]]
) -> tuple[str, float | None]:
    """How long it was trained and which weights are written, in words; their validation loss."""
    losses = {row["step"]: row["valid_loss"] for row in history if row["valid_loss"] is not None}
    ended = history[-1]["step"] if history else settings.steps
    words = f"{settings.steps}" if ended == settings.steps else f"{ended} of {settings.steps}"
    if not losses:
        return words, None
    step = min(losses, key=lambda s: losses[s]) if settings.use == "best" else max(losses)
    return words if step == ended else f"{words}; the weights are of step {step}", losses[step]


def imported_card(
    experiment: TrainedExperiment, stage: str, size: int, origin: Origin | None
) -> str:
    """The card of a stage whose weights were taken as they are; None: from its tokenizers."""
    rows = {
        "system": f"{open_system(experiment.system).title}, {stage} stage",
        "parameters": f"{size:,}",
        "token set": experiment.tokens,
        "imported from": _file(origin) if origin else "the fitted tokenizer",
        "limits": LIMITS_GIVEN if origin else LIMITS,
    }
    return _page(stage, rows, origin)


def _file(origin: Origin) -> str:
    return f"{origin.name}, sha256 {origin.sha256}"


def _page(title: str, rows: dict[str, Any], origin: Origin | None) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    page = "\n".join([f"# {title}", "", "| | |", "|---|---|", *lines, ""])
    if origin is None or not origin.card:
        return page
    return f"{page}\nThe card that came with those weights:\n\n{_quoted(origin.card)}"


def _quoted(text: str) -> str:
    return "".join(f"> {line}".rstrip() + "\n" for line in text.splitlines())
