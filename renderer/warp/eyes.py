"""Eyes: the eyeball stays where it is when lids move, and what a lid uncovers is made up."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face import mesh as face

_EYES = (
    (np.array(face.RIGHT_UPPER_LID), np.array(face.RIGHT_LOWER_LID), np.array(face.RIGHT_IRIS)),
    (np.array(face.LEFT_UPPER_LID), np.array(face.LEFT_LOWER_LID), np.array(face.LEFT_IRIS)),
)
_SHADOW = 0.10  # strip under the upper lid, in openings, that holds lashes and their shadow
_SPARE = 0.20  # sclera needed beside the iris, in iris radii, to make up more of it
_NARROW = 0.12  # opening over width below which the eye counts as shut
_STILL = 0.35  # pixels of lid movement below which nothing is done


@dataclass(frozen=True)
class _Eye:
    """One eye in its own axes: u along the corners, v across, downward; lengths in pixels."""

    origin: NDArray[np.float32]
    axes: NDArray[np.float32]  # rows u, v
    u: NDArray[np.float32]
    upper: NDArray[np.float32]
    lower: NDArray[np.float32]
    new_u: NDArray[np.float32]
    new_upper: NDArray[np.float32]
    new_lower: NDArray[np.float32]
    iris: tuple[float, float]
    radius: tuple[float, float]
    opening: float


def keep_eyeballs(
    sources: list[NDArray],
    targets: list[NDArray],
    landmarks: NDArray[np.float32],
    moved: NDArray[np.float32],
    scale: tuple[float, float],
) -> None:
    """Put the source's eyeballs back between the moved lids, in place.

    Inside the new opening every pixel is the source's own, unmoved. Where a raised lid uncovers
    what the source hid, the iris is completed by its lower half upside down, and sclera is taken
    from beside the iris; under a lowered lower lid the last rows are mirrored.

    Args:
        sources, targets: (H, W) source and edited planes of one size.
        landmarks: (478, 3) luma pixels.
        moved: (468, 2) displacement in luma pixels. scale: plane pixels per luma pixel in x, y.
    """
    factor = np.array(scale, np.float32)
    for upper, lower, iris in _EYES:
        travel = np.abs(moved[np.concatenate([upper, lower])]).max()
        if travel < _STILL:
            continue
        eye = _eye(landmarks, moved, upper, lower, iris, factor)
        if eye is not None:
            _paint(sources, targets, eye)


def _eye(
    landmarks: NDArray[np.float32],
    moved: NDArray[np.float32],
    upper: NDArray[np.int64],
    lower: NDArray[np.int64],
    iris: NDArray[np.int64],
    factor: NDArray[np.float32],
) -> _Eye | None:
    points = landmarks[:, :2] * factor
    shifts = moved * factor
    left, right = upper[0], upper[-1]
    if points[left, 0] > points[right, 0]:
        upper, lower = upper[::-1], lower[::-1]
        left, right = right, left
    along = points[right] - points[left]
    width = float(np.linalg.norm(along))
    if width < 6:
        return None
    along = along / width
    axes = np.stack([along, np.array([-along[1], along[0]], np.float32)])
    origin = points[left]

    def local(indices: NDArray[np.int64], shifted: bool) -> NDArray[np.float32]:
        positions = points[indices] + (shifts[indices] if shifted else 0)
        return (positions - origin) @ axes.T

    old_upper, old_lower = local(upper, False), local(lower, False)
    new_upper, new_lower = local(upper, True), local(lower, True)
    opening = float((old_lower[3:6, 1] - old_upper[3:6, 1]).mean())
    if opening < _NARROW * width:
        return None
    ring = (points[iris] - origin) @ axes.T
    radius_u = float(np.abs(ring[1:, 0] - ring[0, 0]).max())
    radius_v = float(max(np.abs(ring[1:, 1] - ring[0, 1]).max(), radius_u * 0.95))
    grid = np.linspace(0, width, 33, dtype=np.float32)
    low = min(new_upper[0, 0], new_lower[0, 0])
    high = max(new_upper[-1, 0], new_lower[-1, 0])
    new_grid = np.linspace(low, high, 33, dtype=np.float32)
    return _Eye(
        origin=origin,
        axes=axes,
        u=grid,
        upper=_line(grid, old_upper),
        lower=_line(grid, old_lower),
        new_u=new_grid,
        new_upper=_line(new_grid, new_upper),
        new_lower=_line(new_grid, new_lower),
        iris=(float(ring[0, 0]), float(ring[0, 1])),
        radius=(radius_u, radius_v),
        opening=opening,
    )


def _line(grid: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """A lid line sampled on a grid, rounded where the polygon has corners."""
    order = np.argsort(points[:, 0])
    values = np.interp(grid, points[order, 0], points[order, 1])
    padded = np.pad(values, 2, mode="edge")
    smooth = np.convolve(padded, np.array([1, 2, 3, 2, 1]) / 9, mode="valid")
    smooth[[0, -1]] = values[[0, -1]]
    return smooth.astype(np.float32)


def _paint(sources: list[NDArray], targets: list[NDArray], eye: _Eye) -> None:
    """Composite one eyeball into planes of one size."""
    height, width = sources[0].shape
    outline = np.concatenate(
        [
            np.stack([eye.new_u, eye.new_upper], axis=1),
            np.stack([eye.new_u, eye.new_lower], axis=1),
        ]
    )
    corners = outline @ eye.axes + eye.origin
    x0, y0 = np.floor(corners.min(0)).astype(int) - 2
    x1, y1 = np.ceil(corners.max(0)).astype(int) + 3
    x0, y0 = max(0, x0), max(0, y0)
    x1, y1 = min(width, x1), min(height, y1)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return
    x, y = np.meshgrid(
        np.arange(x0, x1, dtype=np.float32) + 0.5, np.arange(y0, y1, dtype=np.float32) + 0.5
    )
    dx, dy = x - eye.origin[0], y - eye.origin[1]
    u = dx * eye.axes[0, 0] + dy * eye.axes[0, 1]
    v = dx * eye.axes[1, 0] + dy * eye.axes[1, 1]
    upper = _sample(eye.new_u, eye.new_upper, u)
    lower = _sample(eye.new_u, eye.new_lower, u)
    inside = np.clip(v - upper, 0, 1) * np.clip(lower - v, 0, 1)
    inside *= (u > eye.new_u[0]) & (u < eye.new_u[-1])
    if not inside.any():
        return
    source_u, source_v = _source(eye, u, v)
    map_x = source_u * eye.axes[0, 0] + source_v * eye.axes[1, 0] + eye.origin[0] - 0.5
    map_y = source_u * eye.axes[0, 1] + source_v * eye.axes[1, 1] + eye.origin[1] - 0.5
    map_x, map_y = map_x.astype(np.float32), map_y.astype(np.float32)
    for source, target in zip(sources, targets, strict=True):
        eyeball = cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR)
        window = target[y0:y1, x0:x1]
        mixed = window + inside * (eyeball.astype(np.float32) - window)
        window[...] = np.rint(mixed).astype(source.dtype)


def _source(
    eye: _Eye, u: NDArray[np.float32], v: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in the source's eye each point of the new opening is seen, in eye axes."""
    strip = _SHADOW * eye.opening
    top = _sample(eye.u, eye.upper, u)
    bottom = _sample(eye.u, eye.lower, u)
    usable = np.maximum(bottom - top, 0)
    first = top + np.minimum(strip, 0.3 * usable)  # first row that surely shows eyeball
    last = bottom - np.minimum(0.5 * strip, 0.2 * usable)
    hidden_above, hidden_below = v < first, v > last
    source_u = u.copy()
    source_v = v.copy()
    # Sclera: the shown part again, mirrored at its edge and compressed.
    above = first + 0.35 * (first - v)
    below = last - 0.35 * (v - last)
    source_v = np.where(hidden_above, above, np.where(hidden_below, below, source_v))
    source_v = np.clip(source_v, np.minimum(first, last), np.maximum(first, last))
    # Iris: its hidden rows from the opposite half; sclera above it from its roomier side.
    (cu, cv), (ru, rv) = eye.iris, eye.radius
    across, down = (u - cu) / ru, (v - cv) / rv
    in_iris = across**2 + down**2 <= 1.0
    flipped = np.clip(2 * cv - v, np.minimum(first, last), np.maximum(first, last))
    source_v = np.where(hidden_above & in_iris, flipped, source_v)
    room_left, room_right = cu - 1.1 * ru, eye.u[-1] - cu - 1.1 * ru
    side = 1.0 if room_right >= room_left else -1.0
    if max(room_left, room_right) > _SPARE * ru:
        beside = hidden_above & ~in_iris & (np.abs(across) < 1.08)
        away = cu + side * ru * (1.12 + 0.4 * (1.08 - np.clip(np.abs(across), 0, 1.08)))
        away = np.clip(away, 0.06 * eye.u[-1], 0.94 * eye.u[-1])
        source_u = np.where(beside, away, source_u)
        top_away = _sample(eye.u, eye.upper, away) + strip
        source_v = np.where(beside, top_away + 0.15 * strip, source_v)
    return source_u, source_v


def _sample(
    grid: NDArray[np.float32], values: NDArray[np.float32], at: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Linear interpolation on an evenly spaced grid, held constant outside."""
    place = (at - grid[0]) * ((len(grid) - 1) / (grid[-1] - grid[0]))
    place = np.clip(place, 0, len(grid) - 1.001)
    index = place.astype(np.int32)
    share = place - index
    return values[index] * (1 - share) + values[index + 1] * share
