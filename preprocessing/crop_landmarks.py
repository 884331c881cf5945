"""Landmarking: the 68 landmarks and pupils of crops, from the tracked mesh or by face-alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core.files.records import fingerprint

if TYPE_CHECKING:
    from preprocessing.landmarks68 import FanLandmarks

_MESH, _FAN = 1, 1  # versions: count up when the same input gives other landmarks


@dataclass(frozen=True, eq=False)
class Marks:
    """Landmarks of n crops, in crop pixels.

    Attributes:
        face: (n, 68, 2) as they were found.
        steady: (n, 68, 2) the same with less noise, for the alignment.
        pupils: (n, 2, 2).
    """

    face: NDArray[np.float64]
    steady: NDArray[np.float64]
    pupils: NDArray[np.float64]


class Landmarking(Protocol):
    """Finds the landmarks of crops.

    Attributes:
        fingerprint: changes with the method.
        of_pixels: True if it needs the crops.
    """

    fingerprint: str
    of_pixels: bool

    def check(self) -> None:
        """Find out before any long work whether everything is there; raises AssetError."""
        ...

    def __call__(
        self, mesh: NDArray[np.floating], images: Sequence[NDArray[np.uint8]] | None
    ) -> Marks:
        """Landmarks of (n, 478, 2) mesh points and (n) crops, which `of_pixels` ones need."""
        ...


def make_landmarking(name: str, device: str = "auto") -> Landmarking:
    """The landmarks of that name: "mesh" or "face-alignment"."""
    if name == "face-alignment":
        return NetworkLandmarking(device)
    return MeshLandmarking()


class MeshLandmarking:
    """Points of the tracked mesh, and its irises."""

    of_pixels = False

    def __init__(self) -> None:
        self.fingerprint = fingerprint(landmarks="mesh", version=_MESH)

    def check(self) -> None:
        """Nothing can be missing."""

    def __call__(
        self, mesh: NDArray[np.floating], images: Sequence[NDArray[np.uint8]] | None = None
    ) -> Marks:
        from preprocessing.eye_landmarks import landmarks_of_mesh, pupils_of_mesh

        face = landmarks_of_mesh(mesh)
        return Marks(face, face, pupils_of_mesh(mesh))


class NetworkLandmarking:
    """The package face-alignment, as NED used it; five looks at every crop.

    Where it finds no face the frame before is held, and before the first one the mesh is taken.
    """

    of_pixels = True

    def __init__(self, device: str) -> None:
        self._device = device
        self.fingerprint = fingerprint(landmarks="face-alignment", version=_FAN)

    @cached_property
    def _detector(self) -> FanLandmarks:
        from preprocessing.landmarks68 import FanLandmarks

        if self._device != "auto":
            return FanLandmarks("cpu" if self._device == "cpu" else "cuda")
        from ned.core.device import find_device

        return FanLandmarks("cpu" if find_device("auto").type == "cpu" else "cuda")

    def check(self) -> None:
        """Load the networks."""
        _ = self._detector

    def __call__(
        self, mesh: NDArray[np.floating], images: Sequence[NDArray[np.uint8]] | None
    ) -> Marks:
        from preprocessing.align import sampled_landmarks
        from preprocessing.eye_landmarks import pupils_of_image

        assert images is not None
        tracked = MeshLandmarking()(mesh)
        found: list[tuple[NDArray[np.float64], ...]] = []
        for row, image in enumerate(images):
            marks = sampled_landmarks(image, self._detector)
            if marks is not None:
                face, steady = (np.asarray(part, np.float64) for part in marks)
                found.append((face, steady, pupils_of_image(image, face)))
            elif found:
                found.append(found[-1])
            else:
                found.append((tracked.face[row], tracked.steady[row], tracked.pupils[row]))
        face, steady, pupils = (np.stack(parts) for parts in zip(*found, strict=True))
        return Marks(face, steady, pupils)
