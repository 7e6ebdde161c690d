"""Clips that somebody else made: nothing is trained, nothing generated."""

from __future__ import annotations

from etude.systems.base import SystemBase


class ExternalSystem(SystemBase):
    """Clips that somebody else made."""

    title = "clips from elsewhere"
