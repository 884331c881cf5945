"""Landmarks: what the mouth, the jaw and the rest of a face do, read from its tracked points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ned.core.face import mesh
from ned.core.face.track import MESH_POINTS, Track

EYE_CORNERS = (33, 263)
LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
JAW, MOUTH_CORNERS = (1, 152), (61, 291)
_RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
# Corners of both eyes and the ridge of the nose: they follow the skull, not the expression.
STEADY = (33, 133, 362, 263, 168, 6, 197, 195, 5)


def seen_points(track: Track) -> NDArray[np.float32]:
    """(T, 478, 2) pixels, NaN in frames where the face was not seen (or only interpolated)."""
    points = track.landmarks()[..., :2].copy()
    points[~track.present | track.interpolated] = np.nan
    return points


def eye_distance(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """(T, 478, 2) pixels -> (T,) distance of the outer eye corners in pixels."""
    return _between(points, *EYE_CORNERS)


def signals(points: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """What speech moves, in units of the frame's own distance between the outer eye corners.

    Args:
        points: (T, 478, 2) pixels.

    Returns:
        (T,) each: "aperture", the mean distance of five pairs of inner-lip points; "width", the
        distance of the mouth's corners; "jaw", the distance of the tip of the nose from the chin.
    """
    eyes = eye_distance(points)
    return {
        "aperture": np.mean([_between(points, *pair) for pair in LIP_PAIRS], axis=0) / eyes,
        "width": _between(points, *MOUTH_CORNERS) / eyes,
        "jaw": _between(points, *JAW) / eyes,
    }


def mouth_points() -> list[int]:
    """The points of the inner and the outer lips."""
    parts = (mesh.UPPER_INNER_LIP, mesh.LOWER_INNER_LIP, mesh.UPPER_OUTER_LIP, mesh.LOWER_OUTER_LIP)
    return sorted({point for part in parts for point in part})


def groups() -> dict[str, list[int]]:
    """The points of each part of the face: eyes, brows, mouth, all."""
    lids = (mesh.RIGHT_UPPER_LID, mesh.RIGHT_LOWER_LID, mesh.LEFT_UPPER_LID, mesh.LEFT_LOWER_LID)
    return {
        "eyes": sorted({point for part in lids for point in part}),
        "brows": [*_RIGHT_BROW, *_LEFT_BROW],
        "mouth": mouth_points(),
        "all": list(range(MESH_POINTS)),
    }


def steadied(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points with the head's place, size and roll taken out.

    Args:
        points: (T, 478, 2) pixels.

    Returns:
        (T, 478, 2) in distances of the outer eye corners: origin at the mean of the points that
        follow the skull, the line between the outer eye corners level.
    """
    points = np.asarray(points, np.float64)
    centred = points - points[:, list(STEADY)].mean(1, keepdims=True)
    across = points[:, EYE_CORNERS[1]] - points[:, EYE_CORNERS[0]]
    length = np.linalg.norm(across, axis=1)[:, None]
    cosine, sine = np.split(across / length, 2, axis=1)
    x = centred[..., 0] * cosine + centred[..., 1] * sine
    y = centred[..., 1] * cosine - centred[..., 0] * sine
    return np.stack([x, y], axis=-1) / length[:, None]


def _between(points: NDArray[np.floating], first: int, second: int) -> NDArray[np.floating]:
    return np.linalg.norm(points[:, first] - points[:, second], axis=1)
