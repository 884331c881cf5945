"""Encoder: how a result's picture is encoded; the one place of these defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class EncoderSettings:
    """How the picture is encoded.

    Attributes:
        codec: FFmpeg's name of a video encoder.
        crf: constant quality where the codec has it; smaller is better, 9 looks lossless and
            keeps noise.
        preset: speed for size, libx264 and libx265 only.
        pixel_format: None for the source's, or the nearest that the codec can take.
        gop: most frames from one key frame to the next; None for the codec's default.
        options: further options of the codec by FFmpeg's names.
        audio: "copy" for every stream bit for bit, "none" for a silent film.
    """

    codec: str = "libx264"
    crf: float | None = 9.0
    preset: str | None = "medium"
    pixel_format: str | None = None
    gop: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    audio: Literal["copy", "none"] = "copy"
