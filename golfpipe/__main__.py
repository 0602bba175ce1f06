"""Run the command line: `python -m golfpipe` is the same as `golfpipe`."""

import sys

from golfpipe.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
