"""Reconstructors: the 3D face of a reel, by our rig, by DECA, or by FLAME fitted to landmarks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core.face import similarity
from ned.core.face.flame_codes import FlameCodes
from ned.core.face.performance import Performance
from ned.core.files.assets import require_asset
from ned.core.files.checkpoint import require_torch
from ned.core.files.records import content_hash, fingerprint
from ned.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from deca.reconstruction import Deca, HeadDecoder
    from preprocessing.actor_video import Reel
    from preprocessing.crop_pictures import Chunk

Codes = Performance | FlameCodes
Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]

CROP_PIXELS = 256  # side of an actor's images

_RIG, _DECA, _FLAME_FIT = 1, 1, 1  # versions: count up when the same input gives other codes


class Reconstructor(Protocol):
    """A way to a 3D face.

    Attributes:
        fingerprint: changes with the method and the files that it uses.
        of_pixels: True if codes come from the crops of a chunk (`encode`), False if from the
            track of a whole reel (`fit`).
    """

    fingerprint: str
    of_pixels: bool

    def check(self) -> None:
        """Find out before any long work whether everything is there; raises AssetError."""
        ...

    def fit(self, reel: Reel, progress: Progress = SILENT) -> Codes: ...

    def encode(self, chunk: Chunk) -> FlameCodes: ...

    def load(self, path: Path) -> Codes:
        """Codes of a reel, as saved; raises InputError."""
        ...

    def draw(
        self,
        codes: Codes,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating] | None = None,
    ) -> tuple[Pictures, Pictures]:
        """NMFCs and shapes (256, 256, 3) RGB of rows of a reel's codes (or of a chunk's).

        Args:
            crop_from_image: (n, 2, 3) maps of the rows, or those held where no face is seen.
            aligned_from_crop: (n, 2, 3) where the pictures shall be aligned.
        """
        ...


def make_reconstructor(name: str, device: str = "auto") -> Reconstructor:
    """The reconstructor of that name.

    Raises:
        AssetError: A file that it needs is missing.
    """
    if name == "deca":
        return DecaReconstructor(device)
    return FlameFitReconstructor(device) if name == "flame-fit" else RigReconstructor()


class RigReconstructor:
    """Our rig, fitted to the track of a whole reel; needs no file of anybody."""

    of_pixels = False

    def __init__(self) -> None:
        self.fingerprint = fingerprint(reconstructor="rig", version=_RIG)

    def check(self) -> None:
        """Nothing can be missing."""

    def fit(self, reel: Reel, progress: Progress = SILENT) -> Performance:
        """Units, pose and gaze of every frame, with the track."""
        from deca.fitting import fit

        return fit(reel.track, progress=progress)

    def encode(self, chunk: Chunk) -> FlameCodes:
        """The rig is never estimated from pixels."""
        raise NotImplementedError

    def load(self, path: Path) -> Performance:
        """A saved performance."""
        return Performance.load(path)

    def draw(
        self,
        codes: Codes,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating] | None = None,
    ) -> tuple[Pictures, Pictures]:
        """Drawn anew for the crop and for the aligned crop, never warped.

        A row without a face repeats the picture of the row before.
        """
        from deca.rig_pictures import RigConditioner
        from preprocessing.align import held_rows

        assert isinstance(codes, Performance)
        conditioner = RigConditioner(codes, size=CROP_PIXELS)
        held = held_rows(codes.track.present)[rows]
        used, first, back = np.unique(held, return_index=True, return_inverse=True)
        maps = crop_from_image[first]
        if aligned_from_crop is not None:
            maps = similarity.compose(aligned_from_crop[first], maps)
        nmfcs = np.empty((len(used), CROP_PIXELS, CROP_PIXELS, 3), np.uint8)
        shapes = np.empty_like(nmfcs)
        for run in np.split(np.arange(len(used)), np.flatnonzero(np.diff(used) > 1) + 1):
            pictures = conditioner.draw(int(used[run[0]]), int(used[run[-1]]) + 1, maps[run])
            nmfcs[run], shapes[run] = pictures.nmfc, pictures.shape
        return nmfcs[back], shapes[back]


class _FlameReconstructor:
    """What DECA and the fitting of FLAME have in common."""

    assets: tuple[str, ...] = ("flame", "flame-landmarks")

    def __init__(self, name: str, version: int, device: str) -> None:
        self.device = device
        self.files = {asset: require_asset(asset) for asset in self.assets}
        require_torch("FLAME")
        hashes = {asset: content_hash(path) for asset, path in self.files.items()}
        self.fingerprint = fingerprint(reconstructor=name, version=version, files=hashes)

    def check(self) -> None:
        """Load everything once."""
        _ = self.decoder

    @cached_property
    def decoder(self) -> HeadDecoder:
        """Heads without wrinkles."""
        from deca.flame import load_flame
        from deca.reconstruction import HeadDecoder

        return HeadDecoder(load_flame(self.files["flame"], self.files["flame-landmarks"]))

    def load(self, path: Path) -> FlameCodes:
        """Saved codes."""
        return FlameCodes.load(path)

    def draw(
        self,
        codes: Codes,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating] | None = None,
    ) -> tuple[Pictures, Pictures]:
        """Drawn where DECA looked and put into the crop, then aligned: resampled as published."""
        from deca.flame_pictures import condition_heads
        from preprocessing.align import warp_image

        assert isinstance(codes, FlameCodes)
        pictures = condition_heads(self.decoder, codes[rows], "down")[0]
        nmfcs = [picture.nmfc for picture in pictures]
        shapes = [picture.shape for picture in pictures]
        if aligned_from_crop is None:
            return nmfcs, shapes

        def aligned(drawn: Pictures) -> Pictures:
            return [warp_image(one, to) for one, to in zip(drawn, aligned_from_crop, strict=True)]

        return aligned(nmfcs), aligned(shapes)


class DecaReconstructor(_FlameReconstructor):
    """FLAME codes by DECA's encoders from the crops, with wrinkles."""

    of_pixels = True
    assets = (
        *("deca", "flame", "flame-landmarks", "deca-head-template"),
        *("deca-uv-mask", "deca-displacement"),
    )

    def __init__(self, device: str = "auto") -> None:
        """Find the files; raises AssetError for the first one that is missing."""
        super().__init__("deca", _DECA, device)

    @cached_property
    def deca(self) -> Deca:
        """The three networks."""
        from deca.reconstruction import Deca

        return Deca.load(self.files["deca"], self.device)

    @cached_property
    def decoder(self) -> HeadDecoder:
        """Heads with wrinkles."""
        from deca.detail import load_surface
        from deca.flame import load_flame
        from deca.reconstruction import HeadDecoder
        from deca.template import load_template

        files = self.files
        surface = load_surface(
            load_template(files["deca-head-template"]),
            files["deca-uv-mask"],
            files["deca-displacement"],
        )
        flame = load_flame(files["flame"], files["flame-landmarks"])
        return HeadDecoder(flame, surface, self.deca)

    def fit(self, reel: Reel, progress: Progress = SILENT) -> FlameCodes:
        """DECA looks at pixels, never at tracks alone."""
        raise NotImplementedError

    def encode(self, chunk: Chunk) -> FlameCodes:
        """Codes of a chunk's crops."""
        from deca.crop import crop_transform
        from deca.reconstruction import FaceImage

        present = chunk.reel.track.present[chunk.rows]
        faces = (
            FaceImage(image, crop_transform(points), chunk.reel.frame(row), bool(seen))
            for image, points, row, seen in zip(
                chunk.images, chunk.landmarks, chunk.rows, present, strict=True
            )
        )
        return self.deca.reconstruct(faces)


class FlameFitReconstructor(_FlameReconstructor):
    """FLAME fitted to the track of a whole reel; no networks, no wrinkles."""

    of_pixels = False
    assets = ("flame", "flame-landmarks", "flame-mediapipe-landmarks")

    def __init__(self, device: str = "auto") -> None:
        """Find the files; raises AssetError for the first one that is missing."""
        super().__init__("flame-fit", _FLAME_FIT, device)

    def fit(self, reel: Reel, progress: Progress = SILENT) -> FlameCodes:
        """Codes of the kept frames and their crops; gaps repeat the frame before."""
        from deca.flame_crops import in_crops
        from deca.flame_fit import fit_flame, load_flame_points

        files = self.files
        model = load_flame_points(
            files["flame"], files["flame-landmarks"], files["flame-mediapipe-landmarks"]
        )
        codes = fit_flame(reel.track, model, progress=progress).codes
        rows = reel.seen[: reel.kept]
        frame_from_crop = similarity.homogeneous(similarity.invert(reel.crop_from_frame[rows]))
        frame_from_crop[:, :2, 2] -= 0.5  # the fit counts pixel centres as whole numbers
        return dataclasses.replace(
            in_crops(codes[rows], frame_from_crop, (CROP_PIXELS, CROP_PIXELS)),
            present=reel.track.present[: reel.kept],
            frames=reel.first + np.arange(reel.kept),
        )

    def encode(self, chunk: Chunk) -> FlameCodes:
        """Fitting never looks at pixels."""
        raise NotImplementedError
