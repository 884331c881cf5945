"""Director: whoever says what changes in a performance; rules, a reference's style, or networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from deca.rig import REGIONS
from ned.core.face.performance import Performance
from ned.core.script.timeline import Timeline

if TYPE_CHECKING:
    from manipulator.activity import Activity


@dataclass(frozen=True)
class Direction:
    """What is asked for.

    Attributes:
        timeline: emotions and intensities over time; None where a reference's style is taken on.
        intensity: strength of a reference's style, 0 to 1.5.
        regions: parts of the face that may change.
        speech_lock: 0 to 1. seed: of everything random. variant: of each emotion, None = first.
    """

    timeline: Timeline | None = None
    intensity: float = 1.0
    regions: tuple[str, ...] = REGIONS
    speech_lock: float = 1.0
    seed: int = 0
    variant: int | None = None

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions of the timeline, sorted; none without one."""
        keys = self.timeline.keys if self.timeline is not None else ()
        return tuple(sorted({emotion for key in keys for emotion in key.mixture}))

    def weights(self, times: NDArray[np.float64]) -> NDArray[np.float32]:
        """(T, E) of each emotion at (T,) seconds; (T, 0) without a timeline."""
        if self.timeline is None:
            return np.zeros((len(times), 0), np.float32)
        return self.timeline.weights(times, self.emotions)


@dataclass
class Directed:
    """The result of directing.

    Attributes:
        change: (T, U) float32 change of units relative to the source.
        weights: (T, E) float32 of each emotion (empty for a reference). names: (E) emotions.
    """

    change: NDArray[np.float32]
    weights: NDArray[np.float32]
    names: tuple[str, ...] = field(default_factory=tuple)


class Director(Protocol):
    """Says what changes, before words, blinks and the wanted regions have their say.

    A new one is a module with such a class and a line in `manipulator.directors`.
    """

    def change(
        self, performance: Performance, direction: Direction, activity: Activity
    ) -> NDArray[np.float32]:
        """(T, U) wanted change of units relative to the source; 0 where nothing is asked for.

        Args:
            activity: what the source is doing: speaking, closing its lips, blinking.

        Raises:
            InputError: An emotion is asked for that this director does not know.
        """
        ...
