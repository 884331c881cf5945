"""Blend: rendered faces put into crops and full frames without a seam.

Images are RGB; masks say where the face was rendered. Within this module colours are float32 in
[0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError
from renderer.face_seat import LEVELS, eroded, seat_face
from renderer.pyramid import blend_pyramids

Image = NDArray[np.uint8]
Method = Literal["pyramid", "copy_paste", "poisson"]


@dataclass(frozen=True)
class Blending:
    """How a face is blended.

    Attributes:
        method: "pyramid" mixes every band of detail over a distance that suits it (Burt and
            Adelson 1983), "copy_paste" cuts the face out hard, "poisson" takes the colours along
            the mask's border from the background (Perez et al. 2003), then does as "pyramid" inside
            of the mask and sharpens there.
        levels: times that the pyramid is halved, at a height of 256 pixels.
        copied_levels: of the pyramid's levels + 1 bands, how many of the coarsest are left as they
            are in the background (its light and colour).
    """

    method: Method = "pyramid"
    levels: int = LEVELS
    copied_levels: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("pyramid", "copy_paste", "poisson"):
            raise InputError(
                f"blending {self.method!r} is unknown; pyramid, copy_paste and poisson are known"
            )
        if not 0 <= self.levels <= 12:
            raise InputError(f"a pyramid of {self.levels} levels was asked for; 0 to 12 are known")
        if not 0 <= self.copied_levels <= self.levels + 1:
            raise InputError(
                f"{self.copied_levels} of {self.levels + 1} bands cannot be copied; "
                f"give 0 to {self.levels + 1}"
            )


DEFAULT = Blending()


def blend(
    background: Image, face: Image, mask: NDArray[np.bool_], blending: Blending = DEFAULT
) -> Image:
    """A face put into a picture of the same place, as NED does it.

    Args:
        background: (H, W, 3).
        face: (h, w, 3); resized to the background (Lanczos-4) where it has another size.
        mask: (h, w) where the face is; resized with it (nearest).

    Returns:
        (H, W, 3).

    Raises:
        InputError: Face and mask have different sizes, or a picture is no RGB.
    """
    _check(background, face, mask)
    size = (background.shape[1], background.shape[0])
    if face.shape != background.shape:
        face = cv2.resize(face, size, interpolation=cv2.INTER_LANCZOS4)
        small = mask.astype(np.uint8)
        mask = cv2.resize(small, size, interpolation=cv2.INTER_NEAREST) > 0
    return _to_bytes(mix(background, face, mask, blending, blending.levels))


def paste(frame: Image, crop: Image, box: NDArray[Any]) -> Image:
    """A frame with a blended crop put at its box, in NED's default order.

    The whole crop is resized to the box, background included, so that the box looks softer than
    the rest of the frame; `blend_into_frame` avoids that.

    Args:
        frame: (H, W, 3).
        crop: (h, w, 3).
        box: (4,) x1, y1, x2, y2 of the crop in the frame, whole numbers.
    """
    x1, y1, x2, y2 = _inside(box, frame)
    whole = cv2.resize(
        crop.astype(np.float32) / 255, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LANCZOS4
    )
    result = frame.copy()
    result[y1:y2, x1:x2] = _to_bytes(whole)
    return result


def blend_at_box(
    frame: Image,
    face: Image,
    mask: NDArray[np.bool_],
    box: NDArray[Any],
    blending: Blending = DEFAULT,
) -> Image:
    """A frame with an unaligned face resized to its box, and blended there (--resize_first)."""
    x1, y1, x2, y2 = _inside(box, frame)
    result = frame.copy()
    result[y1:y2, x1:x2] = blend(frame[y1:y2, x1:x2], face, mask, blending)
    return result


def blend_into_frame(
    frame: Image,
    aligned: Image,
    mask: NDArray[np.bool_],
    box: NDArray[Any],
    aligned_from_crop: NDArray[Any],
    blending: Blending = DEFAULT,
) -> Image:
    """A frame with a rendered face, at the frame's own resolution: our default.

    The face is resampled once, from its aligned place into the frame. Beyond the reach of the
    blend every pixel is the frame's own. Neither side of the seam sees the black around the
    rendered face: there it is continued with its own colours, and beyond the mask with the frame's.

    Args:
        frame: (H, W, 3).
        aligned: (h, w, 3) rendered face in its aligned place.
        mask: (s, s) of the crop.
        box: (4,) x1, y1, x2, y2 of the crop in the frame, whole numbers.
        aligned_from_crop: (2, 3).

    Returns:
        (H, W, 3).
    """
    _check(frame, aligned, None)
    if not mask.any():
        return frame.copy()
    x1, y1, x2, y2 = _inside(box, frame)
    height, width = mask.shape
    frame_from_crop = np.array([[(x2 - x1) / width, 0, x1], [0, (y2 - y1) / height, y1]])
    frame_from_crop[:, 2] += (np.diag(frame_from_crop) - 1) / 2  # centres at whole numbers
    shape = (frame.shape[0], frame.shape[1])
    soft = blending.method != "copy_paste"
    seat = seat_face(
        shape, aligned, mask, frame_from_crop, aligned_from_crop, blending.levels, soft
    )
    if seat is None:
        return frame.copy()
    region = frame[seat.region]
    face = region.copy()
    np.copyto(face[seat.place], seat.face, where=seat.whole[seat.place][..., None])
    levels, copied = seat.levels, blending.copied_levels
    if copied:  # counted from the coarsest band: keep the same bands of the face
        copied = min(max(0, copied + levels - blending.levels), levels + 1)
    result = frame.copy()
    mixed = mix(region, face, seat.whole, blending, levels, copied, seat.inner)
    result[seat.region] = _to_bytes(mixed)
    return result


def mix(
    background: Image,
    face: Image,
    mask: NDArray[np.bool_],
    blending: Blending,
    levels: int,
    copied: int | None = None,
    inner: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Blend two pictures of one size; see `blend`.

    Args:
        background: (H, W, 3) uint8.
        face: (H, W, 3) uint8.
        mask: (H, W).
        blending: how.
        levels: halvings of the pyramid, in place of those of `blending`.
        copied: in place of `blending.copied_levels` where given.
        inner: (H, W) the eroded mask, where it is known.

    Returns:
        (H, W, 3) float32, about [0, 1], not clipped.
    """
    under, over = background.astype(np.float32) / 255, face.astype(np.float32) / 255
    if blending.method == "copy_paste":
        return np.where(mask[..., None], over, under)
    if not mask.any():
        return under
    copied = blending.copied_levels if copied is None else copied
    inner = eroded(mask) if inner is None else inner
    if blending.method == "pyramid":
        return blend_pyramids(under, over, inner, levels, copied)
    cloned = _clone(background, face, mask).astype(np.float32) / 255
    mixed = blend_pyramids(under, cloned, inner, levels, copied)
    return np.where(mask[..., None], sharpen(mixed), under)


def _clone(background: Image, face: Image, mask: NDArray[np.bool_]) -> Image:
    """The face with colours that meet those of the background at the mask's border."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    centre = (x + width // 2, y + height // 2)
    return cv2.seamlessClone(
        np.ascontiguousarray(face),
        np.ascontiguousarray(background),
        mask.astype(np.uint8) * 255,
        centre,
        cv2.NORMAL_CLONE,
    )


def sharpen(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """2.5 times the image less 1.5 times its 3x3 Gaussian, clipped to [0, 1]."""
    return np.clip(2.5 * image - 1.5 * cv2.GaussianBlur(image, (3, 3), 0), 0, 1)


def _to_bytes(image: NDArray[np.float32]) -> Image:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _inside(box: NDArray[Any], frame: Image) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(value) for value in box)
    height, width = frame.shape[:2]
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise InputError(
            f"the box {x1} {y1} {x2} {y2} does not lie in a frame of {width}x{height} pixels; "
            "preprocess this clip anew"
        )
    return x1, y1, x2, y2


def _check(background: Image, face: Image, mask: NDArray[np.bool_] | None) -> None:
    for image, what in ((background, "background"), (face, "face")):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"the {what} is {image.shape} {image.dtype}; (height, width, 3) uint8 is needed"
            )
    if mask is not None and mask.shape != face.shape[:2]:
        raise InputError(
            f"a face of {face.shape[1]}x{face.shape[0]} pixels has a mask of "
            f"{mask.shape[1]}x{mask.shape[0]}; both must have one size"
        )
