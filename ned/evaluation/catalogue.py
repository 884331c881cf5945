"""Catalogue: every metric there is, by name, in the order of reports."""

from __future__ import annotations

from ned.evaluation import (
    background,
    embedding,
    emotion,
    frechet,
    identity,
    lip_sync,
    perceptual,
    pose,
    realism,
    speech,
    temporal,
)
from ned.evaluation.judges import KINDS
from ned.evaluation.metric import Metric

_MODULES = (
    *(emotion, speech, lip_sync, identity, embedding, pose, background),
    *(realism, perceptual, frechet, temporal),
)
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metrics in (
        *(module.METRICS for module in _MODULES),
        *(judge.metrics for judge in KINDS.values()),  # of judges that are not named above
    )
    for metric in metrics
}
