"""The stages that learn phrases: filling gaps, autoencoding, and the VAE; greedy decoding.

    infill       the tokens of a bar with gaps -> the whole bar; the decoder sees all states
    autoencode   a phrase -> four states of the encoder -> the phrase
    vae          a phrase -> four states -> mean and deviation of a latent -> a memory -> the phrase

All three have one encoder and one decoder; each begins with the weights of the one before. The
states are those of learned queries that stand before the phrase.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import TypeAdapter
from torch import Tensor, nn

from etude.config.phrases import PhraseNetwork, Rotary
from etude.systems.base import Batch, TrainingMetric
from etude.systems.phrase_ldm.fidelity import Notes, matches
from etude.systems.phrase_ldm.rotary import RotaryNetwork
from etude.systems.stage_module import StageModule, cross_entropy

VERSION = 2  # raised when the same weights compute other values, or training changes

IGNORE = -100  # target positions without loss
FIRST_DEVIATION = -4.0  # log-variance at the first step: more noise than that hides all there is
DECODED = 256  # phrases decoded at once
SPARSE = 0.7  # below this share of unfinished phrases, only these go on
WAVELENGTHS = 4.0, 512.0  # of the embeddings of numbers, at first

NUMBERED = ("o", "p", "d")  # kinds of ids that count something, as the tokenizer names them

ACCURACY = TrainingMetric("accuracy", "share", better="higher")
F1_FIGURES = (
    TrainingMetric("note_f1", "share", better="higher"),
    TrainingMetric("note_f1_durations", "share", better="higher"),
    TrainingMetric("note_f1_unseen", "share", better="higher"),
)
KL = TrainingMetric("kl", "nats per phrase")


def build_network(settings: Any, vocabulary: int) -> Any:
    """The encoder and decoder that the settings name, freshly initialised."""
    if isinstance(settings, Rotary):
        return RotaryNetwork(settings, vocabulary)
    from etude.systems.phrase_ldm.t5 import T5Network  # transformers takes seconds to import

    return T5Network(settings, vocabulary)


class PhraseStage(StageModule):
    """What the three stages share.

    Args:
        shape: vocabulary, pad, bos, eos (ids).
    """

    version = VERSION
    shape_keys: ClassVar[tuple[str, ...]] = ("vocabulary", "pad", "bos", "eos")

    def __init__(self, shape: Mapping[str, Any], settings: Any) -> None:
        super().__init__({key: shape[key] for key in self.shape_keys}, settings)
        self.network = build_network(settings, self.shape["vocabulary"])
        self.notes_of: Callable[[Sequence[int]], Notes] | None = None  # for F1 at validations
        self.in_a_row = 1  # phrases that the decoder writes as one text

    @classmethod
    def read_network(cls, values: Mapping[str, Any]) -> Any:  # noqa: D102
        return TypeAdapter(PhraseNetwork).validate_python(values)

    @torch.no_grad()
    def know_numbers(self, numbers: Sequence[tuple[str, int]]) -> None:
        """Begin with embeddings of onsets, pitches and durations that lie as the numbers do.

        Each is its kind's vector and sines and cosines of the number (Vaswani et al., arXiv
        1706.03762), both of half its length: neighbours are alike from the first step on.
        """
        weight = self.network.embedding.weight
        size = weight.norm(dim=1).mean()
        half = torch.arange(weight.shape[1] // 2)
        low, high = WAVELENGTHS
        waves = 2 * math.pi / (low * (high / low) ** (half / max(len(half) - 1, 1)))
        for kind in NUMBERED:
            ids = [i for i, (of, _) in enumerate(numbers) if of == kind]
            if not ids:
                continue
            values = torch.tensor([float(numbers[i][1]) for i in ids])
            angles = values[:, None] * waves
            sines = torch.cat([angles.sin(), angles.cos()], 1) / math.sqrt(len(waves))
            common = F.normalize(torch.randn(weight.shape[1]), dim=0)
            place = F.pad(sines, (0, weight.shape[1] % 2)) + common
            weight[ids] = place.to(weight) * size / math.sqrt(2)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean cross-entropy in nats per token, and accuracy.

        Args:
            batch: ids [B, S] that the encoder sees, targets [B, T] (both without BOS and EOS,
                filled up with the pad id).
        """
        memory, keep = self.remember(batch["ids"])
        return self._written(memory, keep, batch["targets"])

    def remember(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the decoder sees of ids [B, S]: a memory [B, M, dim], and which of it is there."""
        raise NotImplementedError

    def _written(
        self, memory: Tensor, keep: Tensor | None, targets: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        pad, bos, eos = (self.shape[key] for key in ("pad", "bos", "eos"))
        before = F.pad(targets, (1, 0), value=bos)
        after = F.pad(targets, (0, 1), value=pad)
        ends = (after == pad) & (before != pad)
        wanted = after.masked_fill(after == pad, IGNORE).masked_fill(ends, eos)
        added = self._added((before == eos).cumsum(1))
        logits = self.network.logits(before, memory, keep, added)
        return cross_entropy([(logits, wanted)], 0.0, IGNORE)

    def _added(self, ended: Tensor) -> Tensor | None:
        """What is added to embedded ids, by how many phrases have ended before each."""
        return None

    def _states(self, ids: Tensor, queries: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The encoder's states of BOS, ids [B, S], EOS after the queries; which are no padding."""
        bos = F.pad(ids, (1, 1), value=self.shape["pad"])
        bos[:, 0] = self.shape["bos"]
        ends = (ids != self.shape["pad"]).sum(1, keepdim=True) + 1
        bos.scatter_(1, ends, self.shape["eos"])
        x, keep = self.network.embedding(bos), bos != self.shape["pad"]
        if queries is not None:
            count = queries.shape[0]
            x = torch.cat([queries.to(x.dtype).expand(len(ids), -1, -1), x], 1)
            keep = F.pad(keep, (count, 0), value=True)
        return self.network.encode(x, keep), keep

    def _fidelity(self, memory: Tensor, batch: Batch) -> dict[str, float]:
        """F1 of what is decoded from a memory, with what each figure is a mean over."""
        if self.notes_of is None:
            return {}
        wanted = [self.notes_of(ids) for ids in strip(batch["targets"], self.shape["pad"])]
        limit = batch["targets"].shape[1] + 1
        written = [self.notes_of(ids) for ids in self.greedy(memory, limit)]
        unseen = ~batch["seen"].bool().cpu().numpy() if "seen" in batch else [True] * len(wanted)
        pairs = list(zip(wanted, written, strict=True))
        rare = [pair for pair, new in zip(pairs, unseen, strict=True) if new]
        counted = matches(pairs), matches(pairs, durations=True), matches(rare)
        figures: dict[str, float] = {}
        for figure, found in zip(F1_FIGURES, counted, strict=True):
            figures |= {figure.name: found.f1, f"{figure.name}_count": float(found.both)}
        return figures

    @torch.inference_mode()
    def greedy(
        self, memory: Tensor, limit: int, keep: Tensor | None = None, *, cached: bool = True
    ) -> list[list[int]]:
        """The likeliest ids after each other, up to EOS or `limit`, of memories [B, M, dim].

        Args:
            cached: whether keys and values of what is written are kept; else all is computed
                again for each id.
        """
        found: list[list[int]] = []
        for start in range(0, len(memory), DECODED):
            part = slice(start, start + DECODED)
            seen = None if keep is None else keep[part]
            write = self._write if cached else self._write_uncached
            found += write(memory[part], limit, seen)
        return found

    def _write(self, memory: Tensor, limit: int, keep: Tensor | None) -> list[list[int]]:
        eos, never = self.shape["eos"], [self.shape["pad"], self.shape["bos"]]
        places = (limit + 1) * self.in_a_row
        cache = self.network.start(memory, places, keep)
        rows = torch.arange(len(memory), device=memory.device)  # those that are not finished
        ids = torch.full_like(rows, self.shape["bos"])
        ended, length = torch.zeros_like(rows), torch.zeros_like(rows)
        written = torch.full((len(memory), places), eos, device=memory.device)
        for place in range(places):
            logits = self.network.next(ids, cache, self._added(ended))
            logits[:, never] = -torch.inf
            ids = logits.argmax(-1).masked_fill(length >= limit, eos)
            written[rows, place] = ids
            ended = ended + (ids == eos)
            length = torch.where(ids == eos, 0, length + 1)
            going = ended < self.in_a_row
            left = int(going.sum())
            if not left:
                break
            if left < SPARSE * len(rows):
                chosen = going.nonzero()[:, 0]
                cache.select(chosen)
                rows, ids = rows[chosen], ids[chosen]
                ended, length = ended[chosen], length[chosen]
        return self._parted(written)

    def _write_uncached(self, memory: Tensor, limit: int, keep: Tensor | None) -> list[list[int]]:
        eos, never = self.shape["eos"], [self.shape["pad"], self.shape["bos"]]
        written = torch.full((len(memory), 1), self.shape["bos"], device=memory.device)
        length = torch.zeros(len(memory), dtype=torch.long, device=memory.device)
        for _ in range((limit + 1) * self.in_a_row):
            ended = (written == eos).cumsum(1)
            logits = self.network.logits(written, memory, keep, self._added(ended))[:, -1]
            logits[:, never] = -torch.inf
            ids = logits.argmax(-1).masked_fill(length >= limit, eos)
            written = torch.cat([written, ids[:, None]], 1)
            length = torch.where(ids == eos, 0, length + 1)
            if bool(((written == eos).sum(1) >= self.in_a_row).all()):
                break
        return self._parted(written[:, 1:])

    def _parted(self, written: Tensor) -> list[list[int]]:
        """The phrases of each row, one after the other."""
        eos, found = self.shape["eos"], []
        for row in written.tolist():
            start = 0
            for _ in range(self.in_a_row):
                end = row.index(eos, start) if eos in row[start:] else len(row)
                found.append(row[start:end])
                start = end + 1
        return found


def strip(rows: Tensor, end: int) -> list[list[int]]:
    """The ids of each row before the first `end`."""
    return [row[: row.index(end)] if end in row else row for row in rows.tolist()]


class Infill(PhraseStage):
    """Bars with gaps -> the bars; the decoder sees all states of the encoder."""

    stage = "infill"
    figures: ClassVar[tuple[TrainingMetric, ...]] = (ACCURACY,)

    def remember(self, ids: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        return self._states(ids)


class Autoencode(PhraseStage):
    """Phrases -> the states of the queries -> the phrases."""

    stage = "autoencode"
    figures: ClassVar[tuple[TrainingMetric, ...]] = (ACCURACY, *F1_FIGURES)

    def __init__(self, shape: Mapping[str, Any], settings: Any) -> None:
        super().__init__(shape, settings)
        size = self.network.embedding.weight.norm(dim=1).mean().detach()
        width = self.network.width
        self.queries = nn.Parameter(torch.randn(settings.queries, width) * size * width**-0.5)

    def remember(self, ids: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        states, _ = self._states(ids, self.queries)
        return states[:, : len(self.queries)], None

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:  # noqa: D102
        memory, keep = self.remember(batch["ids"])
        loss, figures = self._written(memory, keep, batch["targets"])
        return loss, figures | ({} if self.training else self._fidelity(memory, batch))


class Vae(Autoencode):
    """Phrases -> latents with a deviation -> the phrases.

    In training a latent is drawn, else it is the mean. The loss is the cross-entropy per token and
    `weight` x the KL divergence to the normal distribution per number of the latent, as the
    original weighs them (Kingma and Welling, arXiv 1312.6114); the weight grows over the warm-up.
    With `context: bar` a phrase is written knowing its slot and the latents of the whole bar, so
    that voices agree; with `context: notes` also what the slots before it have written: a bar is
    one text, phrase after phrase. Phrases then come bar by bar, slot after slot.

    With `bar_layers` a latent depends on its whole bar, and need not say what others say.

    Attributes: together (phrases that are encoded at once), kl (the settings' `kl`), rising
    (batches over which its weight grows), and `done`, a counter of training batches that is saved
    with the weights, so that a resumed one goes on.
    """

    stage = "vae"
    shape_keys = (*PhraseStage.shape_keys, "slots")
    figures: ClassVar[tuple[TrainingMetric, ...]] = (ACCURACY, KL, *F1_FIGURES)
    done: Tensor

    def __init__(self, shape: Mapping[str, Any], settings: Any) -> None:
        super().__init__(shape, settings)
        width, queries, latent = self.network.width, settings.queries, settings.latent
        self.norm = nn.LayerNorm(queries * width)
        self.latent_head = nn.Linear(queries * width, 2 * latent)
        self.memory_head = nn.Linear(latent, queries * width)
        nn.init.constant_(self.latent_head.bias[latent:], FIRST_DEVIATION)
        self.context = settings.context
        if self.context == "notes":
            self.in_a_row = self.shape["slots"]
            self.voices = nn.Embedding(2 * self.in_a_row, width)  # in the memory, in the text
            nn.init.normal_(self.voices.weight, std=width**-0.5)
        if self.context == "bar":
            self.context_head = nn.Linear(latent, width)
            self.slots = nn.Embedding(2 * self.shape["slots"], width)  # of the others, of its own
            nn.init.normal_(self.slots.weight, std=0.5)
        self.together = self.shape["slots"] if settings.bar_layers else 1  # encoded at once
        if settings.bar_layers:
            self.bar_slots = nn.Embedding(self.together, width)
            nn.init.normal_(self.bar_slots.weight, std=0.5)
            sizes = width, settings.heads, settings.inner, settings.dropout
            self.bar_blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(*sizes, F.gelu, batch_first=True, norm_first=True)
                for _ in range(settings.bar_layers)
            )
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        self.kl: Any = None
        self.rising = 0.0

    def posterior(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [B, latent] of phrases [B, S] (`together` in a row), in float32."""
        states = self._of_bars(super().remember(ids)[0])
        with torch.autocast(states.device.type, enabled=False):
            mean, log_variance = self.latent_head(self.norm(states.float().flatten(1))).chunk(2, 1)
        return mean, log_variance.clamp(-20, 10)

    def _of_bars(self, states: Tensor) -> Tensor:
        """States of phrases [B, queries, width] that have seen those of their bar."""
        if self.together == 1:
            return states
        bars = states.unflatten(0, (-1, self.together)) + self.bar_slots.weight[:, None]
        bars = bars.flatten(1, 2)
        for block in self.bar_blocks:
            bars = block(bars)
        return bars.unflatten(1, (self.together, -1)).flatten(0, 1)

    def memory(self, latents: Tensor) -> Tensor:
        """What the decoder sees of latents [B, latent] (with context: of bars): [rows, M, dim]."""
        own = self.memory_head(latents).unflatten(1, (len(self.queries), -1))
        if self.context == "none":
            return own
        count = self.shape["slots"]
        slots = torch.arange(count, device=latents.device)
        if self.context == "notes":
            own = own.unflatten(0, (-1, count)) + self.voices(slots)[:, None]
            return own.flatten(1, 2)
        others = self.context_head(latents).unflatten(0, (-1, count)) + self.slots(slots)
        others = others[:, None].expand(-1, count, -1, -1).flatten(0, 1)  # for each slot all
        place = self.slots(count + slots).repeat(len(latents) // count, 1)[:, None]
        return torch.cat([own, others, place], 1)

    def remember(self, ids: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        return self.memory(self.posterior(ids)[0]), None

    @torch.inference_mode()
    def decode(self, latents: Tensor, limit: int, *, cached: bool = True) -> list[list[int]]:
        """The ids of latents [phrases, latent] (of whole bars), greedily, of up to `limit` each."""
        found: list[list[int]] = []
        size = DECODED // self.shape["slots"] * self.shape["slots"]
        for start in range(0, len(latents), size):
            part = latents[start : start + size].to(self.device)
            found += self.greedy(self.memory(part), limit, cached=cached)
        return found

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:  # noqa: D102
        mean, log_variance = self.posterior(batch["ids"])
        latents = mean
        if self.training:
            latents = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        memory = self.memory(latents)
        loss, figures = self._written(memory, None, self._joined(batch["targets"]))
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        figures |= {"kl": kl.item(), "kl_count": float(len(mean))}
        loss = loss + self._weight() * kl / mean.shape[1]
        return loss, figures | ({} if self.training else self._fidelity(memory, batch))

    def _added(self, ended: Tensor) -> Tensor | None:
        if self.in_a_row == 1:
            return None
        return self.voices(self.in_a_row + ended.clamp(max=self.in_a_row - 1))

    def _joined(self, targets: Tensor) -> Tensor:
        """Phrases as the texts that are written: those of a row with EOS between them."""
        if self.in_a_row == 1:
            return targets
        count, eos, pad = self.in_a_row, self.shape["eos"], self.shape["pad"]
        ends = targets.new_full((len(targets), 1), eos)
        ends[count - 1 :: count] = pad  # the end of a row is not written here
        rows = F.pad(targets, (0, 1), value=pad)
        rows.scatter_(1, (targets != pad).sum(1, keepdim=True), ends)
        rows = rows.unflatten(0, (-1, count)).flatten(1)
        order = (rows == pad).long().argsort(dim=1, stable=True)  # what is there first
        return rows.gather(1, order)[:, : max(1, int((rows != pad).sum(1).max()))]

    def _weight(self) -> float:
        """Of the KL divergence, now; of what is only looked at, whole."""
        if self.kl is None or not self.training:
            return 0.0 if self.kl is None else float(self.kl.weight)
        risen = min(float(self.done) / self.rising, 1.0) if self.rising else 1.0
        self.done += 1
        return float(self.kl.weight * (self.kl.start + (1 - self.kl.start) * risen))
