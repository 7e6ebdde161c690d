"""Noise schedules, predictions, solvers and guidance, for every system that diffuses.

Time runs from 0 (data) to 1 (noise). x(t) = alpha(t) x0 + sigma(t) noise. Networks are given the
time itself, never the number of a step; schedules and the state of a solver are float32.
"""
