"""Lighting: fixed lamps on normals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deca.rasterizer import in_parallel

_LAMPS = np.array([[-1, 1, 1], [1, 1, 1], [-1, -1, 1], [1, -1, 1], [0, 0, 1]], np.float32)
_LAMPS /= np.linalg.norm(_LAMPS, axis=1, keepdims=True)
_BRIGHTNESS = 1.7
_GREY = 180 / 255


def lamp_shading(normals: NDArray[np.floating]) -> NDArray[np.float32]:
    """Grey of a surface under five white lamps in front of it: (...,) float32 for (..., 3).

    Normals are taken as they are; interpolated ones are shorter than 1, as in DECA's pictures.
    """
    normals = np.ascontiguousarray(normals, np.float32)
    grey = np.empty(normals.shape[:-1], np.float32)
    flat, out = normals.reshape(-1, 3), grey.reshape(-1)
    bands = 8 if len(flat) > 1 << 16 else 1
    edges = [len(flat) * k // bands for k in range(bands + 1)]

    in_parallel(
        lambda k: _light(flat[edges[k] : edges[k + 1]], out[edges[k] : edges[k + 1]]), bands
    )
    return grey


@njit(cache=True, nogil=True)
def _light(normals: NDArray[np.float32], grey: NDArray[np.float32]) -> None:
    for i in range(len(normals)):
        grey[i] = lamp_grey(normals[i, 0], normals[i, 1], normals[i, 2])


@njit(cache=True, nogil=True)
def lamp_grey(x: float, y: float, z: float) -> Any:
    """`lamp_shading` of one normal, for compiled loops."""
    total = np.float32(0)
    for k in range(len(_LAMPS)):
        lit = x * _LAMPS[k, 0] + y * _LAMPS[k, 1] + z * _LAMPS[k, 2]
        total += min(max(lit, np.float32(0)), np.float32(1))
    return total * np.float32(_BRIGHTNESS * _GREY / 5)
