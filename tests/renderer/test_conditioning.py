"""Conditioning: eye sketches of golden vectors, and the pictures of the default face."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from acted_faces import acted, turned, units_from
from golden import Golden
from numpy.typing import NDArray

from deca.fitting import fit
from deca.rig import Rig, load_rig
from deca.rig_pictures import RigConditioner
from ned.commands.direct import track_actor
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.face.similarity import compose
from ned.core.film.clip import Clip
from preprocessing.eye_sketch import aligned_eye_landmarks, disturbed_eyes, draw_eye_sketch

DATA = "renderer_data.npz"
CROP: NDArray[np.float64] = np.array(
    [[0.8, 0, -128.0], [0, 0.8, -48.0]]
)  # of the acted face, in 640 x 480


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


def test_golden_eye_sketches(golden: Golden) -> None:
    landmarks = golden[DATA]["sketch_landmarks"]
    golden.check(DATA, "sketch_256", np.stack([draw_eye_sketch(eyes) for eyes in landmarks]))


def test_golden_eye_sketches_with_the_noise_of_training(golden: Golden) -> None:
    seed = int(golden[DATA]["sketch_noise_seed"][0])
    noisy = []
    for eyes in golden[DATA]["sketch_landmarks"][:3]:
        random = np.random.RandomState(seed)
        noise = np.concatenate([random.randn(1), random.randn(2)])
        noisy.append(draw_eye_sketch(disturbed_eyes(eyes, noise)))
    golden.check(DATA, "sketch_256_noisy", np.stack(noisy))


def _eye_file(pupil: tuple[float, float] = (80, 60), opening: float = 8) -> NDArray[np.float64]:
    """Eye points with lids around a pupil, and the other eye 60 pixels beside it."""
    x, y, half = *pupil, opening / 2
    lids = [(-12, 0), (-4, -half), (4, -half), (12, 0), (4, half), (-4, half)]
    left = np.array([(x + dx, y + dy) for dx, dy in lids])
    return np.concatenate([left, left + np.array([60, 0]), [[x, y]], [[x + 60, y]]])


def test_discs_lie_at_the_pupils_and_grow_with_the_lids() -> None:
    sketch = draw_eye_sketch(_eye_file(), 200)
    assert sketch.shape == (200, 200, 3) and not sketch[..., 1:].any()
    row, column = np.nonzero(sketch[..., 0])
    left = column < 110
    np.testing.assert_allclose([column[left].mean(), row[left].mean()], [80, 60], atol=0.6)
    np.testing.assert_allclose([column[~left].mean(), row[~left].mean()], [140, 60], atol=0.6)
    wide = draw_eye_sketch(_eye_file(opening=20), 200)
    assert np.count_nonzero(wide) > 1.5 * np.count_nonzero(sketch)
    at_edge = draw_eye_sketch(_eye_file((-30, 300)), 200)
    assert set(np.argwhere(at_edge[..., 0])[:, 0]) == {199}


def test_noise_of_zero_changes_nothing_and_shifts_move_eyes_apart() -> None:
    eyes = _eye_file()
    np.testing.assert_array_equal(disturbed_eyes(eyes, np.zeros(3)), eyes)
    moved = disturbed_eyes(eyes, np.array([0, 1.0, 1.0]))
    np.testing.assert_allclose((moved - eyes)[12:], [[2, 0], [-2, 0]])


def test_alignment_keeps_whole_pixels() -> None:
    points = np.array([[10, 20], [30, 40]])
    turned_by = np.array([[0, -1, 100], [1, 0, 0.6]])
    assert aligned_eye_landmarks(points, turned_by).tolist() == [[80, 11], [60, 31]]


@pytest.mark.parametrize(
    ("eyes", "message"),
    [(np.zeros((12, 2)), r"\(12, 2\)"), (np.full((14, 2), np.nan), "no numbers")],
)
def test_wrong_eye_files_are_one_line(eyes: NDArray[np.float64], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        draw_eye_sketch(eyes)
    assert "\n" not in str(caught.value)


def _conditioner(rig: Rig, performance: Performance, size: int = 256) -> RigConditioner:
    return RigConditioner(performance, rig, size)


def _crops(count: int) -> NDArray[np.float64]:
    return np.tile(CROP, (count, 1, 1))


def test_colours_are_places_on_the_mean_face(rig: Rig) -> None:
    performance = acted(units_from(rig, 3, {}))
    pictures = _conditioner(rig, performance).draw(1, 2, _crops(1))
    points = performance.track.landmarks(1, 2)[0, :468, :2] @ CROP[:, :2].T + CROP[:, 2]
    neutral = rig.mesh.neutral
    low, high = neutral.min(0), neutral.max(0)
    for point in (4, 50, 280, 152, 117):  # nose tip, cheeks, chin, beside the nose
        x, y = np.rint(points[point]).astype(int)
        colour = pictures.nmfc[0, min(y, 255), x].astype(float) / 255
        wanted = (neutral[point] - low) / (high - low)
        # the forehead goes on above the mesh, which compresses y
        assert np.abs(colour[0] - wanted[0]) < 0.03
        assert colour[1] == pytest.approx(wanted[1] * 0.92, abs=0.06)
    grey = pictures.shape[0]
    assert (grey[..., 0] == grey[..., 1]).all() and grey.max() > 150
    assert not pictures.nmfc[pictures.mask == 0].any()


def test_mouth_and_lids_move_as_the_units_do(rig: Rig) -> None:
    jaw = np.array([0.0, 0.0, 0.0])
    performance = acted(units_from(rig, 3, {"jaw_open": jaw}))
    conditioner = _conditioner(rig, performance)
    shut = conditioner.draw(1, 2, _crops(1))
    opened = conditioner.draw(1, 2, _crops(1), units_from(rig, 1, {"jaw_open": np.array([0.8])}))
    closed = conditioner.draw(1, 2, _crops(1), units_from(rig, 1, {"lid_close": np.array([0.9])}))
    points = performance.track.landmarks(1, 2)[0, :, :2] @ CROP[:, :2].T + CROP[:, 2]

    def hole(pictures: object, first: int, last: int) -> int:
        """Face pixels that are no skin, in the height of two mesh points, with a margin."""
        mask, nmfc = pictures.mask[0], pictures.nmfc[0]  # type: ignore[attr-defined]
        rows = slice(int(points[first, 1]) - 6, int(points[last, 1]) + 26)
        return int(((mask[rows] > 0) & ~nmfc[rows].any(-1)).sum())

    assert hole(opened, 13, 14) > hole(shut, 13, 14) + 80
    assert hole(closed, 159, 145) < 0.5 * hole(shut, 159, 145)
    # the eye's own points follow the lids, the gaze stays
    before = conditioner.eye_landmarks(1, 2, _crops(1))[0]
    after = conditioner.eye_landmarks(
        1, 2, _crops(1), units_from(rig, 1, {"lid_close": np.array([0.9])})
    )[0]
    assert np.ptp(after[:6, 1]) < 0.7 * np.ptp(before[:6, 1])
    np.testing.assert_allclose(after[12:], before[12:], atol=0.5)
    np.testing.assert_array_equal(
        conditioner.draw(1, 2, _crops(1), performance.units[1:2]).nmfc, shut.nmfc
    )


def test_mask_covers_the_mesh_and_reaches_up_the_forehead(rig: Rig) -> None:
    yaw = np.array([0.0, 45.0, -45.0])
    performance = acted(units_from(rig, 3, {}), turned(yaw, count=3), shots=np.arange(3))
    pictures = _conditioner(rig, performance).draw(0, 3, _crops(3))
    for k in range(3):
        points = performance.track.landmarks(k, k + 1)[0, :468, :2] @ CROP[:, :2].T + CROP[:, 2]
        mask = np.zeros((256, 256), np.uint8)
        for triangle in np.rint(points[rig.mesh.triangles] * 16).astype(np.int32):
            cv2.fillConvexPoly(mask, triangle, 1, shift=4)
        inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
        assert (pictures.mask[k][inside] == 255).mean() > 0.995
        top = np.flatnonzero(pictures.mask[k].any(1))[0]
        assert points[:, 1].min() - top > 4
    sides = [pictures.nmfc[k][pictures.mask[k] > 0][:, 0].mean() for k in range(3)]
    # turned to the image's right, more of the face's left half in the image is seen
    assert sides[1] < sides[0] < sides[2]


def test_crops_move_all_pictures_alike(rig: Rig) -> None:
    performance = acted(units_from(rig, 1, {}))
    conditioner = _conditioner(rig, performance)
    plain = conditioner.draw(0, 1, _crops(1))
    moved_crop = _crops(1) + np.array([[0, 0, 12], [0, 0, -7]])
    moved = conditioner.draw(0, 1, moved_crop)
    for name in ("nmfc", "shape", "mask"):
        a, b = getattr(plain, name)[0], getattr(moved, name)[0]
        apart = np.abs(np.roll(a, (-7, 12), (0, 1)).astype(int) - b)[20:-20, 20:-20]
        assert (apart > 2).mean() < 0.003
    quarter = compose(np.array([[0, -1, 255], [1, 0, 0]]), _crops(1))
    turned_by = conditioner.draw(0, 1, quarter)
    apart = np.abs(np.rot90(plain.nmfc[0], -1).astype(int) - turned_by.nmfc[0])
    assert (apart > 2).mean() < 0.003  # colours stay on the skin, whatever the crop


def test_frames_without_a_face_are_black_and_the_others_do_not_care(rig: Rig) -> None:
    performance = acted(units_from(rig, 4, {}), absent=(1,))
    conditioner = _conditioner(rig, performance, 96)
    scale = np.array([[96 / 256], [96 / 256]])
    crops = np.tile(CROP * scale, (4, 1, 1))
    pictures = conditioner.draw(0, 4, crops)
    for name in ("nmfc", "shape", "sketch", "mask"):
        values = getattr(pictures, name)
        assert not values[1].any() and values[0].any() and values[3].any()
    assert np.isnan(conditioner.eye_landmarks(0, 4, crops)[1]).all()
    np.testing.assert_array_equal(conditioner.draw(2, 4, crops[2:]).nmfc[1], pictures.nmfc[3])
    nobody = acted(units_from(rig, 2, {}), absent=(0, 1))
    assert not _conditioner(rig, nobody, 96).draw(0, 2, crops[:2]).mask.any()


def test_far_and_near_faces_are_drawn_whatever_their_depth(rig: Rig) -> None:
    for scale in (8.0, 120.0, 1500.0):
        performance = acted(units_from(rig, 1, {}), scale=scale)
        factor = 0.8 * 120 / scale
        crop = np.array([[factor, 0, 128 - 320 * factor], [0, factor, 110 - 210 * factor]])
        mask = _conditioner(rig, performance).draw(0, 1, np.asarray(crop[None], float)).mask
        assert 0.1 < (mask > 0).mean() < 0.5


def test_units_of_another_length_are_refused(rig: Rig) -> None:
    conditioner = _conditioner(rig, acted(units_from(rig, 2, {})))
    with pytest.raises(ValueError, match="is needed"):
        conditioner.draw(0, 2, _crops(2), units_from(rig, 1, {}))


def test_pictures_fit_the_pixels_of_a_real_face(
    rig: Rig, still_image: Path, portrait: NDArray[np.uint8]
) -> None:
    """Skin is where NMFC is, and the dark pupils are where the sketch is."""
    performance = fit(track_actor(Clip.open(still_image, duration=0.04), 0), rig)
    half = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]])
    pictures = RigConditioner(performance, rig).draw(0, 1, half[None])
    small = cv2.resize(portrait, (256, 256), interpolation=cv2.INTER_AREA).astype(float)
    red = small[..., 0] - small[..., 2]
    skin = pictures.nmfc[0].any(-1)
    assert 0.08 < skin.mean() < 0.5
    assert (red[skin] > 10).mean() > 0.95
    eyes = pictures.sketch[0, ..., 0] > 0
    assert small[eyes].mean() < 0.7 * small[skin].mean()


def test_long_takes_are_the_same_as_short_ones(rig: Rig) -> None:
    jaw = 0.5 + 0.5 * np.sin(np.arange(40))
    performance = acted(units_from(rig, 40, {"jaw_open": jaw}), absent=(3, 20))
    conditioner = _conditioner(rig, performance, 64)
    crops = np.tile(CROP / 4, (40, 1, 1))
    whole = conditioner.draw(0, 40, crops)
    for k in (0, 19, 39):
        alone = conditioner.draw(k, k + 1, crops[k : k + 1])
        np.testing.assert_array_equal(whole.nmfc[k], alone.nmfc[0])
        np.testing.assert_array_equal(whole.sketch[k], alone.sketch[0])
