"""Winograd: convolutions with two to four times fewer multiplications, for CPUs.

F(m x m, k x k) of Lavin & Gray (2016) with the interpolation points 0, 1, -1, 2, -1/2 and infinity,
as many as are needed, which round less than the usual 0, 1, -1, 2, -2. What is learnt goes the same
way backwards: every step is linear, and its adjoint is the transposed matrix.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from renderer.neural import tiles
from renderer.neural.tiles import LANES

_POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 2))
_KERNELS = (3, 4)
_LEAST = 128  # channels; with fewer, transforming costs more than is saved
_MADE = threading.local()
_TYPES = (torch.float32, torch.bfloat16)


class TiledConv2d(nn.Conv2d):
    """A convolution that a CPU may do after Winograd.

    Attributes:
        tile: pixels of a tile and axis, 0 if it does not.
        later: what the weights' gradient is made of, while `weights_at_once` holds it back.
    """

    def __init__(self, inner: int, outer: int, kernel: int, padding: int, mirrored: bool) -> None:
        mode = "reflect" if mirrored else "zeros"
        super().__init__(inner, outer, kernel, padding=padding, padding_mode=mode)
        self.tile = 0
        self.later: list[tuple[Tensor, Tensor]] | None = None
        self._kernels: tuple[object, Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.tile:
            dtype = input.dtype
            if torch.is_autocast_enabled("cpu"):
                dtype = torch.get_autocast_dtype("cpu")
            if dtype in _TYPES:
                return _Tiled.apply(input.to(dtype), self.weight, self.bias, self)  # type: ignore
        return super().forward(input)

    def can_be_tiled(self) -> bool:
        """True if it is of a kind that tiles are made for."""
        channels = self.in_channels, self.out_channels
        fits = min(channels) >= _LEAST and not any(count % LANES for count in channels)
        return fits and self.kernel_size[0] in _KERNELS

    def kernels(self, dtype: torch.dtype) -> Tensor:
        """(n * n, outer, inner) transformed weights, made anew when the weights have changed.

        Fused optimisers change weights without a trace; call `forget` after their steps.
        """
        now = (self.weight.data_ptr(), self.weight._version, dtype, self.tile)
        if self._kernels is None or self._kernels[0] != now:
            self._kernels = now, _kernels_of(self.weight.detach().float(), self.tile, dtype)
        return self._kernels[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_kernels": None}  # copies make their own

    def forget(self) -> None:
        """Transform the weights anew when they are needed next."""
        self._kernels = None

    @torch.no_grad()
    def learn(self) -> None:
        """Add what was held back to the weights' gradient."""
        held, self.later = self.later, None
        if held:
            made, seen = (torch.cat(parts, dim=1) for parts in zip(*held, strict=True))
            slope = _slope(made, seen, self.kernel_size[0], self.tile)
            self.weight.grad = slope if self.weight.grad is None else self.weight.grad + slope


@dataclass(frozen=True)
class _Grid:
    """How a picture is cut into tiles.

    Attributes:
        side: pixels of a tile and axis. made: (rows, columns) of pixels that come out.
        rows, columns: of tiles. seen, plain: for `tiles.cut`, where rows and columns of what goes
            in and of what comes out stand.
    """

    side: int
    made: tuple[int, int]
    rows: int
    columns: int
    seen: NDArray[np.int64]
    plain: NDArray[np.int64]


@cache
def _grid(shape: tuple[int, int], kernel: int, padding: int, mirrored: bool, side: int) -> _Grid:
    made = shape[0] + 2 * padding + 1 - kernel, shape[1] + 2 * padding + 1 - kernel
    rows, columns = (-(-length // side) for length in made)
    seen = np.full((2, max(rows, columns) * side + kernel - 1), -1)
    plain = np.full((2, max(rows, columns) * side), -1)
    for axis, (given, length) in enumerate(zip(shape, made, strict=True)):
        where = np.arange(-padding, given + padding)
        outside = (where < 0) | (where >= given)
        mirror = given - 1 - np.abs(given - 1 - np.abs(where))
        seen[axis, : len(where)] = mirror if mirrored else np.where(outside, -1, where)
        plain[axis, :length] = np.arange(length)
    return _Grid(side, made, rows, columns, seen, plain)


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, weight: Tensor, bias: Tensor | None, conv: TiledConv2d
    ) -> Tensor:
        kernel, padding = weight.shape[2], int(conv.padding[0])
        mirrored = conv.padding_mode == "reflect"
        grid = _grid((pixels.shape[2], pixels.shape[3]), kernel, padding, mirrored, conv.tile)
        from_pixels, _, to_pixels = _matrices(kernel, conv.tile)
        kernels = conv.kernels(pixels.dtype)
        seen = _cut(pixels, grid.seen, from_pixels, (grid.side, grid.columns), grid.rows)
        ctx.save_for_backward(seen, kernels)
        ctx.conv, ctx.grid, ctx.shape = conv, grid, pixels.shape
        made = _product(seen, kernels.transpose(1, 2))
        shape = (len(pixels), len(weight), *grid.made)
        return _join(made, to_pixels, bias, grid.columns, shape)

    @staticmethod
    def backward(ctx: Any, change: Tensor):  # type: ignore
        seen, kernels = ctx.saved_tensors
        grid, conv, kernel = ctx.grid, ctx.conv, ctx.conv.kernel_size[0]
        from_pixels, _, to_pixels = _matrices(kernel, grid.side)
        count, inner = ctx.shape[:2]
        steps = grid.side, grid.columns
        made = _cut(change.to(seen.dtype), grid.plain, to_pixels.T, steps, grid.rows)
        pixels = weight = bias = None
        if ctx.needs_input_grad[0]:
            pixels = _pixels(seen.dtype, ctx.shape)
            arrays = _array(_product(made, kernels)), grid.seen
            rest = np.ascontiguousarray(from_pixels.T), steps, _array(pixels)
            _divided(tiles.spread, count * inner // LANES, *arrays, *rest)
            pixels = pixels.permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            if conv.later is not None:
                conv.later.append((made, seen))
            else:
                weight = _slope(made, seen, kernel, grid.side)
        if ctx.needs_input_grad[2]:
            bias = change.sum((0, 2, 3), dtype=torch.float32)
        return pixels, weight, bias, None


def is_worthwhile(device: torch.device) -> bool:
    """True for CPUs, unless they multiply whole tiles of bfloat16 (AMX), which is faster still."""
    tiled = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return device.type == "cpu" and not tiled()


def use_winograd(network: nn.Module, tile: int = 4) -> None:
    """Let the wide convolutions of a network on a CPU be done after Winograd.

    Args:
        tile: pixels of a tile and axis, 0 for plain convolutions. Tiles of 4 save most; tiles of 2
            are several times more exact in bfloat16.
    """
    for module in network.modules():
        if isinstance(module, TiledConv2d):
            module.tile = tile if module.can_be_tiled() else 0


def weights_have_changed(network: nn.Module) -> None:
    """Tell tiled convolutions that an optimiser has made its step."""
    for module in network.modules():
        if isinstance(module, TiledConv2d):
            module.forget()


@contextmanager
def weights_at_once(network: nn.Module) -> Iterator[None]:
    """While gradients are found within, those of tiled weights are summed up once, at the end.

    A network that draws frame after frame uses the same weights for each; one long product of
    matrices is faster than many short ones.
    """
    convs = [module for module in network.modules() if isinstance(module, TiledConv2d)]
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


def _slope(made: Tensor, seen: Tensor, kernel: int, tile: int) -> Tensor:
    """Gradient of weights (outer, inner, k, k) from tiles of outer and of inner channels."""
    kernels = _product(made.transpose(1, 2), seen)
    shape = (*kernels.shape[1:], kernel, kernel)
    return _join(kernels, _matrices(kernel, tile)[1].T, None, 1, shape, torch.float32)


def _kernels_of(weight: Tensor, tile: int, dtype: torch.dtype) -> Tensor:
    kernel = weight.shape[2]
    around = np.tile(np.arange(kernel), (2, 1))
    return _cut(weight, around, _matrices(kernel, tile)[1], (kernel, 1), 1, dtype)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """one @ other in memory of this thread's that the next such product uses again."""
    shape = (*one.shape[:2], other.shape[2])
    key = shape, one.dtype, torch.is_inference_mode_enabled()
    if key not in _MADE.__dict__.setdefault("kept", {}):
        _MADE.kept[key] = torch.empty(shape, dtype=one.dtype)
    return torch.bmm(one, other, out=_MADE.kept[key])


def _cut(
    pictures: Tensor,
    around: NDArray[np.int64],
    matrix: NDArray[np.float32],
    steps: tuple[int, int],
    rows: int,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """(B, C, H, W) -> (n * n, tiles, C); see `tiles.cut`."""
    count = len(pictures) * rows * steps[1]
    made = torch.empty(len(matrix) ** 2, count, pictures.shape[1], dtype=dtype or pictures.dtype)
    pixels = pictures.detach().permute(0, 2, 3, 1).contiguous()
    matrix = np.ascontiguousarray(matrix)
    _divided(tiles.cut, count, _array(pixels), around, matrix, steps, _array(made))
    return made


def _join(
    made: Tensor,
    matrix: NDArray[np.float32],
    bias: Tensor | None,
    columns: int,
    shape: tuple[int, ...],
    dtype: torch.dtype | None = None,
) -> Tensor:
    """(n * n, tiles, C) -> (B, C, H, W), channels last; see `tiles.join`."""
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
def _matrices(
    kernel: int, tile: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What tiles, kernels and products are multiplied with: (n, n), (n, k) and (tile, n)."""
    points = _POINTS[: tile + kernel - 2]
    weights = [math.prod(a - b for b in points if b != a) for a in points]
    to_pixels = [[a**k for a in points] + [Fraction(int(k == tile - 1))] for k in range(tile)]
    from_kernel = [
        [a**k / weight for k in range(kernel)] for a, weight in zip(points, weights, strict=True)
    ]
    from_kernel.append([Fraction(int(k == kernel - 1)) for k in range(kernel)])
    from_pixels = [[*_polynomial([b for b in points if b != a]), Fraction(0)] for a in points]
    from_pixels.append(_polynomial(points))
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
