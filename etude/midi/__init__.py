"""MIDI: note tables, events, and rendering to audio."""
