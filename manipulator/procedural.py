"""Procedural director: emotions as prototypes, alive in time, instead of the source's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from manipulator import dynamics
from manipulator.activity import Activity, frame_rate
from manipulator.director import Direction
from manipulator.manipulator_settings import DEFAULTS, ManipulatorSettings
from manipulator.prototypes import Prototypes, find_prototype, load_prototypes
from ned.core.errors import InputError
from ned.core.face.performance import Performance

_LIP_UNITS = (
    *("pucker", "funnel_upper", "funnel_lower", "lower_lip_depress", "upper_lip_raise"),
    *("chin_raise", "nose_wrinkle"),
)


class ProceduralDirector:
    """Takes away the lasting part of the source's own emotional units and adds the target's.

    Accents, blinks and words stay. Everything is proportional to the direction's weights, so
    weight 0 changes nothing.
    """

    def __init__(
        self,
        rig: Rig,
        settings: ManipulatorSettings = DEFAULTS,
        prototypes: Prototypes | None = None,
    ) -> None:
        """Take the emotions that may be asked for; the built-in ones if None."""
        self.rig, self.settings = rig, settings
        self.prototypes = prototypes or load_prototypes(rig=rig)

    def change(
        self, performance: Performance, direction: Direction, activity: Activity
    ) -> NDArray[np.float32]:
        """(T, U) wanted change; raises InputError for an unknown emotion, or without a timeline."""
        if direction.timeline is None:
            raise InputError("emotions are needed; give --emotion or --timeline")
        units, times, rig = performance.units, performance.times, self.rig
        generator = np.random.default_rng(direction.seed)
        names, weights = direction.emotions, direction.weights(times)
        change = _targets(
            names,
            weights,
            times,
            rig,
            direction,
            self.prototypes,
            self.settings,
            activity,
            generator,
        )
        lasting = activity.lasting
        total = np.clip(weights.sum(1), 0, 1)[:, None]
        accents = (units - lasting) * (rig.emotional & ~activity.mouth)
        return change - total * (lasting + (1 - self.settings.accents_kept) * accents)


def _targets(
    names: tuple[str, ...],
    weights: NDArray[np.float32],
    times: NDArray[np.float64],
    rig: Rig,
    direction: Direction,
    prototypes: Prototypes,
    settings: ManipulatorSettings,
    activity: Activity,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """(T, U) activations that the weighted emotions ask for, alive in time."""
    target = np.zeros((len(times), len(rig)), np.float32)
    rate = frame_rate(times)
    lips = [column for unit in _LIP_UNITS for column in rig.columns(unit)]
    closed = settings.closed_share * (1 - activity.parted)
    open_share = activity.parted + closed
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
