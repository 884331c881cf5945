"""Erosion: masks made smaller with a soft edge, and their largest piece."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=32)
def erosion_kernel(size: int) -> NDArray[np.float32]:
    """(size, size) cone of weights that sum to 1: its value falls to 0 at the corners."""
    offsets = np.arange(size, dtype=np.float32) - (size - 1) / 2
    distance = np.hypot(offsets[:, None], offsets[None, :]).astype(np.float32)
    weights = distance.max() - distance if size > 1 else np.ones((1, 1), np.float32)
    kernel = (weights / weights.sum()).astype(np.float32)
    kernel.setflags(write=False)
    return kernel


def soft_erosion(
    mask: NDArray[np.bool_], size: int, threshold: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A mask eroded with a soft edge, as FSGAN and NED do it.

    Every pixel becomes the share of the mask around it, weighted by `erosion_kernel`; the
    mask ends at the border of the picture.

    Args:
        mask: (H, W).
        size: odd side of the kernel in pixels.
        threshold: share of the mask around it from which on a pixel is inside.

    Returns:
        Soft (H, W) in [0, 1]: 1 inside, outside the share over the largest outside; and hard
        (H, W): what is inside.
    """
    share = cv2.filter2D(
        mask.astype(np.float32), cv2.CV_32F, erosion_kernel(size), borderType=cv2.BORDER_CONSTANT
    )
    hard = share >= threshold
    outside = share[~hard]
    largest = float(outside.max()) if outside.size else 0.0
    soft = np.clip(share / largest, 0, 1) if largest > 0 else np.zeros_like(share)
    soft[hard] = 1
    return soft, hard


def largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected piece of a mask (H, W); pixels that touch at a corner connect."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), None, 8)
    if len(statistics) < 2:
        return np.zeros_like(mask)
    return labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
