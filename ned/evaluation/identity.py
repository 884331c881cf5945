"""Identity: whether it is still the same person, by the shape of the fitted head."""

from __future__ import annotations

import math

import numpy as np

from ned.core.face.performance import Performance
from ned.evaluation.metric import Metric, Score

METRICS = (
    Metric(
        "identity.rig_distance", "distance of head shapes", "% of eye distance", "lower",
        (0, math.inf), 0.0,
        "Root mean square distance between the neutral heads that the rig fits to source and to "
        "result, over all mesh points, in percent of the distance of the outer eye corners.",
        "own",
    ),
)  # fmt: skip


def rig_distance(source: Performance, result: Performance) -> Score:
    """The metric identity.rig_distance of two performances of the same face model."""
    apart = np.linalg.norm(result.identity - source.identity, axis=1).astype(np.float64)
    value = 100 * float(np.sqrt((apart**2).mean()))
    return Score("identity.rig_distance", value, count=int(result.track.present.sum()))
