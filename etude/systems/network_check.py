"""A network of the user's, tried before a run: its shapes, what it sees, its cache.

A network that sees what it is to predict learns wonderfully and plays nothing; one whose cache
differs plays something else than it has learned. Neither raises anything in a run.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from etude.plugins import wrong

VOCABULARY, LENGTH, PROMPT = 16, 12, 5
CLOSE = 1e-3  # of float32; blocks of other sizes round otherwise


@torch.no_grad()
def try_causal(
    kind: str,
    logits: Callable[[Tensor], Tensor],
    cached: Callable[[Tensor, int], Tensor] | None = None,
) -> None:
    """See that logits have the right shape, depend on no later id, and are the same with a cache.

    Args:
        kind: the `module:Class`.
        logits: ids [2, LENGTH] below VOCABULARY, 0 in front -> [2, LENGTH, VOCABULARY].
        cached: the same of ids that come in two parts and more: first this many, then one by one.

    Raises:
        UserError: which of these is not so.
    """
    ids = torch.randint(VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = 0
    whole = logits(ids)
    wanted = [2, LENGTH, VOCABULARY]
    if list(whole.shape) != wanted:
        got = f"of {LENGTH} positions it came to logits {list(whole.shape)}, not {wanted}"
        raise wrong(kind, "forward", got)
    later = ids.clone()
    later[:, PROMPT:] = (later[:, PROMPT:] + 1) % VOCABULARY
    if not torch.allclose(logits(later)[:, :PROMPT], whole[:, :PROMPT], atol=CLOSE, rtol=CLOSE):
        problem = f"position i may see only 0 … i; here positions before {PROMPT} see later ones"
        raise wrong(kind, "forward", problem)
    if cached is None:
        return
    again = cached(ids, PROMPT)
    if not torch.allclose(again, whole[:, -again.shape[1] :], atol=CLOSE, rtol=CLOSE):
        problem = "with its cache, given new positions only, it gives other logits than without"
        raise wrong(kind, "cache", problem)
