"""Performance: what a face does in every frame of a clip, in numbers that can be directed."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError
from ned.core.face.track import PLAIN, Track
from ned.core.files.partial import publish_bytes

_FORMAT = "ned-performance-1"
_FLIP = np.array([1, -1, -1], np.float32)  # head axes (y up, z to the camera) to image axes


@dataclass
class Performance:
    """One face through a clip: identity, expression units, head pose, gaze, and the track they fit.

    A face point p (face units, y up, z toward the camera) lies in upright image pixels at
    `scale * flip(rotation @ p) + translation` with flip = diag(1, -1, -1): weak perspective.
    Frames without a face hold zeros; `track.confidence` tells them.

    Attributes:
        face_model: "rig" (or "flame", later).
        unit_names: (U) names of the columns of `units`; jaw opening is among them.
        identity: (V, 3) float32 neutral face of this actor, face units.
        units: (T, U) float32 expression activations, non-negative, 1 = strong.
        rotation: (T, 3, 3) float32 head-to-camera rotation.
        scale: (T,) float32 pixels per face unit (distance of the outer eye corners).
        translation: (T, 2) float32 pixels.
        gaze: (T, 2, 2) float32 iris centre of the right, left eye relative to the middle of its
            corners, in eye widths (x to the image's right, y up).
        track: the landmarks that were fitted.
        directed: (T, U) float32 units after directing, None before.
    """

    face_model: str
    unit_names: tuple[str, ...]
    identity: NDArray[np.float32]
    units: NDArray[np.float32]
    rotation: NDArray[np.float32]
    scale: NDArray[np.float32]
    translation: NDArray[np.float32]
    gaze: NDArray[np.float32]
    track: Track
    directed: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.units)

    @property
    def times(self) -> NDArray[np.float64]:
        """(T,) presentation times in seconds."""
        return self.track.times

    @property
    def yaw(self) -> NDArray[np.float32]:
        """(T,) turn of the head away from the camera in degrees, positive toward the image's right.

        The angle of the face's forward axis to the camera's, left to right.
        """
        forward = self.rotation[:, :, 2]
        return np.degrees(np.arctan2(forward[:, 0], forward[:, 2]))

    @property
    def pitch(self) -> NDArray[np.float32]:
        """(T,) nod of the head in degrees, positive upward."""
        forward = self.rotation[:, :, 2]
        return np.degrees(np.arctan2(forward[:, 1], np.hypot(forward[:, 0], forward[:, 2])))

    def image_from_head(
        self, points: NDArray[np.floating], start: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        """(V, 3) or (n, V, 3) face points -> (n, V, 3) pixels and depth of frames [start, stop)."""
        rotation, scale = self.rotation[start:stop], self.scale[start:stop]
        turned = np.asarray(points, np.float32) @ rotation.transpose(0, 2, 1)
        image = turned * (_FLIP * scale[:, None, None])
        image[..., :2] += self.translation[start:stop, None, :]
        return image

    def check(self) -> None:
        """Raise ValueError unless every array has the shape that the others ask for."""
        count, units = len(self.track), len(self.unit_names)
        wanted = {
            "identity": (self.identity.shape[0], 3),
            "units": (count, units),
            "rotation": (count, 3, 3),
            "scale": (count,),
            "translation": (count, 2),
            "gaze": (count, 2, 2),
        }
        if self.directed is not None:
            wanted["directed"] = (count, units)
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"{name} is {array.dtype} {array.shape}")

    def save(self, path: Path) -> None:
        """Write one .safetensors file atomically; raises OutputError."""
        from safetensors.numpy import save

        tensors = {
            f.name: np.ascontiguousarray(getattr(self, f.name))
            for f in fields(self)
            if f.name not in ("face_model", "unit_names", "track")
            and getattr(self, f.name) is not None
        }
        for f in fields(self.track):
            if f.name not in PLAIN:
                tensors[f"track.{f.name}"] = np.ascontiguousarray(getattr(self.track, f.name))
        header = {
            "format": _FORMAT,
            "face_model": self.face_model,
            "unit_names": json.dumps(self.unit_names),
            "size": json.dumps(self.track.size),
            "clip": self.track.clip,
        }
        publish_bytes(path, save(tensors, header))

    @classmethod
    def load(cls, path: Path) -> Performance:
        """Read a saved performance; raises InputError if it is missing or something else."""
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise InputError(
                f"performance '{path}' does not exist; make it with --save-performance"
            )
        try:
            with safe_open(path, "numpy") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"'{path}' is not a performance file: {error}") from error
        if header.get("format") != _FORMAT:
            raise InputError(f"'{path}' is not a performance file of format {_FORMAT}")
        parts = {n.removeprefix("track."): a for n, a in tensors.items() if n.startswith("track.")}
        own = {n: a for n, a in tensors.items() if not n.startswith("track.")}
        try:
            width, height = json.loads(header["size"])
            track = Track(size=(width, height), clip=header.get("clip", ""), **parts).checked()
            performance = cls(
                face_model=header["face_model"],
                unit_names=tuple(json.loads(header["unit_names"])),
                track=track,
                **own,
            )
            performance.check()
            return performance
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise InputError(f"performance '{path}' is incomplete; make it again") from error
