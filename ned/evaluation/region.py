"""Region: which pixels of a frame belong to the face, and which surely do not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.mesh import FACE_OVAL
from ned.core.face.track import MESH_POINTS

_REACH, _SLACK, _LEAST_SLACK = 1.32, 0.06, 8.0


class FaceRegion:
    """The face of every frame, as both videos show it.

    Args:
        tracks: (T, 478, 2) pixels of the face in each video, NaN where it is not seen. A frame's
            face is the hull of all of them.
        size: (width, height) of the frames in pixels.
    """

    def __init__(self, tracks: list[NDArray[np.float32]], size: tuple[int, int]) -> None:
        self._size = size
        self._tracks = [points[:, :MESH_POINTS] for points in tracks]

    def outside(self, frame: int) -> NDArray[np.bool_]:
        """(H, W) True outside of the face and of all that a renderer may touch around it.

        That is the hull of the mesh and of its oval grown 1.32 times, and 6 % of the face's height
        (at least 8 pixels) around it. True everywhere without a face.
        """
        mask = np.ones(self._size[::-1], np.uint8)
        found = [p[frame] for p in self._tracks if np.isfinite(p[frame]).all()]
        if found:
            ovals = [points[list(FACE_OVAL)] for points in found]
            grown = [oval.mean(0) + (oval - oval.mean(0)) * _REACH for oval in ovals]
            height = max(float(np.ptp(points[:, 1])) for points in found)
            outline = _outline(np.concatenate([*found, *grown]))
            cv2.fillConvexPoly(mask, outline, 0)
            thickness = 2 * round(max(_SLACK * height, _LEAST_SLACK))
            cv2.polylines(mask, [outline], True, 0, thickness)
        return mask.astype(bool)

    def box(self, frame: int, margin: float = 0.1) -> tuple[slice, slice] | None:
        """Rows and columns of the square around the first video's face; None without one.

        The side is (1 + 2 margin) times the larger side of the mesh's box; the square is moved and
        shrunk into the picture.
        """
        points = self._tracks[0][frame]
        if not np.isfinite(points).all():
            return None
        width, height = self._size
        low, high = points.min(0), points.max(0)
        side = int(min((1 + 2 * margin) * float((high - low).max()), width, height))
        if side < 8:
            return None
        left = int(np.clip((low[0] + high[0] - side) / 2, 0, width - side))
        top = int(np.clip((low[1] + high[1] - side) / 2, 0, height - side))
        return slice(top, top + side), slice(left, left + side)


def _outline(points: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.rint(cv2.convexHull(points.astype(np.float32))).astype(np.int32)
