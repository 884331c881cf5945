"""Means: what a method reaches over several clips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ned.evaluation.bootstrap import interval
from ned.evaluation.metric import Score
from ned.evaluation.result import PairResult


def means_of(pairs: Sequence[PairResult]) -> dict[str, list[Score]]:
    """Mean of every metric over the clips of each method, with its 95 % interval over clips.

    Clips count the same however long they are; a metric is averaged over those that have it.
    """
    values: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        for score in pair.scores:
            values[pair.method][score.metric, score.judge].append(score.value)
    return {
        method: [
            Score(metric, float(np.mean(each)), *interval(each), len(each), judge)
            for (metric, judge), each in found.items()
        ]
        for method, found in values.items()
    }
