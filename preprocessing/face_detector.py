"""FaceDetector: boxes of faces in an image, searched at several scales with BlazeFace."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.framework import load_mediapipe, quiet_stderr
from preprocessing.window import WINDOW_PER_BOX, Window, halve

_NEAR_INPUT, _FAR_INPUT = 128, 192  # pixels, input sides of the two networks
_SMALLEST_SEEN = 20  # pixels of a network's input; smaller faces are missed (measured)
_TILE_OVERLAP = 0.25  # of a tile's side: a face that a tile is meant for fits into the overlap
_SAME_FACE = 0.4  # overlap above which two detections are one face


@dataclass(frozen=True)
class Detection:
    """One face that the detector saw.

    Attributes:
        box: x0, y0, x1, y1 in image pixels, from the brows to the chin.
        score: The detector's probability in [0, 1].
        angle: Roll in radians, from the image's x axis to the line through the eyes.
    """

    box: tuple[float, float, float, float]
    score: float
    angle: float

    def window(self) -> Window:
        """The window in which the mesh network should look at this face."""
        x0, y0, x1, y1 = self.box
        side = WINDOW_PER_BOX * max(x1 - x0, y1 - y0)
        return Window(((x0 + x1) / 2, (y0 + y1) / 2), side, self.angle)


@dataclass(frozen=True)
class Tile:
    """A square that is searched in one go, in pixels; it may reach over the image's border."""

    left: int
    top: int
    side: int


class FaceDetector:
    """Runs BlazeFace on tiles of an image; use as a context manager, or call `close`."""

    def __init__(self, score: float = 0.5) -> None:
        """Load both networks; detections below `score`, a probability, are dropped."""
        with quiet_stderr():
            solution = load_mediapipe()["detection"].FaceDetection
            self._near = solution(model_selection=0, min_detection_confidence=score)
            self._far = solution(model_selection=1, min_detection_confidence=score)
            for network, side in ((self._near, _NEAR_INPUT), (self._far, _FAR_INPUT)):
                network.process(np.zeros((side, side, 3), np.uint8))

    def search(self, image: NDArray[np.uint8], tiles: Iterable[Tile]) -> list[Detection]:
        """All faces found in any of the tiles, best score first, each once.

        Args:
            image: (H, W, 3) RGB.
            tiles: Where to look, see `tiles`.
        """
        found = [
            item for tile in tiles for item in self._detect(image, tile, self._far, _FAR_INPUT)
        ]
        return _without_duplicates(found)

    def look(self, image: NDArray[np.uint8], window: Window, scale: float = 1.6) -> list[Detection]:
        """Faces around a place where one is expected: one run of the short-range network."""
        side = max(16, round(window.side * scale))
        tile = Tile(round(window.centre[0] - side / 2), round(window.centre[1] - side / 2), side)
        return _without_duplicates(self._detect(image, tile, self._near, _NEAR_INPUT))

    def _detect(
        self, image: NDArray[np.uint8], tile: Tile, network, pixels: int
    ) -> list[Detection]:
        crop, scale = _cut(image, tile, pixels)
        found = []
        for item in network.process(crop).detections or []:
            relative = item.location_data.relative_bounding_box
            x0, y0 = relative.xmin * pixels, relative.ymin * pixels
            x1, y1 = x0 + relative.width * pixels, y0 + relative.height * pixels
            right, left = item.location_data.relative_keypoints[:2]
            found.append(
                Detection(
                    box=(
                        tile.left + x0 / scale,
                        tile.top + y0 / scale,
                        tile.left + x1 / scale,
                        tile.top + y1 / scale,
                    ),
                    score=float(item.score[0]),
                    angle=math.atan2(left.y - right.y, left.x - right.x),
                )
            )
        return found

    def close(self) -> None:
        """Free the networks; the object cannot be used afterwards."""
        self._near.close()
        self._far.close()

    def __enter__(self) -> FaceDetector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def tiles(size: tuple[int, int], smallest_face: float) -> list[list[Tile]]:
    """Tiles that cover an image at falling sizes: every face is large enough in one of them.

    Args:
        size: (width, height) of the image in pixels.
        smallest_face: Height in pixels of the smallest face to be found.

    Returns:
        One list per level; the first holds a single tile over the whole image.
    """
    width, height = size
    whole = max(width, height)
    smallest = max(_FAR_INPUT / 2, smallest_face * _FAR_INPUT / _SMALLEST_SEEN)
    levels = [[Tile((width - whole) // 2, (height - whole) // 2, whole)]]
    steps = max(0, math.ceil(math.log(whole / smallest) / math.log(2)))
    for step in range(1, steps + 1):
        side = round(whole * (smallest / whole) ** (step / steps))
        levels.append(
            [
                Tile(left, top, side)
                for top in _starts(height, side)
                for left in _starts(width, side)
            ]
        )
    return levels


def overlap(one: Iterable[float], other: Iterable[float]) -> float:
    """Intersection over the smaller of two boxes x0, y0, x1, y1: 1 when one contains the other."""
    ax0, ay0, ax1, ay1 = one
    bx0, by0, bx1, by1 = other
    width, height = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min((ax1 - ax0) * (ay1 - ay0), (bx1 - bx0) * (by1 - by0))
    return width * height / smaller if smaller > 0 else 0.0


def _starts(length: int, side: int) -> list[int]:
    """Evenly spaced starts of intervals of `side` that cover [0, length) with some overlap."""
    if side >= length:
        return [(length - side) // 2]
    count = math.ceil((length - side) / (side * (1 - _TILE_OVERLAP))) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def _cut(image: NDArray[np.uint8], tile: Tile, pixels: int) -> tuple[NDArray[np.uint8], float]:
    """The tile as (pixels, pixels, 3), black beyond the image, and its pixels per image pixel."""
    height, width = image.shape[:2]
    scale = pixels / tile.side
    left, top = max(0, tile.left), max(0, tile.top)
    right, bottom = min(width, tile.left + tile.side), min(height, tile.top + tile.side)
    crop = np.zeros((pixels, pixels, 3), np.uint8)
    x0, y0 = round((left - tile.left) * scale), round((top - tile.top) * scale)
    x1, y1 = round((right - tile.left) * scale), round((bottom - tile.top) * scale)
    if right > left and bottom > top and x1 > x0 and y1 > y0:
        region, _ = halve(image[top:bottom, left:right], 1 / scale)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        crop[y0:y1, x0:x1] = cv2.resize(region, (x1 - x0, y1 - y0), interpolation=way)
    return crop, scale


def _without_duplicates(found: list[Detection]) -> list[Detection]:
    kept: list[Detection] = []
    for item in sorted(found, key=lambda each: -each.score):
        if all(overlap(item.box, other.box) < _SAME_FACE for other in kept):
            kept.append(item)
    return kept
