"""RigModel: our rig as a face model, fitted to the track of a whole clip; needs nobody's files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deca.fitting import fit
from deca.rig import load_rig
from ned.core.face.face_model import CROP_PIXELS, Conditioning, Pictures
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.files.records import fingerprint
from ned.core.progress import SILENT, Progress
from preprocessing.align import held_rows

_VERSION = 2  # counts up when the same input gives another performance


class RigModel:
    """Units, pose and gaze of every frame; drawn straight into each crop, never warped."""

    name = "rig"
    of_pixels = False

    def __init__(self, device: str = "auto") -> None:
        """The rig is fitted and drawn on the CPU, whatever the device."""
        self.fingerprint = fingerprint(reconstructor="rig", version=_VERSION)

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Those of configs/rig.yaml, sides apart."""
        return load_rig().names

    def heads(self, units: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Units on the mean face: (T, 468, 3) face units, and its triangles."""
        rig = load_rig()
        moved = rig.displacement(np.asarray(units, np.float32))
        return rig.mesh.neutral + moved, rig.mesh.triangles

    def check(self) -> None:
        """Nothing can be missing."""

    def fit(
        self,
        track: Track,
        crop_from_image: NDArray[np.floating],
        count: int,
        progress: Progress = SILENT,
    ) -> Performance:
        """Units, pose and gaze of all frames; raises NoFaceError."""
        return fit(track, progress=progress)

    def encode(
        self,
        images: Pictures,
        landmarks: NDArray[np.floating],
        track: Track,
        frames: NDArray[np.int64],
    ) -> Performance:
        """The rig is never estimated from pixels."""
        raise NotImplementedError

    def draw(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating] | None = None,
    ) -> tuple[Pictures, Pictures]:
        """NMFCs and shapes; a row without a face repeats the pictures of the row before."""
        from deca.rig_pictures import RigConditioner, aligned_maps

        conditioner = RigConditioner(performance, size=CROP_PIXELS)
        held = held_rows(performance.present)[rows]
        used, first, back = np.unique(held, return_index=True, return_inverse=True)
        maps = crop_from_image[first]
        if aligned_from_crop is not None:
            maps = aligned_maps(maps, aligned_from_crop[first])
        nmfcs = np.empty((len(used), CROP_PIXELS, CROP_PIXELS, 3), np.uint8)
        shapes = np.empty_like(nmfcs)
        for run in _runs(used):
            pictures = conditioner.draw(int(used[run[0]]), int(used[run[-1]]) + 1, maps[run])
            nmfcs[run], shapes[run] = pictures.nmfc, pictures.shape
        return nmfcs[back], shapes[back]

    def condition(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating],
        filmed_eyes: NDArray[np.floating],
    ) -> Conditioning:
        """The directed face; a row without one shows the wanted units in the row before's place.

        The filmed eyes are not needed: the rig knows its own.
        """
        from deca.rig_pictures import RigConditioner

        conditioner = RigConditioner(performance, size=CROP_PIXELS)
        held = held_rows(performance.present)[rows]
        parts = []
        for k, row in enumerate(held.tolist()):
            units = performance.shown[row : row + 1]
            maps = crop_from_image[k : k + 1], aligned_from_crop[k : k + 1]
            parts.append(conditioner.draw_aligned(row, row + 1, *maps, units))
        return Conditioning(
            nmfcs=np.concatenate([pictures.nmfc for pictures, _ in parts]),
            shapes=np.concatenate([pictures.shape for pictures, _ in parts]),
            eyes=np.concatenate([eyes for _, eyes in parts]),
        )


def _runs(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Places of rows that follow each other without a gap."""
    return np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) > 1) + 1)
