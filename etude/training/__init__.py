"""One training loop for every stage of every system."""
