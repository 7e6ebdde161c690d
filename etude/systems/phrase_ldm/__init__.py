"""The heavy half of the system `phrase_ldm`: phrases as latents, and diffusion over these."""
