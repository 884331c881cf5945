"""Dynamics: how activations move in time; filters over frames, and life that is made up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, grey_opening, minimum_filter1d


def smooth(values: NDArray[np.float32], frames: float) -> NDArray[np.float32]:
    """Gaussian low-pass over the first axis, standard deviation in frames; edges are extended."""
    if len(values) < 2 or frames < 0.05:
        return values
    filtered = gaussian_filter1d(values, frames, axis=0, mode="nearest", truncate=3.0)
    return np.asarray(filtered, np.float32)


def sustained(values: NDArray[np.float32], frames: float) -> NDArray[np.float32]:
    """The part of an activation that lasts: passing accents, words and blinks removed.

    Grey opening (erosion, then dilation) over `frames`, then a low-pass of half that length.
    """
    size = max(1, min(len(values), round(frames)))
    shape = (size,) + (1,) * (values.ndim - 1)
    opened = np.asarray(grey_opening(values, size=shape, mode="nearest"), np.float32)
    return np.minimum(smooth(opened, frames / 2), smooth(values, frames / 2))


def lowest(values: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Running minimum over an odd number of frames along the first axis."""
    return np.asarray(minimum_filter1d(values, frames, axis=0, mode="nearest"), np.float32)


def wave(
    times: NDArray[np.float64], onset: float, offset: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """(T,) values in [0, 1]: expression that swells, holds and ebbs at irregular intervals.

    Rise and fall follow half cosines of about `onset` and `offset` seconds; pauses between waves
    last one to three seconds. Always starts at an apex.
    """
    end = float(times[-1]) if len(times) else 0.0
    knots, levels = [float(times[0]) if len(times) else 0.0], [1.0]
    while knots[-1] < end:
        hold, low = generator.uniform(0.6, 1.8), generator.uniform(0.0, 0.5)
        rest = generator.uniform(0.5, 1.5)
        knots += [knots[-1] + hold]
        levels += [1.0]
        knots += [knots[-1] + 2 * offset * generator.uniform(0.8, 1.3)]
        levels += [low]
        knots += [knots[-1] + rest]
        levels += [low]
        knots += [knots[-1] + 2 * onset * generator.uniform(0.8, 1.3)]
        levels += [1.0]
    right = np.clip(np.searchsorted(knots, times, side="right"), 1, len(knots) - 1)
    start, stop = np.take(knots, right - 1), np.take(knots, right)
    share = np.clip((times - start) / np.maximum(stop - start, 1e-9), 0, 1)
    eased = (1 - np.cos(np.pi * share)) / 2
    low, high = np.take(levels, right - 1), np.take(levels, right)
    return (low + (high - low) * eased).astype(np.float32)


def drift(
    count: int, channels: int, frames: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """(count, channels) smooth noise of unit standard deviation, correlated over `frames`."""
    padding = round(4 * frames)
    noise = generator.standard_normal((count + 2 * padding, channels)).astype(np.float32)
    slow = smooth(noise, frames)[padding : padding + count]
    return slow * np.float32(np.sqrt(2 * np.sqrt(np.pi) * max(frames, 0.05)))
