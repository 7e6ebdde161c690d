"""How many of its codes a tokenizer uses: one that has collapsed says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

ENOUGH = 0.5  # a share of a codebook


def codes_used(train: Dataset, shape: Mapping[str, Any]) -> dict[str, list[int]]:
    """Of the semantic and of each acoustic codebook, how many codes the training split has.

    Args:
        train: the packed training split.
        shape: what `token_shape` says of it.
    """
    import numpy as np

    books = {
        "semantic": (1, shape["semantic_vocabulary"]),
        "acoustic": (shape["quantizers"], shape["codebook_size"]),
    }
    seen = {name: np.zeros(size, bool) for name, size in books.items()}
    for batch in train.with_format("arrow").iter(batch_size=1000):
        for name, (quantizers, _) in books.items():
            codes = batch.column(name).combine_chunks().flatten().to_numpy()
            codes = codes.reshape(batch.num_rows, quantizers, -1)
            for quantizer in range(quantizers):
                seen[name][quantizer, codes[:, quantizer]] = True
    return {name: used.sum(1).tolist() for name, used in seen.items()}


def hardly_used(info: Mapping[str, Any]) -> Iterator[str]:
    """A line for each codebook of a packed set of which less than half is used.

    Args:
        info: its info.json; one of an older version has no counts.
    """
    for name, counts in info.get("codes_used", {}).items():
        size = info["semantic_vocabulary" if name == "semantic" else "codebook_size"]
        for number, used in enumerate(counts, 1):
            if used < ENOUGH * size:
                book = f"codebook {number} of {len(counts)}" if len(counts) > 1 else "codebook"
                yield f"the {name} tokenizer's {book} has {size} codes, the training music {used}"
