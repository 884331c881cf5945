"""Neural Emotion Director: footage of an actor in, the same take with another emotion out.

`ned.direct("a.mp4", emotion="sad", output="b.mp4")`; docs/api.md lists the rest. Importing this
package is quick: what it offers is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ned.api import (
        AssetError,
        Clip,
        Direction,
        DirectResult,
        Frame,
        InputError,
        NedError,
        NoFaceError,
        OutputError,
        PairResult,
        Performance,
        Progress,
        SetResult,
        SilentProgress,
        Timeline,
        Track,
        direct,
        direct_performance,
        edit_at,
        evaluate,
        fit,
        load_rig,
        perform,
        track,
    )

__all__ = [
    "AssetError",
    "Clip",
    "DirectResult",
    "Direction",
    "Frame",
    "InputError",
    "NedError",
    "NoFaceError",
    "OutputError",
    "PairResult",
    "Performance",
    "Progress",
    "SetResult",
    "SilentProgress",
    "Timeline",
    "Track",
    "__version__",
    "direct",
    "direct_performance",
    "edit_at",
    "evaluate",
    "fit",
    "load_rig",
    "perform",
    "track",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("ned.api"), name)
    raise AttributeError(f"module 'ned' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
