"""Temporal: whether the result is as calm as its source: jitter, flicker, warping error."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.evaluation.estimate import estimate
from ned.evaluation.frame_pair import FACE_SIDE, FramePair
from ned.evaluation.landmarks import eye_distance, groups
from ned.evaluation.metric import Metric, Score

METRICS = (
    *(
        Metric(
            f"temporal.jitter_{part}", f"jitter, {words}", "ratio", "lower", (0, math.inf), 1.0,
            "Root mean square of the second difference over time of tracked landmarks "
            f"({words}), result divided by source. Below 1 the result is calmer.",
            "own; acceleration as in motion-capture literature",
        )
        for part, words in (
            ("eyes", "lids"), ("brows", "brows"), ("mouth", "lips"), ("all", "whole face"),
        )
    ),
    Metric(
        "temporal.flicker", "flicker of the face", "% of white", "lower", (0, math.inf), 0.0,
        "Root mean square of the second difference over time of (result - source), taken of the "
        "mean luma of the cells of an 8 by 8 grid over the face.",
        "own",
    ),
    Metric(
        "temporal.warping_error", "warping error, excess", "% of white", "lower",
        (-100, 100), 0.0,
        "Root mean square difference between each face picture (256 by 256) and the one before, "
        "moved by the source's optical flow where it is consistent both ways; result less source.",
        "Lai et al., 'Learning blind video temporal consistency' (ECCV 2018); DIS optical flow "
        "(Kroeger et al., ECCV 2016)",
    ),
)  # fmt: skip

_CELLS = 8


def jitter_scores(
    source: NDArray[np.floating],
    result: NDArray[np.floating],
    shots: NDArray[np.int32],
    block: int,
    same_size: bool = True,
) -> list[Score]:
    """Jitter of each part of the face.

    Args:
        source, result: (T, 478, 2) pixels, NaN where a face is not seen. shots: (T,) shot of each
            frame; differences are not taken across cuts.
        same_size: pixels of both mean the same; else each is measured in its own median distance
            of the outer eye corners, which squinting narrows a little.
    """
    scale = [np.nanmedian(eye_distance(track)) for track in (source, result)]
    if same_size:
        scale[1] = scale[0]
    same = shots[2:] == shots[:-2]
    scores = []
    for part, points in groups().items():
        both = np.stack(
            [
                _unrest(track[:, points] / size)
                for track, size in zip((source, result), scale, strict=True)
            ],
            axis=1,
        )
        both = both[same & np.isfinite(both).all(1)]
        if len(both) and both[:, 0].any():
            scores.append(estimate(f"temporal.jitter_{part}", both, _ratio, block))
    return scores


class Calm:
    """Collects flicker and warping error from consecutive frames."""

    def __init__(self, shots: NDArray[np.int32]) -> None:
        self._shots = shots
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._last: tuple[int, NDArray[np.float32], NDArray[np.float32]] | None = None
        self._cells: list[tuple[int, NDArray[np.float32]]] = []
        self._changes: list[float] = []
        self._errors: list[tuple[float, float, int]] = []

    def add(self, pair: FramePair) -> None:
        """Look at one frame; frames without a face break the sequence."""
        if pair.faces is None:
            self._last, self._cells = None, []
            return
        source, result = pair.faces
        if self._last is not None and not self._follows(self._last[0], pair.index):
            self._last, self._cells = None, []
        if self._last is not None:
            self._compare(self._last[1:], (source, result))
        self._last = (pair.index, source, result)
        size = (_CELLS, _CELLS)
        cells = cv2.resize(result - source, size, interpolation=cv2.INTER_AREA)
        self._cells = [*self._cells[-2:], (pair.index, np.asarray(cells, np.float32))]
        if len(self._cells) == 3:
            first, second, third = (each for _, each in self._cells)
            bend = (third - 2 * second + first) / 255 * 100
            self._changes.append(float((bend.astype(np.float64) ** 2).mean()))

    def scores(self, block: int) -> list[Score]:
        """The metrics of all frames; none where no three frames with a face follow each other."""
        scores = []
        if self._changes:
            scores.append(estimate("temporal.flicker", self._changes, _root, block))
        if self._errors:
            scores.append(estimate("temporal.warping_error", self._errors, _excess, block))
        return scores

    def _follows(self, before: int, now: int) -> bool:
        return now == before + 1 and self._shots[now] == self._shots[before]

    def _compare(
        self,
        before: tuple[NDArray[np.float32], NDArray[np.float32]],
        now: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> None:
        """Squared errors of source and result after moving the frame before to this one."""
        first, second = (np.clip(image, 0, 255).astype(np.uint8) for image in (before[0], now[0]))
        backward = self._flow.calc(second, first, None)  # type: ignore[call-overload]
        forward = self._flow.calc(first, second, None)  # type: ignore[call-overload]
        rows, columns = np.mgrid[:FACE_SIDE, :FACE_SIDE].astype(np.float32)
        x, y = columns + backward[..., 0], rows + backward[..., 1]
        returned = cv2.remap(forward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        gap = ((backward + returned) ** 2).sum(-1)
        length = (backward**2).sum(-1) + (returned**2).sum(-1)
        inside = (x >= 0) & (y >= 0) & (x <= FACE_SIDE - 1) & (y <= FACE_SIDE - 1)
        used = inside & (gap <= 0.01 * length + 0.5)
        if not used.any():
            return
        errors = []
        for earlier, later in zip(before, now, strict=True):
            moved = cv2.remap(earlier, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            apart = ((later - moved)[used] / 255 * 100).astype(np.float64)
            errors.append(float(apart @ apart))
        self._errors.append((errors[0], errors[1], int(used.sum())))


def _unrest(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, P, 2) -> (T - 2,) mean square of the second differences."""
    second = points[2:] - 2 * points[1:-1] + points[:-2]
    return (second.astype(np.float64) ** 2).mean((1, 2))


def _ratio(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    before, after = samples.sum(1).T
    known = before > 0
    return np.sqrt(np.divide(after, before, out=np.full_like(after, np.nan), where=known))


def _root(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(samples.mean(1))


def _excess(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    before, after, count = samples.sum(1).T
    return np.sqrt(after / count) - np.sqrt(before / count)
