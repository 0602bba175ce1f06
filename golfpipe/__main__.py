"""`python -m golfpipe` is `golfpipe`."""

import sys

from golfpipe.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
