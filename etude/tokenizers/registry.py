"""The tokenizers by the `kind` of their settings; a new one is one line here.

A `module:Class` of the user's needs no line. What it has learnt it keeps in `tensors`, and is
saved and made again from its options and those.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from etude.config import PluginTokenizer
from etude.errors import UserError
from etude.plugins import check_attributes, instantiate, is_plugin
from etude.storage import read_json, write_json
from etude.tokenizers.fitted import CODEBOOKS, CONFIG

ATTRIBUTES = ("sample_rate", "frame_rate", "codebook_size", "quantizers")
MEMBERS = {
    "semitone_bands": "etude.tokenizers.semitone_bands:SemitoneBandsTokenizer",
    "mfcc": "etude.tokenizers.mfcc:MfccTokenizer",
    "magnitude_rvq": "etude.tokenizers.magnitude_rvq:MagnitudeRvqTokenizer",
    "onoff": "etude.tokenizers.symbolic.onoff:OnOffTokenizer",
    "remi": "etude.tokenizers.symbolic.midi_tok:MidiTokTokenizer",
    "tsd": "etude.tokenizers.symbolic.midi_tok:MidiTokTokenizer",
    "structured": "etude.tokenizers.symbolic.midi_tok:MidiTokTokenizer",
    "remi_z": "etude.tokenizers.symbolic.remi_z:RemiZTokenizer",
    "hubert": "etude.tokenizers.hubert:HubertTokenizer",
    "encodec": "etude.tokenizers.encodec:EncodecTokenizer",
}


def create_tokenizer(settings: Any) -> Any:
    """An unfitted tokenizer for a section of `tokenizers`."""
    if isinstance(settings, PluginTokenizer):
        return _own(settings.kind, settings.options)
    return _member(settings.kind)(settings)


def save_tokenizer(tokenizer: Any, settings: Any, folder: Path) -> None:
    """Write a fitted tokenizer into an existing folder; equal ones give equal bytes.

    Raises:
        UserError: a plugin lacks an attribute.
    """
    if not isinstance(settings, PluginTokenizer):
        tokenizer.save(folder)
        return
    check_attributes(tokenizer, settings.kind, ATTRIBUTES)
    config = {name: getattr(tokenizer, name) for name in ATTRIBUTES}
    own = {"kind": settings.kind, "options": settings.options}
    write_json(folder / CONFIG, config | own)
    tensors = getattr(tokenizer, "tensors", {})
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / CODEBOOKS)


def load_tokenizer(folder: Path) -> Any:
    """The fitted tokenizer in a folder.

    Raises:
        UserError: if there is none, or one that this program does not know.
    """
    try:
        config = read_json(folder / CONFIG)
        kind = config["kind"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            "there is no fitted tokenizer",
            where=str(folder),
            why=str(error),
            do="run the workflow, which fits it",
        ) from None
    if not is_plugin(kind):
        return _member(kind).load(folder)
    tokenizer = _own(kind, config["options"])
    tokenizer.tensors = load_file(folder / CODEBOOKS)
    return tokenizer


def _own(kind: str, options: dict[str, Any]) -> Any:
    tokenizer = instantiate(kind, options, ("frames", "encode"))
    check_attributes(tokenizer, kind, ATTRIBUTES)
    return tokenizer


def _member(kind: str) -> Any:
    if kind not in MEMBERS:
        raise UserError(
            f"the tokenizer kind {kind!r} is not known",
            do=f"use one of: {', '.join(MEMBERS)}",
        )
    module, name = MEMBERS[kind].split(":")
    return getattr(importlib.import_module(module), name)
