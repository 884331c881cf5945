"""Unalign: rendered faces turned back from their aligned place to where they are in the crop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from renderer.face_seat import warp_back


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
