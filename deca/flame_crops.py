"""FlameCrops: fitted motion of a head as the codes and cameras of DECA's crops."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from deca.crop import SIDE, crop_transform
from deca.flame_codes import FlameCodes
from deca.flame_points import FlamePoints, PointSet, outline_rows, project
from ned.core.face.track import Track

Array = NDArray[np.float64]

_PIXEL_CENTRE = 0.5  # tracks have pixel centres at .5, image crops at whole numbers


def codes_of(
    track: Track, person: FlamePoints, identity: Array, codes: Array, motion: Array
) -> FlameCodes:
    """FLAME codes with the crop of each frame; frames without a face hold the last known crop."""
    count = len(track)
    transforms = np.tile(np.eye(3), (count, 1, 1))
    camera = np.zeros((count, 3))
    known = np.flatnonzero(track.present)
    for start in range(0, len(known), 256):
        rows = known[start : start + 256]
        marks = landmarks68(person, codes[rows], motion[rows]) - _PIXEL_CENTRE
        transforms[rows] = [crop_transform(points) for points in marks]
        camera[rows] = crop_camera(motion[rows], transforms[rows])
    held = known[np.maximum(np.searchsorted(known, np.arange(count), "right") - 1, 0)]
    return FlameCodes(
        shape=np.tile(identity, (count, 1)).astype(np.float32),
        expression=codes.astype(np.float32),
        pose=np.concatenate([motion[:, 3:6], motion[:, :3]], axis=1).astype(np.float32),
        camera=camera[held].astype(np.float32),
        transforms=transforms[held],
        image_size=np.tile(np.array(track.size, np.int32), (count, 1)),
        present=track.present,
        frames=np.arange(count),
        source="flame-fit",
    )


def landmarks68(person: FlamePoints, codes: Array, motion: Array) -> Array:
    """(T, 68, 2) outline and inner landmarks in pixels."""

    def pixels(points: PointSet) -> Array:
        return project(person, points, codes, motion, derive=False).pixels.transpose(0, 2, 1)

    outline = pixels(person.outline.row(outline_rows(motion[:, 3:6])))
    return np.concatenate([outline, pixels(person.inner)], axis=1)


def crop_camera(motion: Array, crop_from_image: Array) -> Array:
    """(T, 3) DECA's camera (s, tx, ty) in the crop, whose pixel is 112 + 112 s (x + tx)."""
    half = SIDE / 2
    scale = crop_from_image[:, 0, 0] * np.exp(motion[:, 6]) / half
    place = crop_from_image[:, [0, 1], [0, 1]] * (motion[:, 7:] - _PIXEL_CENTRE)
    place = (place + crop_from_image[:, :2, 2] - half) / half
    return np.stack([scale, place[:, 0] / scale, -place[:, 1] / scale], axis=1)


def in_crops(
    codes: FlameCodes, image_from_crop: NDArray[np.floating], size: tuple[int, int]
) -> FlameCodes:
    """The same codes for image crops of `size` (width, height) instead of whole frames.

    Args:
        image_from_crop: (T, 3, 3), whole numbers at pixel centres on both sides.
    """
    return dataclasses.replace(
        codes,
        transforms=codes.transforms @ image_from_crop,
        image_size=np.tile(np.array(size, np.int32), (len(codes), 1)),
    )
