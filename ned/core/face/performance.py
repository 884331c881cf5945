"""Performance: what a face does in every frame of a clip, in numbers that can be directed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted
from ned.core.face.track import PLAIN, Track
from ned.core.files.actor import Actor
from ned.core.files.json_files import parse_json
from ned.core.files.partial import publish_bytes
from ned.core.files.tensor_files import read_metadata, read_tensors

_FORMAT = "ned-performance-2"
_FIRST_FORMAT = "ned-performance-1"  # of the rig only; what is a parameter now stood beside units
_FIRST_PARAMETERS = ("gaze", "rotation", "scale", "translation")
_SHAPES = {"rotation": (3, 3), "scale": (), "translation": (2,), "gaze": (2, 2)}  # of a frame
_FLIP = np.array([1, -1, -1], np.float32)  # head axes (y up, z to the camera) to image axes
_OF_TRACK, _OF_PARAMETERS = "track.", "parameter."


@dataclass
class Performance:
    """One face through a clip: what it does, in the units of one face model, and where.

    `units` is what a director may change, whatever the face model; `parameters` is what else that
    model needs to place and draw the face.

    Attributes:
        face_model: name of the face model, such as "rig" or "flame".
        unit_names: (U) names of the columns of `units`; what opens the jaw is among them.
        units: (T, U) float32. The rig's are activations, non-negative, 1 = strong; FLAME's are the
            jaw's opening in radians and 50 coefficients of expression.
        identity: float32, what holds for the whole clip: the rig's (V, 3) neutral face of this
            actor in face units; empty for FLAME, whose shape is estimated per frame.
        parameters: arrays (T, ...) by name, see the face model.
        track: the landmarks that were fitted, or around which the face was seen.
        frames: (T,) int64 numbers of the frames, counted over all videos of an actor, increasing.
        source: what estimated it: the name of a reconstructor, or "import".
        directed: (T, U) float32 units after directing, None before.
    """

    face_model: str
    unit_names: tuple[str, ...]
    units: NDArray[np.float32]
    identity: NDArray[np.float32]
    parameters: Mapping[str, NDArray[Any]]
    track: Track
    frames: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    source: str = "rig"
    directed: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Number the frames from 0 where nothing else is said.

        Raises:
            ValueError: Arrays do not have one row per frame, or one column per unit.
        """
        count = len(self.units)
        if not len(self.frames):
            self.frames = np.arange(count)
        shapes = {"units": self.units, "directed": self.directed}
        for name, array in shapes.items():
            if array is not None and array.shape != (count, len(self.unit_names)):
                raise ValueError(
                    f"{name} is {array.shape} where {(count, len(self.unit_names))} is needed"
                )
        rows = {**self.parameters, "track": self.track.times, "frames": self.frames}
        for name, array in rows.items():
            if len(array) != count:
                raise ValueError(f"{name} has {len(array)} rows where {count} are needed")

    def __len__(self) -> int:
        return len(self.units)

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Performance:
        """The performance of some frames."""
        return replace(
            self,
            units=self.units[rows],
            parameters={name: array[rows] for name, array in self.parameters.items()},
            track=self.track[rows],
            frames=self.frames[rows],
            directed=None if self.directed is None else self.directed[rows],
        )

    @property
    def times(self) -> NDArray[np.float64]:
        """(T,) presentation times in seconds."""
        return self.track.times

    @property
    def present(self) -> NDArray[np.bool_]:
        """(T,) True where the face is seen; the other rows hold zeros or a held value."""
        return self.track.present

    @property
    def shown(self) -> NDArray[np.float32]:
        """(T, U) units after directing; those of the source before."""
        return self.units if self.directed is None else self.directed

    @property
    def rotation(self) -> NDArray[np.float32]:
        """(T, 3, 3) float32 head-to-camera rotation of the rig."""
        return self.parameters["rotation"]

    @property
    def scale(self) -> NDArray[np.float32]:
        """(T,) float32 pixels per face unit (distance of the outer eye corners) of the rig."""
        return self.parameters["scale"]

    @property
    def translation(self) -> NDArray[np.float32]:
        """(T, 2) float32 pixels, of the rig."""
        return self.parameters["translation"]

    @property
    def gaze(self) -> NDArray[np.float32]:
        """(T, 2, 2) float32 iris centre of the right, left eye of the rig.

        Relative to the middle of its corners, in eye widths (x to the image's right, y up).
        """
        return self.parameters["gaze"]

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
        """(V, 3) or (n, V, 3) points of the rig -> (n, V, 3) pixels and depth of [start, stop).

        A point p (face units, y up, z toward the camera) lies in upright image pixels at
        `scale * flip(rotation @ p) + translation` with flip = diag(1, -1, -1): weak perspective.
        """
        rotation, scale = self.rotation[start:stop], self.scale[start:stop]
        turned = np.asarray(points, np.float32) @ rotation.transpose(0, 2, 1)
        image = turned * (_FLIP * scale[:, None, None])
        image[..., :2] += self.translation[start:stop, None, :]
        return image

    def check(self) -> None:
        """Raise ValueError unless every array is of numbers, with the shape that it must have."""
        count, units = len(self.track), len(self.unit_names)
        wanted = {"units": (count, units), "directed": (count, units)}
        wanted |= {name: (count, *shape) for name, shape in _SHAPES.items()}
        arrays = {"identity": self.identity, "units": self.units, **self.parameters}
        if self.directed is not None:
            arrays["directed"] = self.directed
        for name, array in arrays.items():
            known = name in wanted or name == "identity"
            right = array.dtype.kind in ("f" if known else "fiu")
            right &= array.shape == wanted.get(name, array.shape)
            if not right or not np.isfinite(array).all():
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if "rotation" in self.parameters and np.isnan(self.times).any():
            raise ValueError("its times are not known")
        if self.frames.dtype.kind != "i" or (np.diff(self.frames) <= 0).any():
            raise ValueError("its frames are not numbered upwards")

    def save(self, path: Path) -> None:
        """Write one .safetensors file atomically; raises OutputError."""
        from safetensors.numpy import save

        tensors = {"units": self.units, "identity": self.identity, "frames": self.frames}
        if self.directed is not None:
            tensors["directed"] = self.directed
        tensors |= {_OF_PARAMETERS + name: array for name, array in self.parameters.items()}
        for part in fields(self.track):
            if part.name not in PLAIN:
                tensors[_OF_TRACK + part.name] = getattr(self.track, part.name)
        header = {
            "format": _FORMAT,
            "face_model": self.face_model,
            "source": self.source,
            "unit_names": json.dumps(self.unit_names),
            "parameters": json.dumps(sorted(self.parameters)),
            "size": json.dumps(self.track.size),
            "clip": self.track.clip,
        }
        whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        publish_bytes(path, save(whole, header))

    @classmethod
    def load(cls, path: Path) -> Performance:
        """Read a saved performance; raises InputError if it is missing or something else."""
        header = read_header(path)
        try:
            _, tensors = read_tensors(path)
        except ValueError as error:
            raise InputError(f"{quoted(path)} is not a performance file: {error}") from error
        track = _taken(tensors, _OF_TRACK)
        parameters = _taken(tensors, _OF_PARAMETERS)
        if header["format"] == _FIRST_FORMAT:
            parameters = {name: tensors.pop(name) for name in _FIRST_PARAMETERS if name in tensors}
        try:
            width, height = parse_json(header["size"])
            named = parse_json(header.get("parameters", json.dumps(_FIRST_PARAMETERS)))
            if sorted(parameters) != sorted(named):
                raise ValueError(f"its parameters are not {', '.join(named)}")
            size = (width, height)
            performance = cls(
                face_model=header["face_model"],
                source=header.get("source", header["face_model"]),
                unit_names=tuple(parse_json(header["unit_names"])),
                parameters=parameters,
                track=Track(size=size, clip=header.get("clip", ""), **track).checked(),
                **tensors,
            )
            performance.check()
            return performance
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"performance {quoted(path)} is incomplete ({error}); make it again"
            ) from error


def read_header(path: Path) -> dict[str, str]:
    """What a performance file says of itself, without reading its arrays.

    Raises:
        InputError: It is missing, damaged or something else.
    """
    if not path.is_file():
        raise InputError(
            f"performance {quoted(path)} does not exist; make it with --save-performance"
        )
    try:
        header = read_metadata(path)
    except ValueError as error:
        raise InputError(f"{quoted(path)} is not a performance file: {error}") from error
    if header.get("format") not in (_FORMAT, _FIRST_FORMAT) or "face_model" not in header:
        raise InputError(
            f"{quoted(path)} is not a performance file of format {_FORMAT}; preprocess or direct "
            "the clip again"
        )
    return header


def load_performances(actor: Actor) -> dict[Path, Performance]:
    """The performances of every clip of an actor by file, in the order of their names.

    Raises:
        InputError: There are none, or one is damaged.
    """
    files = sorted(actor.performances_folder.glob("*.safetensors"))
    if not files:
        where = quoted(actor.performances_folder)
        if actor.frame_pickles():
            raise InputError(f"{where} holds .pkl files only; run `ned import` first")
        raise InputError(f"{where} holds no face parameters; run ./preprocess.sh first")
    return {path: Performance.load(path) for path in files}


def face_model_of(actor: Actor) -> str | None:
    """Name of the face model of an actor's or experiment's parameters; None where unknown."""
    for path in sorted(actor.performances_folder.glob("*.safetensors")):
        try:
            return read_header(path)["face_model"]
        except InputError:
            return None
    return "flame" if actor.frame_pickles() else None  # NED's files


def joined(parts: list[Performance]) -> Performance:
    """Performances of stretches of one clip as one, in the given order.

    Parameters only as far as all parts have them.
    """
    first = parts[0]
    names = [n for n in first.parameters if all(n in part.parameters for part in parts)]
    return Performance(
        face_model=first.face_model,
        unit_names=first.unit_names,
        units=np.concatenate([part.units for part in parts]),
        identity=first.identity,
        parameters={n: np.concatenate([part.parameters[n] for part in parts]) for n in names},
        track=Track.joined([part.track for part in parts]),
        frames=np.concatenate([part.frames for part in parts]),
        source=first.source,
    )


def _taken(tensors: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Arrays whose names begin so, by the rest of their names; taken out."""
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
