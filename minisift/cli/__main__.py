"""`python -m minisift.cli` is the command `minisift`."""

import sys

from minisift.cli import main

if __name__ == "__main__":
    sys.exit(main())
