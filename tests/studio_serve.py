"""`etude studio` whose workers have the toy."""

import sys

import studio

from etude.__main__ import main
from etude.studio import startup as opening

if __name__ == "__main__":
    opening.Queue = studio.toy_queue
    sys.exit(main(["studio", *sys.argv[1:]]))
