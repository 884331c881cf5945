"""Content: whether a file looks like what its kind says, without unpickling or running it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO

from ned.core.files.json_files import parse_json

_LEGACY_TORCH = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of torch.save
)
_OLD_PICKLE_STARTS = b"(]}cl"
_LONGEST_HEADER = 100 << 20  # bytes, as in the safetensors format


def check_content(path: Path, kind: str) -> None:
    """Look at magic numbers and structure, enough to find truncated files and error pages.

    Args:
        kind: "pickle", "torch", "torchscript", "onnx", "safetensors", "npy", "npz", "task",
            "obj" or "png".

    Raises:
        ValueError: The file is something else; the message says what is wrong.
    """
    with path.open("rb") as file:
        start = file.read(512)
        if not start:
            raise ValueError("it is empty")
        if start.lstrip()[:1] == b"<":
            raise ValueError("it is a web page, not the file")
        if start.startswith(b"version https://git-lfs"):
            raise ValueError("it is a Git LFS pointer, not the file")
        file.seek(0)
        _CHECKS[kind](file)


def _pickle(file: IO[bytes]) -> None:
    start = file.read(2)
    modern = start[:1] == b"\x80" and 2 <= start[1] <= 5
    if not modern and start[:1] not in (bytes([b]) for b in _OLD_PICKLE_STARTS):
        raise ValueError("it is no pickle")
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b".":
        raise ValueError("it is a truncated pickle")


def _torch(file: IO[bytes]) -> None:
    start = file.read(len(_LEGACY_TORCH))
    if start == _LEGACY_TORCH:
        return
    if not start.startswith(b"PK"):
        raise ValueError("it was not written by torch.save")
    if not any(name.endswith("data.pkl") for name in _members(file)):
        raise ValueError("it is an archive, but not one of torch.save")


def _torchscript(file: IO[bytes]) -> None:
    if not any("/code/" in name for name in _members(file)):
        raise ValueError("it is no TorchScript archive")


def _npz(file: IO[bytes]) -> None:
    if not any(name.endswith(".npy") for name in _members(file)):
        raise ValueError("it holds no numpy arrays")


def _task(file: IO[bytes]) -> None:
    if not any(name.endswith(".tflite") for name in _members(file)):
        raise ValueError("it holds no TensorFlow Lite model")


def _npy(file: IO[bytes]) -> None:
    if file.read(6) != b"\x93NUMPY":
        raise ValueError("it is no numpy array")


def _png(file: IO[bytes]) -> None:
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        raise ValueError("it is no PNG picture")
    file.seek(0)
    if b"IEND" not in file.read()[-64:]:
        raise ValueError("it is a truncated picture")


def _obj(file: IO[bytes]) -> None:
    starts = {line.split(b" ", 1)[0] for line in file}
    if not {b"v", b"f"} <= starts:
        raise ValueError("it holds no mesh (lines beginning with v and f)")


def _safetensors(file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _LONGEST_HEADER):
        raise ValueError("it is no safetensors file, or a truncated one")
    try:
        header = parse_json(file.read(length))
        ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError("it is no safetensors file") from error
    if 8 + length + max(ends, default=0) != size:
        raise ValueError("it is a truncated safetensors file")


def _onnx(file: IO[bytes]) -> None:
    """Walk the outermost fields of the protocol buffer (ModelProto of onnx.proto)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    fields = set()
    while file.tell() < size:
        key = _varint(file)
        number, wire = key >> 3, key & 7
        if wire not in (0, 2) or not 1 <= number <= 30:
            raise ValueError("it is no ONNX model")
        fields.add(number)
        if wire == 0:
            _varint(file)
        elif file.seek(_varint(file), os.SEEK_CUR) > size:
            raise ValueError("it is a truncated ONNX model")
    if not {1, 7} <= fields:  # ir_version and graph
        raise ValueError("it is no ONNX model")


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("it is no ONNX model, or a truncated one")


def _members(file: IO[bytes]) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError("it is no archive, or a truncated one") from error


_CHECKS = {
    "npy": _npy,
    "npz": _npz,
    "obj": _obj,
    "onnx": _onnx,
    "pickle": _pickle,
    "png": _png,
    "safetensors": _safetensors,
    "task": _task,
    "torch": _torch,
    "torchscript": _torchscript,
}
