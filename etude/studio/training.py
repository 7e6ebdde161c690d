"""Trainings."""


class Trainings:
    """Trainings."""
