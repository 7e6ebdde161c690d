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
@pytest.mark.parametrize(
    ("precision", "weights", "kept"), [("float32", 1.6, 4.2), ("bfloat16", 0.8, 3.1)]
)
def test_words_for_musicgen_small_are_learned_in_12_gb(precision, weights, kept):
    """docs/text-to-music.md: what a step keeps for the way back, of 10 clips of 253 positions.

    Counted where autograd keeps it, on the meta device: the decoder frozen, what it reads learned.
    """
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    config = MusicgenDecoderConfig(
        num_hidden_layers=24, num_attention_heads=16, hidden_size=1024, ffn_dim=4096,
        use_cache=False,
    )  # fmt: skip
    sizes, held = {}, []
    with torch.device("meta"):
        model = MusicgenForCausalLM(config).to(getattr(torch, precision)).requires_grad_(False)
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

        def keep(tensor):
            storage = tensor.untyped_storage()
            held.append(tensor)  # so that no other takes its place
            sizes[storage._cdata] = 0 if storage._cdata in own else storage.nbytes()
            return tensor

        ids = torch.zeros(10 * 4, 253, dtype=torch.long)
        read = torch.zeros(10, 32, 1024, dtype=model.dtype, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(input_ids=ids, encoder_hidden_states=read)
    gib = 2**30
    of_weights = count(model) * model.dtype.itemsize / gib
    assert of_weights == pytest.approx(weights, abs=0.05)
    assert sum(sizes.values()) / gib == pytest.approx(kept, rel=0.03)
    text_encoder = 110 * MILLION * 4 / gib
    assert of_weights + text_encoder + sum(sizes.values()) / gib < 12 / 1.5, "half as much is free"


@pytest.mark.slow
def test_stable_audio_open():
    from diffusers import StableAudioDiTModel

    with torch.device("meta"):
        model = StableAudioDiTModel()  # its defaults are those of Stable Audio Open
    assert count(model) == pytest.approx(1056.9 * MILLION, rel=0.01)


@pytest.mark.parametrize(("told", "size"), [(128, 29.5), (256, 32.4)], ids=["lengths", "sections"])
def test_phrase_ldm(told, size):
    """StableAudio's transformer at PhraseLDM's sizes: 512 wide, 6 layers, 16 heads, 8 of keys.

    The hub's pages state both sizes; with sections, cross-attention reads the 256 numbers of a
    transformer of three layers (8 heads) over kinds and lengths of sections.
    """
    from diffusers import StableAudioDiTModel

    with torch.device("meta"):
        parts = [torch.nn.Embedding(128, 128)]  # lengths
        parts.append(
            StableAudioDiTModel(
                sample_size=512,
                in_channels=64,
                out_channels=64,
                num_layers=6,
                attention_head_dim=32,
                num_attention_heads=16,
                num_key_value_attention_heads=8,
                cross_attention_dim=told,
                cross_attention_input_dim=told,
                global_states_input_dim=128,
                time_proj_dim=128,
            )
        )
        if told == 256:
            parts += [torch.nn.TransformerEncoderLayer(256, 8, 1024) for _ in range(3)]
            parts += [torch.nn.Embedding(12, 128), torch.nn.Embedding(33, 128)]
    assert sum(map(count, parts)) == pytest.approx(size * MILLION, rel=0.002)
