"""Made-up weights under the names and shapes of published files, for tests of what loads them."""

from __future__ import annotations

import math
from pathlib import Path

import torch

LPIPS_FILES = ("lpips_alex.pth", "alexnet-owt-7be5be79.pth")
_ALEXNET = {
    0: (64, 3, 11),
    3: (192, 64, 5),
    6: (384, 192, 3),
    8: (256, 384, 3),
    10: (256, 256, 3),
}


def write_lpips(folder: Path) -> None:
    """Write random weights of LPIPS and of its backbone."""
    generator = torch.Generator().manual_seed(0)
    linear, backbone = {}, {"classifier.6.bias": torch.zeros(1000)}
    for index, (key, (outputs, inputs, side)) in enumerate(_ALEXNET.items()):
        spread = math.sqrt(2 / (inputs * side * side))
        kernel = torch.randn(outputs, inputs, side, side, generator=generator) * spread
        backbone[f"features.{key}.weight"] = kernel
        backbone[f"features.{key}.bias"] = torch.zeros(outputs)
        linear[f"lin{index}.model.1.weight"] = torch.rand(1, outputs, 1, 1, generator=generator)
    for name, state in zip(LPIPS_FILES, (linear, backbone), strict=True):
        torch.save(state, folder / name)


class Means(torch.nn.Module):
    """Mean and largest level of every channel, with the call of the published Inception."""

    def forward(self, pictures: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        values = pictures.float().flatten(2)
        if not return_features:
            return values
        return torch.cat([values.mean(2), values.amax(2)], 1)
