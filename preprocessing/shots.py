"""Shots: the stretches of a clip between two cuts, found from small signatures of its frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

_PICTURE = (32, 18)  # width, height of the signature's picture
_NOTICEABLE = 0.03  # difference of a colour value in [0, 1] that counts as a change
_SPREAD = 0.45  # share of the picture that a cut changes at least; less is an object passing by
_LOOK_AHEAD = 3  # frames that must stay changed: a flash is over sooner
_CHANGE = 0.16  # least distance across a cut; real footage: motion < 0.08, cuts > 0.29
_OVER_ACTIVITY = 3.0  # and so many times the recent frame-to-frame distance
_MEMORY = 12  # frames over which the activity is taken


class Picture(Protocol):
    """A frame that can be looked at (`ned.core.clip.Frame` is one)."""

    @property
    def time(self) -> float:
        """Presentation time in seconds."""
        ...

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) upright RGB."""
        ...


@dataclass(frozen=True)
class ShotFrame:
    """A frame of a clip and the shot that it belongs to.

    Attributes:
        image: (H, W, 3) RGB.
        time: Presentation time in seconds.
        shot: Index of the shot that the frame belongs to.
    """

    image: NDArray[np.uint8]
    time: float
    shot: int


def frames_with_shots(frames: Iterable[Picture]) -> Iterator[ShotFrame]:
    """Tell which shot each frame belongs to, looking `_LOOK_AHEAD` frames ahead.

    A cut lies where the picture changes by much more than it lately did from frame to frame, and
    stays changed: frames up to three later must still differ from the last one before, so that
    flashes do not count. Memory is that of four frames.
    """
    waiting: deque[tuple[NDArray[np.uint8], float, NDArray[np.float32]]] = deque()
    recent: deque[float] = deque(maxlen=_MEMORY)
    reference: NDArray[np.float32] | None = None  # the last frame that was no flash
    shot = 0

    def release() -> ShotFrame:
        nonlocal reference, shot
        image, time, signature = waiting.popleft()
        if reference is None:
            reference = signature
        step = distance(reference, signature)
        limit = change_limit(recent)
        if step <= limit:
            recent.append(step)
            reference = signature
        elif all(distance(reference, item[2]) > limit for item in waiting):
            shot += 1
            recent.clear()
            reference = signature
        return ShotFrame(image, time, shot)

    for frame in frames:
        image = frame.rgb()
        waiting.append((image, frame.time, sign(image)))
        if len(waiting) > _LOOK_AHEAD:
            yield release()
    while waiting:
        yield release()


def change_limit(recent: Iterable[float]) -> float:
    """The distance above which a frame does not continue the frames before it.

    Args:
        recent: Frame-to-frame distances before.
    """
    steps = list(recent)
    return max(_CHANGE, _OVER_ACTIVITY * float(np.median(steps)) if steps else 0.0)


def sign(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A (18, 32, 3) float32 picture of a frame in [0, 1]: luma and two colour differences."""
    height, width = image.shape[:2]
    rows, columns = max(1, height // 144), max(1, width // 256)
    small = cv2.resize(image[::rows, ::columns], _PICTURE, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb).astype(np.float32) / 255


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """How different two signatures are: 0 for equal pictures, about 1 for unrelated ones.

    A product of measures, so that all must be large: the lack of correlation between the pictures
    (blind to brightness and contrast), the difference of their sorted values (blind to motion), and
    the share of the picture that has changed (small for an object that passes by).
    """
    first, second = one - one.mean((0, 1)), other - other.mean((0, 1))
    energy = float(np.sqrt((first**2).sum() * (second**2).sum()))
    unlike = 1 - float((first * second).sum()) / (energy + 1e-3)
    flat = one.reshape(-1, 3), other.reshape(-1, 3)
    palette = float(np.abs(np.sort(flat[0], 0) - np.sort(flat[1], 0)).mean())
    share = float((np.abs(one - other).max(-1) > _NOTICEABLE).mean())
    return float(np.sqrt(max(0.0, unlike) * palette / 0.1)) * min(1.0, share / _SPREAD) ** 2
