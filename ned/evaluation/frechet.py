"""Fréchet: how far two sets of pictures or clips are apart, as wholes; FID and FVD.

Both need feature networks as TorchScript (`ned assets`). Values depend on how many pictures are
compared (few give larger ones) and on the network file; compare sets of equal sizes only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import AssetError, quoted
from ned.core.files.assets import require_asset
from ned.core.files.checkpoint import require_torch
from ned.evaluation.metric import Metric, Score, Skip

Kind = Literal["fid", "fvd"]

METRICS = (
    Metric(
        "realism.fid", "Fréchet distance of pictures (FID)", "", "lower", (0, math.inf), 0.0,
        "Fréchet distance of Gaussians fitted to Inception-v3 features of all faces of the sources "
        "and of the results.",
        "Heusel et al., 'GANs Trained by a Two Time-Scale Update Rule' (NeurIPS 2017)",
    ),
    Metric(
        "realism.fvd", "Fréchet distance of clips (FVD)", "", "lower", (0, math.inf), 0.0,
        "The same with I3D features (Kinetics-400) of stretches of 16 frames.",
        "Unterthiner et al., 'Towards Accurate Generative Models of Video' (2018)",
    ),
)  # fmt: skip

CLIP_LENGTH = 16  # frames of one feature of FVD
_ASSETS = {"fid": "fid-inception", "fvd": "fvd-i3d"}
_BATCH = {"fid": 16, "fvd": 2}
_LEAST = 10  # features of each set


class FeatureNetwork:
    """A network that turns pictures ("fid") or stretches of 16 frames ("fvd") into features."""

    def __init__(self, kind: Kind, module: Any, path: Path) -> None:
        self.kind: Kind = kind
        self._module = module.eval()
        self._path = path

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Features of a set, computed a few at a time.

        Args:
            pictures: "fid": (H, W, 3) uint8 RGB each; "fvd": (16, H, W, 3) each; of one size.

        Returns:
            (N, K), (0, 0) of none.

        Raises:
            AssetError: The network does not take them, or gives no rows.
        """
        import torch

        parts: list[NDArray[np.float32]] = []
        for batch in _batches(pictures, _BATCH[self.kind]):
            levels = np.ascontiguousarray(np.moveaxis(np.stack(batch), -1, 1))
            try:
                with torch.inference_mode():
                    found = self._call(torch.from_numpy(levels))
                row = found.float().numpy().reshape(len(batch), -1)
            except (RuntimeError, ValueError, AttributeError, TypeError, torch.jit.Error) as error:
                raise AssetError(
                    f"{quoted(self._path)} does not give features of {batch[0].shape} pictures "
                    f"({_last_line(error)}); check that it is the right file"
                ) from error
            if not np.isfinite(row).all():
                raise AssetError(f"{quoted(self._path)} gives features that are not finite")
            parts.append(row)
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)

    def _call(self, levels: Any) -> Any:
        if self.kind == "fid":  # uint8 levels; it resizes by itself
            return self._module(levels, return_features=True)
        return self._module(levels.float(), rescale=True, resize=True, return_features=True)


def load_features(kind: Kind) -> FeatureNetwork:
    """The network of FID (StyleGAN2-ADA's conversion of Inception-v3) or FVD (StyleGAN-V's of I3D).

    Raises:
        AssetError: The file is missing or no TorchScript. InputError: torch is not installed.
    """
    path = require_asset(_ASSETS[kind])
    torch = require_torch(f"the {kind.upper()}")
    try:
        module = torch.jit.load(str(path), map_location="cpu")
    except (RuntimeError, ValueError, OSError, torch.jit.Error) as error:
        raise AssetError(
            f"{quoted(path)} is not a TorchScript network ({_last_line(error)}); get it again"
        ) from error
    return FeatureNetwork(kind, module, path)


def stretches(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """(16, H, W, 3) of frames (H, W, 3) that follow one another; an incomplete last is left out."""
    for run in _batches(frames, CLIP_LENGTH):
        if len(run) == CLIP_LENGTH:
            yield np.stack(run)


def frechet_scores(
    kind: Kind, source: NDArray[np.floating], result: NDArray[np.floating]
) -> tuple[list[Score], list[Skip]]:
    """FID or FVD of two sets of features (N, K), (M, K)."""
    name = f"realism.{kind}"
    count = min(len(source), len(result))
    if count < _LEAST:
        what = "faces" if kind == "fid" else f"stretches of {CLIP_LENGTH} frames"
        return [], [Skip((name,), f"{count} {what} in one of the sets, {_LEAST} are needed")]
    return [Score(name, frechet_distance(source, result), count=count)], []


def frechet_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Squared Fréchet (2-Wasserstein) distance of the Gaussians of two sets of features.

    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2) (Dowson and Landau 1982). With C = A^T A the
    last trace is the sum of singular values of A1 A2^T, which needs no root of a matrix: no complex
    numbers, no failure for singular covariances, as sets smaller than K features give.

    Args:
        first, second: (N, K) and (M, K), N and M at least 2; covariances are divided by N - 1.

    Returns:
        0 or more; 0 of equal sets within rounding.

    Raises:
        ValueError: Shapes do not fit, or values are not finite.
    """
    sets = [np.asarray(each, np.float64) for each in (first, second)]
    if any(each.ndim != 2 or len(each) < 2 for each in sets) or len({s.shape[1] for s in sets}) > 1:
        raise ValueError(f"features of shapes {first.shape} and {second.shape} do not compare")
    if not all(np.isfinite(each).all() for each in sets):
        raise ValueError("features are not finite")
    means = [each.mean(0) for each in sets]
    roots = [_root(each - mean) for each, mean in zip(sets, means, strict=True)]
    spread = sum(float((root**2).sum()) for root in roots)
    common = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    return max(0.0, float(((means[0] - means[1]) ** 2).sum()) + spread - 2 * common)


def _root(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """A (min(N, K), K) with A^T A the covariance of centred (N, K) rows."""
    scaled = centred / math.sqrt(len(centred) - 1)
    if len(scaled) <= scaled.shape[1]:
        return scaled
    return np.asarray(np.linalg.qr(scaled, mode="r"))


def _last_line(error: Exception) -> str:
    """What TorchScript means; before it stands where it happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__


def _batches(items: Iterable[NDArray[np.uint8]], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
