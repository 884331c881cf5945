"""Tracking: one pass over a clip that yields one Track per actor."""

from __future__ import annotations

import logging
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
from preprocessing.second_look import (
    SMOOTHINGS,
    BrightPicture,
    brightened,
    is_dark,
    rotation_of,
    samples,
)
from preprocessing.shots import Picture, frames_with_shots
from preprocessing.tracker import Tracker, TrackingOptions

log = logging.getLogger(__name__)

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

    Where nothing is found, a dark clip is looked at once more with its light raised.

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
        NoFaceError: No face was found in any frame; says whether the clip is dark or lies on its
            side. AssetError: The bundle cannot be used.
    """
    options = options or TrackingOptions()
    limit = options.max_faces if max_faces is None else max_faces
    gap = options.gap_limit_seconds if gap_limit_seconds is None else gap_limit_seconds
    network = FaceMesh() if options.bundle is None else Landmarker(options.bundle)
    with network as mesh, FaceDetector(options.detection_score) as detector:

        def follow(frames: Iterator[Picture]) -> list[Track]:
            tracker = Tracker(mesh, detector, clip.size, options, limit)
            times: list[float] = []
            shots: list[int] = []
            with progress.stage("tracking", clip.frame_count) as step:
                for shot_frame in ahead(frames_with_shots(frames)):
                    times.append(shot_frame.time)
                    shots.append(shot_frame.shot)
                    tracker.advance(shot_frame)
                    step(1)
            moments = np.array(times), np.array(shots, np.int32)
            return people(tracker.finish(), clip.size, *moments, gap, limit)

        tracks = follow(clip.frames())
        if tracks:
            return tracks
        images = samples(clip.frames(), clip.frame_count)
        dark = is_dark(images)
        for smoothing in SMOOTHINGS if dark else ():
            tracks = follow(BrightPicture(frame, smoothing) for frame in clip.frames())
            if tracks:
                log.info("the faces of this dark clip were found in a brightened picture")
                return tracks
        if dark:
            images = [brightened(image, SMOOTHINGS[0]) for image in images]
        rotation = rotation_of(images, detector)
    raise NoFaceError(_explained(clip, options, dark, rotation))


def _explained(clip: Footage, options: TrackingOptions, dark: bool, rotation: int | None) -> str:
    """Why there may be no face, on one line."""
    told = f"no face was found in this clip of {clip.size[0]}x{clip.size[1]} pixels"
    if rotation is not None:
        return (
            f"{told} as it lies, but one is seen when it is turned by {rotation} degrees "
            f"clockwise; give --rotate {rotation}, or turn the film first"
        )
    if dark:
        return f"{told}, which is very dark; brighten it first, such as with ffmpeg -vf eq=gamma=2"
    return f"{told}; faces of at least {options.smallest_face:g} pixels in height are needed"
