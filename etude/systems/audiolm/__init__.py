"""AudioLM: three transformers over audio tokens."""
