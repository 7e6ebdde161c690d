"""The heavy half of the system `textual_inversion`."""
