"""Identity: a modest description of whose face it is, to join what cuts and absences separated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.track import Track
from ned.core.film.clip import Clip
from preprocessing.window import Window, crop

# Points of the mesh that expression moves little: eye corners, bridge and base of the nose,
# forehead, temples and cheekbones.
_RIGID = (33, 133, 362, 263, 168, 6, 197, 2, 98, 327, 10, 151, 127, 356, 234, 454, 116, 345)
_FIRST, _SECOND = np.triu_indices(len(_RIGID), 1)
_FRAMES = 8  # of a clip, that tell whose face it shows
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

    @property
    def shape(self) -> NDArray[np.float64]:
        """(153,) mean logarithms of relative lengths; zeros where nothing is known."""
        return self._shape / max(self._weight, 1e-9)

    @property
    def portrait(self) -> NDArray[np.float64]:
        """(1728,) mean portrait of unit length; zeros where nothing is known."""
        flat = self._portrait.ravel()
        return flat / (np.linalg.norm(flat) + 1e-9)

    def numbers(self) -> dict[str, list[float]]:
        """What a file can keep of it."""
        return {
            "shape": np.round(self.shape, 4).tolist(),
            "portrait": np.round(self.portrait, 4).tolist(),
        }

    @classmethod
    def of_numbers(cls, numbers: Mapping[str, Sequence[float]]) -> Identity:
        """From `numbers`.

        Raises:
            ValueError: They are something else.
        """
        one = cls()
        shape = np.array(numbers["shape"], np.float64)
        portrait = np.array(numbers["portrait"], np.float64)
        if shape.shape != one._shape.shape or portrait.size != one._portrait.size:
            raise ValueError("an identity of another size")
        one._shape, one._portrait = shape, portrait.reshape(one._portrait.shape)
        one._weight = 1.0
        return one


def identity_in(clip: Clip, track: Track, identity: Identity | None = None) -> Identity:
    """Whose face a track of a clip shows, from a few frames spread over it.

    Args:
        identity: to which they are added.
    """
    identity = identity or Identity()
    present = np.flatnonzero(track.present)
    for row in np.linspace(0, len(present) - 1, min(_FRAMES, len(present))).astype(int):
        frame = clip.frame_at(int(present[row]))
        points = track.landmarks(frame.index, frame.index + 1)[0]
        identity.see(frame.rgb(), points, float(track.confidence[frame.index]))
    return identity


def unlikeness(identities: Sequence[Identity]) -> NDArray[np.float64]:
    """(N, N) how unlike N faces are, about 1 between the most alike of different people.

    Both parts, the root mean square difference of the shapes and one minus the correlation of the
    portraits, are in units of what was measured between two people in the same light. NaN where
    one of the two is not known.
    """
    shapes = np.array([each.shape for each in identities])
    portraits = np.array([each.portrait for each in identities])
    known = np.array([each.known for each in identities])
    squares = (shapes**2).sum(1)
    square = (squares[:, None] + squares - 2 * shapes @ shapes.T) / shapes.shape[1]
    result = np.hypot(
        np.sqrt(np.maximum(square, 0)) / _SHAPE_UNIT, (1 - portraits @ portraits.T) / _PORTRAIT_UNIT
    )
    result[~(known[:, None] & known)] = np.nan
    return result


def frontality(points: NDArray[np.float32]) -> float:
    """1 for a face (its landmarks (478, 3)) turned to the camera, falling to 0 for a profile."""
    across = points[454] - points[234]
    length = float(np.linalg.norm(across)) + 1e-6
    turn = abs(float(across[2])) / length
    return max(0.0, 1 - turn / _LOOK_LIMIT)
