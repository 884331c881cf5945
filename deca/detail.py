"""Detail: the code of fine wrinkles becomes a displacement map and normals in texture space."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deca.normals import grid_normals
from deca.template import TEXELS, HeadTemplate
from ned.core.errors import AssetError, InputError, reason
from ned.core.film.image_files import read_image

INPUTS = 181  # jaw 3, expression 50, detail 128
_LARGEST = 0.01  # metres that the decoder can displace
# top-left texels of the quads that make the dense head
_COLUMNS, _ROWS = (2, 252), (5, 249)
_CHANNELS = (128, 128, 64, 64, 32, 16)


class DetailDecoder(nn.Module):
    """D_detail of DECA (Feng et al., 2021): jaw, expression and detail code -> displacement."""

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Sequential(nn.Linear(INPUTS, 8 * 8 * _CHANNELS[0]))
        layers: list[nn.Module] = [nn.BatchNorm2d(_CHANNELS[0])]
        for inputs, outputs in pairwise(_CHANNELS):
            layers += [
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
                nn.Conv2d(inputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs, eps=0.8),
                nn.LeakyReLU(0.2),
            ]
        layers += [nn.Conv2d(_CHANNELS[-1], 1, 3, padding=1), nn.Tanh()]
        self.conv_blocks = nn.Sequential(*layers)

    def forward(self, codes: Tensor) -> Tensor:
        """(B, 181) [jaw, expression, detail] -> (B, 1, 256, 256) metres along the normals."""
        seeds = self.l1(codes).reshape(-1, _CHANNELS[0], 8, 8)
        return _LARGEST * self.conv_blocks(seeds)


@dataclass(frozen=True, eq=False)
class DetailSurface:
    """What turns displacement maps into normals: the texture layout and two fixed maps.

    Attributes:
        template: texture layout of the head.
        mask: (256, 256) float32 in [0, 1], where wrinkles may be: the face without the eyes.
        fixed: (256, 256) float32 metres, a displacement that every head has.
    """

    template: HeadTemplate
    mask: NDArray[np.float32]
    fixed: NDArray[np.float32]

    def normals(
        self,
        vertices: NDArray[np.floating],
        normals: NDArray[np.floating],
        displacement: NDArray[np.floating],
    ) -> NDArray[np.float32]:
        """Normals of the displaced surface: (B, 256, 256, 3) float32, 0 off the face.

        Args:
            vertices, normals: (B, V, 3) of the mesh. displacement: (B, 256, 256) metres, of the
                decoder.
        """
        spread = self.template.spread(np.concatenate([vertices, normals], axis=2))
        along = np.asarray(displacement, np.float32) * self.mask + self.fixed
        positions = spread[..., :3] + along[..., None] * spread[..., 3:]
        return grid_normals(positions, _COLUMNS, _ROWS)

    def displacement_map(self, displacement: NDArray[np.floating]) -> NDArray[np.float32]:
        """(B, 256, 256) of the decoder -> the whole displacement of each texel, in metres."""
        return np.asarray(displacement, np.float32) + self.fixed


def load_surface(template: HeadTemplate, mask: Path, fixed: Path) -> DetailSurface:
    """Read the face mask (uv_face_eye_mask.png) and the fixed displacement of DECA.

    Raises:
        AssetError: One of them is missing or of another size.
    """
    return DetailSurface(template, _read_mask(mask), _read_fixed(fixed))


def _read_mask(path: Path) -> NDArray[np.float32]:
    try:
        image = read_image(path)
    except InputError as error:
        raise AssetError(
            f"'{path}' is no picture that can be read; uv_face_eye_mask.png of DECA is needed"
        ) from error
    if image.shape[:2] != (TEXELS, TEXELS):
        height, width = image.shape[:2]
        raise AssetError(f"'{path}' is {width} x {height} pixels; {TEXELS} x {TEXELS} are needed")
    return image[..., 2].astype(np.float32) / 255


def _read_fixed(path: Path) -> NDArray[np.float32]:
    try:
        fixed = np.load(path, allow_pickle=False)
        if not isinstance(fixed, np.ndarray) or fixed.dtype.kind not in "fiu":
            raise ValueError("no array of numbers")
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise AssetError(
            f"'{path}' is no numpy file ({reason(error)[:100]}); "
            "fixed_displacement_256.npy of DECA is needed"
        ) from error
    if fixed.shape != (TEXELS, TEXELS):
        raise AssetError(f"'{path}' holds {fixed.shape}; ({TEXELS}, {TEXELS}) is needed")
    return fixed.astype(np.float32)


def detail_codes(
    pose: NDArray[np.floating], expression: NDArray[np.floating], detail: NDArray[np.floating]
) -> Tensor:
    """The decoder's input (B, 181) float32 from poses (B, 6), expressions and detail codes."""
    parts = [pose[:, 3:], expression, detail]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))
