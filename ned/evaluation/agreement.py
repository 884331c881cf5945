"""Agreement: how far raters say the same, and how sure a share of votes is."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


def krippendorff_alpha(table: ArrayLike, level: Literal["nominal", "ordinal"]) -> float:
    """Krippendorff's alpha (2011, "Computing Krippendorff's Alpha-Reliability").

    Args:
        table: (raters, units) values, NaN where a rater did not judge a unit. Nominal values are
            numbers of categories.
        level: nominal values are equal or not; ordinal ones are further apart the more values
            lie between them.

    Returns:
        1 for full agreement, 0 for that of chance, below for less; NaN where no unit was judged by
        two raters or all values are the same.
    """
    rows = np.asarray(table, np.float64)
    rows = rows[:, (~np.isnan(rows)).sum(0) >= 2]
    values = np.unique(rows[~np.isnan(rows)])
    if len(values) < 2:
        return math.nan
    counts = np.stack([(rows == value).sum(0) for value in values])  # (values, units)
    judged = counts.sum(0)
    pairs = counts @ (counts / (judged - 1)).T - np.diag((counts / (judged - 1)).sum(1))
    share = pairs.sum(1)
    distance = _distances(share, level)
    expected = (np.outer(share, share) * distance).sum() / (share.sum() - 1)
    return float(1 - (pairs * distance).sum() / expected)


def wilson(successes: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of independent votes; (NaN, NaN) of no votes."""
    from scipy.special import ndtri

    if not count:
        return math.nan, math.nan
    z = float(ndtri(0.5 + level / 2))
    share = successes / count
    middle = share + z**2 / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    low, high = (middle - reach) / scale, (middle + reach) / scale
    return (low if successes else 0.0), (high if successes < count else 1.0)


def _distances(
    share: NDArray[np.float64], level: Literal["nominal", "ordinal"]
) -> NDArray[np.float64]:
    """(V, V) squared distances between values that occur `share` (V,) times."""
    if level == "nominal":
        return 1 - np.eye(len(share))
    middle = np.cumsum(share) - share / 2
    return (middle[:, None] - middle) ** 2
