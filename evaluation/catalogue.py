"""Catalogue: every metric there is, by name, in the order of reports."""

from __future__ import annotations

from evaluation import background, embedding, emotion, identity, pose, realism, speech, temporal
from evaluation.metric import Metric

METRICS: dict[str, Metric] = {
    metric.name: metric
    for module in (emotion, speech, identity, embedding, pose, background, realism, temporal)
    for metric in module.METRICS
}
