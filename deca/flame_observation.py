"""FlameObservation: what a track shows of the points that FLAME shares with MediaPipe's mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.spatial.transform import Rotation

from deca.flame_points import MOTION, FlamePoints
from ned.core.face.mesh import FACE_OVAL
from ned.core.face.track import Track

Array = NDArray[np.float64]

OUTLINE = FACE_OVAL[FACE_OVAL.index(356) : FACE_OVAL.index(127) + 1]  # ear, chin, ear
_FLIP = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Observation:
    """Tracked points of T frames.

    Attributes:
        frames: (T,) their numbers.
        points: (T, 2, N) pixels.
        depth: (T, N) pixels, greater is nearer.
        outline: (T, M, 2) pixels, a line from ear to ear round the chin.
        heights: (T,) face heights in pixels.
        trust: (T,) in (0, 1].
    """

    frames: NDArray[np.int64]
    points: Array
    depth: Array
    outline: Array
    heights: Array
    trust: Array


def face_heights(track: Track) -> Array:
    """(T,) heights of the boxes in pixels, steadied in time; 1 without a face."""
    heights = np.where(track.present, track.boxes[:, 3] - track.boxes[:, 1], np.nan)
    known = np.flatnonzero(track.present)
    if not len(known):
        return np.ones(len(track))
    heights[known] = median_filter(heights[known], 9, mode="nearest")
    return np.maximum(np.nan_to_num(heights, nan=1.0), 1.0).astype(np.float64)


def observe(
    track: Track, model: FlamePoints, frames: NDArray[np.int64], heights: Array
) -> Observation:
    """Tracked points of some frames, in increasing order."""
    first = int(frames[0])
    marks = track.landmarks(first, int(frames[-1]) + 1)[frames - first].astype(np.float64)
    points = marks[:, model.points]
    trust = np.clip(track.confidence[frames].astype(np.float64), 0.05, 1)
    return Observation(
        frames=frames,
        points=points[..., :2].transpose(0, 2, 1),
        depth=-points[..., 2],
        outline=marks[:, list(OUTLINE), :2],
        heights=heights[frames],
        trust=trust,
    )


def starting_motion(model: FlamePoints, seen: Observation) -> Array:
    """(T, 9) motion of a still face: the similarity that brings it nearest to tracked 3-d points.

    Least squares after Umeyama, PAMI 1991.
    """
    still = model.seen.mean[0] - model.joints_mean[0]
    target = np.concatenate([seen.points.transpose(0, 2, 1), -seen.depth[..., None]], axis=2)
    target = target * _FLIP
    middle, centre = target.mean(1), still.mean(0)
    covariance = np.einsum("tli,lj->tij", target - middle[:, None], still - centre)
    left, sizes, right = np.linalg.svd(covariance)
    sign = np.ones_like(sizes)
    sign[:, 2] = np.sign(np.linalg.det(left @ right))
    rotation = np.einsum("tij,tj,tjk->tik", left, sign, right)
    scale = (sizes * sign).sum(1) / ((still - centre) ** 2).sum()
    scale = np.maximum(scale, 1e-3)
    motion = np.zeros((len(target), MOTION))
    motion[:, 3:6] = Rotation.from_matrix(rotation).as_rotvec()
    motion[:, 6] = np.log(scale)
    origin = model.joints_mean[0] + np.zeros_like(middle)
    placed = (rotation @ centre) + origin
    motion[:, 7:] = (middle - scale[:, None] * placed)[:, :2] * _FLIP[:2]
    return motion
