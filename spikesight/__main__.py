"""`python -m spikesight`: the command line."""

import sys

from spikesight.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
