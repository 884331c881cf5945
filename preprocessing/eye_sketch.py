"""Eye sketch: the lids and pupils that a neural renderer is shown, moved, disturbed and drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError

LEFT_EYE, RIGHT_EYE = slice(0, 6), slice(6, 12)  # lid points of an eye file, as in the image
LEFT_PUPIL, RIGHT_PUPIL = 12, 13
EYE_POINTS = 14


def edited_eye_landmarks(
    lids: NDArray[np.floating], source: NDArray[np.floating]
) -> NDArray[np.int32]:
    """Eye points of edited heads: (T, 14, 2) whole pixels of the images.

    A pupil moves with the mean of its eye's lid points.

    Args:
        lids: (T, 12, 2) of the edited heads. source: (T, 14 or more, 2) of the source frames.
    """
    points = np.zeros((len(lids), EYE_POINTS, 2))
    points[:, :12] = lids
    for eye, pupil in ((LEFT_EYE, LEFT_PUPIL), (RIGHT_EYE, RIGHT_PUPIL)):
        points[:, pupil] = source[:, pupil] + points[:, eye].mean(1) - source[:, eye].mean(1)
    return points.astype(np.int32)


def aligned_eye_landmarks(
    points: NDArray[np.integer], aligned_from_image: NDArray[np.floating]
) -> NDArray[np.int32]:
    """(N, 2) whole pixels of an image -> whole pixels, to the nearest, of its aligned version."""
    moved = points @ aligned_from_image[:2, :2].T + aligned_from_image[:2, 2]
    return np.rint(moved).astype(np.int32)


def draw_eye_sketch(points: NDArray[np.floating], size: int = 256) -> NDArray[np.uint8]:
    """Two red discs where the pupils are: (size, size, 3) uint8 RGB.

    An eye's radius is a quarter of the sum of its lids' diagonals, cut to whole pixels; what would
    lie outside of the picture is painted at its edge.

    Args:
        points: (14 or more, 2) x, y of six lid points of the left and right eye of the picture,
            then their pupils; fractions are cut off.
    """
    whole = _checked_eyes(points).astype(np.int32)
    sketch = np.zeros((size, size, 3), np.uint8)
    for eye, pupil in ((LEFT_EYE, LEFT_PUPIL), (RIGHT_EYE, RIGHT_PUPIL)):
        lids = whole[eye].astype(np.float64)
        radius = int((np.linalg.norm(lids[1] - lids[4]) + np.linalg.norm(lids[2] - lids[5])) / 4)
        radius = min(radius, size)  # lids far apart cover everything anyway
        offsets = np.arange(-radius, radius)
        down, across = np.meshgrid(offsets, offsets, indexing="ij")
        inside = np.hypot(down, across) < radius
        x = np.clip(whole[pupil, 0] + across[inside], 0, size - 1)
        y = np.clip(whole[pupil, 1] + down[inside], 0, size - 1)
        sketch[y, x, 0] = 255
    return sketch


def disturbed_eyes(
    points: NDArray[np.floating], noise: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Eye points, fractions cut off, with the noise that training adds: (14, 2).

    Args:
        points: (14 or more, 2). noise: (3,) unit normal numbers: size of both eyes (2 %), then
            how far the left and the right one move apart (2 pixels).
    """
    disturbed = np.trunc(_checked_eyes(points)[:EYE_POINTS])
    for eye, pupil, shift in (
        (LEFT_EYE, LEFT_PUPIL, 2 * noise[1]),
        (RIGHT_EYE, RIGHT_PUPIL, -2 * noise[2]),
    ):
        rows = [*range(eye.start, eye.stop), pupil]
        middle = disturbed[rows].mean(0)
        disturbed[rows] = (disturbed[rows] - middle) * (1 + 0.02 * noise[0]) + middle
        disturbed[rows, 0] += shift
    return disturbed


def _checked_eyes(points: NDArray[np.floating]) -> NDArray[np.float64]:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < EYE_POINTS:
        raise InputError(
            f"eye landmarks of shape {points.shape} were given; ({EYE_POINTS} or more, 2) is needed"
        )
    if not np.isfinite(points).all():
        raise InputError("eye landmarks that are no numbers were given; leave this frame out")
    return points
