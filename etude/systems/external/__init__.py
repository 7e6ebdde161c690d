"""Clips that somebody else made."""
