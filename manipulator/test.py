"""Test: python manipulator/test.py --celeb FOLDER --trg_emotions happy (`ned manipulate`).

NED's name for a command; only a door to it.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command with the words of this process; returns its exit code."""
    from ned.cli import main as ned

    return ned(["manipulate", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
