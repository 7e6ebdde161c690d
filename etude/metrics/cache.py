"""Embeddings of a user's files, kept so that the next comparison need not make them again.

They lie in the user's cache folder ($XDG_CACHE_HOME/etude/embeddings, ~/.cache/etude/embeddings
where that is not set), never beside the audio. A name is two hashes: of the file's bytes, by which
a withdrawal finds it (etude.withdrawal), and of all else that the content depends on: the embedding
and its VERSION (the module's bytes where it is the user's own), the rate and the stretches heard.
So nothing is ever out of date: another sound or another model has another name. The folder may be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import threading
import zipfile
from pathlib import Path

import numpy as np

from etude import plugins
from etude.config.embeddings import EMBEDDINGS
from etude.storage import atomic, hash_file

log = logging.getLogger(__name__)
VERSION = 2  # raised when the files' form changes

Arrays = dict[str, np.ndarray]


def version_of(embedding: str) -> str:
    """What an embedding's figures depend on: the VERSION of its module, or its own bytes.

    Example:
        >>> version_of("logmel").isdigit()
        True
    """
    if plugins.is_plugin(embedding):
        return plugins.plugin_digest(embedding)
    module = importlib.import_module(EMBEDDINGS[embedding].split(":")[0])
    return str(module.VERSION)


class EmbeddingCache:
    """Arrays by what they were made of; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.found = 0
        self._lock = threading.Lock()  # equal files have one name, and one temporary name

    def key(self, path: Path, **about: object) -> str:
        """The name of what is made of a file under some settings."""
        settings = json.dumps(about | {"form": VERSION}, sort_keys=True, default=str)
        return f"{hash_file(path)}-{hashlib.sha256(settings.encode()).hexdigest()[:32]}"

    def get(self, key: str) -> Arrays | None:
        """What is kept under a name; a file that is damaged counts as none."""
        if self.folder is None:
            return None
        try:
            with np.load(self._path(key)) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        self.found += 1
        return found

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep arrays; if the folder cannot be written, one warning says so and nothing is kept."""
        if self.folder is None:
            return
        try:
            with self._lock, atomic(self._path(key)) as temporary:
                np.savez(temporary, allow_pickle=False, **arrays)
        except OSError as error:
            log.warning("embeddings are not kept: %s: %s", self.folder, error.strerror)
            self.folder = None

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.npz"
