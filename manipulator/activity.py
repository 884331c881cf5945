"""Activity: what a performance is doing at every moment, to which directing has to yield."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from manipulator import dynamics
from manipulator.speech_lock import SpeechLock
from ned.core.face import mesh as face
from ned.core.face.performance import Performance

_LIDS = (
    (face.RIGHT_UPPER_LID, face.RIGHT_LOWER_LID),
    (face.LEFT_UPPER_LID, face.LEFT_LOWER_LID),
)


class Activity:
    """What the source is doing: speaking with force, rounding its lips, closing its eyes.

    Attributes:
        lasting: (T, U) part of the emotional units that stays for `sustain` seconds.
        mouth: (U,) bool, units of the mouth.
        busy, force, parted, closing, rounding: (T,) in [0, 1], of the mouth: fast movement, accents
            of speech, open lips, lips that meet briefly (m, b, p), rounded lips.
        lid_moves: (U, 2) change of each eye's opening per unit, face units.
        openings, open_eyes: (T, 2) of each eye: face units, and share of its usual opening.
    """

    def __init__(
        self, performance: Performance, rig: Rig, lock: SpeechLock, sustain: float = 0.7
    ) -> None:
        units, rate, present = performance.units, frame_rate(performance.times), performance.present
        self.mouth = lock.mouth
        self.lasting = np.zeros_like(units)
        held = dynamics.sustained(units[present], sustain * rate)
        self.lasting[present] = held * rig.emotional
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


def frame_rate(times: NDArray[np.float64]) -> float:
    """Median frames per second, 25 for a single frame."""
    if len(times) < 2:
        return 25.0
    return float(1 / max(np.median(np.diff(times)), 1e-3))
