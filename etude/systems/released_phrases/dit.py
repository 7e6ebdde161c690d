"""PhraseLDM as its authors gave it out: Stable Audio's transformer over the latents of a song.

diffusers' class computes it. It is asked at whole steps of the noise, of which it is given Fourier
features; its cross-attention reads seven zeros where no sections are told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from etude.clips.sampling import ClipStreams
from etude.config.diffusion import Denoising
from etude.config.systems.released_phrases import SongTransformer
from etude.diffusion.schedules import Schedule
from etude.diffusion.solvers import Sampler
from etude.errors import UserError
from etude.systems.stage_module import StageModule

VERSION = 1  # raised when the same file or seed gives other latents

LENGTHS = 128  # rows of the table of lengths
NOTHING = 7  # zeros that cross-attention reads
SECTIONS = ("sec_encoder.", "inst_conf_encoder.")
# As the hub's file and Lightning's checkpoint have them.
PREFIXES = {
    "ldm.": "network.",
    "model.": "network.",
    "length_encoder.length_embedding.": "lengths.",
    "length_embedding.": "lengths.",
}


class ReleasedDit(StageModule):
    """Noise to the latents of a song; `shape` has `latent`, the numbers of one."""

    stage, version, Settings = "ldm", VERSION, SongTransformer
    settings: SongTransformer

    def __init__(self, shape: Mapping[str, Any], settings: SongTransformer) -> None:
        from diffusers import StableAudioDiTModel  # takes seconds to import

        super().__init__(shape, settings)
        self.network: Any = StableAudioDiTModel(
            sample_size=settings.longest,
            in_channels=shape["latent"],
            out_channels=shape["latent"],
            num_layers=settings.layers,
            attention_head_dim=settings.head_dim,
            num_attention_heads=settings.heads,
            num_key_value_attention_heads=settings.key_value_heads,
            cross_attention_dim=settings.cross_dim,
            cross_attention_input_dim=settings.cross_dim,
            global_states_input_dim=settings.told_dim,
            time_proj_dim=settings.time_dim,
        )
        self.lengths = nn.Embedding(LENGTHS, settings.told_dim) if settings.lengths else None

    def accept(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a hub's model.safetensors or of Lightning's checkpoint, renamed.

        A checkpoint of a training holds its autoencoder too, which is left out.

        Raises:
            UserError: it was trained with sections or instruments as conditions.
        """
        if told := [name for name in tensors if name.startswith(SECTIONS)]:
            raise UserError(
                "this PhraseLDM was told sections or instruments, and cannot be any more",
                code="checkpoint-without-names",
                where="stages.ldm.weights",
                why=f"the numbers of their kinds ({told[0]}) came from the order of a Python set, "
                "which is another in each process and is not in the file",
                do="name the weights without (phrase-ldm-uncond) or with lengths "
                "(phrase-ldm-lencond)",
            )
        return {
            renamed(name): tensor for name, tensor in tensors.items() if not name.startswith("vae.")
        }

    def forward(self, x: Tensor, step: Tensor, bars: int) -> Tensor:
        """The noise in x [B, latents, z] at whole steps [B] (0 is the cleanest), as x."""
        from diffusers.models.embeddings import get_1d_rotary_pos_embed

        told = torch.zeros(len(x), 1, self.settings.told_dim, device=x.device)
        if self.lengths is not None:
            row = torch.tensor([bars // self.settings.bucket], device=x.device)
            told = told + self.lengths(row)
        turns = get_1d_rotary_pos_embed(
            self.settings.head_dim // 2,
            x.shape[1] + 1,  # what is told stands in front
            use_real=True,
            repeat_interleave_real=False,
        )
        nothing = torch.zeros(len(x), NOTHING, self.settings.cross_dim, device=x.device)
        found: Tensor = self.network(
            x.transpose(1, 2),
            step.float(),
            encoder_hidden_states=nothing,
            global_hidden_states=told,
            rotary_embedding=tuple(turn.to(x.device) for turn in turns),
        ).sample
        return found.transpose(1, 2)

    @torch.no_grad()
    def make(
        self,
        seeds: Sequence[int],
        bars: int,
        how: Denoising,
        report: Callable[[float], None] = lambda share: None,
    ) -> Tensor:
        """Latents of songs on the autoencoder's scale, float32 [songs, longest, z], on the CPU.

        Args:
            seeds: of each song's noise.
            bars: the length that the network is told, where it is told any.
        """
        self.eval()
        settings, count = self.settings, len(seeds)
        streams = ClipStreams(list(seeds), self.device)
        sampler = self.sampler(how)

        def normal() -> Tensor:
            return streams.normal([settings.longest] * count, self.shape["latent"])

        def predict(x: Tensor, time: Tensor, estimate: Tensor | None) -> Tensor:
            return self(x, (time * settings.steps).round(), bars)

        found = sampler.sample(predict, normal(), fresh=normal, report=report)
        return (found * settings.scale).cpu()

    def sampler(self, how: Denoising) -> Sampler:
        """The sampler that the settings describe, with the released clip."""
        clip = self.settings.clip if how.clip == "percentile" else how.clip
        return Sampler(
            Schedule("squared_cosine", self.settings.steps),
            "epsilon",
            how.solver,
            how.steps,
            how.spacing,
            how.eta,
            None if clip == "none" else float(clip),
            how.temperature,
        )


def renamed(name: str) -> str:
    """The name of a tensor in Étude's stage."""
    for theirs, ours in PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def as_found(
    settings: SongTransformer, found: Mapping[str, Any], where: str = ""
) -> SongTransformer:
    """The settings with what a checkpoint of a training says of itself (Lightning's hparams).

    Args:
        where: the file, for messages.

    Raises:
        UserError: it says what no such network can have (as a clip below 2.5).

    Example:
        >>> settings = as_found(SongTransformer(), {"scale_factor": 0.5, "lr": 5e-4})
        >>> settings.scale, settings.clip == SongTransformer().clip
        (0.5, True)
    """
    model = dict(found.get("model_config") or {})
    told = {
        "latent": model.get("in_channels"),
        "layers": model.get("num_layers"),
        "heads": model.get("num_attention_heads"),
        "head_dim": model.get("attention_head_dim"),
        "key_value_heads": model.get("num_key_value_attention_heads"),
        "cross_dim": model.get("cross_attention_dim"),
        "told_dim": model.get("global_states_input_dim"),
        "time_dim": model.get("time_proj_dim"),
        "longest": model.get("sample_size"),
        "lengths": found.get("length_condition"),
        "bucket": found.get("length_bucket_size"),
        "scale": found.get("scale_factor"),
        "clip": found.get("clip_range"),
        "steps": found.get("diffusion_steps"),
    }
    said = {key: value for key, value in told.items() if value is not None}
    try:
        return SongTransformer.model_validate(settings.model_dump() | said)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise UserError(
            "this checkpoint cannot be used as it says of itself",
            code="checkpoint-of-another-shape",
            where=where,
            why=f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}",
            do="save its weights alone (the `state_dict`), and write sizes, scale and clip into "
            "stages.ldm.network",
        ) from None
