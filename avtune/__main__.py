"""`python -m avtune`, for where the command itself is not on the path."""

import sys

from avtune.cli import main

if __name__ == "__main__":
    sys.exit(main())
