"""Face crops: an actor's face cut out of every frame, upright, in the middle and of one size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.performance import Performance
from ned.core.face.track import Track, steady_landmarks
from renderer.warp.surface import OVAL

_SIDE = 1.3  # of a crop, in heights of the neutral face's oval
_LOWER = 0.05  # of that height, by which the crop's middle lies below the oval's: jaws open
_CALM = np.exp(-0.5 * (np.arange(-6, 7) / 2.5) ** 2)  # weights of frames near by
_SHRUNK = 0.8  # crop per frame pixels, below which a frame is blurred before it is sampled


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """Where the crops of T frames lie, and the face in them; all pixel centres at .5.

    Attributes:
        size: side of the crops in pixels.
        crop_from_image: (T, 2, 3) float64 similarities from upright image pixels.
        landmarks: (T, 478, 3) float32 tracked points in crop pixels, steadied.
        rotation: (T, 3, 3) float32 head-to-camera, as in the image.
        present: (T,) whether there is a face; without one the other numbers mean nothing.
    """

    size: int
    crop_from_image: NDArray[np.float64]
    landmarks: NDArray[np.float32]
    rotation: NDArray[np.float32]
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, performance: Performance, size: int) -> FaceCrops:
        """Crops that follow the head, not the jaw, and calmer than the track."""
        transforms = _transforms(performance, size)
        linear, shift = transforms[:, :, :2], transforms[:, :, 2]
        points = steady_landmarks(performance.track, 0, len(performance))
        points[..., :2] = points[..., :2] @ linear.transpose(0, 2, 1) + shift[:, None]
        points[..., 2] *= np.sqrt(np.abs(np.linalg.det(linear)))[:, None]
        present = performance.track.present
        return cls(size, transforms, points, performance.rotation, present)

    def cut(self, picture: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        """(size, size, 3) of a frame's upright picture (H, W, 3)."""
        transform = centred(self.crop_from_image[frame])
        enlarged = float(np.sqrt(abs(np.linalg.det(transform[:, :2]))))
        if enlarged < _SHRUNK:
            picture = cv2.GaussianBlur(picture, (0, 0), 0.45 * np.sqrt(enlarged**-2 - 1))  # type: ignore[assignment]
        return cv2.warpAffine(
            picture,
            transform,
            (self.size, self.size),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )  # type: ignore[return-value]


def centred(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same (..., 2, 3) between pixels whose centres lie at whole numbers, as OpenCV's do."""
    moved = transform.copy()
    moved[..., 2] += transform[..., :2].sum(-1) * 0.5 - 0.5
    return moved


def placed(crop_from_image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same (..., 2, 3) from image pixels with centres at .5 to crop pixels at whole numbers."""
    moved = crop_from_image.copy()
    moved[..., 2] -= 0.5
    return moved


def _transforms(performance: Performance, size: int) -> NDArray[np.float64]:
    oval = performance.identity[OVAL]
    height = float(np.ptp(oval[:, 1]))
    middle = (oval.min(0) + oval.max(0)) / 2 - np.array([0, _LOWER * height, 0])
    centre = performance.image_from_head(middle[None])[:, 0, :2]
    # head axes have y up: the angle by which the image's eye line falls to the right
    roll = -np.arctan2(performance.rotation[:, 1, 0], performance.rotation[:, 0, 0])
    turned = np.stack([np.cos(roll), np.sin(roll)], axis=1)
    raw = np.concatenate([centre, performance.scale[:, None], turned], axis=1, dtype=np.float64)
    calm = _calmed(raw, performance.track)
    enlarged = size / (_SIDE * height * np.maximum(calm[:, 2], 1e-6))
    direction = calm[:, 3:] / np.maximum(np.linalg.norm(calm[:, 3:], axis=1, keepdims=True), 1e-9)
    across, down = enlarged * direction[:, 0], enlarged * direction[:, 1]
    linear = np.stack([np.stack([across, down], 1), np.stack([-down, across], 1)], axis=1)
    shift = size / 2 - (linear @ calm[:, :2, None])[..., 0]
    return np.concatenate([linear, shift[..., None]], axis=2)


def _calmed(values: NDArray[np.float64], track: Track) -> NDArray[np.float64]:
    """Weighted means (T, K) over neighbouring frames of the same shot that show the face."""
    frames = np.arange(len(values))
    total, weights = np.zeros_like(values), np.full((len(values), 1), 1e-9)
    reach = len(_CALM) // 2
    for shift, weight in zip(range(-reach, reach + 1), _CALM, strict=True):
        others = np.clip(frames + shift, 0, len(values) - 1)
        usable = track.present[others] & (track.shots[others] == track.shots[frames])
        share = (weight * usable)[:, None]
        total += share * values[others]
        weights += share
    return total / weights


def cut_all(
    crops: FaceCrops, pictures: Iterable[tuple[int, NDArray[np.uint8]]], frames: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """(n, size, size, 3) crops of some frames, out of numbered pictures in order."""
    row_of = {int(frame): row for row, frame in enumerate(frames)}
    cut = np.zeros((len(frames), crops.size, crops.size, 3), np.uint8)
    for frame, picture in pictures:
        if frame in row_of:
            cut[row_of[frame]] = crops.cut(picture, frame)
    return cut
