"""Gradient similarity: how unlike the edges of two pictures are; needs no weights of anybody."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_STEADY = 170.0  # the paper's c, for grey levels up to 255
_PREWITT = np.array([[1, 0, -1]] * 3, np.float32) / 3


def gradient_deviation(
    first: NDArray[np.float32], second: NDArray[np.float32], inside: NDArray[np.bool_] | None = None
) -> float:
    """GMSD of two grey pictures: 0 for equal ones, larger the more unevenly their edges differ.

    Xue, Zhang, Mou and Bovik, "Gradient magnitude similarity deviation: a highly efficient
    perceptual image quality index" (IEEE TIP 2014), eqs. 1 to 6: means of 2 x 2 pixels, every
    second one kept; Prewitt gradients; standard deviation of their similarity over the picture.

    Args:
        first, second: (H, W) grey levels, 0 to 255.
        inside: (H, W) where to look; everywhere if None.

    Returns:
        About 0 to 0.4; NaN where there is nothing to look at.
    """
    one, two = (_gradient(_halved(image.astype(np.float32))) for image in (first, second))
    one, two = one.astype(np.float64), two.astype(np.float64)
    similarity = (2 * one * two + _STEADY) / (one * one + two * two + _STEADY)
    if inside is None:
        return float(similarity.std())
    kept = _halved(inside.astype(np.float32)) > 0.999
    return float(similarity[kept].std()) if kept.any() else float("nan")


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 2 x 2 pixels at every second one."""
    high, wide = (size // 2 * 2 for size in image.shape)
    return image[:high, :wide].reshape(high // 2, 2, wide // 2, 2).mean((1, 3))


def _gradient(image: NDArray[np.float32]) -> NDArray[np.float32]:
    across, down = (cv2.filter2D(image, cv2.CV_32F, kernel) for kernel in (_PREWITT, _PREWITT.T))
    return cv2.magnitude(across, down)
