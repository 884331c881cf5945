"""Style: how strongly somebody uses the units that carry emotion rather than words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from manipulator import dynamics
from ned.core.errors import NoFaceError
from ned.core.performance import Performance


@dataclass(frozen=True)
class Style:
    """Statistics of the lasting emotional activations of a clip.

    Attributes:
        level: (U,) mean. spread: (U,) standard deviation; zero for units of speech.
    """

    level: NDArray[np.float32]
    spread: NDArray[np.float32]

    def change(self, lasting: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, U) change that gives the lasting activations this style's level and liveliness.

        Frames without a face must be left out. The source's own ups and downs are kept, scaled to
        the reference's spread within a factor of two, so nothing of its words comes along.
        """
        mean, spread = lasting.mean(0), lasting.std(0)
        liveliness = np.clip((self.spread + 0.02) / (spread + 0.02), 0.5, 2.0)
        wanted = self.level + (lasting - mean) * liveliness
        return np.where(self.level + self.spread + mean > 0, wanted - lasting, 0).astype(np.float32)


def style_from(performance: Performance, rig: Rig, sustain: float = 0.7) -> Style:
    """The style of a reference performance; raises NoFaceError if it never shows a face."""
    present = performance.track.present
    if not present.any():
        raise NoFaceError("the reference never shows a face")
    units, times = performance.units[present], performance.times
    rate = 1 / max(float(np.median(np.diff(times))), 1e-3) if len(times) > 1 else 25.0
    lasting = dynamics.sustained(units, sustain * rate) * rig.emotional
    return Style(lasting.mean(0).astype(np.float32), lasting.std(0).astype(np.float32))
