"""Window: a rotated square of an image, and how it is resampled for a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.track import MESH_POINTS

WINDOW_PER_BOX = 1.5  # side of the window per longer side of the box around the mesh
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners, in the actor's terms


@dataclass(frozen=True)
class Window:
    """A rotated square of an image that is shown to the network.

    Attributes:
        centre: (x, y) in image pixels.
        side: Length of its sides in pixels.
        angle: Radians from the image's x axis to the window's, clockwise as seen on screen.
    """

    centre: tuple[float, float]
    side: float
    angle: float

    @classmethod
    def around(cls, points: NDArray[np.float32], scale: float = WINDOW_PER_BOX) -> Window:
        """The window that suits a face whose landmarks are `points`, (478, 3) image pixels."""
        low, high = points[:MESH_POINTS, :2].min(0), points[:MESH_POINTS, :2].max(0)
        return cls.over(np.concatenate([low, high]), points, scale)

    @classmethod
    def over(
        cls, box: NDArray[np.float32], points: NDArray[np.float32], scale: float = 1.0
    ) -> Window:
        """The same where the box (4,) around the mesh is known: x0, y0, x1, y1 in image pixels."""
        eyes = points[_LEFT_EYE] - points[_RIGHT_EYE]
        centre = (box[:2] + box[2:]) / 2
        return cls(
            centre=(float(centre[0]), float(centre[1])),
            side=scale * max(float(box[2] - box[0]), float(box[3] - box[1]), 1.0),
            angle=math.atan2(float(eyes[1]), float(eyes[0])),
        )

    def image_from_crop(self) -> NDArray[np.float64]:
        """(2, 3) map of the unit square to image pixels (both with pixel centres at .5)."""
        cosine, sine = self.side * math.cos(self.angle), self.side * math.sin(self.angle)
        x, y = self.centre
        return np.array(
            [
                [cosine, -sine, x - 0.5 * cosine + 0.5 * sine],
                [sine, cosine, y - 0.5 * sine - 0.5 * cosine],
            ]
        )


def crop(
    image: NDArray[np.uint8], windows: Sequence[Window], pixels: int
) -> list[NDArray[np.uint8]]:
    """Windows that lie close together, resampled with the image's border repeated outside of it.

    Where a window has many more pixels than asked for, the region around all of them is first
    averaged over blocks: without that the crops alias, and landmarks tremble.

    Args:
        image: (H, W, 3) RGB.
        windows: At least one.
        pixels: Side of the crops.

    Returns:
        One (pixels, pixels, 3) crop per window.
    """
    maps = [window.image_from_crop() for window in windows]
    square = np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]])
    corners = np.concatenate([each @ square for each in maps], axis=1)
    height, width = image.shape[:2]
    left, right = _inside(corners[0], width)
    top, bottom = _inside(corners[1], height)
    region = image[top:bottom, left:right]
    region, block = halve(region, min(window.side for window in windows) / pixels)
    crops = []
    for image_from_square in maps:
        region_from_crop = image_from_square / block
        region_from_crop[:, 2] -= (left / block, top / block)
        # OpenCV's pixel centres are whole numbers.
        region_from_crop[:, :2] /= pixels
        region_from_crop[:, 2] += region_from_crop[:, :2].sum(1) * 0.5 - 0.5
        crops.append(
            cv2.warpAffine(
                region,
                region_from_crop,
                (pixels, pixels),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )
    return crops


def halve(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], int]:
    """Halve an image (H, W, 3) as often as its reduction by `scale` allows.

    Returns:
        The image, averaged over blocks of whole pixels counted from its upper left corner, and the
        side of these blocks in pixels, at most `scale`.
    """
    block = 1
    while 2 * block <= scale and min(image.shape[:2]) >= 2:
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * rows, : 2 * columns]
        image = cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA)  # type: ignore
        block *= 2
    return image, block


def _inside(values: NDArray[np.float64], length: int) -> tuple[int, int]:
    """The smallest non-empty range of pixels in [0, length) around `values`, with a margin."""
    start = min(max(math.floor(values.min()) - 1, 0), length - 1)
    return start, max(start + 1, min(math.ceil(values.max()) + 1, length))
