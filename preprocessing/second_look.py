"""Second look: what is tried, and said, where no face was found in a clip.

Under-exposed footage is looked at again with its light raised and its noise smoothed. Footage that
lies on its side or on its head is recognised from a few frames turned by hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.face_detector import FaceDetector, tiles
from preprocessing.shots import Picture

_DARK = 64  # mean luma, of 255, below which a picture may be too dark
SMOOTHINGS = (2.0, 3.0)
"""Pixels by which the noise of dark footage is smoothed: first gently, then as much as helps."""
_RANGE, _GAMMA = (2.0, 99.5), 0.7  # percentiles that become black and white, and the curve between
_LEAST_SPREAD = 12.0  # levels between the two; what is all black stays so
_COLOUR, _MOST_GAIN = 0.7, 4.0  # of the light's gain that colours get, and its limit
_SAMPLES, _WITHIN = 8, 400  # frames of a clip that are looked at, and among how many
_SURE, _ROLL = 0.65, 0.6  # probability of a face that stands upright, and its radians at most


@dataclass(frozen=True)
class BrightPicture:
    """A frame with its light raised, see `brightened`."""

    picture: Picture
    smoothing: float

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        return self.picture.time

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) upright RGB."""
        return brightened(self.picture.rgb(), self.smoothing)


def samples(frames: Iterator[Picture], count: int | None) -> list[NDArray[np.uint8]]:
    """A few frames (H, W, 3) RGB from the beginning of a clip that has `count`."""
    step = max(1, min(count or _WITHIN, _WITHIN) // _SAMPLES)
    return [each.rgb() for each in itertools.islice(frames, 0, _SAMPLES * step, step)]


def is_dark(images: list[NDArray[np.uint8]]) -> bool:
    """Whether most of some RGB images are too dark to look at as they are."""
    return bool(images) and float(np.median([image.mean() for image in images])) < _DARK


def brightened(image: NDArray[np.uint8], smoothing: float) -> NDArray[np.uint8]:
    """An RGB image (H, W, 3) with its light raised and its noise smoothed, to be looked at.

    Colour noise is what hides a face most, so colours are smoothed more than light.

    Args:
        smoothing: Standard deviation in pixels of the blur of the light.
    """
    luma, *chroma = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    light = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), smoothing)
    black, white = np.percentile(light, _RANGE)
    spread = max(float(white - black), _LEAST_SPREAD)
    raised = 255 * np.clip((light - black) / spread, 0, 1) ** _GAMMA
    gain = _COLOUR * min(255 / spread, _MOST_GAIN)
    calm = [
        gain * (cv2.GaussianBlur(each.astype(np.float32), (0, 0), 3 * smoothing) - 128) + 128
        for each in chroma
    ]
    merged = np.clip(np.dstack([raised, *calm]), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(merged, cv2.COLOR_YCrCb2RGB), np.uint8)


def rotation_of(images: list[NDArray[np.uint8]], detector: FaceDetector) -> int | None:
    """Clockwise degrees (90, 180, 270) that make faces in RGB images stand upright; None if none.

    A face must be seen in half of the images.
    """
    seen = {90: 0.0, 180: 0.0, 270: 0.0}
    for image in images:
        for degrees in seen:
            turned = np.ascontiguousarray(np.rot90(image, -degrees // 90))
            height, width = turned.shape[:2]
            found = detector.search(turned, tiles((width, height), height)[0])
            scores = [each.score for each in found if abs(each.angle) < _ROLL]
            seen[degrees] += max(scores, default=0.0) >= _SURE
    best = max(seen, key=lambda degrees: seen[degrees])
    return best if images and seen[best] >= max(1, len(images) / 2) else None
