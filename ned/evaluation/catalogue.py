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
from ned.evaluation.metric import Metric

METRICS: dict[str, Metric] = {
    metric.name: metric
    for module in (
        *(emotion, speech, lip_sync, identity, embedding, pose, background),
        *(realism, perceptual, frechet, temporal),
    )
    for metric in module.METRICS
}
