"""Blind pairs."""


class Test:
    """Pairs."""
