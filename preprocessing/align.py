"""Alignment: crops turned and scaled so that eyes and mouth always lie at the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError
from ned.core.face import similarity
from preprocessing.boxes import CROP_MARGIN, CROP_PIXELS, crop_from_frame, face_box_of_mesh
from preprocessing.eye_landmarks import landmarks_of_mesh

SHIFTS = ((-5, -5), (-5, 5), (5, -5), (5, 5))  # pixels (x, y) by which NED moves a crop
Detect = Callable[[NDArray[np.uint8]], "NDArray[Any] | None"]


@lru_cache(maxsize=4)
def default_template(pixels: int = CROP_PIXELS) -> NDArray[np.float64]:
    """Where the 68 points of an aligned face are: (68, 2) pixels of a square crop.

    They are the mesh's neutral face, seen from the front and cut out by our own rule of boxes;
    so the crop of a face that looks at the camera is nearly aligned already.
    """
    from ned.core.face.mesh import load_mesh

    neutral = load_mesh().neutral.astype(np.float64)
    points = np.stack([neutral[:, 0], -neutral[:, 1]], axis=1)
    x1, y1, x2, y2 = face_box_of_mesh(np.concatenate([points.min(0), points.max(0)]))
    side, middle = (y2 - y1) * pixels / (pixels - CROP_MARGIN) / 2, ((x1 + x2) / 2, (y1 + y2) / 2)
    box = np.array([middle[0] - side, middle[1] - side, middle[0] + side, middle[1] + side])
    template = similarity.apply(crop_from_frame(box, pixels), landmarks_of_mesh(points))
    template.setflags(write=False)
    return template


def align_transforms(
    landmarks: NDArray[Any], template: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """aligned_from_crop (..., 2, 3) of landmarks (..., 68, 2): Umeyama's similarity.

    Args:
        landmarks: of the crops; NaN gives NaN.
        template: (68, 2) where they shall be; our default if None.
    """
    return similarity.fit_similarity(
        landmarks, default_template() if template is None else template
    )


def sampled_landmarks(
    image: NDArray[np.uint8], detect: Detect
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Landmarks of a crop, and their mean over copies of it moved by five pixels, as in NED.

    A detector's whole-pixel steps are averaged out. The moves are taken back before the mean: where
    a copy fails NED's own mean is off by up to five pixels; where none fails both are the same.

    Args:
        image: (H, W, 3) RGB crop.
        detect: landmarks (68, 2) of a picture, or None.

    Returns:
        Landmarks as detected in the crop itself, for eyes and mouth, and the mean, for the
        alignment; both (68, 2). None where the crop itself has no face.
    """
    import cv2

    first = detect(image)
    if first is None:
        return None
    found = [np.asarray(first, np.float32)]
    size = (image.shape[1], image.shape[0])
    for shift in SHIFTS:
        moved_from_crop = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
        moved = cv2.warpAffine(image, moved_from_crop, size, flags=cv2.INTER_LANCZOS4)
        landmarks = detect(moved)
        if landmarks is not None:
            found.append(np.asarray(landmarks, np.float32) - np.array(shift, np.float32))
    return found[0], np.mean(found, axis=0, dtype=np.float32)


def hold(values: NDArray[Any]) -> NDArray[Any]:
    """Values (T, ...) where frames that hold NaN repeat the last one that does not.

    Frames before the first known one take that (NED gives up on them).

    Raises:
        InputError: There is no value at all.
    """
    usable = np.isfinite(values.reshape(len(values), -1)).all(1)
    known = np.flatnonzero(usable)
    if not len(known):
        raise InputError(f"none of {len(values)} frames has landmarks; a face is needed")
    last = np.searchsorted(known, np.arange(len(values)), side="right") - 1
    return values[known[np.maximum(last, 0)]]


def held_rows(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(T,) row whose landmarks each row uses: its own, or those held over a gap."""
    rows = np.where(present, np.arange(len(present)), np.nan)
    return hold(rows[:, None])[:, 0].astype(np.int64)


def warp_image(
    image: NDArray[np.uint8], aligned_from_crop: NDArray[Any], pixels: int = CROP_PIXELS
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) aligned: (pixels, pixels, 3), Lanczos-4, black outside."""
    import cv2

    return cv2.warpAffine(image, aligned_from_crop, (pixels, pixels), flags=cv2.INTER_LANCZOS4)


def warp_mask(
    mask: NDArray[np.bool_], aligned_from_crop: NDArray[Any], pixels: int = CROP_PIXELS
) -> NDArray[np.bool_]:
    """A mask (H, W) aligned: (pixels, pixels), nearest pixels, False outside."""
    import cv2

    whole = mask.astype(np.uint8)
    moved = cv2.warpAffine(whole, aligned_from_crop, (pixels, pixels), flags=cv2.INTER_NEAREST)
    return moved > 0
