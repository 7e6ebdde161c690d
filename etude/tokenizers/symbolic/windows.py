"""A piece's tokens cut into windows."""

from __future__ import annotations

from etude.config import SymbolicTokenSet


def window_spans(length: int, settings: SymbolicTokenSet) -> list[tuple[int, int]]:
    """First token and end of each window of a piece of this many tokens.

    Windows begin every `stride` tokens while they are whole. Where `shortest` tokens or more remain
    after that, one more holds the last `window` tokens. A piece of less than a window is one window
    of its own length, or none (`short_pieces`); one of more may be none as well (`long_pieces`).

    Example:
        >>> settings = SymbolicTokenSet(tokenizer="remi", window=100, stride=50, shortest=20)
        >>> window_spans(180, settings)
        [(0, 100), (50, 150), (80, 180)]
        >>> window_spans(60, settings)
        [(0, 60)]
    """
    window, stride = settings.window, settings.stride
    if length < settings.fewest or (length < window and settings.short_pieces == "drop"):
        return []
    if length > window and settings.long_pieces == "drop":
        return []
    if length <= window or settings.first_window_only:
        return [(0, min(length, window))]
    starts = list(range(0, length - window + 1, stride))
    spans = [(start, start + window) for start in starts]
    rest = length - (starts[-1] + stride)
    if rest >= settings.shortest and spans[-1][1] < length:
        spans.append((length - window, length))
    return spans
