"""Weights that were trained elsewhere, put into a stage: what fits, what differs, what to say."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.config import Weights
from etude.errors import UserError
from etude.pretrained.origin import read_origin
from etude.storage import hash_file, read_json
from etude.systems.stage_module import StageModule
from etude.systems.weights import load_weights, read_weights

log = logging.getLogger(__name__)

ETUDE = "étude"  # where a network names no backend
UNIMPORTANT = ("network.dropout",)  # it affects neither a shape nor what is generated


@dataclass(frozen=True)
class Origin:
    """Where a stage's weights come from: the file's name and hash, and the card beside it."""

    name: str
    sha256: str
    card: str = ""


@dataclass(frozen=True)
class ConfigDifference:
    """A key of config.json that is not what it is here."""

    key: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.key} {self.theirs} (here {self.ours})"


def transfer(
    model: StageModule, file: Path, settings: Weights, tokenizers: Mapping[str, str]
) -> Origin:
    """Load weights from elsewhere into a stage, in place.

    A config.json beside the file, as Étude writes it, is compared with the stage as it is here.

    Args:
        tokenizers: hashes of the tokenizers whose tokens the stage meets here (info.json).

    Raises:
        UserError: the file cannot be read or may not be loaded; it is of another stage, format,
            or network; a tensor is missing, superfluous, of another shape or not finite.
    """
    theirs, ours = _config_beside(file), model.config(tokenizers)
    _same_backend(file, theirs, ours)
    found = config_differences(theirs, ours) if theirs else []
    for key in ("stage", "version"):
        if wrong := [d for d in found if d.key == key]:
            raise UserError(
                f"these weights are of another {key}: {wrong[0].theirs}, needed is {wrong[0].ours}",
                code="weights-of-another-kind",
                where=str(file),
                do="correct `weights` of this stage",
            )
    why = f"its config.json has {', '.join(map(str, found))}" if found else ""
    tensors = model.accept(read_weights(file, settings))
    load_weights(model, tensors, file, why, _advice(found))
    # Heads and the base of the rotary embedding affect every result, but no shape.
    if unseen := [d for d in found if d.key.startswith("network.")]:
        raise UserError(
            "the weights fit this network by their shapes alone",
            code="fits-by-shape-alone",
            where=str(file),
            why=f"its config.json has {', '.join(map(str, unseen))}",
            do=_advice(unseen),
        )
    _tell(file, found)
    return origin_of(file)


def origin_of(weights: Path) -> Origin:
    """Where the weights of a file or a folder of results/pretrained/ come from."""
    if weights.is_dir():
        about = read_origin(weights)
        return Origin(about["from"], about["sha256"])
    card = weights.with_name("card.md")
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    return Origin(weights.name, hash_file(weights), text)


def _same_backend(file: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Étude's network and a library's have nothing in common, formats neither."""
    left, right = _backend(theirs), _backend(ours)
    if theirs and left != right:
        how = ", without `backend`" if left == ETUDE else f": `network: {{backend: {left}, …}}`"
        raise UserError(
            f"these weights are of another backend's network: {left}, this stage's is {right}",
            code="another-backend",
            where=str(file),
            do=f"give this stage the network of the weights{how}",
        )


def _backend(content: Mapping[str, Any]) -> str:
    network = content.get("network")
    return str(network.get("backend", ETUDE)) if isinstance(network, dict) else ETUDE


def config_differences(
    theirs: Mapping[str, Any], ours: Mapping[str, Any]
) -> list[ConfigDifference]:
    """Where a config.json differs from a stage's own; keys that either lacks do not count."""
    found = []
    for key in ours.keys() & theirs.keys():
        left, right = theirs[key], ours[key]
        if isinstance(left, dict) and isinstance(right, dict):
            inner = config_differences(left, right)
            found += [ConfigDifference(f"{key}.{d.key}", d.theirs, d.ours) for d in inner]
        elif left != right:
            found.append(ConfigDifference(key, left, right))
    return sorted((d for d in found if d.key not in UNIMPORTANT), key=lambda d: d.key)


def _config_beside(file: Path) -> dict[str, Any]:
    """The config.json of a stage of Étude's that lies beside the weights, or nothing."""
    try:
        content = read_json(file.with_name("config.json"))
    except (OSError, ValueError):
        return {}
    ours = isinstance(content, dict) and {"stage", "shape", "network"} <= content.keys()
    return content if ours else {}


def _advice(found: list[ConfigDifference]) -> str:
    network = [d for d in found if d.key.startswith("network.")]
    if network:
        keys = ", ".join(f"{d.key.removeprefix('network.')}: {d.theirs}" for d in network)
        return f"give this stage the network of the weights: `network: {{{keys}}}`"
    if found:
        return "use the tokens, the cut and the settings that these weights were trained with"
    return "give this stage the network of the weights, and the tokens they were trained with"


def _tell(file: Path, found: list[ConfigDifference]) -> None:
    """Say what differs and yet fits."""
    other = [d.key.removeprefix("tokenizers.") for d in found if d.key.startswith("tokenizers.")]
    if other:
        log.warning(
            "%s learned with another %s tokenizer: the same numbers are other sounds here. "
            "Take its tokenizer over with `fit.folder`, or fine-tune.",
            *(file.name, " and another ".join(other)),
        )
    plain = [str(d) for d in found if not d.key.startswith("tokenizers.")]
    if plain:
        log.warning("%s was trained otherwise: %s", file.name, ", ".join(plain))
