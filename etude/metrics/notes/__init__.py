"""Metrics of notes, whichever system made them."""
