"""Tracked clip: a clip with what the tracker and the rig make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.face.track import LANDMARKS
from ned.core.film.clip import Clip
from ned.evaluation.landmarks import seen_points
from ned.evaluation.sound import Sound


@dataclass(frozen=True)
class TrackedClip:
    """A clip with what the tracker makes of it.

    Attributes:
        clip: the file. faces: one performance per face, the largest first; none without a face.
        frames: how many were decoded. sound: None without any.
    """

    clip: Clip
    faces: list[Performance]
    frames: int
    sound: Sound | None

    def face(self, index: int) -> Performance | None:
        """One of the faces; None where the clip shows none.

        Raises:
            InputError: there are faces, but fewer.
        """
        if not self.faces:
            return None
        if index >= len(self.faces):
            raise InputError(
                f"--actor {index}: '{self.clip.path.name}' shows {len(self.faces)} "
                f"face{'s' * (len(self.faces) != 1)}, give 0 to {len(self.faces) - 1} "
                "(see `ned info`)"
            )
        return self.faces[index]

    def points(self, face: Performance | None) -> NDArray[np.float32]:
        """(T, 478, 2) pixels of one of the faces; NaN throughout without one."""
        if face is None:
            return np.full((self.frames, LANDMARKS, 2), np.nan, np.float32)
        return seen_points(face.track)

    def face_like(self, points: NDArray[np.float32], size: tuple[int, int]) -> Performance | None:
        """The face whose place is nearest to another clip's.

        Args:
            points: (T, 478, 2) pixels in a clip of `size` (width, height).

        Returns:
            The face with the smallest mean distance over the frames in which both are seen; the
            largest where no frame shows both; None where the clip shows no face.
        """

        def apart(face: Performance) -> float:
            own = self.points(face)[: len(points)].mean(1) / self.clip.size
            gap = np.linalg.norm(own - points[: len(own)].mean(1) / size, axis=1)
            return float(np.nanmean(gap)) if np.isfinite(gap).any() else np.inf

        return min(self.faces, key=apart, default=None)
