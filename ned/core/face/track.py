"""Track: where one face is in every frame of a clip, and how sure we are of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted
from ned.core.files.json_files import parse_json
from ned.core.files.partial import publish_bytes
from ned.core.files.tensor_files import read_tensors

LANDMARKS = 478
MESH_POINTS = 468  # without the ten iris points
PLAIN = ("size", "clip")
"""Fields of a Track that are no arrays over time."""
_BROKEN = (KeyError, TypeError, ValueError, AttributeError)
_LEVELS = 65535
_FORMAT = "ned-track-1"
_TAPS = np.array([0.25, 0.5, 0.25], np.float32)  # of the mean that steadies
_MARGIN = 1.0  # landmarks may lie up to one box side outside of their box


@dataclass
class Track:
    """One face through a clip, in upright image pixels (x right, y down, pixel centres at .5).

    Landmarks are MediaPipe's 468 mesh points followed by 10 iris points. They are kept as 16-bit
    fractions of each frame's box (better than 1/20 pixel up to 1,000-pixel faces), so that a long
    take stays small; read them with `landmarks`.

    Attributes:
        size: (width, height) of the upright image in pixels.
        times: (T,) float64 presentation times in seconds.
        boxes: (T, 4) float32 x0, y0, x1, y1 around the 468 mesh points; NaN where there is no face.
        confidence: (T,) float32 in [0, 1]; 0 means no face in that frame.
        interpolated: (T,) bool, True where a short gap was filled from its neighbours.
        shots: (T,) int32 index of the shot (camera set-up between two cuts) of each frame.
        codes: (T, 478, 3) uint16, landmarks quantised inside their box.
        hidden: (T,) bool, True where something lies over the face: a hand, a card, a flash.
        clip: by what its film is known again, see `preprocessing.fingerprint`; empty if nothing.
    """

    size: tuple[int, int]
    times: NDArray[np.float64]
    boxes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    interpolated: NDArray[np.bool_]
    shots: NDArray[np.int32]
    codes: NDArray[np.uint16]
    hidden: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    clip: str = ""

    def __post_init__(self) -> None:
        if len(self.hidden) != len(self.times):
            self.hidden = np.zeros(len(self.times), bool)

    @classmethod
    def empty(cls, frame_count: int, size: tuple[int, int]) -> Track:
        """A track of `frame_count` frames in none of which a face was seen."""
        return cls(
            size=size,
            times=np.zeros(frame_count),
            boxes=np.full((frame_count, 4), np.nan, np.float32),
            confidence=np.zeros(frame_count, np.float32),
            interpolated=np.zeros(frame_count, bool),
            shots=np.zeros(frame_count, np.int32),
            codes=np.zeros((frame_count, LANDMARKS, 3), np.uint16),
        )

    @classmethod
    def joined(cls, parts: Sequence[Track]) -> Track:
        """Stretches of one track as one, in the given order."""
        arrays = {
            part.name: np.concatenate([getattr(one, part.name) for one in parts])
            for part in fields(cls)
            if part.name not in PLAIN
        }
        return cls(size=parts[0].size, clip=parts[0].clip, **arrays)

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Track:
        """The track of some frames."""
        arrays = {p.name: getattr(self, p.name)[rows] for p in fields(self) if p.name not in PLAIN}
        return Track(size=self.size, clip=self.clip, **arrays)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(T,) True where a face is known (seen or interpolated)."""
        return self.confidence > 0

    @property
    def mean_height(self) -> float:
        """Mean box height in pixels over the frames with a face; 0 without any."""
        heights = (self.boxes[:, 3] - self.boxes[:, 1])[self.present]
        return float(heights.mean()) if len(heights) else 0.0

    def landmarks(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Landmarks of frames [start, stop): (n, 478, 3) float32 pixels; NaN without a face.

        z is in pixels too, smaller is nearer to the camera, zero at the head's centre.
        """
        boxes = self.boxes[start:stop]
        origin, side = _code_frame(boxes)
        unit = self.codes[start:stop].astype(np.float32) / _LEVELS
        points = (unit * (1 + 2 * _MARGIN) - _MARGIN) * side[:, None, None]
        points += origin[:, None, :]
        return points

    def set_landmarks(self, frame: int, points: NDArray[np.float32]) -> None:
        """Store (478, 3) pixels for one frame and derive its box from the 468 mesh points."""
        self.boxes[frame], self.codes[frame] = encode_landmarks(points)

    def checked(self) -> Track:
        """The track itself.

        Raises:
            ValueError: It was read from a file that does not hold what a track is made of.
        """
        count = len(self.times)
        wanted = {
            "times": ((count,), "f"),
            "boxes": ((count, 4), "f"),
            "confidence": ((count,), "f"),
            "interpolated": ((count,), "b"),
            "shots": ((count,), "i"),
            "codes": ((count, LANDMARKS, 3), "u"),
            "hidden": ((count,), "b"),
        }
        for name, (shape, kind) in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind != kind:
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
        known = not np.isnan(self.times).all()  # those of imported frames are not
        if known and (not np.isfinite(self.times).all() or (np.diff(self.times) < 0).any()):
            raise ValueError("times are not in order")
        if not np.isfinite(self.boxes[self.present]).all():
            raise ValueError("boxes are not where a face is")
        if not all(type(side) is int and 0 < side < 1 << 20 for side in self.size):
            raise ValueError("its picture has no size")
        return self

    def save(self, path: Path) -> None:
        """Write one .safetensors file atomically; raises OutputError."""
        from safetensors.numpy import save

        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in PLAIN}
        tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        header = {"format": _FORMAT, "size": json.dumps(self.size), "clip": self.clip}
        publish_bytes(path, save(tensors, header))

    @classmethod
    def load(cls, path: Path) -> Track:
        """Read a saved track; raises InputError if it is missing or something else."""
        try:
            header, tensors = read_tensors(path)
            if header.get("format") != _FORMAT:
                raise InputError(f"{quoted(path)} is not a track of format {_FORMAT}")
            width, height = parse_json(header["size"])
            return cls(size=(width, height), clip=header.get("clip", ""), **tensors).checked()
        except _BROKEN as error:
            raise InputError(f"{quoted(path)} is not a track that can be read: {error}") from error


def encode_landmarks(
    points: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """The box (4,) and the codes (478, 3) that a Track keeps of landmarks (478, 3) in pixels."""
    box = np.concatenate([points[:MESH_POINTS, :2].min(0), points[:MESH_POINTS, :2].max(0)])
    box = box.astype(np.float32)
    origin, side = _code_frame(box[None])
    unit = ((points - origin[0]) / max(float(side[0]), 1e-6) + _MARGIN) / (1 + 2 * _MARGIN)
    return box, np.rint(np.clip(unit, 0, 1) * _LEVELS).astype(np.uint16)


def _code_frame(
    boxes: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Origin (n, 3) and side (n,) of the cube in which a box's landmarks are quantised."""
    side = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    origin = np.stack([boxes[:, 0], boxes[:, 1], -0.5 * side], axis=1)
    return origin.astype(np.float32), side.astype(np.float32)


def steady_landmarks(track: Track, start: int, stop: int) -> NDArray[np.float32]:
    """(n, 478, 3) pixels of frames [start, stop), a three-frame binomial mean within each shot.

    Only where an edit lies depends on them, not the picture itself; tracker noise of half a pixel
    is halved, and a real movement lags by nothing because the mean is symmetric.
    """
    first, last = max(0, start - 1), min(len(track), stop + 1)
    points = track.landmarks(first, last)
    present, shots = track.present[first:last], track.shots[first:last]
    frames = np.arange(min(start, last), min(stop, len(track))) - first
    total = np.zeros((len(frames), *points.shape[1:]), np.float32)
    for shift, tap in zip((-1, 0, 1), _TAPS, strict=True):
        others = np.clip(frames + shift, 0, len(points) - 1)
        usable = present[others] & (shots[others] == shots[frames])
        total += tap * points[np.where(usable, others, frames)]
    return total
