"""Places: a dot that is put back into a frame arrives where it belongs, to a tenth of a pixel."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_up_films import make_video

from ned.core.film.clip import Clip, Colour, Frame
from renderer.face_blend import blend_into_planes

SIZE = (320, 240)  # width, height
SIGMA = 6.0  # of a dot, in pixels of its own picture
DEPTHS = {8: "yuv420p", 10: "yuv420p10le"}


def grey_frame(tmp_path: Path, depth: int, size: tuple[int, int] = SIZE) -> Frame:
    """One frame whose samples are the middle grey of their depth."""
    codec = "libx264" if depth == 8 else "ffv1"
    path = make_video(tmp_path / f"{depth}.mkv", 1, size, codec=codec, pixel_format=DEPTHS[depth])
    (frame,) = Clip.open(path).frames()
    level = 126 << (depth - 8)
    middle = 1 << (depth - 1)
    levels = (level, middle, middle)
    return frame.with_planes(
        tuple(np.full_like(p, v) for p, v in zip(frame.planes, levels, strict=True))  # type: ignore
    )


def dot(size: int, place: tuple[float, float]) -> np.ndarray:
    """(size, size) a bump of height 1 at x, y, where pixels have their centres at .5."""
    y, x = np.mgrid[:size, :size] + 0.5
    return np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * SIGMA**2))


def similarity(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    angle = np.radians(degrees)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


def middle_of(change: np.ndarray) -> np.ndarray:
    """x, y of the centre of gravity of a change, where pixels have their centres at .5."""
    y, x = np.mgrid[: change.shape[0], : change.shape[1]] + 0.5
    weight = np.abs(change) * (np.abs(change) > 0.25 * np.abs(change).max())
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def apply(matrix: np.ndarray, place: tuple[float, float]) -> np.ndarray:
    return matrix[:, :2] @ place + matrix[:, 2]


# The hybrid's correction


def added(frame: Frame, correction: np.ndarray, image_from_crop: np.ndarray) -> list[np.ndarray]:
    """What is added to each plane, as float64."""
    pytest.importorskip("torch")
    import cv2

    from renderer.hybrid.renderer import _Drawing

    drawing: Any = object.__new__(_Drawing)
    drawing._clip = frame.clip
    drawing._renderer = SimpleNamespace(size=len(correction))
    crop_from_image = cv2.invertAffineTransform(image_from_crop)[None]
    drawing._crops = SimpleNamespace(crop_from_image=crop_from_image)
    planes = drawing._added(frame.planes, correction.astype(np.float32), 0)
    pairs = zip(planes, frame.planes, strict=True)
    assert all(new.dtype == old.dtype for new, old in pairs)
    return [new.astype(np.float64) - old for new, old in zip(planes, frame.planes, strict=True)]


MAPS = {
    "as it is": similarity(1, 0, 60, 40),
    "half a pixel": similarity(1, 0, 60.5, 40.5),
    "scaled": similarity(1.37, 0, 41.3, 22.7),
    "small and rolled": similarity(0.8, 33, 150.2, 30.6),
    "on its head": similarity(1.1, 180, 230.4, 200.8),
}


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("name", MAPS)
def test_a_correction_arrives_in_its_place(tmp_path: Path, name: str, depth: int) -> None:
    place, matrix = (70.3, 55.8), MAPS[name]
    frame = grey_frame(tmp_path, depth)
    luma, *chroma = added(frame, dot(128, place)[..., None] * np.full(3, 60.0), matrix)
    wanted = apply(matrix, place)
    np.testing.assert_allclose(middle_of(luma), wanted, atol=0.1)
    assert luma.max() == pytest.approx(60 * 219 / 255 * (1 << (depth - 8)), rel=0.03)
    assert all(np.abs(plane).max() <= 1 for plane in chroma)  # grey has no colour
    _, u, v = added(frame, dot(128, place)[..., None] * np.array([80.0, 0, 0]), matrix)
    np.testing.assert_allclose(2 * middle_of(v), wanted, atol=0.25)  # half as many samples
    assert v.max() > 20 << (depth - 8) and u.min() < 0


def test_a_correction_at_the_border_is_cut_off_not_moved(tmp_path: Path) -> None:
    frame = grey_frame(tmp_path, 8, (322, 242))
    for x, y in ((-50.4, -30.2), (250.3, 180.6)):
        matrix = similarity(1, 0, x, y)
        for place in ((64.0, 50.0), (40.0, 40.0)):
            wanted = apply(matrix, place)
            if not (25 < wanted[0] < 297 and 25 < wanted[1] < 217):
                continue
            luma, *_ = added(frame, dot(128, place)[..., None] * np.full(3, 60.0), matrix)
            np.testing.assert_allclose(middle_of(luma), wanted, atol=0.1)
    everywhere, *_ = added(frame, np.full((128, 128, 3), 60.0), similarity(4, 0, -40, -40))
    assert everywhere[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 40  # to the very corners
    far = added(frame, np.full((128, 128, 3), 60.0), similarity(1, 0, 900, 900))
    assert all(not plane.any() for plane in far)


# A rendered face


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("name", ["scaled", "small and rolled"])
def test_a_rendered_face_arrives_in_its_place(tmp_path: Path, name: str, depth: int) -> None:
    size, place = 128, (66.4, 60.7)
    frame = grey_frame(tmp_path, depth)
    y, x = np.mgrid[:size, :size]
    mask = np.hypot(x - 63.5, y - 63.5) < 50
    to_rendered = similarity(0.9, -12, 12.5, 20.25)
    rendered_place = apply(to_rendered, (place[0] - 0.5, place[1] - 0.5)) + 0.5
    bump = dot(size, (rendered_place[0], rendered_place[1]))
    grey = (126 - 16) * 255 / 219
    picture = np.rint(grey + 70 * bump)[..., None].repeat(3, 2).astype(np.uint8)
    matrix = MAPS[name]
    centres = matrix.copy()  # of pixels whose centres lie at whole numbers
    centres[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    whole = blend_into_planes(frame, picture, mask, centres, to_rendered)
    change = whole.planes[0].astype(np.float64) - frame.planes[0]
    np.testing.assert_allclose(middle_of(change), apply(matrix, place), atol=0.15)
    assert change.max() == pytest.approx(70 * 219 / 255 * (1 << (depth - 8)), rel=0.06)
    half = blend_into_planes(frame, picture, mask, centres, to_rendered, opacity=0.5)
    halved = half.planes[0].astype(np.float64) - frame.planes[0]
    np.testing.assert_allclose(halved, change / 2, atol=1)
    nothing = blend_into_planes(frame, picture, mask, centres, to_rendered, opacity=0)
    assert nothing is frame


# Codes of black, white and grey


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["bt709", "bt601", "bt2020"])
def test_codes_of_black_white_and_grey(matrix: str, full: bool, depth: int) -> None:
    from ned.core.film.planes import samples_of_rgb

    rgb = np.array([[[0, 0, 0], [255, 255, 255], [128, 128, 128]]], np.uint8)
    codes = samples_of_rgb(rgb, matrix, full, depth)[0]
    top, step = (1 << depth) - 1, 1 << (depth - 8)
    low, high = (0, top) if full else (16 * step, 235 * step)
    grey = low + (high - low) * 128 / 255
    np.testing.assert_allclose(codes[:, 0], [low, high, grey], atol=0.6)
    np.testing.assert_allclose(codes[:, 1:], 1 << (depth - 1), atol=0.6)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full", [False, True])
def test_a_clip_knows_its_black_and_middle(tmp_path: Path, depth: int, full: bool) -> None:
    colour = Colour(2 if full else 1, 1, 1, 1)
    chosen = DEPTHS[depth]
    path = make_video(tmp_path / "a.mkv", 1, codec="ffv1", pixel_format=chosen, colour=colour)
    clip = Clip.open(path)
    assert clip.full_range == full and clip.bit_depth == depth
    assert clip.black == (0 if full else 16 << (depth - 8))
    assert clip.middle == 1 << (depth - 1)
