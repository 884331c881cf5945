"""Iteration: one round of training, two steps of the discriminator and two of the generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from manipulator.losses import (
    GeneratorLosses,
    LossSettings,
    discriminator_losses,
    generator_losses,
)
from manipulator.networks import NETWORKS, Networks

# Names of what an iteration reports, in order.
REPORTED = (
    *("D_lat_real", "D_lat_fake", "D_ref_real", "D_ref_fake"),
    *("G_lat_adv", "G_lat_sty", "G_lat_cyc", "G_lat_mouth", "G_lat_total"),
    *("G_ref_adv", "G_ref_sty", "G_ref_cyc", "G_ref_mouth", "G_ref_total"),
)


@dataclass(frozen=True)
class Batch:
    """What one iteration sees.

    Attributes:
        real: (B, T, V) windows. emotion: (B,) int64 their labels.
        reference: (B, T, V) windows whose style is taken over. wanted: (B,) int64 their labels.
        latent: (B, L) noise for styles of the wanted labels.
    """

    real: Tensor
    emotion: Tensor
    reference: Tensor
    wanted: Tensor
    latent: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(value.to(device) for value in vars(self).values()))


Autocast = Callable[[], AbstractContextManager[object]]
Optimisers = dict[str, torch.optim.Optimizer]


def make_optimisers(networks: Networks, rate: float, betas: tuple[float, float]) -> Optimisers:
    """Adam for each network."""
    return {
        name: torch.optim.Adam(getattr(networks, name).parameters(), lr=rate, betas=betas)
        for name in NETWORKS
    }


def train_step(
    networks: Networks,
    optimisers: Optimisers,
    batch: Batch,
    settings: LossSettings,
    autocast: Autocast = nullcontext,
    average: Callable[[torch.nn.Module], None] | None = None,
    watch: Callable[[str], None] | None = None,
) -> dict[str, Tensor]:
    """One iteration; the networks change.

    In order: discriminator with styles from noise, discriminator with styles of references,
    generator with styles from noise (mapping network and style encoder learn too), generator with
    styles of references (which learns alone).

    Args:
        autocast: context in which forward passes run.
        average: makes the gradients of a network those of all processes.
        watch: called with the step's name between its backward pass and its update.

    Returns:
        REPORTED losses as scalars without gradient.
    """
    reported: dict[str, Tensor] = {}

    def update(name: str, loss: Tensor, learning: tuple[str, ...]) -> None:
        networks.zero_grad(set_to_none=True)
        loss.backward()
        if average is not None:
            for network in learning:
                average(getattr(networks, network))
        if watch is not None:
            watch(name)
        for network in learning:
            optimisers[network].step()

    for kind in ("lat", "ref"):
        with autocast():
            with torch.no_grad():
                style = _style(networks, batch, kind)
            on_real, on_fake = discriminator_losses(
                networks, batch.real, batch.emotion, style, batch.wanted
            )
        reported |= {f"D_{kind}_real": on_real.detach(), f"D_{kind}_fake": on_fake.detach()}
        update(f"D_{kind}", on_real + on_fake, ("discriminator",))
    for kind, learning in (
        ("lat", ("generator", "mapping_network", "style_encoder")),
        ("ref", ("generator",)),
    ):
        with autocast():
            style = _style(networks, batch, kind)
            losses = generator_losses(networks, batch.real, style, batch.wanted, settings)
        reported |= dict(_named(kind, losses))
        update(f"G_{kind}", losses.total, learning)
    return reported


def measure_step(networks: Networks, batch: Batch, settings: LossSettings) -> dict[str, Tensor]:
    """The losses that `train_step` would report, without learning."""
    reported: dict[str, Tensor] = {}
    with torch.no_grad():
        for kind in ("lat", "ref"):
            style = _style(networks, batch, kind)
            on_real, on_fake = discriminator_losses(
                networks, batch.real, batch.emotion, style, batch.wanted
            )
            reported |= {f"D_{kind}_real": on_real, f"D_{kind}_fake": on_fake}
            losses = generator_losses(networks, batch.real, style, batch.wanted, settings)
            reported |= dict(_named(kind, losses))
    return {name: reported[name] for name in REPORTED}


def _style(networks: Networks, batch: Batch, kind: str) -> Tensor:
    if kind == "lat":
        return networks.mapping_network(batch.latent, batch.wanted)
    return networks.style_encoder(batch.reference)


def _named(kind: str, losses: GeneratorLosses) -> Iterator[tuple[str, Tensor]]:
    for short, name in (
        ("adv", "adversarial"),
        ("sty", "style"),
        ("cyc", "cycle"),
        ("mouth", "mouth"),
        ("total", "total"),
    ):
        yield f"G_{kind}_{short}", getattr(losses, name).detach()
