"""Encoder: a face crop becomes FLAME codes, or the code of fine wrinkles (ResNet-50)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

CROP = 224  # side of the input in pixels
COARSE, DETAIL = 236, 128  # numbers that the two encoders of DECA give
FEATURES = 2048

_PARTS = {"shape": 100, "texture": 50, "expression": 50, "pose": 6, "camera": 3, "light": 27}


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (which strides) and 1 x 1 convolution around a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, image: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(image)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = image if self.downsample is None else self.downsample(image)
        return torch.relu(out + shortcut)


class ResNet50(nn.Module):
    """Features of an image; parameter names are torchvision's, without `fc`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(64, 64, 3, 1)
        self.layer2 = _stage(256, 128, 4, 2)
        self.layer3 = _stage(512, 256, 6, 2)
        self.layer4 = _stage(1024, 512, 3, 2)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2048), averaged over what is left of the image."""
        out = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return out.mean((2, 3))


def _stage(inputs: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Bottleneck(4 * width, width, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(inputs, width, stride), *rest)


class Encoder(nn.Module):
    """DECA's encoder (Feng et al., 2021): E_flame gives 236 numbers, E_detail 128."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(nn.Linear(FEATURES, 1024), nn.ReLU(), nn.Linear(1024, outputs))

    def forward(self, crops: Tensor) -> Tensor:
        """(B, 3, 224, 224) RGB in [0, 1], no mean taken off -> (B, outputs).

        Under autocast only the convolutions are done in short numbers.
        """
        features = self.encoder(crops)
        with torch.autocast(crops.device.type, enabled=False):
            return self.layers(features.to(self.layers[0].weight.dtype))


@dataclass(frozen=True, eq=False)
class CoarseCodes:
    """What the 236 numbers of E_flame mean.

    Attributes:
        shape: (B, 100). texture: (B, 50). expression: (B, 50). camera: (B, 3) s, tx, ty.
        pose: (B, 6) axis-angles of head and jaw, radians. light: (B, 9, 3) per RGB channel.
    """

    shape: Tensor
    texture: Tensor
    expression: Tensor
    pose: Tensor
    camera: Tensor
    light: Tensor


def split_codes(codes: Tensor) -> CoarseCodes:
    """(B, 236) output of E_flame -> its parts."""
    if codes.ndim != 2 or codes.shape[1] != COARSE:
        raise ValueError(f"codes are {tuple(codes.shape)}, (B, {COARSE}) is needed")
    parts = dict(zip(_PARTS, codes.split(list(_PARTS.values()), dim=1), strict=True))
    parts["light"] = parts["light"].reshape(-1, 9, 3)
    return CoarseCodes(**parts)
