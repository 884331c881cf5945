"""Similarity: plane maps between images, such as `aligned_from_image`; found, joined, undone.

A map is a (2, 3) float64 array [A | t]: points p (x, y) go to A p + t. `a_from_b` takes points of b
to a, so that `compose(a_from_b, b_from_c)` is `a_from_c`. Arrays of maps (..., 2, 3) work as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

IDENTITY: NDArray[np.float64] = np.eye(2, 3)
IDENTITY.setflags(write=False)


def fit_similarity(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """The rotation, scale and shift that bring source points nearest to target points.

    Least squares after Umeyama, "Least-squares estimation of transformation parameters between
    two point patterns", PAMI 1991, eqs. 34-43; never a reflection.

    Args:
        source: (..., N, 2) points.
        target: (..., N, 2) points, or one set (N, 2) for all sources.

    Returns:
        (..., 2, 3) target_from_source; NaN where the source is a single place or not finite.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source, target = np.broadcast_arrays(source, target)
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    centred_source, centred_target = source - source_mean, target - target_mean
    variance = (centred_source**2).sum((-2, -1)) / source.shape[-2]
    covariance = np.swapaxes(centred_target, -1, -2) @ centred_source / source.shape[-2]
    usable = np.isfinite(covariance).all((-2, -1)) & (variance > 0)
    covariance = np.where(usable[..., None, None], covariance, np.eye(2))
    left, spread, right = np.linalg.svd(covariance)
    sign = np.ones_like(spread)
    sign[..., 1] = np.where(np.linalg.det(left) * np.linalg.det(right) < 0, -1.0, 1.0)
    rotation = (left * sign[..., None, :]) @ right
    scale = (spread * sign).sum(-1) / np.where(usable, variance, np.nan)
    linear = scale[..., None, None] * rotation
    shift = target_mean[..., 0, :] - (linear @ source_mean[..., 0, :, None])[..., 0]
    return np.concatenate([linear, shift[..., None]], axis=-1)


def homogeneous(transform: NDArray[Any]) -> NDArray[np.float64]:
    """(..., 3, 3) of a map (..., 2, 3); one that is (..., 3, 3) already is copied."""
    transform = np.asarray(transform, np.float64)
    if transform.shape[-2:] == (3, 3):
        return transform.copy()
    square = np.zeros((*transform.shape[:-2], 3, 3))
    square[..., :2, :] = transform
    square[..., 2, 2] = 1
    return square


def compose(*transforms: NDArray[Any]) -> NDArray[np.float64]:
    """`compose(a_from_b, b_from_c, ...)` is a_from_c...: (..., 2, 3); the last one acts first."""
    joined = np.eye(3)
    for transform in transforms:
        joined = joined @ homogeneous(transform)
    return joined[..., :2, :]


def invert(transform: NDArray[Any]) -> NDArray[np.float64]:
    """b_from_a (..., 2, 3) of a_from_b.

    Raises:
        ValueError: The map squashes the plane and cannot be undone.
    """
    transform = homogeneous(transform)[..., :2, :]
    try:
        linear = np.linalg.inv(transform[..., :2])
    except np.linalg.LinAlgError as error:
        raise ValueError(f"the map {transform.tolist()} has no inverse") from error
    return np.concatenate([linear, -linear @ transform[..., 2:]], axis=-1)


def apply(transform: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    """Points (..., N, 2) of b in a, for a_from_b (..., 2, 3)."""
    transform = np.asarray(transform, np.float64)
    moved = np.asarray(points, np.float64) @ np.swapaxes(transform[..., :2, :2], -1, -2)
    return moved + transform[..., None, :2, 2]


def scale_of(transform: NDArray[Any]) -> NDArray[np.float64]:
    """Lengths in a per length in b, (...), for a similarity a_from_b."""
    linear = np.asarray(transform, np.float64)[..., :2, :2]
    return np.sqrt(np.abs(np.linalg.det(linear)))
