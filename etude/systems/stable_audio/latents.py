"""The corpus as latents: whole pieces, encoded once.

{split}.safetensors  latents float32 [frames of all pieces, channels]
{split}.csv          a row for each piece: piece, first and frames (of those rows), seconds,
                     concept, caption
autoencoder/         the stage that encoded them, with which what is made of them is heard
left_out.csv         pieces that were not encoded: piece, reason
statistics.json      mean and deviation of each number, and the percentile (99.9 %) in deviations,
                     over the training split; silence: the latent of nothing; channels, rate, hop
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from etude.audio.files import AudioError, AudioFile
from etude.errors import UserError
from etude.storage import read_csv, write_csv, write_json
from etude.systems.base import Parts
from etude.systems.stable_audio.autoencoder import Autoencoder

VERSION = 1  # raised when latents, rows or statistics change

log = logging.getLogger(__name__)
SPLITS = ("train", "valid", "test")
COLUMNS = ["piece", "first", "frames", "seconds", "concept", "caption"]
LEFT_OUT, AUTOENCODER = "left_out.csv", "autoencoder"
WITHIN = 0.999
LEAST_DEVIATION = 1e-4
CHUNK_S = 20.0  # seconds that a convolutional autoencoder encodes at once
SILENCE_S = 2.0


def write_latents(autoencoder: Autoencoder, parts: Parts, folder: Path) -> None:
    """Write all files of this module's head.

    Raises:
        UserError: no training piece can be encoded.
    """
    assert parts.pieces is not None
    wav = audio_files(parts)
    captions = {row["piece"]: row for row in read_csv(parts.captions)} if parts.captions else {}
    pieces = [row for row in read_csv(parts.pieces) if row["status"] == "kept"]
    left_out: list[dict[str, str]] = []
    statistics: dict[str, Any] = {}
    for split in SPLITS:
        names = sorted(row["piece"] for row in pieces if row["split"] == split)
        latents, rows = _of_split(autoencoder, names, wav, captions, left_out)
        save_file({"latents": latents}, folder / f"{split}.safetensors")
        write_csv(folder / f"{split}.csv", COLUMNS, rows)
        if split == "train":
            if not rows:
                _refuse_nothing(left_out, str(parts.pieces))
            statistics = scale(latents)
        log.info("%s: %d pieces, %d frames", split, len(rows), len(latents))
    silence = autoencoder.encode(torch.zeros(1, round(SILENCE_S * autoencoder.rate)))
    statistics |= {
        "silence": silence[0].mean(1).tolist(),
        "channels": autoencoder.channels,
        "rate": autoencoder.rate,
        "hop": autoencoder.hop,
    }
    (folder / AUTOENCODER).mkdir(exist_ok=True)
    autoencoder.save(folder / AUTOENCODER)
    write_csv(folder / LEFT_OUT, ["piece", "reason"], left_out)
    write_json(folder / "statistics.json", statistics)
    for reason, count in Counter(row["reason"].partition(":")[0] for row in left_out).items():
        log.warning("%d pieces are left out: %s; %s names them", count, reason, LEFT_OUT)


def audio_files(parts: Parts) -> dict[str, Path]:
    """The audio of each kept piece."""
    return {
        row["piece"]: folder / f"{row['piece']}.wav"
        for folder in parts.wav
        for row in read_csv(folder / "index.csv")
        if row["status"] == "kept"
    }


def _of_split(
    autoencoder: Autoencoder,
    names: list[str],
    wav: dict[str, Path],
    captions: dict[str, dict[str, str]],
    left_out: list[dict[str, str]],
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Latents of pieces one after the other, and a row for each; what fails goes to `left_out`."""
    found, rows, first = [torch.zeros(0, autoencoder.channels)], [], 0
    for piece in names:
        try:
            latents, seconds = encode_file(autoencoder, wav[piece])
        except (AudioError, KeyError) as error:
            reason = error.reason if isinstance(error, AudioError) else "no_audio"
            left_out.append({"piece": piece, "reason": reason})
            continue
        if not len(latents):
            left_out.append({"piece": piece, "reason": "too_short: not one frame of latents"})
            continue
        about = captions.get(piece, {})
        rows.append(
            {
                "piece": piece, "first": first, "frames": len(latents),
                "seconds": f"{seconds:.3f}", "concept": about.get("concept", ""),
                "caption": about.get("caption", ""),
            }
        )  # fmt: skip
        found.append(latents)
        first += len(latents)
    return torch.cat(found).contiguous(), rows


def encode_file(autoencoder: Autoencoder, path: Path) -> tuple[Tensor, float]:
    """Latents of a file [frames, channels], and its seconds.

    Raises:
        AudioError: it cannot be read, or its rate is below that of the autoencoder.
    """
    with AudioFile(path) as file:
        wave = torch.from_numpy(file.read(autoencoder.rate))
        return encode_wave(autoencoder, wave), file.seconds


def encode_wave(autoencoder: Autoencoder, wave: Tensor) -> Tensor:
    """Latents [frames, channels] of a wave of any length [samples].

    Convolutional autoencoders encode it in parts that overlap by a half, of which the middle is
    kept, so that memory does not grow with the piece.
    """
    hop = autoencoder.hop
    chunk = max(4, int(CHUNK_S * autoencoder.frame_rate) // 4 * 4)
    total, quarter = len(wave) // hop, chunk // 4
    if total == 0:
        return torch.zeros(0, autoencoder.channels)
    if total <= chunk or autoencoder.shape["kind"] == "magnitude":
        return autoencoder.encode(wave[None])[0].T.contiguous()
    parts, done = [], 0
    while done < total:
        begin = max(0, min(done - quarter, total - chunk))
        last = begin + chunk >= total
        end = total if last else begin + 3 * quarter
        latents = autoencoder.encode(wave[None, begin * hop : (begin + chunk) * hop])[0]
        parts.append(latents[:, done - begin : end - begin])
        done = end
    return torch.cat(parts, dim=1).T.contiguous()


def scale(latents: Tensor) -> dict[str, Any]:
    """Mean, deviation and percentile of latents [frames, channels]."""
    values = latents.double()
    mean, deviation = values.mean(0), values.std(0, correction=0).clamp(min=LEAST_DEVIATION)
    standard = ((values - mean) / deviation).abs().numpy()
    return {
        "mean": mean.tolist(),
        "deviation": deviation.tolist(),
        "percentile": float(np.quantile(standard, WITHIN)),
    }


def _refuse_nothing(left_out: list[dict[str, str]], where: str) -> None:
    reasons = Counter(row["reason"] for row in left_out)
    why = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    raise UserError(
        "no training piece can be encoded",
        code="nothing-to-train-on",
        where=where,
        why=why or "no piece of the training split was kept",
        do="bring recordings of the autoencoder's rate or more; pieces.csv has the other reasons",
    )
