"""Settings: every one of them does what it says, in the direction that it says."""

from __future__ import annotations

import dataclasses
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from acted_faces import acted, improvised, units_from
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from manipulator.activity import Activity
from manipulator.directing import direct_performance, yield_to_eyes
from manipulator.director import Direction
from manipulator.manipulator_settings import DEFAULTS, ManipulatorSettings
from manipulator.procedural import ProceduralDirector
from manipulator.speech_lock import SpeechLock
from ned.core.face.performance import Performance
from ned.core.script.timeline import Timeline


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


def change(
    played: Performance, rig: Rig, emotion: str = "happy", free: float = 1.0, **settings: Any
) -> NDArray[np.float32]:
    """(T, U) what directing adds with these settings."""
    wanted = dataclasses.replace(DEFAULTS, **settings)
    direction = Direction(Timeline.constant({emotion: 1.0}), speech_lock=free)
    director = ProceduralDirector(rig, wanted)
    return direct_performance(played, direction, rig, director, wanted).change


@pytest.mark.parametrize("name", [field.name for field in fields(ManipulatorSettings)])
def test_every_setting_changes_something(name: str, rig: Rig) -> None:
    value = getattr(DEFAULTS, name)
    other = tuple(v / 2 for v in value) if isinstance(value, tuple) else value / 2
    played = improvised(rig, 3)
    before = [change(played, rig, emotion) for emotion in ("happy", "surprised", "angry")]
    after = [
        change(played, rig, emotion, **{name: other}) for emotion in ("happy", "surprised", "angry")
    ]
    moved = [np.abs(a - b).max() for a, b in zip(before, after, strict=True)]
    assert max(moved) > 0.01, moved


def nodding(rig: Rig) -> Performance:
    """Brows that are held at 0.3 and pass to 0.9 for a fifth of a second."""
    brows = np.full(75, 0.3)
    brows[35:40] = 0.9
    return acted(units_from(rig, 75, {"outer_brow_raise": brows}))


def test_accents_are_kept_as_far_as_asked(rig: Rig) -> None:
    column = rig.columns("outer_brow_raise")[0]
    left = {}
    for kept in (0.0, 0.5, 1.0):
        played = nodding(rig)
        brow = played.units[:, column] + change(played, rig, "sad", accents_kept=kept)[:, column]
        left[kept] = brow[35:40].mean() - brow[15:30].mean()
    assert left[1.0] == pytest.approx(0.6, abs=0.12)
    assert left[0.5] == pytest.approx(0.3, abs=0.12)
    assert left[0.0] == pytest.approx(0.0, abs=0.12)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("closing_loss", "closing"), ("rounding_loss", "rounding"), ("busy_loss", "busy")],
)
def test_a_busy_mouth_takes_on_less(name: str, kind: str, rig: Rig) -> None:
    opening = np.clip(np.sin(np.arange(75) / 2.5), 0.0, 1)
    opening[30:34] = 0
    units = {"jaw_open": 0.6 * opening, "pucker": 0.6 * (np.arange(75) > 50)}
    played = acted(units_from(rig, 75, units))
    activity = getattr(Activity(played, rig, SpeechLock(rig)), kind)
    frame = int(activity.argmax())
    assert activity[frame] > 0.3
    none = dict.fromkeys(("closing_loss", "rounding_loss", "busy_loss"), 0.0)
    column = rig.columns("corner_pull")[0]
    whole = change(played, rig, **none)[:, column]
    some = change(played, rig, **{**none, name: 0.6})[:, column]
    # the lock mixes the mouth's units, so that the share is only about that of one unit
    assert some[frame] < (1 - 0.3 * activity[frame]) * whole[frame]
    calm = activity < 0.02
    np.testing.assert_allclose(some[calm], whole[calm], atol=0.05)


def test_lids_stay_within_their_bounds(rig: Rig) -> None:
    played = acted(np.zeros((20, len(rig)), np.float32))
    activity = Activity(played, rig, SpeechLock(rig))
    for unit, side in (("lid_close", 0), ("upper_lid_raise", 1)):
        wanted = units_from(rig, 20, {unit: np.full(20, 50.0)})
        for bounds in ((0.1, 0.3), (0.4, 0.2)):
            settings = dataclasses.replace(DEFAULTS, lid_bounds=bounds)
            moved = yield_to_eyes(wanted, rig, activity, settings) @ activity.lid_moves
            share = moved / activity.openings
            np.testing.assert_allclose(np.abs(share), bounds[side], rtol=0.02)
            assert (share < 0).all() if unit == "lid_close" else (share > 0).all()


def test_variants_and_seeds_act(rig: Rig) -> None:
    played = improvised(rig, 3)
    timeline = Timeline.constant({"happy": 1.0})

    def directed(**more: Any) -> NDArray[np.float32]:
        return direct_performance(played, Direction(timeline, **more), rig).change

    takes = [directed(), directed(seed=1), directed(seed=2)]
    takes += [directed(variant=0), directed(variant=1)]
    for index, take in enumerate(takes):
        assert all(np.abs(take - other).max() > 0.01 for other in takes[:index])
    np.testing.assert_array_equal(takes[1], directed(seed=1))
    without = directed(regions=("brows", "eyes"))
    mouth = np.array([region == "mouth" for region in rig.regions])
    assert np.abs(without[:, mouth]).max() < 1e-4 < np.abs(without[:, ~mouth]).max()
