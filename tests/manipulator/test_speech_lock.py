"""Speech lock: the words survive every change, exactly, on the linear face."""

from __future__ import annotations

import numpy as np
import pytest
from acted_faces import acted, bump, improvised, units_from
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from manipulator.directing import direct_performance
from manipulator.director import Direction
from manipulator.prototypes import load_prototypes
from manipulator.speech_lock import SpeechLock
from manipulator.styles import ReferenceDirector, style_from
from ned.core.face import mesh as face
from ned.core.script.timeline import Timeline

UPPER, LOWER = list(face.UPPER_INNER_LIP[1:-1]), list(face.LOWER_INNER_LIP[1:-1])
TAKES = [
    (name, variant)
    for name, prototype in load_prototypes().items()
    for variant in range(len(prototype.variants))
]


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def lock(rig: Rig) -> SpeechLock:
    return SpeechLock(rig)


def openings(rig: Rig, units: NDArray[np.floating]) -> NDArray[np.float32]:
    """(T, 9) inner-lip openings of the mean face, measured on the surface itself."""
    shape = rig.mesh.neutral + rig.displacement(units)
    return shape[:, UPPER, 1] - shape[:, LOWER, 1]


@pytest.fixture(scope="module")
def wishes(rig: Rig) -> NDArray[np.float32]:
    """(50, U) changes without any sense."""
    return np.random.default_rng(0).standard_normal((50, len(rig))).astype(np.float32)


def test_every_functional_is_zero(lock: SpeechLock, wishes: NDArray[np.float32], rig: Rig) -> None:
    kept = lock.apply(wishes)
    assert np.abs(wishes @ lock.functionals.T).max() > 0.1  # else there is nothing to keep
    assert np.abs(kept @ lock.functionals.T).max() < 1e-6
    still = openings(rig, np.zeros_like(wishes))
    np.testing.assert_allclose(openings(rig, kept), still, atol=1e-6)


def test_jaw_units_never_change(lock: SpeechLock, wishes: NDArray[np.float32], rig: Rig) -> None:
    named = [name for name, jaw in zip(rig.names, lock.jaw, strict=True) if jaw]
    assert {"jaw_open", "jaw_drop", "jaw_forward", "jaw_shift_right"} <= set(named)
    assert not lock.apply(wishes)[:, lock.jaw].any()
    chin = rig.displacement(lock.apply(wishes))[:, 152, :2]
    assert np.abs(chin).max() < 1e-6


def test_projector_is_idempotent_and_leaves_brows_and_eyes(
    lock: SpeechLock, wishes: NDArray[np.float32]
) -> None:
    projector = lock.projector
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-5)
    once = lock.apply(wishes)
    np.testing.assert_allclose(lock.apply(once), once, atol=1e-5)
    assert np.array_equal(once[:, ~lock.mouth], wishes[:, ~lock.mouth])


def test_a_change_that_harms_no_word_passes_whole(lock: SpeechLock, rig: Rig) -> None:
    """What lies in the null space of the functionals is not touched."""
    free = np.flatnonzero(lock.mouth & ~lock.jaw)
    _, sizes, rows = np.linalg.svd(lock.functionals[:, free])
    harmless = np.zeros((len(free) - len(sizes), len(rig)), np.float32)
    harmless[:, free] = rows[len(sizes) :]
    np.testing.assert_allclose(lock.apply(harmless), harmless, atol=1e-5)


def test_strength_fades_between_free_and_locked(
    lock: SpeechLock, wishes: NDArray[np.float32]
) -> None:
    assert np.array_equal(lock.apply(wishes, 0.0), wishes)
    half = lock.apply(wishes, 0.5)
    np.testing.assert_allclose(half, (wishes + lock.apply(wishes, 1.0)) / 2, atol=1e-5)
    assert not lock.apply(np.zeros_like(wishes)).any()


def test_a_smile_passes_though_words_are_locked(lock: SpeechLock, rig: Rig) -> None:
    smile = units_from(rig, 1, {"corner_pull": np.ones(1)})
    before, after = rig.displacement(smile)[0], rig.displacement(lock.apply(smile))[0]
    for corner in (61, 291):
        assert after[corner, 1] > 0.5 * before[corner, 1] > 0
        assert np.linalg.norm(after[corner]) > 0.5 * np.linalg.norm(before[corner])


def test_openings_are_measured_on_the_actors_own_face(lock: SpeechLock, rig: Rig) -> None:
    played = improvised(rig, 3)
    wide = played.identity * np.array([1, 1.1, 1], np.float32)
    shape = wide + rig.displacement(played.units)
    measured = (shape[:, UPPER, 1] - shape[:, LOWER, 1]).mean(1)
    np.testing.assert_allclose(lock.openings(played.units, wide), measured, atol=1e-5)


@pytest.mark.parametrize(("emotion", "variant"), TAKES, ids=[f"{n}-{v}" for n, v in TAKES])
def test_every_emotion_keeps_lips_and_jaw(emotion: str, variant: int, rig: Rig) -> None:
    for seed in range(3):
        played = improvised(rig, seed)
        direction = Direction(Timeline.constant({emotion: 1.5}), variant=variant, seed=seed)
        directed = played.units + direct_performance(played, direction, rig).change
        assert np.abs(directed - played.units).max() > 0.2
        np.testing.assert_allclose(openings(rig, directed), openings(rig, played.units), atol=1e-4)
        jaw = [name.startswith("jaw_") for name in rig.names]
        assert np.array_equal(directed[:, jaw], played.units[:, jaw])


def test_a_style_keeps_lips_and_jaw(rig: Rig) -> None:
    played = improvised(rig, 1)
    style = style_from(improvised(rig, 2), rig)
    change = direct_performance(
        played, Direction(intensity=1.5), rig, ReferenceDirector(style)
    ).change
    assert np.abs(change).max() > 0.5
    np.testing.assert_allclose(
        openings(rig, played.units + change), openings(rig, played.units), atol=1e-4
    )


def test_without_the_lock_lips_do_move(rig: Rig) -> None:
    """The counter-proof: what the tests above see as zero is not zero by chance."""
    played = improvised(rig, 1)
    timeline = Timeline.constant({"angry": 1.0})
    change = direct_performance(played, Direction(timeline, speech_lock=0), rig).change
    moved = openings(rig, played.units + change) - openings(rig, played.units)
    assert np.abs(moved).max() > 0.02


def test_a_closed_mouth_stays_closed(rig: Rig, lock: SpeechLock) -> None:
    """m, b and p: at the closure the directed lips are as close as the source's."""
    count = 50
    words = units_from(
        rig, count, {"jaw_open": 0.5 - bump(count, 25, 3, 0.5), "press": bump(count, 25, 3, 0.5)}
    )
    played = acted(words)
    source = lock.openings(played.units, played.identity)
    for emotion in ("happy", "sad", "angry", "surprised"):
        direction = Direction(Timeline.constant({emotion: 1.5}))
        units = played.units + direct_performance(played, direction, rig).change
        result = lock.openings(units, played.identity)
        assert result.argmin() == source.argmin()
        assert result.min() == pytest.approx(source.min(), abs=1e-4)
