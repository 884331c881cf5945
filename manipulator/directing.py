"""Directing: the procedural manipulator; a performance and a direction give changed activations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from manipulator import dynamics
from manipulator.prototypes import Prototypes, find_prototype, load_prototypes
from manipulator.speech_lock import SpeechLock
from manipulator.styles import Style
from ned.core.face import mesh as face
from ned.core.face.performance import Performance
from ned.core.script.timeline import Timeline

if TYPE_CHECKING:
    from manipulator.learned import LearnedDirector

REGIONS = ("brows", "eyes", "mouth")
_LIP_UNITS = (
    *("pucker", "funnel_upper", "funnel_lower", "lower_lip_depress", "upper_lip_raise"),
    *("chin_raise", "nose_wrinkle"),
)
_LID_UNITS = ("upper_lid_raise", "lid_close", "lid_tighten", "cheek_raise")
_LIDS = (
    (face.RIGHT_UPPER_LID, face.RIGHT_LOWER_LID),
    (face.LEFT_UPPER_LID, face.LEFT_LOWER_LID),
)


@dataclass(frozen=True)
class Direction:
    """What is asked for.

    Attributes:
        timeline: emotions and intensities over time (ignored where `style` is given).
        style: expressive style of a reference clip, or None. intensity: its strength, 0–1.5.
        regions: parts of the face that may change.
        speech_lock: 0–1. seed: of everything random. variant: of each emotion, None = first.
        director: trained networks that say what changes, with the style of a reference if there
            is one; None follows the prototypes.
        prototypes: the emotions that the timeline may ask for, None = the built-in ones.
    """

    timeline: Timeline | None = None
    style: Style | None = None
    intensity: float = 1.0
    regions: tuple[str, ...] = REGIONS
    speech_lock: float = 1.0
    seed: int = 0
    variant: int | None = None
    director: LearnedDirector | None = None
    prototypes: Prototypes | None = None


@dataclass(frozen=True)
class ManipulatorSettings:
    """How the procedural manipulator behaves; times in seconds.

    Attributes:
        sustain: an activation that lasts this long is expression rather than accent.
        accents_kept: share of the source's passing brow and lid movement that remains.
        busy_loss: share of the mouth's emotional change that fast speech takes away.
        rounding_loss: share of it that rounded lips (o, u, w) take away.
        closing_loss: share of it that lips take away that close briefly (m, b, p).
        life: amplitude of the slow drift of each unit, as a share of its target.
        closed_share: share of an emotion's lip shape that closed lips take on; corners take all.
        lid_bounds: most that an emotion may close and open an eye, as shares of its opening.
    """

    sustain: float = 0.7
    accents_kept: float = 0.7
    busy_loss: float = 0.25
    rounding_loss: float = 0.5
    closing_loss: float = 0.4
    life: float = 0.06
    closed_share: float = 0.3
    lid_bounds: tuple[float, float] = (0.4, 0.5)


@dataclass
class Directed:
    """The result of directing.

    Attributes:
        change: (T, U) float32 change of activations relative to the source.
        weights: (T, E) float32 of each emotion (empty for a reference). names: (E) emotions.
    """

    change: NDArray[np.float32]
    weights: NDArray[np.float32]
    names: tuple[str, ...] = field(default_factory=tuple)


def direct_performance(
    performance: Performance,
    direction: Direction,
    rig: Rig | None = None,
    settings: ManipulatorSettings | None = None,
) -> Directed:
    """Translate a performance to the emotions of a direction.

    The lasting part of the source's own emotional units is taken away, the target's added; accents,
    blinks and words stay. Everything is proportional to the direction's weights, so weight 0
    changes nothing.
    """
    rig = rig or load_rig()
    settings = settings or ManipulatorSettings()
    units, times = performance.units, performance.times
    rate = _frame_rate(times)
    lock = SpeechLock(rig)
    activity = Activity(performance, rig, lock)
    present = performance.track.present
    lasting = np.zeros_like(units)
    lasting[present] = dynamics.sustained(units[present], settings.sustain * rate) * rig.emotional
    generator = np.random.default_rng(direction.seed)

    if direction.director is not None:
        names, weights, change = _learned(performance, direction, direction.director)
    elif direction.style is not None:
        names: tuple[str, ...] = ()
        weights = np.zeros((len(units), 0), np.float32)
        change = np.zeros_like(units)
        change[present] = direction.style.change(units[present], lasting[present])
        change *= np.float32(direction.intensity)
    else:
        assert direction.timeline is not None
        names = tuple(sorted({e for key in direction.timeline.keys for e in key.mixture}))
        weights = direction.timeline.weights(times, names)
        change = _targets(names, weights, times, rig, direction, settings, activity, generator)
        total = np.clip(weights.sum(1), 0, 1)[:, None]
        accents = (units - lasting) * (rig.emotional & ~lock.mouth)
        change -= total * (lasting + (1 - settings.accents_kept) * accents)
    change *= np.isin(np.array(rig.regions), direction.regions)
    change = yield_to_speech(change, performance, lock, activity, settings, direction.speech_lock)
    change = yield_to_eyes(change, rig, activity, settings)
    change[~present] = 0
    return Directed(change.astype(np.float32), weights, names)


def _learned(
    performance: Performance, direction: Direction, director: LearnedDirector
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.float32]]:
    """Emotions, their (T, E) weights and the (T, U) change that trained networks ask for."""
    if director.reference is not None:
        strength = direction.intensity * director.exaggeration
        share = np.full((len(performance), 1), strength, np.float32)
        change = director.change(performance, director.reference[None], share)
        return (), share[:, :0], change
    assert direction.timeline is not None
    names = tuple(sorted({e for key in direction.timeline.keys for e in key.mixture}))
    weights = direction.timeline.weights(performance.times, names)
    styles = director.styles(names, direction.seed, direction.variant)
    return names, weights, director.change(performance, styles, weights)


class Activity:
    """What the source is doing: speaking with force, rounding its lips, closing its eyes."""

    def __init__(self, performance: Performance, rig: Rig, lock: SpeechLock) -> None:
        units, rate = performance.units, _frame_rate(performance.times)
        opening = lock.openings(units, performance.identity)
        speed = np.abs(np.gradient(opening)) * rate if len(opening) > 1 else np.zeros_like(opening)
        # 1 face unit per second is a fast syllable
        self.busy = np.clip(dynamics.smooth(speed.astype(np.float32), 0.16 * rate), 0, 1)
        force = dynamics.smooth(np.maximum(opening, 0), 0.3 * rate)
        peak = max(float(np.quantile(force, 0.95)), 0.05) if len(force) else 1.0
        self.force = np.clip(force / peak, 0, 1)
        shut = min(float(np.quantile(opening, 0.05)), 0.05) if len(opening) else 0.0
        parted = np.clip((dynamics.smooth(opening, 0.08 * rate) - shut) / 0.12, 0, 1)
        self.parted = parted * parted * (3 - 2 * parted)
        shut_lips = 1 - self.parted
        self.closing = shut_lips - dynamics.sustained(shut_lips, 0.8 * rate)
        self.rounding = np.clip(units[:, rig.index["pucker"]], 0, 1)
        self.lid_moves = _lid_moves(rig)
        openings = _eye_openings(performance, self.lid_moves)
        self.openings = dynamics.smooth(openings, 0.06 * rate)
        lowest = dynamics.lowest(_eye_openness(openings), 3)
        self.open_eyes = np.minimum(dynamics.smooth(lowest, 0.04 * rate), _eye_openness(openings))


def _targets(
    names: tuple[str, ...],
    weights: NDArray[np.float32],
    times: NDArray[np.float64],
    rig: Rig,
    direction: Direction,
    settings: ManipulatorSettings,
    activity: Activity,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """(T, U) activations that the weighted emotions ask for, alive in time."""
    target = np.zeros((len(times), len(rig)), np.float32)
    rate = _frame_rate(times)
    lips = [column for unit in _LIP_UNITS for column in rig.columns(unit)]
    closed = settings.closed_share * (1 - activity.parted)
    open_share = activity.parted + closed
    prototypes = direction.prototypes or load_prototypes(rig=rig)
    for column, name in enumerate(names):
        prototype = find_prototype(name, prototypes)
        amounts = prototype.amounts(rig, direction.variant or 0)
        if direction.variant is not None or direction.seed:
            amounts *= 1 + 0.08 * generator.standard_normal(len(rig)).astype(np.float32)
        ebb = 1 - dynamics.wave(times, prototype.onset, prototype.offset, generator)
        envelope = 1 - prototype.wave * ebb + prototype.accent * (activity.force - 0.5)
        asked = (weights[:, column] * envelope)[:, None] * amounts
        asked[:, lips] *= open_share[:, None]
        target += asked
    life = dynamics.drift(len(times), len(rig), 0.8 * rate, generator)
    return target * (1 + settings.life * np.clip(life, -2, 2))


def yield_to_speech(
    change: NDArray[np.float32],
    performance: Performance,
    lock: SpeechLock,
    activity: Activity,
    settings: ManipulatorSettings,
    strength: float = 1.0,
) -> NDArray[np.float32]:
    """The mouth's (T, U) change as far as the words allow it.

    It is scaled down, smoothly, where the mouth is busy, rounded or closing; then lips stay within
    their bounds of width, and the speech lock keeps jaw and openings.
    """
    loss = (
        settings.busy_loss * activity.busy
        + settings.rounding_loss * activity.rounding
        + settings.closing_loss * activity.closing
    )
    share = 1 - np.float32(strength) * np.clip(loss, 0, 0.8)
    scaled = change.copy()
    scaled[:, lock.mouth] *= share[:, None]
    scaled = lock.bound_width(scaled, performance.units, performance.identity, strength)
    return lock.apply(scaled, strength)


def yield_to_eyes(
    change: NDArray[np.float32], rig: Rig, activity: Activity, settings: ManipulatorSettings
) -> NDArray[np.float32]:
    """Lids follow the emotion as far as the source's eye is open: a blink stays a blink.

    What they may add to or take from an eye's opening is bounded, because a picture holds no
    more eyeball than the actor showed.
    """
    gated = change.copy()
    for side, name in enumerate(("right", "left")):
        lids = [rig.index[f"{unit}_{name}"] for unit in _LID_UNITS]
        moves = activity.lid_moves[lids, side]
        gated[:, lids] *= activity.open_eyes[:, side : side + 1]
        added = gated[:, lids] @ moves
        least, most = (share * activity.openings[:, side] for share in settings.lid_bounds)
        allowed = np.where(added > 0, most * np.tanh(added / most), least * np.tanh(added / least))
        share = allowed / np.where(np.abs(added) < 1e-6, 1, added)
        gated[:, lids] *= np.where(np.abs(added) < 1e-6, 1, share)[:, None]
    return gated


def _lid_moves(rig: Rig) -> NDArray[np.float32]:
    """(U, 2) change of the right and left eye's opening per unit, face units."""
    moves = [
        rig.basis[:, upper[3:6], 1].mean(1) - rig.basis[:, lower[3:6], 1].mean(1)
        for upper, lower in _LIDS
    ]
    return np.stack(moves, axis=1)


def _eye_openings(performance: Performance, lid_moves: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 2) opening of the right and left eye in face units."""
    rest = [
        performance.identity[list(upper[3:6]), 1].mean()
        - performance.identity[list(lower[3:6]), 1].mean()
        for upper, lower in _LIDS
    ]
    return np.maximum(performance.units @ lid_moves + np.array(rest, np.float32), 0.01)


def _eye_openness(openings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 2) 1 where an eye is about as open as usual in this clip, 0 where it is shut."""
    if not len(openings):
        return openings
    usual = np.maximum(np.quantile(openings, 0.8, axis=0), 0.02)
    share = np.clip((openings / usual - 0.3) / 0.45, 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _frame_rate(times: NDArray[np.float64]) -> float:
    """Median frames per second, 25 for a single frame."""
    if len(times) < 2:
        return 25.0
    return float(1 / max(np.median(np.diff(times)), 1e-3))
