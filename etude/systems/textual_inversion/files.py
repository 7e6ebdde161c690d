"""Learned words as files: diffusers' textual-inversion form, and that of the original.

<concept>.safetensors     {"<concept>": [tokens, dim]}, as diffusers' `load_textual_inversion` reads
                          it; its metadata say which base it belongs to, by name and hash
words.pt                  {concept: {"epoch": n, "embeds": [tokens, dim]}}, as TI-MusicGen writes it
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from etude.errors import UserError
from etude.storage import atomic
from etude.systems.weights import BROKEN

VERSION = 2  # raised when files change
ORIGINAL = "words.pt"  # all words of a training, beside the file of each
ABOUT = "etude"  # the entry of a file's metadata


@dataclass(frozen=True)
class LearnedRows:
    """The rows of a word, and the base that they were learned with.

    Attributes: rows float32 [tokens, dim]; base (its name) and sha256 (of its tensors), empty where
    a file does not say; step at which they were the best.
    """

    rows: Tensor
    base: str = ""
    sha256: str = ""
    step: int = 0


def write_concept(path: Path, concept: str, learned: LearnedRows) -> None:
    """Write a word in diffusers' form."""
    # In one entry: safetensors writes several in an order that changes from run to run.
    about = {"base": learned.base, "base_sha256": learned.sha256, "step": learned.step}
    tensors = {f"<{concept}>": learned.rows.detach().float().cpu().contiguous()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, {ABOUT: json.dumps(about, sort_keys=True)})


def write_original(path: Path, words: Mapping[str, LearnedRows]) -> None:
    """Write words in the form of TI-MusicGen."""
    content = {
        name: {"epoch": learned.step, "embeds": learned.rows.detach().float().cpu()}
        for name, learned in words.items()
    }
    packed = io.BytesIO()  # a file's own name would be in its bytes
    torch.save(content, packed)
    with atomic(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def read_concepts(path: Path) -> dict[str, LearnedRows]:
    """The words of a file of either form.

    Raises:
        UserError: it is no such file.
    """
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = {
            str(name): LearnedRows(_rows(about["embeds"]), step=int(about["epoch"]))
            for name, about in content.items()
        }
    except BROKEN as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
    else:
        if found:
            return found
        why = "there is no word in it"
    raise UserError(
        "this file holds no learned words",
        code="no-learned-words",
        where=str(path),
        why=why,
        do="name a .safetensors in diffusers' textual-inversion form, or TI-MusicGen's .pt",
    )


def _read_safetensors(path: Path) -> dict[str, LearnedRows]:
    with safe_open(str(path), "pt") as file:
        about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    base, sha256 = about.get("base", ""), about.get("base_sha256", "")
    step = int(about.get("step", 0))
    return {
        name.removeprefix("<").removesuffix(">"): LearnedRows(_rows(rows), base, sha256, step)
        for name, rows in tensors.items()
    }


def _rows(tensor: Tensor) -> Tensor:
    """[tokens, dim]; diffusers writes a word of one token as [dim]."""
    rows = tensor.detach().float()
    if rows.ndim == 1:
        rows = rows[None]
    if rows.ndim != 2 or not torch.isfinite(rows).all():
        raise ValueError(f"rows are finite and [tokens, dim], these are {list(tensor.shape)}")
    return rows


def check_base(learned: LearnedRows, sha256: str, dim: int, where: Path, concept: str) -> None:
    """See that a word belongs to a base; of a file that does not say, its width alone.

    Raises:
        UserError: it was learned with another.
    """
    if learned.rows.shape[1] != dim:
        why = f"its rows are {learned.rows.shape[1]} wide, those of this base {dim}"
    elif learned.sha256 and learned.sha256 != sha256:
        why = f"learned with {learned.base} {learned.sha256[:16]}, this base is {sha256[:16]}"
    else:
        return
    raise UserError(
        f"the word <{concept}> belongs to another base",
        code="another-base",
        where=str(where),
        why=why,
        do="give it the base that it was learned with, or learn it again with this one",
    )
