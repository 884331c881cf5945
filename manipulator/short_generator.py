"""ShortGenerator: a trained generator that counts in bfloat16, for inference only.

torch's own LSTM is slower in bfloat16 than in float32 on CPUs. Written out as matrix products it
is faster, since those products are what CPUs with AVX-512 BF16 or AMX do at two and more times the
speed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from manipulator.networks import Generator

_SHORT = torch.bfloat16


class ShortGenerator:
    """Does what its generator does, to about three digits.

    Attributes:
        residual: as in the generator.
    """

    def __init__(self, generator: Generator) -> None:
        self.residual = generator.residual
        self._before = _short_linears(generator.seq1)
        self._after = _short_linears(generator.seq2)
        self._cells = [
            tuple(_Direction(generator.LSTM, layer, backward) for backward in (False, True))
            for layer in range(generator.LSTM.num_layers)
        ]

    @torch.inference_mode()
    def __call__(self, windows: Tensor, styles: Tensor) -> Tensor:
        """(W, L, V) windows and (W, S) styles -> (W, L, V) float32."""
        count, length = windows.shape[:2]
        styles = styles[:, None].expand(-1, length, -1)
        given = torch.cat([windows, styles], dim=2).transpose(0, 1).reshape(length * count, -1)
        result = self._run(given, _apart(count), count)
        return windows.float() + result if self.residual else result

    @torch.inference_mode()
    def over(self, frames: Tensor, style: Tensor, length: int) -> Tensor:
        """Translate all windows of a sequence with one style.

        What comes before the first recurrent step depends on the frame alone and is done once per
        frame, not once for each of the windows that hold it.

        Args:
            frames: (T, V). style: (S,). length: frames per window, at most T.

        Returns:
            (T - length + 1, length, V) float32.
        """
        count = len(frames) - length + 1
        given = torch.cat([frames, style.expand(len(frames), -1)], dim=1)

        def steps(entered: Tensor) -> list[Tensor]:  # window w at step t sees frame w + t
            return [entered[step : step + count] for step in range(length)]

        result = self._run(given, steps, count)
        if self.residual:
            result = result + frames.float().unfold(0, length, 1).transpose(1, 2)
        return result

    def _run(self, given: Tensor, steps: Callable[[Tensor], list[Tensor]], count: int) -> Tensor:
        """Frames with styles -> (count, L, V); `steps` sorts what enters the LSTM by time."""
        hidden = given.to(_SHORT)
        for weight, bias in self._before:
            hidden = functional.linear(hidden, weight, bias).relu_()
        for layer, cells in enumerate(self._cells):
            if layer == 1:
                steps = _apart(count)
            hidden = torch.cat([cell.run(steps(cell.entered(hidden))) for cell in cells], dim=1)
        for weight, bias in self._after[:-1]:
            hidden = functional.linear(hidden, weight, bias).relu_()
        result = functional.linear(hidden, *self._after[-1])
        return result.reshape(-1, count, result.shape[1]).transpose(0, 1).float()


class _Direction:
    """One layer of an LSTM in one direction."""

    def __init__(self, lstm: nn.LSTM, layer: int, backward: bool) -> None:
        end = f"l{layer}" + "_reverse" * backward
        self.backward = backward
        bias = getattr(lstm, f"bias_ih_{end}") + getattr(lstm, f"bias_hh_{end}")
        self.enter = _doubled(getattr(lstm, f"weight_ih_{end}"))
        self.bias = _doubled(bias)
        self.again = _doubled(getattr(lstm, f"weight_hh_{end}")).t().contiguous()

    def entered(self, values: Tensor) -> Tensor:
        """(N, inputs) -> (N, 4 * hidden) what inputs give to the gates."""
        return functional.linear(values, self.enter, self.bias)

    def run(self, entered: list[Tensor]) -> Tensor:
        """T arrays (B, 4 * hidden) of `entered`, one per step -> (T * B, hidden), step by step."""
        count, width = entered[0].shape[0], entered[0].shape[1] // 4
        result = entered[0].new_empty(len(entered), count, width)
        order = range(len(entered))
        hidden = cell = None
        for step in reversed(order) if self.backward else order:
            gates = entered[step]
            if hidden is not None:
                gates = torch.addmm(gates, hidden, self.again)
            enter, forget, new, leave = gates.sigmoid().chunk(4, dim=1)
            kept = enter.neg() if cell is None else (forget * cell).sub_(enter)
            cell = kept.addcmul_(enter, new, value=2)
            hidden = torch.mul(leave, cell.tanh(), out=result[step])
        return result.reshape(len(entered) * count, width)


def _apart(count: int) -> Callable[[Tensor], list[Tensor]]:
    """Sorting of (L * count, ...) rows into steps of `count`."""
    return lambda entered: list(entered.reshape(-1, count, entered.shape[1]))


def _doubled(gates: Tensor) -> Tensor:
    """An LSTM's rows for its four gates, the third doubled: tanh(x) is 2 sigmoid(2 x) - 1."""
    enter, forget, new, leave = gates.detach().chunk(4)
    return torch.cat([enter, forget, 2 * new, leave]).to(_SHORT)


def _short_linears(layers: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    return [
        (layer.weight.detach().to(_SHORT), layer.bias.detach().to(_SHORT))
        for layer in layers
        if isinstance(layer, nn.Linear)
    ]
