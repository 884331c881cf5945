"""Tiles: what goes in and out of Winograd's convolutions, in single passes over the pixels.

Pictures are (B, H, W, C) and tiles (n * n, B * rows * columns, C), n from 4 to 6, of float32 or of
bfloat16 in the guise of uint16, which numba does not know. C is a multiple of 64. Between reading
and writing everything is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

LANES = 64  # channels at once
_FAST: Any = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz"}}

Values = NDArray[Any]


def _wide(value: Any) -> Any:
    """A stored number as float32."""
    raise NotImplementedError


@overload(_wide, inline="always")
def _(value):
    if isinstance(value, types.Integer):
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: value


def _stored(value: Any, store: Any) -> Any:
    """float32 as `store` holds it, rounded to the nearest."""
    raise NotImplementedError


@overload(_stored, inline="always")
def _(value, store):
    if isinstance(store.dtype, types.Integer):

        def rounded(value, store):
            bits = np.float32(value).view(np.uint32)
            even = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
            return np.uint16(np.uint32(bits + np.uint32(0x7FFF) + even) >> np.uint32(16))

        return rounded
    return lambda value, store: value


@njit(**_FAST)
def _left(matrix: Values, given: Values, out: Values) -> None:
    """out[i, j] = sum over k of matrix[i, k] given[k, j], channel by channel."""
    for i in range(matrix.shape[0]):
        for j in range(given.shape[1]):
            for c in range(LANES):
                out[i, j, c] = matrix[i, 0] * given[0, j, c]
            for k in range(1, matrix.shape[1]):
                weight = matrix[i, k]
                if weight != 0:
                    for c in range(LANES):
                        out[i, j, c] += weight * given[k, j, c]


@njit(**_FAST)
def _right(matrix: Values, given: Values, out: Values) -> None:
    """out[i, j] = sum over k of matrix[j, k] given[i, k], channel by channel."""
    for i in range(given.shape[0]):
        for j in range(matrix.shape[0]):
            for c in range(LANES):
                out[i, j, c] = matrix[j, 0] * given[i, 0, c]
            for k in range(1, matrix.shape[1]):
                weight = matrix[j, k]
                if weight != 0:
                    for c in range(LANES):
                        out[i, j, c] += weight * given[i, k, c]


@njit(**_FAST)
def cut(
    pixels: Values,
    around: Values,
    matrix: Values,
    grid: tuple[int, int],
    tiles: Values,
    first: int,
    last: int,
) -> None:
    """Transform squares of pixels: `tiles` = matrix square matrix^T, for tiles first to last.

    Args:
        around: (2, rows or columns + margin) int64, which row and column of the picture stands
            where, -1 for none (zeros); this is how it is padded. matrix: (n, m) of squares m x m.
        grid: pixels from one square to the next, squares per row.
    """
    seen, size, channels = matrix.shape[0], matrix.shape[1], pixels.shape[3]
    per_picture = tiles.shape[1] // pixels.shape[0]
    square = np.empty((size, size, LANES), np.float32)
    half = np.empty((seen, size, LANES), np.float32)
    whole = np.empty((seen, seen, LANES), np.float32)
    for tile in range(first, last):
        picture, place = tile // per_picture, tile % per_picture
        row, column = place // grid[1] * grid[0], place % grid[1] * grid[0]
        for start in range(0, channels, LANES):
            for i in range(size):
                y = around[0, row + i]
                for j in range(size):
                    x = around[1, column + j]
                    if y < 0 or x < 0:
                        square[i, j, :] = 0
                        continue
                    source = pixels[picture, y, x, start : start + LANES]
                    for c in range(LANES):
                        square[i, j, c] = _wide(source[c])
            _left(matrix, square, half)
            _right(matrix, half, whole)
            for i in range(seen):
                for j in range(seen):
                    out = tiles[i * seen + j, tile, start : start + LANES]
                    for c in range(LANES):
                        out[c] = _stored(whole[i, j, c], out)


@njit(**_FAST)
def join(
    tiles: Values, matrix: Values, bias: Values, across: int, pixels: Values, first: int, last: int
) -> None:
    """Pixels of tiles first to last: matrix tile matrix^T + bias, where they are in the picture.

    Args:
        matrix: (m, n) of squares m x m side by side. across: of them per row.
    """
    height, width, channels = pixels.shape[1:]
    per_picture = tiles.shape[1] // pixels.shape[0]
    size, seen = matrix.shape
    whole = np.empty((seen, seen, LANES), np.float32)
    half = np.empty((size, seen, LANES), np.float32)
    square = np.empty((size, size, LANES), np.float32)
    for tile in range(first, last):
        picture, place = tile // per_picture, tile % per_picture
        row, column = place // across * size, place % across * size
        for start in range(0, channels, LANES):
            for i in range(seen):
                for j in range(seen):
                    source = tiles[i * seen + j, tile, start : start + LANES]
                    for c in range(LANES):
                        whole[i, j, c] = _wide(source[c])
            _left(matrix, whole, half)
            _right(matrix, half, square)
            added = bias[start : start + LANES]
            for i in range(min(size, height - row)):
                for j in range(min(size, width - column)):
                    out = pixels[picture, row + i, column + j, start : start + LANES]
                    for c in range(LANES):
                        out[c] = _stored(square[i, j, c] + added[c], out)


@njit(**_FAST)
def spread(
    tiles: Values,
    around: Values,
    matrix: Values,
    grid: tuple[int, int],
    pixels: Values,
    first: int,
    last: int,
) -> None:
    """The adjoint of `cut`: sum of all that a pixel went into.

    Args:
        matrix: (n, n) transposed. first, last: blocks of 64 channels, picture after picture.
    """
    pictures, height, width, channels = pixels.shape
    seen = len(matrix)
    blocks, per_picture = channels // LANES, tiles.shape[1] // pictures
    whole = np.empty((seen, seen, LANES), np.float32)
    half = np.empty((seen, seen, LANES), np.float32)
    square = np.empty((seen, seen, LANES), np.float32)
    total = np.empty((height, width, LANES), np.float32)
    for block in range(first, last):
        picture, start = block // blocks, block % blocks * LANES
        total[:] = 0
        for place in range(per_picture):
            row, column = place // grid[1] * grid[0], place % grid[1] * grid[0]
            for i in range(seen):
                for j in range(seen):
                    source = tiles[
                        i * seen + j, picture * per_picture + place, start : start + LANES
                    ]
                    for c in range(LANES):
                        whole[i, j, c] = _wide(source[c])
            _left(matrix, whole, half)
            _right(matrix, half, square)
            for i in range(seen):
                y = around[0, row + i]
                for j in range(seen):
                    x = around[1, column + j]
                    if y < 0 or x < 0:
                        continue
                    for c in range(LANES):
                        total[y, x, c] += square[i, j, c]
        for y in range(height):
            for x in range(width):
                out = pixels[picture, y, x, start : start + LANES]
                for c in range(LANES):
                    out[c] = _stored(total[y, x, c], out)
