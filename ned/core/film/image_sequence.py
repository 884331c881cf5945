"""Image sequence: films that lie in a folder as one picture per frame, and what to do with them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr", ".dpx", ".bmp", ".webp")
_PATTERN = re.compile(r"%0?\d*d|#+")


def advice(path: Path) -> str:
    """How to make a film of the pictures that a folder or a pattern means; empty if it means none.

    Args:
        path: A folder, or a name such as shot_%05d.png or shot_#####.png.
    """
    if path.is_dir():
        kinds = [one.suffix for one in path.iterdir() if one.suffix.lower() in _SUFFIXES]
        if not kinds:
            return ""
        source = path / f"*{max(set(kinds), key=kinds.count)}"
    elif _PATTERN.search(path.name) and path.suffix.lower() in _SUFFIXES:
        source = path.with_name(_PATTERN.sub("*", path.name))
    else:
        return ""
    return (
        "; make a film of its pictures first: ffmpeg -framerate 25 -pattern_type glob "
        f"-i {shlex.quote(str(source))} -c:v libx264 -crf 10 -pix_fmt yuv420p film.mp4"
    )
