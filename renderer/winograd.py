"""Winograd: 3 x 3 convolutions with four times fewer multiplications, for CPUs.

F(4 x 4, 3 x 3) of Lavin & Gray (2016) with the interpolation points 0, 1, -1, 2, -1/2 and infinity,
which round less than the usual 0, 1, -1, 2, -2. What is learnt goes the same way backwards: every
step is linear, and its adjoint is the transposed matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from renderer import tiles
from renderer.tiles import LANES, SEEN, TILE

_KERNEL = 3
_POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 2))
_LEAST = 128  # channels; with fewer, transforming costs more than is saved
_TYPES = (torch.float32, torch.bfloat16)


class ReflectedConv2d(nn.Conv2d):
    """A 3 x 3 convolution of pictures that go on as their mirror image.

    Attributes:
        tiled: done after Winograd, where the pictures' sides are multiples of four.
        later: what the weights' gradient is made of, while `weights_at_once` holds it back.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, _KERNEL)
        self.tiled = False
        self.later: list[tuple[Tensor, Tensor]] | None = None
        self._kernels: tuple[object, Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.tiled and not any(side % TILE for side in input.shape[2:]):
            dtype = input.dtype
            if torch.is_autocast_enabled("cpu"):
                dtype = torch.get_autocast_dtype("cpu")
            if dtype in _TYPES:
                given = input.to(dtype)
                return _Tiled.apply(given, self.weight, self.bias, self)  # type: ignore
        padded = functional.pad(input, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(padded, self.weight, self.bias)

    def kernels(self, dtype: torch.dtype) -> Tensor:
        """(36, outer, inner) transformed weights, made anew when the weights have changed."""
        now = (self.weight.data_ptr(), self.weight._version, dtype)
        if self._kernels is None or self._kernels[0] != now:
            self._kernels = now, _kernels_of(self.weight.detach().float(), dtype)
        return self._kernels[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kernels": None}  # copies make their own

    @torch.no_grad()
    def learn(self) -> None:
        """Add what was held back to the weights' gradient."""
        held, self.later = self.later, None
        if held:
            made, seen = (torch.cat(parts, dim=1) for parts in zip(*held, strict=True))
            slope = _slope(made, seen)
            self.weight.grad = slope if self.weight.grad is None else self.weight.grad + slope


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, weight: Tensor, bias: Tensor | None, conv: ReflectedConv2d
    ) -> Tensor:
        kernels = conv.kernels(pixels.dtype)
        ctx.conv = conv
        columns = pixels.shape[3] // TILE
        seen = _cut(pixels, _mirrored(pixels.shape), _matrices()[0], columns)
        ctx.save_for_backward(seen, kernels)
        ctx.shape, ctx.biased = pixels.shape, bias is not None
        made = torch.bmm(seen, kernels.transpose(1, 2))
        shape = (len(pixels), len(weight), *pixels.shape[2:])
        return _join(made, _matrices()[2], bias, columns, shape)

    @staticmethod
    def backward(ctx: Any, change: Tensor):  # type: ignore
        seen, kernels = ctx.saved_tensors
        from_pixels, _, to_pixels = _matrices()
        count, inner = ctx.shape[:2]
        columns = ctx.shape[3] // TILE
        made = _cut(change.to(seen.dtype), _plain(ctx.shape), to_pixels.T, columns)
        pixels = weight = bias = None
        if ctx.needs_input_grad[0]:
            pixels = _pixels(seen.dtype, ctx.shape)
            arrays = _array(torch.bmm(made, kernels)), _mirrored(ctx.shape)
            rest = np.ascontiguousarray(from_pixels.T), columns, _array(pixels)
            _divided(tiles.spread, count * inner // LANES, *arrays, *rest)
            pixels = pixels.permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            if ctx.conv.later is not None:
                ctx.conv.later.append((made, seen))
            else:
                weight = _slope(made, seen)
        if ctx.needs_input_grad[2]:
            bias = change.sum((0, 2, 3), dtype=torch.float32)
        return pixels, weight, bias, None


def is_worthwhile(device: torch.device) -> bool:
    """True for CPUs, unless they multiply whole tiles of bfloat16 (AMX), which is faster still."""
    tiled = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return device.type == "cpu" and not tiled()


def use_winograd(network: nn.Module, used: bool = True) -> None:
    """Let the wide convolutions of a network on a CPU be done after Winograd."""
    for module in network.modules():
        if isinstance(module, ReflectedConv2d):
            channels = module.in_channels, module.out_channels
            fits = min(channels) >= _LEAST and not any(count % LANES for count in channels)
            module.tiled = used and fits


@contextmanager
def weights_at_once(network: nn.Module) -> Iterator[None]:
    """While gradients are found within, those of tiled weights are summed up once, at the end.

    A network that draws frame after frame uses the same weights for each; one long product of
    matrices is faster than many short ones.
    """
    convs = [module for module in network.modules() if isinstance(module, ReflectedConv2d)]
    for conv in convs:
        conv.later = []
    try:
        yield
    except BaseException:
        for conv in convs:
            conv.later = None
        raise
    for conv in convs:
        conv.learn()


def _slope(made: Tensor, seen: Tensor) -> Tensor:
    """Gradient of weights (outer, inner, 3, 3) from tiles of outer and of inner channels."""
    kernels = torch.bmm(made.transpose(1, 2), seen)
    shape = (*kernels.shape[1:], _KERNEL, _KERNEL)
    return _join(kernels, _matrices()[1].T, None, 1, shape, torch.float32)


def _kernels_of(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return _cut(weight, _plain(weight.shape), _matrices()[1], 1, dtype)


def _cut(
    pictures: Tensor,
    around: NDArray[np.int64],
    matrix: NDArray[np.float32],
    columns: int,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """(B, C, H, W) -> (36, tiles, C); see `tiles.cut`."""
    rows = max((pictures.shape[2] // TILE), 1)
    count = len(pictures) * rows * columns
    made = torch.empty(SEEN**2, count, pictures.shape[1], dtype=dtype or pictures.dtype)
    pixels = pictures.detach().permute(0, 2, 3, 1).contiguous()
    matrix = np.ascontiguousarray(matrix)
    _divided(tiles.cut, count, _array(pixels), around, matrix, columns, _array(made))
    return made


def _join(
    made: Tensor,
    matrix: NDArray[np.float32],
    bias: Tensor | None,
    columns: int,
    shape: tuple[int, ...],
    dtype: torch.dtype | None = None,
) -> Tensor:
    """(36, tiles, C) -> (B, C, H, W), channels last; see `tiles.join`."""
    pixels = _pixels(dtype or made.dtype, shape)
    added = np.zeros(shape[1], np.float32)
    if bias is not None:
        added = bias.detach().float().numpy()
    matrix = np.ascontiguousarray(matrix)
    _divided(tiles.join, made.shape[1], _array(made), matrix, added, columns, _array(pixels))
    return pixels.permute(0, 3, 1, 2)


def _pixels(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape[0], *shape[2:], shape[1], dtype=dtype)


def _array(values: Tensor) -> NDArray[Any]:
    return (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).numpy()


@cache
def _mirrored(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(2, longest side + 2) which row and column stands where; see `tiles.cut`."""
    longest = max(shape[2:])
    around = np.zeros((2, longest + 2), np.int64)
    for axis, side in enumerate(shape[2:]):
        around[axis, : side + 2] = [1, *range(side), side - 2]
    return around


@cache
def _plain(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.tile(np.arange(max(shape[2:])), (2, 1))


def _divided(kernel: Callable[..., None], count: int, *given: Any) -> None:
    """Run a kernel over 0 to count, with as many threads as torch has."""
    threads = max(min(torch.get_num_threads(), count), 1)
    limits = [count * k // threads for k in range(threads + 1)]
    if threads == 1:
        kernel(*given, 0, count)
        return
    runs = [_pool().submit(kernel, *given, *ends) for ends in pairwise(limits)]
    for run in runs:
        run.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="winograd")


@cache
def _matrices() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What tiles, kernels and products are multiplied with: (6, 6), (6, 3) and (4, 6)."""
    weights = [math.prod(a - b for b in _POINTS if b != a) for a in _POINTS]
    to_pixels = [[a**k for a in _POINTS] + [Fraction(int(k == TILE - 1))] for k in range(TILE)]
    from_kernel = [
        [a**k / weight for k in range(_KERNEL)] for a, weight in zip(_POINTS, weights, strict=True)
    ]
    from_kernel.append([Fraction(int(k == _KERNEL - 1)) for k in range(_KERNEL)])
    from_pixels = [[*_polynomial([b for b in _POINTS if b != a]), Fraction(0)] for a in _POINTS]
    from_pixels.append(_polynomial(_POINTS))
    return _floats(from_pixels), _floats(from_kernel), _floats(to_pixels)


def _floats(rows: list[list[Fraction]]) -> NDArray[np.float32]:
    return np.array([[float(value) for value in row] for row in rows], np.float32)


def _polynomial(roots: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *found], [*(-root * value for value in found), Fraction(0)]
        found = [one + other for one, other in zip(shifted, scaled, strict=True)]
    return found
