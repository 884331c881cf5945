"""Table: results as Markdown for people and as JSON for machines."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def markdown(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; numbers are right-aligned, None and NaN become a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        all(isinstance(row[k], int | float) or row[k] is None for row in rows)
        for k in range(len(headings))
    ]
    lines = [
        "| " + " | ".join(headings) + " |",
        "|" + "|".join("---:" if right else "---" for right in numeric) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join(lines)


def verdict(value: float | None, target: float, at_least: bool = True) -> str:
    """ "yes", "NO" or "-" for whether a target is met."""
    if value is None or math.isnan(value):
        return "-"
    return "yes" if (value >= target if at_least else value <= target) else "**NO**"


def machine() -> str:
    """One line on what the numbers were measured on, and on how busy it was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"load average {load:.1f}"
    )


def save(path: Path | None, data: Any) -> None:
    """Write JSON; does nothing without a path."""
    if path is not None:
        path.write_text(json.dumps(_plain(data), indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Any:
    """Read what `save` wrote; null becomes NaN again."""

    def revived(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: revived(value) for key, value in data.items()}
        if isinstance(data, list):
            return [revived(value) for value in data]
        return math.nan if data is None else data

    return revived(json.loads(path.read_text(encoding="utf-8")))


def short(value: float) -> str:
    """A number as tables show it."""
    return _cell(float(value))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if abs(value) >= 1000:
            return f"{value:,.0f}"
        return f"{value:.1f}" if abs(value) >= 20 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(data: Any) -> Any:
    """JSON's own types; what is not finite becomes null."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "tolist"):
        return _plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
