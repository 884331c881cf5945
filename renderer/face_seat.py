"""Seat: where a rendered face lies in a frame, resampled once, with the masks of its blend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.similarity import apply, compose, invert, scale_of
from preprocessing.erosion import soft_erosion

Image = NDArray[np.uint8]

LEVELS = 4  # halvings of a blend's pyramid at a height of 256 pixels
_EROSION, _THRESHOLD = 33, 0.8  # pixels at a height of 256, share
_REFERENCE_SIDE = 256  # pixels, of NED's crops
_REACH = 3  # pixels of the coarsest level by which a blend goes beyond the mask
_CONTINUED = 9  # pixels, side of the mean that continues a face


@dataclass(frozen=True, eq=False)
class Seat:
    """Where a rendered face lies in a frame.

    Attributes:
        region: rows and columns of the frame that its blend reaches. place: those of `face` there.
        face: (h, w, 3) uint8, resampled once.
        whole: (H, W) pixels of the region that are the face's. inner: the same, eroded.
        levels: halvings of the blend's pyramid.
    """

    region: tuple[slice, slice]
    place: tuple[slice, slice]
    face: Image
    whole: NDArray[np.bool_]
    inner: NDArray[np.bool_]
    levels: int


def seat_face(
    shape: tuple[int, int],
    rendered: Image,
    mask: NDArray[np.bool_],
    frame_from_mask: NDArray[Any],
    rendered_from_mask: NDArray[Any],
    levels: int = LEVELS,
    soft: bool = True,
) -> Seat | None:
    """A rendered face at its place in a frame; None where it lies outside.

    Args:
        shape: (height, width) of the frame.
        rendered: (h, w, 3).
        mask: (s, s) where the face is, in pixels of its own that both maps (2, 3) start from,
            centres at whole numbers.
        levels: of the pyramid at a height of 256 pixels. soft: False needs no eroded mask.
    """
    if levels:  # the same bands of the face, however large it is
        height = float(np.hypot(*frame_from_mask[:, 1])) * len(mask)
        levels = max(1, levels + round(math.log2(max(height, 8) / _REFERENCE_SIDE)))
    tight = _around(mask, frame_from_mask, 1, 2, shape)
    region = _around(mask, frame_from_mask, 2**levels, _REACH, shape)
    size = (tight[1].stop - tight[1].start, tight[0].stop - tight[0].start)
    if min(size) < 1:
        return None
    frame_from_tight = np.array([[1, 0, tight[1].start], [0, 1, tight[0].start]])
    mask_from_tight = compose(invert(frame_from_mask), frame_from_tight)
    rendered_from_tight = compose(rendered_from_mask, mask_from_tight)

    rendered = _continued(rendered, mask, rendered_from_mask)
    shrink = float(scale_of(rendered_from_tight))
    if shrink > 1.05:
        rendered = cv2.GaussianBlur(rendered, (0, 0), 0.5 * math.sqrt(shrink**2 - 1))
    rows, columns = (
        slice(inner.start - outer.start, inner.stop - outer.start)
        for inner, outer in zip(tight, region, strict=True)
    )
    covered = region[0].stop - region[0].start, region[1].stop - region[1].start
    whole, inner = np.zeros((2, *covered), bool)
    whole[rows, columns] = grown_mask(mask, mask_from_tight, size)
    if soft:
        inner[rows, columns] = grown_mask(eroded(mask), mask_from_tight, size)
    face = warp_back(rendered, rendered_from_tight, size)
    return Seat(region, (rows, columns), face, whole, inner, levels)


def _around(
    mask: NDArray[np.bool_],
    frame_from_mask: NDArray[Any],
    step: int,
    reach: int,
    shape: tuple[int, int],
) -> tuple[slice, slice]:
    """Rows and columns of a frame (height, width) around a mask and `reach` steps beyond it.

    They begin at multiples of `step`, so that pyramids fall alike in every frame of a shot.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    corners = np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]])
    corners = apply(frame_from_mask, corners)
    low = np.floor(corners.min(0) / step - reach) * step
    high = np.ceil(corners.max(0) / step + reach) * step
    left, top = (int(value) for value in np.maximum(low, 0))
    right, bottom = (int(value) for value in np.minimum(high, shape[::-1]))
    return slice(top, bottom), slice(left, right)


def _continued(aligned: Image, mask: NDArray[np.bool_], aligned_from_crop: NDArray[Any]) -> Image:
    """The aligned face, its colours continued some pixels into the black around it."""
    size = (aligned.shape[1], aligned.shape[0])
    shown = mask.astype(np.float32)
    shown = cv2.warpAffine(shown, aligned_from_crop, size, flags=cv2.INTER_NEAREST)[..., None]
    total = cv2.blur(aligned * shown, (_CONTINUED, _CONTINUED))
    share = cv2.blur(shown, (_CONTINUED, _CONTINUED))[..., None]
    around = np.rint(total / np.maximum(share, 1e-3)).clip(0, 255)
    keep = (shown > 0) | aligned.any(2, keepdims=True)
    return np.where(keep, aligned, around.astype(np.uint8))


def eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask (h, w) made smaller by a share of its height, as NED does before it blends."""
    size = int(_EROSION * mask.shape[0] / _REFERENCE_SIDE)
    return soft_erosion(mask, size + (size % 2 == 0), _THRESHOLD)[1]


def grown_mask(
    mask: NDArray[np.bool_], crop_from_region: NDArray[Any], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """A crop's mask in the region, with a smooth outline; False outside of the crop."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask.astype(np.float32), crop_from_region, size, flags=flags) > 0.5


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
