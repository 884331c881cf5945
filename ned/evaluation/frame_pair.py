"""Frame pair: one moment as both videos show it, prepared once for every measure of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.film.clip import Frame

FACE_SIDE = 256  # pixels of the square in which faces are compared over time


@dataclass(frozen=True)
class FramePair:
    """The same frame of source and result, of equal size.

    Attributes:
        index: number of the frame, from 0. source, result: the frames.
        face: rows and columns of the square around the source's face, None without one.
    """

    index: int
    source: Frame
    result: Frame
    face: tuple[slice, slice] | None

    @cached_property
    def lumas(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(H, W) float32 luma of both as 8-bit code values.

        Where one has full and the other limited range, both are stretched to 0 black, 255 white.
        """
        stretched = self.source.clip.full_range != self.result.clip.full_range
        return _luma(self.source, stretched), _luma(self.result, stretched)

    def prepare(self, coloured: bool) -> None:
        """Compute what is shared now, so that several threads can look; colours if wanted."""
        _ = self.lumas, self.faces, self.colours if coloured else None

    @cached_property
    def colours(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB of both."""
        return self.source.rgb(), self.result.rgb()

    @cached_property
    def faces(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """(256, 256) float32 luma of the face's square in both; None without a face."""
        if self.face is None:
            return None
        size = (FACE_SIDE, FACE_SIDE)
        first, second = (
            cv2.resize(image[self.face], size, interpolation=cv2.INTER_AREA) for image in self.lumas
        )
        return first, second  # type: ignore[return-value]


def _luma(frame: Frame, stretched: bool) -> NDArray[np.float32]:
    clip = frame.clip
    values = frame.planes[0].astype(np.float32)
    if clip.bit_depth > 8:
        values *= np.float32(1 / (1 << (clip.bit_depth - 8)))
    if stretched and not clip.full_range:
        values = (values - np.float32(16)) * np.float32(255 / 219)
    return values
