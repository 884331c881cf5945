"""Identity: a modest description of whose face it is, to join what cuts and absences separated."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.window import Window, crop

# Points of the mesh that expression moves little: eye corners, bridge and base of the nose,
# forehead, temples and cheekbones.
_RIGID = (33, 133, 362, 263, 168, 6, 197, 2, 98, 327, 10, 151, 127, 356, 234, 454, 116, 345)
_FIRST, _SECOND = np.triu_indices(len(_RIGID), 1)
_PATCH = 24  # pixels, side of the mean portrait
_LOOK_LIMIT = 0.8  # |horizontal share of the nose's direction| above which a frame says little
_SHAPE_UNIT, _PORTRAIT_UNIT = 0.045, 0.17  # between two alike people in the same light (measured)


class Identity:
    """Running means of a face's shape and of its picture.

    The shape is the set of logarithmic distances between rigid mesh points in 3-D, scaled to unit
    mean: they do not depend on where the head is, how large, or which way it looks. The picture is
    a small upright portrait with brightness and contrast taken out. Neither recognises a face among
    many; together they tell the few actors of one clip apart.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._shape = np.zeros(len(_FIRST))
        self._portrait = np.zeros((_PATCH, _PATCH, 3))

    @property
    def known(self) -> bool:
        """Whether anything was seen yet."""
        return self._weight > 0

    def see(self, image: NDArray[np.uint8], points: NDArray[np.float32], confidence: float) -> None:
        """Add one frame: RGB image, the face's landmarks (478, 3) in its pixels, their trust."""
        weight = confidence * frontality(points) ** 2
        if weight < 1e-3:
            return
        rigid = points[list(_RIGID)].astype(np.float64)
        lengths = np.linalg.norm(rigid[_FIRST] - rigid[_SECOND], axis=1) + 1e-6
        shape = np.log(lengths / lengths.mean())
        small = crop(image, [Window.around(points, scale=1.1)], _PATCH)[0]
        portrait = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float64)
        portrait -= portrait.mean((0, 1))
        portrait /= portrait.std() + 1.0
        self._shape += weight * shape
        self._portrait += weight * portrait
        self._weight += weight

    def merge(self, other: Identity) -> None:
        """Take over what another identity of the same person has seen."""
        self._shape += other._shape
        self._portrait += other._portrait
        self._weight += other._weight

    def distance(self, other: Identity) -> float:
        """How unlike two faces are: below 1 probably the same person, above it probably not."""
        shape, portrait = self.distances(other)
        return float(np.hypot(shape / _SHAPE_UNIT, portrait / _PORTRAIT_UNIT))

    def distances(self, other: Identity) -> tuple[float, float]:
        """The two parts of `distance`: shape (log of length), picture (1 - correlation)."""
        if not (self.known and other.known):
            return 0.0, 0.0
        shape = self._shape / self._weight - other._shape / other._weight
        one, two = self._portrait.ravel(), other._portrait.ravel()
        norm = float(np.linalg.norm(one) * np.linalg.norm(two)) + 1e-9
        return float(np.sqrt((shape**2).mean())), 1 - float(one @ two) / norm


def frontality(points: NDArray[np.float32]) -> float:
    """1 for a face (its landmarks (478, 3)) turned to the camera, falling to 0 for a profile."""
    across = points[454] - points[234]
    length = float(np.linalg.norm(across)) + 1e-6
    turn = abs(float(across[2])) / length
    return max(0.0, 1 - turn / _LOOK_LIMIT)
