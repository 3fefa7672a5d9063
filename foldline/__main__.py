"""`python -m foldline`: the command line."""

import sys

from foldline.command import main

if __name__ == "__main__":
    sys.exit(main())
