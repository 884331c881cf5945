"""FlameCodes: a face through a clip as FLAME parameters, whoever estimated them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError
from ned.core.files.partial import publish_bytes

Source = Literal["deca", "flame-fit", "import"]

SHAPE, EXPRESSION, POSE, CAMERA = 100, 50, 6, 3
JAW_OPENING = 3  # column of `pose` that opens the mouth

_FORMAT = "ned-flame-codes-1"
_SIZES: dict[str, tuple[int, ...]] = {
    "shape": (SHAPE,),
    "expression": (EXPRESSION,),
    "pose": (POSE,),
    "camera": (CAMERA,),
    "transforms": (3, 3),
    "image_size": (2,),
    "present": (),
    "frames": (),
    "texture": (50,),
    "light": (9, 3),
    "detail": (128,),
}
_OPTIONAL = ("texture", "light", "detail")
_TYPES = {"transforms": np.float64, "image_size": np.int32, "present": bool, "frames": np.int64}


@dataclass(frozen=True, eq=False)
class FlameCodes:
    """FLAME parameters of T frames, each with the map from its image crop to DECA's input.

    A head vertex (x, y, z) in metres lies at normalised device coordinates
    s · (x + tx, −y − ty) of a 224-pixel crop (y down), with camera = (s, tx, ty); the crop's pixel
    is 112 + 112 · coordinate, and `transforms` leads from image-crop pixels to it.

    Attributes:
        shape: (T, 100) float32 identity coefficients.
        expression: (T, 50) float32 expression coefficients.
        pose: (T, 6) float32 axis-angles in radians: of the head, then of the jaw.
        camera: (T, 3) float32 scale, x and y translation of the orthographic camera.
        transforms: (T, 3, 3) float64 similarities, crop224_from_image.
        image_size: (T, 2) int32 width and height of the image crop in pixels.
        present: (T,) bool, False where no face was seen; such rows hold zeros or a held value.
        frames: (T,) int64 frame numbers, counted over all videos of the actor, increasing.
        source: what estimated them.
        texture: (T, 50) float32 albedo coefficients, or None.
        light: (T, 9, 3) float32 spherical harmonics per RGB channel, or None.
        detail: (T, 128) float32 coefficients of fine wrinkles, or None.
    """

    shape: NDArray[np.float32]
    expression: NDArray[np.float32]
    pose: NDArray[np.float32]
    camera: NDArray[np.float32]
    transforms: NDArray[np.float64]
    image_size: NDArray[np.int32]
    present: NDArray[np.bool_]
    frames: NDArray[np.int64]
    source: Source
    texture: NDArray[np.float32] | None = None
    light: NDArray[np.float32] | None = None
    detail: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Bring every array to its type.

        Raises:
            ValueError: An array has another shape, or the source is unknown.
        """
        count = len(self.frames)
        if self.source not in get_args(Source):
            raise ValueError(f"source is {self.source!r}, one of {get_args(Source)} is needed")
        for name, size in _SIZES.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            array = np.ascontiguousarray(value, _TYPES.get(name, np.float32))
            if array.shape != (count, *size):
                raise ValueError(f"{name} is {array.shape} where {(count, *size)} is needed")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def manipulable(self) -> NDArray[np.float32]:
        """(T, 51) what a manipulator may change: jaw opening, then the 50 expressions."""
        opening = self.pose[:, JAW_OPENING : JAW_OPENING + 1]
        return np.concatenate([opening, self.expression], axis=1)

    def with_manipulated(self, values: NDArray[np.floating]) -> FlameCodes:
        """The same codes with another jaw opening and expression, (T, 51) as `manipulable`."""
        pose = self.pose.copy()
        pose[:, JAW_OPENING] = values[:, 0]
        return dataclasses.replace(self, pose=pose, expression=values[:, 1:])

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> FlameCodes:
        """The codes of some frames."""
        arrays = {name: getattr(self, name) for name in _SIZES}
        chosen: dict[str, Any] = {name: a if a is None else a[rows] for name, a in arrays.items()}
        return FlameCodes(source=self.source, **chosen)

    def save(self, path: Path) -> None:
        """Write one .safetensors file atomically; raises OutputError."""
        from safetensors.numpy import save

        tensors = {name: getattr(self, name) for name in _SIZES if getattr(self, name) is not None}
        publish_bytes(path, save(tensors, {"format": _FORMAT, "source": self.source}))

    @classmethod
    def load(cls, path: Path) -> FlameCodes:
        """Read saved codes; raises InputError if they are missing or something else."""
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise InputError(f"FLAME codes '{path}' do not exist; preprocess the actor first")
        try:
            with safe_open(path, "numpy") as file:
                header = file.metadata() or {}
                known = {field.name for field in fields(cls)}
                tensors = {n: file.get_tensor(n) for n in file.keys() if n in known}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"'{path}' is not a file of FLAME codes: {error}") from error
        if header.get("format") != _FORMAT:
            raise InputError(f"'{path}' is not a file of FLAME codes of format {_FORMAT}")
        try:
            return cls(source=header["source"], **tensors)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"FLAME codes '{path}' are incomplete ({error}); make them anew"
            ) from error


def joined(parts: list[FlameCodes]) -> FlameCodes:
    """Codes of several clips as one, in the given order; optional arrays only if all have them."""
    arrays: dict[str, Any] = {}
    for name in _SIZES:
        values = [getattr(part, name) for part in parts]
        whole = not any(value is None for value in values)
        arrays[name] = np.concatenate(values) if whole else None
    return FlameCodes(source=parts[0].source, **arrays)
