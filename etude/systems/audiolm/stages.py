"""AudioLM's three stages (Borsos et al., arXiv 2209.03143) as small readable networks.

semantic: [begin] s0 s1 ...                      -> s0 s1 ... (end or segment end)
coarse:   s0 s1 ... [begin] a00 a01 a10 a11 ...  -> a00 a01 a10 ...   (frame by frame)
fine:     coarse of a window, [begin], fine      -> fine, window by window

After a segment's last token the semantic stage says whether the piece ends with it (`end`) or goes
on (`segment_end`): one is taught against the other, so that ends are neither certain nor anywhere.

Times are in seconds x the acoustic frame rate, so a semantic token stands where the acoustic
frames of its moment stand. Only the codes that a stage is there for carry loss. Whether music
ends is the semantic stage's decision; the acoustic stages follow it frame for frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from etude.config.networks import PluginNetwork
from etude.config.systems.audiolm import AudioLm, AudioLmPytorch, Network
from etude.errors import UserError
from etude.systems.audiolm.codebook_transformer import CodebookLayout, forgetful_mask
from etude.systems.audiolm.networks import build_network, read_network
from etude.systems.base import Batch
from etude.systems.stage_module import StageModule, cross_entropy

VERSION = 2
IGNORE = -100  # target positions without loss
BEGIN, PADDING = 0, 1  # ids of the special codebook
SPECIAL = 0  # index of the special codebook in every stage

COMMON_KEYS = ("semantic_rate", "acoustic_rate", "window_seconds")


class AudioLmStage(StageModule):
    """What the three stages share: sizes and loss.

    Args:
        shape: the numbers of `audiolm_shape`; a stage keeps those that it depends on
            (`shape_keys`), so that what concerns another stage retrains nothing here.
    """

    version = VERSION
    shape_keys: tuple[str, ...] = ()
    codebooks: Tensor
    times: Tensor

    def __init__(
        self, shape: dict[str, Any], network: Network | AudioLmPytorch | PluginNetwork
    ) -> None:
        super().__init__({key: shape[key] for key in (*COMMON_KEYS, *self.shape_keys)}, network)
        self.network = network
        self.transformer = self.build(network)
        layout, targets = self.layout()
        self.register_buffer("codebooks", layout.codebooks, persistent=False)
        self.register_buffer("times", layout.times.float(), persistent=False)
        self.targets = targets  # codebook that is predicted at each position, -1 for none
        self.label_smoothing = self.forgetful_mask = 0.0  # in training only

    def build(self, network: Network | AudioLmPytorch | PluginNetwork) -> Any:
        """The network over the stage's codebooks, freshly initialised."""
        assert not isinstance(network, AudioLmPytorch)
        return build_network(self.codebook_sizes(), network)

    def codebook_sizes(self) -> list[int]:
        """Ids per codebook; the first is the special one."""
        raise NotImplementedError

    def layout(self) -> tuple[CodebookLayout, list[int]]:
        """The fixed layout of a training sequence and the codebook predicted at each position."""
        raise NotImplementedError

    def sequence(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both long [B, T]."""
        raise NotImplementedError

    @property
    def full_layout(self) -> CodebookLayout:
        """The layout on the model's device."""
        return CodebookLayout(self.codebooks, self.times)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy in nats per predicted token, and accuracy with its token count."""
        tokens, targets = self.sequence(batch)
        smoothing = self.label_smoothing if self.training else 0.0
        hidden_from = {}  # a network of the user's need not know of masks
        if self.training and self.forgetful_mask:
            batch_size, length = tokens.shape
            mask = forgetful_mask(batch_size, length, self.forgetful_mask, tokens.device)
            hidden_from = {"mask": mask}
        hidden = self.transformer(tokens, self.full_layout, **hidden_from)
        return cross_entropy(self._predictions(hidden, targets), smoothing, IGNORE)

    def _predictions(self, hidden: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets of each codebook."""
        for codebook in sorted({c for c in self.targets if c >= 0}):
            positions = every([i for i, c in enumerate(self.targets) if c == codebook])
            yield self.transformer.logits(hidden[:, positions], codebook), targets[:, positions]

    def config(self, tokenizers: Mapping[str, str]) -> dict[str, Any]:
        """What config.json holds; of the tokenizers' hashes (by role) those that it depends on."""
        sizes = {"semantic": "semantic_vocabulary", "acoustic": "codebook_size"}
        own = {r: hash_ for r, hash_ in tokenizers.items() if sizes[r] in self.shape}
        return super().config(own)

    @classmethod
    def read_network(cls, values: Mapping[str, Any]) -> Network | AudioLmPytorch | PluginNetwork:  # noqa: D102
        return read_network(values)

    def _begin(self, like: Tensor) -> Tensor:
        return torch.full((like.shape[0], 1), BEGIN, dtype=torch.long, device=like.device)


def every(places: list[int]) -> slice:
    """Evenly spaced places as a slice: its gradient needs no scattered, unordered additions.

    Raises:
        ValueError: the places are not evenly spaced.
    """
    step = places[1] - places[0] if len(places) > 1 else 1
    found = slice(places[0], places[-1] + 1, step)
    if list(range(found.start, found.stop, step)) != places:
        raise ValueError(f"a codebook's places must be evenly spaced: {places[:9]} …")
    return found


class SemanticStage(AudioLmStage):
    """Language model of semantic tokens."""

    stage = "semantic"
    shape_keys = (
        "semantic_vocabulary",
        "semantic_frames",
        "end_of_sequence",
        "deduplicate_semantic",
    )

    @property
    def vocabulary(self) -> int:
        """Number of semantic ids; the ids after them are the two ends."""
        return self.shape["semantic_vocabulary"]

    @property
    def end(self) -> int:
        """The id that says that the piece is over."""
        return self.vocabulary

    @property
    def segment_end(self) -> int:
        """The id that says that the segment is over and the piece goes on."""
        return self.vocabulary + 1

    def codebook_sizes(self) -> list[int]:  # noqa: D102
        return [2, self.vocabulary + 2]

    def layout(self) -> tuple[CodebookLayout, list[int]]:  # noqa: D102
        frames = self.shape["semantic_frames"]
        step = self.shape["acoustic_rate"] / self.shape["semantic_rate"]
        times = torch.arange(-1, frames) * step
        codebooks = torch.tensor([SPECIAL] + [1] * frames)
        return CodebookLayout(codebooks, times), [1] * (frames + 1)

    def sequence(self, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: D102
        semantic = batch["semantic"].long()
        if self.shape["deduplicate_semantic"]:
            semantic = deduplicate(semantic, self.segment_end)
        end = torch.full_like(semantic[:, :1], self.segment_end)
        if self.shape["end_of_sequence"] == "every_segment":
            end[:] = self.end
        elif self.shape["end_of_sequence"] == "piece_end":
            end[batch["last"].bool()] = self.end
        elif not self.shape["deduplicate_semantic"]:
            end[:] = IGNORE
        targets = torch.cat([semantic, end], dim=1)
        if self.shape["deduplicate_semantic"]:
            targets = _end_after_segment(targets, self.segment_end, self.end)
        inputs = torch.cat([self._begin(semantic), semantic], dim=1)
        return inputs, targets


def deduplicate(semantic: Tensor, filler: int) -> Tensor:
    """Merge runs of equal ids in each row of [B, T]; the freed places at the end hold `filler`."""
    out = torch.full_like(semantic, filler)
    for row, ids in enumerate(semantic):
        kept = torch.unique_consecutive(ids)
        out[row, : len(kept)] = kept
    return out


def _end_after_segment(targets: Tensor, segment_end: int, end: int) -> Tensor:
    """One end after the last id: the piece's where the last place says so, else the segment's."""
    targets = targets.clone()
    over = targets[:, -1] == end
    for row in range(len(targets)):
        places = (targets[row, :-1] == segment_end).nonzero()
        first = int(places[0]) if len(places) else targets.shape[1] - 1
        targets[row, first] = end if over[row] else segment_end
        targets[row, first + 1 :] = IGNORE
    return targets


class CoarseStage(AudioLmStage):
    """The first quantizers, given semantic tokens."""

    stage = "coarse"
    shape_keys = (
        "semantic_vocabulary",
        "semantic_frames",
        "deduplicate_semantic",
        "codebook_size",
        "coarse_quantizers",
        "acoustic_frames",
    )

    def codebook_sizes(self) -> list[int]:  # noqa: D102
        codes = [self.shape["codebook_size"]] * self.shape["coarse_quantizers"]
        return [2, self.shape["semantic_vocabulary"] + 2, *codes]

    def layout(self) -> tuple[CodebookLayout, list[int]]:  # noqa: D102
        shape = self.shape
        prefix, frames = shape["semantic_frames"], shape["acoustic_frames"]
        step = shape["acoustic_rate"] / shape["semantic_rate"]
        codebooks, times = frame_layout(frames, shape["coarse_quantizers"], first_codebook=2)
        layout = CodebookLayout(
            torch.cat([torch.full((prefix,), 1), torch.tensor([SPECIAL]), codebooks[:-1]]),
            torch.cat([torch.arange(prefix) * step, torch.tensor([-1.0]), times[:-1]]),
        )
        return layout, [-1] * prefix + codebooks.tolist()

    def sequence(self, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: D102
        prefix = self.prefix(batch["semantic"].long())
        codes = flatten_frames(batch["acoustic"][:, : self.shape["coarse_quantizers"]].long())
        inputs = torch.cat([prefix, codes[:, :-1]], dim=1)
        targets = torch.cat([torch.full_like(prefix[:, :-1], IGNORE), codes], dim=1)
        return inputs, targets

    def prefix(self, semantic: Tensor) -> Tensor:
        """What stands before the codes: semantic tokens [B, T] and the begin token."""
        if self.shape["deduplicate_semantic"]:
            semantic = deduplicate(semantic, self.shape["semantic_vocabulary"] + 1)
        return torch.cat([semantic, self._begin(semantic)], dim=1)


class FineStage(AudioLmStage):
    """The further quantizers of a short window, given its first quantizers."""

    stage = "fine"
    shape_keys = (
        "codebook_size",
        "coarse_quantizers",
        "quantizers",
        "acoustic_frames",
        "fine_frames",
    )

    @property
    def frames(self) -> int:
        """Acoustic frames of a window."""
        return min(self.shape["fine_frames"], self.shape["acoustic_frames"])

    def codebook_sizes(self) -> list[int]:  # noqa: D102
        return [2, *[self.shape["codebook_size"]] * self.shape["quantizers"]]

    def layout(self) -> tuple[CodebookLayout, list[int]]:  # noqa: D102
        coarse = self.shape["coarse_quantizers"]
        fine = self.shape["quantizers"] - coarse
        given, given_times = frame_layout(self.frames, coarse, first_codebook=1)
        codebooks, times = frame_layout(self.frames, fine, first_codebook=1 + coarse)
        layout = CodebookLayout(
            torch.cat([given, torch.tensor([SPECIAL]), codebooks[:-1]]),
            torch.cat([given_times, torch.tensor([-1.0]), times[:-1]]),
        )
        return layout, [-1] * len(given) + codebooks.tolist()

    def sequence(self, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: D102
        codes = self._window(batch)
        coarse = self.shape["coarse_quantizers"]
        prefix = self.prefix(codes[:, :coarse])
        fine = flatten_frames(codes[:, coarse:])
        inputs = torch.cat([prefix, fine[:, :-1]], dim=1)
        targets = torch.cat([torch.full_like(prefix[:, :-1], IGNORE), fine], dim=1)
        return inputs, targets

    def prefix(self, coarse: Tensor) -> Tensor:
        """What stands before the codes: coarse codes [B, Q', frames] and the begin token."""
        given = flatten_frames(coarse)
        return torch.cat([given, self._begin(given)], dim=1)

    def _window(self, batch: Batch) -> Tensor:
        """A window of each segment's codes [B, Q, frames]; `place` in [0, 1) says which."""
        codes = batch["acoustic"].long()
        windows = codes.shape[2] - self.frames + 1
        start = (batch["place"] * windows).long().clamp(max=windows - 1)
        index = start[:, None] + torch.arange(self.frames, device=codes.device)
        return codes.gather(2, index[:, None].expand(-1, codes.shape[1], -1))


def frame_layout(frames: int, quantizers: int, first_codebook: int) -> tuple[Tensor, Tensor]:
    """Codebook and time of codes flattened frame by frame: two tensors [frames * quantizers]."""
    codebooks = torch.arange(first_codebook, first_codebook + quantizers).repeat(frames)
    return codebooks, torch.arange(frames).repeat_interleave(quantizers).float()


def flatten_frames(codes: Tensor) -> Tensor:
    """[B, quantizers, frames] -> [B, frames * quantizers], frame by frame."""
    return codes.transpose(1, 2).flatten(1)


def unflatten_frames(flat: Tensor, quantizers: int) -> Tensor:
    """[B, frames * quantizers] -> [B, quantizers, frames]."""
    return flat.unflatten(1, (-1, quantizers)).transpose(1, 2)


def audiolm_shape(experiment: AudioLm, packed: dict[str, Any]) -> dict[str, Any]:
    """The numbers that fix all three stages; `packed` is the token set's info.json.

    Raises:
        UserError: the codec has no quantizer for the fine stage.
    """
    if experiment.coarse_quantizers >= packed["quantizers"]:
        raise UserError(
            f"coarse_quantizers {experiment.coarse_quantizers} leaves nothing for the fine stage",
            code="too-many-quantizers",
            where=f"tokens {experiment.tokens!r}",
            why=f"its codec has {packed['quantizers']} quantizers",
            do="set fewer coarse_quantizers in the experiment, or take a codec with more",
        )
    return {
        "semantic_vocabulary": packed["semantic_vocabulary"],
        "codebook_size": packed["codebook_size"],
        "quantizers": packed["quantizers"],
        "coarse_quantizers": experiment.coarse_quantizers,
        "semantic_frames": packed["semantic_frames"],
        "acoustic_frames": packed["acoustic_frames"],
        "semantic_rate": packed["semantic_frame_rate"],
        "acoustic_rate": packed["acoustic_frame_rate"],
        "fine_frames": experiment.fine_frames,
        "end_of_sequence": experiment.end_of_sequence,
        "deduplicate_semantic": experiment.deduplicate_semantic,
        "window_seconds": packed["cut"]["seconds"],
    }
