"""Pose: whether the head stayed where it was."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.estimate import estimate
from ned.evaluation.landmarks import STEADY, eye_distance
from ned.evaluation.metric import Metric, Score

_POINTS = "the corners of the eyes and the ridge of the nose"

METRICS = (
    Metric(
        "pose.rotation", "turn of the head", "degrees", "lower", (0, 180), 0.0,
        f"Mean angle of the rotation that best turns the source's {_POINTS}, in three dimensions, "
        "into the result's. The tracker's depth follows the expression: on heads that did not "
        "move at all, strong emotions read as one to three degrees.",
        "Kabsch, 'A solution for the best rotation' (1976)",
    ),
    Metric(
        "pose.translation", "shift of the head", "% of eye distance", "lower", (0, math.inf), 0.0,
        f"Mean distance between the centres of {_POINTS}, in percent of the source's distance "
        "between the outer eye corners.",
        "own",
    ),
    Metric(
        "pose.scale", "growth of the head", "%", "lower", (0, math.inf), 0.0,
        f"Mean absolute difference of the extent of {_POINTS}, in percent.",
        "own",
    ),
)  # fmt: skip


def pose_scores(
    source: NDArray[np.floating], result: NDArray[np.floating], block: int
) -> list[Score]:
    """Drift of the head.

    Args:
        source, result: (T, 478, 3) landmarks in pixels, of frames in which both faces are seen.
        block: as in `evaluation.bootstrap`.
    """
    points = list(STEADY)
    before, after = (track[:, points].astype(np.float64) for track in (source, result))
    shift = np.linalg.norm((after.mean(1) - before.mean(1))[:, :2], axis=1)
    before, after = (part - part.mean(1, keepdims=True) for part in (before, after))
    extent = [np.sqrt((part[..., :2] ** 2).sum((1, 2))) for part in (before, after)]
    same = (before == after).all((1, 2))
    return [
        estimate("pose.rotation", np.where(same, 0.0, _angle(before, after)), block=block),
        estimate("pose.translation", 100 * shift / eye_distance(source[..., :2]), block=block),
        estimate("pose.scale", 100 * np.abs(extent[1] / extent[0] - 1), block=block),
    ]


def _angle(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, N, 3) centred points -> (T,) degrees of the best rotation from one to the other."""
    left, _, right = np.linalg.svd(np.einsum("tni,tnj->tij", after, before))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    trace = np.trace(left @ right, axis1=1, axis2=2)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
