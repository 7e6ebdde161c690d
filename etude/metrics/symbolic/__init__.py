"""Metrics of clips that have notes (.mid): shares, harmony, features, structure, distances."""
