"""Boxes: where the square around a face lies in every frame, and the crop cut from it.

A face box is x1, y1, x2, y2 in image pixels (pixel centres at .5), around a face from the middle
of the forehead to the chin. A crop box is the same for the pixels cut from the frame, as whole
numbers; it is larger by a margin, and ends at the border of the frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import NoFaceError
from ned.core.face.track import Track

CROP_PIXELS = 256
CROP_MARGIN = 70  # pixels of the crop that are not the face box, both sides together
_WINDOW = 49  # frames, of the median
# A detector's box starts higher than the mesh, which ends below the hairline. 1.14 puts eyes,
# mouth and chin of a crop within two pixels of where they are in crops of the usual detector.
_FACE_PER_MESH = 1.14  # heights


def face_boxes(track: Track) -> NDArray[np.float32]:
    """Face boxes (T, 4) of a track, NaN where there is no face."""
    boxes = face_box_of_mesh(track.boxes)
    boxes[~track.present] = np.nan
    return boxes


def face_box_of_mesh(mesh: NDArray[Any]) -> NDArray[Any]:
    """Face boxes (..., 4) of boxes around the 468 mesh points: higher by 14 %, the same chin."""
    boxes = np.array(mesh)
    boxes[..., 1] = boxes[..., 3] - _FACE_PER_MESH * (boxes[..., 3] - boxes[..., 1])
    return boxes


def fill_gaps(boxes: NDArray[Any]) -> NDArray[Any]:
    """Boxes (n, 4) without NaN: a gap takes the next box, at the end the previous one.

    Raises:
        NoFaceError: There is no box at all.
    """
    known = np.flatnonzero(np.isfinite(boxes).all(1))
    if not len(known):
        raise NoFaceError(f"no face was found in {len(boxes)} frames; none can be cut out")
    following = np.searchsorted(known, np.arange(len(boxes)))
    return boxes[known[np.minimum(following, len(known) - 1)]]


def smooth_boxes(boxes: NDArray[Any], recentre: float = 0.0) -> NDArray[np.float32]:
    """Still and square boxes of one shot, in NED's way.

    Gaps are filled, every edge becomes its median over 49 frames, and the width becomes the
    height, about the same middle. (NED does so for every 500 frames apart, whatever they show;
    `crop_boxes` for every shot, which jumps only where the picture does.)

    Args:
        boxes: (n, 4) as detected, NaN where nothing was.
        recentre: heights by which boxes are moved down.

    Raises:
        NoFaceError: There is no box at all.
    """
    from scipy.ndimage import median_filter

    filled = fill_gaps(np.asarray(boxes, np.float32))
    window = min(_WINDOW, len(filled))
    window -= window % 2 == 0
    x1, y1, x2, y2 = median_filter(filled, size=(window, 1), mode="reflect").T
    height = y2 - y1
    wider = (height - (x2 - x1)) / 2
    bottom = y2 + np.float32(recentre) * height
    return np.stack([x1 - wider, bottom - height, x2 + wider, bottom], axis=1)


def crop_box(
    face: NDArray[Any],
    size: tuple[int, int],
    pixels: int = CROP_PIXELS,
    margin: int = CROP_MARGIN,
) -> NDArray[np.int64]:
    """Crop boxes of face boxes: with the margin around them, inside of the frame.

    Args:
        face: (..., 4) face boxes.
        size: (width, height) of the frame.
        pixels: side of the crops; the face box fills `pixels - margin` of them.
        margin: see `pixels`.

    Returns:
        (..., 4) whole numbers; x2 and y2 are the first column and row outside. At least one pixel
        wide and high, also where the face has left the frame.
    """
    low, high = np.asarray(face)[..., :2], np.asarray(face)[..., 2:]
    wider = margin * (high - low) / (pixels - margin) / 2
    start = np.maximum(low - wider, 0).astype(np.int64)
    stop = np.minimum(high + wider, np.array(size)).astype(np.int64)
    start = np.minimum(start, np.array(size) - 1)
    return np.concatenate([start, np.maximum(stop, start + 1)], axis=-1)


def crop_boxes(
    track: Track, pixels: int = CROP_PIXELS, margin: int = CROP_MARGIN
) -> NDArray[np.int64]:
    """Crop boxes (T, 4) for every frame of a track, smoothed within each shot.

    A shot without the face takes the box of the next one that has it.

    Raises:
        NoFaceError: The track has no face at all.
    """
    detected = face_boxes(track)
    smooth = np.full_like(detected, np.nan)
    for shot in _runs(track.shots):
        if np.isfinite(detected[shot]).all(1).any():
            smooth[shot] = smooth_boxes(detected[shot])
    return crop_box(fill_gaps(smooth), track.size, pixels, margin)


def cut(
    image: NDArray[np.uint8], box: NDArray[Any], pixels: int = CROP_PIXELS
) -> NDArray[np.uint8]:
    """The crop (pixels, pixels, 3) of an image (H, W, 3) at a crop box (4,).

    Bilinear, averaged where it shrinks (as Pillow does it). The sides of a box that ends at the
    border of the frame are unequal; its crop is stretched, as NED's crops are.
    """
    from PIL import Image

    x1, y1, x2, y2 = (int(value) for value in box)
    region = Image.fromarray(image[y1:y2, x1:x2])
    return np.asarray(region.resize((pixels, pixels), Image.Resampling.BILINEAR))


def crop_from_frame(box: NDArray[Any], pixels: int = CROP_PIXELS) -> NDArray[np.float64]:
    """(..., 2, 3) map of frame pixels (centres at .5) to crop pixels (centres at whole numbers).

    Tracks count the first way; files of landmarks, alignments and OpenCV count the second way.
    """
    box = np.asarray(box, np.float64)
    scale = pixels / (box[..., 2:] - box[..., :2])
    transform = np.zeros((*box.shape[:-1], 2, 3))
    transform[..., 0, 0], transform[..., 1, 1] = scale[..., 0], scale[..., 1]
    transform[..., 2] = -scale * box[..., :2] - 0.5
    return transform


def _runs(labels: NDArray[Any]) -> Iterator[slice]:
    """Slices of equal labels that follow each other."""
    borders = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    for start, stop in itertools.pairwise(borders):
        if stop > start:
            yield slice(start, stop)
