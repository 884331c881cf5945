"""Perceptual: how different two pictures look to a network, LPIPS; needs weights (`ned assets`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ned.core.files.assets import require_asset
from ned.core.files.checkpoint import load_strict, load_weights, require_torch
from ned.evaluation.estimate import estimate
from ned.evaluation.metric import Metric, Score

if TYPE_CHECKING:
    from ned.evaluation.perceptual_network import LpipsNetwork

METRICS = (
    Metric(
        "realism.lpips", "LPIPS of the face", "", "lower", (0, math.inf), 0.0,
        "Learned perceptual distance (v0.1, AlexNet) between source and result within the square "
        "around the face, mean over frames. An edited face differs on purpose: compare methods.",
        "Zhang et al., 'The Unreasonable Effectiveness of Deep Features' (CVPR 2018)",
    ),
)  # fmt: skip

_BATCH = 16


class Perceptual:
    """The LPIPS network with its weights; make it with `load_perceptual`."""

    def __init__(self, network: LpipsNetwork) -> None:
        self._network = network.eval()

    def distances(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N,) distances of (N, H, W, 3) uint8 RGB pictures of equal sizes, 31 pixels at least.

        Raises:
            ValueError: Sizes differ, or pictures are too small.
        """
        import torch

        from ned.evaluation.perceptual_network import LEAST_SIDE

        if first.shape != second.shape or first.ndim != 4 or first.shape[-1] != 3:
            raise ValueError(f"pictures of shapes {first.shape} and {second.shape} do not compare")
        if len(first) and min(first.shape[1:3]) < LEAST_SIDE:
            raise ValueError(f"pictures of {first.shape[1:3]} pixels, {LEAST_SIDE} are needed")
        parts = [np.zeros(0, np.float32)]
        with torch.inference_mode():
            for start in range(0, len(first), _BATCH):
                pair = [
                    torch.from_numpy(np.ascontiguousarray(each[start : start + _BATCH]))
                    .permute(0, 3, 1, 2)
                    .float()
                    .div(127.5)
                    .sub(1)
                    for each in (first, second)
                ]
                parts.append(self._network(*pair).numpy())
        return np.concatenate(parts)


def load_perceptual() -> Perceptual:
    """LPIPS with the weights of the assets `lpips` and `lpips-alexnet`.

    Raises:
        AssetError: Weights are missing or do not fit. InputError: They cannot be read, or torch is
            not installed.
    """
    own, backbone = require_asset("lpips"), require_asset("lpips-alexnet")
    require_torch("the LPIPS distance")
    from ned.evaluation.perceptual_network import LpipsNetwork

    network = LpipsNetwork()
    load_strict(network.weights, load_weights(own), own)
    features = {
        key: value
        for key, value in load_weights(backbone).items()
        if not key.startswith("classifier.")
    }
    load_strict(network.alexnet, features, backbone)
    return Perceptual(network)


def perceptual_scores(distances: ArrayLike, block: int = 1) -> list[Score]:
    """The metric of the frames' (N,) distances; none without frames."""
    rows = np.asarray(distances, np.float64)
    return [estimate("realism.lpips", rows, block=block)] if len(rows) else []
