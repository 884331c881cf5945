"""Plugin: any ONNX network that looks at a face, and the YAML that says what it wants to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import AssetError, InputError, quoted, reason
from ned.core.files.assets import find_asset, known_asset, require_asset
from ned.core.files.yaml_files import load, shown

_COLOURS = {"rgb": 3, "bgr": 3, "grey": 1}
PICTURE_ENTRIES = frozenset(
    {"file", "asset", "input", "size", "colour", "layout", "divisor", "mean", "std"}
)
_LAYOUTS = ("nchw", "nhwc")
_MOST_SIDE = 4096  # pixels
_BATCH = 32  # pictures given to a network at once

Entries = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """How a network wants its pictures: value = (level / divisor - mean) / std.

    Attributes:
        size: side of the square in pixels. colour: "rgb", "bgr" or "grey" (ITU-R 601 luma).
        layout: "nchw" or "nhwc". divisor: of levels 0 to 255. mean, std: one per channel, or one.
    """

    size: int
    colour: str
    layout: str
    divisor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one prepared picture."""
        channels = _COLOURS[self.colour]
        if self.layout == "nchw":
            return channels, self.size, self.size
        return self.size, self.size, channels

    def prepare(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(S, S, 3) uint8 RGB of any size -> `shape` float32, shrunk by area means."""
        import cv2

        levels = square
        if self.colour == "grey":
            levels = np.asarray(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY))
        elif self.colour == "bgr":
            levels = square[..., ::-1]
        if len(levels) != self.size:
            method = cv2.INTER_AREA if len(levels) > self.size else cv2.INTER_LINEAR
            side = (self.size, self.size)
            levels = np.asarray(cv2.resize(levels, side, interpolation=method))
        levels = levels.reshape(self.size, self.size, -1).astype(np.float32)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (levels / np.float32(self.divisor) - mean) / std
        ordered = values.transpose(2, 0, 1) if self.layout == "nchw" else values
        return np.ascontiguousarray(ordered)


class Network:
    """An ONNX network with one picture input, run on the CPU by onnxruntime."""

    def __init__(self, path: Path, input_name: str | None, threads: int | None) -> None:
        """Open a file.

        Args:
            path: .onnx file, with its .data beside it if it has one.
            input_name: as in the file; its only input if None.
            threads: that compute one operator; onnxruntime's own choice if None.

        Raises:
            AssetError: The file is missing, or no usable network. InputError: onnxruntime is not
                installed.
        """
        self.path = path
        if not path.is_file():
            raise AssetError(f"the network {quoted(path)} is missing; put the file there")
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                "networks that judge faces need onnxruntime; pip install 'ned[evaluation]'"
            ) from error
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        if threads is not None:
            settings.intra_op_num_threads = threads
            settings.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise AssetError(
                f"{quoted(path)} is not a network that onnxruntime can open "
                f"({reason(error)[:160]}); get the file again"
            ) from error
        inputs = {each.name: each.shape for each in self._session.get_inputs()}
        if input_name is None and len(inputs) == 1:
            input_name = next(iter(inputs))
        if input_name not in inputs:
            raise AssetError(
                f"{quoted(path)} has the inputs {', '.join(inputs)}; name one of them as `input`"
            )
        self._input = input_name
        self._single = bool(inputs[input_name]) and inputs[input_name][0] == 1
        self.outputs = tuple(each.name for each in self._session.get_outputs())

    def output(self, name: str | None) -> str:
        """An output's name, checked; the first one if None."""
        if name is None:
            return self.outputs[0]
        if name not in self.outputs:
            raise AssetError(
                f"{quoted(self.path)} has the outputs {', '.join(self.outputs)}, not {name}"
            )
        return name

    def run(
        self, pictures: NDArray[np.float32], outputs: tuple[str, ...]
    ) -> list[NDArray[np.float32]]:
        """The named outputs (N, K) of pictures (N, ...), in batches.

        Raises:
            AssetError: The network does not take such pictures, or does not give a row for each.
        """
        batch = 1 if self._single else _BATCH
        parts: list[list[NDArray[np.float32]]] = []
        for start in range(0, len(pictures), batch):
            given = pictures[start : start + batch]
            try:
                found = self._session.run(list(outputs), {self._input: given})
            except Exception as error:
                raise AssetError(
                    f"{quoted(self.path)} does not take pictures of shape {given.shape} "
                    f"({reason(error)[:160]}); check size, colour and layout in its description"
                ) from error
            rows = [np.asarray(each, np.float32) for each in found]
            if any(each.shape[:1] != given.shape[:1] for each in rows):
                raise AssetError(f"{quoted(self.path)} does not give one row for each picture")
            parts.append([each.reshape(len(given), -1) for each in rows])
        if not parts:
            return [np.zeros((0, 0), np.float32) for _ in outputs]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]


@dataclass(frozen=True)
class Description:
    """What a YAML file says of a network; `evaluation.classifier` and `embedding` read the rest.

    Attributes:
        name: the file's name without suffix. where: folder of its networks; None if it ships.
        entries: everything in it.
    """

    name: str
    where: Path | None
    entries: Entries

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the networks that it describes."""
        files = self.entries.get("file")
        listed = [files] if isinstance(files, str) else files
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise self.wrong("file", "the name of an .onnx file, or a list of them")
        return tuple(listed)

    def wrong(self, key: str, accepted: str) -> InputError:
        """The error for an unusable entry."""
        given = self.entries.get(key)
        words = f"{key} is {shown(given)}" if key in self.entries else f"{key} is missing"
        return InputError(f"description {self.name!r}: {words}; give {accepted}")

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = self.entries.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise self.wrong(key, "a number")
        return float(value)

    def word(self, key: str) -> str | None:
        """Text, None where the entry is absent."""
        value = self.entries.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "a name")
        return value

    def picture(self) -> Picture:
        """The entries size, colour, layout, divisor, mean and std."""
        size, colour = self.entries.get("size"), self.entries.get("colour", "rgb")
        layout = self.entries.get("layout", "nchw")
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _MOST_SIDE:
            raise self.wrong("size", f"the side of the picture in pixels, 1 to {_MOST_SIDE}")
        if colour not in _COLOURS:
            raise self.wrong("colour", " or ".join(_COLOURS))
        if layout not in _LAYOUTS:
            raise self.wrong("layout", " or ".join(_LAYOUTS))
        divisor = self.number("divisor", 255.0)
        if divisor <= 0:
            raise self.wrong("divisor", "a number above 0")
        levels = {}
        for key, default in (("mean", 0.0), ("std", 1.0)):
            values = self.entries.get(key, default)
            row = tuple(values) if isinstance(values, list) else (values,)
            numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in row)
            if not numbers or len(row) not in (1, _COLOURS[colour]) or (key == "std" and 0 in row):
                raise self.wrong(key, f"one number or {_COLOURS[colour]}, std not 0")
            levels[key] = row
        return Picture(size, colour, layout, divisor, **levels)


def describe(
    given: str | Path, kind: str, known: frozenset[str], shelves: Mapping[str, Path | None]
) -> tuple[Description, Path]:
    """Find the description of a network and the network's file.

    Args:
        given: a description (.yaml), a network (.onnx) with its description beside it or
            shipped, or the name of a shipped description or of one of its files.
        kind: folder of shipped descriptions in configs/. known: entries that are allowed.
        shelves: {what to say of it: folder} where networks of shipped descriptions are looked for.

    Raises:
        InputError: The description is unusable or there is none.
        AssetError: The network is missing.
    """
    path = Path(given)
    if path.suffix.lower() in (".yaml", ".yml"):
        if not path.is_file():
            raise InputError(f"{quoted(path)} does not exist; give a description or a known name")
        found = _read(path, known)
        return found, path.parent / found.files[0]
    if path.suffix.lower() == ".onnx":
        beside = path.with_suffix(".yaml")
        if beside.is_file():
            return _read(beside, known), path
        for found in _shipped(kind, known):
            if path.name in found.files:
                return found, path
        raise InputError(f"{quoted(path)} has no description; write {quoted(beside.name)} for it")
    name = str(given)
    for found in _shipped(kind, known):
        stems = {Path(file).stem: file for file in found.files}
        if name != found.name and name not in stems:
            continue
        file = stems.get(name, found.files[0])
        return found, _look_for(found, file, shelves)
    names = ", ".join(found.name for found in _shipped(kind, known))
    raise InputError(f"nothing is known of {name!r}; give a .yaml description, or {names}")


def _look_for(found: Description, file: str, shelves: Mapping[str, Path | None]) -> Path:
    asset = found.word("asset")
    if asset is not None and file == found.files[0]:
        known_asset(asset)
        present = find_asset(asset)
        if present is not None:
            return present
    for shelf in shelves.values():
        if shelf is not None and (shelf / file).is_file():
            return shelf / file
    if asset is not None:
        return require_asset(asset)
    places = " or ".join(shelves)
    raise AssetError(f"the network {file} is missing; look for it with {places}, or give its path")


def _shipped(kind: str, known: frozenset[str]) -> list[Description]:
    folder = resources.files("configs").joinpath(kind)
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return [_parse(f.read_text(encoding="utf-8"), Path(f.name).stem, None, known) for f in files]


def _read(path: Path, known: frozenset[str]) -> Description:
    try:
        text = path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{quoted(path)} cannot be read: {reason(error)[:160]}") from error
    return _parse(text, path.stem, path.parent, known)


def _parse(text: str, name: str, where: Path | None, known: frozenset[str]) -> Description:
    entries = load(text, f"description {name!r}")
    if not isinstance(entries, dict):
        raise InputError(f"description {name!r} holds no entries such as `file: network.onnx`")
    unknown = sorted(shown(key).strip("'") for key in entries if key not in known)
    if unknown:
        raise InputError(
            f"description {name!r} has the unknown entries {', '.join(unknown[:5])}; known are "
            f"{', '.join(sorted(known))}"
        )
    return Description(name, where, entries)
