"""Normals: of mesh vertices and of a regular grid of surface points (compiled)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deca.rasterizer import in_parallel

_SHORTEST = 1e-6  # a sum of face normals is divided by its length, at least by this


def vertex_normals(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], threads: int | None = None
) -> NDArray[np.float32]:
    """Area-weighted unit normals of (B, V, 3) vertices: (B, V, 3) float32.

    The sum over a vertex's faces of (v1 - v0) x (v2 - v0), divided by its length or by 1e-6 if
    that is larger.
    """
    vertices = np.ascontiguousarray(vertices, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    if len(faces) and not (faces.min() >= 0 and faces.max() < vertices.shape[1]):
        raise ValueError(f"faces name vertex {faces.max()} of {vertices.shape[1]}")
    normals = np.zeros_like(vertices)
    in_parallel(lambda k: _gather(vertices[k], faces, normals[k]), len(vertices), threads)
    return normals


def grid_normals(
    positions: NDArray[np.floating],
    columns: tuple[int, int],
    rows: tuple[int, int],
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Normals of grids of surface points, such as the texels of a face: (B, H, W, 3) float32.

    The quads with a top-left point in the given columns and rows (first, last) are cut from
    bottom left to top right; with a = (x, y), b = (x+1, y), c = (x, y+1), d = (x+1, y+1) the
    triangles are (a, c, b) and (b, c, d). Points of no triangle get 0.

    Args:
        positions: (B, H, W, 3).
    """
    positions = np.ascontiguousarray(positions, np.float32)
    height, width = positions.shape[1:3]
    if not (columns[0] >= 0 and columns[1] + 1 < width and rows[0] >= 0 and rows[1] + 1 < height):
        raise ValueError(f"quads {columns} x {rows} do not lie in {width} x {height} points")
    normals = np.zeros_like(positions)
    in_parallel(lambda k: _grid(positions[k], *columns, *rows, normals[k]), len(positions), threads)
    return normals


@njit(cache=True, nogil=True)
def _unit(x: float, y: float, z: float, normal: NDArray[np.float32]) -> None:
    shortest = np.float32(_SHORTEST)
    length = max(np.sqrt(x * x + y * y + z * z), shortest)
    normal[0], normal[1], normal[2] = x / length, y / length, z / length


@njit(cache=True, nogil=True)
def _gather(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], normals: NDArray[np.float32]
) -> None:
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        px = vertices[b, 0] - vertices[a, 0]
        py = vertices[b, 1] - vertices[a, 1]
        pz = vertices[b, 2] - vertices[a, 2]
        qx = vertices[c, 0] - vertices[a, 0]
        qy = vertices[c, 1] - vertices[a, 1]
        qz = vertices[c, 2] - vertices[a, 2]
        x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for k in (a, b, c):
            normals[k, 0] += x
            normals[k, 1] += y
            normals[k, 2] += z
    for k in range(len(normals)):
        _unit(normals[k, 0], normals[k, 1], normals[k, 2], normals[k])


@njit(cache=True, nogil=True)
def _grid(
    points: NDArray[np.float32],
    left: int,
    right: int,
    top: int,
    bottom: int,
    normals: NDArray[np.float32],
) -> None:
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            a, b = points[row, column], points[row, column + 1]
            c, d = points[row + 1, column], points[row + 1, column + 1]
            # (a, c, b): (c - a) x (b - a)
            px, py, pz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
            qx, qy, qz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
            # (b, c, d): (c - b) x (d - b)
            px, py, pz = c[0] - b[0], c[1] - b[1], c[2] - b[2]
            qx, qy, qz = d[0] - b[0], d[1] - b[1], d[2] - b[2]
            u, v, w = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
            normals[row, column, 0] += x
            normals[row, column, 1] += y
            normals[row, column, 2] += z
            for step in range(2):
                # b and c belong to both triangles
                normals[row + step, column + 1 - step, 0] += x + u
                normals[row + step, column + 1 - step, 1] += y + v
                normals[row + step, column + 1 - step, 2] += z + w
            normals[row + 1, column + 1, 0] += u
            normals[row + 1, column + 1, 1] += v
            normals[row + 1, column + 1, 2] += w
    for row in range(top, bottom + 2):
        for column in range(left, right + 2):
            normal = normals[row, column]
            _unit(normal[0], normal[1], normal[2], normal)
