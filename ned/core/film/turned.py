"""Turned: a clip that lies on its side, or on its head, looked at as if a tag said so."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from ned.core.errors import InputError, quoted
from ned.core.film.clip import Clip
from ned.core.film.planes import Orientation, planar_format

_CORNERS = np.arange(4, dtype=np.uint8).reshape(2, 2)


def turned(clip: Clip, degrees: int) -> Clip:
    """The clip with its frames turned clockwise, on top of what its own tag says.

    Args:
        clip: A video. degrees: 0, 90, 180 or 270.

    Raises:
        InputError: The clip is a picture, which any viewer can turn and save.
    """
    if not degrees:
        return clip
    if clip.is_image:
        raise InputError(f"{quoted(clip.path)} is a picture; turn and save it, without --rotate")
    wanted = np.rot90(clip.orientation.apply(_CORNERS), -degrees // 90)
    orientation = next(
        each
        for each in itertools.starmap(Orientation, itertools.product((False, True), repeat=3))
        if np.array_equal(each.apply(_CORNERS), wanted)
    )
    aspect, size = clip.sample_aspect_ratio, clip.size
    if degrees in (90, 270):
        aspect, size = 1 / aspect if aspect else None, (size[1], size[0])
    return dataclasses.replace(
        clip,
        orientation=orientation,
        size=size,
        sample_aspect_ratio=aspect,
        pixel_format=planar_format(clip.source_format, orientation.transposed),
    )
