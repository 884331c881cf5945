"""Pyramid: bands of detail of a picture, and two pictures mixed band by band."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray


def gaussian_pyramid(image: NDArray[np.float32], levels: int) -> list[NDArray[np.float32]]:
    """The image and its `levels` halvings, the finest first."""
    pyramid = [image]
    for _ in range(levels):
        pyramid.append(cv2.pyrDown(pyramid[-1]))
    return pyramid


def laplacian_pyramid(image: NDArray[np.float32], levels: int) -> list[NDArray[np.float32]]:
    """`levels` bands of detail, the finest first, and what is left."""
    pyramid = gaussian_pyramid(image, levels)
    bands = [fine - _up(coarse, fine) for fine, coarse in itertools.pairwise(pyramid)]
    return [*bands, pyramid[-1]]


def blend_pyramids(
    background: NDArray[np.float32],
    face: NDArray[np.float32],
    mask: NDArray[np.bool_],
    levels: int = 4,
    copied: int = 0,
) -> NDArray[np.float32]:
    """Burt and Adelson, "A multiresolution spline with application to image mosaics", 1983.

    Args:
        background: (H, W, 3).
        face: (H, W, 3).
        mask: (H, W) where the face's detail is taken.
        levels: halvings.
        copied: how many of the coarsest of the levels + 1 bands stay the background's.

    Returns:
        (H, W, 3), not clipped.
    """
    return background + blended_change(face - background, mask, levels, copied)


def blended_change(
    difference: NDArray[np.float32], mask: NDArray[np.bool_], levels: int = 4, copied: int = 0
) -> NDArray[np.float32]:
    """What `blend_pyramids` adds to a background that a face differs from.

    Pyramids are linear: the bands of the difference are the differences of the bands, and the
    background's own bands add up to the background.
    """
    weights = gaussian_pyramid(mask.astype(np.float32), levels)
    bands = laplacian_pyramid(difference, levels)
    change = np.zeros_like(bands[-1])
    for level in range(levels, -1, -1):
        if level < levels:
            change = _up(change, bands[level])
        if level <= levels - copied:
            change += weights[level][..., None] * bands[level]
    return change


def _up(coarse: NDArray[np.float32], fine: NDArray[np.float32]) -> NDArray[np.float32]:
    return cv2.pyrUp(coarse, dstsize=(fine.shape[1], fine.shape[0]))
