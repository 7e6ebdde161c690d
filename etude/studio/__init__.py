"""The studio: play, seed, listen blind, train; in a browser."""
