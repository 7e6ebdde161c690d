"""What is learned on top of a base: new values of all its weights, or low-rank adapters beside it.

Adapters (LoRA, Hu et al., arXiv 2106.09685) leave the base as it is, bit for bit. Their layers and
files are peft's. Trained, averaged and saved are the adapters alone; the base is held outside of
the module's own parameters, once for all its copies.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from etude.config.sound import Adaptation
from etude.errors import UserError
from etude.pretrained.network_hash import hash_state
from etude.storage import read_json, write_json
from etude.systems.base import Batch
from etude.systems.stable_audio.network import Sound
from etude.systems.stable_audio.weight_change import (
    CHANGED,
    changed_by_adapter,
    changed_by_training,
    write_changed,
)
from etude.systems.stage_module import StageModule
from etude.systems.weights import (
    TRAIN_AGAIN,
    check_version,
    load_weights,
    read_stage_config,
    read_weights,
)
from etude.workflow.imported_weights import MODEL

VERSION = 1  # raised when the same seed gives other adapters, or a batch another loss

FOLDER = "adapter"  # of peft's files: adapter_config.json and adapter_model.safetensors
FILES = (f"{FOLDER}/adapter_config.json", f"{FOLDER}/adapter_model.safetensors")


class Tuned(Sound):
    """All weights of a base, trained on."""

    files = (*Sound.files, CHANGED)
    begun: Path  # the folder of the base

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """As the base's, with what training changed."""
        super().save(folder, tokenizers)
        write_changed(folder, changed_by_training(self, Sound.load(self.begun)))


class Adapter(StageModule):
    """Adapters of a base's transformer.

    Args:
        shape: that of the base, with `adapter` (rank, scale, dropout, targets, exclude), `base`
            (its name) and `base_sha256` (of its tensors).
        base: the frozen network; adapters are put into its transformer.
    """

    stage, version = "dit", VERSION
    files = (*FILES, CHANGED)

    def __init__(self, shape: Mapping[str, Any], base: Sound) -> None:
        super().__init__(shape)
        base.requires_grad_(False)
        base.transformer = put_in(base.transformer, shape["adapter"], shape["base"])
        # In a list, so that it is none of this module's own: neither trained nor saved.
        self._held = [base]
        self.weights = nn.ParameterDict(
            {key_of(name): weight for name, weight in self._inner() if weight.requires_grad}
        )

    def _inner(self) -> list[tuple[str, nn.Parameter]]:
        return list(self._held[0].transformer.named_parameters())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with adapters of its own, and the same base: averages need no second one."""
        memo |= {id(p): p for p in self._held[0].parameters() if not p.requires_grad}
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made

    @property
    def base(self) -> Sound:
        """The frozen network with the adapters in it, on their device."""
        base = self._held[0]
        if base.mean.device != self.device:
            base.to(self.device)
        return base

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """As the base's, through the adapters."""
        self.base.train(self.training)
        self.base.text_encoder.eval()
        return self.base.loss(batch)

    @property
    def body(self) -> nn.Module:  # noqa: D102
        return self._held[0]

    def save(self, folder: Path, tokenizers: Mapping[str, str] | None = None) -> None:
        """As every stage's, with peft's files beside it."""
        super().save(folder, tokenizers)
        model = self._held[0].transformer
        model.save_pretrained(str(folder / FOLDER), save_embedding_layers=False)
        (folder / FOLDER / "README.md").unlink(missing_ok=True)  # an empty form
        settings = read_json(folder / FILES[0])  # with sets, whose order changes from run to run
        plain = {k: sorted(v) if isinstance(v, list) else v for k, v in settings.items()}
        write_json(folder / FILES[0], dict(sorted(plain.items())))
        write_changed(folder, changed_by_adapter(self.base))

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """As every stage's, with the files that belong to it."""
        return super().config(tokenizers) | {"files": list(self.files)}


def key_of(name: str) -> str:
    """The name of a weight as a ParameterDict takes it."""
    return name.replace(".", "/")


def put_in(transformer: nn.Module, how: Mapping[str, Any], base: str) -> nn.Module:
    """A transformer with fresh adapters, which change nothing yet.

    Raises:
        UserError: no layer has such a name.
    """
    from peft import LoraConfig, get_peft_model

    names = targets_of(transformer, how["targets"], how["exclude"])
    rank = int(how["rank"])
    settings = LoraConfig(
        r=rank,
        lora_alpha=rank * how["scale"],
        lora_dropout=how["dropout"],
        target_modules=names,
    )
    made: nn.Module = get_peft_model(transformer, settings)
    settings.base_model_name_or_path = base  # peft would take the transformer's, which has none
    return made


def targets_of(network: nn.Module, targets: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Names of the linear layers that get an adapter.

    Raises:
        UserError: there are none, or a target fits no layer.
    """
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]

    def ends(name: str, target: str) -> bool:
        return name == target or name.endswith(f".{target}")

    missing = [t for t in targets if not any(ends(name, t) for name in linear)]
    chosen = [
        name
        for name in linear
        if any(ends(name, t) for t in targets) and not any(part in name for part in exclude)
    ]
    if missing or not chosen:
        kinds = sorted({".".join(name.split(".")[-2:]) for name in linear})
        raise UserError(
            f"no layer is called {missing[0]!r}" if missing else "every layer is excluded",
            where="adapt.targets" if missing else "adapt.exclude",
            why=f"layers end in: {', '.join(kinds)}",
            do="name some of these",
        )
    return chosen


def shape_of(base: Sound, name: str, adapt: Adaptation) -> dict[str, Any]:
    """The shape of an adapter of a base."""
    keys = {"rank", "scale", "dropout", "targets", "exclude"}
    return base.shape | {
        "adapter": adapt.model_dump(mode="json", include=keys),
        "base": name,
        "base_sha256": hash_state([base]),
    }


def load_adapter(folder: Path, base: Sound) -> Adapter:
    """A trained adapter, put into its base.

    Raises:
        UserError: it was learned with another base.
    """
    about = read_stage_config(folder)
    check_version(folder, about["version"], VERSION)
    shape = about["shape"]
    if (found := hash_state([base])) != shape["base_sha256"]:
        _refuse_base(folder, shape, found)
    made = Adapter(shape, base)
    load_weights(made, read_weights(folder / MODEL), folder / MODEL, do=TRAIN_AGAIN)
    return made.eval()


def join(adapter: Adapter, name: str, folder: Path) -> None:
    """Put another trained adapter of the same base beside one; both play.

    Args:
        name: by which `set_strength` knows it.

    Raises:
        UserError: it was learned with another base.
    """
    shape, mine = read_stage_config(folder)["shape"], adapter.shape["base_sha256"]
    if shape["base_sha256"] != mine:
        _refuse_base(folder, shape, mine)
    model = adapter.base.transformer
    model.load_adapter(str(folder / FOLDER), adapter_name=name)
    model.base_model.set_adapter([*model.active_adapters, name])
    adapter.base.requires_grad_(False)


def _refuse_base(folder: Path, shape: Mapping[str, Any], found: str) -> None:
    raise UserError(
        "this adapter belongs to another base",
        where=str(folder),
        why=f"learned with {shape['base']} {shape['base_sha256'][:16]}, this base is {found[:16]}",
        do="give it the base that it was learned with, or train it again",
    )


@torch.no_grad()
def merged(adapter: Adapter) -> Sound:
    """The base with the adapters added to its weights; the adapter is of no use afterwards."""
    base = adapter.base
    base.transformer = base.transformer.merge_and_unload()
    return base.eval()
