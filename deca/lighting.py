"""Lighting: spherical harmonics and fixed lamps on normals, and the albedo of a texture space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deca.rasterizer import in_parallel
from ned.core.errors import AssetError

_A = 2 * np.pi / 3 * np.sqrt(3 / (4 * np.pi))
_B = np.pi / 4 * 3 * np.sqrt(5 / (12 * np.pi))
_C = np.pi / 4 * 0.5 * np.sqrt(5 / (4 * np.pi))
HARMONIC_FACTORS = np.array(
    [1 / np.sqrt(4 * np.pi), _A, _A, _A, _B, _B, _B, _B / 2, _C], np.float32
)
"""(9,) factors of the basis: the harmonics' own times a Lambertian surface's."""

_LAMPS = np.array([[-1, 1, 1], [1, 1, 1], [-1, -1, 1], [1, -1, 1], [0, 0, 1]], np.float32)
_LAMPS /= np.linalg.norm(_LAMPS, axis=1, keepdims=True)
_BRIGHTNESS = 1.7
_GREY = 180 / 255
_ALBEDO_SIDE, _TEXTURES = 512, 50


def harmonic_shading(
    normals: NDArray[np.floating], light: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Light that falls on normals: nine spherical harmonics (Ramamoorthi & Hanrahan, 2001).

    Args:
        normals: (B, ..., 3). light: (B, 9, 3) coefficients per RGB channel.

    Returns:
        (B, ..., 3) float32 RGB.
    """
    n = np.asarray(normals, np.float32)
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    basis = [np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1]
    flat = np.stack(basis, axis=-1).reshape(len(n), -1, 9) * HARMONIC_FACTORS
    return (flat @ np.asarray(light, np.float32)).reshape(n.shape)


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


@dataclass(frozen=True, eq=False)
class Albedo:
    """A linear space of face textures.

    Attributes:
        mean: (256, 256, 3) float32 RGB in [0, 1]. basis: (50, 256, 256, 3).
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]

    def textures(self, codes: NDArray[np.floating]) -> NDArray[np.float32]:
        """(B, 50) coefficients -> (B, 256, 256, 3) RGB."""
        flat = np.asarray(codes, np.float32) @ self.basis.reshape(len(self.basis), -1)
        return flat.reshape(-1, *self.mean.shape) + self.mean


def load_albedo(path: Path) -> Albedo:
    """Read FLAME_albedo_from_BFM.npz (512 x 512, BGR), at every other texel.

    Raises:
        AssetError: It is missing or something else.
    """
    shape = (_ALBEDO_SIDE, _ALBEDO_SIDE, 3)
    try:
        with np.load(path, allow_pickle=False) as data:
            mean = data["MU"].reshape(shape)
            basis = data["PC"].reshape(*shape, -1)[..., :_TEXTURES]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise AssetError(
            f"'{path}' holds no FLAME albedo ({error}); FLAME_albedo_from_BFM.npz is needed"
        ) from error
    if basis.shape[-1] < _TEXTURES:
        raise AssetError(
            f"'{path}' holds {basis.shape[-1]} textures; {_TEXTURES} of them are needed"
        )
    mean, basis = mean[::2, ::2, ::-1], np.moveaxis(basis[::2, ::2, ::-1], -1, 0)
    return Albedo(mean.astype(np.float32), np.ascontiguousarray(basis, np.float32))
