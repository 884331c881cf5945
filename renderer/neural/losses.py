"""Losses: how far a drawn face is from the filmed one, and from fooling its discriminators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ned.core.files.checkpoint import load_strict, load_weights

Adversarial = Literal["ls", "hinge"]
Judgement = Sequence[Sequence[Tensor]]  # of a discriminator: [scale][layer]

_SSIM_WINDOW = 7  # pixels
_SSIM_FLOORS = (0.01**2, 0.03**2)  # for pictures from 0 to 1
# VGG-19 as in torchvision: convolutions per block, and the channels of each block.
_VGG_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (1, 512))
_VGG_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)


def adversarial_loss(judged: Judgement, real: bool, kind: Adversarial = "ls") -> Tensor:
    """How far a discriminator is from calling pictures real, or made; summed over scales.

    Args:
        judged: of pictures. real: what they shall be called.
        kind: "ls", squared error to 1 or 0 (Mao et al., 2017), or "hinge" (Lim & Ye, 2017).
    """
    total = judged[0][-1].new_zeros((), dtype=torch.promote_types(judged[0][-1].dtype, _AT_LEAST))
    for scale in judged:
        value = _wide(scale[-1])
        if kind == "ls":
            total = total + (value - float(real)).square().mean()
        else:
            total = total + functional.relu(1 - value if real else 1 + value).mean()
    return total


def fooling_loss(judged: Judgement, kind: Adversarial = "ls") -> Tensor:
    """How far made pictures are from being called real; what the generator makes small."""
    if kind == "ls":
        return adversarial_loss(judged, True)
    return -sum((_wide(scale[-1]).mean() for scale in judged[1:]), _wide(judged[0][-1]).mean())


def feature_loss(made: Judgement, real: Judgement) -> Tensor:
    """Mean distance of what a discriminator's layers see (Wang et al., pix2pixHD, 2018).

    Layers but the judgement count 4 / (layers + 1) for its `layers` strided or normalised inner
    ones, scales alike. Nothing flows back through the real pictures.
    """
    layers = len(made[0]) - 1
    weight = 4 / layers / len(made)
    parts = [
        (_wide(one) - _wide(other.detach())).abs().mean()
        for scale, wanted in zip(made, real, strict=True)
        for one, other in zip(scale[:-1], wanted[:-1], strict=True)
    ]
    return weight * torch.stack(parts).sum()


def structure_loss(made: Tensor, real: Tensor, scales: int = 4) -> Tensor:
    """Stand-in for a perceptual loss that needs no weights of anybody.

    At every scale of an average-pooled pyramid: the mean absolute difference of horizontal and
    vertical gradients (edges where they belong; blur costs) and 1 − SSIM with a 7-pixel box window
    (Wang et al., 2004), and at the coarsest one the mean absolute difference of colours. Mean over
    scales; pictures (B, 3, H, W) in [-1, 1].
    """
    made, real = (_wide(made) + 1) / 2, (_wide(real) + 1) / 2
    total = made.new_zeros(())
    for scale in range(scales):
        for axis in (2, 3):
            edges = made.diff(dim=axis) - real.diff(dim=axis)
            total = total + 2 * edges.abs().mean()
        if min(made.shape[2:]) >= _SSIM_WINDOW:
            total = total + (1 - _ssim(made, real))
        if scale < scales - 1 and min(made.shape[2:]) >= 2 * _SSIM_WINDOW:
            made, real = functional.avg_pool2d(made, 2), functional.avg_pool2d(real, 2)
    return total / scales + (made - real).abs().mean()


class StructureLoss(nn.Module):
    """`structure_loss`, where a network is expected."""

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """The distance of pictures (B, 3, H, W) in [-1, 1]."""
        return structure_loss(made, real)


class PerceptualLoss(nn.Module):
    """Distance of what five layers of VGG-19 see (Johnson et al., 2016), inputs in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        self._ends: list[int] = []  # one past the first ReLU of each block
        for count, wider in _VGG_BLOCKS:
            for k in range(count):
                layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU()]
                channels = wider
                if k == 0:
                    self._ends.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[: self._ends[-1]])
        self.requires_grad_(False)

    @classmethod
    def load(cls, path: Path) -> PerceptualLoss:
        """With torchvision's weights of VGG-19; what classifies in its file is not used.

        Raises:
            InputError: The file is missing or damaged. AssetError: It is another network.
        """
        network = cls()
        load_strict(network, _needed(load_weights(path), network), path)
        return network

    def layers(self, pictures: Tensor) -> list[Tensor]:
        """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of (B, 3, H, W)."""
        found, start, seen = [], 0, pictures
        for end in self._ends:
            seen = self.features[start:end](seen)
            found.append(seen)
            start = end
        return found

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """The distance of pictures (B, 3, H, W) in [-1, 1]."""
        with torch.no_grad():
            wanted = self.layers(real)
        parts = [
            weight * (_wide(one) - _wide(other)).abs().mean()
            for weight, one, other in zip(_VGG_WEIGHTS, self.layers(made), wanted, strict=True)
        ]
        return torch.stack(parts).sum()


_AT_LEAST = torch.float32


def _wide(values: Tensor) -> Tensor:
    """Short numbers as float32, float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, _AT_LEAST))


def _ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean structural similarity of pictures in [0, 1], box window."""

    def mean(values: Tensor) -> Tensor:
        rows = functional.avg_pool2d(values, (_SSIM_WINDOW, 1), 1)
        return functional.avg_pool2d(rows, (1, _SSIM_WINDOW), 1)

    one, two = mean(first), mean(second)
    spread = mean(first * first) - one * one + mean(second * second) - two * two
    shared = mean(first * second) - one * two
    low, high = _SSIM_FLOORS
    similar = (2 * one * two + low) * (2 * shared + high)
    return (similar / ((one * one + two * two + low) * (spread + high))).mean()


def _needed(state: Mapping[str, Any], network: nn.Module) -> dict[str, Any]:
    own = network.state_dict()
    return {key: value for key, value in state.items() if key in own}
