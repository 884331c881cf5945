"""Colour: how far the colours of two pictures are apart to the eye."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def difference(
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    cells: int,
    used: NDArray[np.bool_] | None = None,
) -> float:
    """Mean CIEDE2000 distance of the mean colours of a grid's cells.

    Args:
        pictures: two (H, W, 3) uint8 RGB, taken as sRGB. cells: per side of the grid.
        used: (H, W), cells count where at least half of their pixels are True; all if None.

    Returns:
        Delta E, 0 for equal colours, about 1 where a trained eye begins to see it; NaN if no cell
        is used.
    """
    from skimage.color import deltaE_ciede2000, rgb2lab

    size = (cells, cells)
    means = [
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        for picture in pictures
    ]
    apart = deltaE_ciede2000(rgb2lab(means[0]), rgb2lab(means[1]))
    if used is None:
        return float(apart.mean())
    share = cv2.resize(used.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    known = share >= 0.5
    return float(apart[known].mean()) if known.any() else float("nan")
