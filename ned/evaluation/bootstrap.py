"""Bootstrap: 95 % intervals from the values themselves, by drawing them again and again.

Neighbouring frames are alike, so they are drawn in blocks: circular moving blocks (Künsch 1989;
Politis and Romano 1992), in which every frame weighs the same. Percentiles are taken a little
further out than the level says, by Hesterberg's correction for few values (2015, "What Teachers
Should Know About the Bootstrap", section 5.4), with blocks instead of values where there are
blocks. Values that are NaN keep their place in time and count for nothing.

Resampled means never leave the range of the values, so an interval of N values covers with a
probability of 1 - 2^(1 - N) at most. Below four values (or blocks, clips, raters) there is none; of
four, "95 %" means 87 %, of five 90 %, of six and more what it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""(R, N) or (R, N, K) resampled values, NaN where missing -> (R,) values of the statistic."""

_AT_ONCE = 2_000_000  # resampled numbers held in memory
_LEAST = 4  # independent values that an interval is given for
_NONE = (math.nan, math.nan)


def mean(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, N) -> (R,) means of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(samples)
    total = np.where(known, samples, 0).sum(1)
    return _ratio(total, known.sum(1))


def median(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, N) -> (R,) medians of what is not NaN; NaN where nothing is."""
    empty = np.isnan(samples).all(1)
    result = np.full(len(samples), math.nan)
    result[~empty] = np.nanmedian(samples[~empty], axis=1)
    return result


def correlation(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, N, 2) -> (R,) Pearson correlations of the two columns; NaN where one does not vary."""
    known = ~np.isnan(samples).any(2)
    count = known.sum(1)
    kept = np.where(known[..., None], samples, 0)
    centre = kept.sum(1) / np.maximum(count, 1)[:, None]
    offset = np.where(known[..., None], samples - centre[:, None], 0)
    energy = (offset**2).sum(1)
    scale = np.abs(kept).max(1, initial=0) * 1e-12
    varying = (energy > count[:, None] * scale**2).all(1)
    product = (offset[..., 0] * offset[..., 1]).sum(1)
    result = _ratio(product, np.where(varying, np.sqrt(energy.prod(1)), 0))
    return np.clip(result, -1, 1)


def block_length(frame_rate: float, seconds: float = 0.5) -> int:
    """Frames in a block of that duration; neighbours further apart count as independent."""
    return max(1, round(frame_rate * seconds))


def interval(
    values: ArrayLike,
    statistic: Statistic = mean,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    block: int = 1,
) -> tuple[float, float]:
    """Confidence interval of a statistic of a row of values.

    Args:
        values: (N,) or, for a statistic of several columns, (N, K); NaN where missing.
        statistic: what is computed of every resampled row.
        level: probability in (0, 1) that the interval covers the statistic of the population.
        resamples: how often the row is drawn again.
        seed: the same seed gives the same interval.
        block: values that are drawn together; see `block_length` for frames. 1: all independent.

    Returns:
        Lower and upper bound; (NaN, NaN) where known values do not fill four blocks.
    """
    rows = np.asarray(values, np.float64)
    known = ~np.isnan(rows.reshape(len(rows), -1)).any(1) if len(rows) else np.zeros(0, bool)
    if known.sum() < _LEAST * block:
        return _NONE
    drawn = _resample(rows, statistic, resamples, np.random.default_rng(seed), block)
    return _percentiles(drawn, level, known.sum() / block)


def interval_over_clips(
    clips: Sequence[ArrayLike],
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    block: int = 1,
) -> tuple[float, float]:
    """Confidence interval of the mean over clips of the mean over frames.

    Draws clips and, in every clip drawn, its frames anew (two-level bootstrap; Davison and Hinkley
    1997, section 3.8). A little wide, never narrow: what frames vary is in the clip means already.

    Args:
        clips: (N_i,) values of each clip's frames, NaN where missing.
        level, resamples, seed: as in `interval`.
        block: frames that are drawn together.

    Returns:
        Lower and upper bound; (NaN, NaN) of fewer than four clips with values.
    """
    rows = [np.asarray(clip, np.float64) for clip in clips]
    rows = [row for row in rows if not np.isnan(row).all()]
    if len(rows) < _LEAST:
        return _NONE
    generator = np.random.default_rng(seed)
    table = np.stack(
        [_resample(r, mean, resamples, generator, min(block, len(r))) for r in rows]
    )  # (clips, resamples)
    clip = generator.integers(len(rows), size=(resamples, len(rows)))
    again = generator.integers(resamples, size=clip.shape)
    return _percentiles(mean(table[clip, again]), level, len(rows))


def interval_over_raters(
    table: ArrayLike, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval of the mean of ratings, where raters and clips both are samples.

    Draws raters and, independently, clips (pigeonhole bootstrap; Owen 2007, "The Pigeonhole
    Bootstrap", Annals of Applied Statistics 1).

    Args:
        table: (raters, clips) ratings, NaN where a rater did not rate a clip.
        level, resamples, seed: as in `interval`.

    Returns:
        Lower and upper bound; (NaN, NaN) of fewer than four raters. Fewer than four clips are not
        drawn: the interval then speaks of other raters only.
    """
    rows = np.asarray(table, np.float64)
    rows = rows[~np.isnan(rows).all(1)]
    rows = rows[:, ~np.isnan(rows).all(0)]
    raters, clips = rows.shape
    if raters < _LEAST:
        return _NONE
    generator = np.random.default_rng(seed)
    of_rater = generator.multinomial(raters, np.full(raters, 1 / raters), resamples)
    of_clip = np.ones((resamples, clips), np.int64)
    if clips >= _LEAST:
        of_clip = generator.multinomial(clips, np.full(clips, 1 / clips), resamples)
    known = ~np.isnan(rows)
    total = ((of_rater @ np.where(known, rows, 0)) * of_clip).sum(1)
    count = ((of_rater @ known.astype(np.int64)) * of_clip).sum(1)
    people = min(raters, clips) if clips >= _LEAST else raters
    return _percentiles(_ratio(total, count), level, people)


def _resample(
    rows: NDArray[np.float64],
    statistic: Statistic,
    resamples: int,
    generator: np.random.Generator,
    block: int,
) -> NDArray[np.float64]:
    """(resamples,) values of the statistic of rows drawn with replacement in circular blocks."""
    count = len(rows)
    blocks = -(-count // block)
    chunk = max(1, _AT_ONCE // rows.size)
    parts = []
    for start in range(0, resamples, chunk):
        first = generator.integers(count, size=(min(chunk, resamples - start), blocks, 1))
        index = (first + np.arange(block)).reshape(len(first), -1)[:, :count] % count
        parts.append(statistic(rows[index]))
    return np.concatenate(parts)


def _percentiles(drawn: NDArray[np.float64], level: float, count: float) -> tuple[float, float]:
    """Bounds that a share `level` lies within, further out the fewer values there were."""
    from scipy.special import ndtr, stdtrit

    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return _NONE
    freedom = max(count - 1, 1)
    tail = float(ndtr(math.sqrt(count / freedom) * stdtrit(freedom, (1 - level) / 2)))
    low = np.quantile(drawn, tail, method="lower")  # between neighbours, inf - inf is unknown
    high = np.quantile(drawn, 1 - tail, method="higher")
    return float(low), float(high)


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / np.where(below > 0, below, 1), math.nan)
