"""Audit: known vulnerabilities of the packages in .venv, by pip-audit (`make audit`)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Tell what is known; returns 0 if packages were looked up and none is affected."""
    (packages,) = (ROOT / ".venv" / "lib").glob("python3.*/site-packages")
    auditor = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
    words = ["--progress-spinner", "off", "--format", "json", "--path", packages]
    told = subprocess.run([auditor, *words], capture_output=True, text=True, check=False)
    try:
        found = json.loads(told.stdout)["dependencies"]
    except ValueError:
        reason = (told.stderr.strip() or "no answer").splitlines()[-1]
        return refuse(f"the advisory service cannot be reached ({reason})")
    affected = [one for one in found if one.get("vulns")]
    for one in affected:
        for known in one["vulns"]:
            repaired = ", ".join(known["fix_versions"]) or "no release"
            print(f"{one['name']} {one['version']}: {known['id']}, repaired in {repaired}")
    unknown = [one["name"] for one in found if "skip_reason" in one and one["name"] != "ned"]
    looked_up = len(found) - len(unknown)
    if looked_up <= 1:
        return refuse("the advisory service cannot be reached: it knew none of the packages")
    print(f"{looked_up} packages looked up, {len(affected)} with known vulnerabilities")
    if unknown:
        print(f"the service does not know {', '.join(sorted(unknown))}")
    return 1 if affected else 0


def refuse(why: str) -> int:
    """Say why the audit is not complete."""
    print(f"make audit: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
