"""Foreign pickles: data comes out whole, nothing else can be built, nothing runs."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import skimage.transform
from flame_files import chumpy_like

from ned.core.errors import InputError
from ned.core.files.pickles import load_pickle

ARRAY = np.arange(24, dtype=np.float64).reshape(2, 3, 4)


def written(tmp_path: Path, data: bytes, name: str = "foreign.pkl") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refused(path: Path) -> str:
    """The message with which a file is refused: one line that names the file."""
    with pytest.raises(InputError) as caught:
        load_pickle(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    assert path.name in message
    return message


class Call:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_data_comes_back_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    matrix = scipy.sparse.csc_matrix(np.arange(45).reshape(5, 9) % 4 * 0.5)
    data = {
        "array": ARRAY,
        "fortran": np.asfortranarray(ARRAY),
        "big endian": np.arange(4, dtype=">i4"),
        "flags": np.array([True, False]),
        "text": np.array(["jaw", "neck"]),
        "objects": np.array([None, "x", 3], object),
        "columns": matrix,
        "rows": matrix.tocsr(),
        "entries": matrix.tocoo(),
        "scalar": np.float32(1.5),
        "transform": skimage.transform.SimilarityTransform(scale=2, rotation=0.3),
        "chumpy": chumpy_like(ARRAY),
        "ordered": collections.OrderedDict(b=1, a=2),
        "plain": [(1, 2.5), {"k": None}, {3}, b"\x00\xff"],
    }
    read = load_pickle(written(tmp_path, pickle.dumps(data, protocol=protocol)))
    for name in ("array", "fortran", "big endian", "flags", "text", "objects"):
        np.testing.assert_array_equal(read[name], data[name])
        assert read[name].dtype == data[name].dtype
    for name in ("columns", "rows", "entries"):
        np.testing.assert_array_equal(read[name].toarray(), matrix.toarray())
    assert read["scalar"] == np.float32(1.5)
    np.testing.assert_array_equal(read["transform"], data["transform"].params)
    np.testing.assert_array_equal(read["chumpy"], ARRAY)
    assert list(read["ordered"].items()) == [("b", 1), ("a", 2)]
    assert read["plain"] == data["plain"]


def test_tensors_come_back_as_arrays(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    long, halves = torch.arange(12).reshape(3, 4), torch.rand(5, dtype=torch.float16)
    saved = {"view": long.T[1:, ::2], "halves": halves, "flags": halves > 0.5}
    np.save(tmp_path / "tensors.npy", saved, allow_pickle=True)  # type: ignore[arg-type]
    read = load_pickle(tmp_path / "tensors.npy")
    for name, tensor in saved.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_plain_array_files_are_read_too(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", ARRAY)
    np.testing.assert_array_equal(load_pickle(tmp_path / "plain.npy"), ARRAY)


def test_shared_parts_stay_shared(tmp_path: Path) -> None:
    part = ["x"]
    read = load_pickle(written(tmp_path, pickle.dumps([part, part, {"a": ARRAY, "b": ARRAY}])))
    assert read[0] is read[1]
    assert read[2]["a"] is read[2]["b"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(os.system, "touch {flag}"), "system"),
        (Call(builtins.eval, "open('{flag}', 'w')"), "eval"),
        (Call(builtins.exec, "open('{flag}', 'w')"), "exec"),
        (Call(getattr, os, "system"), "getattr"),
        (Call(getattr, Call(__import__, "os"), "system"), "getattr"),
        (Call(np.load, "{flag}", None, True), "load"),
        (Call(np.fromfile, "{flag}"), "fromfile"),
        (Call(np.memmap, "{flag}", "u1", "w+", 0, 8), "memmap"),
        (Call(np.vectorize, os.system), "vectorize"),
        (Call(np.frompyfunc, os.system, 1, 1), "frompyfunc"),
        (Call(bytearray, 10**12), "bytearray"),
        (Call(map, os.system, ["touch {flag}"]), "map"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_calls_are_refused_by_name(tmp_path: Path, call: Call, name: str, protocol: int) -> None:
    flag = tmp_path / "it_ran"
    function, arguments = call.call
    arguments = tuple(a.format(flag=flag) if isinstance(a, str) else a for a in arguments)
    if os in arguments:  # a module cannot be pickled; a name in it can
        arguments = tuple("os" if a is os else a for a in arguments)
    data = pickle.dumps({"v_template": ARRAY, "x": Call(function, *arguments)}, protocol=protocol)
    assert name in refused(written(tmp_path, data))
    assert not flag.exists()


def test_nested_pickles_are_as_restricted(tmp_path: Path) -> None:
    """torch storages are pickles inside of pickles."""
    torch = pytest.importorskip("torch")
    inner = pickle.dumps(Call(os.system, f"touch {tmp_path / 'it_ran'}"))
    outer = Call(torch.storage._load_from_bytes, inner)
    assert "system" in refused(written(tmp_path, pickle.dumps({"tensor": outer})))
    assert not (tmp_path / "it_ran").exists()


def test_hidden_names_are_refused(tmp_path: Path) -> None:
    """Dotted paths, submodules of allowed packages, and names through allowed names."""
    for module, name in (
        ("numpy", "ndarray.__class__"),
        ("numpy.core.multiarray", "os.system"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("numpy.testing._private.utils", "runstring"),
        ("scipy.sparse._csc", "csc_matrix.__reduce__"),
        ("torch.storage", "torch.hub.load"),
        ("chumpy.ch", "Ch.__class__"),
        ("ned.core.files.pickle_stand_ins", "StandIn"),
        ("skimage.transform._geometric", "np.load"),
    ):
        data = b"\x80\x04" + b"".join(
            b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)
        )
        assert f"{module}.{name}"[:60] in refused(written(tmp_path, data + b"\x93."))


def test_a_pickle_cannot_change_what_the_next_one_is_read_with(tmp_path: Path) -> None:
    dtype, encode = b"cnumpy\ndtype\n", b"c_codecs\nencode\n"
    change = b"\x80\x02" + dtype + b"(N}U\x05valueU\x01xstb."  # slot state on a class
    refused(written(tmp_path, change))
    refused(written(tmp_path, b"\x80\x02" + encode + b"}U\x07__new__U\x01xsb."))
    good = load_pickle(written(tmp_path, pickle.dumps(ARRAY, protocol=2)))
    np.testing.assert_array_equal(good, ARRAY)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02r\xff\xff\xff\x3f" + b".",  # a memo slot far out
        b"\x80\x02]r\xf0\xff\xff\x7f.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",  # a terabyte of bytes
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",  # text
        b"\x80\x05\x96" + struct.pack("<Q", 2**50) + b"x.",  # a bytearray
        b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",  # a frame
        b"(" * 10 + b"t" * 3,
        b"]" + b"]a" * 0 + b"2a.",  # a list in itself is data, but no model
    ],
)
def test_a_few_bytes_cannot_ask_for_gigabytes(tmp_path: Path, data: bytes) -> None:
    import tracemalloc

    path = written(tmp_path, data)
    tracemalloc.start()
    try:
        load_pickle(path)
    except InputError as error:
        assert path.name in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**22


def array_pickle(shape: Any, dtype: Any, data: Any) -> bytes:
    """A pickled array whose parts do not have to agree."""

    class Forged:
        def __reduce__(self) -> Any:
            make = np.zeros(1).__reduce__()[0]
            return make, (np.ndarray, shape, b"b"), (1, shape, dtype, False, data)

    return pickle.dumps(Forged(), protocol=4)


@pytest.mark.parametrize(
    ("shape", "dtype", "data"),
    [
        ((10**12,), np.dtype("f8"), b"12345678"),
        ((2**40, 2**40), np.dtype("f8"), b""),
        ((-1,), np.dtype("f8"), b"12345678"),
        ((1.5,), np.dtype("f8"), b"12345678"),
        ((1,) * 99, np.dtype("f8"), b"12345678"),
        ((1,), np.dtype("O"), b"12345678"),  # raw bytes as an object pointer
        ((10**10,), np.dtype("O"), [None]),
        ((1,), np.dtype([("a", "O")]), b"12345678"),
        ((1,), np.dtype("M8[s]"), b"12345678"),
        ((2,), np.dtype("f8"), None),
    ],
)
def test_forged_arrays_are_refused(tmp_path: Path, shape: Any, dtype: Any, data: Any) -> None:
    refused(written(tmp_path, array_pickle(shape, dtype, data)))


def test_forged_sparse_matrices_are_refused(tmp_path: Path) -> None:
    matrix = scipy.sparse.csc_matrix(np.eye(4))
    matrix.indices[0] = 10**6
    refused(written(tmp_path, pickle.dumps(matrix)))


def test_deep_and_wide_trees_end_in_one_line_or_in_data(tmp_path: Path) -> None:
    begun = time.monotonic()
    refused(written(tmp_path, b"]" * 20_000 + b"a" * 19_999 + b"."))  # deeper than Python goes
    layers: list[Any] = [[]]
    for _ in range(200):
        layers = [layers, layers]  # 2**200 paths through 200 lists
    load_pickle(written(tmp_path, pickle.dumps(layers)))
    assert time.monotonic() - begun < 5


def test_incomplete_and_other_files_are_refused(tmp_path: Path) -> None:
    good = pickle.dumps({"array": ARRAY}, protocol=2)
    for cut in (0, 1, 20, len(good) // 2, len(good) - 1):
        refused(written(tmp_path, good[:cut]))
    refused(written(tmp_path, b"v 0.1 0.2 0.3\nv 0.2 0.1 0.4\n"))
    refused(written(tmp_path, b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'shape'", "cut.npy"))
    refused(written(tmp_path, b"\x93NUMPY\x09\x00v\x00{}", "version.npy"))
    refused(tmp_path / "nothing.pkl")
    refused(tmp_path)


def test_damaged_bytes_give_data_or_one_line(tmp_path: Path) -> None:
    data = {"a": ARRAY, "m": scipy.sparse.csc_matrix(np.eye(3)), "c": chumpy_like(ARRAY), "l": [1]}
    seeds = [pickle.dumps(data, protocol=protocol) for protocol in (0, 2, 4, 5)]
    random = np.random.default_rng(2)
    outcomes = collections.Counter()
    for turn in range(800):
        damaged = bytearray(seeds[turn % len(seeds)])
        for _ in range(1 + turn % 5):
            place = int(random.integers(len(damaged)))
            if random.random() < 0.5:
                damaged[place] = int(random.integers(256))
            else:
                del damaged[place : place + int(random.integers(1, 5))]
        path = written(tmp_path, bytes(damaged))
        try:
            load_pickle(path)
            outcomes["read"] += 1
        except InputError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert outcomes["refused"] > 500 and outcomes["read"] > 5


def hash_bomb_of_tuples() -> bytes:
    """A dict whose key is a tuple of a tuple of a tuple, each twice: 2 ** 200 hashes."""
    return b"}(" + b"K\x01K\x01\x86" + b"2\x86" * 200 + b"K\x01u."


def hash_bomb_of_numbers(count: int = 30_000) -> bytes:
    """A dict whose keys have all the same hash."""
    keys = (pickle.encode_long(n * (2**61 - 1)) for n in range(1, count))
    return b"}(" + b"".join(b"\x8a" + bytes([len(k)]) + k + b"K\x01" for k in keys) + b"u."


@pytest.mark.parametrize(
    "bomb",
    [
        hash_bomb_of_tuples(),
        hash_bomb_of_numbers(),
        b"\x8f(" + hash_bomb_of_tuples()[2:-4] + b"\x90.",  # a set
        b"(" + hash_bomb_of_tuples()[2:-4] + b"\x91.",  # a frozenset
        b"(" + hash_bomb_of_tuples()[2:-4] + b"K\x01d.",  # as old protocols write it
        b"}" + hash_bomb_of_tuples()[2:-4] + b"K\x01s.",
        b"cbuiltins\nfrozenset\n(](" + hash_bomb_of_tuples()[2:-4] + b"etR.",
        b"ccollections\nOrderedDict\n(]" + hash_bomb_of_tuples()[2:-4] + b"K\x01\x86atR.",
    ],
)
def test_hash_bombs_are_refused_at_once(bomb: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(bomb)
    began = time.monotonic()
    with pytest.raises(InputError, match="as a key"):
        load_pickle(path)
    assert time.monotonic() - began < 5
