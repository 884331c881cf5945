"""Losses: what the learned manipulator is trained for (NED, section 3.2, equations 1 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from manipulator.networks import Networks


@dataclass(frozen=True)
class LossSettings:
    """Weights of the generator's losses, and where the mouth is.

    Attributes:
        style, cycle, mouth: weights. mouth_columns: components that open the mouth.
        mouth_floor: standard deviation below which a window's mouth counts as still; 0 is NED's,
            which only data without still mouths can stand.
    """

    style: float = 1.0
    cycle: float = 1.0
    mouth: float = 1.0
    mouth_columns: tuple[int, ...] = (0,)
    mouth_floor: float = 0.0


@dataclass(frozen=True)
class GeneratorLosses:
    """Parts of a generator's loss, unweighted; `mouth` is a correlation, so more is better."""

    adversarial: Tensor
    style: Tensor
    cycle: Tensor
    mouth: Tensor
    total: Tensor


def adversarial(scores: Tensor, target: float) -> Tensor:
    """Least-squares loss (Mao et al. 2017) of (B,) scores that should be `target`."""
    return ((scores - target) ** 2).mean()


def correlation(
    first: Tensor, second: Tensor, columns: Sequence[int] = (0,), floor: float = 0.0
) -> Tensor:
    """Mean Pearson correlation over time of components of two (B, T, V) batches of windows.

    A window that does not move at all counts as 0.

    Args:
        floor: standard deviation added (squared) to each variance.
    """
    first, second = first[..., list(columns)], second[..., list(columns)]
    first = first - first.mean(dim=1, keepdim=True)
    second = second - second.mean(dim=1, keepdim=True)
    power = (first**2).mean(1) + floor**2, (second**2).mean(1) + floor**2
    moving = (power[0] > 0) & (power[1] > 0)
    scale = torch.where(moving, power[0] * power[1], 1.0).sqrt()
    return torch.where(moving, (first * second).mean(1) / scale, 0.0).mean()


def discriminator_losses(
    networks: Networks, real: Tensor, emotion: Tensor, style: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Losses of the discriminator on real windows and on translated ones.

    Args:
        real: (B, T, V) windows. emotion: (B,) their labels.
        style: (B, S) without gradient. wanted: (B,) labels of the styles.
    """
    with torch.no_grad():
        fake = networks.generator(real, style)
    on_real = adversarial(networks.discriminator(real, emotion), 1)
    return on_real, adversarial(networks.discriminator(fake, wanted), 0)


def generator_losses(
    networks: Networks, real: Tensor, style: Tensor, wanted: Tensor, settings: LossSettings
) -> GeneratorLosses:
    """Losses of generator, style encoder and whatever made the styles.

    Args:
        real: (B, T, V) windows. style: (B, S). wanted: (B,) labels of the styles.
    """
    fake = networks.generator(real, style)
    fooled = adversarial(networks.discriminator(fake, wanted), 1)
    kept = (networks.style_encoder(fake) - style).abs().mean()
    back = networks.generator(fake, networks.style_encoder(real))
    cycle = (back - real).abs().mean()
    columns, floor = settings.mouth_columns, settings.mouth_floor
    mouth = correlation(real, fake, columns, floor) + correlation(fake, back, columns, floor)
    total = fooled + settings.style * kept + settings.cycle * cycle - settings.mouth * mouth
    return GeneratorLosses(fooled, kept, cycle, mouth, total)
