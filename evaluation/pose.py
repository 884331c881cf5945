"""Pose: whether the head stayed where it was."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evaluation.estimate import estimate
from evaluation.metric import Metric, Score
from ned.core.performance import Performance

METRICS = (
    Metric(
        "pose.rotation", "turn of the head", "degrees", "lower", (0, 180), 0.0,
        "Mean angle between the head's fitted rotations in source and result.",
        "geodesic distance on SO(3)",
    ),
    Metric(
        "pose.translation", "shift of the head", "% of eye distance", "lower", (0, math.inf), 0.0,
        "Mean distance of the head's fitted centres, in percent of the source's distance between "
        "the outer eye corners.",
        "own",
    ),
    Metric(
        "pose.scale", "growth of the head", "%", "lower", (0, math.inf), 0.0,
        "Mean absolute difference of the head's fitted sizes, in percent.",
        "own",
    ),
)  # fmt: skip


def pose_scores(
    source: Performance, result: Performance, frames: NDArray[np.intp], block: int
) -> list[Score]:
    """Drift of the head over `frames` (indices of frames in which both show the face)."""
    turned = np.einsum("tij,tij->t", source.rotation[frames], result.rotation[frames])
    angle = np.degrees(np.arccos(np.clip((turned.astype(np.float64) - 1) / 2, -1, 1)))
    same = (source.rotation[frames] == result.rotation[frames]).all((1, 2))
    size = source.scale[frames]
    shift = np.linalg.norm(result.translation[frames] - source.translation[frames], axis=1)
    growth = np.abs(result.scale[frames] / size - 1)
    return [
        estimate("pose.rotation", np.where(same, 0.0, angle), block=block),
        estimate("pose.translation", 100 * shift / size, block=block),
        estimate("pose.scale", 100 * growth, block=block),
    ]
