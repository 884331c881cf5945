"""Raster: triangles painted onto a coarse grid, and samples scaled by light (compiled)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, fastmath=True, nogil=True)
def paint(
    points: NDArray[np.float32],
    attributes: NDArray[np.float32],
    triangles: NDArray[np.int32],
    culled_from: int,
    canvas: NDArray[np.float32],
) -> None:
    """Paint triangles in order, each cell taking the attributes interpolated at its centre.

    Args:
        points: (N, 2) float32 in cells; the centre of cell (row, column) is (column, row) + 0.5.
        attributes: (N, A) float32.
        triangles: (M, 3) int32; later ones cover earlier ones.
        culled_from: triangles from this number on are skipped when they face away
            (clockwise in x-right, y-down coordinates is toward the camera's back).
        canvas: (H, W, A) float32, painted in place.
    """
    height, width, count = canvas.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0] - ax, points[b, 1] - ay
        cx, cy = points[c, 0] - ax, points[c, 1] - ay
        area = bx * cy - by * cx
        if abs(area) < 1e-9 or (t >= culled_from and area >= 0):
            continue
        low_x = max(0, int(np.ceil(ax + min(0.0, bx, cx) - 0.5)))
        high_x = min(width - 1, int(np.floor(ax + max(0.0, bx, cx) - 0.5)))
        low_y = max(0, int(np.ceil(ay + min(0.0, by, cy) - 0.5)))
        high_y = min(height - 1, int(np.floor(ay + max(0.0, by, cy) - 0.5)))
        inverse = 1.0 / area
        for row in range(low_y, high_y + 1):
            py = row + 0.5 - ay
            for column in range(low_x, high_x + 1):
                px = column + 0.5 - ax
                v = (px * cy - py * cx) * inverse
                w = (py * bx - px * by) * inverse
                if v >= -1e-6 and w >= -1e-6 and v + w <= 1.000001:
                    u = 1.0 - v - w
                    for k in range(count):
                        canvas[row, column, k] = (
                            u * attributes[a, k] + v * attributes[b, k] + w * attributes[c, k]
                        )


@njit(cache=True, fastmath=True, nogil=True)
def tone(
    samples: NDArray,
    ratio: NDArray[np.float32],
    zero: int,
    ceiling: int,
    target: NDArray,
) -> None:
    """Scale samples around the code of black (or of neutral chroma), rounded and clipped.

    Args:
        samples: (H, W) uint8 or uint16. ratio: (H, W) float32; 1 keeps a sample as it is.
        zero: code that stays. ceiling: largest code. target: (H, W) like samples, overwritten.
    """
    height, width = samples.shape
    for row in range(height):
        for column in range(width):
            offset = np.float32(samples[row, column]) - np.float32(zero)
            value = offset * ratio[row, column] + np.float32(zero) + np.float32(0.5)
            target[row, column] = int(min(max(value, np.float32(0)), np.float32(ceiling)))
