"""Bootstrap intervals: they cover, they widen, they say nothing where nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from ned.evaluation.bootstrap import (
    block_length,
    correlation,
    interval,
    interval_over_clips,
    interval_over_raters,
    mean,
    median,
)


def width(bounds: tuple[float, float]) -> float:
    return bounds[1] - bounds[0]


def unknown(bounds: tuple[float, float]) -> bool:
    return all(math.isnan(bound) for bound in bounds)


def wandering(generator: np.random.Generator, count: int, memory: float) -> NDArray[np.float64]:
    """A row around 0 whose neighbours are alike (first-order autoregression, variance 1)."""
    noise = generator.standard_normal(count) * math.sqrt(1 - memory**2)
    noise[0] = generator.standard_normal()
    row = np.empty(count)
    row[0] = noise[0]
    for index in range(1, count):
        row[index] = memory * row[index - 1] + noise[index]
    return row


def test_agrees_with_the_textbook() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = interval(values, resamples=4000)
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


@pytest.mark.parametrize("count", [6, 60])
def test_covers_as_often_as_it_says(count: int) -> None:
    generator = np.random.default_rng(count)
    bounds = [interval(generator.normal(0, 1, count), resamples=400) for _ in range(500)]
    covered = np.mean([low <= 0 <= high for low, high in bounds])
    assert 0.92 < covered < 0.985


def test_blocks_cover_where_neighbours_are_alike_and_single_frames_do_not() -> None:
    generator = np.random.default_rng(3)
    rows = [wandering(generator, 250, 0.8) for _ in range(200)]

    def covered(block: int) -> float:
        bounds = [interval(row, resamples=300, block=block) for row in rows]
        return float(np.mean([low <= 0 <= high for low, high in bounds]))

    assert covered(1) < 0.65
    assert covered(block_length(25)) > 0.85


def test_a_narrow_level_lies_inside_a_wide_one() -> None:
    values = np.random.default_rng(2).exponential(1, 80)
    low, high = interval(values, level=0.5)
    lower, higher = interval(values, level=0.99)
    assert lower < low < values.mean() < high < higher


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(0, 1, 30)
    assert interval(values, seed=4) == interval(values, seed=4)
    assert interval(values, seed=4) != interval(values, seed=5)


def test_missing_values_count_for_nothing() -> None:
    values = np.random.default_rng(0).normal(3, 1, 300)
    sparse = np.full(600, math.nan)
    sparse[::2] = values
    assert width(interval(sparse)) == pytest.approx(width(interval(values)), rel=0.15)
    assert interval(sparse)[0] < values.mean() < interval(sparse)[1]


@pytest.mark.parametrize(
    ("values", "block"),
    [
        ([], 1),
        ([1.0], 1),
        ([1.0, 2.0, 3.0, math.nan], 1),
        ([math.nan] * 5, 1),
        (np.arange(47.0), 12),
    ],
)
def test_nothing_is_said_of_too_little(values: list[float], block: int) -> None:
    assert unknown(interval(values, block=block))


def test_something_is_said_of_four() -> None:
    assert interval([1.0, 2.0, 3.0, 4.0]) == (1, 4)
    assert not unknown(interval(np.arange(48.0), block=12))


def test_equal_values_have_no_width() -> None:
    assert interval(np.full(50, 0.25), block=12) == (0.25, 0.25)


def test_infinite_values_stay_infinite() -> None:
    assert interval(np.full(50, math.inf)) == (math.inf, math.inf)
    low, high = interval([*np.arange(40.0), math.inf])
    assert math.isfinite(low)
    assert high == math.inf


def test_other_statistics() -> None:
    generator = np.random.default_rng(5)
    skewed = generator.exponential(1, 500)
    low, high = interval(skewed, median)
    assert low < math.log(2) < high < mean(skewed[None])[0]
    x = generator.standard_normal(400)
    pairs = np.stack([x, 0.6 * x + 0.8 * generator.standard_normal(400)], 1)
    pairs[::7, 1] = math.nan
    low, high = interval(pairs, correlation)
    measured = np.arctanh(correlation(pairs[None])[0])  # Fisher: normal, of known width
    error = 1.96 / math.sqrt(np.isfinite(pairs[:, 1]).sum() - 3)
    assert low == pytest.approx(np.tanh(measured - error), abs=0.02)
    assert high == pytest.approx(np.tanh(measured + error), abs=0.02)


def test_correlation_agrees_with_numpy_and_is_unknown_without_variation() -> None:
    rows = np.random.default_rng(6).standard_normal((3, 50, 2))
    rows[1, :, 0] = 0.1
    expected = np.corrcoef(rows[0].T)[0, 1]
    assert correlation(rows)[0] == pytest.approx(expected, abs=1e-12)
    assert math.isnan(correlation(rows)[1])
    assert correlation(np.repeat(rows[2:, :, :1], 2, axis=2))[0] == pytest.approx(1)


def test_clips_that_differ_widen_the_interval() -> None:
    generator = np.random.default_rng(7)
    alike = [generator.normal(0, 1, 100) for _ in range(8)]
    different = [row + 3 * generator.standard_normal() for row in alike]
    assert width(interval_over_clips(different, block=5)) > 4 * width(
        interval_over_clips(alike, block=5)
    )
    assert unknown(interval_over_clips(alike[:3]))
    assert unknown(interval_over_clips([*alike[:3], [math.nan, math.nan], []]))


def test_clips_of_other_lengths_weigh_the_same() -> None:
    low, high = interval_over_clips([np.zeros(1000), np.ones(3)] * 6, block=12)
    assert 0 < low < 0.5 < high < 1
    assert low + high == pytest.approx(1, abs=0.2)


def test_raters_that_differ_widen_the_interval() -> None:
    generator = np.random.default_rng(8)
    ratings = generator.normal(3, 0.3, (10, 12))
    strict = ratings + generator.normal(0, 1, (10, 1))
    assert width(interval_over_raters(strict)) > 3 * width(interval_over_raters(ratings))
    sparse = np.where(generator.random(ratings.shape) < 0.5, ratings, math.nan)
    low, high = interval_over_raters(sparse)
    assert low < 3 < high
    assert unknown(interval_over_raters(ratings[:3]))
    assert unknown(interval_over_raters(ratings[:, :0]))
    # Of few clips it speaks of other raters only, however the clips differ.
    apart = np.tile([1.0, 5.0], (10, 1))
    assert interval_over_raters(apart) == (3, 3)


def test_block_length_is_half_a_second() -> None:
    assert block_length(25) == 12
    assert block_length(60) == 30
    assert block_length(1) == 1
