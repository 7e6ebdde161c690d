"""New words for sounds that the base never heard; training from codes beside encoding each step.

Three training seeds of the words on one base; what is read are the tables that the workflow writes.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

import pytest
import torch
from record import record, table
from workspace import Workspace

from etude.config.systems.musicgen import TextNetwork
from etude.storage import read_csv
from etude.systems.musicgen.network import Lm
from etude.systems.musicgen.texts import word_tokenizer

pytestmark = pytest.mark.proof

Row = dict[str, str]

ROOT = Path(__file__).resolve().parents[1]
PRESET = ROOT / "config/presets/textual_inversion.yaml"
COMMAND = "pytest benchmarks/bench_textual_inversion.py -m proof"
SEEDS, ROWS = [0, 1, 2], [1, 5, 20]
CONTROLS = ("null", "nearest", "untrained", "wrong")
TIMES = 5  # more than encoding each step must training from codes be worth


def test_words_beat_every_control(tmp_path):
    """Held-out pieces: nats per token under the word less those under each control."""
    values = {"experiments": {}, "run": []}
    for rows in ROWS:
        values["run"].append(f"words{rows}")
        values["experiments"][f"words{rows}"] = {
            "system": "textual_inversion", "corpus": "programs", "base": "base",
            "concepts": ["steel_drum", "choir_and_marimba"], "tokens_per_concept": rows,
            "seeds": {"train": SEEDS, "generate": [0]},
        }  # fmt: skip
    workspace = Workspace(tmp_path)
    config = workspace.config("bench", values)
    cells = [(name, seed) for name in values["run"] for seed in SEEDS] + [("base", 0)]
    workspace.run(*map(place, cells), configs=[PRESET, config])
    found = read_cells(workspace.folder, cells)
    record("New words for unheard sounds", COMMAND, lines_of(found))
    lost = [
        key
        for key, row in found.items()
        if key[0] != "base" and key[2] in CONTROLS and not float(row["word_ci_high"]) < 0
    ]
    assert not lost, "the word is not better, or not surely"


def place(cell: tuple[str, int]) -> str:
    """The table of an experiment and training seed; that of the base is the ceiling."""
    return f"results/metrics/{cell[0]}/seed-{cell[1]}/concept.csv"


def read_cells(folder: Path, cells: list[tuple[str, int]]) -> dict[tuple[str, str, str, int], Row]:
    """Rows by experiment, concept, condition and seed."""
    return {
        (name, row["concept"], row["condition"], seed): row
        for name, seed in cells
        for row in read_csv(folder / place((name, seed)))
    }


def lines_of(found: dict[tuple[str, str, str, int], Row]) -> list[str]:
    """The table in Markdown, and what its columns are."""
    primary = next(row["primary_metric"] for row in found.values() if row["primary_metric"])
    words = [key for key in found if key[2] == "learned"]
    lines = []
    for name, concept, _, seed in words:
        rows = {
            key[2]: row for key, row in found.items() if (*key[:2], key[3]) == (name, concept, seed)
        }
        clips = [
            " / ".join(shown(rows[c][column]) for c in ("learned", "null", "real"))
            for column in ("distance", "primary", "recognised")
        ]
        cells = [rows["learned"]["pieces"], *(paired(rows.get(c)) for c in CONTROLS), *clips]
        lines.append([name, concept, str(seed), *cells])
    head = ["run", "sound", "seed", "pieces", *CONTROLS, "distance", "primary", "recognised"]
    about = (
        "Nats per token of held-out segments under the word less those under no text (null), the "
        "nearest known word, its rows before training, and another sound's word; paired, pieces "
        "as units, 95 %. Below 0 the word is worth more. Then, of 32 clips each, under the word / "
        "under no text / real ones through the codec: Fréchet distance on timbre, the primary "
        f"metric ({primary}), and the share that a classifier takes for the sound. `base`: sounds "
        "that it knows from captions, the ceiling."
    )
    return [about, "", *table(head, lines)]


def paired(row: Row | None) -> str:
    """What the word is worth more than a control, with its interval."""
    if not row or not row["word_less"]:
        return ""
    return "{:.3f} [{:.3f}, {:.3f}]".format(
        *(float(row[name]) for name in ("word_less", "word_ci_low", "word_ci_high"))
    )


def shown(cell: str) -> str:
    """A figure with what counts of it."""
    return f"{float(cell):.4g}" if cell else ""


def test_training_from_codes_is_faster_than_encoding_each_step():
    """The embedded decoder, and EnCodec's classes in full size and small, on the same batch."""
    from transformers import EncodecConfig, EncodecModel

    full = {
        "sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4], "num_filters": 64,
        "hidden_size": 128, "codebook_size": 2048, "codebook_dim": 128,
        "target_bandwidths": [2.2], "use_causal_conv": False, "norm_type": "weight_norm",
    }  # fmt: skip
    small = full | {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "codebook_size": 64}
    small["target_bandwidths"] = [1.2]
    rows, ratios = [], {}
    for name, settings in (("full", full), ("small", small)):
        size = settings["codebook_size"]
        codec = EncodecModel(EncodecConfig(**settings)).eval()
        wave = torch.randn(4, 1, 2 * 32000)
        with torch.no_grad():
            codes = codec.encode(wave).audio_codes[0][:, :4]
        shape = {"codebook_size": size, "quantizers": codes.shape[1], "frames": codes.shape[2],
                 "frame_rate": 50.0, "vocabulary": 8}  # fmt: skip
        model = Lm(shape, TextNetwork(), word_tokenizer(["steel drum"]))
        optimiser = torch.optim.AdamW(model.parameters())
        text = {
            "ids": torch.ones(4, 2, dtype=torch.long),
            "mask": torch.ones(4, 2, dtype=torch.long),
        }

        def step(found, model=model, optimiser=optimiser, text=text):
            optimiser.zero_grad()
            model.loss({"codes": found} | text)[0].backward()
            optimiser.step()

        def encode_and_step(codec=codec, wave=wave):
            with torch.no_grad():
                found = codec.encode(wave).audio_codes[0][:, :4]
            step(found)

        from_codes, encoding = seconds(lambda codes=codes: step(codes)), seconds(encode_and_step)
        ratios[name] = encoding / from_codes
        rows.append([name, f"{from_codes:.3f}", f"{encoding:.3f}", f"{ratios[name]:.1f}"])
    head = ["EnCodec", "from codes, s a step", "encoding each step, s", "ratio"]
    record("Text to music from codes made once", COMMAND, table(head, rows))
    assert ratios["full"] >= TIMES


def seconds(work, count: int = 3) -> float:
    """The median of a few runs."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times)
