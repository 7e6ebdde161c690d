"""Small look-alikes of what the originals publish: their classes, their names, their file formats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
import tiny_models
import torch


def write_takes(
    folder: Path, count: int, hertz: float, rate: int, name: str, seconds: float
) -> None:
    """Recordings of a swelling note, each a semitone above the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(rate * seconds)) / rate
    for number in range(count):
        random = np.random.default_rng([number, round(hertz)])
        tone = hertz * 2 ** (number / 12)
        wave = sum(np.sin(2 * np.pi * tone * h * times + number) / h for h in (1, 2, 3))
        wave = 0.05 * wave * (1 + np.sin(2 * np.pi * (1 + number % 3) * times))
        wave += 0.003 * random.standard_normal(len(times))
        soundfile.write(folder / f"{name} [{number}].wav", wave.astype(np.float32), rate)


# Run with audiolm-pytorch's packages and scikit-learn on the path. The networks are the library's own
# classes, the files are as its trainers save them, a step of Adam behind them; the k-means is as
# fairseq's example saves it.
WE_SHARP = """
import sys
from importlib.metadata import version
from pathlib import Path
import joblib
import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from etude.systems.audiolm.library import library

folder, torch_seed = Path(sys.argv[1]), torch.manual_seed(0)
small, codes = {"dim": 32, "depth": 1, "heads": 2}, {"codebook_size": 64}
ids, coarse = {"num_semantic_tokens": 500}, {"num_coarse_quantizers": 3}
networks = {
    "semantic.transformer.25000": library().SemanticTransformer(**ids, **small),
    "coarse.transformer.29219": library().CoarseTransformer(**ids, **codes, **coarse, **small),
    "fine.transformer.24245": library().FineTransformer(
        **codes, **coarse, num_fine_quantizers=5, **small
    ),
}
for name, network in networks.items():
    adam = torch.optim.Adam(network.parameters(), lr=3e-4)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    content = {"model": network.state_dict(), "optim": adam.state_dict()}
    torch.save(content | {"version": version("audiolm-pytorch")}, folder / f"{name}.pt")
frames = np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32)
centres = MiniBatchKMeans(500, random_state=0, n_init=1).fit(frames)
joblib.dump(centres, folder / "hubert_base_ls960_L9_km500.bin")
"""


def write_words(file: Path, concepts: Iterable[str], rows: int, width: int) -> None:
    """TI-MusicGen's `<run>-best.pt`: of each word the epoch and its rows [rows, width]."""
    generator = torch.Generator().manual_seed(0)
    learned = {
        concept: {"epoch": 90, "embeds": torch.randn(rows, width, generator=generator)}
        for concept in concepts
    }
    torch.save(learned, file)


def write_tuned(folder: Path, work: Path) -> None:
    """What audio-tune leaves: stable-audio-tools' model.ckpt as `unwrap_model.py` writes it, its
    model_config.json, and beside them the T5 in the hub's form.

    Args:
        work: a folder for what it is made of.
    """
    from etude.config import Pretrained
    from etude.pretrained.fetch import fetch_weights
    from etude.pretrained.sound import read_networks
    from etude.pretrained.sound_names import model_config_of, to_tools

    tiny_models.make_stable_audio(work / "pipeline")
    source = Pretrained(kind="text_to_sound", path=work / "pipeline")
    fetch_weights("open", source, work / "open")
    config, tensors = read_networks(work / "open")
    text = folder / "text_encoder"
    text.mkdir(parents=True)
    # tests/fixtures/stable_audio_tools.json holds these names against that package's own.
    torch.save({"state_dict": to_tools(tensors, config.configs)}, folder / "model.ckpt")
    about = model_config_of(config.configs, config.text_length)
    (folder / "model_config.json").write_text(json.dumps(about), "utf-8")
    given = work / "pipeline"
    for place in (*(given / "text_encoder").iterdir(), given / "tokenizer/tokenizer.json"):
        (text / place.name).write_bytes(place.read_bytes())
