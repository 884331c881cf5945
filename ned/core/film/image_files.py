"""Imaging: picture files as arrays, read with one-line errors and written atomically."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted
from ned.core.files.partial import publish_bytes

_SILENT = 0  # OpenCV's log level


def read_image(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a picture file.

    Raises:
        InputError: There is none, or it is damaged.
    """
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W) True where a mask file is not black; one or three channels.

    Raises:
        InputError: There is none, or it is damaged.
    """
    return _decode(path, cv2.IMREAD_GRAYSCALE) > 0


def write_image(path: Path, image: NDArray[np.uint8] | NDArray[np.bool_]) -> None:
    """Write (H, W, 3) RGB, (H, W) gray, or a bool mask as 0 and 255; the suffix says how.

    Raises:
        OutputError: The file cannot be written.
    """
    pixels = image.astype(np.uint8) * 255 if image.dtype == bool else image
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(path.suffix.lower(), pixels)
    publish_bytes(path, data.tobytes())


def _decode(path: Path, flag: int) -> NDArray[np.uint8]:
    level = cv2.getLogLevel()
    try:
        cv2.setLogLevel(_SILENT)  # the error below says it all
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), flag)
    except FileNotFoundError as error:
        raise InputError(f"{quoted(path)} does not exist; it is needed") from error
    except (cv2.error, OSError) as error:
        raise InputError(f"{quoted(path)} is an image that cannot be read") from error
    finally:
        cv2.setLogLevel(level)
    if pixels is None:
        raise InputError(f"{quoted(path)} is a damaged image, or of an unknown kind; save it anew")
    return pixels
