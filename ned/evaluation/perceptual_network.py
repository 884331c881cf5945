"""The LPIPS network: AlexNet's features, compared layer by layer with learned weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHANNELS = (64, 192, 384, 256, 256)
_ENDS = (2, 5, 8, 10, 12)  # of the slices of `features` that end after a rectifier
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_SMALLEST = 1e-10

LEAST_SIDE = 31
"""Pixels; smaller pictures vanish between the layers."""


class AlexNetFeatures(nn.Module):
    """The convolutions of Krizhevsky's "One weird trick" AlexNet, keys as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth, fifth = _CHANNELS
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(first, second, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(third, fourth, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(fourth, fifth, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(N, 3, H, W) normalised -> five (N, C, h, w) activations."""
        results, values = [], pictures
        for start, end in zip((0, *_ENDS), _ENDS, strict=False):
            values = self.features[start:end](values)
            results.append(values)
        return results


class _Weights(nn.Module):
    """A learned weight per channel; keys as in the published file (`model.1.weight`)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))


class LayerWeights(nn.Module):
    """The learned part of LPIPS, keys as in lpips/weights/v0.1/alex.pth."""

    def __init__(self) -> None:
        super().__init__()
        for index, channels in enumerate(_CHANNELS):
            self.add_module(f"lin{index}", _Weights(channels))

    def of_layer(self, index: int) -> Tensor:
        """(1, C, 1, 1) weights."""
        return self.get_parameter(f"lin{index}.model.1.weight")


class LpipsNetwork(nn.Module):
    """LPIPS v0.1 of Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric" (CVPR 2018), eq. 1, with AlexNet."""

    def __init__(self) -> None:
        super().__init__()
        self.alexnet = AlexNetFeatures()
        self.weights = LayerWeights()
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [-1, 1], twice -> (N,) distances."""
        shift, scale = self.get_buffer("shift"), self.get_buffer("scale")
        pairs = zip(
            *(self.alexnet((each - shift) / scale) for each in (first, second)), strict=True
        )
        total = first.new_zeros(len(first))
        for index, (one, other) in enumerate(pairs):
            apart = (_unit(one) - _unit(other)) ** 2
            total = total + functional.conv2d(apart, self.weights.of_layer(index)).mean((1, 2, 3))
        return total


def _unit(values: Tensor) -> Tensor:
    """Every place's channels divided by their length."""
    return values / (values.square().sum(1, keepdim=True).sqrt() + _SMALLEST)
