"""Put into each environment as sitecustomize: a job has its own packages and no others.

Snakemake lends every `script:` the packages of its own environment, by an entry at the end of
sys.path, since the script has to load the job's description. As soon as a script imports etude,
that entry is taken away, with all that came from there but Snakemake itself: a package that the
environment lacks is then missing, as it would be on a machine where nothing is lent. Which script
ran in which environment is written to a file.
"""

import os
import sys
from importlib.abc import MetaPathFinder


class Alone(MetaPathFinder):
    """Finds nothing; closes the way to the lent packages at the first import of etude."""

    def find_spec(self, name, path=None, target=None):
        if name == "etude" and (lent := os.environ.get("ETUDE_LENT")):
            sys.meta_path.remove(self)
            sys.path[:] = [entry for entry in sys.path if not entry.startswith(lent)]
            for loaded, module in list(sys.modules.items()):
                file = getattr(module, "__file__", None) or ""
                if file.startswith(lent) and not loaded.startswith("snakemake"):
                    del sys.modules[loaded]
            with open(os.environ["ETUDE_ALONE"], "a", encoding="utf-8") as log:  # noqa: PTH123
                log.write(f"{sys.argv[0].rpartition('/')[2]}\t{sys.prefix}\n")


sys.meta_path.insert(0, Alone())
