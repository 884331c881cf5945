"""Preview: source and result side by side, with the curve of the emotions under them."""

from __future__ import annotations

import dataclasses

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.film.clip import Clip, Frame
from ned.core.film.planes import FULL_RANGE, LIMITED_RANGE, Planes, convert, planes_of
from postprocessing.picture_file import label

_LARGEST_WIDTH = 1920
_CURVE_HEIGHT = 96
_COLOURS = (
    *((245, 200, 60), (90, 150, 245), (235, 80, 70), (120, 220, 130), (190, 120, 235)),
    *((150, 190, 60), (240, 150, 90), (200, 200, 200)),
)


class Preview:
    """Composes the frames of a side-by-side clip.

    Attributes:
        clip: what a VideoWriter needs to know of the preview; sound and times are the source's.
    """

    def __init__(self, clip: Clip, weights: NDArray[np.float32], names: tuple[str, ...]) -> None:
        width, height = clip.size
        scale = min(1.0, _LARGEST_WIDTH / (2 * width))
        self._pane = (round(width * scale) // 2 * 2, round(height * scale) // 2 * 2)
        size = (2 * self._pane[0], self._pane[1] + _CURVE_HEIGHT)
        self.clip = dataclasses.replace(
            clip,
            size=size,
            coded_size=size,
            pixel_format="yuv420p",
            sample_aspect_ratio=None,
            alpha=False,
            hdr=None,
        )
        self._curve = _curve(weights, names, size[0])
        self._count = max(len(weights), 1)

    def frame(self, source: Frame, result: Frame) -> Frame:
        """The preview's frame for a pair of frames."""
        panes = [
            cv2.resize(f.rgb(), self._pane, interpolation=cv2.INTER_AREA) for f in (source, result)
        ]
        for pane, text in zip(panes, ("source", "result"), strict=True):
            label(pane, text)
        curve = self._curve.copy()
        column = round(source.index / self._count * (curve.shape[1] - 1))
        curve[:, max(0, column - 1) : column + 1] = 255
        rgb = np.concatenate([np.concatenate(panes, axis=1), curve])
        return dataclasses.replace(
            source, clip=self.clip, planes=_planes(rgb, self.clip), picture=None, alpha=None
        )


def _curve(weights: NDArray[np.float32], names: tuple[str, ...], width: int) -> NDArray[np.uint8]:
    """(96, width, 3) plot of each emotion's weight over the clip, 0 to 1.5, with a legend."""
    image = np.full((_CURVE_HEIGHT, width, 3), 24, np.uint8)
    bottom, top = _CURVE_HEIGHT - 6, 26
    x = np.linspace(0, width - 1, max(len(weights), 2))
    cursor = 6
    for k, name in enumerate(names):
        colour = _COLOURS[k % len(_COLOURS)]
        values = weights[:, k] if len(weights) > 1 else np.repeat(weights[:, k], 2)
        y = bottom - np.clip(values / 1.5, 0, 1) * (bottom - top)
        points = np.rint(np.stack([x, y], axis=1)).astype(np.int32)
        cv2.polylines(image, [points], False, colour, 2, cv2.LINE_AA)
        cv2.putText(
            image, name, (cursor, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA
        )
        cursor += 12 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
    return image


def _planes(rgb: NDArray[np.uint8], clip: Clip) -> Planes:
    """RGB to 4:2:0 planes in the clip's own matrix and range."""
    picture = convert(
        av.VideoFrame.from_ndarray(rgb, format="rgb24"),
        clip.pixel_format,
        clip.matrix,
        FULL_RANGE,
        FULL_RANGE if clip.full_range else LIMITED_RANGE,
    )
    return planes_of(picture)
