"""Memory: an actor's own frames, found again by their expression and moved onto another face.

What a warp cannot know (teeth, the inside of a mouth, furrows) the actor has often shown. The frame
whose mouth is most alike and the frame whose brows and eyes are most alike, both moved onto the
wanted face, are put together at the nose: one picture of how this actor looks with this expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from ned.core.errors import InputError, quoted
from ned.core.files.partial import publish_bytes
from ned.core.files.tensor_files import read_tensors
from renderer.warp.renderer import FaceEdit, WarpRenderer

MOST = 300  # frames that are kept: 59 MB at 256 pixels

_FORMAT = "ned-memory-1"
_POINTS = 478  # of a tracked face, irises included
# Mesh points whose places in the head tell a mouth, and brows, lids and the nose's root.
_MOUTH = (61, 291, 0, 17, 13, 14, 37, 267, 40, 270, 91, 321, 84, 314, 78, 308, 152)
_UPPER = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 33, 159, 145, 133, 362, 386, 374, 263)
_TURN = 0.15  # face units that a turn of the head by one radian counts
_GAZE = 0.1  # the same of a gaze by one eye width, for the upper half
_SWITCH = 0.06  # face units by which another frame must be better before it takes over
_FADE = np.array([0.1, 0.2, 0.4, 0.2, 0.1])  # shares of frames near by where it takes over
_FAR = 16  # part of a side by which a pixel has come so far that more makes no difference
_SEAM = (195, 2)  # from the upper to the lower picture, between these points of the nose

Recalled = list[tuple[int, float]]  # frames of a memory and their shares, which sum to 1


@dataclass(frozen=True, eq=False)
class ExpressionDescriptors:
    """What T faces look like, in numbers by which frames with a like expression are found.

    Attributes:
        mouth: (T, M) places in the head, face units. upper: (T, N) the same, and the gaze.
        rotation: (T, 3, 3) head-to-camera.
    """

    mouth: NDArray[np.float32]
    upper: NDArray[np.float32]
    rotation: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        units: NDArray[np.floating],
        gaze: NDArray[np.floating],
        rotation: NDArray[np.floating],
        rig: Rig,
    ) -> ExpressionDescriptors:
        """Of units (T, U), gaze (T, 2, 2) as in a performance, and rotation (T, 3, 3)."""
        count = len(units)
        moved = rig.displacement(np.asarray(units, np.float32))
        eyes = _GAZE * np.asarray(gaze, np.float32).reshape(count, -1)
        upper = np.concatenate([moved[:, _UPPER].reshape(count, -1), eyes], axis=1)
        return cls(moved[:, _MOUTH].reshape(count, -1), upper, np.asarray(rotation, np.float32))

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> ExpressionDescriptors:
        return ExpressionDescriptors(self.mouth[rows], self.upper[rows], self.rotation[rows])

    def distances(
        self, other: ExpressionDescriptors
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(T, n) distances of mouths and of upper halves to n others, in face units."""
        turned = _TURN * angles(self.rotation, other.rotation)
        return _distance(self.mouth, other.mouth) + turned, _distance(
            self.upper, other.upper
        ) + 2 * turned


@dataclass(frozen=True, eq=False)
class Memory:
    """Crops of n frames of one actor.

    Attributes:
        pictures: (n, S, S, 3) uint8 RGB. landmarks: (n, 478, 3) float32 crop pixels.
        descriptors: what they are found by.
    """

    pictures: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    descriptors: ExpressionDescriptors

    def __len__(self) -> int:
        return len(self.pictures)

    def recall(self, wanted: ExpressionDescriptors) -> list[tuple[Recalled, Recalled]]:
        """For each of T frames that follow each other, what its mouth and its upper half recall.

        A frame stays until another is clearly better (Viterbi's algorithm with a price for a
        change), then they are faded over five frames, so that pictures do not jump.
        """
        mouth, upper = wanted.distances(self.descriptors)
        return list(zip(_faded(_path(mouth)), _faded(_path(upper)), strict=True))

    def picture(
        self,
        recalled: tuple[Recalled, Recalled],
        landmarks: NDArray[np.float32],
        rotation: NDArray[np.float32],
        warp: WarpRenderer,
    ) -> NDArray[np.uint8]:
        """What was recalled, moved onto a face (478, 3) of that rotation (3, 3), as of `onto`."""
        size = self.pictures.shape[1]
        moved = {
            k: onto(self.pictures[k], self.landmarks[k], landmarks, rotation, warp)
            for k in {k for part in recalled for k, _ in part}
        }
        lower, upper = (
            np.sum([share * moved[k].astype(np.float32) for k, share in part], axis=0)
            for part in recalled
        )
        top, bottom = (float(landmarks[point, 1]) for point in _SEAM)
        rows = np.arange(size, dtype=np.float32) + 0.5
        share = np.clip((rows - top) / max(bottom - top, 1.0), 0, 1)[:, None, None]
        return (upper + (lower - upper) * share + 0.5).astype(np.uint8)

    def save(self, path: Path) -> None:
        """Write one .safetensors file atomically; raises OutputError."""
        from safetensors.numpy import save

        tensors = {
            "pictures": self.pictures,
            "landmarks": self.landmarks,
            "mouth": self.descriptors.mouth,
            "upper": self.descriptors.upper,
            "rotation": self.descriptors.rotation,
        }
        packed = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        publish_bytes(path, save(packed, {"format": _FORMAT}))

    @classmethod
    def load(cls, path: Path) -> Memory:
        """Read what `save` wrote; raises InputError if it is missing or something else."""
        try:
            header, values = read_tensors(path)
            if header.get("format") != _FORMAT:
                raise InputError(f"{quoted(path)} is not a memory of an actor's frames")
            descriptors = ExpressionDescriptors(
                values["mouth"], values["upper"], values["rotation"]
            )
            memory = cls(values["pictures"], values["landmarks"], descriptors)
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{quoted(path)} is missing or damaged; train the actor's model again"
            ) from error
        _check(memory, path)
        return memory


def chosen(descriptors: ExpressionDescriptors, most: int = MOST) -> NDArray[np.int64]:
    """Rows of frames worth remembering, in order: as different as can be (farthest points)."""
    count = len(descriptors.mouth)
    if count <= most:
        return np.arange(count)
    kept = [0]
    nearest = _apart(descriptors, 0)
    for _ in range(most - 1):
        kept.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _apart(descriptors, kept[-1]))
    return np.sort(np.array(kept))


def onto(
    picture: NDArray[np.uint8],
    landmarks: NDArray[np.float32],
    wanted: NDArray[np.float32],
    rotation: NDArray[np.float32],
    warp: WarpRenderer,
) -> NDArray[np.uint8]:
    """A crop (S, S, 3) whose face (478, 3) is moved onto a wanted one of a rotation (3, 3).

    Returns:
        (S, S, 4): the picture, and how far each pixel came (see `edited`).
    """
    moves = (wanted[:468, :2] - landmarks[:468, :2]).astype(np.float32)
    return edited(picture, FaceEdit(landmarks, rotation, moves), warp)


def edited(picture: NDArray[np.uint8], edit: FaceEdit, warp: WarpRenderer) -> NDArray[np.uint8]:
    """An RGB picture (S, S, 3) with one edit.

    Returns:
        (S, S, 4): the picture, and how far each pixel came, 255 for 1/16 of the side or more: what
        was moved far is the less to be trusted.
    """
    channels = tuple(np.ascontiguousarray(picture[..., k]) for k in range(3))
    planes = warp.render(channels, [edit], 0, 128)  # type: ignore[arg-type]
    share = warp.moved(edit, picture.shape) * (_FAR / len(picture))
    layers = [*planes, 255 * np.minimum(share, 1)]
    return np.stack([layer.astype(np.uint8) for layer in layers], axis=-1)


def angles(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, n) radians between rotations (T, 3, 3) and (n, 3, 3)."""
    trace = np.einsum("tij,nij->tn", one, other)
    return np.arccos(np.clip((trace - 1) / 2, -1, 1)).astype(np.float32)


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0))


def _apart(descriptors: ExpressionDescriptors, row: int) -> NDArray[np.float32]:
    mouth, upper = descriptors.distances(descriptors[np.array([row])])
    return (mouth + upper)[:, 0]


def _path(cost: NDArray[np.float32]) -> NDArray[np.int64]:
    """(T,) columns of the cheapest way through (T, n) with a price for every change."""
    count = len(cost)
    came = np.zeros(cost.shape, np.int64)
    total = cost[0].astype(np.float64)
    for row in range(1, count):
        best = int(total.argmin())
        stays = total <= total[best] + _SWITCH
        came[row] = np.where(stays, np.arange(cost.shape[1]), best)
        total = np.where(stays, total, total[best] + _SWITCH) + cost[row]
    path = np.zeros(count, np.int64)
    path[-1] = int(total.argmin())
    for row in range(count - 1, 0, -1):
        path[row - 1] = came[row, path[row]]
    return path


def _faded(path: NDArray[np.int64]) -> list[Recalled]:
    reach = len(_FADE) // 2
    result = []
    for row in range(len(path)):
        shares: dict[int, float] = {}
        for shift, share in zip(range(-reach, reach + 1), _FADE, strict=True):
            key = int(path[min(max(row + shift, 0), len(path) - 1)])
            shares[key] = shares.get(key, 0.0) + float(share)
        result.append(sorted(shares.items()))
    return result


def _check(memory: Memory, path: Path) -> None:
    shape, descriptors = memory.pictures.shape, memory.descriptors
    count = shape[0]
    fits = (
        len(shape) == 4
        and shape[1] == shape[2]
        and shape[3] == 3
        and count > 0
        and memory.pictures.dtype == np.uint8
        and memory.landmarks.shape == (count, _POINTS, 3)
        and all(
            len(part) == count
            for part in (descriptors.mouth, descriptors.upper, descriptors.rotation)
        )
    )
    if not fits:
        raise InputError(f"{quoted(path)} does not hold what a memory holds; train again")
