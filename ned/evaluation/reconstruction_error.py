"""Reconstruction error: how near drawn faces are to the filmed ones that they should repeat."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.evaluation.gradient_similarity import gradient_deviation
from ned.evaluation.realism import ssim

Image = NDArray[np.uint8]


@dataclass
class ReconstructionError:
    """Collects aligned faces (S, S, 3) uint8 of frames that follow each other.

    All errors of a kind are pooled over frames before the logarithm is taken.
    """

    _face: list[tuple[float, int]] = field(default_factory=list)
    _mouth: list[tuple[float, int]] = field(default_factory=list)
    _ssim: list[float] = field(default_factory=list)
    _gmsd: list[float] = field(default_factory=list)
    _sharpness: list[tuple[float, float]] = field(default_factory=list)
    _changes: list[tuple[float, float]] = field(default_factory=list)
    _last: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]] | None = None

    def add(
        self,
        made: Image,
        filmed: Image,
        mask: NDArray[np.bool_],
        mouth: NDArray[np.integer],
        follows: bool = True,
    ) -> None:
        """Look at one frame.

        Args:
            mask: (S, S) the face. mouth: (2,) x, y of its middle; the region is a square of 9/32 of
                the side around it (72 of 256 pixels).
            follows: False where the frame before is not the one that was added last.
        """
        one, two = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in
                    (made, filmed))  # fmt: skip
        apart = made.astype(np.float64) - filmed
        self._face.append(_error(apart[mask]))
        half = len(mask) * 9 // 64
        x, y = (int(min(max(value, half), len(mask) - half)) for value in mouth)
        near = np.zeros_like(mask)
        near[y - half : y + half, x - half : x + half] = True
        self._mouth.append(_error(apart[near & mask]))
        box = _box(mask)
        self._ssim.append(ssim(one[box], two[box]))
        self._gmsd.append(gradient_deviation(one, two, mask))
        inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        self._sharpness.append((_gradient(one, inner), _gradient(two, inner)))
        if follows and self._last is not None:
            before, wanted, seen = self._last
            both = seen & mask
            change = (one - before)[both] - (two - wanted)[both]
            self._changes.append((float(np.abs(change).sum()), int(both.sum())))
        self._last = one, two, mask

    def scores(self) -> dict[str, float]:
        """PSNR in dB of face and mouth, SSIM, GMSD, sharpness and flicker; NaN where unknown.

        GMSD is the deviation of gradient similarity inside the face, 0 at best. Sharpness is the
        ratio of mean gradients, drawn to filmed. Flicker is the mean difference, in grey levels of
        255, of how a pixel changes to the next frame in either.
        """
        drawn, filmed = np.array(self._sharpness).sum(0)
        changes = np.array(self._changes).sum(0) if self._changes else np.array([math.nan, 1])
        return {
            "psnr": _psnr(self._face),
            "mouth_psnr": _psnr(self._mouth),
            "ssim": float(np.mean(self._ssim)),
            "gmsd": float(np.nanmean(self._gmsd)),
            "sharpness": float(drawn / max(filmed, 1e-9)),
            "flicker": float(changes[0] / max(changes[1], 1)),
        }


def _error(apart: NDArray[np.float64]) -> tuple[float, int]:
    return float((apart * apart).sum()), apart.size


def _psnr(errors: list[tuple[float, int]]) -> float:
    total, count = np.array(errors).sum(0)
    if not count:
        return math.nan
    return math.inf if total == 0 else float(10 * np.log10(255.0**2 * count / total))


def _gradient(image: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    across, down = (cv2.Sobel(image, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return float(cv2.magnitude(across, down)[inside].sum())


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns around a mask, all where it is too small to compare."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) < 16 or len(columns) < 16:
        return slice(None), slice(None)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
