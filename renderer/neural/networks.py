"""Networks: the generator that draws a face from its conditioning, and its discriminators.

They have the layout, and so the names of weights, of Neural Emotion Director's renderer (Koujan et
al., Head2Head, 2020, after Wang et al., vid2vid, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ned.core.errors import AssetError, quoted
from ned.core.files.checkpoint import load_strict, load_weights

FRAMES = 3  # the conditioning of this many frames makes one picture, the last of them
CHANNELS = 10  # of a frame's conditioning: NMFC, eyes, shape (RGB each), mask
HISTORY = FRAMES - 1  # pictures made before that the generator sees
_DRAWN = CHANNELS - 1
_DOWNS, _ENCODING, _DECODING = 3, 5, 4  # halvings, residual blocks before and after the sum
_WIDEST = 512
_WIDE = torch.float32
_SEEN_TWICE = ("conv_block", "resnetblock_sequential")  # two names of the same weights


class InstanceNorm(nn.InstanceNorm2d):
    """Every channel of every picture with mean 0 and variance 1.

    Statistics of the picture itself are used in training and afterwards. Running ones are in
    published files, so they are kept while a network trains, but nothing reads them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, track_running_stats=True)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or torch.onnx.is_in_onnx_export():
            kept = (self.running_mean, self.running_var) if self.training else (None, None)
            return functional.instance_norm(input, *kept, momentum=self.momentum or 0, eps=self.eps)
        # a batch of one: the same, several times faster in the layout that convolutions like
        pictures = [self._one(picture) for picture in input.split(1)]
        if self.training:
            self._follow([mean for _, mean, _ in pictures], [spread for _, _, spread in pictures])
        return pictures[0][0] if len(pictures) == 1 else torch.cat([one for one, _, _ in pictures])

    def _one(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = picture.new_zeros(self.num_features, dtype=torch.promote_types(picture.dtype, _WIDE))
        variance = torch.zeros_like(mean)
        out = functional.batch_norm(
            picture, mean, variance, training=True, momentum=1.0, eps=self.eps
        )
        return out, mean, variance

    @torch.no_grad()
    def _follow(self, means: list[Tensor], variances: list[Tensor]) -> None:
        assert self.num_batches_tracked is not None and self.momentum is not None
        for kept, seen in ((self.running_mean, means), (self.running_var, variances)):
            assert kept is not None
            kept.lerp_(torch.stack(seen).mean(0).to(kept.dtype), self.momentum)
        self.num_batches_tracked += 1


class _LastConv2d(nn.Conv2d):
    """A convolution to few channels, done row by row of its kernel where that is faster.

    CPUs multiply for at least 16 channels, wanted or not. All rows of the kernel together, as
    channels of their own, are that many; what they make is then added up, shifted.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or torch.onnx.is_in_onnx_export():
            return super().forward(input)
        outer, inner, rows, columns = self.weight.shape
        weight = self.weight.permute(2, 0, 1, 3).reshape(rows * outer, inner, 1, columns)
        parts = functional.conv2d(input, weight)
        height = input.shape[2] - rows + 1
        total = parts.new_zeros((), dtype=torch.promote_types(parts.dtype, _WIDE))
        for row, part in enumerate(parts.split(outer, dim=1)):
            total = total + part[:, :, row : row + height]
        if self.bias is not None:
            total = total + self.bias[:, None, None]
        return total.to(parts.dtype)


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what entered."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnetblock_sequential = nn.Sequential(
            nn.Identity(),  # the published networks pad here
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            InstanceNorm(channels),
            nn.ReLU(),
            nn.Identity(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            InstanceNorm(channels),
        )
        self.conv_block = self.resnetblock_sequential

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv_block(features)


class Generator(nn.Module):
    """Draws one picture from the conditioning of three frames and the two pictures before it."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        deep = width << _DOWNS
        self.model_down_seg = _encoder(FRAMES * _DRAWN, width)
        self.model_down_img = _encoder(HISTORY * 3, width)
        self.model_res_img = nn.Sequential(*(ResidualBlock(deep) for _ in range(_DECODING)))
        ups: list[nn.Module] = []
        for step in range(_DOWNS, 0, -1):
            inner, outer = width << step, width << (step - 1)
            up = nn.ConvTranspose2d(inner, outer, 3, stride=2, padding=1, output_padding=1)
            ups += [up, InstanceNorm(outer), nn.ReLU()]
        self.model_up_img = nn.Sequential(*ups)
        self.model_final_img = nn.Sequential(
            nn.ReflectionPad2d(3), _LastConv2d(width, 3, 7), nn.Tanh()
        )

    def forward(self, conditioning: Tensor, previous: Tensor) -> Tensor:
        """Draw B pictures.

        Args:
            conditioning: (B, 30, H, W), three frames of 10 channels in [0, 1], the last one's last.
                H and W are multiples of 8.
            previous: (B, 6, H, W) the two pictures before in [-1, 1]; zeros where there are none.

        Returns:
            (B, 3, H, W) in [-1, 1], -1 off the last frame's mask.
        """
        features = self.encode_conditioning(conditioning)
        # what is normalised noise in numbers is exactly nothing for a history of zeros
        lasting = (previous.abs().amax((1, 2, 3), keepdim=True) > 0).to(features.dtype)
        history = self.model_down_img(previous)
        return self.decode(features + history * lasting, conditioning)

    def encode_conditioning(self, conditioning: Tensor) -> Tensor:
        """(B, 30, H, W) -> (B, 8 width, H/8, W/8) features, whatever was drawn before."""
        frames = conditioning.unflatten(1, (FRAMES, CHANNELS))
        return self.model_down_seg(frames[:, :, :_DRAWN].flatten(1, 2))

    def draw(self, features: Tensor, conditioning: Tensor, previous: Tensor | None) -> Tensor:
        """`forward` with the encoded conditioning given; `previous` is None for no history."""
        if previous is not None:
            features = features + self.model_down_img(previous)
        return self.decode(features, conditioning)

    def decode(self, features: Tensor, conditioning: Tensor) -> Tensor:
        """Encoded conditioning and history (B, 8 width, H/8, W/8) -> pictures (B, 3, H, W)."""
        drawn = self.model_final_img(self.model_up_img(self.model_res_img(features)))
        mask = conditioning[:, -1:]
        return drawn * mask - (1 - mask)


class Discriminator(nn.Module):
    """Judges patches of pictures, at full and at half resolution."""

    scales, layers = 2, 3

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        for scale in range(self.scales):
            first = min(64, width << (self.scales - 1 - scale))
            for k, layer in enumerate(self._layers(first)):
                self.add_module(f"scale{scale}_layer{k}", layer)

    def _layers(self, width: int) -> list[nn.Sequential]:
        layers = [nn.Sequential(_patch(_DRAWN + 3, width, 2), nn.LeakyReLU(0.2))]
        for k in range(1, self.layers + 1):
            wider = min(2 * width, _WIDEST)
            stride = 2 if k < self.layers else 1
            norm = InstanceNorm(wider)
            layers.append(nn.Sequential(_patch(width, wider, stride), norm, nn.LeakyReLU(0.2)))
            width = wider
        return [*layers, nn.Sequential(_patch(width, 1, 1))]

    def forward(self, conditioning: Tensor, pictures: Tensor) -> list[list[Tensor]]:
        """What every layer sees, the judgement last; full resolution first.

        Args:
            conditioning: (B, 10, H, W) of the pictures' own frames, in [0, 1].
            pictures: (B, 3, H, W) in [-1, 1].
        """
        seen = torch.cat([conditioning[:, :_DRAWN], pictures], dim=1)
        results = []
        for scale in reversed(range(self.scales)):
            features = [seen]
            for k in range(self.layers + 2):
                features.append(self.get_submodule(f"scale{scale}_layer{k}")(features[-1]))
            results.append(features[1:])
            if scale:
                seen = functional.avg_pool2d(seen, 3, 2, padding=1, count_include_pad=False)
        return results


def initialise(network: nn.Module) -> None:
    """Give convolutions normal weights with a deviation of 0.02, as published."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)


def load_generator(path: Path) -> Generator:
    """A generator of the width that its file tells.

    Raises:
        InputError: The file is missing or damaged.
        AssetError: It holds another network.
    """
    state = with_both_names(load_weights(path))
    network = Generator(_width(state, "model_down_seg.1.weight", 0, path, "a renderer's generator"))
    load_strict(network, state, path)
    return network


def load_discriminator(path: Path) -> Discriminator:
    """A discriminator of the width that its file tells; raises as `load_generator`."""
    state = load_weights(path)
    name = f"scale{Discriminator.scales - 1}_layer0.0.weight"
    network = Discriminator(_width(state, name, 0, path, "a renderer's discriminator"))
    load_strict(network, state, path)
    return network


def with_both_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights of residual blocks under both of their names, whichever of them a file has."""
    complete = dict(state)
    for key, value in state.items():
        for here, there in (_SEEN_TWICE, _SEEN_TWICE[::-1]):
            if f".{here}." in key:
                complete.setdefault(key.replace(here, there), value)
    return complete


def _width(state: Mapping[str, Any], key: str, axis: int, path: Path, what: str) -> int:
    first = state.get(key)
    if not isinstance(first, Tensor) or first.ndim != 4:
        raise AssetError(
            f"{quoted(path)} holds no {key}, so it is not {what}; give a file like 20_net_G.pth "
            "of NED's layout"
        )
    return first.shape[axis]


def _encoder(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7)]
    layers += [InstanceNorm(width), nn.ReLU()]
    for step in range(_DOWNS):
        inner, outer = width << step, width << (step + 1)
        down = nn.Conv2d(inner, outer, 3, stride=2, padding=1)
        layers += [down, InstanceNorm(outer), nn.ReLU()]
    deep = width << _DOWNS
    return nn.Sequential(*layers, *(ResidualBlock(deep) for _ in range(_ENCODING)))


def _patch(inner: int, outer: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 4, stride=stride, padding=2)
