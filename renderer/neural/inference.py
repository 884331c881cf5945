"""Inference: a trained generator draws face after face, each from the two before it."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ned.core.device import Precision, find_device, is_short_fast
from renderer.neural.networks import FRAMES, HISTORY, Generator, load_generator
from renderer.neural.trainer import as_conditioning, as_picture

_BATCH = 4  # frames whose conditioning is encoded together


class NeuralRenderer:
    """Draws a performance.

    Attributes:
        generator: in evaluation mode, on the device, in the precision that is fast there.
    """

    def __init__(
        self, generator: Generator, device: torch.device | None = None, short: bool = False
    ) -> None:
        """Put a copy of a generator to work; `short` computes in bfloat16."""
        self.device = device or torch.device("cpu")
        weight = next(generator.parameters())
        self.dtype = torch.bfloat16 if short else weight.dtype
        wide = self.device.type == "cpu" and not short
        self.layout = torch.contiguous_format if wide else torch.channels_last
        self.generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self.generator.to(self.device, self.dtype)
        self.generator.to(memory_format=self.layout)  # type: ignore[call-overload]

    @classmethod
    def load(
        cls, path: Path, device: str = "auto", precision: Precision = "auto"
    ) -> NeuralRenderer:
        """The generator of a file.

        Raises:
            InputError: The file is missing or damaged, or the device is not there.
            AssetError: It holds another network.
        """
        place = find_device(device)
        short = precision == "bfloat16" or (precision == "auto" and is_short_fast(place))
        return cls(load_generator(path), place, short)

    def render(
        self,
        conditioning: Iterable[NDArray[np.uint8]],
        lead: int = HISTORY,
        before: Sequence[NDArray[np.uint8]] = (),
    ) -> Iterator[NDArray[np.uint8]]:
        """Faces (S, S, 3) RGB, black off the mask, for conditioning (10, S, S) uint8.

        One for each frame: the first one counts as seen before the clip began, `lead` times. (With
        no lead, as published, the first two frames get no picture.)

        Args:
            before: faces drawn of the first two frames by a run before; then give no lead.
        """
        tensors = (as_conditioning(torch.from_numpy(frame)) for frame in conditioning)
        # bytes were cut: what they stand for lies half a level above, except off the mask
        levels = (torch.from_numpy(np.moveaxis(face, 2, 0)).float() for face in before)
        drawn = [as_picture(level + 0.5 * (level > 0)) for level in levels]
        for picture in self.draw(tensors, lead, drawn):
            yield as_bytes(picture)

    @torch.inference_mode()
    def draw(
        self, conditioning: Iterable[Tensor], lead: int = HISTORY, before: Sequence[Tensor] = ()
    ) -> Iterator[Tensor]:
        """`render` before rounding: (3, S, S) in [-1, 1] for (10, S, S) in [0, 1]."""
        windows = _windows(conditioning, lead)
        made = deque((self._laid(picture[None]) for picture in before), maxlen=HISTORY)
        while batch := list(itertools.islice(windows, _BATCH)):
            seen = self._laid(torch.stack(batch))
            encoded = self.generator.encode_conditioning(seen)
            for k in range(len(batch)):
                previous = None
                if made:
                    blank = [torch.zeros_like(made[0])] * (HISTORY - len(made))
                    previous = self._laid(torch.cat([*blank, *made], dim=1))
                here = slice(k, k + 1)
                made.append(self.generator.draw(encoded[here], seen[here], previous))
                yield made[-1][0]

    def _laid(self, values: Tensor) -> Tensor:
        return values.to(self.device, self.dtype).contiguous(memory_format=self.layout)


def as_bytes(values: Tensor, low: float = -1.0) -> NDArray[np.uint8]:
    """(C, H, W) numbers from `low` to 1 -> (H, W, C) uint8, cut (not rounded) as published."""
    levels = (values.float() - low) / (1 - low) * 255
    return levels.clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def _windows(conditioning: Iterable[Tensor], lead: int) -> Iterator[Tensor]:
    """(30, S, S) three frames that follow each other, the last one last."""
    held: deque[Tensor] = deque(maxlen=FRAMES)
    for frame in conditioning:
        if not held:
            held.extend([frame] * lead)
        held.append(frame)
        if len(held) == FRAMES:
            yield torch.cat(list(held))
