"""Audio files, levels and cuts."""
