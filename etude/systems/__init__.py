"""The systems: how each family of generators makes its clips."""
