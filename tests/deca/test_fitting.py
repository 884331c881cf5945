"""Fitting: a performance that was acted by the rig itself is found again in its landmarks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from acted_faces import FLIP, RATE, SIZE, acted, bump, turned, units_from
from numpy.typing import NDArray

from deca import fitting
from deca.fitting import FittingSettings, fit, residual
from deca.rig import Rig, load_rig
from ned.core.errors import NoFaceError
from ned.core.face import mesh as face
from ned.core.face.performance import Performance
from ned.core.face.track import Track


def somebody(rig: Rig) -> NDArray[np.float32]:
    """(468, 3) a neutral face that is not the mean one: broader, shorter, with another nose."""
    x, y, z = rig.mesh.neutral.T
    nose = 0.03 * np.exp(-(x**2 + (y + 0.2) ** 2) / 0.05)
    return np.stack([1.04 * x, 0.97 * y, 1.05 * z + nose], axis=1).astype(np.float32)


def angle_between(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """(T,) degrees between two sequences of rotations."""
    cosine = (np.einsum("tij,tij->t", a, b) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


def scene(rig: Rig, bent: bool = True, noise: float = 0.2, turn: float = 1.0) -> Performance:
    """60 frames: a smile, raised brows, a blink and two syllables on a head that moves."""
    count = 60
    units = units_from(
        rig,
        count,
        {
            "corner_pull": bump(count, 12, 4, 0.8),
            "inner_brow_raise": bump(count, 45, 4, 0.7),
            "lid_close": bump(count, 28, 1.5, 0.6),
            "jaw_open": bump(count, 22, 2.5, 0.9) + bump(count, 36, 2.5, 0.9),
        },
    )
    moment = np.arange(count) / RATE
    rotation = turned(
        *(25 * turn * np.sin(2.6 * moment), 12 * turn * np.sin(3.3 * moment)),
        15 * np.sin(3 * moment),
        count,
    )
    place = np.stack([300 + 20 * np.sin(3 * moment), 200 + 10 * moment], axis=1)
    return acted(
        units,
        rotation,
        identity=somebody(rig),
        scale=120 + 15 * np.sin(moment),
        place=place,
        noise=noise,
        bent=bent,
    )


@pytest.fixture(scope="module", params=[True, False], ids=["turning", "nearly frontal"])
def pair(request: pytest.FixtureRequest, rig: Rig) -> tuple[Performance, Performance]:
    """What was acted, and what was fitted to its track; trackers bend only faces that turn."""
    played = scene(rig, bent=request.param, turn=1.0 if request.param else 0.2)
    return played, fit(played.track, rig)


def test_pose_is_found(pair: tuple[Performance, Performance]) -> None:
    played, fitted = pair
    assert angle_between(played.rotation, fitted.rotation).max() < 1.0
    assert np.abs(fitted.yaw - played.yaw).max() < 1.0
    assert np.abs(fitted.pitch - played.pitch).max() < 1.0
    # identity may take over a little size, the same in all frames
    ratio = fitted.scale / played.scale
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.02
    assert np.abs(np.median(ratio) - 1) < 0.02


def test_face_is_found(pair: tuple[Performance, Performance], rig: Rig) -> None:
    played, fitted = pair
    before = played.image_from_head(played.identity + rig.displacement(played.units))
    after = fitted.image_from_head(fitted.identity + rig.displacement(fitted.units))
    distance = np.linalg.norm((after - before)[..., :2], axis=-1) / played.scale[:, None]
    assert distance.mean() < 0.01
    assert distance.max() < 0.05


def movement(rig: Rig, performance: Performance) -> NDArray[np.float32]:
    """(T, 468, 2) how the expression moves the face, without what is the same in most frames."""
    moved = rig.displacement(performance.units)[..., :2]
    return moved - np.median(moved, axis=0)


def test_expression_is_found(pair: tuple[Performance, Performance], rig: Rig) -> None:
    played, fitted = pair
    wanted, found = movement(rig, played), movement(rig, fitted)
    assert np.linalg.norm(found - wanted, axis=-1).mean() < 0.006
    assert np.linalg.norm(found - wanted) < 0.45 * np.linalg.norm(wanted)
    for unit in ("corner_pull_right", "inner_brow_raise_left", "lid_close_left", "jaw_open"):
        column = rig.index[unit]
        assert np.corrcoef(played.units[:, column], fitted.units[:, column])[0, 1] > 0.95, unit
        assert fitted.units[:, column].max() > 0.7 * played.units[:, column].max(), unit


def test_units_are_not_negative_and_nobody_invents_any(
    pair: tuple[Performance, Performance], rig: Rig
) -> None:
    played, fitted = pair
    assert fitted.units.min() >= 0
    assert fitted.units.dtype == np.float32
    swings = np.ptp(fitted.units, axis=0)
    idle = np.ptp(played.units, axis=0) == 0
    assert np.median(swings[idle]) < 0.08
    # what stays of the actor's own looks in the activations, because the identity is pulled
    # to the mean face, is small and always the same
    standing = np.median(rig.displacement(fitted.units), axis=0)
    assert np.linalg.norm(standing, axis=-1).mean() < 0.015


def test_fit_and_residual_are_the_track(pair: tuple[Performance, Performance], rig: Rig) -> None:
    _, fitted = pair
    shape = fitted.identity + rig.displacement(fitted.units)
    whole = fitted.image_from_head(shape) + residual(fitted, rig)
    np.testing.assert_allclose(whole, fitted.track.landmarks()[:, :468], atol=1e-3)
    part = residual(fitted, rig, 10, 20)
    np.testing.assert_allclose(part, residual(fitted, rig)[10:20], atol=1e-4)
    assert np.linalg.norm(part, axis=-1).mean() < 4  # pixels, of 120 per face unit


def test_known_pose_bias_is_no_expression(rig: Rig) -> None:
    """A still face on a turning head shows no expression, though the tracker bends it."""
    yaw = np.linspace(-35, 35, 41)
    played = acted(np.zeros((41, len(rig)), np.float32), turned(yaw, count=41), bent=True)
    bias = fitting._pose_bias(played.rotation, rig)
    assert np.linalg.norm(bias, axis=-1).max() > 0.03  # else this test would say nothing
    fitted = fit(played.track, rig)
    assert np.linalg.norm(rig.displacement(fitted.units), axis=-1).mean() < 0.003


def test_rest_between_expressions_is_neutral(rig: Rig) -> None:
    """The neutral face is the actor's own, not the mean one."""
    played = acted(np.zeros((30, len(rig)), np.float32), identity=somebody(rig))
    fitted = fit(played.track, rig)
    assert np.linalg.norm(rig.displacement(fitted.units), axis=-1).mean() < 0.012
    aligned = fitted.image_from_head(fitted.identity)[0]
    truth = played.image_from_head(played.identity)[0]
    assert np.linalg.norm((aligned - truth)[:, :2], axis=1).mean() / 120 < 0.012


@pytest.mark.parametrize("angle", [-30.0, 30.0])
def test_signs_of_the_angles(angle: float, rig: Rig) -> None:
    """Yaw is positive toward the image's right, pitch is positive upward, in image terms."""
    still = np.zeros((3, len(rig)), np.float32)
    tip, outline = 4, list(face.FACE_OVAL)
    for name in ("yaw", "pitch"):
        played = acted(still, turned(**{name: angle}, count=3))
        fitted = fit(played.track, rig)
        np.testing.assert_allclose(getattr(played, name), angle, atol=1e-3)
        np.testing.assert_allclose(getattr(fitted, name), angle, atol=3)
        landmarks = fitted.track.landmarks()[0]
        nose = landmarks[tip, :2] - landmarks[outline, :2].mean(0)
        level = acted(still).track.landmarks()[0]
        moved = nose - (level[tip, :2] - level[outline, :2].mean(0))
        toward = moved[0] if name == "yaw" else -moved[1]  # y grows downward
        assert np.sign(toward) == np.sign(angle)


def test_image_from_head_and_back(rig: Rig) -> None:
    played = scene(rig, bent=False, noise=0)
    shape = played.identity + rig.displacement(played.units)
    image = played.image_from_head(shape)
    np.testing.assert_allclose(image, played.track.landmarks()[:, :468], atol=0.02)
    offset = np.concatenate([played.translation, np.zeros((60, 1), np.float32)], axis=1)
    pose = (played.rotation, played.scale, offset * FLIP)
    np.testing.assert_allclose(fitting._to_head(image * FLIP, pose), shape, atol=1e-5)
    np.testing.assert_allclose(played.image_from_head(shape[5:9], 5, 9), image[5:9], atol=1e-4)
    # one shape for all frames broadcasts
    same = played.image_from_head(played.identity)
    assert same.shape == (60, 468, 3)


def test_gaze_is_zero_in_the_middle_and_follows_the_iris(rig: Rig) -> None:
    played = acted(np.zeros((4, len(rig)), np.float32), turned(roll=20, count=4))
    landmarks = played.track.landmarks()
    width = np.linalg.norm(landmarks[0, 33] - landmarks[0, 133])
    toward = (landmarks[0, 133] - landmarks[0, 33]) / width
    for frame in (2, 3):
        moved = landmarks[frame].copy()
        moved[468:] += 0.25 * width * toward  # along the eye, to the image's right
        played.track.set_landmarks(frame, moved)
    gaze = fit(played.track, rig).gaze
    assert gaze.shape == (4, 2, 2)
    np.testing.assert_allclose(gaze[:2], 0, atol=0.02)
    np.testing.assert_allclose(gaze[2:, :, 0], 0.25, atol=0.05)


def test_frames_without_a_face_are_zeros(rig: Rig) -> None:
    smile = units_from(rig, 20, {"corner_pull": np.full(20, 0.7)})
    smile[:8] = 0
    played = acted(smile, absent=(0, 10, 11, 19))
    fitted = fit(played.track, rig)
    gone = [0, 10, 11, 19]
    assert not fitted.units[gone].any()
    assert np.array_equal(fitted.rotation[gone], np.tile(np.eye(3), (4, 1, 1)))
    assert (fitted.scale[gone] == 1).all()
    assert not fitted.translation[gone].any()
    assert not fitted.gaze[gone].any()
    assert np.isfinite(fitted.units).all()
    here = [k for k in range(8, 20) if k not in gone]
    assert fitted.units[here][:, rig.index["corner_pull_left"]].min() > 0.3


def test_a_cut_breaks_the_smoothing(rig: Rig) -> None:
    """A step is smoothed within a shot and stays a step across a cut."""
    smile = units_from(rig, 40, {"corner_pull": np.where(np.arange(40) < 20, 0, 0.8)})
    settings = FittingSettings(smoothness=2.0)
    column = rig.index["corner_pull_left"]
    steps = {}
    for name, cut in (("joined", 40), ("cut", 20)):
        shots = (np.arange(40) >= cut).astype(np.int32)
        fitted = fit(acted(smile.copy(), shots=shots).track, rig, settings)
        curve = fitted.units[:, column]
        steps[name] = (curve[20] - curve[19]) / curve.max()
    assert steps["cut"] > 0.95
    assert steps["joined"] < 0.8


def test_a_gap_breaks_the_smoothing(rig: Rig) -> None:
    smile = units_from(rig, 40, {"corner_pull": np.where(np.arange(40) < 20, 0, 0.8)})
    fitted = fit(acted(smile, absent=(20,)).track, rig, FittingSettings(smoothness=2.0))
    curve = fitted.units[:, rig.index["corner_pull_left"]]
    assert curve[19] < 0.05 * curve.max()
    assert curve[21] > 0.95 * curve.max()


def test_smoothing_means_the_same_at_any_frame_rate(rig: Rig) -> None:
    """Twice the frames per second, twice the weight between neighbours."""
    still = np.zeros((10, len(rig)), np.float32)
    settings = FittingSettings()
    slow, _ = fitting._links(acted(still, rate=25).track, settings)
    fast, _ = fitting._links(acted(still, rate=50).track, settings)
    np.testing.assert_allclose(slow, settings.smoothness, rtol=1e-5)
    np.testing.assert_allclose(fast, 2 * settings.smoothness, rtol=1e-5)


def test_unsure_frames_weigh_less(rig: Rig) -> None:
    smile = units_from(rig, 21, {"corner_pull": np.zeros(21)})
    smile[10, list(rig.columns("corner_pull"))] = 0.8  # one frame jumps
    peaks = []
    for confidence in (1.0, 0.1):
        track = acted(smile.copy()).track
        track.confidence[10] = confidence
        fitted = fit(track, rig, FittingSettings(smoothness=0.5))
        peaks.append(fitted.units[10, rig.index["corner_pull_left"]])
    assert peaks[1] < 0.7 * peaks[0]


def test_one_frame(rig: Rig) -> None:
    smile = units_from(rig, 1, {"corner_pull": np.array([0.8])})
    fitted = fit(acted(smile, turned(10, 5, -20)).track, rig)
    assert len(fitted) == 1
    assert fitted.units.shape == (1, len(rig))
    assert np.isfinite(fitted.units).all()
    assert fitted.yaw[0] == pytest.approx(10, abs=3)
    whole = fitted.image_from_head(fitted.identity + rig.displacement(fitted.units))
    distance = np.linalg.norm((whole - fitted.track.landmarks()[:, :468])[..., :2], axis=-1)
    assert distance.mean() < 1.5


def test_no_face_is_an_error(rig: Rig) -> None:
    with pytest.raises(NoFaceError, match="no frame with a face"):
        fit(Track.empty(5, SIZE), rig)
    with pytest.raises(NoFaceError):
        fit(Track.empty(0, SIZE), rig)


def test_chunks_do_not_matter(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    played = scene(rig)
    track = dataclasses.replace(played.track)
    track.confidence[[7, 8, 30]] = 0
    whole = fit(track, rig)
    for size in (7, 1):
        monkeypatch.setattr(fitting, "_CHUNK", size)
        parts = fit(track, rig)
        for name in ("identity", "units", "rotation", "scale", "translation", "gaze"):
            np.testing.assert_allclose(
                getattr(parts, name), getattr(whole, name), atol=1e-3, err_msg=name
            )


def test_place_and_size_do_not_matter(rig: Rig) -> None:
    """The same face twice as large and elsewhere has the same activations."""
    units = units_from(rig, 12, {"corner_pull": np.full(12, 0.6), "jaw_open": bump(12, 6, 2)})
    units[:3] = 0
    near = fit(acted(units.copy(), scale=200).track, rig)
    far = fit(acted(units.copy(), scale=100, place=(120.0, 90.0)).track, rig)
    np.testing.assert_allclose(near.units, far.units, atol=0.03)
    np.testing.assert_allclose(near.scale / far.scale, 2, rtol=0.01)
