"""Planes: a rendered face blended into the samples of a decoded frame, at their own depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.film.clip import Frame
from ned.core.film.planes import Plane, samples_of_rgb
from renderer.face_seat import seat_face
from renderer.pyramid import blended_change


def blend_into_planes(
    frame: Frame,
    rendered: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    frame_from_mask: NDArray[Any],
    rendered_from_mask: NDArray[Any],
    opacity: float = 1.0,
) -> Frame:
    """A frame with a rendered face.

    As `blend_into_frame` does it, but on luma and chroma: pictures never become RGB of 8 bits, what
    the blend does not reach keeps every sample, and what it reaches keeps the depth of its own.

    Args:
        rendered: (h, w, 3) RGB, in the clip's own primaries and transfer.
        mask: (s, s) where the face is.
        frame_from_mask, rendered_from_mask: (2, 3) maps of the mask's pixels, centres at whole
            numbers.
        opacity: share of the rendered face, 0 to 1.
    """
    if opacity <= 0 or not mask.any():
        return frame
    height, width = frame.planes[0].shape
    shape = (height, width)
    seat = seat_face(shape, rendered, mask, frame_from_mask, rendered_from_mask)
    if seat is None:
        return frame
    rows, columns = seat.region
    clip = frame.clip
    high, wide = (rows.stop - rows.start, columns.stop - columns.start)
    steps = -(-height // frame.planes[1].shape[0]), -(-width // frame.planes[1].shape[1])
    small = tuple(
        slice(part.start // step, -(-part.stop // step))
        for part, step in zip(seat.region, steps, strict=True)
    )
    under = np.empty((high, wide, 3), np.float32)
    under[..., 0] = frame.planes[0][seat.region]
    for k in (1, 2):
        repeated = frame.planes[k][small].repeat(steps[0], 0).repeat(steps[1], 1)
        under[..., k] = repeated[:high, :wide]
    apart = np.zeros_like(under)
    face = samples_of_rgb(seat.face, clip.matrix, clip.full_range, clip.bit_depth)
    np.subtract(
        face, under[seat.place], out=apart[seat.place], where=seat.whole[seat.place][..., None]
    )
    change = blended_change(apart, seat.inner, seat.levels)
    change *= np.float32(opacity)
    y, u, v = (plane.copy() for plane in frame.planes)
    _add(y[seat.region], change[..., 0])
    for k, plane in ((1, u), (2, v)):
        _add(plane[small], _mean(change[..., k], steps))
    return frame.with_planes((y, u, v))


def _add(samples: Plane, change: NDArray[np.float32]) -> None:
    """Add to samples in place."""
    top = 255 if samples.dtype == np.uint8 else 1023
    samples[...] = np.clip(np.rint(samples + change), 0, top)


def _mean(values: NDArray[np.float32], steps: tuple[int, int]) -> NDArray[np.float32]:
    """Means of blocks of (rows, columns); the last one goes on with its edge."""
    rows, columns = (-size % step for size, step in zip(values.shape, steps, strict=True))
    whole = np.pad(values, ((0, rows), (0, columns)), mode="edge")
    high, wide = whole.shape[0] // steps[0], whole.shape[1] // steps[1]
    return whole.reshape(high, steps[0], wide, steps[1]).mean((1, 3))
