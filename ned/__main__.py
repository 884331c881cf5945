"""`python -m ned` is the same as `ned`."""

import sys

from ned.door import enter

if __name__ == "__main__":
    sys.exit(enter())
