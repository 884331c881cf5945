"""Background: whether what is not the face stayed as it was."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.bootstrap import mean
from ned.evaluation.colour import difference
from ned.evaluation.estimate import estimate
from ned.evaluation.frame_pair import FramePair
from ned.evaluation.metric import Metric, Score
from ned.evaluation.region import FaceRegion

METRICS = (
    Metric(
        "background.psnr", "PSNR outside the face", "dB", "higher", (0, math.inf), math.inf,
        "Peak signal-to-noise ratio of the luma of all samples outside the face, all frames "
        "together. Outside: beyond the hull of the faces of both videos, of their ovals grown "
        "1.32 times, and 6 % of the face's height around it.",
        "standard; the region is our own",
    ),
    Metric(
        "background.difference", "difference outside the face", "levels of 255", "lower",
        (0, 255), 0.0,
        "Mean absolute difference of luma over the same samples.",
        "standard",
    ),
    Metric(
        "background.colour_shift", "colour shift outside the face", "ΔE00", "lower",
        (0, math.inf), 0.0,
        "CIEDE2000 distance of the mean colours of the cells of a 16 by 16 grid that lie outside "
        "the face, mean over cells and sampled frames.",
        "CIE 142 (2001)",
    ),
)  # fmt: skip

_CELLS = 16


class Background:
    """Collects what differs outside of the face."""

    def __init__(self, region: FaceRegion) -> None:
        self._region = region
        self._errors: list[tuple[float, float, int]] = []  # squared, absolute, samples
        self._shifts: list[float] = []

    def add(self, pair: FramePair, sampled: bool) -> None:
        """Look at one frame; at its colours too if it is `sampled`."""
        outside = self._region.outside(pair.index)
        apart = (pair.lumas[1] - pair.lumas[0])[outside].astype(np.float64)
        self._errors.append((float(apart @ apart), float(np.abs(apart).sum()), len(apart)))
        if sampled:
            self._shifts.append(difference(pair.colours, _CELLS, outside))

    def scores(self, block: int, sampled_block: int) -> list[Score]:
        """The metrics of all frames; blocks (of sampled frames) as in `evaluation.bootstrap`."""
        errors = np.array(self._errors, np.float64)
        return [
            estimate("background.psnr", errors[:, [0, 2]], pooled_psnr, block),
            estimate("background.difference", errors[:, [1, 2]], _pooled_mean, block),
            estimate("background.colour_shift", self._shifts, mean, sampled_block),
        ]


def pooled_psnr(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, N, 2) sums of squared differences (of 255) and counts of samples -> (R,) dB."""
    error = _pooled_mean(samples)
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(255.0**2 / error), np.float64)


def _pooled_mean(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    total, count = samples.sum(1).T
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
