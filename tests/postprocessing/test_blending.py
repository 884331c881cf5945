"""Blending: algebra of pyramids and of unalignment, golden vectors, faces in frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ned.core.errors import InputError
from ned.core.face import similarity
from postprocessing import blend as blending
from postprocessing.blend import Blending, blend, blend_at_box, blend_into_frame, paste
from postprocessing.unalign import unalign
from renderer import face_seat
from renderer.pyramid import blend_pyramids, laplacian_pyramid

METHODS = ("pyramid", "copy_paste", "poisson")


def _disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(x, y) <= radius


def _smooth(seed: int, shape: tuple[int, int], blur: float = 6) -> np.ndarray:
    """A picture without fine detail: (height, width, 3) uint8."""
    noise = np.random.default_rng(seed).uniform(0, 255, (*shape, 3)).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), blur)
    low, high = image.min(), image.max()
    return np.rint(20 + 210 * (image - low) / (high - low)).astype(np.uint8)


def _similarity(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def test_pyramid_of_an_image_collapses_to_it():
    image = np.random.default_rng(1).random((97, 130, 3)).astype(np.float32)
    everything = np.ones((97, 130), bool)
    for levels in (0, 1, 4, 6):
        mixed = blend_pyramids(image, image * 0, ~everything, levels)
        np.testing.assert_allclose(mixed, image, atol=2e-6)
        mixed = blend_pyramids(image * 0, image, everything, levels)
        np.testing.assert_allclose(mixed, image, atol=2e-6)


@pytest.mark.parametrize("method", ["pyramid", "copy_paste"])
def test_blend_of_equal_images_is_the_image(method):
    image = _smooth(2, (150, 121))
    mask = np.zeros((150, 121), bool)
    mask[30:110, 25:100] = True
    assert (blend(image, image, mask, Blending(method)) == image).all()


def test_poisson_of_equal_images_is_the_image_but_for_sharpening():
    image = _smooth(2, (150, 150), blur=12)
    assert (
        np.abs(blend(image, image, _disc(150, 50), Blending("poisson")).astype(int) - image).max()
        < 4
    )


@pytest.mark.parametrize("method", METHODS)
def test_empty_mask_leaves_the_background(method):
    image, face = _smooth(3, (64, 64)), _smooth(4, (64, 64))
    nothing = np.zeros((64, 64), bool)
    assert (blend(image, face, nothing, Blending(method)) == image).all()


def test_methods_do_what_they_are_for():
    background = np.full((256, 256, 3), (90, 120, 150), np.uint8)
    face = background + np.array([60, 40, 20], np.uint8)
    mask = _disc(256, 80)
    hard = blend(background, face, mask, Blending("copy_paste"))
    assert (hard == np.where(mask[..., None], face, background)).all()
    soft = blend(background, face, mask)
    assert (soft[128, 128] == face[128, 128]).all()
    assert (soft[0, 0] == background[0, 0]).all()
    step = np.abs(np.diff(soft[128].astype(int), axis=0)).max()
    assert step < 8 < np.abs(np.diff(hard[128].astype(int), axis=0)).max()
    seamless = blend(background, face, mask, Blending("poisson"))
    assert np.abs(seamless.astype(int) - background).max() < 6
    tinted = blend(background, face, mask, Blending(copied_levels=5))
    assert np.abs(tinted.astype(int) - background).max() <= 1


def test_unaligned_alignment_is_the_crop():
    crop = _smooth(5, (256, 256))
    mask = _disc(256, 70)
    aligned_from_crop = _similarity(1.1, 0.2, (4.0, -20.0))
    aligned = cv2.warpAffine(crop, aligned_from_crop, (256, 256), flags=cv2.INTER_LANCZOS4)
    back = unalign(aligned, mask, aligned_from_crop)
    assert np.abs(back[mask].astype(int) - crop[mask]).max() <= 2
    assert not back[~mask].any()


def _scene(box: tuple[int, int, int, int], shape: tuple[int, int] = (400, 500)):
    """A frame, its crop's mask and alignment, and the aligned face (the frame's own pixels)."""
    frame = _smooth(6, shape, blur=14)
    x1, y1, x2, y2 = box
    crop = cv2.resize(frame[y1:y2, x1:x2], (256, 256), interpolation=cv2.INTER_CUBIC)
    transform = _similarity(0.97, -0.15, (-14.0, 25.0))
    aligned = cv2.warpAffine(crop, transform, (256, 256), flags=cv2.INTER_LANCZOS4)
    return frame, crop, _disc(256, 75), transform, aligned


@pytest.mark.parametrize("box", [(60, 40, 440, 390), (150, 100, 270, 230), (0, 10, 300, 300)])
@pytest.mark.parametrize("method", METHODS)
def test_face_of_the_frame_itself_changes_nothing(box, method):
    frame, _, mask, transform, aligned = _scene(box)
    result = blend_into_frame(frame, aligned, mask, np.array(box), transform, Blending(method))
    assert np.abs(result.astype(int) - frame).max() <= 6


def test_pixels_out_of_reach_are_the_frames_own():
    box = (60, 40, 440, 390)
    frame, _, mask, transform, aligned = _scene(box)
    frame = np.random.default_rng(7).integers(0, 256, frame.shape, dtype=np.uint8)
    result = blend_into_frame(frame, 255 - aligned, mask, np.array(box), transform)
    changed = (result != frame).any(2)
    assert changed[215, 250]
    far = np.ones(changed.shape, bool)
    far[40:390, 60:440] = False
    assert not changed[far].any()
    soft = paste(frame, cv2.resize(frame[40:390, 60:440], (256, 256)), np.array(box))
    detail = frame[45:70, 70:200].astype(int)
    assert np.abs(soft[45:70, 70:200] - detail).mean() > 10  # what the published order costs
    assert (result[45:70, 70:200] == detail).all()


def test_nothing_beyond_the_blended_region_would_have_changed(monkeypatch):
    box = (60, 40, 440, 390)
    frame, _, mask, transform, aligned = _scene(box)
    result = blend_into_frame(frame, 255 - aligned, mask, np.array(box), transform)
    monkeypatch.setattr(face_seat, "_REACH", 100)
    everything = blend_into_frame(frame, 255 - aligned, mask, np.array(box), transform)
    assert np.abs(result.astype(int) - everything).max() <= 2


def test_black_around_the_rendered_face_is_not_seen():
    box = (60, 40, 440, 390)
    frame, _, mask, transform, _ = _scene(box)
    frame = np.full_like(frame, 200)
    shown = cv2.warpAffine(mask.astype(np.uint8), transform, (256, 256), flags=cv2.INTER_NEAREST)
    aligned = np.uint8(200) * shown[..., None] * np.ones(3, np.uint8)
    for method in METHODS:
        result = blend_into_frame(frame, aligned, mask, np.array(box), transform, Blending(method))
        assert np.abs(result.astype(int) - 200).max() <= 2, method


def test_blended_face_arrives_where_it_belongs():
    box = (60, 40, 440, 390)
    frame, crop, mask, transform, _ = _scene(box)
    marked = crop.copy()
    cv2.circle(marked, (140, 110), 9, (255, 0, 255), -1)
    aligned = cv2.warpAffine(marked, transform, (256, 256), flags=cv2.INTER_LANCZOS4)
    results = {
        "ours": blend_into_frame(frame, aligned, mask, np.array(box), transform),
        "first": blend_at_box(frame, unalign(aligned, mask, transform), mask, np.array(box)),
        "last": paste(frame, blend(crop, unalign(aligned, mask, transform), mask), np.array(box)),
    }
    wanted = np.array([60 + 140.5 * 380 / 256 - 0.5, 40 + 110.5 * 350 / 256 - 0.5])
    for name, result in results.items():
        apart = np.abs(result.astype(int) - frame).sum(2)
        rows, columns = np.nonzero(apart > 200)
        place = np.array([columns.mean(), rows.mean()])
        np.testing.assert_allclose(place, wanted, atol=0.8, err_msg=name)


def test_bad_sizes_are_named():
    image, mask = np.zeros((50, 60, 3), np.uint8), np.ones((50, 60), bool)
    with pytest.raises(InputError, match="face of 60x50 pixels has a mask of 60x40"):
        blend(image, image, mask[:40])
    with pytest.raises(InputError, match="background is"):
        blend(image[..., 0], image, mask)
    with pytest.raises(InputError, match="does not lie in a frame of 60x50"):
        paste(image, image, np.array([0, 0, 61, 50]))
    with pytest.raises(InputError, match="laplace"):
        Blending("laplace")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give 0 to 4"):
        Blending(levels=3, copied_levels=5)


def test_golden_pieces(golden):
    arrays = golden["blending.npz"]
    image, mask = arrays["imgA_u8"], arrays["mask"]
    levels = laplacian_pyramid(image.astype(np.float32) / 255, 4)
    golden.check("blending.npz", "gauss_level4", levels[4])
    golden.check("blending.npz", "lap_level3", levels[3])
    sharp = blending.sharpen(image.astype(np.float32) / 255)
    golden.check("blending.npz", "blursharpen_u8", np.rint(sharp * 255))
    assert mask.dtype == bool


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("copy_paste_u8", Blending("copy_paste")),
        ("pyramid_u8", Blending()),
        ("pyramid_copy2_u8", Blending(copied_levels=2)),
        ("poisson_u8", Blending("poisson")),
    ],
)
def test_golden_blends(golden, name, how):
    arrays = golden["blending.npz"]
    mixed = blend(arrays["imgA_u8"], arrays["imgB_u8"], arrays["mask"], how)
    golden.check("blending.npz", name, mixed)


def test_golden_blends_before_rounding(golden):
    arrays = golden["blending.npz"]
    pictures = arrays["imgA_u8"], arrays["imgB_u8"], arrays["mask"]
    for method in METHODS:
        mixed = blending.mix(*pictures, Blending(method), levels=4)
        sparse = np.clip(mixed, 0, 1)[::3, ::3]
        golden.check("blending.npz", f"{method}_float_sub3", sparse)


def test_golden_blend_of_other_sizes(golden):
    arrays = golden["blending.npz"]
    mixed = blend(arrays["imgA2_u8"], arrays["imgB_u8"], arrays["mask"])
    golden.check("blending.npz", "pyramid_resize_u8", mixed)


def test_golden_end_to_end(golden):
    arrays = golden["blending.npz"]
    faces, images, frames = [], [], []
    for frame in (2, 3):
        transform, mask = arrays["e2e_align_transforms"][frame], arrays["e2e_masks"][frame]
        face = unalign(arrays["e2e_faces_aligned_bgr"][frame], mask, transform)
        image = blend(arrays["e2e_images_bgr"][frame], face, mask)
        faces.append(face)
        images.append(image)
        whole = arrays["e2e_full_frames_bgr"][frame]
        frames.append(paste(whole, image, arrays["e2e_boxes"][frame]))
        ours = blend_into_frame(
            whole,
            arrays["e2e_faces_aligned_bgr"][frame],
            mask,
            arrays["e2e_boxes"][frame],
            transform,
        )
        assert ours.shape == whole.shape
    golden.check("blending.npz", "e2e_faces_bgr", np.stack(faces))
    golden.check("blending.npz", "e2e_out_images_bgr", np.stack(images))
    golden.check("blending.npz", "e2e_out_full_frames_bgr", np.stack(frames))


def test_similarity_of_the_scene_is_proper():
    assert similarity.scale_of(_similarity(0.97, -0.15, (0.0, 0.0))) == pytest.approx(0.97)
