"""Synthetic performances: made-up actors who say nothing in particular, with known emotions.

What this is: rules, not recordings. Mouths follow visemes in random order (manipulator/data/
speech.py), emotions are the prototypes of configs/emotions.yaml with personal variants, strength,
asymmetry and timing, and everything is then measured as the tracker would (measurement.py). It
knows nothing of what real people do beyond these rules: no meaning, no interplay of words and
feeling except for accents, no ageing of an expression. Its worth is in its labels, in pairs that
no recording offers (the same words in the same take with every emotion), and in being free of
licences. docs/lab/manipulator.md compares its statistics with tracked clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from manipulator import dynamics
from manipulator.data.measurement import Tracker, draw_errors, draw_visibility, measure
from manipulator.data.speech import Speech, Voice, speak
from manipulator.prototypes import Prototype, Prototypes, load_prototypes
from manipulator.speech_lock import SpeechLock
from ned.core.script.emotions import CONTEMPT, SYNTHETIC_LABELS

_LIDS = ("lid_close", "upper_lid_raise", "lid_tighten")
_BATCH = 128  # performances that are measured at once


@dataclass(frozen=True)
class SyntheticSettings:
    """What is made.

    Attributes:
        emotions: of configs/emotions.yaml; every take is played with each of them.
        frame_rate: frames per second. seconds: shortest and longest take.
        actors: how many different people. first_actor: number of the first of them; other
            numbers are other people, whatever the seed.
        intensity: weakest and strongest expression at its apex.
        silent: share of takes without a word. faint: share of clips on which very little of the
            emotion is found.
    """

    emotions: tuple[str, ...] = SYNTHETIC_LABELS
    frame_rate: float = 25.0
    seconds: tuple[float, float] = (3.0, 5.0)
    actors: int = 160
    first_actor: int = 0
    intensity: tuple[float, float] = (0.5, 1.25)
    silent: float = 0.08
    faint: float = 0.0


@dataclass(frozen=True)
class SyntheticPerformance:
    """One take with one emotion.

    Attributes:
        units: (T, U) float32 activations as a fit would find them, non-negative.
        emotion: the label. actor: who plays. take: which words; the same in all emotions.
        neutral: (T, U) float32 the same words without emotion, also as a fit would find them.
        change: (T, U) float32 what the emotion adds to the activations, of any sign, as far as it
            shows (measurement.py) but before it is mixed up with other units.
        intensity: (T,) float32 size of that change, 1 as the emotion's first variant.
    """

    units: NDArray[np.float32]
    emotion: str
    actor: int
    take: int
    neutral: NDArray[np.float32]
    change: NDArray[np.float32]
    intensity: NDArray[np.float32]


@dataclass(frozen=True)
class SyntheticActor:
    """Somebody.

    Attributes:
        voice: how the mouth moves. posture: (U,) how the face is held at rest. restless: movement
            of brows and lids without meaning. accents: brow raise on a stressed syllable, and how
            often. blinks: per second. variants: weights of each emotion's variants. habits: its
            usual strength. gains: (U,) personal strength of each unit's emotional use.
    """

    voice: Voice
    posture: NDArray[np.float32]
    restless: float
    accents: tuple[float, float]
    blinks: float
    variants: dict[str, NDArray[np.float32]]
    habits: dict[str, float]
    gains: NDArray[np.float32]

    @classmethod
    def numbered(
        cls, number: int, rig: Rig, prototypes: Prototypes | None = None
    ) -> SyntheticActor:
        """The actor of a number: always the same one, of the same prototypes."""
        generator = np.random.default_rng([7919, number])
        count = len(rig)
        held = generator.exponential(0.12, count) * (generator.random(count) < 0.5)
        brows = generator.exponential(0.2, count) * (generator.random(count) < 0.4)
        brows *= np.array(rig.regions) == "brows"  # seldom alike on both sides
        shared, own = generator.normal(0, 0.22, count), generator.normal(0, 0.12, count)
        variants, habits = {}, {}
        for name, prototype in (prototypes or load_prototypes()).items():
            weights = generator.dirichlet([0.7] * len(prototype.variants))
            variants[name] = weights.astype(np.float32)
            habits[name] = float(np.clip(generator.lognormal(0, 0.18), 0.65, 1.5))
        return cls(
            voice=Voice.of_somebody(rig, generator),
            posture=((held + held[rig.mirror]) / 2 + brows).astype(np.float32),
            restless=generator.uniform(0.04, 0.25),
            accents=(generator.uniform(0.05, 0.5), generator.uniform(0.1, 0.7)),
            blinks=generator.uniform(0.1, 0.5),
            variants=variants,
            habits=habits,
            gains=np.exp((shared + shared[rig.mirror]) / 2 * 1.4 + own).astype(np.float32),
        )


def make_performances(
    count: int, rig: Rig, seed: int = 0, settings: SyntheticSettings = SyntheticSettings()
) -> list[SyntheticPerformance]:
    """Play takes until there are `count` performances; the same seed plays the same ones."""
    performances: list[SyntheticPerformance] = []
    prototypes = load_prototypes()
    take = 0
    while len(performances) < count:
        waiting: list[_Take] = []
        while len(waiting) < _BATCH and len(performances) + len(waiting) < count:
            generator = np.random.default_rng([seed, take, settings.first_actor])
            actor = settings.first_actor + int(generator.integers(settings.actors))
            waiting += _play(take, actor, rig, prototypes, generator, settings)
            take += 1
        performances += _measured(waiting, rig, prototypes, settings.faint)
    return performances[:count]


@dataclass(frozen=True)
class _Take:
    """A performance before it is measured: `plain` (T, U) without, `change` with emotion."""

    take: int
    actor: int
    emotion: str
    plain: NDArray[np.float32]
    change: NDArray[np.float32]
    seed: list[int]


def _play(
    take: int,
    number: int,
    rig: Rig,
    prototypes: Prototypes,
    generator: np.random.Generator,
    settings: SyntheticSettings,
) -> list[_Take]:
    """The same words once with every emotion."""
    actor = SyntheticActor.numbered(number, rig, prototypes)
    rate = settings.frame_rate
    count = round(generator.uniform(*settings.seconds) * rate)
    speech = speak(count, actor.voice, rig, generator, rate)
    if generator.random() < settings.silent:
        still = np.zeros_like(speech.stress)
        speech = Speech(np.zeros_like(speech.units), still, still + 1)
    blinks = _blinks(count, actor, generator, rate)
    plain = _plain(speech, blinks, actor, rig, generator, rate)
    takes = []
    for emotion in settings.emotions:
        prototype = prototypes[emotion]
        intensity = _intensity(speech, actor, prototype, generator, settings)
        change = _emotional(prototype, intensity, speech, blinks, actor, rig, generator, rate)
        seed = [int(x) for x in generator.integers(0, 2**31, 2)]
        takes.append(_Take(take, number, emotion, plain, change, seed))
    return takes


def _measured(
    takes: list[_Take], rig: Rig, prototypes: Prototypes, faint: float
) -> list[SyntheticPerformance]:
    errors, expressions, changes = [], [], []
    for take in takes:
        generator = np.random.default_rng(take.seed)
        tracker = Tracker.of_a_clip(generator, faint)
        visibility = draw_visibility(tracker, rig, generator)
        changes.append(take.change * visibility.shares)
        expressions += [take.plain + visibility.shown(take.change), take.plain]
        errors += 2 * [draw_errors(len(take.plain), tracker, rig, generator)]
    found = measure(expressions, errors, rig)
    return [
        SyntheticPerformance(
            units=found[2 * k],
            emotion=take.emotion,
            actor=take.actor,
            take=take.take,
            neutral=found[2 * k + 1],
            change=change,
            intensity=_size(change, prototypes[take.emotion], rig),
        )
        for k, (take, change) in enumerate(zip(takes, changes, strict=True))
    ]


def _size(change: NDArray[np.float32], prototype: Prototype, rig: Rig) -> NDArray[np.float32]:
    """(T,) how far a change moves the skin, relative to the emotion's first variant."""
    flat = rig.basis.reshape(len(rig), -1)
    metric = flat @ flat.T
    whole = _lock(rig).apply(prototype.amounts(rig, 0)[None], 0.85)
    largest = np.sqrt(max(float(((whole @ metric) * whole).sum()), 1e-12))
    return np.sqrt(np.maximum(((change @ metric) * change).sum(1), 0)) / np.float32(largest)


def _plain(
    speech: Speech,
    blinks: NDArray[np.float32],
    actor: SyntheticActor,
    rig: Rig,
    generator: np.random.Generator,
    rate: float,
) -> NDArray[np.float32]:
    """(T, U) words, blinks, accents of the brows, posture and restlessness."""
    count = len(blinks)
    units = speech.units + actor.posture
    amount, often = actor.accents
    raised = (
        amount * speech.stress * (dynamics.drift(count, 1, 0.5 * rate, generator)[:, 0] < often)
    )
    raised = dynamics.smooth(raised.astype(np.float32), 0.08 * rate)
    for unit, share in (("inner_brow_raise", 1.0), ("outer_brow_raise", 0.8)):
        units[:, list(rig.columns(unit))] += share * raised[:, None]
    for unit in ("inner_brow_raise", "outer_brow_raise", "brow_lower", "lid_tighten", "lid_close"):
        columns = list(rig.columns(unit))
        together = dynamics.drift(count, 1, 0.4 * rate, generator)
        apart = dynamics.drift(count, len(columns), 0.4 * rate, generator)
        units[:, columns] += actor.restless * np.maximum(together + 0.4 * apart, 0)
    units[:, list(rig.columns("lid_close"))] += blinks[:, None]
    units[:, list(rig.columns("lid_tighten"))] += 0.2 * blinks[:, None]
    return units


def _blinks(
    count: int, actor: SyntheticActor, generator: np.random.Generator, rate: float
) -> NDArray[np.float32]:
    """(T,) closure of the lids: 80 ms down, 150 ms up, at random intervals."""
    times = np.arange(count) / rate
    closure = np.zeros(count)
    moment = float(generator.exponential(1 / actor.blinks))
    while moment < times[-1]:
        depth, slow = generator.uniform(0.7, 1.3), generator.uniform(0.8, 1.3)
        since = (times - moment) / slow
        shape = np.where(since < 0, np.exp(-((since / 0.05) ** 2)), np.exp(-((since / 0.1) ** 2)))
        closure = np.maximum(closure, depth * shape)
        moment += 0.4 + float(generator.exponential(1 / actor.blinks))
    return closure.astype(np.float32)


def _intensity(
    speech: Speech,
    actor: SyntheticActor,
    prototype: Prototype,
    generator: np.random.Generator,
    settings: SyntheticSettings,
) -> NDArray[np.float32]:
    """(T,) strength: habit, onset, apex and offset of waves, accents of the words."""
    if not any(units for _, units in prototype.variants):
        return np.zeros_like(speech.stress)
    times = np.arange(len(speech.stress)) / settings.frame_rate
    apex = generator.uniform(*settings.intensity) * actor.habits[prototype.name]
    wave = dynamics.wave(
        times + generator.uniform(0, 3), prototype.onset, prototype.offset, generator
    )
    ebbing = min(prototype.wave * generator.uniform(0, 3), 0.5)
    force = dynamics.smooth(speech.stress, 0.12 * settings.frame_rate)
    return (apex * (1 - ebbing * (1 - wave) + prototype.accent * (force - 0.3))).astype(np.float32)


def _emotional(
    prototype: Prototype,
    intensity: NDArray[np.float32],
    speech: Speech,
    blinks: NDArray[np.float32],
    actor: SyntheticActor,
    rig: Rig,
    generator: np.random.Generator,
    rate: float,
) -> NDArray[np.float32]:
    """(T, U) what the emotion adds, as an actor shows it who wants to be understood."""
    weights = actor.variants[prototype.name]
    taken = generator.dirichlet(4 * weights + 0.05)
    amounts = sum(share * prototype.amounts(rig, k) for k, share in enumerate(taken))
    amounts = amounts * actor.gains * np.exp(generator.normal(0, 0.1, len(rig)))
    if prototype.name == CONTEMPT and generator.random() < 0.5:  # one-sided, on either side
        amounts = amounts[rig.mirror]
    life = 1 + 0.08 * np.clip(
        dynamics.drift(len(intensity), len(rig), 0.8 * rate, generator), -2, 2
    )
    change = (intensity[:, None] * amounts * life).astype(np.float32)
    lock = _lock(rig)
    rounding = np.clip(speech.units[:, rig.index["pucker"]], 0, 1)
    change[:, lock.mouth] *= (1 - 0.4 * rounding - 0.25 * speech.shut)[:, None]
    lids = [
        c for unit in ("lid_close", "upper_lid_raise", "lid_tighten") for c in rig.columns(unit)
    ]
    change[:, lids] *= (1 - np.clip(blinks, 0, 1))[:, None]
    return lock.apply(change, generator.uniform(0.7, 1.0))


@lru_cache(maxsize=2)
def _lock(rig: Rig) -> SpeechLock:
    return SpeechLock(rig)
