"""The originals' models at full size, on the meta device: as many parameters as they are known to have.

Those of audiolm-pytorch are counted where that package is (tests/audiolm_pytorch/networks.py), those
of MidiLM, Neuromusic and PhraseVAE with their networks (test_symbolic_models, test_phrase_vae).
"""

from __future__ import annotations

import pytest
import torch

MILLION = 1e6


def count(model) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("size", "layers", "heads", "width"),
    [(420, 24, 16, 1024), (1838, 48, 24, 1536), (3255, 48, 32, 2048)],
    ids=["small", "medium", "large"],
)
def test_musicgen(size, layers, heads, width):
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    config = MusicgenDecoderConfig(
        num_hidden_layers=layers, num_attention_heads=heads, hidden_size=width, ffn_dim=4 * width
    )
    with torch.device("meta"):
        model = MusicgenForCausalLM(config)
    assert count(model) == pytest.approx(size * MILLION, rel=0.01)


@pytest.mark.slow
def test_stable_audio_open():
    from diffusers import StableAudioDiTModel

    with torch.device("meta"):
        model = StableAudioDiTModel()  # its defaults are those of Stable Audio Open
    assert count(model) == pytest.approx(1056.9 * MILLION, rel=0.01)


def test_phrase_ldm():
    """StableAudio's transformer at PhraseLDM's sizes: 512 wide, 6 layers, 16 heads, 8 of keys.

    What it is told (the length) is 128 wide, and so is what its cross-attention reads.
    """
    from diffusers import StableAudioDiTModel

    with torch.device("meta"):
        model = StableAudioDiTModel(
            sample_size=512,
            in_channels=64,
            out_channels=64,
            num_layers=6,
            attention_head_dim=32,
            num_attention_heads=16,
            num_key_value_attention_heads=8,
            cross_attention_dim=128,
            cross_attention_input_dim=128,
            global_states_input_dim=128,
            time_proj_dim=128,
        )
    assert count(model) == pytest.approx(29.5 * MILLION, rel=0.01)
