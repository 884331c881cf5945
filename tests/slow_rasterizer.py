"""The rasteriser's slow and readable twin, and a mesh as large as a head model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEAD_TRIANGLES = 9976  # as many as FLAME has


def rasterize_slowly(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], size: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Nearest triangle (S, S), its weights (S, S, 3) and depth (S, S) of one (V, 3) mesh.

    Every triangle looks at every pixel, in float32.
    """
    centres = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    face = np.full((size, size), -1, np.int32)
    weights = np.full((size, size, 3), -1, np.float32)
    depth = np.full((size, size), -1, np.float32)

    def edge(px, py, start, end):  # type: ignore[no-untyped-def]
        return (px - start[0]) * (end[1] - start[1]) - (py - start[1]) * (end[0] - start[0])

    for index, (a, b, c) in enumerate(vertices[faces]):
        area = edge(*c[:2], a, b)
        if abs(area) <= 1e-8 or min(a[2], b[2], c[2]) < 1e-8:
            continue
        own = np.stack([edge(x, y, b, c), edge(x, y, c, a), edge(x, y, a, b)], axis=-1)
        own /= area + np.float32(1e-8)
        z = own @ np.array([a[2], b[2], c[2]])
        nearest = (own > 0).all(-1) & ((face < 0) | (z < depth))
        face[nearest], weights[nearest], depth[nearest] = index, own[nearest], z[nearest]
    return face, weights, depth


def egg(rows: int = 59, columns: int = 86) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """An egg-shaped mesh of 2 · (rows - 1) · columns triangles in device coordinates, z near 10.

    With the sizes given by default it has as many triangles as FLAME.
    """
    down = np.pi * np.arange(1, rows) / rows
    around = 2 * np.pi * np.arange(columns) / columns
    ring = np.stack(
        [
            0.62 * np.outer(np.sin(down), np.sin(around)),
            np.outer(-0.86 * np.cos(down), np.ones(columns)),
            10 - 0.7 * np.outer(np.sin(down), np.cos(around)),
        ],
        axis=-1,
    )
    points = np.concatenate([[[0, -0.86, 10]], ring.reshape(-1, 3), [[0, 0.86, 10]]])
    last = len(points) - 1
    faces: list[tuple[int, int, int]] = []
    for j in range(columns):
        k = (j + 1) % columns
        faces.append((0, 1 + j, 1 + k))
        for i in range(rows - 2):
            a, b = 1 + i * columns + j, 1 + i * columns + k
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
        faces.append((1 + (rows - 2) * columns + j, last, 1 + (rows - 2) * columns + k))
    return points.astype(np.float32), np.array(faces, np.int32)
