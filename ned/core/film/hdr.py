"""HDR: the mastering display and the light level of HDR10 (SMPTE ST 2086, CTA-861.3)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_DISPLAY = struct.Struct("=20i2i")  # AVMasteringDisplayMetadata: ten rationals, two flags
_LIGHT = struct.Struct("=2I")  # AVContentLightMetadata
_COLOUR_UNITS, _LIGHT_UNITS = 50000, 10000  # per 1, and per candela per square metre


@dataclass(frozen=True)
class Hdr:
    """What HDR10 says about the display that a film was graded on.

    Attributes:
        display: x and y of red, green, blue and white, then the brightest and the darkest light
            in cd/m^2: ten numbers; None where not told.
        light: brightest pixel and brightest frame on average, in cd/m^2; None where not told.
    """

    display: tuple[Fraction, ...] | None
    light: tuple[int, int] | None

    @classmethod
    def of(cls, side_data: Mapping[str, Any]) -> Hdr | None:
        """What a decoded picture's side data tell; None if nothing."""
        display, light = None, None
        data = bytes(side_data.get("MASTERING_DISPLAY_METADATA") or b"")
        if len(data) >= _DISPLAY.size:
            display = _display(data)
        data = bytes(side_data.get("CONTENT_LIGHT_LEVEL") or b"")
        if len(data) >= _LIGHT.size:
            light = _LIGHT.unpack(data[: _LIGHT.size])
        return cls(display, light) if display is not None or light is not None else None

    def display_in_units(self) -> str:
        """The display as x264 and x265 take it: whole units of the standard."""
        assert self.display is not None
        colours = [round(value * _COLOUR_UNITS) for value in self.display[:8]]
        lights = [round(value * _LIGHT_UNITS) for value in self.display[8:]]
        return _spelled([str(value) for value in (*colours, *lights)])

    def display_in_fractions(self) -> str:
        """The display as SVT-AV1 takes it: decimal fractions."""
        assert self.display is not None
        return _spelled([f"{float(value):.5f}" for value in self.display])


def _display(data: bytes) -> tuple[Fraction, ...] | None:
    numbers = _DISPLAY.unpack(data[: _DISPLAY.size])
    parts = numbers[:20]
    if not all(numbers[20:]) or not all(parts[1::2]):
        return None
    values = [Fraction(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
    darkest, brightest = values[8:]
    return (*values[:8], brightest, darkest)


def _spelled(words: list[str]) -> str:
    red, green, blue, white, light = (",".join(words[k : k + 2]) for k in range(0, 10, 2))
    return f"G({green})B({blue})R({red})WP({white})L({light})"
