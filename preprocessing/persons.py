"""People: uninterrupted stretches of a face joined into one Track per person."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ned.core.face.track import LANDMARKS, Track
from preprocessing.face_detector import overlap
from preprocessing.fingerprint import fingerprint
from preprocessing.identity import Identity, unlikeness
from preprocessing.occlusion import PATCH_SIDE, WidePatch, occluded

log = logging.getLogger(__name__)

_SAME_PERSON = 1.15  # identity distance up to which faces of different shots are joined
_SAME_SHOT = 2.0  # the same within a shot, where clothes and light do not change
_WALK = 2.0  # face heights per second that an unseen actor may move within a shot
_UNKNOWN = 2.0  # unlikeness where one of two faces was never seen well enough to compare
_SHORTEST = 3  # frames; shorter stretches are mistakes of the detector unless the shot is as short
_TIE = 0.1  # people whose importance differs by less are ordered from left to right
_HIDDEN = 0.2  # overlap with another face from which a missing one is taken to be behind it
_SHORTEST_BLOCK, _LONGEST_BLOCK = 16, 512  # frames kept in one piece of memory
_GAP_TRUST = 0.5  # confidence in the middle of an interpolated gap, relative to its ends


_ROW = np.dtype(
    [
        ("frame", np.int64),
        ("box", np.float32, 4),
        ("codes", np.uint16, (LANDMARKS, 3)),
        ("confidence", np.float32),
        ("patch", np.uint8, (PATCH_SIDE, PATCH_SIDE)),
    ]
)


@dataclass
class Tracklet:
    """One face without interruption worth mentioning, inside one shot.

    What is kept of every frame lies in blocks: small pieces between pictures that come and go
    would keep their memory from being used again.
    """

    shot: int
    wide_patches: dict[int, WidePatch] = field(default_factory=dict)  # by frame, where lost
    identity: Identity = field(default_factory=Identity)
    closed: bool = False
    count: int = 0  # frames
    _blocks: list[NDArray[np.void]] = field(default_factory=list)
    _used: int = 0  # rows of the last block

    def add(
        self,
        frame: int,
        box: NDArray[np.float32],
        codes: NDArray[np.uint16],
        confidence: float,
        patch: NDArray[np.uint8],
    ) -> None:
        """Append a frame: its index, box (4,), codes (478, 3), confidence in [0, 1], patch."""
        if not self._blocks or self._used == len(self._blocks[-1]):
            self._blocks.append(
                np.empty(min(_LONGEST_BLOCK, max(_SHORTEST_BLOCK, self.count)), _ROW)
            )
            self._used = 0
        self._blocks[-1][self._used] = (frame, box, codes, confidence, patch)
        self._used += 1
        self.count += 1

    @property
    def rows(self) -> Iterator[NDArray[np.void]]:
        """Stretches of frames with "frame", "box", "codes", "confidence" and "patch" of each."""
        for block in self._blocks:
            yield block[: self._used] if block is self._blocks[-1] else block

    def box_at(self, frame: int) -> NDArray[np.float32] | None:
        """The box (4,) in a recent frame, None where the face was not seen."""
        for rows in reversed(list(self.rows)):
            if rows["frame"][0] <= frame:
                index = int(np.searchsorted(rows["frame"], frame, side="right")) - 1
                return rows["box"][index] if rows["frame"][index] == frame else None
        return None

    @property
    def first(self) -> int:
        """Index of the first frame."""
        return int(self._blocks[0]["frame"][0])

    @property
    def last(self) -> int:
        """Index of the last frame."""
        return int(self._blocks[-1]["frame"][self._used - 1])

    @property
    def first_box(self) -> NDArray[np.float32]:
        """The box (4,) in the first frame."""
        return self._blocks[0]["box"][0]

    @property
    def last_box(self) -> NDArray[np.float32]:
        """The box (4,) in the last frame."""
        return self._blocks[-1]["box"][self._used - 1]

    @property
    def height(self) -> float:
        """Mean height in pixels."""
        return float(np.mean([box[3] - box[1] for rows in self.rows for box in rows["box"]]))


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
    tracks = [_assemble(group, size, times, shots, gap_limit) for group in groups[:max_faces]]
    _drop_hidden(tracks)
    return tracks


def _by_importance(groups: list[list[Tracklet]]) -> list[list[Tracklet]]:
    """Sort people by size times presence; those within `_TIE` of each other from left to right."""
    weights = {id(group): sum(one.height * one.count for one in group) for group in groups}
    ranked = sorted(groups, key=lambda group: -weights[id(group)])
    ordered: list[list[Tracklet]] = []
    while ranked:
        leader = weights[id(ranked[0])]
        tied = [group for group in ranked if weights[id(group)] >= (1 - _TIE) * leader]
        ordered += sorted(tied, key=lambda group: float(group[0].first_box[0]))
        ranked = ranked[len(tied) :]
    return ordered


def _join(tracklets: list[Tracklet], times: NDArray[np.float64]) -> list[list[Tracklet]]:
    """Group tracklets by person: the most alike first, never two that are seen at once.

    Agglomerative clustering with average linkage; a pair weighs as much as its shorter tracklet.
    """
    if not tracklets:
        return []
    groups: list[list[Tracklet]] = [[one] for one in tracklets]
    counts = np.array([one.count for one in tracklets], np.float64)
    weights = np.minimum(counts[:, None], counts)
    costs = _costs(tracklets, times)
    weights[costs == _UNKNOWN] *= 1e-3  # no evidence, and none against what else is known
    forbidden = np.isinf(costs)
    np.fill_diagonal(forbidden, True)
    totals = np.where(forbidden, 0, costs) * weights
    while True:
        means = np.where(forbidden, np.inf, totals / weights)
        left, right = sorted(np.unravel_index(int(means.argmin()), means.shape))
        if means[left, right] > 1:
            break
        groups[left] += groups[right]
        groups[right] = []
        for matrix in (totals, weights):
            matrix[left] += matrix[right]
            matrix[:, left] = matrix[left]
        forbidden[left] |= forbidden[right]
        forbidden[:, left] = forbidden[left]
        forbidden[right] = forbidden[:, right] = True
    return [sorted(group, key=lambda one: one.first) for group in groups if group]


def _costs(tracklets: list[Tracklet], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, N) unlikeness of tracklets: up to 1 may be the same person, infinite cannot be."""
    first = np.array([one.first for one in tracklets])
    last = np.array([one.last for one in tracklets])
    shots = np.array([one.shot for one in tracklets])
    start = np.array([one.first_box for one in tracklets], np.float64)
    stop = np.array([one.last_box for one in tracklets], np.float64)
    unlike = unlikeness([one.identity for one in tracklets])
    # [i, j]: how far one would have to walk from the end of i to the start of j
    seconds = np.maximum(times[first][None, :] - times[last][:, None], 0)
    shift = (start[None, :] - stop[:, None]).reshape(len(first), len(first), 2, 2).mean(2)
    reach = (stop[:, 3] - stop[:, 1])[:, None] * (0.7 + _WALK * seconds)
    walk = np.hypot(shift[..., 0], shift[..., 1]) / reach
    walk = np.where(first[:, None] <= first, walk, walk.T)
    together = shots[:, None] == shots
    costs = np.where(
        together,
        np.maximum(np.nan_to_num(unlike) / _SAME_SHOT, walk),
        np.where(np.isnan(unlike), _UNKNOWN, unlike / _SAME_PERSON),
    )
    costs[(first[:, None] <= last) & (first <= last[:, None])] = np.inf
    return costs


def _assemble(
    group: list[Tracklet],
    size: tuple[int, int],
    times: NDArray[np.float64],
    shots: NDArray[np.int32],
    gap_limit: float,
) -> Track:
    track = Track.empty(len(times), size)
    track.times, track.shots = times, shots
    patches: dict[int, NDArray[np.uint8]] = {}
    for tracklet in group:
        for rows in tracklet.rows:
            frames = rows["frame"]
            track.boxes[frames], track.codes[frames] = rows["box"], rows["codes"]
            track.confidence[frames] = rows["confidence"]
            patches |= zip(frames.tolist(), rows["patch"], strict=True)
    track.hidden = _occluded(track, patches)
    track.clip = fingerprint({f: seen for f, seen in patches.items() if not track.hidden[f]})
    for frame in np.flatnonzero(track.hidden):  # where the mesh was is of no worth
        _remove(track, frame)
    _fill_gaps(track, gap_limit)
    wide_patches = {
        frame: seen for tracklet in group for frame, seen in tracklet.wide_patches.items()
    }
    filled = [f for f in np.flatnonzero(track.interpolated & ~track.hidden) if f in wide_patches]
    for frame in filled:
        patches[frame] = wide_patches[frame].patch(track.landmarks(frame, frame + 1)[0])
    if filled:
        track.hidden |= _occluded(track, patches)
    return track


def _occluded(track: Track, patches: dict[int, NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """(T,) whether something lies over the face, by its patches in the frames that have one."""
    pictures = np.zeros((len(track), PATCH_SIDE, PATCH_SIDE), np.uint8)
    known = np.zeros(len(track), bool)
    for frame, seen in patches.items():
        pictures[frame], known[frame] = seen, True
    return occluded(pictures, known, track)


def _remove(track: Track, frame: int) -> None:
    """Take the face out of a frame."""
    track.interpolated[frame] = False
    track.confidence[frame] = 0
    track.boxes[frame] = np.nan


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


def _drop_hidden(tracks: list[Track]) -> None:
    """Take interpolated faces out again where another one is seen in their place."""
    for track in tracks:
        for frame in np.flatnonzero(track.interpolated):
            if any(
                other.present[frame]
                and not other.interpolated[frame]
                and overlap(track.boxes[frame], other.boxes[frame]) > _HIDDEN
                for other in tracks
                if other is not track
            ):
                _remove(track, frame)
