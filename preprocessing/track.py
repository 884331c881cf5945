"""Tracking: one pass over a clip that yields one Track per actor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from ned.core.errors import NoFaceError
from ned.core.face.track import Track
from ned.core.progress import SILENT, Progress
from preprocessing.ahead import ahead
from preprocessing.face_detector import FaceDetector
from preprocessing.face_mesh import FaceMesh
from preprocessing.landmarker import Landmarker
from preprocessing.persons import people
from preprocessing.shots import Picture, frames_with_shots
from preprocessing.tracker import Tracker, TrackingOptions

__all__ = ["Footage", "TrackingOptions", "track_faces"]


class Footage(Protocol):
    """What is needed of a clip (`ned.core.clip.Clip` has it)."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright frames in pixels."""
        ...

    @property
    def frame_count(self) -> int | None:
        """Number of frames, None if unknown."""
        ...

    def frames(self) -> Iterator[Picture]:
        """The frames from the first to the last."""
        ...


def track_faces(
    clip: Footage,
    *,
    progress: Progress = SILENT,
    options: TrackingOptions | None = None,
    max_faces: int | None = None,
    gap_limit_seconds: float | None = None,
) -> list[Track]:
    """Find and follow every face of a clip in one pass over its frames.

    Args:
        clip: The footage; memory does not grow with its length but for the Tracks.
        progress: Told about every frame.
        options: How to search and follow.
        max_faces: Overrides the option of that name.
        gap_limit_seconds: Overrides the option of that name.

    Returns:
        One Track per person, each as long as the clip, the main actor (largest for longest) first;
        the same clip always gives the same order.

    Raises:
        NoFaceError: No face was found in any frame. AssetError: The bundle cannot be used.
    """
    options = options or TrackingOptions()
    limit = options.max_faces if max_faces is None else max_faces
    gap = options.gap_limit_seconds if gap_limit_seconds is None else gap_limit_seconds
    times: list[float] = []
    shots: list[int] = []
    network = FaceMesh() if options.bundle is None else Landmarker(options.bundle)
    with network as mesh, FaceDetector(options.detection_score) as detector:
        tracker = Tracker(mesh, detector, clip.size, options, limit)
        with progress.stage("tracking", clip.frame_count) as step:
            for shot_frame in ahead(frames_with_shots(clip.frames())):
                times.append(shot_frame.time)
                shots.append(shot_frame.shot)
                tracker.advance(shot_frame)
                step(1)
    tracks = people(
        tracker.finish(), clip.size, np.array(times), np.array(shots, np.int32), gap, limit
    )
    if not tracks:
        raise NoFaceError(
            f"no face was found in the {len(times)} frames of this clip of "
            f"{clip.size[0]}x{clip.size[1]} pixels; faces of at least "
            f"{options.smallest_face:g} pixels in height are needed"
        )
    return tracks
