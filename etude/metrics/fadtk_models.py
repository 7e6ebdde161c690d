"""fadtk's embeddings by fadtk's own loaders, on the clips that every metric hears.

Runs in fadtk's environment (envs/fadtk.yaml). Weights are fetched by fadtk itself, into its own
cache, when a loader is opened. Its own road is kept: each clip is written as 16-bit WAV at the
loader's rate, read by `load_wav` and embedded by `get_embedding`, float16 included. What differs
from fadtk's command line: clips come through Étude's door (no prime, one length), and the distances
are Étude's, which equal fadtk's on the same embeddings (a golden test).

fadtk imports torchaudio, of which many builds do not load beside a torch of another version or
device. Where it does not load, the little that fadtk and encodec use of it is stood in for, by
soundfile and soxr, which all of Étude reads and resamples with.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from etude import plugins
from etude.audio.files import write_wav
from etude.errors import UserError
from etude.pretrained.network_hash import hash_of_loader

VERSION = 1

log = logging.getLogger(__name__)

# fadtk's loaders and what they are made with; its get_all_models would fetch all weights.
LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "clap-laion-audio": ("CLAPLaionModel", {"type": "audio"}),
    "clap-laion-music": ("CLAPLaionModel", {"type": "music"}),
    "clap-2023": ("CLAPModel", {"type": "2023"}),
    "vggish": ("VGGishModel", {}),
    "MERT-v1-95M": ("MERTModel", {"layer": 12}),
    "encodec-emb": ("EncodecEmbModel", {"variant": "24k"}),
    "encodec-emb-48k": ("EncodecEmbModel", {"variant": "48k"}),
    "dac-44kHz": ("DACModel", {}),
    "cdpam-acoustic": ("CdpamModel", {"mode": "acoustic"}),
    "cdpam-content": ("CdpamModel", {"mode": "content"}),
    "w2v2-base": ("W2V2Model", {"size": "base", "layer": 12}),
    "w2v2-large": ("W2V2Model", {"size": "large", "layer": 24}),
    "hubert-base": ("HuBERTModel", {"size": "base", "layer": 12}),
    "hubert-large": ("HuBERTModel", {"size": "large", "layer": 24}),
    "wavlm-base": ("WavLMModel", {"size": "base", "layer": 12}),
    "wavlm-large": ("WavLMModel", {"size": "large", "layer": 24}),
    "whisper-small": ("WhisperModel", {"size": "small"}),
}


class FadtkEmbedding:
    """A loader of fadtk as an embedding.

    Args:
        name: one of LOADERS.
        loader: an opened `ModelLoader`, in place of fadtk's own of that name.
    """

    components = None
    deviation_floor = 0.0

    def __init__(self, name: str, loader: Any = None) -> None:
        self.loader = open_loader(name) if loader is None else loader
        self.loader.load_model()
        self.sample_rate, self.dim = int(self.loader.sr), int(self.loader.num_features)
        self.origin = {"from": f"fadtk {name}", "sha256": hash_of_loader(self.loader)}

    def embed(self, wave: NDArray[np.float64]) -> NDArray[np.float64]:
        """wave [batch, samples] -> [batch, windows, dim]."""
        found = [self._embed(item) for item in np.atleast_2d(wave)]
        return np.stack([rows.reshape(-1, self.dim) for rows in found]).astype(np.float64)

    def _embed(self, wave: NDArray[np.float64]) -> NDArray[np.float16]:
        with tempfile.TemporaryDirectory(prefix="etude-fadtk-") as scratch:
            file = Path(scratch, "clip.wav")
            write_wav(file, wave.astype(np.float32), self.sample_rate)
            return np.asarray(self.loader.get_embedding(self.loader.load_wav(file)))


def open_loader(name: str) -> Any:
    """fadtk's loader of a name; `module:Class` is a `ModelLoader` of the user's.

    Raises:
        UserError: fadtk is not installed, has no such loader, or cannot make it.
    """
    if plugins.is_plugin(name):
        return plugins.instantiate(name, {}, ("load_model", "load_wav", "get_embedding"))
    class_name, options = LOADERS[name]
    stand_in_for_torchaudio()
    try:
        loader = getattr(importlib.import_module("fadtk.model_loader"), class_name)
        return loader(**options)
    except ModuleNotFoundError as error:
        raise UserError(
            f"fadtk's embedding {name} cannot be opened: {error.name} is not installed",
            where="this environment",
            do="run with --sdm conda, which makes envs/fadtk.yaml; or take the name out of "
            "`evaluation.embeddings`",
        ) from None
    except (OSError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise UserError(
            f"fadtk's embedding {name} cannot be opened",
            where=f"fadtk.model_loader.{class_name}",
            why=str(error).strip().split("\n")[0] or type(error).__name__,
            do="mostly its weights could not be fetched: run `fadtk` once where there is a network",
        ) from None


def stand_in_for_torchaudio() -> None:
    """Put a small module in torchaudio's place where torchaudio does not load."""
    try:
        importlib.import_module("torchaudio")
        return
    except (ImportError, OSError, RuntimeError) as error:
        why = str(error).strip().split("\n")[0]
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]
    log.warning("torchaudio does not load here (%s); soundfile and soxr take its place", why)
    found: dict[str, dict[str, Any]] = {
        "torchaudio": {"load": _load},
        "torchaudio.functional": {"resample": _resample},
        "torchaudio.transforms": {"Resample": _Resample},
    }
    for name, content in found.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)  # transformers asks for it
        vars(module).update(content)
        sys.modules[name] = module
        if "." in name:
            setattr(sys.modules["torchaudio"], name.partition(".")[2], module)


def _load(path: str, **_: Any) -> tuple[torch.Tensor, int]:
    """As torchaudio.load: float32 [channels, samples] and the rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(np.ascontiguousarray(samples.T)), int(rate)


def _resample(wave: torch.Tensor, orig_freq: int, new_freq: int, **_: Any) -> torch.Tensor:
    """Resample the last axis of [..., samples]."""
    flat = wave.reshape(-1, wave.shape[-1]).cpu().numpy()
    rows = [soxr.resample(row, orig_freq, new_freq, quality="HQ") for row in flat]
    return torch.from_numpy(np.stack(rows)).reshape(*wave.shape[:-1], -1)


class _Resample(torch.nn.Module):
    """As torchaudio.transforms.Resample."""

    def __init__(self, orig_freq: int = 16000, new_freq: int = 16000, **_: Any) -> None:
        super().__init__()
        self.rates = orig_freq, new_freq

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        """[..., samples] at the old rate to the new one."""
        return _resample(wave, *self.rates)
