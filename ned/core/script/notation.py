"""Notation: how mixtures, numbers and seconds are written, checked, and complained about."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ned.core.errors import InputError
from ned.core.script.emotions import SOURCE, find_emotion

INTENSITY_LIMIT = 1.5
"""Largest intensity of one emotion; 1 is the emotion as its prototype was designed."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Place:
    """Where in a text something was read; in a `with` block it is put in front of InputErrors."""

    name: str
    column: int = 1
    line: int | None = None

    def after(self, characters: int) -> Place:
        """The place so many characters further on the same line."""
        return replace(self, column=self.column + characters)

    def error(self, message: str) -> InputError:
        """An error that starts with this place."""
        line = "" if self.line is None else f"line {self.line}, "
        return InputError(f"{self.name}, {line}column {self.column}: {message}")

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError):
            raise self.error(str(error)) from None


def parse_mixture(text: str, known: Sequence[str], place: Place | None = None) -> dict[str, float]:
    """Read "happy", "happy:0.8", "happy:0.6+surprised:0.4" or "source" into intensities by name.

    Raises:
        InputError: The text cannot be read; names the column.
    """
    place = place or Place(f"emotion {text!r}")
    mixture: dict[str, float] = {}
    if text.strip().lower() == SOURCE:
        return mixture
    if "," in text:
        raise place.after(text.index(",")).error(
            "a comma stands here; join emotions by + and part keys by spaces"
        )
    offset = 0
    for part in text.split("+"):
        word, colon, number = part.partition(":")
        here = place.after(offset + len(word) - len(word.lstrip()))
        there = place.after(offset + len(word) + 1)
        offset += len(part) + 1
        if not word.strip():
            raise here.error("the name of an emotion is missing here; write happy or happy+sad")
        with here:
            name = find_emotion(word, known)
        if name in mixture:
            raise here.error(f"{name} is given twice")
        intensity = parse_number(f"intensity of {name}", number, there) if colon else 1.0
        with there:
            check_intensity(name, intensity)
        mixture[name] = intensity
    return mixture


def is_number(text: str) -> bool:
    """True if `text` is a plain decimal number (no nan, no inf, no underscores)."""
    return _NUMBER.fullmatch(text) is not None


def parse_number(what: str, text: str, place: Place) -> float:
    """Read a plain decimal number; the error names `what` and the place."""
    if not is_number(text.strip()):
        raise place.error(f"{what} is {text[:40]!r}, which is not a number")
    return float(text)


def parse_seconds(what: str, text: str, place: Place) -> float:
    """Read a number of seconds, 0 or more; the error names `what` and the place."""
    seconds = parse_number(what, text, place)
    with place:
        check_seconds(what, seconds)
    return seconds


def check_seconds(what: str, seconds: float) -> None:
    """Raise InputError unless `seconds` is finite and 0 or more."""
    if not 0 <= seconds < float("inf"):
        raise InputError(f"{what} is {seconds:g}, give 0 or more seconds")


def check_intensity(name: str, intensity: float) -> None:
    """Raise InputError unless `intensity` lies in [0, INTENSITY_LIMIT]."""
    if not 0 <= intensity <= INTENSITY_LIMIT:
        raise InputError(f"{name} is {intensity:g}, give a number from 0 to {INTENSITY_LIMIT:g}")


def check_order(previous: float, time: float) -> None:
    """Raise InputError unless `time` comes after the time of the key before it."""
    if not time > previous:
        raise InputError(
            f"time {format_number(time)} does not come after {format_number(previous)}, "
            f"the key before it"
        )


def format_mixture(mixture: Mapping[str, float]) -> str:
    """The mixture as `parse_mixture` reads it, without loss."""
    parts = (name if w == 1 else f"{name}:{format_number(w)}" for name, w in mixture.items())
    return "+".join(parts) or SOURCE


def format_number(number: float) -> str:
    """The shortest decimal text that reads back as the same number."""
    return repr(float(number)).removesuffix(".0").replace("e+", "e")
