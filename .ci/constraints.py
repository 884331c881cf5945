"""Constraints: what pip installs today on each supported Python, merged into constraints.txt.

    python .ci/constraints.py        (`make constraints`; needs Python 3.10, 3.11 and 3.12)

Run the tests with the new file before it is committed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12")
WANTED = f"{ROOT}[dev,cluster]"
# They depend on the machine; torch itself asks for exact ones.
_OF_TORCH = ("nvidia-", "cuda-", "triton")
_HEAD = (
    "# Exact versions that are tested, for `make demo` and `make test`.\n"
    "# Written by `make constraints`; pyproject.toml has the ranges that are allowed.\n"
)


def main() -> int:
    """Write the file; returns the exit code."""
    found: dict[str, dict[str, str]] = {}
    for version in VERSIONS:
        finder = subprocess.run(
            [ROOT / ".ci" / "find_python", version], capture_output=True, text=True, check=False
        )
        if finder.returncode:
            print(f"Python {version} is needed and none was found that runs", file=sys.stderr)
            return 1
        for name, release in resolved(finder.stdout.strip()).items():
            found.setdefault(name, {})[version] = release
    lines = [line for name in sorted(found) for line in lines_of(name, found[name])]
    (ROOT / "constraints.txt").write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"constraints.txt has {len(found)} packages")
    return 0


def resolved(python: str) -> dict[str, str]:
    """{name: release} of all that a Python would install."""
    with tempfile.TemporaryDirectory() as folder:
        report, environment = Path(folder) / "report.json", Path(folder) / "environment"
        subprocess.run([python, "-m", "venv", environment], check=True)
        pip = environment / "bin" / "pip"
        wish = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", report]
        subprocess.run([pip, *wish, WANTED], check=True)
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    releases = {
        one["metadata"]["name"].lower().replace("_", "-").replace(".", "-"): (
            one["metadata"]["version"].partition("+")[0]
        )
        for one in installed
    }
    del releases["ned"]
    return {name: one for name, one in releases.items() if not name.startswith(_OF_TORCH)}


def lines_of(name: str, releases: dict[str, str]) -> list[str]:
    """One line where all Pythons agree, else one for each."""
    if len(releases) == len(VERSIONS) and len(set(releases.values())) == 1:
        return [f"{name}=={releases[VERSIONS[0]]}"]
    return [f"{name}=={one}; python_version == '{v}'" for v, one in releases.items()]


if __name__ == "__main__":
    sys.exit(main())
