"""Étude: from a folder of MIDI or audio to trained music generators and a table one can trust."""

import os

__version__ = "1.0.0"

# Read by torch's libraries when they load, so set before anything imports torch.
# Threads that wait must sleep, not spin: two spinning programs on two cores are ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The same bytes in every run: matrix products with static scheduling and a fixed number of
# threads (Intel's "conditional numerical reproducibility"; no slower here, docs/decisions.md).
os.environ.setdefault("MKL_CBWR", "AUTO")
os.environ.setdefault("MKL_DYNAMIC", "FALSE")
os.environ.setdefault("OMP_DYNAMIC", "FALSE")
