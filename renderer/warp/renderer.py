"""Warp: the frame's own pixels, moved and shaded by the mesh; needs no training."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.mesh import load_mesh
from ned.core.film.planes import Planes
from renderer.warp import surface
from renderer.warp.eyes import keep_eyeballs
from renderer.warp.raster import paint, tone
from renderer.warp.shading import TextureFrame

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class WarpSettings:
    """How the displacement is painted and applied.

    Attributes:
        grid_height: cells from forehead to chin; the field is painted coarsely and enlarged.
        blur: standard deviation in cells of the blur that hides the triangle edges.
        facing: (low, high) cosine between surface normal and view; below low nothing moves,
            above high everything does, so that the outline never drags the background.
        interpolation: OpenCV's name of the resampling kernel.
    """

    grid_height: int = 200
    blur: float = 1.2
    facing: tuple[float, float] = (0.02, 0.4)
    interpolation: int = cv2.INTER_CUBIC


@dataclass(frozen=True)
class FaceEdit:
    """What happens to one face in one frame, in upright image pixels.

    Attributes:
        landmarks: (478, 3) float32 tracked points.
        rotation: (3, 3) head-to-camera rotation.
        displacement: (468, 2) float32 pixels by which the mesh points move.
        shade: (H, W) float32 log-ratio texture in the frame of `shading.TextureFrame`, or None.
    """

    landmarks: NDArray[np.float32]
    rotation: NDArray[np.float32]
    displacement: NDArray[np.float32]
    shade: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Window:
    """A painted edit.

    Attributes:
        box: (x0, y0, x1, y1) luma pixels that the field covers. active: where it does anything.
        field: (rows, columns, 3) backward moves x, y in luma pixels and ratio of light.
        moves: (468, 2) what the mesh points moved by.
    """

    box: Box
    active: Box
    field: NDArray[np.float32]
    moves: NDArray[np.float32]

    def sample(
        self, x: int, y: int, size: tuple[int, int], scale: tuple[float, float]
    ) -> NDArray[np.float32]:
        """The field at the pixel centres of a plane's rectangle, bilinear.

        Args:
            x, y, size: corner and (width, height) in plane pixels. scale: plane per luma pixel.
        """
        rows, columns = self.field.shape[:2]
        step_x = columns / ((self.box[2] - self.box[0]) * scale[0])
        step_y = rows / ((self.box[3] - self.box[1]) * scale[1])
        cell_from_pixel = np.array(
            [
                [step_x, 0, (x + 0.5 - self.box[0] * scale[0]) * step_x - 0.5],
                [0, step_y, (y + 0.5 - self.box[1] * scale[1]) * step_y - 0.5],
            ]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self.field, cell_from_pixel, size, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )


class WarpRenderer:
    """Applies face edits to the planes of decoded frames."""

    def __init__(self, settings: WarpSettings | None = None) -> None:
        self.settings = settings or WarpSettings()
        mesh = load_mesh()
        self._normals = _vertex_normals(mesh.neutral, mesh.triangles)
        self._triangles, self._skin_from = surface.triangles()
        self._texture = TextureFrame()
        uv = self._texture.coordinates(mesh.neutral)[surface.owners()]
        skin = np.zeros((surface.POINTS, 1), np.float32)
        skin[:468] = 1
        self._uv, self._skin = uv, skin

    def facing(self, rotation: NDArray[np.float32]) -> NDArray[np.float32]:
        """(468,) weight of each mesh point, 1 where the surface looks at the camera."""
        low, high = self.settings.facing
        cosine = self._normals @ rotation[2]
        return _smoothstep((cosine - low) / (high - low)).astype(np.float32)

    def render(self, planes: Planes, edits: list[FaceEdit], black: int, middle: int) -> Planes:
        """Edited copies of (Y, U, V); the planes given are not changed.

        Args:
            planes: (H, W) uint8 or uint16 luma and two chroma planes, subsampled or not.
            edits: faces to edit; an edit without displacement and shade changes nothing.
            black: code of black luma (16 or 0 at 8 bits). middle: code of neutral chroma.
        """
        edited = [*planes]
        for edit in edits:
            window = self._field(edit, planes[0].shape)
            if window is None:
                continue
            for group, zero in (((0,), black), ((1, 2), middle)):  # planes of one size
                sources = [edited[k] for k in group]
                targets = [source.copy() for source in sources]
                height, width = sources[0].shape
                scale = (width / planes[0].shape[1], height / planes[0].shape[0])
                self._apply(sources, targets, window, scale, zero)
                keep_eyeballs(sources, targets, edit.landmarks, window.moves, scale)
                for k, target in zip(group, targets, strict=True):
                    edited[k] = target
        return edited[0], edited[1], edited[2]

    def moved(self, edit: FaceEdit, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """(H, W) pixels by which an edit moves each pixel of a picture of that shape."""
        height, width = shape[:2]
        window = self._field(edit, shape)
        if window is None:
            return np.zeros((height, width), np.float32)
        x0, y0, x1, y1 = window.box
        field = window.sample(x0, y0, (x1 - x0, y1 - y0), (1.0, 1.0))
        result = np.zeros((height, width), np.float32)
        result[y0:y1, x0:x1] = np.hypot(field[..., 0], field[..., 1])
        return result

    def _field(self, edit: FaceEdit, shape: tuple[int, ...]) -> _Window | None:
        """What the edit does around the face; None if nothing."""
        moved = edit.displacement * self.facing(edit.rotation)[:, None]
        if not np.any(np.abs(moved) > 1e-3) and edit.shade is None:
            return None
        points, moves = surface.complete(edit.landmarks[:468, :2], moved.astype(np.float32))
        targets = points + moves
        oval = edit.landmarks[surface.OVAL, :2]
        cell = max(1.0, float(np.ptp(oval[:, 1])) / self.settings.grid_height)
        x0, y0 = np.floor(np.minimum(targets.min(0), points.min(0))).astype(int) // 4 * 4 - 4
        x1, y1 = np.ceil(np.maximum(targets.max(0), points.max(0))).astype(int) // 4 * 4 + 8
        box = (max(0, x0), max(0, y0), min(shape[1], x1), min(shape[0], y1))
        width, height = box[2] - box[0], box[3] - box[1]
        if width < 8 or height < 8:
            return None
        columns, rows = max(2, round(width / cell)), max(2, round(height / cell))
        scale = np.array([columns / width, rows / height], np.float32)
        attributes = np.concatenate([-moves, self._uv, self._skin], axis=1, dtype=np.float32)
        canvas = np.zeros((rows, columns, 5), np.float32)
        cells = ((targets - np.array(box[:2], np.float32)) * scale).astype(np.float32)
        paint(cells, attributes, self._triangles, self._skin_from, canvas)
        field = np.zeros((rows, columns, 3), np.float32)
        field[..., :2] = canvas[..., :2]
        if edit.shade is not None:
            uv = canvas[..., 2:4]
            shade = cv2.remap(edit.shade, uv, None, cv2.INTER_LINEAR, borderValue=0)
            field[..., 2] = shade * canvas[..., 4]
        field = cv2.GaussianBlur(field, (0, 0), self.settings.blur, borderType=cv2.BORDER_REPLICATE)
        field[..., 2] = np.exp(field[..., 2])
        return _Window(box, _active_box(box, field), field, moves[:468])

    def _apply(
        self,
        sources: list[NDArray],
        targets: list[NDArray],
        window: _Window,
        scale: tuple[float, float],
        zero: int,
    ) -> None:
        """Resample planes of one size into targets where the field acts, at their resolution."""
        (fx, fy), active = scale, window.active
        x0, x1 = int(np.ceil(active[0] * fx)), int(np.floor(active[2] * fx))
        y0, y1 = int(np.ceil(active[1] * fy)), int(np.floor(active[3] * fy))
        if x1 <= x0 or y1 <= y0:
            return
        large = window.sample(x0, y0, (x1 - x0, y1 - y0), scale)
        map_x = large[..., 0] * np.float32(fx) + np.arange(x0, x1, dtype=np.float32)
        map_y = large[..., 1] * np.float32(fy)
        map_y += np.arange(y0, y1, dtype=np.float32)[:, None]
        ceiling = 255 if sources[0].dtype == np.uint8 else 1023
        kernel, border = self.settings.interpolation, cv2.BORDER_REPLICATE
        for source, target in zip(sources, targets, strict=True):
            moved = cv2.remap(source, map_x, map_y, kernel, borderMode=border)
            # the kernel overshoots beside highlights, beyond 10 bits too
            tone(moved, large[..., 2], zero, ceiling, target[y0:y1, x0:x1])


def _active_box(box: Box, field: NDArray[np.float32]) -> Box:
    """The part of a field's window outside of which it does nothing that could be seen."""
    moved = np.maximum(np.abs(field[..., 0]), np.abs(field[..., 1])) > 0.01
    active = moved | (np.abs(field[..., 2] - 1) > 0.001)
    rows, columns = np.flatnonzero(active.any(1)), np.flatnonzero(active.any(0))
    if not len(rows):
        return box[0], box[1], box[0], box[1]
    across, down = (box[2] - box[0]) / field.shape[1], (box[3] - box[1]) / field.shape[0]
    x0, x1 = box[0] + (columns[0] - 1) * across, box[0] + (columns[-1] + 2) * across
    y0, y1 = box[1] + (rows[0] - 1) * down, box[1] + (rows[-1] + 2) * down
    return (
        max(box[0], int(x0) // 4 * 4),
        max(box[1], int(y0) // 4 * 4),
        min(box[2], (int(x1) // 4 + 1) * 4),
        min(box[3], (int(y1) // 4 + 1) * 4),
    )


def _vertex_normals(
    points: NDArray[np.float32], triangles: NDArray[np.int32]
) -> NDArray[np.float32]:
    """(468, 3) area-weighted unit normals, toward the camera."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, triangles[:, k], faces)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)


def _smoothstep(value: NDArray[np.floating]) -> NDArray[np.floating]:
    clipped = np.clip(value, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)
