"""Timeline: which emotions the actor is asked to show, how strongly, and when.

A timeline is a row of keys. From its key's time on, the actor moves to that key's mixture of
emotions, takes `ease` seconds to get there along a minimum-jerk curve, and stays until the next
key. A key at 0 holds from the first frame on; before a later first key the footage is left as it
was recorded. docs/timeline.md shows the three ways to write one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ned.core.errors import InputError
from ned.core.script.emotions import unknown_emotion
from ned.core.script.notation import (
    INTENSITY_LIMIT,
    Place,
    check_intensity,
    check_order,
    check_seconds,
    format_mixture,
    format_number,
    is_number,
    parse_mixture,
    parse_seconds,
)

EASE_SECONDS = 0.5
"""Default length of the transition into a key, in seconds."""


@dataclass(frozen=True)
class Key:
    """A wish with a time.

    Attributes:
        time: Seconds from the first frame, where the transition into this key starts.
        mixture: Intensity in [0, INTENSITY_LIMIT] by emotion name; empty means as recorded.
        ease: Seconds that the transition takes; 0 is a cut.
    """

    time: float
    mixture: Mapping[str, float]
    ease: float = EASE_SECONDS

    def __post_init__(self) -> None:
        check_seconds("time", self.time)
        check_seconds("ease", self.ease)
        for name, intensity in self.mixture.items():
            check_intensity(name, intensity)

    def progress(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the way into this key at `times` (T,) seconds: (T,) in [0, 1], never falling.

        The curve is the minimum-jerk polynomial (Flash and Hogan 1985), which is how people move:
        speed and acceleration are zero at both ends.
        """
        if self.time == 0:
            return np.ones_like(times)
        if self.ease == 0:
            return (times >= self.time).astype(np.float64)
        share = np.clip((times - self.time) / self.ease, 0, 1)
        return share**3 * (10 + share * (6 * share - 15))


@dataclass(frozen=True)
class Timeline:
    """At least one key, in order of time."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise InputError("a timeline needs at least one key, such as 0:happy")
        previous = -1.0
        for key in self.keys:
            check_order(previous, key.time)
            previous = key.time

    @classmethod
    def constant(cls, mixture: Mapping[str, float]) -> Timeline:
        """The same mixture from the first frame to the last."""
        return cls((Key(0.0, dict(mixture)),))

    @classmethod
    def split(
        cls,
        mixtures: Sequence[str],
        duration: float,
        known: Sequence[str],
        ease: float = EASE_SECONDS,
    ) -> Timeline:
        """Give each mixture an equal share of the clip, one after the other, as NED does.

        Args:
            mixtures: One or more mixtures, such as "happy" or "happy:0.6+surprised:0.4".
            duration: Length of the clip in seconds, above 0 unless there is only one mixture.
            known: Names of the emotions that exist.
            ease: Seconds of each transition; shortened to a share where shares are shorter.

        Raises:
            InputError: A mixture cannot be read, or there is none.
        """
        parsed = [parse_mixture(text, known, Place(f"emotion {text!r}")) for text in mixtures]
        if len(parsed) > 1 and not duration > 0:
            raise InputError(
                f"a clip of {duration:g} s cannot be split between {len(parsed)} emotions"
            )
        share = duration / max(len(parsed), 1)
        ease = min(ease, share) if len(parsed) > 1 else ease
        return cls(tuple(Key(index * share, m, ease) for index, m in enumerate(parsed)))

    @classmethod
    def parse(cls, text: str, known: Sequence[str], name: str = "timeline") -> Timeline:
        """Read keys written in a row, such as "0:neutral 1.5:happy:0.8 4:angry".

        A token `ease=0.3` sets the transition length in seconds of the keys that follow it.

        Raises:
            InputError: The text cannot be read; `name` and the column (from 1) say where.
        """
        keys: list[Key] = []
        ease = EASE_SECONDS
        for token in re.finditer(r"\S+", text):
            place = Place(name, token.start() + 1)
            head, colon, mixture = token[0].partition(":")
            if not colon and head.startswith("ease="):
                ease = parse_seconds("ease", head[5:], place.after(5))
                continue
            if not colon or not mixture:
                raise place.error(
                    f"{token[0]!r} is not a key; write time:emotion, such as 1.5:happy:0.8, "
                    f"or name a .yaml file"
                )
            time = parse_seconds("time", head, place)
            with place:
                check_order(keys[-1].time if keys else -1.0, time)
            if is_number(mixture.partition(":")[0]):
                raise place.error(
                    f"{token[0]!r} reads like minutes:seconds; times are in seconds, 1:30 is 90"
                )
            keys.append(Key(time, parse_mixture(mixture, known, place.after(len(head) + 1)), ease))
        if not keys:
            raise Place(name).error("no key found; write time:emotion, such as 0:happy")
        return cls(tuple(keys))

    @property
    def is_null(self) -> bool:
        """True if nothing is asked for: every intensity of every key is zero."""
        return not any(intensity for key in self.keys for intensity in key.mixture.values())

    def check_end(self, duration: float) -> list[str]:
        """Lines about keys that start when a clip of `duration` seconds is over.

        Raises:
            InputError: All do, so that nothing would be shown.
        """
        late = [key for key in self.keys if key.time >= duration]
        lines = [
            f"timeline: key {number + 1} ({format_number(key.time)}:{format_mixture(key.mixture)}) "
            f"starts after the end of the clip, which lasts {duration:.4g} s"
            for number, key in enumerate(self.keys)
            if key.time >= duration
        ]
        if len(late) == len(self.keys):
            raise InputError(f"{lines[0]}; times are in seconds from its first frame")
        return lines

    def scaled(self, intensity: float) -> Timeline:
        """Every intensity times `intensity`, like a master fader, held below INTENSITY_LIMIT.

        It multiplies emotions with and without a number of their own, so that a mixture keeps its
        proportions and 0 always means that the footage stays as it was recorded.
        """
        check_intensity("intensity", intensity)
        keys = (
            replace(
                key,
                mixture={n: min(w * intensity, INTENSITY_LIMIT) for n, w in key.mixture.items()},
            )
            for key in self.keys
        )
        return Timeline(tuple(keys))

    def weights(self, times: ArrayLike, names: Sequence[str]) -> NDArray[np.float32]:
        """Intensity of every emotion at every time.

        A key that starts before the last one has arrived takes over from wherever the mixture is
        by then, so the curves have no jumps however close the keys are.

        Args:
            times: (T,) seconds from the first frame.
            names: The emotions, in the order of the columns wanted.

        Returns:
            (T, len(names)) float32 in [0, INTENSITY_LIMIT]; all zero means as recorded.

        Raises:
            InputError: A key asks for an emotion that is not among `names`.
        """
        times = np.asarray(times, np.float64)
        columns = {name: index for index, name in enumerate(names)}
        result = np.zeros((len(times), len(names)))
        for key in self.keys:
            target = np.zeros(len(names))
            for name, intensity in key.mixture.items():
                if name not in columns:
                    raise InputError(unknown_emotion(name, names))
                target[columns[name]] = intensity
            progress = key.progress(times)[:, None]
            result = (1 - progress) * result + progress * target
        return result.astype(np.float32)

    def __str__(self) -> str:
        """The timeline as `parse` reads it, without loss."""
        tokens = []
        ease = EASE_SECONDS
        for key in self.keys:
            if key.ease != ease:
                ease = key.ease
                tokens.append(f"ease={format_number(ease)}")
            tokens.append(f"{format_number(key.time)}:{format_mixture(key.mixture)}")
        return " ".join(tokens)

    def to_dict(self) -> dict[str, object]:
        """The timeline as a take file holds it, without loss (plain lists, numbers and strings)."""
        return {
            "ease": EASE_SECONDS,
            "keys": [
                {"at": float(key.time), "emotion": format_mixture(key.mixture)}
                | ({} if key.ease == EASE_SECONDS else {"ease": float(key.ease)})
                for key in self.keys
            ],
        }
