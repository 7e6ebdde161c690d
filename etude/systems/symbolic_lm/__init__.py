"""A language model of notes as tokens."""
