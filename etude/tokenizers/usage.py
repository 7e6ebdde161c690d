"""How many of its codes a tokenizer uses: one that has collapsed, or serves one piece, says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

ENOUGH = 0.5  # a share of a codebook
FEWEST_PIECES = 4  # of which one may have many codes for itself and be odd


def codes_used(train: Any, shape: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What the training split uses of the semantic and of each acoustic codebook.

    Args:
        train: the packed training split, a datasets.Dataset.
        shape: what `token_shape` says of it.

    Returns:
        for each codebook `used` (codes), and of these `alone` (codes of one `piece` alone, the
        one that has the most of them).
    """
    import numpy as np

    names, pieces = np.unique(train["piece"], return_inverse=True)
    books = {
        "semantic": (1, shape["semantic_vocabulary"]),
        "acoustic": (shape["quantizers"], shape["codebook_size"]),
    }
    # The first and the last piece of each code: where they are one, it has the code for itself.
    first = {name: np.full(size, len(names)) for name, size in books.items()}
    last = {name: np.full(size, -1) for name, size in books.items()}
    at = 0
    for batch in train.with_format("arrow").iter(batch_size=1000):
        owners = pieces[at : at + batch.num_rows]
        at += batch.num_rows
        for name, (quantizers, _) in books.items():
            codes = batch.column(name).combine_chunks().flatten().to_numpy()
            codes = codes.reshape(len(owners), quantizers, -1)
            owner = np.repeat(owners, codes.shape[2])
            for quantizer in range(quantizers):
                of_book = codes[:, quantizer].ravel()
                np.minimum.at(first[name][quantizer], of_book, owner)
                np.maximum.at(last[name][quantizer], of_book, owner)
    return {
        name: [_count(*ends, names) for ends in zip(first[name], last[name], strict=True)]
        for name in books
    }


def _count(first: np.ndarray, last: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    import numpy as np

    alone = np.bincount(first[first == last], minlength=1)
    most = int(alone.argmax())
    found: dict[str, Any] = {"used": int((last >= 0).sum()), "alone": int(alone[most])}
    if len(names) < FEWEST_PIECES or not found["alone"]:
        return found | {"alone": 0, "piece": ""}
    return found | {"piece": str(names[most])}


def hardly_used(info: Mapping[str, Any]) -> Iterator[str]:
    """A line for each codebook of which all pieces, or all but one, use less than half.

    Args:
        info: the info.json of a packed set; one of an older version has no counts.

    Example:
        >>> book = [{"used": 20, "alone": 12, "piece": "a.mid"}]
        >>> info = {"semantic_vocabulary": 100, "codes_used": {"semantic": book}}
        >>> print(*hardly_used(info))
        the semantic codebook has 100 codes, the training music uses 20, 12 of them in a.mid alone
    """
    for name, books in info.get("codes_used", {}).items():
        size = info["semantic_vocabulary" if name == "semantic" else "codebook_size"]
        for number, found in enumerate(books, 1):
            if found["used"] - found["alone"] < ENOUGH * size:
                book = f"codebook {number} of {len(books)}" if len(books) > 1 else "codebook"
                own = f", {found['alone']} of them in {found['piece']} alone"
                uses = f"{found['used']}{own if found['alone'] else ''}"
                yield f"the {name} {book} has {size} codes, the training music uses {uses}"
