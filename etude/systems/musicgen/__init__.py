"""The heavy half of the system `musicgen`."""
