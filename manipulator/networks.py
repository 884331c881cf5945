"""Networks: generator, mapping network, style encoder, discriminator of the learned manipulator.

Layers, parameter names and the default widths are those of NED (Paraperas Papantoniou et al.,
CVPR 2022, section 3.2), so its published weights load strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ned.core.script.emotions import NED_LABELS

_MOST = 2048  # of any size: twice NED's widest layer
_MOST_EMOTIONS = 64
NETWORKS = ("generator", "mapping_network", "style_encoder", "discriminator")


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes of the four networks; the defaults are NED's.

    Attributes:
        values: numbers per frame. style: of a style vector. latent: of the noise behind a style.
        window: frames per sequence. emotions: labels in the order of heads and scores.
        generator_in, generator_hidden, generator_out: widths of the generator's layers before its
            LSTM, of the LSTM in one direction, and after it.
        encoder_in, encoder_hidden, encoder_out: the same of style encoder and discriminator.
        mapping: width of the mapping network. residual: the generator gives a change of its input
            rather than the output itself.
    """

    values: int = 51
    style: int = 16
    latent: int = 4
    window: int = 10
    emotions: tuple[str, ...] = NED_LABELS
    generator_in: tuple[int, int] = (512, 512)
    generator_hidden: int = 512
    generator_out: tuple[int, int] = (1024, 1024)
    encoder_in: tuple[int, int] = (512, 256)
    encoder_hidden: int = 128
    encoder_out: tuple[int, int] = (128, 64)
    mapping: int = 64
    residual: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as checkpoints keep them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetworkSettings:
        """The inverse of `to_dict`.

        Raises:
            TypeError: There are unknown fields. ValueError: A size is one that nobody trains.
        """
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        settings = cls(**fields)
        for name, usual in asdict(NED).items():
            value = getattr(settings, name)
            kinds = {type(one) for one in value} if isinstance(value, tuple) else {type(value)}
            wanted = {type(usual[0])} if isinstance(usual, tuple) else {type(usual)}
            lengths = isinstance(usual, tuple) and name != "emotions"
            if kinds != wanted or (lengths and len(value) != len(usual)):
                raise ValueError(f"{name} is of another kind")
            numbers = value if isinstance(value, tuple) else (value,)
            if int in wanted and not all(0 < number <= _MOST for number in numbers):
                raise ValueError(f"{name} is beyond 1 to {_MOST}")
            if len(numbers) > _MOST_EMOTIONS:
                raise ValueError(f"{name} are too many")
        return settings


NED = NetworkSettings()
RIG = NetworkSettings(
    values=52,
    generator_in=(160, 160),
    generator_hidden=128,
    generator_out=(256, 160),
    encoder_in=(128, 96),
    encoder_hidden=64,
    encoder_out=(96, 48),
    residual=True,
)
PRESETS = {"ned": NED, "rig": RIG}
_AS_GIVEN = ("flame",)  # face models whose units NED's networks see as they are


def is_as_given(face_model: str) -> bool:
    """True where networks of NED's sizes see units as they are; others see them normalised."""
    return face_model in _AS_GIVEN


class Generator(nn.Module):
    """A window of frames and a style -> the window in that style."""

    def __init__(self, settings: NetworkSettings = NED) -> None:
        super().__init__()
        self.residual = settings.residual
        first, second = settings.generator_in
        self.seq1 = _layers(settings.values + settings.style, first, second, last=True)
        self.LSTM = _lstm(second, settings.generator_hidden)
        widths = (2 * settings.generator_hidden, *settings.generator_out, settings.values)
        self.seq2 = _layers(*widths)

    def forward(self, values: Tensor, style: Tensor) -> Tensor:
        """Translate.

        Args:
            values: (B, T, V). style: (B, S), or (B, T, S) one per frame.

        Returns:
            (B, T, V).
        """
        if style.dim() == 2:
            style = style[:, None].expand(-1, values.shape[1], -1)
        hidden = self.seq1(torch.cat([values, style], dim=2))
        result = self.seq2(self.LSTM(hidden)[0])
        return values + result if self.residual else result


class MappingNetwork(nn.Module):
    """Noise and an emotion -> a style; each emotion has a head of its own."""

    def __init__(self, settings: NetworkSettings = NED) -> None:
        super().__init__()
        width = settings.mapping
        self.shared = _layers(settings.latent, width, width, width, last=True)
        self.unshared = nn.ModuleList(
            _layers(width, width, settings.style) for _ in settings.emotions
        )

    def forward(self, latent: Tensor, emotion: Tensor) -> Tensor:
        """(B, L) noise and (B,) int64 emotions -> (B, S) styles."""
        hidden = self.shared(latent)
        styles = torch.stack([head(hidden) for head in self.unshared], dim=1)
        return styles[torch.arange(len(styles), device=styles.device), emotion]


class _Recogniser(nn.Module):
    """Frames -> numbers averaged over time."""

    def __init__(self, settings: NetworkSettings, outputs: int) -> None:
        super().__init__()
        self.seq1 = _layers(settings.values, *settings.encoder_in, last=True)
        self.LSTM = _lstm(settings.encoder_in[1], settings.encoder_hidden)
        self.seq2 = _layers(2 * settings.encoder_hidden, *settings.encoder_out, outputs)

    def scores(self, values: Tensor) -> Tensor:
        """(B, T, V) -> (B, outputs)."""
        return self.seq2(self.LSTM(self.seq1(values))[0]).mean(dim=1)


class StyleEncoder(_Recogniser):
    """A window of frames -> its style."""

    def __init__(self, settings: NetworkSettings = NED) -> None:
        super().__init__(settings, settings.style)

    def forward(self, values: Tensor) -> Tensor:
        """(B, T, V) -> (B, S)."""
        return self.scores(values)


class Discriminator(_Recogniser):
    """A window of frames and an emotion -> how real it looks as that emotion (no sigmoid).

    The emotion only selects among scores that are there for all of them.
    """

    def __init__(self, settings: NetworkSettings = NED) -> None:
        super().__init__(settings, len(settings.emotions))

    def forward(self, values: Tensor, emotion: Tensor) -> Tensor:
        """(B, T, V) and (B,) int64 emotions -> (B,)."""
        scores = self.scores(values)
        return scores[torch.arange(len(scores), device=scores.device), emotion]


class Networks(nn.Module):
    """The four networks together, under the names that NED's checkpoints use."""

    def __init__(self, settings: NetworkSettings = NED) -> None:
        super().__init__()
        self.settings = settings
        self.generator = Generator(settings)
        self.mapping_network = MappingNetwork(settings)
        self.style_encoder = StyleEncoder(settings)
        self.discriminator = Discriminator(settings)

    def initialise(self, seed: int) -> Networks:
        """New weights: linear layers normal after Kaiming (fan-in) without bias, LSTMs torch's."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    nn.init.zeros_(module.bias)
                elif isinstance(module, nn.LSTM):
                    module.reset_parameters()
        if self.settings.residual:  # start from no change, not from noise upon the input
            nn.init.zeros_(self.generator.seq2[-1].weight)  # type: ignore[arg-type]
        return self


def for_values(settings: NetworkSettings, values: int, emotions: Sequence[str]) -> NetworkSettings:
    """The same sizes for other data."""
    return replace(settings, values=values, emotions=tuple(emotions))


def _layers(*widths: int, last: bool = False) -> nn.Sequential:
    """Linear layers with ReLU between them, and after the last one if asked for."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*(layers if last else layers[:-1]))


def _lstm(inputs: int, hidden: int) -> nn.LSTM:
    return nn.LSTM(inputs, hidden, num_layers=2, bidirectional=True, batch_first=True)
