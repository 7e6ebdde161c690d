"""The hash of networks that somebody else's code has opened, whatever file they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch

UNKNOWN = "unknown"


def hash_of_loader(loader: Any) -> str:
    """SHA-256 of the network that a loader of fadtk has opened, `unknown` where it shows none.

    fadtk fetches weights by itself, into caches of several libraries; the tensors that compute are
    what all have in common. Their names and bytes are hashed, so the file's form does not matter.
    """
    networks = list(_networks(loader, depth=2))
    return hash_state(networks) if networks else UNKNOWN


def _networks(thing: Any, depth: int) -> Iterator[Any]:
    for value in vars(thing).values() if hasattr(thing, "__dict__") else ():
        if isinstance(value, torch.nn.Module):
            yield value
        elif depth > 1 and type(value).__module__ != "builtins":
            yield from _networks(value, depth - 1)


def hash_state(networks: Iterable[Any]) -> str:
    """SHA-256 over the names, types, shapes and bytes of networks' tensors, sorted by name."""
    digest = hashlib.sha256()
    for network in networks:
        for name, tensor in sorted(network.state_dict().items()):
            if not hasattr(tensor, "detach"):
                continue
            plain = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {list(plain.shape)}\n".encode())
            digest.update(plain.flatten().view(dtype=torch.uint8).numpy().tobytes())
    return digest.hexdigest()
