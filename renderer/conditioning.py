"""Conditioning: what a neural renderer sees of a head: NMFC, shape and eyes, drawn in one place.

The same code draws source and edited heads. NMFC (normalised mean face coordinates; Koujan et al.,
Head2Head, 2020) colours each pixel by where its skin lies on the mean head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deca.crop import SIDE, Rounding, image_from_crop, image_points_from_ndc
from deca.lighting import harmonic_shading, lamp_shading
from deca.rasterizer import Fragments, Rasterizer, interpolate, rasterize
from deca.sampling import sample_grid
from ned.core.errors import InputError

if TYPE_CHECKING:
    from deca.reconstruction import HeadDecoder, HeadGeometry
    from ned.core.flame_codes import FlameCodes

LEFT_EYE, RIGHT_EYE = slice(0, 6), slice(6, 12)  # lid points of an eye file, as in the image
LEFT_PUPIL, RIGHT_PUPIL = 12, 13
EYE_POINTS = 14
_EYES = slice(36, 48)  # of 68 landmarks
_BATCH = 8  # heads in memory at once

DEPTH = 10  # z is moved behind the rasteriser's nearest plane
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


def draw_textured(
    pictures: HeadPictures, textures: NDArray[np.float32], light: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The heads with their albedo, lit as DECA estimated: (B, 224, 224, 3) float32 RGB.

    Args:
        textures: (B or 1, H, W, 3) albedo. light: (B, 9, 3) spherical harmonics.

    Raises:
        InputError: The heads were drawn without a texture layout.
    """
    if pictures.grid is None:
        raise InputError("textured heads need head_template.obj of DECA; give it")
    covered = pictures.fragments.coverage
    albedo = sample_grid(textures, pictures.grid, covered)
    return albedo * harmonic_shading(pictures.normals, light) * covered[..., None]


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


def edited_eye_landmarks(
    lids: NDArray[np.floating], source: NDArray[np.floating]
) -> NDArray[np.int32]:
    """Eye points of edited heads: (T, 14, 2) whole pixels of the images.

    A pupil moves with the mean of its eye's lid points.

    Args:
        lids: (T, 12, 2) of the edited heads. source: (T, 14 or more, 2) of the source frames.
    """
    points = np.zeros((len(lids), EYE_POINTS, 2))
    points[:, :12] = lids
    for eye, pupil in ((LEFT_EYE, LEFT_PUPIL), (RIGHT_EYE, RIGHT_PUPIL)):
        points[:, pupil] = source[:, pupil] + points[:, eye].mean(1) - source[:, eye].mean(1)
    return points.astype(np.int32)


def aligned_eye_landmarks(
    points: NDArray[np.integer], aligned_from_image: NDArray[np.floating]
) -> NDArray[np.int32]:
    """(N, 2) whole pixels of an image -> whole pixels, to the nearest, of its aligned version."""
    moved = points @ aligned_from_image[:2, :2].T + aligned_from_image[:2, 2]
    return np.rint(moved).astype(np.int32)


def draw_eye_sketch(points: NDArray[np.floating], size: int = 256) -> NDArray[np.uint8]:
    """Two red discs where the pupils are: (size, size, 3) uint8 RGB.

    An eye's radius is a quarter of the sum of its lids' diagonals, cut to whole pixels; what would
    lie outside of the picture is painted at its edge.

    Args:
        points: (14 or more, 2) x, y of six lid points of the left and right eye of the picture,
            then their pupils; fractions are cut off.
    """
    whole = _checked_eyes(points).astype(np.int32)
    sketch = np.zeros((size, size, 3), np.uint8)
    for eye, pupil in ((LEFT_EYE, LEFT_PUPIL), (RIGHT_EYE, RIGHT_PUPIL)):
        lids = whole[eye].astype(np.float64)
        radius = int((np.linalg.norm(lids[1] - lids[4]) + np.linalg.norm(lids[2] - lids[5])) / 4)
        radius = min(radius, size)  # lids far apart cover everything anyway
        offsets = np.arange(-radius, radius)
        down, across = np.meshgrid(offsets, offsets, indexing="ij")
        inside = np.hypot(down, across) < radius
        x = np.clip(whole[pupil, 0] + across[inside], 0, size - 1)
        y = np.clip(whole[pupil, 1] + down[inside], 0, size - 1)
        sketch[y, x, 0] = 255
    return sketch


def disturbed_eyes(
    points: NDArray[np.floating], noise: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Eye points, fractions cut off, with the noise that training adds: (14, 2).

    Args:
        points: (14 or more, 2). noise: (3,) unit normal numbers: size of both eyes (2 %), then
            how far the left and the right one move apart (2 pixels).
    """
    disturbed = np.trunc(_checked_eyes(points)[:EYE_POINTS])
    for eye, pupil, shift in (
        (LEFT_EYE, LEFT_PUPIL, 2 * noise[1]),
        (RIGHT_EYE, RIGHT_PUPIL, -2 * noise[2]),
    ):
        rows = [*range(eye.start, eye.stop), pupil]
        middle = disturbed[rows].mean(0)
        disturbed[rows] = (disturbed[rows] - middle) * (1 + 0.02 * noise[0]) + middle
        disturbed[rows, 0] += shift
    return disturbed


def _checked_eyes(points: NDArray[np.floating]) -> NDArray[np.float64]:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < EYE_POINTS:
        raise InputError(
            f"eye landmarks of shape {points.shape} were given; ({EYE_POINTS} or more, 2) is needed"
        )
    if not np.isfinite(points).all():
        raise InputError("eye landmarks that are no numbers were given; leave this frame out")
    return points
