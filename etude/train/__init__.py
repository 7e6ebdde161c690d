"""One line to train: from a folder and some options to a configuration, and to a run."""
