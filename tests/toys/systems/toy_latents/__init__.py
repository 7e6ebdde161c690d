"""The heavy half of the system `toy_latents`."""
