"""FlameFile: the arrays of a FLAME model, from its pickle or from a converted .safetensors."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, OutputError, quoted, reason
from ned.core.files.partial import publish_bytes
from ned.core.files.pickles import load_pickle
from ned.core.files.tensor_files import read_tensors

log = logging.getLogger(__name__)

JOINTS = 5  # global, neck, jaw, left eye, right eye
_PARENTS = (0, 1, 1, 1)  # of all joints but the first
_FORMAT = "ned-flame-1"
_IDENTITY = 300  # columns of the published models in front of the expression
_COMPACT = (100, 50)  # identity and expression columns of a reduced model of 150
_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
_ACCEPTED = (
    "give generic_model.pkl, a FLAME 2020 or 2023 pickle, flame2023_Open.pkl, or one of them "
    "converted to .safetensors"
)


@dataclass(frozen=True, eq=False)
class FlameFile:
    """A FLAME head: Li et al., Learning a model of facial shape and expression, 2017.

    Attributes:
        template: (V, 3) float32 metres; x to the subject's left, y up, z forward.
        faces: (F, 3) int32.
        identity: (I, V, 3) float32 offsets per standard deviation; I is 300 as published.
        expression: (E, V, 3) float32; E is 100 as published.
        pose: (36, V, 3) float32 offsets per entry of the four joints' rotations minus identity.
        regressor: (5, V) float32, joints from vertices.
        weights: (V, 5) float32 skinning weights.
    """

    template: NDArray[np.float32]
    faces: NDArray[np.int32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    pose: NDArray[np.float32]
    regressor: NDArray[np.float32]
    weights: NDArray[np.float32]


def read_flame(path: Path) -> FlameFile:
    """A FLAME model from a pickle or a converted file.

    A pickle is converted once: the arrays are kept beside it as .safetensors with the pickle's
    hash, and are taken from there as long as the hash is equal. A folder that cannot be written
    to does no harm.

    Published models have 400 basis columns, 300 for identity and 100 for expression, in FLAME
    2017, 2020 and 2023 alike. Others are read as 300 and the rest; 150 as 100 and 50.

    Raises:
        InputError: the file is missing, truncated, hostile, or no FLAME model of five joints.
    """
    if path.suffix == ".safetensors":
        model, _ = _read_converted(path)
        return model
    source = _hash(path)
    beside = path.with_suffix(".safetensors")
    ours = False
    if beside.is_file():
        try:
            model, known = _read_converted(beside)
            if known == source:
                return model
            ours = True
        except InputError as error:
            log.debug("%s", error)
    model = _read_pickle(path)
    if ours or not beside.exists():
        try:
            _write_converted(model, beside, source)
        except OutputError as error:
            log.debug("%s", error)
    return model


def convert_flame(pickle: Path, safetensors: Path) -> FlameFile:
    """Write the arrays of a FLAME pickle as .safetensors, with the pickle's hash; atomic.

    Raises:
        InputError: the pickle is no FLAME model.
        OutputError: the result cannot be written.
    """
    if safetensors.suffix != ".safetensors":
        raise OutputError(f"{quoted(safetensors)} needs the ending .safetensors")
    model = _read_pickle(pickle)
    _write_converted(model, safetensors, _hash(pickle))
    return model


def _read_pickle(path: Path) -> FlameFile:
    data = load_pickle(path)
    if not isinstance(data, dict) or "v_template" not in data:
        raise InputError(f"{quoted(path)} is a pickle but no FLAME model; {_ACCEPTED}")
    missing = [key for key in _KEYS if key not in data]
    if missing:
        raise InputError(f"{quoted(path)} misses {', '.join(missing)} of FLAME; {_ACCEPTED}")
    regressor = data["J_regressor"]
    try:
        arrays = {key: np.asarray(data[key]) for key in _KEYS if key != "J_regressor"}
        count = len(arrays["v_template"])
        if regressor.shape != (JOINTS, count):
            raise _wrong(path, f"its J_regressor is {regressor.shape}, not {(JOINTS, count)}")
        arrays["J_regressor"] = (
            regressor.toarray() if hasattr(regressor, "toarray") else np.asarray(regressor)
        )
        _check(path, arrays)
        bases = np.moveaxis(arrays["shapedirs"].astype(np.float32), 2, 0)
        poses = np.moveaxis(arrays["posedirs"].astype(np.float32), 2, 0)
    except (TypeError, ValueError, AttributeError) as error:
        raise _wrong(path, reason(error)[:100]) from error
    split = _COMPACT[0] if len(bases) == sum(_COMPACT) else _IDENTITY
    return FlameFile(
        template=arrays["v_template"].astype(np.float32),
        faces=arrays["f"].astype(np.int32),
        identity=np.ascontiguousarray(bases[:split]),
        expression=np.ascontiguousarray(bases[split:]),
        pose=np.ascontiguousarray(poses),
        regressor=arrays["J_regressor"].astype(np.float32),
        weights=arrays["weights"].astype(np.float32),
    )


def _check(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Sizes, ranges and the tree of joints."""
    count, columns = len(arrays["v_template"]), arrays["shapedirs"].shape[-1:]
    shapes = {
        "v_template": (count, 3),
        "f": (len(arrays["f"]), 3),
        "shapedirs": (count, 3, *columns),
        "posedirs": (count, 3, 9 * (JOINTS - 1)),
        "kintree_table": (2, JOINTS),
        "weights": (count, JOINTS),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise _wrong(path, f"its {key} is {arrays[key].shape}, not {shape}")
        if arrays[key].dtype.kind not in "iuf" or not np.isfinite(arrays[key]).all():
            raise _wrong(path, f"its {key} holds values that are no numbers")
    if columns[0] != sum(_COMPACT) and columns[0] <= _IDENTITY:
        raise _wrong(path, f"it has {columns[0]} basis columns, not 400 (nor 150, nor above 300)")
    if tuple(arrays["kintree_table"][0, 1:].astype(int)) != _PARENTS:
        raise _wrong(path, "its joints hang together in another way")
    if arrays["f"].size and not 0 <= int(arrays["f"].min()) <= int(arrays["f"].max()) < count:
        raise _wrong(path, "its faces name vertices that do not exist")


def _wrong(path: Path, what: str) -> InputError:
    return InputError(f"{quoted(path)} is no FLAME model of {JOINTS} joints: {what}; {_ACCEPTED}")


def _write_converted(model: FlameFile, path: Path, source: str) -> None:
    from safetensors.numpy import save

    tensors = {f.name: np.ascontiguousarray(getattr(model, f.name)) for f in fields(model)}
    publish_bytes(path, save(tensors, {"format": _FORMAT, "source_sha256": source}))


def _read_converted(path: Path) -> tuple[FlameFile, str]:
    """The model and the hash of the pickle that it came from."""
    if not path.is_file():
        raise InputError(f"{quoted(path)} is not there; {_ACCEPTED}")
    try:
        header, tensors = read_tensors(path)
    except ValueError as error:
        raise InputError(
            f"{quoted(path)} is not a complete .safetensors file ({error}); "
            "convert the FLAME pickle again"
        ) from error
    names = {f.name for f in fields(FlameFile)}
    if header.get("format") != _FORMAT or set(tensors) != names:
        raise InputError(f"{quoted(path)} is no converted FLAME model ({_FORMAT}); {_ACCEPTED}")
    model = FlameFile(**tensors)
    try:
        bases = np.concatenate([model.identity, model.expression])
        arrays = {
            "v_template": model.template,
            "f": model.faces,
            "shapedirs": np.moveaxis(bases, 0, 2),
            "posedirs": np.moveaxis(model.pose, 0, 2),
            "kintree_table": np.array([(-1, *_PARENTS), range(JOINTS)]),
            "weights": model.weights,
        }
    except ValueError as error:  # axes that are not there, or of several sizes
        raise _wrong(path, reason(error)[:100]) from error
    _check(path, arrays)
    if model.regressor.shape != (JOINTS, len(model.template)):
        raise _wrong(path, f"its regressor is {model.regressor.shape}")
    return model, header.get("source_sha256", "")


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be read: {reason(error)}; {_ACCEPTED}") from error
    return digest.hexdigest()
