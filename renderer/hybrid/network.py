"""Hybrid network: what warping cannot know, added to a warped face by a small U-Net."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ned.core.errors import InputError, quoted
from ned.core.files.checkpoint import load_strict, load_weights
from ned.core.files.json_files import parse_json
from ned.core.files.partial import publish_bytes
from ned.core.files.tensor_files import read_metadata
from renderer.hybrid.footage import SEEN

FORMAT = "ned-hybrid-1"
_FINE = 2  # pixels per axis that become channels, so that the widest maps are half as large
_EDGE = 28  # part of the side over which the network's work fades out at the edge of the mask
_SLOPE = 0.1  # of the leaky rectifiers
_MOST_SIZE, _MOST, _MOST_LEVELS = 2048, 1024, 8  # pixels; channels or blocks of a level; levels


@dataclass(frozen=True)
class HybridShape:
    """How large a network is.

    Attributes:
        size: side of the crops it was trained on, in pixels; a multiple of 16.
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of that. blocks: residual blocks there.
    """

    size: int = 256
    widths: tuple[int, ...] = (32, 48, 64, 96)
    blocks: tuple[int, ...] = (1, 1, 1, 2)

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        step = _FINE << (len(self.widths) - 1)
        if self.size < 4 * step or self.size % step:
            raise InputError(
                f"size is {self.size} pixels, give a multiple of {step} from {4 * step} on"
            )
        if len(self.blocks) != len(self.widths) or min(*self.blocks, *self.widths) < 1:
            raise InputError(f"widths {self.widths} and blocks {self.blocks} do not fit")


class HybridNetwork(nn.Module):
    """Adds a correction inside the face's mask; with its first weights it adds exactly nothing.

    The correction has two parts: a share of the difference to what is remembered, which is as sharp
    as film, and free values for what neither picture shows.
    """

    def __init__(self, shape: HybridShape | None = None) -> None:
        super().__init__()
        self.shape = shape or HybridShape()
        widths, blocks = self.shape.widths, self.shape.blocks
        self.enter = _conv(SEEN * _FINE**2, widths[0])
        self.encoder = nn.ModuleList(_blocks(w, n) for w, n in zip(widths, blocks, strict=True))
        pairs = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(_conv(wide, narrow, 2) for wide, narrow in pairs)
        self.middle = _blocks(widths[-1], blocks[-1])
        self.up = nn.ModuleList(nn.Conv2d(narrow, wide, 1) for wide, narrow in pairs)
        self.decoder = nn.ModuleList(
            _blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True)
        )
        self.trust = _silent(_conv(widths[0], 1))
        self.leave = _silent(_conv(widths[0], 3 * _FINE**2))

    def forward(self, seen: Tensor) -> Tensor:
        """Draw B faces.

        Args:
            seen: (B, 13, H, W): warped face (RGB) in [-1, 1]; NMFC, pupils and mask in [0, 1];
                remembered face (RGB) in [-1, 1]; how far the pixels of both faces have come, in
                [0, 1]. H and W are multiples of 16.

        Returns:
            (B, 3, H, W) float32, around [-1, 1]; the warped face itself off the mask.
        """
        features = self.enter(functional.pixel_unshuffle(seen, _FINE))
        kept = []
        for k, encode in enumerate(self.encoder):
            features = encode(features)
            if k < len(self.down):
                kept.append(features)
                features = functional.leaky_relu(self.down[k](features), _SLOPE)
        features = self.middle(features)
        for k in reversed(range(len(self.up))):
            larger = functional.interpolate(
                self.up[k](features), scale_factor=2.0, mode="bilinear", align_corners=False
            )
            features = self.decoder[k](larger + kept[k])
        warped, remembered = seen[:, :3].float(), seen[:, 8:11].float()
        trust = functional.interpolate(
            torch.tanh(self.trust(features).float()),
            scale_factor=float(_FINE),
            mode="bilinear",
            align_corners=False,
        )
        added = torch.tanh(functional.pixel_shuffle(self.leave(features), _FINE).float())
        added = added + trust * (remembered - warped)
        return warped + added * self._faded(seen[:, 7:8].float())

    def _faded(self, mask: Tensor) -> Tensor:
        """Masks (B, 1, H, W) in [0, 1], made smaller and soft inside of their edge."""
        half = self.shape.size // _EDGE // 2

        def mean(values: Tensor) -> Tensor:
            return functional.avg_pool2d(values, 2 * half + 1, 1, half)

        return mean((mean(mask) > 0.98).to(mask.dtype))


class _Block(nn.Module):
    """Two convolutions whose result is added to what entered; at first that is nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = _silent(_conv(channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(functional.leaky_relu(self.first(features), _SLOPE))


def save_network(network: HybridNetwork, path: Path, record: Mapping[str, Any]) -> None:
    """Write one .safetensors file atomically, with a record as JSON; raises OutputError."""
    from safetensors.torch import save

    header = {
        "format": FORMAT,
        "shape": json.dumps(dataclasses.asdict(network.shape)),
        "record": json.dumps(dict(record)),
    }
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    publish_bytes(path, save(weights, header))


def read_header(path: Path) -> tuple[HybridShape, dict[str, Any]]:
    """The size of a saved network, and the record saved with it.

    Raises:
        InputError: The file is missing, damaged, or something else.
    """
    try:
        header = read_metadata(path)
    except ValueError as error:
        raise InputError(
            f"{quoted(path)} is missing or damaged; train the actor's model again"
        ) from error
    if header.get("format") != FORMAT:
        raise InputError(
            f"{quoted(path)} is not a hybrid renderer of this version ({FORMAT}); train again"
        )
    try:
        shape = _shape_from(parse_json(header["shape"]))
        record = dict(parse_json(header["record"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{quoted(path)} has a damaged header; train again") from error
    return shape, record


def _shape_from(values: dict[str, Any]) -> HybridShape:
    """The size that a header tells; ValueError for one that no training makes."""
    size, widths, blocks = values["size"], values["widths"], values["blocks"]
    if not 1 <= len(widths) <= _MOST_LEVELS or len(blocks) > _MOST_LEVELS:
        raise ValueError("a network of too many levels")
    for number, most in ((size, _MOST_SIZE), *((n, _MOST) for n in (*widths, *blocks))):
        if type(number) is not int or not 0 < number <= most:
            raise ValueError("a network of an impossible size")
    return HybridShape(size, tuple(widths), tuple(blocks))


def load_network(path: Path) -> tuple[HybridNetwork, dict[str, Any]]:
    """A saved network and its record.

    Raises:
        InputError: The file is missing, damaged, or something else.
        AssetError: Its weights do not fit the size that it tells.
    """
    shape, record = read_header(path)
    network = HybridNetwork(shape)
    load_strict(network, load_weights(path), path)
    return network, record


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(channels) for _ in range(count)))


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that gives zeros until it has learnt."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _conv(inner: int, outer: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, stride, 1)
