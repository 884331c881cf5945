"""Detect Aff-Wild2: --videos_path, --annotations_path, --save_dir (`ned detect-affwild2`).

NED's name for a command; only a door to it.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Run the command with the words of this process; returns its exit code."""
    from ned.door import enter

    return enter("detect-affwild2")


if __name__ == "__main__":
    room = Path(__file__).resolve().parent  # where a script looks for modules, and none is meant
    sys.path[:] = [str(room.parent), *(p for p in sys.path if Path(p).resolve() != room)]
    sys.exit(main())
