"""Style: how strongly somebody uses the units that carry emotion rather than words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from manipulator import dynamics
from manipulator.activity import Activity
from manipulator.director import Direction
from ned.core.errors import NoFaceError
from ned.core.face.performance import Performance

_EXAGGERATION = 2.0


@dataclass(frozen=True)
class Style:
    """Statistics of a clip's emotional activations.

    Attributes:
        level: (U,) mean; spread: (U,) standard deviation of the lasting part; zero for speech.
        emotional: (U,) bool, units that carry emotion rather than speech.
    """

    level: NDArray[np.float32]
    spread: NDArray[np.float32]
    emotional: NDArray[np.bool_]

    def change(
        self, units: NDArray[np.float32], lasting: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(T, U) change that gives a performance this style's level and liveliness.

        The difference of levels is constant in time and the source's own ups and downs are kept,
        scaled to the reference's spread within a factor of two, so nothing of the reference's
        words comes along. Differences are exaggerated, because words and the fitted identity both
        swallow part of an expression that lasts through a clip.

        Args:
            units: (T, U) of the source's frames with a face. lasting: their lasting emotional part.
        """
        emotional = self.emotional.astype(np.float32)
        shift = _EXAGGERATION * (self.level - units.mean(0) * emotional)
        liveliness = np.clip((self.spread + 0.02) / (lasting.std(0) + 0.02), 0.5, 2.0)
        changed = shift + (lasting - lasting.mean(0)) * (liveliness - 1)
        # nothing can relax further than it is tense
        return (np.maximum(changed, -units) * emotional).astype(np.float32)


@dataclass(frozen=True)
class ReferenceDirector:
    """Gives a performance the style of a reference, whatever the emotions are called."""

    style: Style

    @classmethod
    def of(cls, reference: Performance, rig: Rig) -> ReferenceDirector:
        """Takes on a reference's style; raises NoFaceError if it never shows a face."""
        return cls(style_from(reference, rig))

    def change(
        self, performance: Performance, direction: Direction, activity: Activity
    ) -> NDArray[np.float32]:
        """(T, U) wanted change, as strong as the direction's intensity."""
        present = performance.present
        change = np.zeros_like(performance.units)
        own, lasting = performance.units[present], activity.lasting[present]
        change[present] = self.style.change(own, lasting)
        return change * np.float32(direction.intensity)


def style_from(performance: Performance, rig: Rig, sustain: float = 0.7) -> Style:
    """The style of a reference performance; raises NoFaceError if it never shows a face."""
    present = performance.track.present
    if not present.any():
        raise NoFaceError("the reference never shows a face")
    units, times = performance.units[present], performance.times
    rate = 1 / max(float(np.median(np.diff(times))), 1e-3) if len(times) > 1 else 25.0
    lasting = dynamics.sustained(units, sustain * rate) * rig.emotional
    level = units.mean(0) * rig.emotional
    return Style(
        level.astype(np.float32), lasting.std(0).astype(np.float32), np.asarray(rig.emotional)
    )
