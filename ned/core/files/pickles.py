"""Unpickling: pickled data of other programs, read without running any of their code.

FLAME's models, landmark embeddings (.npy around a pickle), scikit-image transforms and per-frame
codes are pickles. Only arrays, scipy-sparse matrices, plain containers and the wrappers around them
(chumpy, torch tensors on the CPU, similarity transforms) can be built; every other name that a
pickle asks for is refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import tokenize
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from ned.core.errors import InputError, quoted, reason
from ned.core.files import pickle_stand_ins as make

_NUMPY = ("numpy.core", "numpy._core")
_NPY = b"\x93NUMPY"
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "numpy.ndarray",
    ("numpy", "dtype"): make.Dtype,
    ("_codecs", "encode"): make.Encode,
    ("collections", "OrderedDict"): make.Ordered,
    ("chumpy.ch", "Ch"): make.Chumpy,
    ("torch._utils", "_rebuild_tensor_v2"): make.Tensor,
}
for _core in _NUMPY:
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = make.Array
    _ALLOWED[f"{_core}.multiarray", "scalar"] = make.Scalar
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = make.Buffer
for _builtins in ("builtins", "__builtin__"):
    _ALLOWED[_builtins, "object"] = "object"
    _ALLOWED[_builtins, "bytes"] = make.Empty
    _ALLOWED[_builtins, "set"] = _ALLOWED[_builtins, "frozenset"] = make.Collection
for _copyreg in ("copyreg", "copy_reg"):
    _ALLOWED[_copyreg, "_reconstructor"] = make.Reconstructor
for _kind, _maker in (
    ("csc", make.SparseColumns),
    ("csr", make.SparseRows),
    ("coo", make.SparseEntries),
):
    for _module in (f"scipy.sparse.{_kind}", f"scipy.sparse._{_kind}"):
        _ALLOWED[_module, f"{_kind}_matrix"] = _ALLOWED[_module, f"{_kind}_array"] = _maker
for _name, _dtype in (
    *(("Double", "f8"), ("Float", "f4"), ("Half", "f2"), ("Long", "i8"), ("Int", "i4")),
    *(("Short", "i2"), ("Char", "i1"), ("Byte", "u1"), ("Bool", "b1")),
):
    _ALLOWED["torch", f"{_name}Storage"] = f"|{_dtype}" if _dtype[1] == "1" else f"<{_dtype}"
_BROKEN = (
    *(pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, EOFError),
    *(ArithmeticError, MemoryError, RecursionError, ImportError, AssertionError),
    *(SyntaxError, tokenize.TokenError),  # of numpy, where a header is no Python literal
)


class _ForbiddenError(pickle.UnpicklingError):
    """A pickle asks for something that is no data."""


class _Unpickler(pickle._Unpickler):
    """Builds data; hashes only text and ordinary numbers, which cannot be made to collide."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def _checked(self, name: str, keys: Any) -> None:
        make.check_keys(keys)
        getattr(super(), name)()

    def load_setitem(self) -> None:
        self._checked("load_setitem", self.stack[-2:-1])

    def load_setitems(self) -> None:
        self._checked("load_setitems", self.stack[0::2])

    def load_dict(self) -> None:
        self._checked("load_dict", self.stack[0::2])

    def load_additems(self) -> None:
        self._checked("load_additems", self.stack)

    def load_frozenset(self) -> None:
        self._checked("load_frozenset", self.stack)

    for _step, _code in (
        (load_setitem, pickle.SETITEM),
        (load_setitems, pickle.SETITEMS),
        (load_dict, pickle.DICT),
        (load_additems, pickle.ADDITEMS),
        (load_frozenset, pickle.FROZENSET),
    ):
        dispatch[_code[0]] = _step

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("skimage.transform") and name == "SimilarityTransform":
            return make.Transform
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        return pid


def load_pickle(path: Path) -> Any:
    """Read a pickle, or a .npy file around one, that may come from anywhere.

    Python-2 text is read as latin-1. Arrays (numpy arrays, possibly read-only), scipy-sparse
    matrices and plain containers come back; chumpy objects and torch tensors as the arrays that
    they hold, scikit-image similarity transforms as their (3, 3) matrices. `OrderedDict` comes
    back as dict, a pickled `set` of old protocols as frozenset.

    Raises:
        InputError: the file is missing, truncated, no pickle, or asks for anything but data.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{quoted(path)} cannot be read: {reason(error)}") from error
    try:
        if data.startswith(_NPY):
            return _read_npy(io.BytesIO(data))
        return make.resolve(read_part(io.BytesIO(data)), {})
    except _ForbiddenError as error:
        raise InputError(
            f"{quoted(path)} asks for {str(error)[:80]!r}, which is no data, and is not read; "
            "get the file from its original source"
        ) from None
    except _BROKEN as error:
        said = reason(error)[:120]
        raise InputError(
            f"{quoted(path)} is not a complete pickle of arrays ({said}); "
            "get the file again from its original source"
        ) from error


def read_part(stream: BinaryIO) -> Any:
    """Build one pickle's tree of stand-ins from a seekable stream, which is left at its end.

    The opcodes are read over first: lengths must lie inside the data and memo slots must be used
    in turn, so that a few bytes cannot ask for gigabytes.
    """
    start = stream.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if "PUT" in opcode.name and int(argument or 0) > count:
            raise pickle.UnpicklingError("memo slots out of turn")
    stream.seek(start)
    return _Unpickler(stream, encoding="latin1").load()


class _Storage(make.StandIn):
    """torch.storage._load_from_bytes: five pickles, a count and the numbers; as a 1-d array."""

    __slots__ = ()

    def __new__(cls, data: object) -> Any:
        if not isinstance(data, bytes):
            raise pickle.UnpicklingError("a storage that is no bytes")
        stream = io.BytesIO(data)
        _, _, _, where, _ = (read_part(stream) for _ in range(5))
        if not isinstance(where, tuple) or len(where) < 5 or where[0] != "storage":
            raise pickle.UnpicklingError("a storage of an unknown kind")
        count = int.from_bytes(stream.read(8), "little", signed=True)
        return make.shaped(where[1], (count,), "C", stream.read(), {})


_ALLOWED["torch.storage", "_load_from_bytes"] = _Storage


def _read_npy(stream: BinaryIO) -> Any:
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(stream)
    if dtype.kind != "O":
        stream.seek(0)
        return np.load(stream, allow_pickle=False)
    array = make.resolve(read_part(stream), {})
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise pickle.UnpicklingError("an array of another shape than its header says")
    return array.item() if shape == () else array
