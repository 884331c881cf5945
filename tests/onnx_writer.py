"""Tiny ONNX models as bytes, written field by field (onnx.proto), for tests of plug-in networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Shape = Sequence["int | str"]
_FLOAT, _INT64 = 1, 7


def _varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _value(name: str, shape: Shape) -> bytes:
    sizes = b"".join(
        _field(1, _field(1, size) if isinstance(size, int) else _field(2, size)) for size in shape
    )
    tensor = _field(1, _FLOAT) + _field(2, sizes)
    return _field(1, name) + _field(2, _field(1, tensor))


def _tensor(name: str, array: np.ndarray) -> bytes:
    kind = _INT64 if array.dtype == np.int64 else _FLOAT
    sizes = b"".join(_field(1, size) for size in array.shape)
    return sizes + _field(2, kind) + _field(8, name) + _field(9, array.tobytes())


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], axis: int | None = None
) -> bytes:
    """One NodeProto, with an integer attribute `axis` if given."""
    data = b"".join(_field(1, name) for name in inputs)
    data += b"".join(_field(2, name) for name in outputs) + _field(4, operator)
    if axis is not None:
        data += _field(5, _field(1, "axis") + _field(3, axis) + _field(20, 2))
    return data


def model(
    nodes: Sequence[bytes],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    constants: dict[str, np.ndarray] | None = None,
) -> bytes:
    """A ModelProto of operator set 13 with float32 inputs and outputs."""
    graph = b"".join(_field(1, each) for each in nodes) + _field(2, "graph")
    for name, array in (constants or {}).items():
        graph += _field(5, _tensor(name, array))
    graph += b"".join(_field(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(_field(12, _value(name, shape)) for name, shape in outputs.items())
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


def identity(shape: Shape) -> bytes:
    """A model that returns its input "x" as "y"."""
    return model([node("Identity", ["x"], ["y"])], {"x": shape}, {"y": shape})


def linear(
    image: Shape, weight: np.ndarray, bias: np.ndarray, outputs: Sequence[str] = ("scores",)
) -> bytes:
    """Flattened image times `weight` (pixels, C) plus `bias` (C,), as every one of `outputs`."""
    nodes = [
        node("Flatten", ["image"], ["flat"], axis=1),
        node("MatMul", ["flat", "weight"], ["product"]),
        *(node("Add", ["product", "bias"], [name]) for name in outputs),
    ]
    constants = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
    shape = ("n", weight.shape[1])
    return model(nodes, {"image": image}, dict.fromkeys(outputs, shape), constants)
