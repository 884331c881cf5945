"""Anchors: the tracked points that an edit hangs on, steadied so that it does not tremble."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ned.core.track import Track

_TAPS = np.array([0.25, 0.5, 0.25], np.float32)


def steady_landmarks(track: Track, start: int, stop: int) -> NDArray[np.float32]:
    """(n, 478, 3) pixels of frames [start, stop), a three-frame binomial mean within each shot.

    Only where an edit lies depends on them, not the picture itself; tracker noise of half a pixel
    is halved, and a real movement lags by nothing because the mean is symmetric.
    """
    first, last = max(0, start - 1), min(len(track), stop + 1)
    points = track.landmarks(first, last)
    present, shots = track.present[first:last], track.shots[first:last]
    frames = np.arange(min(start, last), min(stop, len(track))) - first
    total = np.zeros((len(frames), *points.shape[1:]), np.float32)
    for shift, tap in zip((-1, 0, 1), _TAPS, strict=True):
        others = np.clip(frames + shift, 0, len(points) - 1)
        usable = present[others] & (shots[others] == shots[frames])
        total += tap * points[np.where(usable, others, frames)]
    return total
