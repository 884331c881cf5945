"""Stand-ins: harmless classes that a pickle builds in place of the classes that it names.

Nothing here runs foreign code or allocates more than the pickle itself holds. A stand-in only keeps
what it was given; `resolve` turns the finished tree into arrays and plain containers, after
checking every size. numpy's own reconstruction is not used, because a forged dtype state can make
it read raw bytes as object pointers.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f2|f4|f8|c8|c16|O[48]?|[SU]\d{1,6})")
_AXES = 32
_LARGEST_KEY = 1 << 32


class Frozen(type):
    """Classes whose attributes a pickle cannot change."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError("a pickle may not change a class")


class StandIn(metaclass=Frozen):
    """Base of everything that a pickle may build; without state unless a subclass takes it."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("unexpected state")


class Dtype(StandIn):
    """numpy.dtype of plain numbers, text or objects; no fields, no sub-arrays."""

    __slots__ = ("_order", "_spec")

    def __new__(cls, spec: object, align: object = False, copy: object = False) -> Dtype:
        made = super().__new__(cls)
        made._spec, made._order = spec, None
        return made

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise pickle.UnpicklingError("a dtype with fields")
        self._order = state[1]

    @property
    def value(self) -> np.dtype[Any]:
        dtype = plain_dtype(self._spec)
        return dtype.newbyteorder(self._order) if self._order in ("<", ">") else dtype


class Array(StandIn):
    """numpy.ndarray, from `_reconstruct` and its state."""

    __slots__ = ("_state",)

    def __new__(cls, kind: object = None, shape: object = (), code: object = b"b") -> Array:
        made = super().__new__(cls)
        made._state = None
        return made

    def __setstate__(self, state: object) -> None:
        self._state = state

    def value(self, memo: dict[Any, Any]) -> np.ndarray[Any, Any]:
        if not isinstance(self._state, tuple) or len(self._state) != 5:
            raise pickle.UnpicklingError("an array without data")
        _, shape, dtype, fortran, data = self._state
        return shaped(dtype, shape, "F" if fortran else "C", data, memo)


class Buffer(StandIn):
    """numpy.ndarray, from the `_frombuffer` of pickle protocol 5."""

    __slots__ = ("_state",)

    def __new__(cls, data: object, dtype: object, shape: object, order: object) -> Buffer:
        made = super().__new__(cls)
        made._state = (dtype, shape, order, data)
        return made

    def value(self, memo: dict[Any, Any]) -> np.ndarray[Any, Any]:
        dtype, shape, order, data = self._state
        return shaped(dtype, shape, "F" if order == "F" else "C", data, memo)


class Scalar(StandIn):
    """A numpy scalar; built at once."""

    __slots__ = ()

    def __new__(cls, dtype: object, data: object) -> Any:
        return shaped(dtype, (1,), "C", data, {})[0]


class Encode(StandIn):
    """_codecs.encode: how Python 3 writes bytes in the protocols of Python 2."""

    __slots__ = ()

    def __new__(cls, text: object, encoding: object = "latin1") -> Any:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("text in another encoding")
        return text.encode("latin1")


class Empty(StandIn):
    """bytes() as old protocols write b''."""

    __slots__ = ()

    def __new__(cls) -> Any:
        return b""


def check_keys(keys: Iterable[object]) -> None:
    """Refuse what would be hashed unless it is text, bytes or a number of at most 32 bits."""
    for key in keys:
        if not (
            key is None
            or isinstance(key, str | bytes | float | bool)
            or (type(key) is int and abs(key) < _LARGEST_KEY)
        ):
            raise pickle.UnpicklingError(f"a {type(key).__name__} as a key")


class Ordered(StandIn):
    """collections.OrderedDict; a plain dict keeps its order too."""

    __slots__ = ()

    def __new__(cls, items: Any = ()) -> Any:
        rows = list(items)
        check_keys(key for key, _ in rows)
        return dict(rows)


class Collection(StandIn):
    """set and frozenset."""

    __slots__ = ()

    def __new__(cls, items: Any = ()) -> Any:
        members = list(items)
        check_keys(members)
        return frozenset(members)


class Reconstructor(StandIn):
    """copy_reg._reconstructor: how Python 2 makes an object before it gives it its state."""

    __slots__ = ()

    def __new__(cls, kind: object, base: object, state: object) -> Any:
        if not isinstance(kind, Frozen) or state is not None:
            raise pickle.UnpicklingError("an object of an unknown kind")
        return kind()


class Holder(StandIn):
    """An object whose dictionary holds what counts under one name."""

    __slots__ = ("_state",)
    key = ""

    def __new__(cls, *arguments: object) -> Holder:
        made = super().__new__(cls)
        made._state = None
        return made

    def __setstate__(self, state: object) -> None:
        self._state = state

    def value(self, memo: dict[Any, Any]) -> Any:
        if not isinstance(self._state, dict) or self.key not in self._state:
            raise pickle.UnpicklingError(f"an object without its '{self.key}'")
        return resolve(self._state[self.key], memo)


class Chumpy(Holder):
    """chumpy.ch.Ch: the array that it wraps."""

    __slots__ = ()
    key = "x"


class Transform(Holder):
    """skimage SimilarityTransform: its (3, 3) matrix."""

    __slots__ = ()
    key = "params"


class Sparse(Holder):
    """scipy.sparse matrices; indices are checked."""

    __slots__ = ()
    kind = ""

    def value(self, memo: dict[Any, Any]) -> Any:
        import scipy.sparse

        if not isinstance(self._state, dict):
            raise pickle.UnpicklingError("a sparse matrix without data")
        state = {name: resolve(part, memo) for name, part in self._state.items()}
        shape = _checked_shape(state.get("_shape", state.get("shape")))
        data = np.array(state["data"])
        if self.kind == "coo":
            where = state["coords"] if "coords" in state else (state["row"], state["col"])
            return scipy.sparse.coo_matrix((data, tuple(np.array(w) for w in where)), shape=shape)
        build = {"csc": scipy.sparse.csc_matrix, "csr": scipy.sparse.csr_matrix}[self.kind]
        parts = (data, np.array(state["indices"]), np.array(state["indptr"]))
        matrix = build(parts, shape=shape)
        matrix.check_format(full_check=True)
        return matrix


class SparseColumns(Sparse):
    """scipy.sparse.csc_matrix."""

    __slots__ = ()
    kind = "csc"


class SparseRows(Sparse):
    """scipy.sparse.csr_matrix."""

    __slots__ = ()
    kind = "csr"


class SparseEntries(Sparse):
    """scipy.sparse.coo_matrix."""

    __slots__ = ()
    kind = "coo"


class Tensor(StandIn):
    """torch._utils._rebuild_tensor_v2: a view of a storage, as a numpy array."""

    __slots__ = ("_state",)

    def __new__(
        cls, storage: object, offset: object, shape: object, strides: object, *rest: object
    ) -> Tensor:
        made = super().__new__(cls)
        made._state = (storage, offset, shape, strides)
        return made

    def value(self, memo: dict[Any, Any]) -> np.ndarray[Any, Any]:
        storage, offset, shape, strides = self._state
        shape, strides = _checked_shape(shape), _checked_shape(strides)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or not isinstance(offset, int):
            raise pickle.UnpicklingError("a tensor without storage")
        if math.prod(shape) > len(storage) or len(strides) != len(shape) or offset < 0:
            raise pickle.UnpicklingError("a tensor larger than its storage")
        size = storage.itemsize
        steps = tuple(size * step for step in strides)
        return np.ndarray(shape, storage.dtype, storage.data, offset * size, steps)


def plain_dtype(spec: object) -> np.dtype[Any]:
    """A dtype of numbers, text or objects from its short name."""
    if not isinstance(spec, str) or not _DTYPE.fullmatch(spec):
        raise pickle.UnpicklingError(f"an array of {str(spec)[:40]!r}")
    return np.dtype("O" if "O" in spec else spec)


def shaped(
    dtype: object, shape: object, order: str, data: object, memo: dict[Any, Any]
) -> np.ndarray[Any, Any]:
    """A (read-only) array over bytes that have exactly the size that the shape asks for."""
    kind = dtype.value if isinstance(dtype, Dtype) else plain_dtype(dtype)
    shape = _checked_shape(shape)
    count = math.prod(shape)
    if kind.kind == "O":
        if not isinstance(data, list) or len(data) != count:
            raise pickle.UnpicklingError("an array of objects without its objects")
        boxes = np.empty(count, object)
        for index, part in enumerate(data):
            boxes[index] = resolve(part, memo)
        return boxes.reshape(shape, order="F" if order == "F" else "C")
    if isinstance(data, str):
        encoded = memo.get(("bytes", id(data)))
        data = memo[("bytes", id(data))] = data.encode("latin1") if encoded is None else encoded
    if not isinstance(data, (bytes, bytearray)) or len(data) != count * kind.itemsize:
        raise pickle.UnpicklingError("an array whose data has another size than its shape")
    return np.ndarray(shape, kind, data, order="F" if order == "F" else "C")


def _checked_shape(shape: object) -> tuple[int, ...]:
    if isinstance(shape, tuple) and len(shape) <= _AXES and all(type(n) is int for n in shape):
        whole: tuple[int, ...] = shape
        if all(0 <= n < 2**62 for n in whole):
            return whole
    raise pickle.UnpicklingError("an array of an impossible shape")


def resolve(value: Any, memo: dict[Any, Any]) -> Any:
    """The tree with every stand-in replaced by its value; shared parts stay shared."""
    known = memo.get(id(value), memo)
    if known is not memo:
        return known
    if isinstance(value, dict):
        made: Any = {}
        memo[id(value)] = made
        made.update({resolve(k, memo): resolve(v, memo) for k, v in value.items()})
        return made
    if isinstance(value, list):
        made = []
        memo[id(value)] = made
        made.extend(resolve(part, memo) for part in value)
        return made
    if isinstance(value, tuple):
        made = tuple(resolve(part, memo) for part in value)
    elif isinstance(value, (set, frozenset)):
        made = type(value)(resolve(part, memo) for part in value)
    elif isinstance(value, Dtype):
        made = value.value
    elif isinstance(value, (Array, Buffer, Holder, Tensor)):
        made = value.value(memo)
    elif isinstance(value, (Frozen, StandIn)):
        raise pickle.UnpicklingError("a class where data should be")
    else:
        return value
    memo[id(value)] = made
    return made
