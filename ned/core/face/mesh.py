"""FaceMesh: the 468-point surface that every rig unit lives on, its neutral and its symmetry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

# Landmark loops of MediaPipe's face mesh, named from the subject's point of view.
RIGHT_UPPER_LID = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_LOWER_LID = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_UPPER_LID = (263, 466, 388, 387, 386, 385, 384, 398, 362)
LEFT_LOWER_LID = (263, 249, 390, 373, 374, 380, 381, 382, 362)
RIGHT_IRIS = (468, 469, 470, 471, 472)
LEFT_IRIS = (473, 474, 475, 476, 477)
UPPER_INNER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UPPER_OUTER_LIP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_OUTER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """A symmetric neutral face and its topology.

    Coordinates are *face units*: x toward the image's right (the subject's left), y up, z toward
    the camera; the origin lies between the outer eye corners (landmarks 33 and 263), whose
    distance is 1.

    Attributes:
        neutral: (468, 3) float32, symmetrised Procrustes mean of tracked faces of several people.
        triangles: (852, 3) int32, skin; mouth and eyes are open.
        mirror: (468,) int32, index of each point's mirror image; an involution.
        pose_bias: (5, 468, 3) float32, how the landmark tracker bends the face as the head turns,
            per unit of `pose_features`; learned from footage, not an expression.
    """

    neutral: NDArray[np.float32]
    triangles: NDArray[np.int32]
    mirror: NDArray[np.int32]
    pose_bias: NDArray[np.float32]

    @cached_property
    def mouth_triangles(self) -> NDArray[np.int32]:
        """(18, 3) triangles that close the mouth between the inner lip lines."""
        return _zip_triangles(UPPER_INNER_LIP, LOWER_INNER_LIP)

    @cached_property
    def geodesic(self) -> NDArray[np.float32]:
        """(468, 468) shortest path lengths along mesh edges, in face units.

        Mouth and eyes are holes: the way from the upper to the lower lip goes round the corner.
        """
        edges = np.concatenate([self.triangles[:, [0, 1]], self.triangles[:, [1, 2]]])
        edges = np.concatenate([edges, self.triangles[:, [2, 0]]])
        edges = np.unique(np.sort(edges, axis=1), axis=0)
        lengths = np.linalg.norm(self.neutral[edges[:, 0]] - self.neutral[edges[:, 1]], axis=1)
        distance = np.full((468, 468), np.inf)
        np.fill_diagonal(distance, 0)
        distance[edges[:, 0], edges[:, 1]] = distance[edges[:, 1], edges[:, 0]] = lengths
        for between in range(468):  # Floyd and Warshall, 1962
            np.minimum(distance, distance[:, between, None] + distance[between], out=distance)
        return distance.astype(np.float32)


def _zip_triangles(upper: tuple[int, ...], lower: tuple[int, ...]) -> NDArray[np.int32]:
    """Triangles between two chains of equal length that share their two end points."""
    triangles = []
    for k in range(len(upper) - 1):
        a, b, c, d = upper[k], upper[k + 1], lower[k], lower[k + 1]
        if a != c:
            triangles.append((a, b, c))
        if b != d:
            triangles.append((b, d, c))
    return np.array(triangles, np.int32)


@lru_cache(maxsize=1)
def load_mesh() -> FaceMesh:
    """The mesh that ships with the package (configs/face_mesh.safetensors)."""
    from safetensors.numpy import load

    data = load(resources.files("configs").joinpath("face_mesh.safetensors").read_bytes())
    return FaceMesh(data["neutral"], data["triangles"], data["mirror"], data["pose_bias"])
