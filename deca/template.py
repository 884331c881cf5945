"""Template: the texture layout of the head mesh (DECA's head_template.obj)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.rasterizer import Fragments, interpolate, rasterize
from ned.core.errors import AssetError

TEXELS = 256  # side of detail maps


@dataclass(frozen=True, eq=False)
class HeadTemplate:
    """Where the head's triangles lie in the texture.

    Attributes:
        faces: (F, 3) int32 vertices of the mesh. uv_faces: (F, 3) int32 rows of `uv`.
        uv: (N, 2) float32 in [0, 1], v upward.
    """

    faces: NDArray[np.int32]
    uv_faces: NDArray[np.int32]
    uv: NDArray[np.float32]

    @cached_property
    def grid(self) -> NDArray[np.float32]:
        """(N, 2) places in a map, x right and y down, from -1 at its one edge to 1."""
        return np.stack([2 * self.uv[:, 0] - 1, 1 - 2 * self.uv[:, 1]], axis=1)

    @cached_property
    def texels(self) -> Fragments:
        """Which triangle each texel of a 256-pixel map belongs to; drawn once."""
        flat = np.concatenate([self.grid, np.ones_like(self.grid[:, :1])], axis=1)
        return rasterize(flat[None], self.uv_faces, TEXELS)

    def spread(self, attributes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Attributes of mesh vertices (B, V, C) over the texels: (B, 256, 256, C)."""
        seen, weights, depth = self.texels.face, self.texels.barycentric, self.texels.depth
        count = len(attributes)
        repeated = Fragments(
            np.broadcast_to(seen, (count, *seen.shape[1:])),
            np.broadcast_to(weights, (count, *weights.shape[1:])),
            np.broadcast_to(depth, (count, *depth.shape[1:])),
        )
        return interpolate(repeated, self.faces, attributes)


def load_template(path: Path) -> HeadTemplate:
    """Read an .obj file of triangles with texture coordinates.

    Raises:
        AssetError: It is missing, damaged, or has no texture coordinates.
    """
    uv: list[tuple[float, float]] = []
    corners: list[list[list[str]]] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] == ["vt"]:
                uv.append((float(words[1]), float(words[2])))
            elif words[:1] == ["f"]:
                corners.append([word.split("/")[:2] for word in words[1:]])
        indices = np.array(corners, np.int64) - 1
        if indices.ndim != 3 or indices.shape[1:] != (3, 2):
            raise ValueError("its faces are no triangles with texture coordinates")
        if indices.min() < 0 or indices[..., 1].max() >= len(uv):
            raise ValueError(f"a face names more than its {len(uv)} texture coordinates")
    except (OSError, ValueError, IndexError) as error:
        raise AssetError(
            f"'{path}' is no head template ({error}); head_template.obj of DECA is needed"
        ) from error
    faces, uv_faces = indices[..., 0].astype(np.int32), indices[..., 1].astype(np.int32)
    return HeadTemplate(np.ascontiguousarray(faces), uv_faces, np.array(uv, np.float32))
