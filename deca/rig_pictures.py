"""Rig conditioning: NMFC, shape, eyes and mask of the default face, without any licensed file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from deca.lighting import lamp_grey
from deca.normals import vertex_normals
from deca.rasterizer import DEPTH, in_parallel, rasterize
from deca.rig import Rig, load_rig
from ned.core.face import mesh as face
from ned.core.face import similarity
from ned.core.face.performance import Performance
from ned.core.face.track import steady_landmarks
from preprocessing.eye_sketch import EYE_POINTS, draw_eye_sketch

# Six points of each eye as eye files count them, and the pupils.
_LIDS = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_PUPILS = (468, 473)
_HOLES = (
    (face.RIGHT_UPPER_LID, face.RIGHT_LOWER_LID),
    (face.LEFT_UPPER_LID, face.LEFT_LOWER_LID),
    (face.UPPER_INNER_LIP, face.LOWER_INNER_LIP),
)
_BEHIND = 0.08  # face units by which the inside of eyes and mouth lies behind their rims
_LEVEL = 168  # mesh point between the eyes
_FOREHEAD = 0.12  # of the height above the eyes, by which the face goes on above the mesh
_FRONT = -0.5  # skin whose normal's z is above this is seen; below a lip it looks away a little
_SLOPE = 0.5  # how far back it goes per height
_BATCH = 16  # images in memory at once
_FLIP = np.array([1, -1, -1], np.float32)


@dataclass(frozen=True, eq=False)
class RigPictures:
    """Pictures of n frames in the coordinates of a square crop, all uint8.

    Attributes:
        nmfc: (n, S, S, 3) x, y, z on the mean face; black off the skin, in eyes and mouth.
        shape: (n, S, S, 3) grey, the skin under five lamps.
        sketch: (n, S, S, 3) red discs at the pupils.
        mask: (n, S, S) 255 on the face, eyes and mouth included, else 0.
    """

    nmfc: NDArray[np.uint8]
    shape: NDArray[np.uint8]
    sketch: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class RigConditioner:
    """Draws the faces of a performance.

    The skin lies where it was tracked (steadied over three frames), moved by what the wanted units
    change; its depth and its light come from identity and units alone, which are calmer than
    tracked depth. So the pictures of the source's own units fit the source's pixels.
    """

    def __init__(self, performance: Performance, rig: Rig | None = None, size: int = 256) -> None:
        self.performance = performance
        self.rig = rig or load_rig()
        self.size = size

    def draw(
        self,
        start: int,
        stop: int,
        crop_from_image: NDArray[np.floating],
        units: NDArray[np.floating] | None = None,
    ) -> RigPictures:
        """Draw frames [start, stop).

        Args:
            crop_from_image: (n, 2, 3) similarities from upright image pixels (centres at .5, as in
                a track) to crop pixels (centres at whole numbers, as OpenCV has them); also
                aligned_from_image.
            units: (n, U) of an edit; those of the source if None.

        Frames without a face stay black.
        """
        n, size = stop - start, self.size
        pictures = RigPictures(
            nmfc=np.zeros((n, size, size, 3), np.uint8),
            shape=np.zeros((n, size, size, 3), np.uint8),
            sketch=np.zeros((n, size, size, 3), np.uint8),
            mask=np.zeros((n, size, size), np.uint8),
        )
        seen = np.flatnonzero(self.performance.track.present[start:stop])
        if not len(seen):
            return pictures
        crops = np.asarray(crop_from_image, np.float64)
        points, pupils = self._points(start, stop, units)
        for first in range(0, len(seen), _BATCH):
            rows = seen[first : first + _BATCH]
            pose = self.performance.rotation[start + rows], self.performance.scale[start + rows]
            self._skin(_complete(points[rows], *pose), crops[rows], rows, pictures)
            eyes_of_rows = _eyes(points[rows], pupils[rows], crops[rows])
            for row, eyes in zip(rows, eyes_of_rows, strict=True):
                pictures.sketch[row] = draw_eye_sketch(eyes, size)
        return pictures

    def draw_aligned(
        self,
        start: int,
        stop: int,
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating],
        units: NDArray[np.floating] | None = None,
    ) -> tuple[RigPictures, NDArray[np.float64]]:
        """Aligned pictures of frames [start, stop), and (n, 14, 2) eye points in aligned pixels.

        Args:
            crop_from_image, aligned_from_crop: (n, 2, 3).
            units: (n, U) of an edit; those of the source if None.
        """
        pictures = self.draw(start, stop, aligned_maps(crop_from_image, aligned_from_crop), units)
        eyes = self.eye_landmarks(start, stop, crop_from_image, units)
        # whole pixels of the crop, as the files of the source have them
        return pictures, similarity.apply(aligned_from_crop, np.trunc(eyes))

    def _skin(
        self,
        surface: NDArray[np.float32],
        crops: NDArray[np.float64],
        rows: NDArray[np.int64],
        pictures: RigPictures,
    ) -> None:
        """Draw completed faces (n, P, 3) into the rows' NMFC, shape and mask."""
        faces, inside_from = _topology()[:2]
        normals = vertex_normals(surface * _FLIP, faces)  # y up, z to the camera
        fragments = rasterize(_device(surface, crops, self.size), faces, self.size)
        colours = _colours()

        def paint(k: int) -> None:
            targets = (a[rows[k]] for a in (pictures.nmfc, pictures.shape, pictures.mask))
            weights = fragments.barycentric[k]
            _paint(fragments.face[k], weights, faces, normals[k], colours, inside_from, *targets)

        in_parallel(paint, len(rows))

    def eye_landmarks(
        self,
        start: int,
        stop: int,
        crop_from_image: NDArray[np.floating],
        units: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float64]:
        """(n, 14, 2) lid points and pupils in crop pixels, as eye files count them; NaN unseen."""
        points, pupils = self._points(start, stop, units)
        eyes = _eyes(points, pupils, np.asarray(crop_from_image, np.float64))
        eyes[~self.performance.track.present[start:stop]] = np.nan
        return eyes

    def _points(
        self, start: int, stop: int, units: NDArray[np.floating] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mesh points (n, 468, 3) and pupils (n, 2, 2), which no unit moves, in image pixels."""
        performance = self.performance
        own = performance.units[start:stop]
        wanted = own if units is None else np.asarray(units, np.float32)
        if wanted.shape != own.shape:
            raise ValueError(f"units are {wanted.shape}, {own.shape} is needed")
        shape = performance.identity + self.rig.displacement(wanted)
        points = performance.image_from_head(shape, start, stop)
        tracked = steady_landmarks(performance.track, start, stop)
        pupils = tracked[:, _PUPILS, :2]
        placed = points[..., :2]
        if units is None:
            placed[...] = tracked[:, : len(shape[0]), :2]
            return points, pupils
        before = performance.identity + self.rig.displacement(own)
        placed -= performance.image_from_head(before, start, stop)[..., :2]  # exactly 0 unmoved
        placed += tracked[:, : len(shape[0]), :2]
        return points, pupils


def aligned_maps(
    crop_from_image: NDArray[np.floating], aligned_from_crop: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(n, 2, 3) maps aligned_from_image."""
    return similarity.compose(aligned_from_crop, crop_from_image)


@lru_cache(maxsize=1)
def _topology() -> tuple[NDArray[np.int32], int, NDArray[np.int64], NDArray[np.int64]]:
    """Triangles of the completed face, how many are skin, the forehead's points, the holes' rims.

    Points are the mesh's, then the forehead's upper edge, then the rims of eyes and mouth again.
    """
    mesh = face.load_mesh()
    oval = np.array(face.FACE_OVAL)
    high = mesh.neutral[oval, 1] > mesh.neutral[_LEVEL, 1]
    first = int(np.flatnonzero(high & ~np.roll(high, 1))[0])
    brow = np.roll(oval, -first)[: int(high.sum())]  # one run of the oval, subject's right to left
    count = len(mesh.neutral)
    edge = count + np.arange(len(brow))
    below = np.stack([brow[:-1], brow[1:], edge[:-1]], axis=1)
    above = np.stack([edge[:-1], brow[1:], edge[1:]], axis=1)
    forehead = _facing(np.concatenate([below, above]), _grown(mesh.neutral[None], brow))
    skin = np.concatenate([mesh.triangles, forehead])
    rims: list[NDArray[np.int64]] = []
    inside = []
    base = count + len(brow)
    for upper, lower in _HOLES:
        a = base + np.arange(len(upper))
        b = a + len(upper)
        inside += [np.stack([a[:-1], b[:-1], a[1:]], 1), np.stack([a[1:], b[:-1], b[1:]], 1)]
        rims += [np.array(upper), np.array(lower)]
        base += 2 * len(upper)
    faces = np.concatenate([skin, *inside]).astype(np.int32)
    return faces, len(skin), brow, np.concatenate(rims)


def _grown(shape: NDArray[np.floating], brow: NDArray[np.int64]) -> NDArray[np.floating]:
    """Heads (n, 468, 3), y up and z forward, with the forehead's upper edge at their end."""
    rise = _FOREHEAD * np.maximum(shape[:, brow, 1] - shape[:, _LEVEL, None, 1], 0)
    edge = shape[:, brow] + np.stack([0 * rise, rise, -_SLOPE * rise], axis=-1)
    return np.concatenate([shape, edge], axis=1)


def _facing(triangles: NDArray[np.integer], shape: NDArray[np.floating]) -> NDArray[np.integer]:
    """Triangles turned so that they look forward on a head (1, V, 3)."""
    a, b, c = (shape[0, triangles[:, k]] for k in range(3))
    away = np.cross(b - a, c - a)[:, 2] < 0
    return np.where(away[:, None], triangles[:, ::-1], triangles)


def _complete(
    points: NDArray[np.float32], rotation: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Image points (n, 468, 3) with forehead and the inside of eyes and mouth: (n, P, 3)."""
    _, _, brow, rims = _topology()
    head = _grown((points * _FLIP) @ rotation, brow)
    grown = head @ rotation.transpose(0, 2, 1)
    behind = grown[:, rims]
    behind[..., 2] -= _BEHIND * scale[:, None]
    whole = np.concatenate([grown, behind], axis=1) * _FLIP
    return whole.astype(np.float32)


@lru_cache(maxsize=1)
def _colours() -> NDArray[np.float32]:
    """(P, 3) place of each point in the box of the mean face, from 0 to 1 along each axis."""
    _, _, brow, rims = _topology()
    grown = _grown(face.load_mesh().neutral[None], brow)[0]
    low, high = grown.min(0), grown.max(0)
    colours = (grown - low) / (high - low)
    return np.concatenate([colours, colours[rims]]).astype(np.float32)


def _device(
    points: NDArray[np.float32], crops: NDArray[np.float64], size: int
) -> NDArray[np.float32]:
    """Image points (n, P, 3) -> device coordinates of crops (n, 2, 3)."""
    linear, shift = crops[:, :, :2], crops[:, :, 2]
    pixels = points[..., :2] @ linear.transpose(0, 2, 1) + shift[:, None]
    enlarged = np.sqrt(np.abs(np.linalg.det(linear)))
    depth = points[..., 2] * (2 * enlarged / size)[:, None]
    # whatever the face's size, nothing may come before the rasteriser's nearest plane
    depth = depth - depth.min(1, keepdims=True) + DEPTH
    placed = np.concatenate([(2 * pixels + 1) / size - 1, depth[..., None]], axis=2)
    return placed.astype(np.float32)


def _eyes(
    points: NDArray[np.float32], pupils: NDArray[np.float32], crops: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, 14, 2) eye points in crop pixels."""
    image = np.concatenate([points[:, _LIDS, :2], pupils], axis=1).astype(np.float64)
    assert image.shape[1] == EYE_POINTS
    return image @ crops[:, :, :2].transpose(0, 2, 1) + crops[:, None, :, 2]


@njit(cache=True, nogil=True)
def _paint(
    seen: NDArray[np.int32],
    weights: NDArray[np.float32],
    faces: NDArray[np.int32],
    normals: NDArray[np.float32],
    colours: NDArray[np.float32],
    inside_from: int,
    nmfc: NDArray[np.uint8],
    shape: NDArray[np.uint8],
    mask: NDArray[np.uint8],
) -> None:
    """Colour, light and mask of every pixel of one image, into zeros."""
    half, whole = np.float32(0.5), np.float32(255)
    for row in range(seen.shape[0]):
        for column in range(seen.shape[1]):
            t = seen[row, column]
            if t < 0:
                continue
            mask[row, column] = 255
            if t >= inside_from:
                continue
            normal = np.zeros(3, np.float32)
            colour = np.zeros(3, np.float32)
            for corner in range(3):
                point, weight = faces[t, corner], weights[row, column, corner]
                for axis in range(3):
                    normal[axis] += weight * normals[point, axis]
                    colour[axis] += weight * colours[point, axis]
            if normal[2] <= _FRONT:
                continue
            grey = np.uint8(whole * lamp_grey(normal[0], normal[1], normal[2]) + half)
            for axis in range(3):
                value = min(max(colour[axis], np.float32(0)), np.float32(1))
                nmfc[row, column, axis] = np.uint8(whole * value + half)
                shape[row, column, axis] = grey
