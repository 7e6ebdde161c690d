"""The networks: cached equals uncached, layouts, shapes, de-duplication, ends, overfitting."""

from __future__ import annotations

import pytest
import torch

from etude.clips.sampling import ClipStreams, clip_seed, draw
from etude.config import Sampling
from etude.config.systems.audiolm import Network
from etude.systems.audiolm.building import STAGES
from etude.systems.audiolm.sampling import AudioLmGenerator, Tokens, continue_sequence
from etude.systems.audiolm.stages import IGNORE, deduplicate, flatten_frames, unflatten_frames

NETWORK = Network(dim=32, depth=2, heads=2)
EMBEDDED = {
    "semantic_vocabulary": 16, "codebook_size": 8, "quantizers": 4, "coarse_quantizers": 2,
    "semantic_frames": 20, "acoustic_frames": 15, "semantic_rate": 50.0, "acoustic_rate": 37.5,
    "fine_frames": 5, "end_of_sequence": "piece_end", "deduplicate_semantic": False,
    "window_seconds": 0.4,
}  # fmt: skip
# HuBERT's and EnCodec's shape: 99 frames for 2 s, 150 frames of 8 codebooks.
PRETRAINED = EMBEDDED | {
    "semantic_vocabulary": 500, "codebook_size": 1024, "quantizers": 8, "coarse_quantizers": 3,
    "semantic_frames": 99, "acoustic_frames": 150, "semantic_rate": 50.0, "acoustic_rate": 75.0,
    "fine_frames": 25, "window_seconds": 2.0,
}  # fmt: skip


def _stages(shape: dict, seed: int = 0) -> dict:
    torch.manual_seed(seed)
    return {name: stage(shape, NETWORK).eval() for name, stage in STAGES.items()}


def _batch(shape: dict, items: int = 3, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)

    def ids(high: int, *size: int) -> torch.Tensor:
        return torch.randint(high, size, generator=generator)

    return {
        "semantic": ids(shape["semantic_vocabulary"], items, shape["semantic_frames"]),
        "acoustic": ids(
            shape["codebook_size"], items, shape["quantizers"], shape["acoustic_frames"]
        ),
        "last": torch.tensor([True] + [False] * (items - 1)),
        "place": torch.rand(items, generator=generator),
    }


@pytest.mark.slow
@pytest.mark.parametrize("shape", [EMBEDDED, PRETRAINED], ids=["embedded", "pretrained"])
@pytest.mark.parametrize("name", list(STAGES))
def test_cached_sampling_equals_uncached(shape, name):
    stage = _stages(shape)[name]
    inputs, _ = stage.sequence(_batch(shape))
    given = inputs[:, : inputs.shape[1] - 15]
    ids = [
        continue_sequence(stage, given, 15, ClipStreams([1, 2, 3]), Sampling(), cached=cached)
        for cached in (True, False)
    ]
    assert torch.equal(*ids)


@pytest.mark.parametrize("name", list(STAGES))
def test_cached_logits_equal_uncached(name):
    from etude.systems.audiolm.codebook_transformer import KeyValueCache

    stage = _stages(EMBEDDED)[name]
    tokens, _ = stage.sequence(_batch(EMBEDDED))
    layout, length = stage.full_layout, tokens.shape[1]
    with torch.inference_mode():
        whole = stage.transformer(tokens, layout)
        cache = KeyValueCache(stage.transformer, len(tokens), length)
        pieces = [(0, 6), (6, 7), (7, 12), *((i, i + 1) for i in range(12, length))]
        parts = [stage.transformer(tokens[:, a:b], layout[a:b], cache) for a, b in pieces]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(STAGES))
def test_no_position_sees_its_own_target(name):
    stage = _stages(EMBEDDED)[name]
    tokens, _ = stage.sequence(_batch(EMBEDDED))
    changed = tokens.clone()
    changed[:, 12:] = 0
    with torch.inference_mode():
        before = stage.transformer(tokens, stage.full_layout)[:, :12]
        after = stage.transformer(changed, stage.full_layout)[:, :12]
    assert torch.equal(before, after)


def test_times_align_the_stages():
    stages = _stages(PRETRAINED)
    coarse = stages["coarse"].full_layout
    semantic_times = coarse.times[:99]
    acoustic_times = coarse.times[100:]
    # Second 1: semantic frame 50, acoustic frame 75 (3 codes a frame).
    assert semantic_times[50] == acoustic_times[75 * 3] == 75


@pytest.mark.parametrize("shape", [EMBEDDED, PRETRAINED], ids=["embedded", "pretrained"])
def test_targets_are_the_codes(shape):
    batch, stages = _batch(shape), _stages(shape)
    _, targets = stages["coarse"].sequence(batch)
    codes = targets[:, shape["semantic_frames"] :]
    assert torch.equal(
        unflatten_frames(codes, shape["coarse_quantizers"]),
        batch["acoustic"][:, : shape["coarse_quantizers"]],
    )
    _, targets = stages["semantic"].sequence(batch)
    assert torch.equal(targets[:, :-1], batch["semantic"])
    stage = stages["semantic"]
    assert targets[:, -1].tolist() == [stage.end, stage.segment_end, stage.segment_end]


def test_flatten_frames_round_trip():
    codes = torch.arange(24).view(1, 4, 6)
    assert flatten_frames(codes)[0, :4].tolist() == [0, 6, 12, 18]
    assert torch.equal(unflatten_frames(flatten_frames(codes), 4), codes)


def test_deduplicate_merges_runs():
    rows = torch.tensor([[1, 1, 2, 2, 1], [3, 3, 3, 3, 3], [1, 2, 3, 4, 5]])
    assert deduplicate(rows, 9).tolist() == [[1, 2, 1, 9, 9], [3, 9, 9, 9, 9], [1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", [[1, 2, 1, 17, IGNORE, IGNORE], [1, 2, 3, 4, 5, 17]]),
        ("piece_end", [[1, 2, 1, 16, IGNORE, IGNORE], [1, 2, 3, 4, 5, 17]]),
        ("every_segment", [[1, 2, 1, 16, IGNORE, IGNORE], [1, 2, 3, 4, 5, 16]]),
    ],
)
def test_ends_of_deduplicated_segments(mode, expected):
    shape = EMBEDDED | {"deduplicate_semantic": True, "semantic_frames": 5, "end_of_sequence": mode}
    stage = _stages(shape)["semantic"]
    batch = {
        "semantic": torch.tensor([[1, 1, 2, 2, 1], [1, 2, 3, 4, 5]]),
        "last": torch.tensor([True, False]),
    }
    assert stage.sequence(batch)[1].tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("deduplicate_semantic", [False, True])
@pytest.mark.parametrize("shape", [EMBEDDED, PRETRAINED], ids=["embedded", "pretrained"])
@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_generation_has_the_asked_length_and_valid_codes(shape, seconds, deduplicate_semantic):
    seconds *= shape["window_seconds"] / 2
    shape = shape | {"deduplicate_semantic": deduplicate_semantic, "end_of_sequence": "none"}
    generator = AudioLmGenerator(**_stages(shape))
    tokens = generator.generate(seconds, [1, 2], Sampling())
    assert tokens.acoustic.shape == (
        2,
        shape["quantizers"],
        round(seconds * shape["acoustic_rate"]),
    )
    assert tokens.acoustic.min() >= 0
    assert tokens.acoustic.max() < shape["codebook_size"]
    assert tokens.acoustic.min() >= 0
    assert tokens.acoustic.max() < shape["codebook_size"]
    assert not any(tokens.ended)


@pytest.mark.slow
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("end", ["none", "piece_end"])
def test_a_clip_does_not_depend_on_its_batch(merged, end):
    shape = EMBEDDED | {"deduplicate_semantic": merged, "end_of_sequence": end}
    generator = AudioLmGenerator(**_stages(shape))
    together = generator.generate(1.0, [5, 6, 7], Sampling())
    alone = generator.generate(1.0, [6], Sampling())
    assert torch.equal(together.acoustic[1], alone.acoustic[0])


def test_the_prime_begins_the_clip():
    generator = AudioLmGenerator(**_stages(EMBEDDED | {"end_of_sequence": "none"}))
    batch = _batch(EMBEDDED, items=1)
    prime = Tokens(batch["semantic"][:, :10], batch["acoustic"][:, :, :7], [7], [False])
    tokens = generator.generate(1.0, [1, 2], Sampling(), prime=prime)
    assert torch.equal(tokens.acoustic[:, :, :7], prime.acoustic.repeat(2, 1, 1))
    assert torch.equal(tokens.semantic[:, :10], prime.semantic.repeat(2, 1))


def test_behind_the_end_of_a_merged_window_stands_nothing_else():
    generator = AudioLmGenerator(**_stages(EMBEDDED | {"deduplicate_semantic": True}))
    stage = generator.semantic
    tokens = generator.generate(0.4, list(range(16)), Sampling(temperature=2.0, top_k=None))
    assert (tokens.semantic <= stage.segment_end).all()
    for row in tokens.semantic.tolist():
        first = row.index(stage.segment_end) if stage.segment_end in row else len(row)
        assert set(row[first:]) <= {stage.segment_end}


def test_merged_windows_go_on_from_the_share_that_both_cover():
    generator = AudioLmGenerator(**_stages(EMBEDDED | {"deduplicate_semantic": True}))
    end = generator.semantic.segment_end
    window = torch.tensor([[1, 2, 3, 4] + [end] * 16, list(range(10)) * 2])
    context = generator._context([window], [0.0], 0.1, None, 2)
    assert [row.tolist() for row in context] == [[2, 3, 4], [5, 6, 7, 8, 9, *range(10)]]
    assert [len(row) for row in generator._context([window], [0.0], 0.4, None, 2)] == [0, 0]


def test_an_end_is_taught_against_going_on():
    stage = _stages(EMBEDDED)["semantic"]
    assert stage.sequence(_batch(EMBEDDED))[1][:, -1].tolist() == [16, 17, 17]
    stage = _stages(EMBEDDED | {"end_of_sequence": "none"})["semantic"]
    assert stage.sequence(_batch(EMBEDDED))[1][:, -1].tolist() == [IGNORE] * 3


@pytest.mark.slow
def test_windows_do_not_drift():
    """Context lengths of odd hops add up to the true start of every window."""
    shape = EMBEDDED | {"semantic_rate": 37.5, "semantic_frames": 15}
    generator = AudioLmGenerator(**_stages(shape | {"end_of_sequence": "none"}))
    tokens = generator.generate(6.0, [1], Sampling(), hop=0.13)
    assert tokens.acoustic.shape[2] == 225
    assert abs(tokens.semantic.shape[1] - 225) <= 5


def test_an_end_cuts_the_clip_short():
    stages = _stages(EMBEDDED)
    head = stages["semantic"].transformer.heads[1]
    torch.nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias[:] = 0
        head.bias[stages["semantic"].end] = 100
    tokens = AudioLmGenerator(**stages).generate(1.0, [1], Sampling())
    assert tokens.ended == [True]
    assert tokens.frames == [15], "a piece ends with a window, never inside it"


def test_progress_ends_at_100_percent():
    events = []
    AudioLmGenerator(**_stages(EMBEDDED)).generate(1.0, [1], Sampling(), progress=events.append)
    assert events[-1].percent == pytest.approx(100, abs=3)
    assert {e.stage for e in events} == {"semantic", "coarse", "fine"}


def test_sampling_follows_the_distribution():
    logits = torch.tensor([0.1, 0.2, 0.7]).log().repeat(20000, 1)
    uniform = torch.rand(20000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = draw(logits, uniform, Sampling(temperature=1)).bincount(minlength=3) / 20000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.2, 0.7]), atol=0.02, rtol=0)


def test_top_k_top_p_and_greedy():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(1000, 1)
    uniform = torch.linspace(0, 0.999, 1000, dtype=torch.float64)
    assert set(draw(logits, uniform, Sampling(temperature=1, top_k=2)).tolist()) == {0, 1}
    assert set(draw(logits, uniform, Sampling(temperature=1, top_p=0.8)).tolist()) == {0, 1}
    assert set(draw(logits, uniform, Sampling(temperature=1, top_p=0.81)).tolist()) == {0, 1, 2}
    assert set(draw(logits, uniform, Sampling(temperature=0)).tolist()) == {0}


def test_clip_seeds_differ():
    assert len({clip_seed(s, c) for s in range(5) for c in range(100)}) == 500


@pytest.mark.slow
@pytest.mark.parametrize("name", list(STAGES))
def test_each_stage_overfits_one_batch(name):
    torch.manual_seed(0)
    stage = STAGES[name](EMBEDDED, NETWORK)
    batch = _batch(EMBEDDED) | {"place": torch.zeros(3)}
    optimiser = torch.optim.AdamW(stage.parameters(), lr=5e-3)
    for _ in range(80):
        loss, figures = stage.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # The first token of a sequence cannot be known: up to ln(3) of one in twenty.
    assert loss.item() < 0.12, figures


def test_a_share_of_the_vocabulary_is_drawn_from():
    """audiolm-pytorch keeps a tenth of the logits: 50 of 501."""
    from etude.clips.sampling import draw

    logits, uniform = torch.arange(501.0)[None].repeat(400, 1) / 100, torch.rand(400).double()
    ids = draw(logits, uniform, Sampling(top_k=None, top_share=0.1))
    assert 451 <= int(ids.min()) < int(ids.max()) <= 500
    assert int(draw(logits, uniform, Sampling(top_k=None)).min()) < 451
