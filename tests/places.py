"""Places: the repository, and the folder beside it that may hold real footage and numbers."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CLIPS = Path(os.environ.get("NED_CLIPS") or SHARED / "clips")
