"""Sampling: images read between their pixels, exactly bilinear and zero outside (compiled).

OpenCV's remap rounds coordinates to 1/32 pixel, which is too coarse to reproduce published crops.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deca.rasterizer import in_parallel


def warp(
    image: NDArray[np.floating], source_from_target: NDArray[np.floating], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Resample an image: the target's pixel (x, y) is the source at `source_from_target`.

    Args:
        image: (H, W, C). source_from_target: (2, 3) or (3, 3) affine map of (x, y, 1), pixel
            centres at whole numbers. size: (width, height) of the target.

    Returns:
        (height, width, C) float64.
    """
    image = np.ascontiguousarray(image, np.float64)
    target = np.zeros((size[1], size[0], image.shape[2]))
    bands = min(4, size[1])
    edges = [round(size[1] * k / bands) for k in range(bands + 1)]
    matrix = np.ascontiguousarray(source_from_target[:2], np.float64)
    in_parallel(lambda k: _warp(image, matrix, target, edges[k], edges[k + 1]), bands)
    return target


def sample_grid(
    maps: NDArray[np.floating],
    grid: NDArray[np.floating],
    covered: NDArray[np.bool_],
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Look up maps at a grid: (B, S, S, C) float32, 0 where not covered.

    Args:
        maps: (B, H, W, C), or (1, H, W, C) for all. covered: (B, S, S) where to look.
        grid: (B, S, S, 2) x and y in [-1, 1] from the map's left and upper edge to the others
            (edges of pixels, not their centres); beyond the edge everything is 0.
    """
    maps = np.ascontiguousarray(maps, np.float32)
    grid = np.ascontiguousarray(grid, np.float32)
    result = np.zeros((*grid.shape[:3], maps.shape[3]), np.float32)

    def look(k: int) -> None:
        _sample(maps[min(k, len(maps) - 1)], grid[k], covered[k], result[k])

    in_parallel(look, len(grid), threads)
    return result


@njit(cache=True, nogil=True)
def _warp(
    image: NDArray[np.float64],
    matrix: NDArray[np.float64],
    target: NDArray[np.float64],
    first: int,
    last: int,
) -> None:
    height, width, count = image.shape
    for row in range(first, last):
        for column in range(target.shape[1]):
            x = matrix[0, 0] * column + matrix[0, 1] * row + matrix[0, 2]
            y = matrix[1, 0] * column + matrix[1, 1] * row + matrix[1, 2]
            if not (x > -1 and y > -1 and x < width and y < height):
                continue
            left, top = int(np.floor(x)), int(np.floor(y))
            across, down = x - left, y - top
            for j in range(2):
                for i in range(2):
                    if 0 <= left + i < width and 0 <= top + j < height:
                        share = (across if i else 1 - across) * (down if j else 1 - down)
                        for k in range(count):
                            target[row, column, k] += share * image[top + j, left + i, k]


@njit(cache=True, nogil=True)
def _sample(
    source: NDArray[np.float32],
    grid: NDArray[np.float32],
    covered: NDArray[np.bool_],
    result: NDArray[np.float32],
) -> None:
    height, width, count = source.shape
    one, half = np.float32(1), np.float32(0.5)
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            if not covered[row, column]:
                continue
            x = (grid[row, column, 0] + one) * np.float32(width) * half - half
            y = (grid[row, column, 1] + one) * np.float32(height) * half - half
            if not (x > -one and y > -one and x < width and y < height):
                continue
            left, top = int(np.floor(x)), int(np.floor(y))
            across, down = x - np.float32(left), y - np.float32(top)
            for j in range(2):
                for i in range(2):
                    if 0 <= left + i < width and 0 <= top + j < height:
                        share = (across if i else one - across) * (down if j else one - down)
                        for k in range(count):
                            result[row, column, k] += share * source[top + j, left + i, k]
