"""Metric: what is measured, in which unit and range, which direction is better, and whose idea."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "near zero"]


@dataclass(frozen=True)
class Metric:
    """One number that a result can be given.

    Attributes:
        name: key in files, such as "speech.aperture_r"; its first part is the group.
        title: short words for tables and plots.
        unit: "" for plain numbers, else "dB", "%", "degrees", "frames", ...
        better: which direction is better.
        range: smallest and largest possible value; infinite where open.
        perfect: value of a result that is identical to its source (or, for measures against a
            destination or ground truth, to that); None where identity says nothing.
        definition: what exactly is computed, in one or two sentences.
        source: paper or standard the measure is taken from; "own" where it is ours.
    """

    name: str
    title: str
    unit: str
    better: Better
    range: tuple[float, float]
    perfect: float | None
    definition: str
    source: str

    @property
    def group(self) -> str:
        """The part of the name before the first full stop."""
        return self.name.split(".", 1)[0]


@dataclass(frozen=True)
class Score:
    """The value of one metric for one result.

    Attributes:
        metric: name of the metric.
        value: the value over all frames; finite, or infinite where the metric's range says so.
        low, high: bounds of its 95 % confidence interval; NaN where none can be given.
        count: frames (or clips, or windows) that it was taken from.
        judge: which classifier or embedding gave it; "" where there is only one way.
    """

    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    judge: str = ""


@dataclass(frozen=True)
class Skip:
    """Metrics that were not taken, and the reason in one line; never a silent zero."""

    metrics: tuple[str, ...]
    reason: str
