"""Directing: what a director wants of a performance, as far as words and eyes allow it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from manipulator.activity import Activity
from manipulator.director import Directed, Direction, Director
from manipulator.manipulator_settings import DEFAULTS, ManipulatorSettings
from manipulator.procedural import ProceduralDirector
from manipulator.speech_lock import SpeechLock
from ned.core.face.performance import Performance

_LID_UNITS = ("upper_lid_raise", "lid_close", "lid_tighten", "cheek_raise")


def direct_performance(
    performance: Performance,
    direction: Direction,
    rig: Rig | None = None,
    director: Director | None = None,
    settings: ManipulatorSettings = DEFAULTS,
) -> Directed:
    """Translate a performance of the rig as a director asks, as far as words and eyes allow it.

    Args:
        director: the procedural one if None.

    Raises:
        InputError: The director does not know what is asked for.
    """
    rig = rig or load_rig()
    director = director or ProceduralDirector(rig, settings)
    lock = SpeechLock(rig)
    activity = Activity(performance, rig, lock, settings.sustain)
    change = director.change(performance, direction, activity)
    change = change * np.isin(np.array(rig.regions), direction.regions)
    change = yield_to_speech(change, performance, lock, activity, settings, direction.speech_lock)
    change = yield_to_eyes(change, rig, activity, settings)
    change[~performance.present] = 0
    weights = direction.weights(performance.times)
    return Directed(change.astype(np.float32), weights, direction.emotions)


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
