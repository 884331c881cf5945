"""Surface: the tracked mesh made complete for painting, with mouth, eyes and a margin."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ned.core.face import mesh as face

_RINGS = ((1.12, 0.45), (1.32, 0.0))  # size relative to the face oval, share of its displacement
_EYE_CORE = 0.55  # the part of the eye opening that never moves, towards its middle line

OVAL = np.array(face.FACE_OVAL)
_EYES = (
    (np.array(face.RIGHT_UPPER_LID), np.array(face.RIGHT_LOWER_LID)),
    (np.array(face.LEFT_UPPER_LID), np.array(face.LEFT_LOWER_LID)),
)
_PER_EYE = 2 * len(_EYES[0][0])
POINTS = 468 + len(_RINGS) * len(OVAL) + 2 * _PER_EYE


@lru_cache(maxsize=1)
def triangles() -> tuple[NDArray[np.int32], int]:
    """Triangles in painting order, and how many come before the skin.

    First the margin, the eyeballs and the inside of the mouth, then the skin over them, so that a
    lid that lowers covers the eye instead of folding it.
    """
    parts = []
    ring, count = OVAL, len(OVAL)
    for k in range(len(_RINGS)):
        outer = 468 + k * count + np.arange(count)
        following = np.roll(np.arange(count), -1)
        parts.append(np.stack([ring, outer, ring[following]], 1))
        parts.append(np.stack([ring[following], outer, outer[following]], 1))
        ring = outer
    base = 468 + len(_RINGS) * count
    for upper, lower in _EYES:
        size = len(upper)
        core_upper, core_lower = base + np.arange(size), base + size + np.arange(size)
        for line, core in ((upper, core_upper), (lower, core_lower), (core_upper, core_lower)):
            parts.append(np.stack([line[:-1], core[:-1], line[1:]], 1))
            parts.append(np.stack([line[1:], core[:-1], core[1:]], 1))
        base += _PER_EYE
    mesh = face.load_mesh()
    parts.append(mesh.mouth_triangles)
    under = np.concatenate(parts)
    return np.concatenate([under, mesh.triangles]).astype(np.int32), len(under)


@lru_cache(maxsize=1)
def owners() -> NDArray[np.int64]:
    """(POINTS,) the mesh point that each painted point is, or was made from."""
    eyes = [np.concatenate(lines) for lines in _EYES]
    return np.concatenate([np.arange(468), *[OVAL] * len(_RINGS), *eyes])


def complete(
    points: NDArray[np.float32], moved: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Add margin and eye cores to a tracked face and its displacement.

    Args:
        points: (468, 2) tracked pixels. moved: (468, 2) displacement in pixels.

    Returns:
        (POINTS, 2) positions and (POINTS, 2) displacements; the outermost ring and the eye cores
        do not move.
    """
    oval, centre = points[OVAL], points[OVAL].mean(0)
    shapes, moves = [points], [moved]
    for size, share in _RINGS:
        shapes.append(centre + (oval - centre) * np.float32(size))
        moves.append(moved[OVAL] * np.float32(share))
    for upper, lower in _EYES:
        middle = (points[upper] + points[lower]) / 2
        for line in (upper, lower):
            shapes.append(middle + (points[line] - middle) * np.float32(_EYE_CORE))
            # corners belong to the skin; between them the eyeball stays
            still = np.zeros((len(line), 2), np.float32)
            still[[0, -1]] = moved[line[[0, -1]]]
            moves.append(still)
    return np.concatenate(shapes), np.concatenate(moves)
