"""Small look-alikes of the released PhraseVAE and PhraseLDM, written as their authors write them.

transformers' T5 and tokenizer, diffusers' transformer, huggingface_hub's mixin for a hub's folder,
and the dict that Lightning saves. The names of tensors and keys are those of the original's classes.
"""

from __future__ import annotations

import torch
from diffusers import StableAudioDiTModel
from huggingface_hub import PyTorchModelHubMixin
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import nn
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

SPECIALS = [
    "[EOS]",
    "[BOS]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[MASK]",
    "[HIST]",
    "[PITCH]",
    "[INST]",
    "[MELODY]",
    "[CHORD]",
    "[COMPRESS]",
    "[C0]",
    "[C1]",
    "[C2]",
    "[C3]",
    "[C4]",
    "[C5]",
    "[C6]",
    "[C7]",
    "[C8]",
    "[C9]",
]
COUNTS = {"o": 128, "i": 129, "p": 256, "d": 128, "v": 32, "s": 254, "t": 49}
T5 = {"d_model": 32, "d_ff": 64, "num_layers": 1, "num_heads": 2, "d_kv": 16, "dropout_rate": 0.0}
LATENT = 8
# The same sizes as keys of Étude.
VAE = {
    "dim": 32, "feed_forward": 64, "layers": 1, "heads": 2, "head_dim": 16, "latent": LATENT,
    "dropout": 0.0,
}  # fmt: skip
MODEL = {
    "sample_size": 32, "in_channels": LATENT, "out_channels": LATENT, "num_layers": 2,
    "attention_head_dim": 8, "num_attention_heads": 4, "num_key_value_attention_heads": 2,
    "cross_attention_dim": 24, "cross_attention_input_dim": 24, "global_states_input_dim": 24,
    "time_proj_dim": 16,
}  # fmt: skip
LDM = {
    "latent": LATENT, "layers": 2, "heads": 4, "head_dim": 8, "key_value_heads": 2, "cross_dim": 24, "told_dim": 24,
    "time_dim": 16, "longest": 32, "scale": 1.5, "clip": 2.75,
}  # fmt: skip
TEXTS = [
    "[INST]", "b-1", "[SEP]",
    "i-0 o-0 p-60 d-12 o-12 p-64 d-12 o-24 p-67 d-24",
    "i-0 o-0 p-67 d-24 p-60 d-24 o-24 p-65 d-24",
    "i-0 o-0 p-48 d-48",
    "i-13 o-0 p-72 d-12 o-12 p-74 d-12 o-24 p-76 d-24",
    "i-25 o-6 p-55 d-6 o-18 p-59 d-6",
]  # fmt: skip


def tokenizer() -> PreTrainedTokenizerFast:
    """The released vocabulary, by the libraries that it was made with."""
    inner = Tokenizer(WordLevel(unk_token="[UNK]"))
    inner.add_special_tokens(SPECIALS)
    words = ["b-1", *(f"{letter}-{n}" for letter, count in COUNTS.items() for n in range(count))]
    inner.add_tokens(words)
    inner.pre_tokenizer = WhitespaceSplit()
    named = {
        f"{name}_token": f"[{name.upper()}]"
        for name in ["pad", "eos", "bos", "unk", "cls", "sep", "mask"]
    }
    return PreTrainedTokenizerFast(tokenizer_object=inner, **named)


class Inner(nn.Module):
    """T5 around a normal distribution of a few numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.t5 = T5ForConditionalGeneration(
            T5Config(
                **T5, vocab_size=1000, decoder_start_token_id=1, pad_token_id=5, eos_token_id=0
            )
        )
        wide = 4 * T5["d_model"]
        self.proj = nn.Linear(wide, 2 * LATENT)
        self.post_proj = nn.Linear(LATENT, wide)
        self.layer_norm = nn.LayerNorm(wide)


class PhraseVae(nn.Module, PyTorchModelHubMixin):
    """What the hub has as phrase-vae."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Inner()
        self.tokenizer = tokenizer()

    def encode(self, texts):
        """(mean, log-variance) of texts."""
        rows = self.tokenizer(
            [f"[C0] [C1] [C2] [C3] [BOS] {text} [EOS]" for text in texts],
            return_tensors="pt", padding=True,
        )  # fmt: skip
        states = self.model.t5.encoder(
            input_ids=rows.input_ids, attention_mask=rows.attention_mask
        ).last_hidden_state
        flat = self.model.layer_norm(states[:, :4].flatten(1))
        return self.model.proj(flat).chunk(2, dim=1)

    def memory(self, latents):
        return self.model.post_proj(latents).unflatten(1, (4, -1))

    def decode(self, latents):
        """Texts, greedily, with special words."""
        memory = self.memory(latents)
        ids = self.model.t5.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory),
            attention_mask=torch.ones(len(memory), 1, dtype=torch.long),
            decoder_start_token_id=1, pad_token_id=5, eos_token_id=0,
            max_length=128, do_sample=False, num_beams=1,
        )  # fmt: skip
        return self.tokenizer.batch_decode(ids)

    def loss(self, texts, noise=0.0):
        mean, _ = self.encode(texts)
        memory = self.memory(mean + noise * torch.randn_like(mean))
        labels = self.tokenizer(
            [f"{text} [EOS]" for text in texts], return_tensors="pt", padding=True
        ).input_ids
        labels = labels.masked_fill(labels == 5, -100)
        return self.model.t5(encoder_outputs=(memory,), labels=labels).loss


def phrase_vae(steps: int = 250) -> PhraseVae:
    """One that has learned TEXTS."""
    torch.manual_seed(0)
    model = PhraseVae()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(TEXTS, noise=0.3).backward()
        optimizer.step()
    return model.eval()


class PhraseLdm(nn.Module, PyTorchModelHubMixin):
    """What the hub has as phrase-ldm-lencond, or without lengths as phrase-ldm-uncond."""

    def __init__(self, scale_factor=1.5, clip_range=2.75, length_control=True) -> None:
        super().__init__()
        self.ldm = StableAudioDiTModel(**MODEL)
        if length_control:
            self.length_encoder = nn.Module()
            self.length_encoder.length_embedding = nn.Embedding(128, MODEL["time_proj_dim"] + 8)

    def lightning(self, vae: PhraseVae) -> dict:
        """What a training of it saves, with the autoencoder that it listens through."""
        state = {f"model.{name}": tensor for name, tensor in self.ldm.state_dict().items()}
        state["length_embedding.weight"] = self.length_encoder.length_embedding.weight
        state |= {f"vae.{name}": tensor for name, tensor in vae.state_dict().items()}
        return {
            "epoch": 3, "global_step": 200000, "pytorch-lightning_version": "2.5.5",
            "state_dict": state, "loops": {}, "callbacks": {}, "optimizer_states": [],
            "lr_schedulers": [], "hparams_name": "kwargs",
            "hyper_parameters": {
                "model_config": MODEL, "scale_factor": 0.5, "clip_range": 3.5, "mode": "phr",
                "lr": 5e-4, "diffusion_steps": 1000, "length_condition": True,
                "length_bucket_size": 10, "from_pretrained_ldm_fp": None,
            },
        }  # fmt: skip


def phrase_ldm(**options) -> PhraseLdm:
    torch.manual_seed(1)
    model = PhraseLdm(**options)
    for part in model.ldm.parameters():  # a fresh one of diffusers has biases of 0
        part.data += 0.02 * torch.randn_like(part)
    return model.eval()
