"""SegmentationNetwork: FSGAN's U-Net for background, face and hair (torch).

Nirkin et al., "FSGAN: Subject Agnostic Face Swapping and Reenactment", ICCV 2019; names and shapes
of the weights are those of lfw_figaro_unet_256_2_0_segmentation_v1.pth.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 3
BACKGROUND, FACE, HAIR = range(CLASSES)
_WIDTHS = (64, 128, 256, 512, 1024)

Statistics = Literal["image", "running"]


class _Normalisation(nn.BatchNorm2d):
    """Batch normalisation, each image with its own statistics unless told otherwise.

    NED never put the network into evaluation mode and gave it one image at a time, so its masks
    depend on the statistics of the single image; here every image of a batch has its own.
    """

    statistics: Statistics = "image"

    def forward(self, input: Tensor) -> Tensor:
        if self.statistics == "image":
            return functional.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


def _convolution(inputs: int, outputs: int, normalised: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1)]
    if normalised:
        layers.append(_Normalisation(outputs))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


class _Pair(nn.Module):
    """Two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, normalised: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, normalised)
        self.conv2 = _convolution(outputs, outputs, normalised)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv2(self.conv1(features))


class _Up(nn.Module):
    """Doubles coarse features, halves their channels and joins them with finer ones."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _Pair(inputs, outputs, normalised=False)
        self.conv1d = nn.Conv2d(inputs, outputs, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        doubled = functional.interpolate(
            coarse, scale_factor=2, mode="bilinear", align_corners=True
        )
        return self.conv(torch.cat([fine, self.conv1d(doubled)], dim=1))


class SegmentationNetwork(nn.Module):
    """The U-Net.

    Args:
        statistics: "image" as in NED, "running" for those that the training kept.
    """

    def __init__(self, statistics: Statistics = "image") -> None:
        super().__init__()
        previous, names = 3, ("conv1", "conv2", "conv3", "conv4", "center")
        for name, width in zip(names, _WIDTHS, strict=True):
            self.add_module(name, _Pair(previous, width, normalised=True))
            previous = width
        for level in (4, 3, 2, 1):
            self.add_module(f"up_concat{level}", _Up(_WIDTHS[level], _WIDTHS[level - 1]))
        self.final = nn.Conv2d(_WIDTHS[0], CLASSES, 1)
        for module in self.modules():
            if isinstance(module, _Normalisation):
                module.statistics = statistics

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 3, H, W) of RGB images (B, 3, H, W) in [0, 1]; sides are multiples of 16."""
        features, fine = images, []
        for level in (1, 2, 3, 4):
            features = self.get_submodule(f"conv{level}")(features)
            fine.append(features)
            features = functional.max_pool2d(features, 2)
        features = self.get_submodule("center")(features)
        for level in (4, 3, 2, 1):
            features = self.get_submodule(f"up_concat{level}")(fine[level - 1], features)
        return self.final(features)
