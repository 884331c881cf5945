"""Imaging: picture files as arrays, read with one-line errors and written atomically."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ned.core.errors import InputError, quoted
from ned.core.files.partial import publish_bytes
from ned.core.film.limits import LARGEST_PICTURE, require_size

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MARK = "made by the NED toolkit"  # in the metadata of pictures for people

# Pillow's names of the kinds that are read; the rest of its readers never see a file.
_KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000")
_MAGIC = (
    b"\x89PNG\r\n",
    b"\xff\xd8\xff",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"\0\0\0\x0cjP",
    b"#?RADIANCE",
    b"\x76\x2f\x31\x01",
    *(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b" \n\t"),
)
_SAVED_AS = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True},
    "PNG": {"compress_level": 3},
}
_SOFTWARE, _ORIENTATION = 0x0131, 0x0112  # EXIF's tags


def is_picture(path: Path) -> bool:
    """True if a file begins as pictures do; its name does not matter."""
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return False
        with path.open("rb") as file:
            start = file.read(16)
    except (OSError, ValueError):
        return False
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return True
    return start.startswith(_MAGIC)


def read_image(path: Path, largest: float = LARGEST_PICTURE) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of a picture file, upright as its EXIF orientation asks.

    Raises:
        InputError: There is none, it is damaged, or larger than `largest` megapixels.
    """
    return _decode(path, "RGB", largest)


def read_mask(path: Path, largest: float = LARGEST_PICTURE) -> NDArray[np.bool_]:
    """(H, W) True where a mask file is not black; one or three channels.

    Raises:
        InputError: There is none, it is damaged, or larger than `largest` megapixels.
    """
    return _decode(path, "L", largest) > 0


def write_image(
    path: Path, image: NDArray[np.uint8] | NDArray[np.bool_], *, marked: bool = False
) -> None:
    """Write (H, W, 3) RGB, (H, W) gray, or a bool mask as 0 and 255; the suffix says how.

    Args:
        path: the file.
        image: what it shows.
        marked: whether its metadata say which program made it.

    Raises:
        OutputError: The file cannot be written.
    """
    pixels = image.astype(np.uint8) * 255 if image.dtype == bool else image
    kind = _SAVED_AS.get(path.suffix.lower(), path.suffix.lower()[1:].upper())
    data = io.BytesIO()
    options = dict(_SAVE_OPTIONS.get(kind, {}))
    if marked:
        exif = Image.Exif()
        exif[_SOFTWARE] = MARK
        options["exif"] = exif
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, kind, **options)
    publish_bytes(path, data.getvalue())


def is_marked(path: Path) -> bool:
    """True if a picture's metadata say that this program made it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_KINDS) as picture:
                return picture.getexif().get(_SOFTWARE) == MARK
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _decode(path: Path, mode: str, largest: float) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            # Pillow's limit is lower than ours; this and damaged tags it tells in its own way.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_KINDS) as picture:
                require_size(path, picture.width, picture.height, largest)
                picture.load()
                return np.array(ImageOps.exif_transpose(_in_bytes(picture)).convert(mode))
    except FileNotFoundError as error:
        raise InputError(f"{quoted(path)} does not exist; it is needed") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{quoted(path)} holds far too many pixels; {largest:g} megapixels are accepted, "
            "scale it down"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError) as error:
        raise InputError(
            f"{quoted(path)} is a damaged image, or of an unknown kind; save it anew as PNG"
        ) from error


def _in_bytes(picture: Image.Image) -> Image.Image:
    """A picture with 8 bits per sample; 16 bits lose their lower ones instead of being clipped."""
    if picture.mode == "F":
        raise ValueError("samples are no integers")
    if not picture.mode.startswith("I"):
        return picture
    samples = np.clip(np.asarray(picture).astype(np.int64), 0, 65535) >> 8
    result = Image.fromarray(samples.astype(np.uint8))
    result.getexif()[_ORIENTATION] = picture.getexif().get(_ORIENTATION, 1)
    return result
