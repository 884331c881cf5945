"""Made-up FLAME files: the layout of the licensed ones, with shapes from formulas.

    files = write_flame_files(folder)            # a small head, always possible
    files = write_flame_files(folder, "full")    # FLAME's topology, where its free files are

"tiny" is an egg with a nose and a mouth line (578 vertices). "full" takes vertices, faces and
texture coordinates from head_template.obj in NED_FLAME_SUPPORT (default shared/flame_support beside
the repository) and copies that folder's landmark embeddings and texture-space files; it skips the
test where the folder is missing. Bases, joints and skinning weights are formulas in both.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from places import ROOT

from ned.core.face.mesh import load_mesh

Array = NDArray[np.float64]
IDENTITY, EXPRESSION = 300, 100
# MediaPipe's points where the 51 inner landmarks of the 68-point scheme lie, and its lower oval.
INNER = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)
OVAL = (127, 234, 93, 132, 58, 172, 136, 150, 152, 379, 365, 397, 288, 361, 323, 454, 356)
# The 105 points of the published MediaPipe embedding.
EMBEDDED = (
    *(276, 282, 283, 285, 293, 295, 296, 300, 334, 336, 46, 52, 53, 55, 63, 65, 66, 70, 105, 107),
    *(249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466, 7, 33, 133),
    *(144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246, 168, 6, 197, 195, 5, 4),
    *(129, 98, 97, 2, 326, 327, 358, 0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88),
    *(91, 95, 146, 178, 181, 185, 191, 267, 269, 270, 291, 308, 310, 311, 312, 314, 317, 318),
    *(321, 324, 375, 402, 405, 409, 415),
)
_EYES = 0.09  # metres between the outer corners of the eyes


@dataclass(frozen=True)
class FlameFiles:
    """Where the files of one made-up FLAME lie.

    Attributes:
        folder: the folder of all of them, under their usual names.
        flame: generic_model.pkl, as Python 2 writes it, with a chumpy template.
        landmarks: landmark_embedding.npy, a pickled dict with two torch tensors in it.
        mediapipe: mediapipe_landmark_embedding.npz.
        head_template: head_template.obj with texture coordinates.
        displacement: fixed_displacement_256.npy.
        uv_mask: uv_face_eye_mask.png.
        template: (V, 3) float64 metres, x to the subject's left, y up, z forward.
        faces: (F, 3) int64.
    """

    folder: Path
    flame: Path
    landmarks: Path
    mediapipe: Path
    head_template: Path
    displacement: Path
    uv_mask: Path
    template: Array
    faces: NDArray[np.int64]


def write_flame_files(folder: Path, topology: Literal["tiny", "full"] = "tiny") -> FlameFiles:
    """Write a made-up FLAME and its companions into `folder`; same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "flame": folder / "generic_model.pkl",
        "landmarks": folder / "landmark_embedding.npy",
        "mediapipe": folder / "mediapipe_landmark_embedding.npz",
        "head_template": folder / "head_template.obj",
        "displacement": folder / "fixed_displacement_256.npy",
        "uv_mask": folder / "uv_face_eye_mask.png",
    }
    if topology == "full":
        source = flame_support()
        for path in files.values():
            if path != files["flame"]:
                shutil.copyfile(source / path.name, path)
        template, faces = _read_obj(files["head_template"])
    else:
        template, faces, texture, corners = tiny_head()
        _write_obj(files["head_template"], template, faces, texture, corners)
        template = np.round(template, 9)
        _write_companions(files, template, faces)
    lists = np.load(files["landmarks"], allow_pickle=True).item()
    corners = template[faces[np.asarray(lists["static_lmk_faces_idx"])]]
    points = (corners * np.asarray(lists["static_lmk_bary_coords"])[..., None]).sum(1)
    mouth = float(points[43:, 1].mean())  # the inner lips
    files["flame"].write_bytes(python2_pickle(flame_dictionary(template, faces, mouth)))
    return FlameFiles(folder, **files, template=template, faces=faces)


def flame_support() -> Path:
    """The folder of FLAME's freely downloadable files; skips the test where there is none."""
    root = ROOT
    folder = Path(os.environ.get("NED_FLAME_SUPPORT") or root.parent / "shared" / "flame_support")
    if not (folder / "head_template.obj").is_file():
        pytest.skip(f"needs head_template.obj in {folder}; set NED_FLAME_SUPPORT to such a folder")
    return folder


def flame_dictionary(
    template: Array, faces: NDArray[np.int64], mouth: float = -0.045
) -> dict[str, Any]:
    """The entries of a FLAME pickle for any head that looks along z.

    Args:
        mouth: height in metres of the line between the lips; what is below moves with the jaw.
    """
    centre = template.mean(0)
    unit = (template - centre) / 0.1
    regressor = np.zeros((5, len(unit)))
    places = (
        (0, -1.4, -0.3),
        (0, -0.9, -0.2),
        (0, -0.1, 0.1),
        (0.33, 0.25, 0.5),
        (-0.33, 0.25, 0.5),
    )
    for joint, place in enumerate(places):
        nearest = np.argsort(((unit - place) ** 2).sum(1), kind="stable")[:16]
        regressor[joint, nearest] = 1 / 16
    jaw = _step(((mouth - centre[1]) / 0.1 - unit[:, 1]) / 0.02) * _step((unit[:, 2] - 0.1) / 0.15)
    neck = _step((unit[:, 1] + 1.0) / 0.2)
    eyes = [0.9 * np.exp(-(((unit - q) / 0.12) ** 2).sum(1)) for q in places[3:]]
    skin = (1 - jaw) * (1 - eyes[0]) * (1 - eyes[1])
    weights = np.stack([skin * (1 - neck), skin * neck, jaw, *eyes], axis=1)
    weights /= weights.sum(1, keepdims=True)

    index = np.arange(IDENTITY)
    waves = 0.9 * np.stack([index % 3, 1 + index // 3 % 3, index // 9 % 4], axis=0)
    phase = unit @ waves + 0.9 * index
    identity = np.stack([np.sin(phase + 2.2 * axis) for axis in range(3)], axis=1)
    identity *= 0.004 / (1 + 0.08 * index)

    index = np.arange(EXPRESSION)
    angle = 2.4 * index  # centres on a sunflower over the face, brows to chin
    reach = np.sqrt((index % 25 + 0.5) / 25)
    centres = np.stack([0.5 * reach * np.cos(angle), 0.6 * reach * np.sin(angle) - 0.15], axis=1)
    apart = ((unit[:, None, :2] - centres) ** 2).sum(-1)
    bumps = np.exp(-apart / 0.12) * _step((unit[:, 2:] - 0.2) / 0.1)
    ways = np.stack([np.cos(1.7 * index), np.sin(1.7 * index), 0.5 * np.cos(index)], axis=0)
    expression = bumps[:, None, :] * ways * 0.004 / (1 + 0.04 * index)

    turns = np.arange(36)
    phase = unit @ np.stack([1 + turns % 2, 1 + turns // 2 % 2, turns // 4 % 2], axis=0) + turns
    poses = np.stack([np.cos(phase + axis) for axis in range(3)], axis=1) * 0.001
    return {
        "v_template": template,
        "f": faces.astype(np.uint32),
        "shapedirs": np.concatenate([identity, expression], axis=2),
        "posedirs": poses,
        "weights": weights,
        "J_regressor": scipy.sparse.csc_matrix(regressor),
        "J": regressor @ template,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


def tiny_head(rows: int = 25, columns: int = 24) -> tuple[Array, NDArray[np.int64], Array, Any]:
    """An egg that looks along z: vertices, faces, texture coordinates (seam doubled), its faces."""
    polar = np.pi * np.arange(1, rows) / rows
    around = 2 * np.pi * np.arange(columns) / columns - np.pi
    across, up, forward = (
        0.08 * np.sin(polar)[:, None] * np.sin(around),
        0.12 * np.cos(polar)[:, None] * np.ones_like(around),
        0.095 * np.sin(polar)[:, None] * np.cos(around),
    )
    nose = 0.022 * np.exp(-((across / 0.012) ** 2) - ((up + 0.005) / 0.02) ** 2)
    lips = 0.006 * np.exp(-((across / 0.025) ** 2) - ((up + 0.045) / 0.01) ** 2)
    forward = forward + (forward > 0) * (nose + lips)
    ring = np.stack([across, up, forward], axis=2).reshape(-1, 3)
    vertices = np.concatenate([[[0, 0.12, 0]], ring, [[0, -0.12, 0]]])
    texture = [(j / columns, 1 - i / rows) for i in range(1, rows) for j in range(columns + 1)]
    poles = len(texture)
    texture += [((j + 0.5) / columns, end) for end in (1.0, 0.0) for j in range(columns)]

    def vertex(i: int, j: int) -> int:
        return 1 + (i - 1) * columns + j % columns

    def corner(i: int, j: int) -> int:
        return (i - 1) * (columns + 1) + j

    faces, corners = [], []
    for j in range(columns):
        faces.append((0, vertex(1, j), vertex(1, j + 1)))
        corners.append((poles + j, corner(1, j), corner(1, j + 1)))
        for i in range(1, rows - 1):
            for a, b, c in (((0, 0), (1, 0), (0, 1)), ((0, 1), (1, 0), (1, 1))):
                faces.append(tuple(vertex(i + p, j + q) for p, q in (a, b, c)))
                corners.append(tuple(corner(i + p, j + q) for p, q in (a, b, c)))
        faces.append((vertex(rows - 1, j), len(vertices) - 1, vertex(rows - 1, j + 1)))
        corners.append((corner(rows - 1, j), poles + columns + j, corner(rows - 1, j + 1)))
    return vertices, np.array(faces), np.array(texture), np.array(corners)


def embed(template: Array, faces: NDArray[np.int64], points: Array) -> tuple[Any, Any]:
    """Faces and barycentric coordinates of the front surface at (n, 2) x, y in metres."""
    corners = template[faces]
    a, b, c = (corners[:, k, :2] for k in range(3))
    area = _cross(b - a, c - a)
    sides = np.array(
        [[_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)] for p in points]
    ).transpose(0, 2, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = sides / area[None, :, None]
    worst = np.where((area > 1e-9) & (corners[:, :, 2].mean(1) > 0), weights.min(2), -np.inf)
    chosen = worst.argmax(1)
    picked = np.clip(weights[np.arange(len(points)), chosen], 0, 1)
    return chosen.astype(np.int64), picked / picked.sum(1, keepdims=True)


class Ch:
    """Looks to a pickle like chumpy's arrays, which FLAME's files hold."""

    def __init__(self, x: NDArray[Any]) -> None:
        self.x = x
        self._dirty_vars: set[str] = set()


def chumpy_like(array: NDArray[Any]) -> Ch:
    """An object that pickles as a chumpy.ch.Ch around `array`; chumpy is not needed."""
    if "chumpy.ch" not in sys.modules:
        sys.modules["chumpy"] = ModuleType("chumpy")
        sys.modules["chumpy.ch"] = module = ModuleType("chumpy.ch")
        Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
        module.Ch = Ch  # type: ignore[attr-defined]
    return Ch(array)


def python2_pickle(flame: dict[str, Any]) -> bytes:
    """A FLAME dictionary as Python 2 wrote it: byte strings, old module names, chumpy arrays."""
    wrapped = dict(flame)
    for name in ("v_template", "shapedirs", "weights"):
        wrapped[name] = chumpy_like(flame[name])
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(wrapped)
    return stream.getvalue().replace(b"scipy.sparse._csc\n", b"scipy.sparse.csc\n")


_Pickler: Any = vars(pickle)["_Pickler"]  # the one in Python, whose methods can be replaced


class _Python2Pickler(_Pickler):
    """Text and bytes as Python 2's `str`."""

    dispatch: ClassVar[dict[Any, Any]] = dict(_Pickler.dispatch)

    def _save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        short = len(data) < 256
        head = b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))
        self.write(head + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_string


def _write_companions(files: dict[str, Path], template: Array, faces: NDArray[np.int64]) -> None:
    """Landmark embeddings and texture-space files of the tiny head."""
    import cv2
    import torch

    places = load_mesh().neutral[:, :2].astype(np.float64) * _EYES + (0, 0.025)
    inner = embed(template, faces, places[list(INNER)])
    whole = embed(template, faces, places[[*OVAL, *INNER]])
    rows = []
    for row in range(79):
        yaw = np.radians(row if row < 40 else 39 - row)
        width, depth = np.cos(yaw), np.sin(yaw)  # the outline seen from the side
        turned = template @ np.array([[width, 0, -depth], [0, 1, 0], [depth, 0, width]])
        rows.append(embed(turned, faces, places[list(OVAL)] * 0.97))
    lists = {
        "static_lmk_faces_idx": inner[0],
        "static_lmk_bary_coords": inner[1],
        "dynamic_lmk_faces_idx": torch.from_numpy(np.stack([row[0] for row in rows])),
        "dynamic_lmk_bary_coords": torch.from_numpy(np.float32(np.stack([r[1] for r in rows]))),
        "full_lmk_faces_idx": whole[0][None],
        "full_lmk_bary_coords": whole[1][None].astype(np.float32),
    }
    np.save(files["landmarks"], lists, allow_pickle=True)  # type: ignore[arg-type]
    chosen, weights = embed(template, faces, places[list(EMBEDDED)])
    np.savez(
        files["mediapipe"],
        lmk_face_idx=chosen.astype(np.uint32),
        lmk_b_coords=weights,
        landmark_indices=np.array(EMBEDDED),
    )
    y, x = np.mgrid[0:256, 0:256] / 256
    oval = np.hypot((x - 0.5) / 0.2, (y - 0.5) / 0.4)
    mask = np.rint(255 * np.clip((1.1 - oval) / 0.2, 0, 1)).astype(np.uint8)
    cv2.imwrite(str(files["uv_mask"]), np.dstack([mask, mask, mask, np.full_like(mask, 255)]))
    np.save(files["displacement"], 2e-4 * np.sin(9 * x + 3) * np.cos(7 * y))


def _write_obj(
    path: Path, vertices: Array, faces: NDArray[np.int64], texture: Array, corners: Any
) -> None:
    lines = [f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in vertices]
    lines += [f"vt {u:.9f} {v:.9f}" for u, v in texture]
    for face, corner in zip(faces + 1, corners + 1, strict=True):
        lines.append("f " + " ".join(f"{a}/{b}" for a, b in zip(face, corner, strict=True)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_obj(path: Path) -> tuple[Array, NDArray[np.int64]]:
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    vertices = np.array([line[1:4] for line in lines if line and line[0] == "v"], float)
    faces = [[int(p.split("/")[0]) for p in line[1:4]] for line in lines if line and line[0] == "f"]
    return np.round(vertices - vertices.mean(0), 9), np.array(faces) - 1


def _cross(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _step(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
