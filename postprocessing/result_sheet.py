"""Result sheet: frames of the source above those of the result, in one picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.film.clip import Frame
from postprocessing.picture_file import label, write_picture

_COLUMNS = 8
_LONG_SIDE = 320


class ResultSheet:
    """Collects up to eight pairs of frames, spread evenly over the clip."""

    def __init__(self, frame_count: int) -> None:
        columns = min(_COLUMNS, frame_count)
        spread = np.linspace(0, frame_count - 1, 2 * columns + 1)[1::2]
        self.wanted = frozenset(np.rint(spread).astype(int).tolist())
        self._columns: list[NDArray[np.uint8]] = []

    def add(self, source: Frame, result: Frame) -> None:
        """Take the pair in if it is one of those wanted."""
        if source.index not in self.wanted:
            return
        pair = [_small(frame.rgb()) for frame in (source, result)]
        label(pair[0], f"{source.time:.2f} s")
        self._columns.append(np.concatenate(pair))

    def save(self, path: Path) -> None:
        """Write the picture; raises OutputError."""
        if self._columns:
            write_picture(path, np.concatenate(self._columns, axis=1))


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _LONG_SIDE / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=interpolation), np.uint8)
