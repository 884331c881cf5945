"""Fitting FLAME to tracked faces: known takes come back, better than frame by frame."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flame_files import FlameFiles, write_flame_files

torch = pytest.importorskip("torch")

from benchmarks import flame_fit as benchmark  # noqa: E402
from deca.flame import Flame, load_flame  # noqa: E402
from deca.flame_codes import FlameCodes  # noqa: E402
from deca.flame_crops import in_crops, landmarks68  # noqa: E402
from deca.flame_file import read_flame  # noqa: E402
from deca.flame_fit import (  # noqa: E402
    FlameFit,
    FlameFitSettings,
    fit_flame,
    load_flame_points,
)
from deca.flame_points import FlamePoints, outline_rows, project, rotation_of  # noqa: E402
from ned.core.errors import InputError, NoFaceError  # noqa: E402
from ned.core.face.track import Track  # noqa: E402

FRAMES = 60
SETTINGS = FlameFitSettings(identity_frames=32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FlameFiles:
    return write_flame_files(tmp_path_factory.mktemp("flame"))


@pytest.fixture(scope="module")
def model(files: FlameFiles) -> FlamePoints:
    return load_flame_points(files.flame, files.landmarks, files.mediapipe)


@pytest.fixture(scope="module")
def flame(files: FlameFiles) -> Flame:
    return load_flame(files.flame, files.landmarks, files.mediapipe)


@pytest.fixture(scope="module")
def take(model: FlamePoints) -> benchmark.Take:
    return benchmark.made_up_take(model, FRAMES, seed=3)


@pytest.fixture(scope="module")
def found(model: FlamePoints, take: benchmark.Take) -> tuple[Any, FlameFit]:
    """What a fit finds: in the units of the take, and as codes."""
    return benchmark.found_by(take, model, SETTINGS)


def random_state(count: int = 4) -> tuple[Any, Any]:
    """(T, 150) codes and (T, 9) motion."""
    random = np.random.default_rng(5)
    motion = 0.2 * random.normal(size=(count, 9))
    motion[:, 6] += 6
    motion[:, 7:] *= 500
    return random.normal(size=(count, 150)), motion


def image(codes: FlameCodes, points: Any) -> Any:
    """Camera points (T, N, 3) in pixels of the track's image, by the definition of the codes."""
    scale, x, y = codes.camera.astype(float).T[..., None]
    crop = 112 + 112 * scale[..., None] * np.stack(
        [points[..., 0] + x, -(points[..., 1] + y)], axis=-1
    )
    back = np.linalg.inv(codes.transforms)
    return crop @ back[:, :2, :2].transpose(0, 2, 1) + back[:, None, :2, 2] + 0.5


def decode(flame: Flame, codes: FlameCodes) -> Any:
    with torch.no_grad():
        return flame(*(torch.tensor(a) for a in (codes.shape, codes.expression, codes.pose)))


def test_reduced_points_are_those_of_the_whole_model(model: FlamePoints, flame: Flame) -> None:
    codes, motion = random_state()
    pose = np.concatenate([motion[:, 3:6], motion[:, :3]], axis=1)
    double = copy.deepcopy(flame).double()
    mesh = double(*(torch.tensor(a) for a in (codes[:, :100], codes[:, 100:], pose)))
    scale = np.exp(motion[:, 6])[:, None, None] * (1, -1)

    def pixels(points: Any) -> Any:
        return points.numpy()[..., :2] * scale + motion[:, None, 7:]

    seen = project(model, model.seen, codes, motion).pixels.transpose(0, 2, 1)
    np.testing.assert_allclose(seen, pixels(double.mediapipe(mesh.vertices)), atol=1e-4)
    for row in range(len(codes)):
        person = model.fixed(codes[row, :100])
        marks = landmarks68(person, codes[row : row + 1, 100:], motion[row : row + 1])
        np.testing.assert_allclose(marks[0], pixels(mesh.landmarks2d)[row], atol=1e-4)


def test_derivatives_are_those_of_small_steps(model: FlamePoints) -> None:
    codes, motion = random_state(3)
    rows = outline_rows(motion[:, 3:6])
    for points in (model.seen, model.outline.row(rows)):
        derivatives = project(model, points, codes, motion).derivatives
        unknowns = np.concatenate([codes, motion], axis=1)
        for column in (0, 40, 99, 100, 149, *range(150, 159)):
            sides = []
            for step in (1e-6, -1e-6):
                moved = unknowns.copy()
                moved[:, column] += step
                sides.append(project(model, points, moved[:, :150], moved[:, 150:], False).pixels)
            small = (sides[0] - sides[1]) / 2e-6
            size = np.abs(small).max()
            np.testing.assert_allclose(derivatives[..., column], small, atol=1e-5 * size + 1e-6)


def test_rotations_are_smooth_at_zero() -> None:
    near = np.array([[0.0, 0, 0], [1e-9, 0, 0], [9e-5, 0, 0], [1.1e-4, 0, 0]])
    turned = rotation_of(near)
    np.testing.assert_allclose(turned[:, 2, 1], near[:, 0], atol=1e-12)


def test_whole_clip_beats_frame_by_frame(
    files: FlameFiles, model: FlamePoints, take: benchmark.Take, found: tuple[Any, FlameFit]
) -> None:
    faces = benchmark.Faces(read_flame(files.flame), model)
    state, fit = found
    whole = benchmark.score(faces, take, state)
    alone = benchmark.score(faces, take, benchmark.fit_frames(take, model, fit.noise))
    assert whole["error"] < 0.7 * alone["error"]
    assert whole["jitter"] < 0.3 * alone["jitter"]
    loose = benchmark.without_smoothness(SETTINGS)
    free = benchmark.score(faces, take, benchmark.found_by(take, model, loose)[0])
    assert whole["error"] < free["error"]
    assert whole["jitter"] < 0.6 * free["jitter"]
    assert whole["error"] < 2.0  # millimetres
    assert 0.001 < fit.noise < 0.004  # half a pixel of 250


def test_without_noise_the_take_comes_back(files: FlameFiles, model: FlamePoints) -> None:
    clean = benchmark.made_up_take(model, 40, seed=1, noise=0.0, outliers=0.0)
    fit = fit_flame(clean.track, model, FlameFitSettings(noise=0.001))
    assert np.nanmax(fit.residual) < 0.5  # pixels of 250
    head = fit.codes.pose[:, :3] - clean.motion[:, 3:6]
    assert np.degrees(np.abs(head)).mean() < 1.0


def test_codes_put_the_model_where_the_track_is(
    flame: Flame, model: FlamePoints, take: benchmark.Take, found: tuple[Any, FlameFit]
) -> None:
    fit = found[1]
    codes = fit.codes
    assert codes.source == "flame-fit" and len(codes) == FRAMES and codes.present.all()
    assert (codes.image_size == (720, 720)).all()
    assert np.ptp(codes.shape, axis=0).max() == 0  # one identity
    mesh = decode(flame, codes)
    fitted = image(codes, flame.mediapipe(mesh.vertices).numpy())
    apart = np.linalg.norm(fitted - take.track.landmarks()[:, model.points, :2], axis=2)
    assert np.median(apart) < 1.0  # half a pixel of noise on each axis
    np.testing.assert_allclose(np.sqrt((apart**2).mean(1)), fit.residual, atol=0.05)
    marks = image(codes, mesh.landmarks2d.numpy())
    crop = np.einsum("tij,tnj->tni", codes.transforms[:, :2, :2], marks - 0.5)
    crop += codes.transforms[:, None, :2, 2]
    middle = (crop.min(1) + crop.max(1)) / 2
    np.testing.assert_allclose(middle, 111.5, atol=0.2)  # the box rule of DECA's crop
    extent = (crop.max(1) - crop.min(1)).mean(1)
    np.testing.assert_allclose(extent, 223 / 1.375, rtol=0.01)


def test_codes_move_to_crops(flame: Flame, found: tuple[Any, FlameFit]) -> None:
    whole = found[1].codes[:3]
    image_from_crop = np.tile(np.array([[1.5, 0, 100], [0, 1.4, 80], [0, 0, 1]]), (3, 1, 1))
    cut = in_crops(whole, image_from_crop, (256, 256))
    assert (cut.image_size == 256).all()
    points = decode(flame, whole).landmarks2d.numpy()
    there = image(cut, points) - 0.5
    back = np.einsum("tij,tnj->tni", image_from_crop[:, :2, :2], there)
    back += image_from_crop[:, None, :2, 2] + 0.5
    np.testing.assert_allclose(back, image(whole, points), atol=1e-6)


def test_pieces_fit_together(
    model: FlamePoints, take: benchmark.Take, found: tuple[Any, FlameFit]
) -> None:
    whole = found[1].codes
    settings = dataclasses.replace(SETTINGS, chunk=30, context=14)
    pieces = fit_flame(take.track, model, settings).codes
    np.testing.assert_allclose(pieces.pose, whole.pose, atol=2e-4)
    np.testing.assert_allclose(pieces.expression, whole.expression, atol=0.02)


def broken_track(take: benchmark.Take) -> Track:
    """The take with a gap, a lone frame, a cut to a profile half as large, and one frame of it."""
    track = dataclasses.replace(
        take.track,
        boxes=take.track.boxes.copy(),
        confidence=take.track.confidence.copy(),
        shots=take.track.shots.copy(),
        codes=take.track.codes.copy(),
        interpolated=take.track.interpolated.copy(),
    )
    track.interpolated[5:7] = True
    missing = [0, *range(10, 14), *range(15, 18), 59]
    track.confidence[missing] = 0
    track.boxes[missing] = np.nan
    track.shots[40:] = 1
    turn = np.radians(75)
    to_profile = np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    )
    for frame in range(40, 59):
        points = take.track.landmarks(frame, frame + 1)[0]
        centre = points.mean(0)
        track.set_landmarks(frame, (0.5 * (points - centre) @ to_profile.T + centre).astype("f4"))
    return track


def test_gaps_cuts_and_profiles_break_nothing(
    flame: Flame, model: FlamePoints, take: benchmark.Take
) -> None:
    track = broken_track(take)
    fit = fit_flame(track, model, SETTINGS)
    codes = fit.codes
    for name in ("shape", "expression", "pose", "camera", "transforms"):
        assert np.isfinite(getattr(codes, name)).all()
    np.testing.assert_array_equal(codes.present, track.present)
    np.testing.assert_array_equal(np.isnan(fit.residual), ~track.present)
    assert (np.linalg.det(codes.transforms) > 0).all()
    assert not codes.expression[~track.present].any()
    mesh = decode(flame, codes)
    fitted = image(codes, flame.mediapipe(mesh.vertices).numpy())
    apart = np.linalg.norm(fitted - track.landmarks()[:, model.points, :2], axis=2)
    assert np.median(apart[:40][track.present[:40]]) < 1.2
    assert np.median(apart[40:59]) < 4  # a profile seen through a rough z


def test_one_frame_is_a_clip(model: FlamePoints, take: benchmark.Take) -> None:
    track = Track.empty(3, (720, 720))
    track.set_landmarks(1, take.track.landmarks(0, 1)[0])
    track.confidence[1] = 1
    fit = fit_flame(track, model)
    assert np.isfinite(fit.codes.expression).all() and fit.residual[1] < 6
    np.testing.assert_array_equal(fit.codes.transforms[0], fit.codes.transforms[1])


def test_bad_input_is_one_line(files: FlameFiles, model: FlamePoints, tmp_path: Path) -> None:
    with pytest.raises(NoFaceError, match="no frame with a face"):
        fit_flame(Track.empty(5, (64, 64)), model)
    with pytest.raises(InputError, match="no MediaPipe embedding") as caught:
        load_flame_points(files.flame, files.landmarks, files.flame)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        load_flame_points(files.flame, tmp_path / "nothing.npy", files.mediapipe)
