"""UnrolledGenerator: a trained generator written out as products of matrices, for inference only.

torch's own LSTM is slower in bfloat16 than in float32 on CPUs. Written out, it is faster in
bfloat16, since matrix products are what CPUs with AVX-512 BF16 or AMX do at two and more times the
speed; and in any precision, what depends on a frame alone is not done for every window that holds
the frame, and a step that has nothing before it multiplies with nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from manipulator.networks import Generator

_Gates = Callable[[int], Tensor]


class UnrolledGenerator:
    """Does what its generator does, in bfloat16 to about three digits.

    Attributes:
        residual: as in the generator. dtype: of weights and of all that is between.
    """

    def __init__(self, generator: Generator, dtype: torch.dtype = torch.bfloat16) -> None:
        """Take over weights, as they are (uncopied) where they have the type already."""
        self.residual, self.dtype = generator.residual, dtype
        self._before = _linears(generator.seq1, dtype)
        self._after = _linears(generator.seq2, dtype)
        self._cells = [
            tuple(_Direction(generator.LSTM, layer, backward, dtype) for backward in (False, True))
            for layer in range(generator.LSTM.num_layers)
        ]

    @torch.inference_mode()
    def __call__(self, windows: Tensor, styles: Tensor) -> Tensor:
        """(W, L, V) windows and (W, S) styles -> (W, L, V) in the windows' type."""
        count, length = windows.shape[:2]
        styles = styles[:, None].expand(-1, length, -1)
        given = torch.cat([windows, styles], dim=2).transpose(0, 1).flatten(0, 1)
        seen = self._prepared(given).unflatten(0, (length, count))
        result = self._recurrent([_each(cell, seen) for cell in self._cells[0]], (length, count))
        result = result.to(windows)
        return windows + result if self.residual else result

    @torch.inference_mode()
    def over(self, frames: Tensor, style: Tensor, length: int) -> Tensor:
        """Translate all windows of a sequence with one style.

        What comes before the first recurrent step depends on the frame alone and is done once per
        frame, not once for each of the windows that hold it.

        Args:
            frames: (T, V). style: (S,). length: frames per window, at most T.

        Returns:
            (T - length + 1, length, V).
        """
        count = len(frames) - length + 1
        prepared = self._prepared(torch.cat([frames, style.expand(len(frames), -1)], dim=1))
        gates = [_shared(cell.entered(prepared), count) for cell in self._cells[0]]
        result = self._recurrent(gates, (length, count)).to(frames)
        return frames.unfold(0, length, 1).transpose(1, 2) + result if self.residual else result

    def _prepared(self, given: Tensor) -> Tensor:
        """(N, V + S) frames with styles -> (N, inputs) what enters the LSTM."""
        hidden = given.to(self.dtype)
        for weight, bias in self._before:
            hidden = functional.linear(hidden, weight, bias).relu_()
        return hidden

    def _recurrent(self, gates: list[_Gates], size: tuple[int, int]) -> Tensor:
        """LSTM and what comes after it, step by step: what is between stays near the processor.

        Args:
            gates: of the first layer, onwards and backwards. size: steps L, windows W.

        Returns:
            (W, L, V).
        """
        seen = self._pass(self._cells[0], gates, size)
        for cells in self._cells[1:]:
            seen = self._pass(cells, [_each(cell, seen) for cell in cells], size)
        return torch.stack([self._finished(step) for step in seen], dim=1)

    def _pass(
        self, cells: tuple[_Direction, ...], gates: list[_Gates], size: tuple[int, int]
    ) -> Tensor:
        """One layer: (L, W, 2 * hidden)."""
        seen = torch.empty(
            (*size, sum(cell.width for cell in cells)),
            dtype=self.dtype,
            device=cells[0].bias.device,
        )
        for cell, given, here in zip(cells, gates, seen.chunk(len(cells), dim=2), strict=True):
            cell.run(given, here)
        return seen

    def _finished(self, hidden: Tensor) -> Tensor:
        for weight, bias in self._after[:-1]:
            hidden = functional.linear(hidden, weight, bias).relu_()
        return functional.linear(hidden, *self._after[-1])


class _Direction:
    """One layer of an LSTM in one direction.

    Attributes:
        width: of its state.
    """

    def __init__(self, lstm: nn.LSTM, layer: int, backward: bool, dtype: torch.dtype) -> None:
        end = f"l{layer}" + "_reverse" * backward
        self.backward, self.width = backward, lstm.hidden_size
        bias = getattr(lstm, f"bias_ih_{end}") + getattr(lstm, f"bias_hh_{end}")
        self.enter = getattr(lstm, f"weight_ih_{end}").detach().to(dtype)
        self.bias = bias.detach().to(dtype)
        self.again = getattr(lstm, f"weight_hh_{end}").detach().to(dtype).t()

    def entered(self, values: Tensor) -> Tensor:
        """(N, inputs) -> (N, 4 * width) what inputs give to the gates."""
        return functional.linear(values, self.enter, self.bias)

    def run(self, entered: _Gates, out: Tensor) -> None:
        """Fill (L, W, width) with the state at every step.

        Args:
            entered: step -> (W, 4 * width) what inputs give to the gates; it is overwritten.
        """
        order = range(len(out))
        hidden = cell = None
        for step in reversed(order) if self.backward else order:
            gates = entered(step)
            if hidden is not None:
                gates.addmm_(hidden, self.again)
            enter, forget, new, leave = gates.chunk(4, dim=1)
            gates[:, : 2 * self.width].sigmoid_()
            leave.sigmoid_()
            kept = new.tanh_().mul_(enter)
            cell = kept.contiguous() if cell is None else cell.mul_(forget).add_(kept)
            hidden = torch.mul(leave, cell.tanh(), out=out[step])


def _each(cell: _Direction, seen: Tensor) -> _Gates:
    """Of (L, W, inputs), every window having its own."""
    return lambda step: cell.entered(seen[step])


def _shared(entered: Tensor, count: int) -> _Gates:
    """Of (T, gates) frames that windows share: window w sees frame w + t at step t."""
    return lambda step: entered[step : step + count].clone()


def _linears(layers: nn.Sequential, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    return [
        (layer.weight.detach().to(dtype), layer.bias.detach().to(dtype))
        for layer in layers
        if isinstance(layer, nn.Linear)
    ]
