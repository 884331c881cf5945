"""Result: all that is known of one edited video against its source, ready to be reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.metric import Score, Skip


@dataclass(frozen=True)
class Series:
    """Curves over time that belong into one plot.

    Attributes:
        title: what the plot shows. unit: of the vertical axis, "" for plain numbers.
        times: (T,) seconds. curves: {name: (T,) float32}, NaN where nothing was measured.
    """

    title: str
    unit: str
    times: NDArray[np.float64]
    curves: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Picture:
    """The same moment in both videos, for a picture strip.

    Attributes:
        time: seconds. source, result: (h, w, 3) uint8 RGB, cropped to the face, equal sizes.
    """

    time: float
    source: NDArray[np.uint8]
    result: NDArray[np.uint8]


@dataclass(frozen=True)
class Labels:
    """What a classifier called the frames of both videos.

    Attributes:
        judge: its name. names: (C,) class names.
        source, result: (N, C) float32 probabilities of the frames judged in both.
    """

    judge: str
    names: tuple[str, ...]
    source: NDArray[np.float32]
    result: NDArray[np.float32]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(C, C) counts of frames: row = called in the source, column = called in the result."""
        table = np.zeros((len(self.names), len(self.names)), np.int64)
        np.add.at(table, (self.source.argmax(1), self.result.argmax(1)), 1)
        return table


@dataclass
class PairResult:
    """One edited video against its source.

    Attributes:
        name: unique among the results of a report. source, result: the files.
        target: emotion that was asked for; None where unknown.
        method: which tool or setting made it; "" where unknown.
        frames: compared. size: (width, height) in pixels. frame_rate: frames per second.
        scores, skips: what was measured and what was not.
        series, pictures, labels: for the report page.
    """

    name: str
    source: Path
    result: Path
    target: str | None
    method: str
    frames: int
    size: tuple[int, int]
    frame_rate: float
    scores: list[Score] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)


@dataclass
class SetResult:
    """Several results, and the means over them (grouped by method) with intervals over clips.

    Attributes:
        pairs: every result. failed: {name: one-line reason} of results that could not be measured.
        means: {method: scores}; `Score.count` counts clips. skips: what needs several clips or
            weights and was left out.
    """

    pairs: list[PairResult]
    failed: dict[str, str] = field(default_factory=dict)
    means: dict[str, list[Score]] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)
