"""Speech that is made up: the mouth of somebody who says nothing in particular."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from manipulator import dynamics
from manipulator.speech_lock import SpeechLock

_PART_OF_OPENING = (
    *("lips_part_upper", "lips_part_lower", "lower_lip_depress", "upper_lip_raise"),
    *("funnel_upper", "jaw_drop"),
)
_MOST_PUCKER = 0.6
_CLOSERS = {"chin_raise": 1.0, "suck_lower": 1.0, "press": 0.7}


@dataclass(frozen=True)
class Viseme:
    """What a mouth does for a sound: activations `units` (U,), `length` in seconds."""

    units: NDArray[np.float32]
    often: float
    length: float
    closes: bool


@dataclass(frozen=True)
class Voice:
    """How somebody speaks.

    Attributes:
        rate: syllables per second while speaking. amplitude: of all mouth movement. parted: how
            far the lips are apart between sounds.
        gains: (U,) personal strength of each unit. overlap: reach of co-articulation in lengths of
            a viseme. pauses: seconds between phrases on average. phrase: syllables in a phrase.
    """

    rate: float
    amplitude: float
    parted: float
    gains: NDArray[np.float32]
    overlap: float
    pauses: float
    phrase: float

    @classmethod
    def of_somebody(cls, rig: Rig, generator: np.random.Generator) -> Voice:
        """A random voice; both sides of a unit are alike within some ten percent."""
        both = generator.normal(0, 0.25, len(rig))
        both = (both + both[rig.mirror]) / 2
        sides = generator.normal(0, 0.08, len(rig))
        return cls(
            rate=generator.uniform(3.2, 6.0),
            amplitude=float(np.clip(generator.lognormal(0.4, 0.35), 0.6, 2.4)),
            parted=generator.uniform(0, 0.7),
            gains=np.exp(both + sides).astype(np.float32),
            overlap=generator.uniform(0.75, 1.15),
            pauses=generator.uniform(0.1, 0.6),
            phrase=generator.uniform(4, 12),
        )


@dataclass(frozen=True)
class Speech:
    """A mouth in motion.

    Attributes:
        units: (T, U) activations, zero outside of the mouth. stress: (T,) 0–1, peaks on accents.
        shut: (T,) 0–1, 1 where the lips must touch.
    """

    units: NDArray[np.float32]
    stress: NDArray[np.float32]
    shut: NDArray[np.float32]


def speak(
    count: int, voice: Voice, rig: Rig, generator: np.random.Generator, frame_rate: float = 25.0
) -> Speech:
    """Let somebody talk for `count` frames.

    Visemes alternate between consonants and vowels, in phrases with pauses. Co-articulation is
    the normalised sum of dominance functions of Cohen & Massaro (Modeling Coarticulation in
    Synthetic Visual Speech, 1993) with Gaussian dominance; bilabials dominate the lips alone, and
    shut them whatever the jaw does.
    """
    spoken, middles, widths, stresses = _script(count / frame_rate, voice, rig, generator)
    times = np.arange(count) / frame_rate
    distance = (times[:, None] - middles) / (widths * voice.overlap)
    dominance = np.exp(-0.5 * (2 * distance) ** 2) + 1e-9
    dominance /= dominance.sum(1, keepdims=True)
    loudness = (
        voice.amplitude
        * (1 + 0.35 * (stresses - 0.4))
        * generator.lognormal(0, 0.15, len(stresses))
    )
    targets = np.stack([viseme.units for viseme in spoken]) * loudness[:, None].astype(np.float32)
    units = (dominance.astype(np.float32) @ targets) * voice.gains
    closing = np.array([viseme.closes for viseme in spoken], np.float64)
    # lips touch for about half of a closing sound
    near = np.exp(-0.5 * (np.abs(times[:, None] - middles) / (0.36 * widths)) ** 4)
    shut = (near * closing).max(1)
    stress = (np.exp(-0.5 * ((times[:, None] - middles) / 0.09) ** 2) * stresses).max(1)
    pucker = rig.index["pucker"]
    units[:, pucker] = _MOST_PUCKER * np.tanh(units[:, pucker] / _MOST_PUCKER)
    for unit in ("lips_part_upper", "lips_part_lower"):
        units[:, rig.index[unit]] += voice.parted
    units = closed(units, shut.astype(np.float32), rig)
    return Speech(dynamics.smooth(units, 0.5), stress.astype(np.float32), shut.astype(np.float32))


def closed(units: NDArray[np.float32], shut: NDArray[np.float32], rig: Rig) -> NDArray[np.float32]:
    """(T, U) the same with lips that touch where `shut` (T,) is 1 and never cross.

    Lips stop parting, the jaw follows by half, and what is still open the lower lip makes up for.
    """
    result = units.copy()
    lips = [column for unit in _PART_OF_OPENING for column in rig.columns(unit)]
    result[:, lips] *= 1 - shut[:, None]
    result[:, rig.index["jaw_open"]] *= 1 - 0.5 * shut
    opening = _mean_opening(rig)
    gap = result @ opening
    closers = np.zeros(len(rig), np.float32)
    for unit, share in _CLOSERS.items():
        closers[rig.index[unit]] = share
    closers /= -(closers @ opening)
    result += (shut * np.maximum(gap, 0))[:, None] * closers
    parting = rig.index["lips_part_lower"]
    result[:, parting] += np.maximum(-(result @ opening), 0) / opening[parting]
    return result


@lru_cache(maxsize=2)
def _mean_opening(rig: Rig) -> NDArray[np.float32]:
    return SpeechLock(rig).functionals[:-2].mean(0).astype(np.float32)


@lru_cache(maxsize=2)
def load_visemes(rig: Rig) -> dict[str, tuple[Viseme, ...]]:
    """ "vowels", "consonants" and "rest" of configs/visemes.yaml, as activations of a rig."""
    import yaml

    text = resources.files("configs").joinpath("visemes.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    return {
        group: tuple(_viseme(entry, rig) for entry in entries.values())
        for group, entries in table.items()
    }


def _viseme(entry: dict, rig: Rig) -> Viseme:
    units = np.zeros(len(rig), np.float32)
    for name, amount in entry["units"].items():
        units[list(rig.columns(name))] = amount
    return Viseme(units, entry["often"], entry["length"], entry.get("closes", False))


def _script(
    seconds: float, voice: Voice, rig: Rig, generator: np.random.Generator
) -> tuple[list[Viseme], NDArray, NDArray, NDArray]:
    """What is said: visemes, their middles and lengths in seconds, and their stress 0–1."""
    groups = load_visemes(rig)
    spoken: list[Viseme] = []
    lengths: list[float] = []
    stresses: list[float] = []

    def say(group: str, length: float | None = None, stress: float = 0.0) -> None:
        choice = groups[group]
        often = np.array([viseme.often for viseme in choice], np.float64)
        viseme = choice[generator.choice(len(choice), p=often / often.sum())]
        spoken.append(viseme)
        lengths.append(
            length or viseme.length * 5 / voice.rate * float(generator.lognormal(0, 0.25))
        )
        stresses.append(stress)

    begin = -generator.uniform(0, 2.0)  # clips begin anywhere in a sentence
    while begin + sum(lengths) < seconds + 0.3:
        accent = generator.integers(2, 5)
        for syllable in range(max(1, generator.poisson(voice.phrase))):
            if generator.random() < 0.85:
                say("consonants")
            stressed = syllable % accent == 0
            say(
                "vowels",
                stress=generator.uniform(0.5, 1) if stressed else generator.uniform(0, 0.3),
            )
            if generator.random() < 0.3:
                say("consonants")
        say("rest", max(0.12, float(generator.exponential(voice.pauses))))
    widths = np.array(lengths)
    middles = begin + np.cumsum(widths) - widths / 2
    # a long rest keeps its shape; its neighbours reach only their own length into it
    return spoken, middles, np.minimum(widths, 0.45), np.array(stresses)
