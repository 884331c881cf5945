"""The manipulator with the golden weights."""

from __future__ import annotations

import torch
from golden import Golden

from manipulator.networks import NETWORKS, Networks


def filled(golden: Golden, dtype: torch.dtype) -> Networks:
    """The four networks with the golden weights."""
    networks = Networks()
    for name in NETWORKS:
        golden.fill(getattr(networks, name), f"{name}/")
    return networks.to(dtype)
