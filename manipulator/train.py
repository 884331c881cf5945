"""Train: python manipulator/train.py --train_root FOLDER ... (`ned train-manipulator`).

NED's name for a command; only a door to it.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command with the words of this process; returns its exit code."""
    from ned.cli import main as ned

    return ned(["train-manipulator", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
