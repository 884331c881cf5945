"""People: uninterrupted stretches of a face joined into one Track per person."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ned.core.track import Track
from preprocessing.identity import Identity

log = logging.getLogger(__name__)

_SAME_PERSON = 1.15  # identity distance up to which faces of different shots are joined
_SAME_SHOT = 2.0  # the same within a shot, where clothes and light do not change
_WALK = 2.0  # face heights per second that an unseen actor may move within a shot
_SHORTEST = 3  # frames; shorter stretches are mistakes of the detector unless the shot is as short
_TIE = 0.1  # people whose importance differs by less are ordered from left to right
_GAP_TRUST = 0.5  # confidence in the middle of an interpolated gap, relative to its ends


@dataclass
class Tracklet:
    """One face without interruption worth mentioning, inside one shot."""

    shot: int
    frames: list[int] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    codes: list[NDArray[np.uint16]] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    identity: Identity = field(default_factory=Identity)
    closed: bool = False

    def add(
        self, frame: int, box: NDArray[np.float32], codes: NDArray[np.uint16], confidence: float
    ) -> None:
        """Append a frame: its index, box (4,), codes (478, 3) and confidence in [0, 1]."""
        self.frames.append(frame)
        self.boxes.append(box)
        self.codes.append(codes)
        self.confidence.append(confidence)

    def box_at(self, frame: int) -> NDArray[np.float32] | None:
        """The box (4,) in a recent frame, None where the face was not seen."""
        for index in range(len(self.frames) - 1, -1, -1):
            if self.frames[index] <= frame:
                return self.boxes[index] if self.frames[index] == frame else None
        return None

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def first(self) -> int:
        """Index of the first frame."""
        return self.frames[0]

    @property
    def last(self) -> int:
        """Index of the last frame."""
        return self.frames[-1]

    @property
    def height(self) -> float:
        """Mean height in pixels."""
        return float(np.mean([box[3] - box[1] for box in self.boxes]))


def people(
    tracklets: list[Tracklet],
    size: tuple[int, int],
    times: NDArray[np.float64],
    shots: NDArray[np.int32],
    gap_limit: float,
    max_faces: int,
) -> list[Track]:
    """Join tracklets of the same person and order the persons by importance.

    Args:
        tracklets: In the order of their first frames.
        size: (width, height) of the image in pixels.
        times: (T,) seconds.
        shots: (T,) index of each frame's shot.
        gap_limit: Longest absence in seconds that is interpolated.
        max_faces: Tracks returned at most.

    Returns:
        Tracks, sorted by the sum of their heights over time; nearly equal ones from left to right.
    """
    lengths = np.bincount(shots) if len(shots) else np.zeros(1, int)
    kept = [one for one in tracklets if one.count >= min(_SHORTEST, lengths[one.shot])]
    groups = _by_importance(_join(kept, times))
    if len(groups) > max_faces:
        log.info("%d more faces than the %d kept", len(groups) - max_faces, max_faces)
    return [_assemble(group, size, times, shots, gap_limit) for group in groups[:max_faces]]


def _by_importance(groups: list[list[Tracklet]]) -> list[list[Tracklet]]:
    """Sort people by size times presence; those within `_TIE` of each other from left to right."""
    weights = {id(group): sum(one.height * one.count for one in group) for group in groups}
    ranked = sorted(groups, key=lambda group: -weights[id(group)])
    ordered: list[list[Tracklet]] = []
    while ranked:
        leader = weights[id(ranked[0])]
        tied = [group for group in ranked if weights[id(group)] >= (1 - _TIE) * leader]
        ordered += sorted(tied, key=lambda group: float(group[0].boxes[0][0]))
        ranked = ranked[len(tied) :]
    return ordered


def _join(tracklets: list[Tracklet], times: NDArray[np.float64]) -> list[list[Tracklet]]:
    """Group tracklets by person: the most alike first, never two that are seen at once."""
    groups = [[one] for one in tracklets]
    while len(groups) > 1:
        best, pair = np.inf, (0, 0)
        for left in range(len(groups)):
            for right in range(left + 1, len(groups)):
                cost = _cost(groups[left], groups[right], times)
                if cost < best:
                    best, pair = cost, (left, right)
        if best > 1:
            break
        left, right = pair
        merged = sorted(groups[left] + groups.pop(right), key=lambda one: one.first)
        groups[left] = merged
    return groups


def _cost(one: list[Tracklet], other: list[Tracklet], times: NDArray[np.float64]) -> float:
    """Unlikeness of two groups of tracklets; up to 1 they are the same person."""
    total, weight = 0.0, 0.0
    for first in one:
        for second in other:
            if first.first <= second.last and second.first <= first.last:
                return np.inf
            share = float(min(first.count, second.count))
            total += share * _pair_cost(first, second, times)
            weight += share
    return total / weight


def _pair_cost(one: Tracklet, other: Tracklet, times: NDArray[np.float64]) -> float:
    if one.first > other.first:
        one, other = other, one
    unlike = one.identity.distance(other.identity)
    if one.shot != other.shot:
        return unlike / _SAME_PERSON
    seconds = float(times[other.first] - times[one.last])
    before, after = one.boxes[-1], other.boxes[0]
    shift = np.hypot(*((after - before)[:2] + (after - before)[2:]) / 2)
    reach = float(before[3] - before[1]) * (0.7 + _WALK * seconds)
    return max(unlike / _SAME_SHOT, float(shift) / reach)


def _assemble(
    group: list[Tracklet],
    size: tuple[int, int],
    times: NDArray[np.float64],
    shots: NDArray[np.int32],
    gap_limit: float,
) -> Track:
    track = Track.empty(len(times), size)
    track.times, track.shots = times, shots
    for tracklet in group:
        for frame, box, codes, confidence in zip(
            tracklet.frames, tracklet.boxes, tracklet.codes, tracklet.confidence, strict=True
        ):
            track.boxes[frame], track.codes[frame] = box, codes
            track.confidence[frame] = confidence
    _fill_gaps(track, gap_limit)
    return track


def _fill_gaps(track: Track, gap_limit: float) -> None:
    """Interpolate landmarks linearly in time over short absences inside of a shot."""
    seen = np.flatnonzero(track.present)
    for before, after in itertools.pairwise(seen):
        span = track.times[after] - track.times[before]
        missing = range(int(before) + 1, int(after))
        if not missing or track.shots[before] != track.shots[after]:
            continue
        # the absence lasts from the last frame seen to the last frame missed
        if track.times[after - 1] - track.times[before] > gap_limit + 1e-6:
            continue
        start = track.landmarks(before, before + 1)[0]
        stop = track.landmarks(after, after + 1)[0]
        for frame in missing:
            share = float((track.times[frame] - track.times[before]) / span) if span > 0 else 0.5
            track.set_landmarks(frame, (1 - share) * start + share * stop)
            ends = (1 - share) * track.confidence[before] + share * track.confidence[after]
            depth = 1 - abs(2 * share - 1)
            track.confidence[frame] = ends * (1 - (1 - _GAP_TRUST) * max(depth, 0.3))
            track.interpolated[frame] = True
