"""FlameCodes: a face through a clip as FLAME parameters, as networks and FLAME itself take them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.face.track import Track

Source = Literal["deca", "flame-fit", "import"]

SHAPE, EXPRESSION, POSE, CAMERA = 100, 50, 6, 3
JAW_OPENING = 3  # column of `pose` that opens the mouth

FLAME = "flame"
UNIT_NAMES = ("jaw_opening", *(f"expression_{k:02d}" for k in range(EXPRESSION)))
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
_OF_PERFORMANCE = ("expression", "present", "frames")  # what a performance keeps for all models
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

    def performance(self, track: Track | None = None) -> Performance:
        """These codes as a performance of the face model "flame".

        Args:
            track: of the same frames; where none is known (imported files), one without landmarks
                or times stands in.
        """
        parameters = {name: getattr(self, name) for name in _SIZES if name not in _OF_PERFORMANCE}
        return Performance(
            face_model=FLAME,
            source=self.source,
            unit_names=UNIT_NAMES,
            units=self.manipulable,
            identity=np.zeros(0, np.float32),
            parameters={name: a for name, a in parameters.items() if a is not None},
            track=self._no_track() if track is None else track,
            frames=self.frames,
        )

    @classmethod
    def of(cls, performance: Performance, units: NDArray[np.floating] | None = None) -> FlameCodes:
        """The codes of a performance of FLAME, with other units if given.

        Raises:
            InputError: It is of another face model, or incomplete.
        """
        if performance.face_model != FLAME:
            raise InputError(
                f"it holds units of the {performance.face_model}, not FLAME codes; preprocess with "
                "--reconstructor deca or flame-fit"
            )
        values = performance.units if units is None else units
        try:
            codes = cls(
                expression=values[:, 1:],
                present=performance.present,
                frames=performance.frames,
                source=performance.source,  # type: ignore[arg-type]
                **performance.parameters,
            )
        except (TypeError, ValueError) as error:
            raise InputError(
                f"these FLAME codes are incomplete ({error}); make them anew"
            ) from error
        return codes if units is None else codes.with_manipulated(values)

    def _no_track(self) -> Track:
        track = Track.empty(len(self), (int(self.image_size[0, 0]), int(self.image_size[0, 1])))
        track.confidence[self.present] = 1
        track.times[:] = np.nan
        track.boxes[:] = 0  # nowhere
        return track


def joined(parts: list[FlameCodes]) -> FlameCodes:
    """Codes of several clips as one, in the given order; optional arrays only if all have them."""
    arrays: dict[str, Any] = {}
    for name in _SIZES:
        values = [getattr(part, name) for part in parts]
        whole = not any(value is None for value in values)
        arrays[name] = np.concatenate(values) if whole else None
    return FlameCodes(source=parts[0].source, **arrays)
