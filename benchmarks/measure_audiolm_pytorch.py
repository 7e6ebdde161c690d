"""What bench_audiolm_pytorch.py measures, each in a process of its own in the library's Python.

PYTHONPATH=.:tests python benchmarks/measure_audiolm_pytorch.py WHAT PACKED [ARGUMENT ...]
prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

from etude.config import Sampling, TrainingSettings
from etude.config.systems.audiolm import AudioLm, AudioLmPytorch
from etude.storage import read_json
from etude.systems.audiolm.audiolm_pytorch import LIBRARY_STAGES
from etude.systems.audiolm.building import STAGES, build_stage
from etude.systems.audiolm.data import PackedData
from etude.systems.audiolm.library import library
from etude.systems.audiolm.sampling import AudioLmGenerator
from etude.systems.audiolm.stages import AudioLmStage, flatten_frames
from etude.training.data import training_batch, validation_batches
from etude.training.loop import Hooks, fit
from etude.training.state import TrainingState

SIZES = {"dim": 256, "depth": 6, "heads": 4}  # 4 heads of 64 in both
NETWORKS = {"etude": SIZES, "library": SIZES | {"backend": "audiolm_pytorch"}}
SAMPLING = Sampling(top_k=None, top_share=0.1)  # the library's filter
COARSE = 3  # of EnCodec's eight quantizers


def experiment(backend: str) -> AudioLm:
    stages = {stage: {"network": NETWORKS[backend]} for stage in STAGES}
    return AudioLm(system="audiolm", corpus="c", end_of_sequence="every_segment", stages=stages)


def build(backend: str, stage: str, packed: Path) -> AudioLmStage:
    return build_stage(experiment(backend), stage, read_json(packed / "info.json"), 0)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_training(packed: Path, backend: str, steps: str) -> dict:
    """Étude's loop over the same batches; the loss is of the coarse codes alone in both."""
    before, info = peak_mb(), read_json(packed / "info.json")
    model = build(backend, "coarse", packed)
    train, valid = (PackedData(packed / split, info["quantizers"]) for split in ("train", "valid"))
    count, every = int(steps), max(int(steps) // 4, 1)
    settings = TrainingSettings(
        steps=count, batch_size=8, learning_rate=3e-4, betas=(0.9, 0.99), weight_decay=0,
        schedule="constant", warmup_steps=0, clip_norm=0.5, validate_every=every, save_every=10**6,
    )  # fmt: skip
    losses, listening = {}, 0.0

    def validate(step: int, validated: torch.nn.Module) -> None:
        nonlocal listening
        began = time.perf_counter()
        validated.eval()
        with torch.inference_mode():
            found = [
                AudioLmStage.loss(validated, batch)  # type: ignore[arg-type]
                for batch in validation_batches(valid, 8, 32)
            ]
        tokens = sum(figures["count"] for _, figures in found)
        losses[step] = sum(float(loss) * figures["count"] for loss, figures in found) / tokens
        listening += time.perf_counter() - began

    with tempfile.TemporaryDirectory() as state:
        began = time.perf_counter()
        fit(
            model,
            train,
            None,
            settings,
            0,
            TrainingState(Path(state, "s")),
            Hooks(on_validate=validate),
        )
        seconds = time.perf_counter() - began - listening
    positions = count * settings.batch_size * len(model.full_layout)
    return {
        "losses": losses, "seconds": seconds, "positions": positions, "peak_mb": peak_mb(),
        "imports_mb": before, "parameters": sum(p.numel() for p in model.parameters()),
    }  # fmt: skip


def measure_sampling(packed: Path, backend: str, seconds: str, clips: str) -> dict:
    """All three stages, by Étude: seconds of music for so many clips at once."""
    before = peak_mb()
    generator = AudioLmGenerator(**{s: build(backend, s, packed).eval() for s in STAGES})  # type: ignore[arg-type]
    seeds = list(range(int(clips)))
    generator.generate(0.5, seeds[:1], SAMPLING, whole_length=True)
    began = time.perf_counter()
    tokens = generator.generate(float(seconds), seeds, SAMPLING, whole_length=True)
    spent = time.perf_counter() - began
    drawn = tokens.semantic[0].numel() + tokens.acoustic[0].numel()
    return {"seconds": spent, "tokens": drawn, "peak_mb": peak_mb(), "imports_mb": before}


def measure_generate(packed: Path, seconds: str, clips: str) -> dict:
    """The library's three `generate`, one after the other, to as many tokens of each kind."""
    before, info = peak_mb(), read_json(packed / "info.json")
    stages = {s: build("library", s, packed).eval() for s in STAGES}
    length, frames = (
        round(float(seconds) * info[f"{kind}_frame_rate"]) for kind in ("semantic", "acoustic")
    )
    semantic, coarse, fine = (wrapped(stages[s], info) for s in STAGES)
    semantic.transformer.to_logits.bias.data[-1] = -1e9  # else it may end before the length
    began = time.perf_counter()
    ids = semantic.generate(max_length=length, batch_size=int(clips))
    codes = coarse.generate(semantic_token_ids=ids, max_time_steps=frames)
    rest = fine.generate(coarse_token_ids=codes.clamp(min=0))
    spent = time.perf_counter() - began
    drawn = ids[0].numel() + codes[0].numel() + rest[0].numel()
    return {"seconds": spent, "tokens": drawn, "peak_mb": peak_mb(), "imports_mb": before}


def wrapped(stage: AudioLmStage, info: dict) -> torch.nn.Module:
    """The library's wrapper around a stage's network; its ids are not merged, as ours here."""
    module, net = library(), stage.transformer.net
    if stage.stage == "semantic":
        return module.SemanticTransformerWrapper(transformer=net, unique_consecutive=False).eval()
    codec = type("Codec", (module.EncodecWrapper,), {"__init__": lambda self: None})()
    codec.rq_groups, codec.num_quantizers = 1, info["quantizers"]
    if stage.stage == "coarse":
        return module.CoarseTransformerWrapper(
            transformer=net, codec=codec, unique_consecutive=False
        ).eval()
    return module.FineTransformerWrapper(transformer=net, codec=codec).eval()


# --------------------------------------------------------------- waveforms encoded at every step


def encoders(size: str) -> tuple[type, type]:
    """HubertWithKmeans and EncodecWrapper as the library wants them, on transformers' classes.

    Args:
        size: `tiny`, or `full`: HuBERT base and EnCodec at 24 kHz, with random weights.
    """
    from transformers import EncodecConfig, EncodecModel, HubertConfig, HubertModel

    tiny = size == "tiny"
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    small |= {"intermediate_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embedding_groups": 4}
    hubert = HubertModel(HubertConfig(**small if tiny else {})).eval()
    layer, width = (2, 64) if tiny else (9, 768)
    small = {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16}
    encodec = EncodecModel(EncodecConfig(**small if tiny else {})).eval()
    centres = torch.randn(500, width)
    module = library()

    class Semantic(module.HubertWithKmeans, torch.nn.Module):
        codebook_size = 500

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        @torch.inference_mode()
        def forward(self, wave: torch.Tensor, flatten: bool = True) -> torch.Tensor:
            states = hubert(wave, output_hidden_states=True).hidden_states[layer]
            return torch.cdist(states, centres[None]).argmin(-1)

    class Codec(module.EncodecWrapper, torch.nn.Module):
        rq_groups, num_quantizers, codebook_size, seq_len_multiple_of = 1, 8, 1024, 320

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        @torch.inference_mode()
        def forward(self, wave: torch.Tensor, return_encoded: bool = True) -> tuple:
            codes = encodec.encode(wave[:, None], bandwidth=6.0).audio_codes[0]
            return None, codes.transpose(1, 2), None

    return Semantic, Codec


def measure_encoding(packed: Path, size: str, dim: str, depth: str, steps: str) -> dict:
    """Seconds a step of the coarse stage from 2-s waveforms, and from the tokens of the same."""
    module, batch = library(), 4
    semantic, codec = (kind() for kind in encoders(size))
    network = AudioLmPytorch(
        backend="audiolm_pytorch", dim=int(dim), depth=int(depth), heads=max(int(dim) // 64, 1)
    )
    shape = {
        "semantic_vocabulary": 500, "codebook_size": 1024, "coarse_quantizers": COARSE,
        "semantic_frames": 99, "acoustic_frames": 150, "semantic_rate": 50.0,
        "acoustic_rate": 75.0, "window_seconds": 2.0, "deduplicate_semantic": True,
    }  # fmt: skip
    stage = LIBRARY_STAGES["coarse"](shape, network).train()
    wrapper = module.CoarseTransformerWrapper(
        transformer=stage.transformer.net, codec=codec, wav2vec=semantic
    ).train()
    stage.forgetful_mask = wrapper.mask_prob
    adam = torch.optim.Adam([p for p in stage.parameters() if p.requires_grad], lr=3e-4)
    wave = {rate: 0.1 * torch.randn(batch, 2 * rate) for rate in (16000, 24000)}
    with torch.inference_mode():
        said = semantic(wave[16000])
        codes = codec(wave[24000])[1].transpose(1, 2)
    tokens = {"semantic": said.clone(), "acoustic": codes.clone()}
    assert flatten_frames(tokens["acoustic"]).shape == (batch, 1200)

    def seconds(loss) -> float:
        began = time.perf_counter()
        adam.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 0.5)
        adam.step()
        return time.perf_counter() - began

    ways = {
        "waves": lambda: wrapper(
            raw_wave=wave[16000], raw_wave_for_codec=wave[24000], return_loss=True
        ),
        "tokens": lambda: stage.loss(tokens)[0],
    }
    # In turns: what else the machine does then falls on both. The first of each warms up.
    times = [{way: seconds(loss) for way, loss in ways.items()} for _ in range(int(steps) + 1)]
    return {way: min(row[way] for row in times[1:]) for way in ways}


def measure_loading(packed: Path, steps: str) -> dict:
    """Seconds that a batch of pre-made tokens takes to be read, which training from them pays."""
    data = PackedData(packed / "train", read_json(packed / "info.json")["quantizers"])
    training_batch(data, 4, 0, 0)
    began = time.perf_counter()
    for step in range(int(steps)):
        training_batch(data, 4, step, 0)
    return {"seconds": (time.perf_counter() - began) / int(steps)}


def main() -> None:
    torch.set_num_threads(1)
    what, packed, *arguments = sys.argv[1:]
    print(json.dumps(globals()[f"measure_{what}"](Path(packed), *arguments)))


if __name__ == "__main__":
    main()
