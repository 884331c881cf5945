"""FlameLandmarks: points on FLAME's surface, given by faces and barycentric coordinates."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted, reason
from ned.core.face.track import MESH_POINTS
from ned.core.files.pickles import load_pickle

_MOST_BYTES = 64 << 20  # of what an embedding's archive unpacks to; the real one has 10 kB
_BROKEN = (
    *(OSError, ValueError, LookupError, EOFError, TypeError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
CONTOUR_ROWS = 79  # yaw 0..39 degrees, then -1..-39
_SETS = {
    "static": (51,),
    "dynamic": (CONTOUR_ROWS, 17),
    "full": (68,),
}


@dataclass(frozen=True, eq=False)
class Embedding:
    """Points on a triangle mesh.

    Attributes:
        faces: (...) int64 index of each point's face.
        weights: (..., 3) float32 barycentric coordinates.
    """

    faces: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FlameLandmarks:
    """The 68 landmarks of FLAME.

    Attributes:
        static: 51 inner points (brows, nose, eyes, mouth).
        contour: (79, 17) points of the outline, one row per degree of yaw.
        full: 68 points that do not depend on the pose.
    """

    static: Embedding
    contour: Embedding
    full: Embedding


@dataclass(frozen=True, eq=False)
class MediapipeLandmarks:
    """Where points of MediaPipe's mesh lie on FLAME.

    Attributes:
        points: (N,) int64 indices into MediaPipe's 468 points; N is 105 as published.
        embedding: their places.
    """

    points: NDArray[np.int64]
    embedding: Embedding


def read_landmarks(path: Path, face_count: int) -> FlameLandmarks:
    """DECA's landmark_embedding.npy for a mesh of `face_count` triangles.

    Raises:
        InputError: the file is missing, no such embedding, or made for another mesh.
    """
    data = load_pickle(path)
    if not isinstance(data, dict) or "static_lmk_faces_idx" not in data:
        raise InputError(
            f"{quoted(path)} is no landmark embedding of FLAME; give DECA's landmark_embedding.npy"
        )
    sets = {}
    for name, shape in _SETS.items():
        faces, weights = data.get(f"{name}_lmk_faces_idx"), data.get(f"{name}_lmk_bary_coords")
        sets[name] = _embedding(path, name, faces, weights, shape, face_count)
    return FlameLandmarks(sets["static"], sets["dynamic"], sets["full"])


def read_mediapipe(path: Path, face_count: int) -> MediapipeLandmarks:
    """mediapipe_landmark_embedding.npz for a mesh of `face_count` triangles.

    Raises:
        InputError: the file is missing, no such embedding, or made for another mesh.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
                raise ValueError("it would unpack to far more than that")
        with np.load(path, allow_pickle=False) as file:
            points = np.asarray(file["landmark_indices"]).reshape(-1)
            faces, weights = file["lmk_face_idx"], file["lmk_b_coords"]
    except _BROKEN as error:
        raise InputError(
            f"{quoted(path)} is no MediaPipe embedding of FLAME ({reason(error)[:100]}); "
            "give mediapipe_landmark_embedding.npz"
        ) from error
    if points.dtype.kind not in "iu" or not ((points >= 0) & (points < MESH_POINTS)).all():
        raise InputError(f"{quoted(path)} names points that MediaPipe's mesh does not have")
    embedding = _embedding(path, "MediaPipe", faces, weights, points.shape, face_count)
    return MediapipeLandmarks(points.astype(np.int64), embedding)


def _embedding(
    path: Path, name: str, faces: Any, weights: Any, shape: tuple[int, ...], face_count: int
) -> Embedding:
    faces, weights = np.asarray(faces), np.asarray(weights)
    count = int(np.prod(shape))
    whole = faces.dtype.kind in "iu" and weights.dtype.kind == "f" and np.isfinite(weights).all()
    if not whole or faces.size != count or weights.size != 3 * count:
        raise InputError(
            f"{quoted(path)} is no landmark embedding of FLAME: its {name} points are "
            f"{faces.shape} and {weights.shape}, not {shape} and {(*shape, 3)}"
        )
    if count and not 0 <= int(faces.min()) <= int(faces.max()) < face_count:
        raise InputError(
            f"{quoted(path)} is made for another mesh: its {name} points name face "
            f"{int(faces.max())}, the FLAME model has {face_count}; give the files of one model"
        )
    return Embedding(
        np.ascontiguousarray(faces.reshape(shape), np.int64),
        np.ascontiguousarray(weights.reshape(*shape, 3), np.float32),
    )
