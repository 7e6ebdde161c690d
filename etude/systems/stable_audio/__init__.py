"""The heavy half of the system `stable_audio`."""
