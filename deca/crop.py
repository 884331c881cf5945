"""Crop: the square around a face that DECA looks at, and the way back from it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deca.sampling import warp
from ned.core.errors import InputError

SIDE = 224  # pixels
_BOX_SCALE, _MARGIN = 1.1, 1.25  # of the landmarks' extent, of that box

Rounding = Literal["nearest", "down"]


def crop_transform(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """The similarity crop_from_image (3, 3) that shows a face of 68 landmarks.

    DECA's rule for landmarks of the 68-point kind: a square of 1.25 · 1.1 times the mean of their
    width and height, cut to whole pixels, around the middle of their extent. Its corners go to
    pixels 0 and 223 of the crop.

    Args:
        landmarks: (N, 2) x, y in pixels of the image.
    """
    low, high = np.min(landmarks, axis=0), np.max(landmarks, axis=0)
    return _transform_of_box(low[0], low[1], high[0], high[1])


def _transform_of_box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    extent = ((right - left) + (bottom - top)) / 2 * _BOX_SCALE
    side = int(extent * _MARGIN)
    if side < 1:
        raise InputError(
            f"landmarks only {extent:.2g} pixels wide give no crop; leave this frame out"
        )
    centre_x, centre_y = right - (right - left) / 2, bottom - (bottom - top) / 2
    scale = (SIDE - 1) / side
    return np.array(
        [
            [scale, 0, -scale * (centre_x - side / 2)],
            [0, scale, -scale * (centre_y - side / 2)],
            [0, 0, 1],
        ]
    )


def crop_image(
    image: NDArray[np.uint8], crop_from_image: NDArray[np.floating]
) -> NDArray[np.float32]:
    """The encoder's input: (3, 224, 224) float32 RGB in [0, 1], bilinear, black outside.

    Args:
        image: (H, W, 3) uint8 RGB. crop_from_image: (3, 3).

    Raises:
        InputError: The image is no 8-bit RGB image, or the map cannot be inverted.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"a face image of shape {image.shape} and type {image.dtype} was given; "
            "(height, width, 3) of 8 bits is needed"
        )
    crop = warp(image / 255.0, _inverse(crop_from_image), (SIDE, SIDE))
    return np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32)


def to_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image in [0, 1] as bytes, as DECA's pictures are made: clipped, fractions cut off."""
    return _bytes(np.ascontiguousarray(image), 255.0, False)


def image_from_crop(
    crop: NDArray[Any],
    crop_from_image: NDArray[np.floating],
    size: tuple[int, int],
    rounding: Rounding,
) -> NDArray[np.uint8]:
    """Put a 224-pixel picture back where its crop came from.

    Args:
        crop: (224, 224, C), uint8 or in [0, 1] (then cut to bytes first, as published).
        crop_from_image: (3, 3). size: (width, height) of the image.
        rounding: "down" for what the preprocessing draws of the source, "nearest" for what is
            drawn of edited codes; the published pipeline differs in this.

    Returns:
        (height, width, C) uint8, black outside the crop.
    """
    picture = crop if crop.dtype == np.uint8 else to_bytes(crop)
    # divided and multiplied again as published: 255 · (v / 255), cut off, may be v - 1
    return _bytes(warp(picture / 255.0, crop_from_image, size), 255.0, rounding == "nearest")


def image_points_from_ndc(
    points: NDArray[np.floating], crop_from_image: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Projected points (..., 2) in device coordinates -> pixels of the image.

    A point lies at 112 + 112 · coordinate of the crop: half a pixel off from where the rasteriser
    draws it, as in the published pipeline.
    """
    crop = SIDE / 2 + SIDE / 2 * np.asarray(points, np.float64)
    inverse = _inverse(crop_from_image)
    return crop @ inverse[:2, :2].T + inverse[:2, 2]


def _inverse(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    whole = np.asarray(matrix, np.float64)
    if whole.shape != (3, 3) or not np.isfinite(whole).all() or abs(np.linalg.det(whole)) < 1e-12:
        raise InputError(f"the crop's transform {whole.tolist()} is no invertible 3 x 3 map")
    return np.linalg.inv(whole)


@njit(cache=True, nogil=True)
def _bytes(values: NDArray[Any], scale: float, nearest: bool) -> NDArray[np.uint8]:
    """Scaled values as bytes, clipped, rounded or cut off."""
    result = np.empty(values.shape, np.uint8)
    flat, target = values.reshape(-1), result.reshape(-1)
    for i in range(len(flat)):
        value = flat[i] * values.dtype.type(scale)
        if nearest:
            value = np.rint(value)
        target[i] = np.uint8(min(max(value, 0), 255))
    return result
