"""Strips: faces of source and result side by side in time, as pictures inside of a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ned.evaluation.page import macros
from ned.evaluation.result import Picture

# Pictures of a result, their height in pixels and WebP quality; tried from the largest on.
_SIZES = ((12, 200, 82), (10, 180, 78), (8, 150, 74), (6, 120, 68), (4, 96, 60), (2, 72, 50))


def strips_within(rows: Sequence[Sequence[Picture]], room: float) -> tuple[list[Markup], str]:
    """Each result's pictures as HTML, together within a number of bytes.

    Args:
        rows: pictures of each result. room: bytes for all of them.

    Returns:
        HTML for each result, and a sentence about what was left out; "" if nothing was.
    """
    taken = [index for index, row in enumerate(rows) if row]
    strips = [Markup("")] * len(rows)
    for count, height, quality in _SIZES:
        size = 0
        for index in taken:
            strips[index] = _strip(rows[index], count, height, quality)
            size += len(strips[index])
            if size > room:
                break
        else:
            left = sum(max(len(rows[index]) - count, 0) for index in taken)
            return strips, f"{left} pictures were left out to keep this page small." if left else ""
    size, shown = 0, 0
    strips = [Markup("")] * len(rows)
    for index in taken:
        strip = _strip(rows[index], *_SIZES[-1])
        if size + len(strip) > room:
            break
        strips[index], size, shown = strip, size + len(strip), shown + 1
    return strips, f"Pictures of {shown} of {len(taken)} results are shown to keep this page small."


def _strip(pictures: Sequence[Picture], count: int, height: int, quality: int) -> Markup:
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(count, len(pictures))).round())
    ordered = sorted(pictures, key=lambda picture: picture.time)
    shown = [
        (f"{picture.time:.2f} s", *_encode(picture, height, quality))
        for picture in (ordered[int(index)] for index in chosen)
    ]
    return macros("report.html").strip(shown)


def _encode(picture: Picture, height: int, quality: int) -> tuple[str, int, int]:
    """WebP in base64 of the source above the result, each at most `height` high; and its size."""
    import cv2

    def resized(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        high, wide = image.shape[:2]
        scale = min(height / high, 1.6 * height / wide, 1)
        size = (max(round(wide * scale), 1), max(round(high * scale), 1))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)

    source, result = resized(picture.source), resized(picture.result)
    gap = np.full((max(height // 50, 1), source.shape[1], 3), 128, np.uint8)
    both = np.concatenate([source, gap, result])
    data = cv2.imencode(".webp", both[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return base64.b64encode(data.tobytes()).decode(), both.shape[1], both.shape[0]
