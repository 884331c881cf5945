"""Masking: which pixels of a crop are the face, by the mesh or by FSGAN's network."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core.assets import find_asset, require_asset
from ned.core.stages import content_hash, fingerprint
from ned.options.preprocess import PreprocessOptions

if TYPE_CHECKING:
    from ned.chunks import Chunk
    from preprocessing.segment import FaceSegmenter

_MESH, _FSGAN = 1, 1  # versions: count up when the same input gives other masks
_BATCH = 2  # crops at once; from 8 on a CPU's caches are too small and it takes twice as long


class Masking(Protocol):
    """Makes the masks of a chunk; an empty one means that no face was found.

    Attributes:
        fingerprint: changes with the method and the files that it uses.
        of_pixels: True if it needs the crops.
    """

    fingerprint: str
    of_pixels: bool

    def __call__(self, chunk: Chunk) -> list[NDArray[np.bool_]]:
        """(256, 256) per row."""
        ...


def make_masking(options: PreprocessOptions) -> Masking:
    """The masks that are asked for; "auto" is FSGAN's for DECA's faces where its file is there.

    Raises:
        AssetError: FSGAN's are asked for and its file is missing.
    """
    network = options.masks == "fsgan" or (
        options.masks == "auto"
        and options.reconstructor == "deca"
        and find_asset("fsgan-segmentation") is not None
    )
    return NetworkMasking(options.device) if network else MeshMasking()


class MeshMasking:
    """The outline and the triangles of the tracked mesh."""

    of_pixels = False

    def __init__(self) -> None:
        self.fingerprint = fingerprint(masks="mesh", version=_MESH)

    def __call__(self, chunk: Chunk) -> list[NDArray[np.bool_]]:
        from preprocessing.segment import mesh_mask

        return [mesh_mask(mesh) for mesh in chunk.mesh]


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
        from preprocessing.segment import FaceSegmenter

        return FaceSegmenter(self._path, find_device(self._device))

    def __call__(self, chunk: Chunk) -> list[NDArray[np.bool_]]:
        images = np.stack(chunk.images)
        parts = [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]
        return [mask for part in parts for mask in self._segmenter.masks(part)]
