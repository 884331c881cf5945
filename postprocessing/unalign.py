"""Unalign: rendered faces turned back from their aligned place to where they are in the crop."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def unalign(
    face: NDArray[np.uint8], mask: NDArray[np.bool_], aligned_from_crop: NDArray[Any]
) -> NDArray[np.uint8]:
    """A rendered face where it belongs in the crop.

    Args:
        face: (h, w, 3) aligned.
        mask: (H, W) of the crop.
        aligned_from_crop: (2, 3).

    Returns:
        (H, W, 3), Lanczos-4, black wherever the mask is.
    """
    height, width = mask.shape
    return warp_back(face, aligned_from_crop, (width, height)) * mask[..., None]


def warp_back(
    image: NDArray[np.uint8], image_from_result: NDArray[Any], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """An image (h, w, 3) seen through a map of the result's pixels (centres at whole numbers).

    Lanczos-4, black outside; one resampling, so compose maps instead of chaining calls.

    Args:
        image_from_result: (2, 3).
        size: (width, height) of the result.
    """
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, np.asarray(image_from_result, np.float64), size, flags=flags)
