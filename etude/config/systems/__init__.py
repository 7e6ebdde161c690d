"""The systems' settings: one file each."""
