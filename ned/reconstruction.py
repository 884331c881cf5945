"""Reconstructors: the 3D face of a reel, by our rig, by DECA, or by FLAME fitted to landmarks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core import similarity
from ned.core.assets import require_asset
from ned.core.flame_codes import FlameCodes
from ned.core.performance import Performance
from ned.core.progress import SILENT, Progress
from ned.core.stages import content_hash, fingerprint
from ned.options.preprocess import Reconstructor as Name

if TYPE_CHECKING:
    from deca.reconstruction import Deca, HeadDecoder
    from ned.chunks import Chunk
    from ned.reels import Reel

Codes = Performance | FlameCodes
Pictures = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]

CROP_PIXELS = 256  # side of an actor's images

_RIG, _DECA, _FLAME_FIT = 1, 1, 1  # versions: count up when the same input gives other codes


class Drawing(Protocol):
    """Pictures (256, 256, 3) RGB of the faces of a chunk, one per row."""

    def nmfcs(self, chunk: Chunk) -> Pictures: ...

    def shapes(self, chunk: Chunk) -> Pictures: ...

    def nmfcs_aligned(self, chunk: Chunk) -> Pictures: ...

    def shapes_aligned(self, chunk: Chunk) -> Pictures: ...


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

    def drawing(self, codes: Codes, rows: NDArray[np.int64]) -> Drawing:
        """Pictures of rows of a reel's codes (or of the codes of a chunk)."""
        ...


def make_reconstructor(name: Name, device: str = "auto") -> Reconstructor:
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

    def drawing(self, codes: Codes, rows: NDArray[np.int64]) -> Drawing:
        """Pictures straight into the crop, or into the aligned crop."""
        assert isinstance(codes, Performance)
        return RigDrawing(codes, rows)


class RigDrawing:
    """Pictures of the rig, drawn anew for the crop and for the aligned crop, never warped."""

    def __init__(self, performance: Performance, rows: NDArray[np.int64]) -> None:
        self.performance, self.rows = performance, rows
        self._drawn: dict[bool, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}

    def nmfcs(self, chunk: Chunk) -> NDArray[np.uint8]:
        return self._draw(chunk, aligned=False)[0]

    def shapes(self, chunk: Chunk) -> NDArray[np.uint8]:
        return self._draw(chunk, aligned=False)[1]

    def nmfcs_aligned(self, chunk: Chunk) -> NDArray[np.uint8]:
        return self._draw(chunk, aligned=True)[0]

    def shapes_aligned(self, chunk: Chunk) -> NDArray[np.uint8]:
        return self._draw(chunk, aligned=True)[1]

    def _draw(self, chunk: Chunk, aligned: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """NMFCs and shapes; a row without a face repeats the picture of the row before."""
        if aligned not in self._drawn:
            from renderer.rig_conditioning import RigConditioner

            conditioner = RigConditioner(self.performance, size=CROP_PIXELS)
            used, first, back = np.unique(
                chunk.reel.seen[self.rows], return_index=True, return_inverse=True
            )
            maps = chunk.reel.crop_from_frame[used]
            if aligned:
                maps = similarity.compose(chunk.align_transforms[first], maps)
            nmfcs = np.empty((len(used), CROP_PIXELS, CROP_PIXELS, 3), np.uint8)
            shapes = np.empty_like(nmfcs)
            for run in np.split(np.arange(len(used)), np.flatnonzero(np.diff(used) > 1) + 1):
                pictures = conditioner.draw(int(used[run[0]]), int(used[run[-1]]) + 1, maps[run])
                nmfcs[run], shapes[run] = pictures.nmfc, pictures.shape
            self._drawn[aligned] = nmfcs[back], shapes[back]
        return self._drawn[aligned]


class _FlameReconstructor:
    """What DECA and the fitting of FLAME have in common."""

    assets: tuple[str, ...] = ("flame", "flame-landmarks")

    def __init__(self, name: str, version: int, device: str) -> None:
        self.device = device
        self.files = {asset: require_asset(asset) for asset in self.assets}
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

    def drawing(self, codes: Codes, rows: NDArray[np.int64]) -> Drawing:
        """Pictures in the crop, and those warped."""
        assert isinstance(codes, FlameCodes)
        return FlameDrawing(self.decoder, codes[rows])


class FlameDrawing:
    """Pictures of FLAME heads: drawn where DECA looked, put into the crop, then aligned."""

    def __init__(self, decoder: HeadDecoder, codes: FlameCodes) -> None:
        self.decoder, self.codes = decoder, codes

    @cached_property
    def _pictures(self) -> list[Any]:
        from renderer.conditioning import condition_heads

        return condition_heads(self.decoder, self.codes, "down")[0]

    def nmfcs(self, chunk: Chunk) -> list[NDArray[np.uint8]]:
        return [picture.nmfc for picture in self._pictures]

    def shapes(self, chunk: Chunk) -> list[NDArray[np.uint8]]:
        return [picture.shape for picture in self._pictures]

    def nmfcs_aligned(self, chunk: Chunk) -> list[NDArray[np.uint8]]:
        return chunk.aligned(chunk.nmfcs)

    def shapes_aligned(self, chunk: Chunk) -> list[NDArray[np.uint8]]:
        return chunk.aligned(chunk.shapes)


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
