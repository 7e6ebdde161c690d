"""What holds for every test: few threads, set before torch is imported, and a cache of its own."""

import os
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="etude-test-cache-")

import etude  # noqa: F401  sets what torch's libraries read when they load
