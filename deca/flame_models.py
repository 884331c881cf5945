"""FLAME as a face model: fitted to landmarks, or estimated by DECA's networks."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deca.flame_codes import FLAME, JAW_OPENING, SHAPE, UNIT_NAMES, FlameCodes
from ned.core.face import similarity
from ned.core.face.face_model import CROP_PIXELS, Conditioning, Pictures
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.files.assets import require_asset
from ned.core.files.checkpoint import require_torch
from ned.core.files.records import content_hash, fingerprint
from ned.core.progress import SILENT, Progress
from preprocessing.align import held_rows

if TYPE_CHECKING:
    from deca.flame_pictures import FaceConditioning
    from deca.reconstruction import Deca, HeadDecoder

_DECA, _FLAME_FIT = 2, 2  # versions: count up when the same input gives another performance


class FlameModel:
    """FLAME heads without wrinkles, drawn where DECA looked, put into the crop, then aligned.

    They are resampled in the steps that NED published. This one only draws: performances of it
    are imported.
    """

    name = FLAME
    of_pixels = False
    assets: tuple[str, ...] = ("flame", "flame-landmarks")

    def __init__(self, device: str = "auto", kind: str = FLAME, version: int = 1) -> None:
        """Find the files.

        Raises:
            AssetError: One of them is missing.
        """
        self.device = device
        self.files = {asset: require_asset(asset) for asset in self.assets}
        require_torch("FLAME")
        hashes = {asset: content_hash(path) for asset, path in self.files.items()}
        self.fingerprint = fingerprint(reconstructor=kind, version=version, files=hashes)

    @property
    def unit_names(self) -> tuple[str, ...]:
        """The jaw's opening and the coefficients of expression."""
        return UNIT_NAMES

    def heads(self, units: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Units on the mean head: (T, 5023, 3) metres, and its triangles."""
        import torch

        flame = self.decoder.flame
        values = torch.from_numpy(np.asarray(units, np.float32))
        pose = torch.zeros(len(values), 6)
        pose[:, JAW_OPENING] = values[:, 0]
        with torch.no_grad():
            mesh = flame(torch.zeros(len(values), SHAPE), values[:, 1:], pose)
        return mesh.vertices.numpy(), flame.faces.numpy().astype(np.int32)

    def check(self) -> None:
        """Load everything once."""
        _ = self.decoder

    @cached_property
    def decoder(self) -> HeadDecoder:
        """What makes heads of codes."""
        from deca.flame import load_flame
        from deca.reconstruction import HeadDecoder

        return HeadDecoder(load_flame(self.files["flame"], self.files["flame-landmarks"]))

    def fit(
        self,
        track: Track,
        crop_from_image: NDArray[np.floating],
        count: int,
        progress: Progress = SILENT,
    ) -> Performance:
        """Tracks are fitted by `FlameFitModel`."""
        raise NotImplementedError

    def encode(
        self,
        images: Pictures,
        landmarks: NDArray[np.floating],
        track: Track,
        frames: NDArray[np.int64],
    ) -> Performance:
        """Crops are encoded by `DecaModel`."""
        raise NotImplementedError

    def draw(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating] | None = None,
    ) -> tuple[Pictures, Pictures]:
        """NMFCs and shapes; codes say themselves where in the crop they lie."""
        from deca.flame_pictures import condition_heads

        codes = FlameCodes.of(performance)[rows]
        pictures = condition_heads(self.decoder, codes, "down")[0]
        return _pictures(pictures, aligned_from_crop)

    def condition(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating],
        filmed_eyes: NDArray[np.floating],
    ) -> Conditioning:
        """The directed face, its pupils moved from where they were filmed with its lids."""
        from deca.flame_pictures import condition_heads
        from preprocessing.eye_sketch import aligned_eye_landmarks, edited_eye_landmarks

        codes = FlameCodes.of(performance, performance.shown)[rows]
        pictures, lids = condition_heads(self.decoder, codes, "nearest")
        eyes = edited_eye_landmarks(lids, filmed_eyes)
        pairs = zip(eyes, aligned_from_crop, strict=True)
        return Conditioning(
            *_pictures(pictures, aligned_from_crop),
            eyes=[aligned_eye_landmarks(points, to) for points, to in pairs],
        )


class DecaModel(FlameModel):
    """FLAME codes by DECA's encoders from the crops, with wrinkles."""

    of_pixels = True
    assets = (
        *("deca", "flame", "flame-landmarks", "deca-head-template"),
        *("deca-uv-mask", "deca-displacement"),
    )

    def __init__(self, device: str = "auto") -> None:
        """Find the files; raises AssetError for the first one that is missing."""
        super().__init__(device, "deca", _DECA)

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

    def encode(
        self,
        images: Pictures,
        landmarks: NDArray[np.floating],
        track: Track,
        frames: NDArray[np.int64],
    ) -> Performance:
        """Codes of n crops."""
        from deca.crop import crop_transform
        from deca.reconstruction import FaceImage

        faces = (
            FaceImage(image, crop_transform(points), int(frame), bool(seen))
            for image, points, frame, seen in zip(
                images, landmarks, frames, track.present, strict=True
            )
        )
        return self.deca.reconstruct(faces).performance(track)


class FlameFitModel(FlameModel):
    """FLAME fitted to the track of a whole clip; no networks, no wrinkles."""

    assets = ("flame", "flame-landmarks", "flame-mediapipe-landmarks")

    def __init__(self, device: str = "auto") -> None:
        """Find the files; raises AssetError for the first one that is missing."""
        super().__init__(device, "flame-fit", _FLAME_FIT)

    def fit(
        self,
        track: Track,
        crop_from_image: NDArray[np.floating],
        count: int,
        progress: Progress = SILENT,
    ) -> Performance:
        """Codes of the first `count` frames and their crops; gaps repeat the frame before."""
        from deca.flame_crops import in_crops
        from deca.flame_fit import fit_flame, load_flame_points

        files = self.files
        model = load_flame_points(
            files["flame"], files["flame-landmarks"], files["flame-mediapipe-landmarks"]
        )
        codes = fit_flame(track, model, progress=progress).codes
        rows = held_rows(track.present)[:count]
        frame_from_crop = similarity.homogeneous(similarity.invert(crop_from_image[:count]))
        frame_from_crop[:, :2, 2] -= 0.5  # the fit counts pixel centres as whole numbers
        track = track[:count]
        held = in_crops(codes[rows], frame_from_crop, (CROP_PIXELS, CROP_PIXELS))
        kept = dataclasses.replace(held, present=track.present, frames=np.arange(count))
        return kept.performance(track)


def _pictures(
    pictures: list[FaceConditioning], aligned_from_crop: NDArray[np.floating] | None
) -> tuple[Pictures, Pictures]:
    """NMFCs and shapes, aligned if asked for."""
    from preprocessing.align import warp_image

    nmfcs = [picture.nmfc for picture in pictures]
    shapes = [picture.shape for picture in pictures]
    if aligned_from_crop is None:
        return nmfcs, shapes

    def aligned(drawn: list[NDArray[np.uint8]]) -> Pictures:
        return [warp_image(one, to) for one, to in zip(drawn, aligned_from_crop, strict=True)]

    return aligned(nmfcs), aligned(shapes)
