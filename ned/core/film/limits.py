"""Limits: how large a picture may be before it is decoded; a few bytes can hold a huge one."""

from __future__ import annotations

from pathlib import Path

from ned.core.errors import InputError, quoted

LARGEST_PICTURE = 64.0  # megapixels; more than 8K, less than what fills a memory


def pixels_of(megapixels: float) -> int:
    """Pixels, as FFmpeg counts them."""
    return min(round(megapixels * 1e6), 2**31 - 1)


def require_size(path: Path, width: int, height: int, largest: float) -> None:
    """Raise InputError if a picture has more than `largest` megapixels."""
    if width * height > pixels_of(largest):
        raise InputError(
            f"{quoted(path)} holds pictures of {width}x{height}, {width * height / 1e6:.0f} "
            f"megapixels; {largest:g} are accepted, scale it down or raise --max-megapixels"
        )
