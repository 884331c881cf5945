"""Winograd: 3 x 3 convolutions with four times fewer multiplications, for drawing on CPUs.

F(4 x 4, 3 x 3) of Lavin & Gray (2016) with the interpolation points 0, 1, -1, 2, -1/2 and infinity,
which round less than the usual 0, 1, -1, 2, -2. Every step is a product of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import torch
from torch import Tensor, nn

_TILE, _KERNEL = 4, 3
_POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 2))
_SEEN = _TILE + _KERNEL - 1  # input pixels per tile and axis
_LEAST = 128  # channels; with fewer, transforming costs more than is saved


class WinogradConv2d(nn.Module):
    """A 3 x 3 convolution of stride 1 without padding; it draws, and does not train.

    Attributes:
        plain: the convolution itself, for pictures whose sides are no multiples of four.
    """

    transformed: Tensor
    from_pixels: Tensor
    to_pixels: Tensor

    def __init__(self, plain: nn.Conv2d, dtype: torch.dtype) -> None:
        """Transform a convolution's weights.

        Args:
            dtype: of the products; what is between is float32.
        """
        super().__init__()
        self.plain = plain
        from_pixels, from_kernel, to_pixels = _matrices()
        outer, inner = plain.weight.shape[:2]
        kernels = plain.weight.detach().double().permute(2, 3, 1, 0).reshape(_KERNEL**2, -1)
        transformed = torch.kron(from_kernel, from_kernel) @ kernels
        self.register_buffer("transformed", transformed.view(-1, inner, outer).to(dtype))
        self.register_buffer("from_pixels", torch.kron(from_pixels, from_pixels).float())
        self.register_buffer("to_pixels", torch.kron(to_pixels, to_pixels).float())

    def forward(self, padded: Tensor) -> Tensor:
        """(B, C, H + 2, W + 2) -> (B, O, H, W), channels last."""
        count, inner, height, width = padded.shape
        rows, columns = (height - 2) // _TILE, (width - 2) // _TILE
        if rows * _TILE + 2 != height or columns * _TILE + 2 != width:
            return self.plain(padded)
        tiles = padded.permute(0, 2, 3, 1).unfold(1, _SEEN, _TILE).unfold(2, _SEEN, _TILE)
        tiles = tiles.permute(4, 5, 0, 1, 2, 3).reshape(_SEEN**2, -1).float()
        seen = (self.from_pixels @ tiles).view(_SEEN**2, -1, inner)
        made = torch.bmm(seen.to(self.transformed.dtype), self.transformed).float()
        outer = made.shape[-1]
        pixels = (self.to_pixels @ made.view(_SEEN**2, -1)).view(
            _TILE, _TILE, count, rows, columns, outer
        )
        whole = pixels.permute(2, 3, 0, 4, 1, 5).reshape(
            count, _TILE * rows, _TILE * columns, outer
        )
        if self.plain.bias is not None:
            whole = whole + self.plain.bias
        return whole.to(padded.dtype).permute(0, 3, 1, 2)


def is_worthwhile(device: torch.device) -> bool:
    """True for CPUs, unless they multiply whole tiles of bfloat16 (AMX), which is faster still."""
    tiled = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return device.type == "cpu" and not tiled()


def use_winograd(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the wide 3 x 3 convolutions of a network that draws."""
    for module in list(network.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and _fits(child):
                setattr(module, name, WinogradConv2d(child, dtype))


def _fits(conv: nn.Conv2d) -> bool:
    plain = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (0, 0)
    return plain and min(conv.in_channels, conv.out_channels) >= _LEAST


def _matrices() -> tuple[Tensor, Tensor, Tensor]:
    """What tiles, kernels and products are multiplied with: (6, 6), (6, 3) and (4, 6) float64."""
    weights = [math.prod(a - b for b in _POINTS if b != a) for a in _POINTS]
    to_pixels = [[a**k for a in _POINTS] + [Fraction(int(k == _TILE - 1))] for k in range(_TILE)]
    from_kernel = [
        [a**k / weight for k in range(_KERNEL)] for a, weight in zip(_POINTS, weights, strict=True)
    ]
    from_kernel.append([Fraction(int(k == _KERNEL - 1)) for k in range(_KERNEL)])
    from_pixels = [[*_polynomial([b for b in _POINTS if b != a]), Fraction(0)] for a in _POINTS]
    from_pixels.append(_polynomial(_POINTS))
    return _tensor(from_pixels), _tensor(from_kernel), _tensor(to_pixels)


def _tensor(rows: list[list[Fraction]]) -> Tensor:
    return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)


def _polynomial(roots: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *found], [*(-root * value for value in found), Fraction(0)]
        found = [one + other for one, other in zip(shifted, scaled, strict=True)]
    return found
