"""Realism: whether the picture still looks like footage: errors, structure, sharpness, colour."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.evaluation.background import pooled_psnr
from ned.evaluation.bootstrap import mean
from ned.evaluation.colour import difference
from ned.evaluation.estimate import estimate
from ned.evaluation.frame_pair import FramePair
from ned.evaluation.metric import Metric, Score

_SSIM = "Wang et al., 'Image quality assessment' (IEEE TIP 2004)"

METRICS = (
    Metric(
        "realism.psnr", "PSNR", "dB", "higher", (0, math.inf), math.inf,
        "Peak signal-to-noise ratio of luma against the source, whole frames, all together. An "
        "edited face differs on purpose: compare methods, not with 50 dB.",
        "standard",
    ),
    Metric(
        "realism.ssim", "SSIM", "", "higher", (-1, 1), 1.0,
        "Structural similarity of luma against the source: Gaussian window of 1.5 pixels, frames "
        "first shrunk to about 256 pixels on the short side, mean over frames.",
        _SSIM,
    ),
    Metric(
        "realism.face_ssim", "SSIM of the face", "", "higher", (-1, 1), 1.0,
        "The same within the square around the face, at 256 by 256 pixels.",
        _SSIM,
    ),
    Metric(
        "realism.sharpness", "sharpness of the face", "octaves", "near zero",
        (-math.inf, math.inf), 0.0,
        "Binary logarithm of the ratio of mean gradient magnitude (Sobel) inside the face's "
        "square, result to source: -1 means half as much detail, positive means over-sharpened.",
        "own; gradient energy as in focus measures (Tenengrad)",
    ),
    Metric(
        "realism.colour_shift", "colour shift of the face", "ΔE00", "lower", (0, math.inf), 0.0,
        "CIEDE2000 distance of the mean colours of the cells of an 8 by 8 grid over the face, "
        "mean over cells and sampled frames.",
        "CIE 142 (2001)",
    ),
)  # fmt: skip

_CELLS = 8
_SHORT_SIDE = 256


class Realism:
    """Collects how the result's picture differs from the source's."""

    def __init__(self) -> None:
        self._errors: list[tuple[float, int]] = []
        self._ssim: list[float] = []
        self._face_ssim: list[float] = []
        self._gradients: list[tuple[float, float]] = []
        self._shifts: list[float] = []

    def add(self, pair: FramePair, sampled: bool) -> None:
        """Look at one frame; at the face's colours too if it is `sampled`."""
        source, result = pair.lumas
        apart = (result - source).ravel().astype(np.float64)
        self._errors.append((float(apart @ apart), len(apart)))
        self._ssim.append(ssim(*(_shrunk(image) for image in pair.lumas)))
        if pair.faces is None or pair.face is None:
            return
        self._face_ssim.append(ssim(*pair.faces))
        self._gradients.append((_gradient(source[pair.face]), _gradient(result[pair.face])))
        if sampled:
            faces = tuple(picture[pair.face] for picture in pair.colours)
            self._shifts.append(difference(faces, _CELLS))  # type: ignore[arg-type]

    def scores(self, block: int, sampled_block: int) -> list[Score]:
        """The metrics of all frames; without faces those of the whole frames only.

        Blocks (of all and of sampled frames) are as in `evaluation.bootstrap`.
        """
        scores = [
            estimate("realism.psnr", self._errors, pooled_psnr, block),
            estimate("realism.ssim", self._ssim, mean, block),
        ]
        if self._face_ssim:
            scores += [
                estimate("realism.face_ssim", self._face_ssim, mean, block),
                estimate("realism.sharpness", self._gradients, _octaves, block),
            ]
        if self._shifts:
            scores.append(estimate("realism.colour_shift", self._shifts, mean, sampled_block))
        return scores

    @property
    def ssim(self) -> list[float]:
        """SSIM of every frame that was added, in order."""
        return self._ssim


def ssim(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Mean structural similarity of two (H, W) pictures of 0 to 255."""
    from skimage.metrics import structural_similarity

    value = structural_similarity(
        first,
        second,
        data_range=255.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(np.asarray(value))


def _shrunk(image: NDArray[np.float32]) -> NDArray[np.float32]:
    factor = min(image.shape) / _SHORT_SIDE
    if factor <= 1:
        return image
    size = round(image.shape[1] / factor), round(image.shape[0] / factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _gradient(image: NDArray[np.float32]) -> float:
    across, down = (cv2.Sobel(image, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return float(cv2.magnitude(across, down).mean())


def _octaves(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    before, after = samples.sum(1).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(after / before)
