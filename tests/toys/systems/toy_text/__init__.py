"""The heavy half of the system `toy_text`."""
