"""Rasterizer: which triangle each pixel sees, and attributes interpolated over it (compiled)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ned.core.errors import AssetError

DEPTH = 10  # heads' z is moved behind the nearest plane by so much
EMPTY = -1  # what a pixel that sees nothing holds in all three arrays of Fragments


@dataclass(frozen=True, eq=False)
class Fragments:
    """What the pixels of B square images see.

    Attributes:
        face: (B, S, S) int32 index of the nearest triangle, -1 where there is none.
        barycentric: (B, S, S, 3) float32 weights of its corners, -1 where there is none.
        depth: (B, S, S) float32 interpolated z, -1 where there is none.
    """

    face: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    depth: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.face)

    @property
    def coverage(self) -> NDArray[np.bool_]:
        """(B, S, S) True where a triangle is seen."""
        return self.face >= 0


class Rasterizer(Protocol):
    """`rasterize`, or what does the same elsewhere."""

    def __call__(
        self, vertices: NDArray[np.floating], faces: NDArray[np.integer], size: int, /
    ) -> Fragments: ...


def rasterize(
    vertices: NDArray[np.floating],
    faces: NDArray[np.integer],
    size: int,
    threads: int | None = None,
) -> Fragments:
    """Find the nearest triangle of every pixel.

    Conventions of PyTorch3D's rasteriser without blur, culling, clipping and perspective
    correction: the pixel of row i, column j samples ((2j+1)/S - 1, (2i+1)/S - 1); it is inside if
    all three edge functions divided by (twice the signed area + 1e-8) are above 0; smaller z is
    nearer, and the lower index wins among equals; triangles with a corner at z < 1e-8 or with a
    doubled area of at most 1e-8 are left out. Images, or bands of rows of a single one, are
    shared between threads.

    Args:
        vertices: (B, V, 3) normalised device coordinates, x right, y down, z > 0 away.
        faces: (F, 3) vertex indices, both orientations are seen.
        size: side S of the images in pixels.
        threads: at most this many; one per core if None.
    """
    vertices = np.ascontiguousarray(vertices, np.float32)
    faces = _checked_faces(faces, vertices.shape[-2])
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f"vertices are {vertices.shape}, (B, V, 3) is needed")
    if size < 1:
        raise ValueError(f"an image of side {size} cannot be drawn")
    count = len(vertices)
    face = np.full((count, size, size), EMPTY, np.int32)
    barycentric = np.full((count, size, size, 3), EMPTY, np.float32)
    depth = np.full((count, size, size), EMPTY, np.float32)

    def draw(image: int, first: int, last: int) -> None:
        _draw(vertices[image], faces, face[image], barycentric[image], depth[image], first, last)

    _share(draw, count, size, threads)
    return Fragments(face, barycentric, depth)


def interpolate(
    fragments: Fragments,
    faces: NDArray[np.integer],
    attributes: NDArray[np.floating],
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Spread vertex attributes over the pixels: (B, S, S, C) float32, 0 where nothing is seen.

    Several attribute sets are cheapest as one, side by side in C.

    Args:
        fragments: of the same faces, (or of faces in the same order: a texture layout's, say).
        faces: (F, 3) indices into the attributes.
        attributes: (V, C) for all images or (B, V, C).
    """
    attributes = np.ascontiguousarray(attributes, np.float32)
    faces = _checked_faces(faces, attributes.shape[-2])
    count, size = len(fragments), fragments.face.shape[1]
    if attributes.ndim == 3 and len(attributes) != count:
        raise ValueError(f"attributes of {len(attributes)} images for {count} images")
    result = np.zeros((count, size, size, attributes.shape[-1]), np.float32)

    def spread(image: int, first: int, last: int) -> None:
        own = attributes if attributes.ndim == 2 else attributes[image]
        rows = slice(first, last)
        seen, weights = fragments.face[image, rows], fragments.barycentric[image, rows]
        _spread(seen, weights, faces, own, result[image, rows])

    _share(spread, count, size, threads)
    return result


def rasterize_cuda(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], size: int, device: str = "cuda"
) -> Fragments:
    """The same as `rasterize`, through PyTorch3D on a GPU.

    Raises:
        AssetError: PyTorch3D is not installed.
    """
    try:
        import torch
        from pytorch3d.renderer.mesh.rasterize_meshes import (  # type: ignore[import-not-found]
            rasterize_meshes,
        )
        from pytorch3d.structures import Meshes  # type: ignore[import-not-found]
    except ImportError as error:
        raise AssetError(
            f"PyTorch3D cannot be imported ({error}); install it, or draw without it"
        ) from error
    turned = torch.tensor(np.asarray(vertices, np.float32), device=device)
    turned[..., :2] *= -1  # there x points left and y up
    triangles = torch.tensor(np.asarray(faces, np.int64), device=device)
    meshes = Meshes(turned, triangles.expand(len(turned), -1, -1))
    found = rasterize_meshes(
        meshes, image_size=size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=False
    )
    face, depth, barycentric = (part[:, :, :, 0].cpu().numpy() for part in found[:3])
    # there the triangles of all meshes are counted through
    first = len(faces) * np.arange(len(face)).reshape(-1, 1, 1)
    return Fragments(
        np.where(face < 0, EMPTY, face - first).astype(np.int32),
        np.ascontiguousarray(barycentric, np.float32),
        np.ascontiguousarray(depth, np.float32),
    )


def in_parallel(work: Callable[[int], Any], count: int, threads: int | None = None) -> None:
    """Call `work(0)` ... `work(count - 1)`, which release the lock, on all cores."""
    if min(threads or _cores(), count) < 2:
        for index in range(count):
            work(index)
    else:
        list(_pool(threads or _cores()).map(work, range(count)))


def _share(
    work: Callable[[int, int, int], None], count: int, size: int, threads: int | None
) -> None:
    """Call `work(image, first row, last row)` for every image, a single one in bands."""
    if count != 1:
        in_parallel(lambda image: work(image, 0, size), count, threads)
        return
    bands = min(threads or _cores(), size)
    edges = [round(size * k / bands) for k in range(bands + 1)]
    in_parallel(lambda k: work(0, edges[k], edges[k + 1]), bands, threads)


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="rasterizer")


@lru_cache(maxsize=1)
def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


if hasattr(os, "register_at_fork"):  # a forked process has no threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _checked_faces(faces: NDArray[np.integer], count: int) -> NDArray[np.int32]:
    """Faces as the compiled loops, which check nothing, need them."""
    faces = np.ascontiguousarray(faces, np.int32)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces are {faces.shape}, (F, 3) is needed")
    if len(faces) and not (faces.min() >= 0 and faces.max() < count):
        raise ValueError(f"faces name vertex {faces.max()} of {count}")
    return faces


@njit(cache=True, nogil=True)
def _draw(
    vertices: NDArray[np.float32],
    faces: NDArray[np.int32],
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    depth: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Draw rows first .. last - 1 of one image into arrays that hold EMPTY."""
    size = face.shape[1]
    one, zero, tiny = np.float32(1), np.float32(0), np.float32(1e-8)
    half = np.float32(0.5 * size)
    step = np.float32(2) / np.float32(size)
    edge = np.float32(0.5)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
        cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
        low, high = min(ax, bx, cx), max(ax, bx, cx)
        top, bottom = min(ay, by, cy), max(ay, by, cy)
        # written so that a coordinate that is not a number leaves the triangle out
        if not (low < one and high > -one and top < one and bottom > -one):
            continue
        if not (az >= tiny and bz >= tiny and cz >= tiny):
            continue
        area = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
        if not (area > tiny or area < -tiny):
            continue
        column_from = max(0, int(np.ceil((max(low, -one) + one) * half - edge)))
        column_to = min(size - 1, int(np.floor((min(high, one) + one) * half - edge)))
        row_from = max(first, int(np.ceil((max(top, -one) + one) * half - edge)))
        row_to = min(last - 1, int(np.floor((min(bottom, one) + one) * half - edge)))
        divisor = area + tiny
        sign = one if divisor > zero else -one
        for row in range(row_from, row_to + 1):
            y = (np.float32(row) + edge) * step - one
            for column in range(column_from, column_to + 1):
                x = (np.float32(column) + edge) * step - one
                u = (x - bx) * (cy - by) - (y - by) * (cx - bx)
                v = (x - cx) * (ay - cy) - (y - cy) * (ax - cx)
                w = (x - ax) * (by - ay) - (y - ay) * (bx - ax)
                if u * sign > zero and v * sign > zero and w * sign > zero:
                    u, v, w = u / divisor, v / divisor, w / divisor
                    z = u * az + v * bz + w * cz
                    if face[row, column] < 0 or z < depth[row, column]:
                        face[row, column] = t
                        depth[row, column] = z
                        barycentric[row, column, 0] = u
                        barycentric[row, column, 1] = v
                        barycentric[row, column, 2] = w


@njit(cache=True, nogil=True)
def _spread(
    seen: NDArray[np.int32],
    weights: NDArray[np.float32],
    faces: NDArray[np.int32],
    attributes: NDArray[np.float32],
    result: NDArray[np.float32],
) -> None:
    """Interpolate (V, C) attributes over (H, W) pixels into zeros."""
    height, width, count = result.shape
    for row in range(height):
        for column in range(width):
            t = seen[row, column]
            if t < 0:
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            u, v, w = weights[row, column, 0], weights[row, column, 1], weights[row, column, 2]
            for k in range(count):
                result[row, column, k] = (
                    u * attributes[a, k] + v * attributes[b, k] + w * attributes[c, k]
                )
