"""Sampling, priming and stitching of clips."""
