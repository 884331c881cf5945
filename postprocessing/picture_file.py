"""Picture: a finished PNG, published atomically."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.errors import OutputError
from ned.core.files.partial import Partial
from ned.core.film.image_files import write_image

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def check_picture(path: Path) -> None:
    """Find out, before any long work, whether a picture can be written; raises OutputError."""
    if path.suffix.lower() not in _SUFFIXES:
        raise OutputError(f"'{path}' is no picture name; give one that ends in .png, .jpg or .webp")
    Partial(path).discard()


def write_picture(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Write (H, W, 3) RGB as PNG, JPEG or WebP by suffix; raises OutputError."""
    check_picture(path)
    write_image(path, rgb, marked=True)


def label(rgb: NDArray[np.uint8], text: str, height: int = 18) -> None:
    """Write white text on a dark ground into the upper left corner, in place."""
    size = height / 28
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    rgb[: height + 4, : min(rgb.shape[1], width + 10)] //= 4
    place, white = (5, height - 2), (255, 255, 255)
    cv2.putText(rgb, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, white, 1, cv2.LINE_AA)
