"""`python -m ned` is the same as `ned`."""

import sys

from ned.cli import main

if __name__ == "__main__":
    sys.exit(main())
