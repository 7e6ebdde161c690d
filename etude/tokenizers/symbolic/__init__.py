"""Symbolic tokenizers: MIDI to the tokens of language models, and back."""
