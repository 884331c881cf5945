"""Masking: which pixels of a crop are the face, by the mesh or by FSGAN's network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core.files.assets import require_asset
from ned.core.files.records import content_hash, fingerprint

if TYPE_CHECKING:
    from preprocessing.segmentation import FaceSegmenter

_MESH, _FSGAN = 1, 1  # versions: count up when the same input gives other masks
_BATCH = 2  # crops at once; from 8 on a CPU's caches are too small and it takes twice as long


class Masking(Protocol):
    """Makes the masks of crops; an empty one means that no face was found.

    Attributes:
        fingerprint: changes with the method and the files that it uses.
        of_pixels: True if it needs the crops.
    """

    fingerprint: str
    of_pixels: bool

    def __call__(
        self, mesh: NDArray[np.floating], images: Sequence[NDArray[np.uint8]] | None
    ) -> list[NDArray[np.bool_]]:
        """(256, 256) per row of (n, 478, 2) mesh points and (n) crops."""
        ...


def make_masking(name: str, device: str = "auto") -> Masking:
    """The masks of that name: "mesh" or "fsgan".

    Raises:
        AssetError: FSGAN's are asked for and its file is missing.
    """
    return NetworkMasking(device) if name == "fsgan" else MeshMasking()


class MeshMasking:
    """The outline and the triangles of the tracked mesh."""

    of_pixels = False

    def __init__(self) -> None:
        self.fingerprint = fingerprint(masks="mesh", version=_MESH)

    def __call__(
        self, mesh: NDArray[np.floating], images: Sequence[NDArray[np.uint8]] | None
    ) -> list[NDArray[np.bool_]]:
        from preprocessing.segmentation import mesh_mask

        return [mesh_mask(points) for points in mesh]


class NetworkMasking:
    """FSGAN's U-Net, with the weights that NED used."""

    of_pixels = True

    def __init__(self, device: str) -> None:
        self._path = require_asset("fsgan-segmentation")
        self._device = device
        self.fingerprint = fingerprint(masks="fsgan", version=_FSGAN, file=content_hash(self._path))

    @cached_property
    def _segmenter(self) -> FaceSegmenter:
        from ned.core.device import find_device
        from preprocessing.segmentation import FaceSegmenter

        return FaceSegmenter(self._path, find_device(self._device))

    def __call__(
        self, mesh: NDArray[np.floating], images: Sequence[NDArray[np.uint8]] | None
    ) -> list[NDArray[np.bool_]]:
        assert images is not None
        parts = [np.stack(images[k : k + _BATCH]) for k in range(0, len(images), _BATCH)]
        return [mask for part in parts for mask in self._segmenter.masks(part)]
