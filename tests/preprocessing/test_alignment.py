"""Similarities, 68 landmarks, pupils and aligned images: algebra, golden vectors, footage."""

from __future__ import annotations

import sys
import types

import cv2
import numpy as np
import pytest

from ned.core.errors import AssetError, InputError
from ned.core.face import similarity
from ned.core.film.clip import Clip
from preprocessing import align, boxes, eye_landmarks
from preprocessing.landmarks68 import FanLandmarks
from preprocessing.track import track_faces


def _similarity(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def test_fitted_similarity_is_the_one_that_moved_the_points():
    generator = np.random.default_rng(1)
    points = generator.normal(size=(5, 20, 2)) * 50
    maps = np.stack([_similarity(0.5 + k, 0.9 * k - 2, (3.0 * k, -k)) for k in range(5)])
    moved = similarity.apply(maps, points)
    np.testing.assert_allclose(similarity.fit_similarity(points, moved), maps, atol=1e-9)
    np.testing.assert_allclose(similarity.scale_of(maps), [0.5 + k for k in range(5)])


def test_maps_compose_in_reading_order_and_undo_each_other():
    a_from_b = _similarity(2.0, 0.4, (5.0, -3.0))
    b_from_c = _similarity(0.7, -1.3, (-11.0, 8.0))
    points = np.random.default_rng(2).normal(size=(7, 2))
    joined = similarity.compose(a_from_b, b_from_c)
    one_by_one = similarity.apply(a_from_b, similarity.apply(b_from_c, points))
    np.testing.assert_allclose(similarity.apply(joined, points), one_by_one)
    nothing = similarity.compose(joined, similarity.invert(joined))
    np.testing.assert_allclose(nothing, similarity.IDENTITY, atol=1e-12)
    np.testing.assert_allclose(similarity.homogeneous(a_from_b)[2], [0, 0, 1])


def test_points_without_extent_have_no_similarity():
    target = np.random.default_rng(3).normal(size=(4, 2))
    assert np.isnan(similarity.fit_similarity(np.ones((4, 2)), target)).any()
    with pytest.raises(ValueError, match="no inverse"):
        similarity.invert(np.zeros((2, 3)))


def test_golden_similarities(golden):
    arrays = golden["alignment.npz"]
    fitted = similarity.fit_similarity(arrays["landmarks"], arrays["template68"])
    golden.check("alignment.npz", "umeyama", fitted)
    reflected = similarity.fit_similarity(arrays["landmarks_reflected"], arrays["template68"])
    golden.check("alignment.npz", "umeyama_reflected", reflected)
    assert np.linalg.det(reflected[:, :2]) > 0


def test_default_template_is_the_crop_of_a_face_from_the_front():
    template = align.default_template()
    assert template.shape == (68, 2)
    middle = template[[27, 30, 33, 51, 57, 8], 0]
    np.testing.assert_allclose(middle, 127.5, atol=0.6)
    eyes, mouth = template[36:48].mean(0), template[48:60].mean(0)
    assert 105 < eyes[1] < 116
    assert 172 < mouth[1] < 184
    assert template[:, 1].max() == pytest.approx(220.5, abs=0.5)


def test_template_lies_near_the_published_one(golden):
    published = golden["alignment.npz"]["template68"]
    ours_from_published = similarity.fit_similarity(published, align.default_template())
    assert similarity.scale_of(ours_from_published) == pytest.approx(1, abs=0.02)
    apart = np.linalg.norm(align.default_template() - published, axis=1)
    assert apart.mean() < 5
    for part in (slice(36, 48), slice(48, 68)):
        shift = align.default_template()[part].mean(0) - published[part].mean(0)
        assert np.abs(shift).max() < 4


def test_aligned_landmarks_lie_on_the_template():
    generator = np.random.default_rng(4)
    template = align.default_template()
    crop_from_aligned = _similarity(1.2, 0.3, (-20.0, 4.0))
    landmarks = similarity.apply(crop_from_aligned, template + generator.normal(size=(68, 2)) * 0.1)
    aligned_from_crop = align.align_transforms(landmarks)
    moved = similarity.apply(aligned_from_crop, landmarks)
    np.testing.assert_allclose(moved, template, atol=0.5)


def test_golden_alignment_transform(golden):
    arrays = golden["alignment.npz"]
    answers = iter(arrays["detector_outputs"])
    image = np.zeros((256, 256, 3), np.uint8)
    found = align.sampled_landmarks(image, lambda _: next(answers))
    assert found is not None
    transform = align.align_transforms(found[1], arrays["template68"])
    golden.check("alignment.npz", "align_transform", transform)
    pupils = eye_landmarks.pupils_of_image(arrays["pupil_image_u8"], found[0])
    golden.check("alignment.npz", "pupils", pupils)
    rows = eye_landmarks.eye_rows(found[0], pupils, mouth=True)
    golden.check("alignment.npz", "eye_landmarks_file", rows)
    assert eye_landmarks.eye_rows(found[0], pupils).shape == (14, 2)


def test_golden_aligned_images(golden):
    arrays = golden["alignment.npz"]
    for kind in ("nmfcs", "shapes"):
        warped = align.warp_image(arrays[f"al_{kind}_bgr"], arrays["al_mat"])
        golden.check("alignment.npz", f"al_{kind}_aligned_bgr", warped)
    mask = align.warp_mask(arrays["al_mask"], arrays["al_mat"])
    face = align.warp_image(arrays["al_faces_bgr"], arrays["al_mat"]) * mask[..., None]
    golden.check("alignment.npz", "al_faces_aligned_bgr", face)
    golden.check("alignment.npz", "al_masks_aligned_bgr", mask * 255)
    rows = similarity.apply(arrays["al_mat"], arrays["eye_landmarks_file"])
    golden.check("alignment.npz", "al_eye_landmarks_aligned", rows)


def test_shifts_are_taken_back_where_copies_fail():
    points = np.random.default_rng(5).uniform(60, 200, (68, 2))
    moves = iter([(0, 0), None, (-5, 5), None, None])

    def detect(image: np.ndarray) -> np.ndarray | None:
        move = next(moves)
        return None if move is None else points + move

    found = align.sampled_landmarks(np.zeros((256, 256, 3), np.uint8), detect)
    assert found is not None
    np.testing.assert_allclose(found[1], points, atol=1e-4)


def test_shifted_copies_show_the_face_where_their_landmarks_are_expected():
    image = np.zeros((64, 64, 3), np.uint8)
    image[30, 20] = 255

    def detect(picture: np.ndarray) -> np.ndarray:
        row, column = np.unravel_index(picture[..., 0].argmax(), picture.shape[:2])
        return np.full((68, 2), (column, row))

    found = align.sampled_landmarks(image, detect)
    assert found is not None
    np.testing.assert_allclose(found[1], np.full((68, 2), (20, 30)), atol=1e-5)


def test_no_face_keeps_the_frame_before():
    values = np.array([np.nan, 1, np.nan, np.nan, 4, np.nan])
    assert align.hold(values).tolist() == [1, 1, 1, 1, 4, 4]
    with pytest.raises(InputError, match="none of 2 frames has landmarks"):
        align.hold(np.full((2, 2, 3), np.nan))


def test_pupils_of_a_drawn_eye():
    image = np.full((80, 120, 3), 220, np.uint8)
    landmarks = np.zeros((68, 2))
    for first, x in ((36, 30), (42, 85)):
        angles = np.pi + np.arange(6) * np.pi / 3
        landmarks[first : first + 6, 0] = x + 16 * np.cos(angles)
        landmarks[first : first + 6, 1] = 40 + 10 * np.sin(angles)
        cv2.circle(image, (x + 4, 41), 4, (8, 6, 5), -1)
    pupils = eye_landmarks.pupils_of_image(image, landmarks)
    np.testing.assert_allclose(pupils, [[34, 41], [89, 41]], atol=1.2)
    black = eye_landmarks.pupils_of_image(np.zeros_like(image), landmarks)
    np.testing.assert_allclose(black, [[30, 40], [85, 40]], atol=1)


def test_face_alignment_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(AssetError, match=r"pip install 'ned\[landmarks68\]'"):
        FanLandmarks()


@pytest.mark.parametrize("name", ["_2D", "TWO_D"])
def test_face_alignment_is_asked_as_the_published_pipeline_does(monkeypatch, name):
    asked = {}

    class Network:
        def __init__(self, kind, *, flip_input, device):
            asked.update(kind=kind, flip_input=flip_input, device=device)

        def get_landmarks_from_image(self, image):
            return [np.full((68, 2), 3.0), np.zeros((68, 2))] if image.any() else None

    stand_in = types.ModuleType("face_alignment")
    stand_in.LandmarksType = types.SimpleNamespace(**{name: "two"})  # type: ignore[attr-defined]
    stand_in.FaceAlignment = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "face_alignment", stand_in)
    landmarks = FanLandmarks()
    assert asked == {"kind": "two", "flip_input": False, "device": "cpu"}
    found = landmarks(np.ones((256, 256, 3), np.uint8))
    assert found is not None
    assert (found == 3).all()
    assert landmarks(np.zeros((256, 256, 3), np.uint8)) is None
    with pytest.raises(InputError, match="is needed"):
        landmarks(np.zeros((256, 256), np.uint8))


def test_portrait_is_aligned_to_the_template(portrait, still_image):
    track = track_faces(Clip.open(still_image, duration=0.04))[0]
    box = boxes.crop_boxes(track)[0]
    crop_from_frame = boxes.crop_from_frame(box)
    mesh_points = similarity.apply(crop_from_frame, track.landmarks()[0, :, :2])
    landmarks = eye_landmarks.landmarks_of_mesh(mesh_points)
    transform = align.align_transforms(landmarks)
    moved = similarity.apply(transform, landmarks)
    assert np.linalg.norm(moved - align.default_template(), axis=1).mean() < 6
    crop = boxes.cut(portrait, box)
    irises = eye_landmarks.pupils_of_mesh(mesh_points)
    dark = eye_landmarks.pupils_of_image(crop, landmarks)
    np.testing.assert_allclose(irises, dark, atol=5)
