"""What holds for every test: few threads, set before torch is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import etude  # noqa: F401  sets what torch's libraries read when they load
