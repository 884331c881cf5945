"""Sidecar: the JSON record beside a result of what was done, with what, and to which frames."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned import __version__
from ned.core.face.performance import Performance
from ned.core.files.partial import publish_bytes
from ned.core.film.clip import Clip

_LIBRARIES = ("av", "mediapipe", "numba", "numpy", "opencv-contrib-python", "scipy")


def write_sidecar(
    path: Path,
    options: Any,
    clip: Clip,
    performance: Performance,
    strength: NDArray[np.float32],
    skipped: Sequence[tuple[int, int, str]],
    parameters: Path | None,
    result: Path | None = None,
) -> None:
    """Write the record atomically; raises OutputError.

    Args:
        options: the frozen dataclass of the command. strength: (T,) share of the edit per frame.
        skipped: runs of untouched frames: first, last, reason.
        parameters: file of the per-frame activations, before and after directing.
        result: the film, which is complete; None where there is none.
    """
    times = performance.times
    record = {
        "tool": "ned",
        "version": __version__,
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "settings": _plain(dataclasses.asdict(options)),
        "clip": {
            "name": clip.path.name,
            "size": list(clip.size),
            "frame_rate": str(clip.frame_rate),
            "bytes": clip.path.stat().st_size,
        },
        "result": result and {"name": result.name, "bytes": result.stat().st_size},
        "frames": {
            "total": len(performance),
            "directed": int((strength > 1e-3).sum()),
            "interpolated": int(performance.track.interpolated.sum()),
            "cuts": (np.flatnonzero(np.diff(performance.track.shots)) + 1).tolist(),
        },
        "untouched": [
            {
                "first": first,
                "last": last,
                "from": round(float(times[first]), 4),
                "to": round(float(times[last]), 4),
                "why": why,
            }
            for first, last, why in skipped
        ],
        "parameters": parameters.name if parameters is not None else None,
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    # Names need not be valid text: "\\udcff" is how JSON spells a stray byte.
    publish_bytes(path, text.encode("utf-8", "backslashreplace"))


def _plain(value: Any) -> Any:
    """The value in terms of JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
