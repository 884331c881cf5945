"""Estimate: a metric's value together with its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ned.evaluation.bootstrap import Statistic, interval, mean
from ned.evaluation.metric import Score


def estimate(
    metric: str, rows: ArrayLike, statistic: Statistic = mean, block: int = 1, judge: str = ""
) -> Score:
    """The value of a statistic of (N,) or (N, K) rows of frames, and its 95 % interval.

    Args:
        metric, judge: of the score. rows: NaN where nothing was measured. block: frames that are
            drawn together, see `evaluation.bootstrap`.
    """
    table = np.asarray(rows, np.float64)
    value = float(statistic(table[None])[0])
    columns = tuple(range(1, table.ndim))
    known = int((~np.isnan(table).any(axis=columns)).sum())
    low, high = interval(table, statistic, block=block)
    return Score(metric, value, low, high, known, judge)
