"""Networks and losses of the learned manipulator, against golden vectors and by their algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden import Golden
from golden_networks import filled
from torch import Tensor

from manipulator.iteration import REPORTED, Batch, make_optimisers, train_step
from manipulator.losses import LossSettings, correlation
from manipulator.networks import NETWORKS, RIG, Discriminator, Networks

NETS, TRAIN = "manipulator_nets.npz", "manipulator_train.npz"
KINDS = [(torch.float32, ""), (torch.float64, "_f64")]


pytestmark = pytest.mark.usefixtures("one_thread")


def inputs(golden: Golden, file: str, dtype: torch.dtype) -> Any:
    def take(name: str) -> Tensor:
        value = torch.from_numpy(np.asarray(golden[file][name]))
        return value.to(dtype) if value.is_floating_point() else value

    return take


@pytest.mark.parametrize(("dtype", "suffix"), KINDS)
def test_networks_give_the_golden_outputs(golden: Golden, dtype: torch.dtype, suffix: str) -> None:
    networks, take = filled(golden, dtype), inputs(golden, NETS, dtype)
    everything = torch.arange(7)
    with torch.no_grad():
        found = {
            "generator_out": networks.generator(take("x"), take("s")),
            "generator_long_out": networks.generator(take("x_long"), take("s")[:1]),
            "mapping_out": networks.mapping_network(take("z"), take("y")),
            "mapping_all_emotions_z0": networks.mapping_network(
                take("z")[:1].expand(7, -1), everything
            ),
            "style_encoder_out": networks.style_encoder(take("x")),
            "style_encoder_long_out": networks.style_encoder(take("x_long")),
            "discriminator_out": networks.discriminator(take("x"), take("y")),
        }
    for name, value in found.items():
        golden.check(NETS, f"{name}{suffix}", value)


def test_parameters_have_the_names_and_shapes_of_ned(golden: Golden) -> None:
    wanted = golden.json("keys_manipulator.json")
    networks = Networks()
    for name in NETWORKS:
        state = getattr(networks, name).state_dict()
        assert {key: list(value.shape) for key, value in state.items()} == {
            key: shape for key, (shape, _) in wanted[name].items()
        }


def test_three_iterations_of_training_go_as_the_golden_ones(golden: Golden) -> None:
    dtype, suffix = KINDS[1]  # where a wrong gradient is larger than what rounding does
    networks, take = filled(golden, dtype), inputs(golden, TRAIN, dtype)
    optimisers = make_optimisers(networks, 1e-4, (0.0, 0.99))
    losses, norms = [], {}

    def watch(step: str) -> None:
        if losses:
            return
        for name in NETWORKS:
            gradients = [p.grad for p in getattr(networks, name).parameters() if p.grad is not None]
            norms[f"{step}|{name}"] = float(
                torch.stack([(g**2).sum() for g in gradients]).sum().sqrt() if gradients else 0.0
            )

    for index in range(3):
        batch = Batch(
            take(f"it{index}_x_real"),
            take(f"it{index}_y_org"),
            take(f"it{index}_x_ref"),
            take(f"it{index}_y_trg"),
            take(f"it{index}_z_trg"),
        )
        reported = train_step(networks, optimisers, batch, LossSettings(), watch=watch)
        losses.append([float(reported[name]) for name in REPORTED])
    golden.check(TRAIN, f"losses{suffix}", np.array(losses))
    order = [
        *("D_ref|discriminator", "D_lat|discriminator"),
        *(f"G_ref|{name}" for name in ("discriminator", *NETWORKS[:3])),
        *(f"G_lat|{name}" for name in ("discriminator", *NETWORKS[:3])),
    ]
    golden.check(TRAIN, f"it0_grad_norms{suffix}", np.array([norms[key] for key in order]))
    with torch.no_grad():
        real, wanted = take("it0_x_real"), take("it0_y_trg")
        style = networks.mapping_network(take("it0_z_trg"), wanted)
        probes = {
            "style": style,
            "gen": networks.generator(real, style),
            "enc": networks.style_encoder(real),
            "dis": networks.discriminator(real, wanted),
        }
    for name, value in probes.items():
        golden.check(TRAIN, f"probe_after_3_iters_{name}{suffix}", value)


def test_the_discriminator_does_not_see_the_label() -> None:
    """The label selects a score; it never reaches a layer, so scores say nothing about it."""
    network = Discriminator(RIG)
    windows = torch.randn(5, 10, RIG.values)
    for label in range(len(RIG.emotions)):
        labels = torch.full((5,), label)
        torch.testing.assert_close(network(windows, labels), network.scores(windows)[:, label])
    assert network.seq1[0].in_features == RIG.values  # type: ignore[union-attr]


def test_a_style_can_change_from_frame_to_frame() -> None:
    generator = Networks(RIG).generator
    values, style = torch.randn(3, 10, RIG.values), torch.randn(3, RIG.style)
    repeated = style[:, None].expand(-1, 10, -1)
    torch.testing.assert_close(generator(values, style), generator(values, repeated))


def test_correlation_is_pearsons_and_stands_still_mouths() -> None:
    first, second = torch.randn(4, 10, 3), torch.randn(4, 10, 3)
    wanted = [np.corrcoef(first[k, :, 1], second[k, :, 1])[0, 1] for k in range(4)]
    assert float(correlation(first, second, (1,))) == pytest.approx(np.mean(wanted), abs=1e-6)
    still = first.clone().requires_grad_()
    loss = correlation(still * torch.tensor([0.0, 1, 1]), second, (0,))
    loss.backward()
    assert loss.item() == 0 and still.grad is not None and torch.isfinite(still.grad).all()


def test_a_residual_generator_starts_without_change() -> None:
    networks = Networks(RIG).initialise(3)
    values = torch.randn(2, 10, RIG.values)
    torch.testing.assert_close(networks.generator(values, torch.randn(2, RIG.style)), values)
    again = Networks(RIG).initialise(3)
    for one, other in zip(networks.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
