"""audiolm-pytorch 2.4.0, brought in for its three transformers and nothing else.

The package cannot simply be imported: it wants fairseq, torchaudio and encodec, of which the first
two do not load beside current torch, asks the network for the size of a text encoder, replaces
`warnings.warn` by nothing and silences the root logger and transformers'. None of that is needed
for its networks. So the file that defines them is loaded alone; its other imports get stand-ins
while it loads, and afterwards everything is as it was.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch import nn

from etude.workflow.extras import check_installed

PACKAGE, RELEASE = "audiolm-pytorch", "2.4.0"  # as in requirements/audiolm.txt
TEXT_WIDTH = 768  # d_model of google/t5-v1_1-base, whose projection every checkpoint holds


class StandIn:
    """In place of a class of the library that is no transformer: it cannot be made."""

    def __init__(self, *_: object, **__: object) -> None:
        raise NotImplementedError("Étude takes audiolm-pytorch's transformers only")


def _none(*_: object, **__: object) -> None:
    raise NotImplementedError("Étude takes audiolm-pytorch's transformers only")


# Module -> what the transformers' file imports from it. A class each, as they are told apart.
STAND_INS: dict[str, dict[str, Any]] = {
    "torchaudio": {},
    "torchaudio.functional": {"resample": _none},
    "audiolm_pytorch.vq_wav2vec": {"FairseqVQWav2Vec": type("FairseqVQWav2Vec", (StandIn,), {})},
    "audiolm_pytorch.hubert_kmeans": {"HubertWithKmeans": type("HubertWithKmeans", (StandIn,), {})},
    "audiolm_pytorch.soundstream": {"SoundStream": type("SoundStream", (StandIn,), {})},
    "audiolm_pytorch.encodec": {"EncodecWrapper": type("EncodecWrapper", (StandIn,), {})},
    "audiolm_pytorch.t5": {
        "DEFAULT_T5_NAME": "google/t5-v1_1-base",
        "get_encoded_dim": lambda name: TEXT_WIDTH,  # the library asks a hub for it
        "t5_encode_text": _none,
    },
}


@functools.cache
def library() -> ModuleType:
    """The module `audiolm_pytorch.audiolm_pytorch`.

    Raises:
        UserError: the package, or one that it needs, is not installed, or of another release.
    """
    check_installed("audiolm")
    spec = importlib.util.find_spec("audiolm_pytorch")
    assert spec is not None
    package = _module("audiolm_pytorch", {"__path__": list(spec.submodule_search_locations or [])})
    stands = {"audiolm_pytorch": package}
    stands |= {name: _module(name, values) for name, values in STAND_INS.items()}
    with _standing_in(stands), _undisturbed():
        return importlib.import_module("audiolm_pytorch.audiolm_pytorch")


def _module(name: str, values: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # who looks for a package wants to see one
    for key, value in values.items():
        setattr(module, key, value)
    return module


@contextmanager
def _standing_in(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Put modules into sys.modules; afterwards the library and they are gone from it."""

    def ours(name: str) -> bool:
        return name in modules or name.startswith("audiolm_pytorch.")

    before = {name: module for name, module in sys.modules.items() if ours(name)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """What the package changes for the whole process is as before, whatever it changes."""
    warn, level = warnings.warn, logging.root.level
    try:
        yield
    finally:
        warnings.warn = warn
        logging.root.setLevel(level)


def make(name: str, **options: Any) -> nn.Module:
    """One of the library's transformers, freshly initialised from torch's random state.

    Its residual streams are chosen by Python's own random numbers, which are put back.
    """
    network = getattr(library(), name)
    state = random.getstate()
    random.seed(int(torch.randint(2**31, (), device="cpu")))
    try:
        made: nn.Module = network(**options)
    finally:
        random.setstate(state)
    for parameter in getattr(made, "proj_text_embed", nn.Identity()).parameters():
        parameter.requires_grad_(False)  # of a text that is never given
    return made
