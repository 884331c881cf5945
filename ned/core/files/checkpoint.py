"""Checkpoint: network weights from a file, loaded into a network without gaps."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ned.core.errors import AssetError, InputError, quoted, reason
from ned.core.files.pickle_stand_ins import Dtype, Scalar
from ned.core.files.tensor_files import read_tensors

if TYPE_CHECKING:
    import torch

_ORIGIN = "get the file again from its original source"
_TORCH = (b"PK", b"\x80")  # a zip archive; a pickle, before torch 1.6
_SHOWN = 3
_BROKEN = (  # what torch says of damaged files
    *(RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError),
    *(AssertionError, ArithmeticError, RecursionError, MemoryError, ImportError, struct.error),
)


def load_weights(path: Path) -> dict[str, Any]:
    """Tensors by name from a .safetensors file or a torch checkpoint, on the CPU.

    The kind is told by the file's content. A torch checkpoint may nest dictionaries (several
    networks in one file) and hold plain values and numpy scalars (epochs, losses) beside them; it
    is read with `weights_only=True`, so no code of it runs.

    Raises:
        InputError: the file is missing, truncated, no checkpoint, or holds more than weights;
            or torch is not installed.
    """
    if not path.is_file():
        raise InputError(f"{quoted(path)} is not there; give a .safetensors or torch checkpoint")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be read: {reason(error)}") from error
    torch = require_torch("reading network weights")
    if head[8:] == b"{":
        return _load_safetensors(path)
    if not head.startswith(_TORCH):
        raise InputError(f"{quoted(path)} is no .safetensors and no torch checkpoint; {_ORIGIN}")
    scalars = [
        (Dtype, "numpy.dtype"),
        (Scalar, "numpy.core.multiarray.scalar"),
        (Scalar, "numpy._core.multiarray.scalar"),
    ]
    try:
        with torch.serialization.safe_globals(scalars), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickles, in more than one line
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        said = reason(error)
        if "GLOBAL" in said:
            raise InputError(
                f"{quoted(path)} holds more than weights ({_global_of(said)}) and is not read; "
                f"save its state_dict alone, or {_ORIGIN}"
            ) from error
        raise InputError(f"{quoted(path)} is not a torch checkpoint; {_ORIGIN}") from error
    except _BROKEN as error:
        said = reason(error).split(". ")[0][:120]
        raise InputError(f"{quoted(path)} is not a complete checkpoint ({said}); {_ORIGIN}") from (
            error
        )
    if not isinstance(state, dict):
        raise InputError(
            f"{quoted(path)} holds a {type(state).__name__}, not a dictionary of weights; {_ORIGIN}"
        )
    return dict(state)


def load_strict(network: torch.nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Copy `state` into a network; every key must be there, none may be left, shapes must fit.

    Raises:
        AssetError: with the first missing, unexpected and mis-shaped keys, in one line.
    """
    torch = require_torch("loading network weights")
    own = network.state_dict()
    given = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    missing = [key for key in own if key not in given]
    unexpected = [key for key in state if key not in own]
    shaped = [
        f"{key} {tuple(given[key].shape)}, needs {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    faults = [
        f"{name} {', '.join(keys[:_SHOWN])}" + (f" and {len(keys) - _SHOWN} more" * many)
        for name, keys in (("misses", missing), ("has unknown", unexpected), ("shapes:", shaped))
        if keys
        for many in [len(keys) > _SHOWN]
    ]
    if faults:
        raise AssetError(
            f"{quoted(path)} does not fit {type(network).__name__}: {'; '.join(faults)}; "
            "check that it is the right file and version"
        )
    network.load_state_dict(given)


def require_torch(purpose: str) -> Any:
    """The torch module.

    Raises:
        InputError: it is not installed; the line names the extra that brings it.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(f"{purpose} needs torch; pip install 'ned[neural]'") from error
    return torch


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        return read_tensors(path, "pt")[1]
    except ValueError as error:
        raise InputError(
            f"{quoted(path)} is not a complete .safetensors file ({error}); {_ORIGIN}"
        ) from error


def _global_of(message: str) -> str:
    """The forbidden name in torch's explanation."""
    for word in message.replace("`", " ").split("GLOBAL")[1:]:
        name = word.split()
        if name and "." in name[0]:
            return name[0][:80]
    return "an object of another program"
