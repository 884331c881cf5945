"""FaceModel: what every 3D face can do, whether the rig, FLAME or another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.progress import SILENT, Progress

CROP_PIXELS = 256  # side of an actor's pictures

Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
"""(256, 256, 3) RGB each."""


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What a network draws n faces from, in aligned pixels.

    Attributes:
        nmfcs: where on the mean head each pixel lies. shapes: the head in white light.
        eyes: (14, 2) lid points and pupils each.
    """

    nmfcs: Pictures
    shapes: Pictures
    eyes: Sequence[NDArray[Any]] | NDArray[Any]


class FaceModel(Protocol):
    """A 3D face: how performances of it come about, and how they are drawn.

    A new one is a module with such a class and a line in `deca.face_models`.

    Attributes:
        name: what its performances carry; models whose units mean the same share it.
        fingerprint: changes with the method and the files that it uses.
        of_pixels: True if performances come from crops (`encode`), False if from the track of a
            whole clip (`fit`); the other method is never called.
    """

    name: str
    fingerprint: str
    of_pixels: bool

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Names of its performances' units; those that move the jaw begin with "jaw_"."""
        ...

    def heads(self, units: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """(T, U) units on the mean head -> (T, V, 3) points, y up, z forward; (F, 3) triangles."""
        ...

    def check(self) -> None:
        """Find out before any long work whether everything is there; raises AssetError."""
        ...

    def fit(
        self,
        track: Track,
        crop_from_image: NDArray[np.floating],
        count: int,
        progress: Progress = SILENT,
    ) -> Performance:
        """The performance of a clip.

        Args:
            track: of all T frames. crop_from_image: (T, 2, 3) maps to the crops of the frames, or
                of those that are held where no face is seen.
            count: how many frames are wanted at least, from the first on.

        Raises:
            NoFaceError: The track never shows a face.
        """
        ...

    def encode(
        self,
        images: Pictures,
        landmarks: NDArray[np.floating],
        track: Track,
        frames: NDArray[np.int64],
    ) -> Performance:
        """The performance of n frames that follow each other.

        Args:
            images: n crops. landmarks: (n, 68, 2) in their pixels. track: of the n frames.
            frames: (n,) their numbers.
        """
        ...

    def draw(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating] | None = None,
    ) -> tuple[Pictures, Pictures]:
        """NMFCs and shapes of rows of a performance as it was filmed.

        Args:
            crop_from_image: (n, 2, 3) maps of the rows, or those held where no face is seen.
            aligned_from_crop: (n, 2, 3) where the pictures shall be aligned.
        """
        ...

    def condition(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating],
        filmed_eyes: NDArray[np.floating],
    ) -> Conditioning:
        """What a network shall draw of rows of a performance as it was directed.

        Args:
            crop_from_image, aligned_from_crop: as for `draw`.
            filmed_eyes: (n, 14, 2) lid points and pupils as they were filmed, in crop pixels.
        """
        ...
