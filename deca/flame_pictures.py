"""Pictures of FLAME heads: NMFC and shape, the same for source and edited heads.

NMFC (normalised mean face coordinates; Koujan et al.,
Head2Head, 2020) colours each pixel by where its skin lies on the mean head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deca.crop import SIDE, Rounding, image_from_crop, image_points_from_ndc
from deca.lighting import lamp_shading
from deca.rasterizer import DEPTH, Fragments, Rasterizer, interpolate, rasterize
from deca.sampling import sample_grid

if TYPE_CHECKING:
    from deca.flame_codes import FlameCodes
    from deca.reconstruction import HeadDecoder, HeadGeometry

_EYES = slice(36, 48)  # of 68 landmarks
_BATCH = 8  # heads in memory at once

_FRONT = 0.15  # pixels whose projected normal's z is below this are seen from the front


@dataclass(frozen=True, eq=False)
class HeadPictures:
    """Pictures of FLAME heads in the 224-pixel crop.

    Attributes:
        fragments: which triangle each pixel sees.
        front: (B, 224, 224) bool, covered and seen from the front.
        nmfc: (B, 224, 224, 3) float32 in [0, 1], x, y, z of the mean head.
        shape: (B, 224, 224) float32 grey of the smooth head.
        detailed: (B, 224, 224) float32 grey with wrinkles, None without detail.
        grid: (B, 224, 224, 2) float32 place in texture maps in [-1, 1], 0 off the head, None
            without a texture layout.
        normals: (B, 224, 224, 3) float32 interpolated normals of the head.
    """

    fragments: Fragments
    front: NDArray[np.bool_]
    nmfc: NDArray[np.float32]
    shape: NDArray[np.float32]
    detailed: NDArray[np.float32] | None
    grid: NDArray[np.float32] | None
    normals: NDArray[np.float32]


def draw_heads(
    decoder: HeadDecoder, geometry: HeadGeometry, rasterizer: Rasterizer = rasterize
) -> HeadPictures:
    """Draw all pictures of B heads from a single rasterisation."""
    moved = geometry.projected.copy()
    moved[..., 2] += DEPTH
    fragments = rasterizer(moved, decoder.faces, SIDE)
    count = len(moved)
    colours = np.broadcast_to(decoder.colours, (count, *decoder.colours.shape))
    facing = geometry.projected_normals[..., 2:]
    parts = [geometry.normals, colours, facing]
    spread = interpolate(fragments, decoder.faces, np.concatenate(parts, axis=2))
    normals, colour, toward = spread[..., :3], spread[..., 3:6], spread[..., 6]
    front = fragments.coverage & (toward < _FRONT)
    grid = detailed = None
    if decoder.surface is not None:
        template = decoder.surface.template
        grid = interpolate(fragments, template.uv_faces, template.grid)
        if geometry.detail_normals is not None:
            fine = sample_grid(geometry.detail_normals, grid, fragments.coverage)
            detailed = lamp_shading(fine) * front
    return HeadPictures(
        fragments=fragments,
        front=front,
        nmfc=colour * front[..., None],
        shape=lamp_shading(normals) * front,
        detailed=detailed,
        grid=grid,
        normals=normals,
    )


@dataclass(frozen=True, eq=False)
class FaceConditioning:
    """One frame's pictures in the coordinates of its image, (height, width, 3) uint8 RGB each."""

    nmfc: NDArray[np.uint8]
    shape: NDArray[np.uint8]


def condition_heads(
    decoder: HeadDecoder, codes: FlameCodes, rounding: Rounding
) -> tuple[list[FaceConditioning], NDArray[np.float64]]:
    """NMFC and shape pictures of some frames where their images' faces are, and their lids.

    Shapes have wrinkles if the codes and the decoder know them.

    Args:
        codes: of source or edited frames.
        rounding: "down" for source frames, "nearest" for edited ones, as published.

    Returns:
        A pair of pictures per frame, and (T, 12, 2) lid points of both eyes in image pixels.
    """
    drawn: list[FaceConditioning] = []
    lids = np.zeros((len(codes), 12, 2))
    for start in range(0, len(codes), _BATCH):
        part = codes[start : start + _BATCH]
        geometry = decoder.decode(part)
        drawn += _put_back(draw_heads(decoder, geometry), part, rounding)
        for k, outline in enumerate(geometry.landmarks2d):
            lids[start + k] = image_points_from_ndc(outline[_EYES], part.transforms[k])
    return drawn, lids


def _put_back(
    pictures: HeadPictures, codes: FlameCodes, rounding: Rounding
) -> list[FaceConditioning]:
    """Pictures of the crops in the coordinates of the images."""
    greys = pictures.shape if pictures.detailed is None else pictures.detailed
    drawn = []
    for nmfc, grey, transform, size in zip(
        pictures.nmfc, greys, codes.transforms, codes.image_size, strict=True
    ):
        both = np.concatenate([nmfc, grey[..., None]], axis=2)
        image = image_from_crop(both, transform, (int(size[0]), int(size[1])), rounding)
        drawn.append(
            FaceConditioning(
                nmfc=np.ascontiguousarray(image[..., :3]),
                shape=np.repeat(image[..., 3:], 3, axis=2),
            )
        )
    return drawn
