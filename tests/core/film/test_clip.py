"""Clips: what is read from files of every kind, and what is said about files that are none."""

from __future__ import annotations

import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from made_up_films import HOSTILE_NAMES, _add_tone, make_video, pattern
from places import CLIPS

from ned.core.errors import InputError
from ned.core.film.clip import Clip, Colour, Orientation
from ned.core.film.packets import exact
from ned.core.film.planes import picture_from_planes, planar_format, planes_of


def rgb_psnr(first: np.ndarray, second: np.ndarray) -> float:
    """Decibels between two uint8 pictures."""
    error = np.mean((first.astype(float) - second.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_open_describes_a_video(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "a.mp4",
        30,
        (128, 72),
        rate=Fraction(30000, 1001),
        time_base=Fraction(1, 30000),
        colour=Colour(1, 1, 1, 1),
        aspect=Fraction(4, 3),
        audio=["aac"],
    )
    clip = Clip.open(path)
    assert (clip.size, clip.coded_size, clip.rotation) == ((128, 72), (128, 72), 0)
    assert clip.frame_rate == Fraction(30000, 1001)
    assert not clip.variable_rate
    assert clip.frame_count == 30
    assert clip.duration == pytest.approx(30 * 1001 / 30000, abs=1e-3)
    assert (clip.pixel_format, clip.bit_depth, clip.subsampling) == ("yuv420p", 8, (2, 2))
    assert clip.colour == Colour(1, 1, 1, 1)
    assert (clip.matrix, clip.full_range) == ("bt709", False)
    assert clip.sample_aspect_ratio == Fraction(4, 3)
    assert not clip.is_image
    (audio,) = clip.audio
    assert (audio.codec, audio.sample_rate, audio.channels) == ("aac", 48000, 2)
    assert audio.language == "eng"

    frames = list(clip.frames())
    assert [frame.index for frame in frames] == list(range(30))
    assert [frame.pts * clip.time_base for frame in frames] == [
        Fraction(1001 * i, 30000) for i in range(30)
    ]
    assert frames[3].time == pytest.approx(3 * 1001 / 30000)
    assert frames[0].planes[0].shape == (72, 128)
    assert frames[0].planes[1].shape == (36, 64)
    assert rgb_psnr(clip_rgb_reference(frames[5]), frames[5].rgb()) > 38


def clip_rgb_reference(frame: Any) -> np.ndarray:
    """RGB by the textbook formula, chroma repeated."""
    red, blue = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114), "bt2020": (0.2627, 0.0593)}[
        frame.clip.matrix
    ]
    depth = frame.clip.bit_depth - 8
    luma, u, v = (plane.astype(float) / 2**depth for plane in frame.planes)
    across, down = frame.clip.subsampling
    u, v = (
        c.repeat(down, 0).repeat(across, 1)[: luma.shape[0], : luma.shape[1]] - 128 for c in (u, v)
    )
    if frame.clip.full_range:
        luma, u, v = luma / 255, u / 255, v / 255
    else:
        luma, u, v = (luma - 16) / 219, u / 224, v / 224
    r, b = luma + 2 * (1 - red) * v, luma + 2 * (1 - blue) * u
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.round(np.stack([r, g, b], -1) * 255), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("pixel_format", "colour", "matrix"),
    [
        ("yuv420p", Colour(1, 6, 6, 6), "bt601"),
        ("yuv420p", Colour(2, 1, 1, 1), "bt709"),
        ("yuv422p", Colour(1, 1, 1, 1), "bt709"),
        ("yuv444p", Colour(2, 5, 5, 1), "bt601"),
        ("yuv420p10le", Colour(1, 9, 9, 16), "bt2020"),
        ("yuv422p10le", Colour(0, 2, 2, 2), "bt601"),
    ],
)
def test_rgb_uses_the_clips_matrix_and_range(
    tmp_path: Path, pixel_format: str, colour: Colour, matrix: str
) -> None:
    path = make_video(tmp_path / "a.mp4", 3, pixel_format=pixel_format, colour=colour)
    clip = Clip.open(path)
    assert (clip.pixel_format, clip.matrix, clip.colour) == (pixel_format, matrix, colour)
    frame = next(clip.frames())
    assert frame.planes[0].dtype == (np.uint16 if clip.bit_depth == 10 else np.uint8)
    assert rgb_psnr(frame.rgb(), clip_rgb_reference(frame)) > 38


def test_large_untagged_video_is_bt709(tmp_path: Path) -> None:
    assert Clip.open(make_video(tmp_path / "a.mp4", 2, (1280, 720))).matrix == "bt709"


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_video_is_delivered_upright(tmp_path: Path, rotation: int) -> None:
    if not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write a rotation tag")
    stored = next(Clip.open(make_video(tmp_path / "a.mp4", 3)).frames())
    clip = Clip.open(make_video(tmp_path / "b.mp4", 3, rotation=rotation))
    assert clip.size == ((96, 64) if rotation == 180 else (64, 96))
    frame = next(clip.frames())
    for upright, plane in zip(frame.planes, stored.planes, strict=True):
        assert np.array_equal(upright, np.rot90(plane, rotation // 90))
    assert rgb_psnr(frame.rgb(), np.rot90(stored.rgb(), rotation // 90)) > 45
    assert clip.rotation == -rotation % 360


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("mirrored_x", [False, True])
@pytest.mark.parametrize("mirrored_y", [False, True])
def test_display_matrix_moves_pixels_where_it_says(
    transposed: bool, mirrored_x: bool, mirrored_y: bool
) -> None:
    plane = np.arange(6, dtype=np.uint8).reshape(2, 3)
    orientation = Orientation(transposed, mirrored_x, mirrored_y)
    expected = plane.T if transposed else plane
    expected = expected[:, ::-1] if mirrored_x else expected
    expected = expected[::-1] if mirrored_y else expected
    assert np.array_equal(orientation.apply(plane), expected)
    sign_x, sign_y = (-1 if mirrored_x else 1), (-1 if mirrored_y else 1)
    rows = [[0, sign_y], [sign_x, 0]] if transposed else [[sign_x, 0], [0, sign_y]]
    matrix = np.zeros((3, 3), np.int32)
    matrix[:2, :2] = np.array(rows) * 65536
    assert Orientation.from_display_matrix(matrix.tobytes()) == orientation


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nv12", "yuv420p"),
        ("yuvj420p", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("gray", "yuv420p"),
        ("gray16le", "yuv420p10le"),
        ("rgb24", "yuv444p"),
        ("gbrp12le", "yuv444p10le"),
        ("pal8", "yuv444p"),
        ("yuva444p", "yuv444p"),
        ("yuv422p12le", "yuv422p10le"),
        ("yuv411p", "yuv422p"),
        ("yuyv422", "yuv422p"),
        ("yuv440p", "yuv444p"),
    ],
)
def test_planar_format_keeps_what_matters(source: str, expected: str) -> None:
    assert planar_format(source) == expected


def test_transposed_422_becomes_444() -> None:
    assert planar_format("yuv422p", transposed=True) == "yuv444p"
    assert planar_format("yuv420p", transposed=True) == "yuv420p"


@pytest.mark.parametrize(
    ("pixel_format", "delivered"),
    [
        ("bgr0", "yuv444p"),
        ("gray", "yuv420p"),
        ("yuva444p", "yuv444p"),
        ("yuv422p12le", "yuv422p10le"),
    ],
)
def test_foreign_formats_are_converted(tmp_path: Path, pixel_format: str, delivered: str) -> None:
    path = make_video(tmp_path / "a.mkv", 2, codec="ffv1", pixel_format=pixel_format)
    clip = Clip.open(path)
    assert (clip.source_format, clip.pixel_format) == (pixel_format, delivered)
    frame = next(clip.frames())
    expected = pattern(0, 96, 64)
    if pixel_format == "gray":
        assert np.all(frame.planes[1] == 128)
    else:
        assert rgb_psnr(frame.rgb(), expected) > 35


@pytest.mark.parametrize("size", [(97, 65), (33, 16), (16, 31)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mkv", 2, size, codec="ffv1"))
    frame = next(clip.frames())
    assert clip.size == size
    assert frame.planes[1].shape == ((size[1] + 1) // 2, (size[0] + 1) // 2)
    assert rgb_psnr(frame.rgb(), pattern(0, *size)) > 25


def test_with_planes_replaces_samples_only(tmp_path: Path) -> None:
    frame = next(Clip.open(make_video(tmp_path / "a.mp4", 2)).frames())
    luma = frame.planes[0].copy()
    with pytest.raises(ValueError, match="read-only"):
        frame.planes[0][0, 0] = 1
    luma[:] = 235
    neutral = np.full_like(frame.planes[1], 128)
    edited = frame.with_planes((luma, neutral, neutral))
    assert (edited.pts, edited.time, edited.index) == (frame.pts, frame.time, frame.index)
    assert np.all(edited.rgb() >= 253)
    assert not np.all(frame.rgb() >= 253)
    assert frame.with_planes(frame.planes).picture is frame.picture
    with pytest.raises(ValueError, match="plane"):
        frame.with_planes((luma[:-2], *frame.planes[1:]))


def test_planes_survive_a_picture() -> None:
    generator = np.random.default_rng(3)
    for pixel_format, top, dtype in (("yuv420p", 256, np.uint8), ("yuv422p10le", 1024, np.uint16)):
        tall = 50 if "422" in pixel_format else 25
        planes: Any = tuple(
            generator.integers(0, top, shape).astype(dtype)
            for shape in ((50, 70), (tall, 35), (tall, 35))
        )
        result = planes_of(picture_from_planes(planes, pixel_format))
        assert all(np.array_equal(a, b) for a, b in zip(planes, result, strict=True))


def test_variable_rate_times_are_exact(tmp_path: Path) -> None:
    times = [0, 500, 1001, 1400, 4000, 4001, 9000]
    path = make_video(tmp_path / "a.mp4", times=times, time_base=Fraction(1, 15000))
    clip = Clip.open(path)
    assert [f.pts * clip.time_base * 15000 for f in clip.frames()] == times
    assert clip.variable_rate


def test_times_count_from_the_first_picture(tmp_path: Path) -> None:
    times = [45000 + 3600 * i for i in range(10)]
    path = make_video(tmp_path / "a.mp4", times=times, time_base=Fraction(1, 90000), audio=["aac"])
    clip = Clip.open(path)
    frames = list(clip.frames())
    assert frames[0].time == 0
    assert frames[9].time == pytest.approx(9 * 0.04)
    assert clip.first_pts * clip.time_base == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".dat"])
def test_image_becomes_a_clip(tmp_path: Path, suffix: str) -> None:
    pixels = pattern(0, 80, 60)
    encoded = cv2.imencode(".png" if suffix == ".dat" else suffix, pixels[:, :, ::-1])[1]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded.tobytes())
    clip = Clip.open(path, duration=1.5, frame_rate=Fraction(24000, 1001))
    assert clip.is_image
    assert (clip.size, clip.frame_count) == ((80, 60), 36)
    frames = list(clip.frames())
    assert len(frames) == 36
    assert frames[35].time == pytest.approx(35 * 1001 / 24000)
    assert rgb_psnr(frames[0].rgb(), pixels) > 35


def test_odd_image_keeps_its_size(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pattern(0, 81, 61)[:, :, ::-1])
    clip = Clip.open(tmp_path / "a.png", duration=0.1)
    assert (clip.size, clip.pixel_format) == ((81, 61), "yuv444p")


def test_duration_fits_images_only(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pattern(0, 80, 60))
    with pytest.raises(InputError, match="--duration"):
        Clip.open(tmp_path / "a.png")
    for duration in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="must be > 0"):
            Clip.open(tmp_path / "a.png", duration=duration)
    with pytest.raises(InputError, match="still images"):
        Clip.open(make_video(tmp_path / "a.mp4", 2), duration=2)


def test_unusable_files_are_named_in_one_line(tmp_path: Path) -> None:
    film = make_video(tmp_path / "film.mp4", audio=["aac"]).read_bytes()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 50)
    (tmp_path / "text.mp4").write_text("to be or not to be\n" * 50)
    (tmp_path / "headless.mp4").write_bytes(film[: len(film) // 2])
    (tmp_path / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(5000))
    cv2.imwrite(str(tmp_path / "a.png"), pattern(0, 80, 60))
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    with av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as target:
        _add_tone(
            target, target.add_stream("aac", rate=48000, layout="stereo"), 0.5, 300, Fraction()
        )
    cases = {
        "missing.mp4": "does not exist",
        ".": "is a folder",
        "empty.mp4": "is empty",
        "text.txt": "not a video",
        "text.mp4": "not a video",
        "headless.mp4": "incomplete",
        "noise.mkv": "not a video",
        "song.m4a": "only audio",
        "line\nbreak.mp4": "does not exist",
    }
    for name, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            Clip.open(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="damaged image"):
        Clip.open(tmp_path / "cut.png", duration=1)
    with pytest.raises(InputError, match="not a regular file"):
        Clip.open(os.devnull)


def test_truncated_video_delivers_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = make_video(
        tmp_path / "a.mp4", 60, container_options={"movflags": "faststart"}
    ).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(film[: len(film) * 6 // 10])
    clip = Clip.open(tmp_path / "cut.mp4")
    with caplog.at_level(logging.WARNING):
        count = sum(1 for _ in clip.frames())
    assert 10 < count < 55
    assert f"{count} of 60 frames" in caplog.text


def test_damage_in_the_middle_is_survived(tmp_path: Path) -> None:
    film = bytearray(make_video(tmp_path / "a.mp4", 60).read_bytes())
    middle = len(film) // 2
    film[middle : middle + 600] = bytes(600)
    (tmp_path / "b.mp4").write_bytes(film)
    frames = list(Clip.open(tmp_path / "b.mp4").frames())
    assert 40 < len(frames) <= 60
    assert frames[-1].time == pytest.approx(59 / 25)


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids these names")
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "plain.mp4", 3).rename(tmp_path / name)
    assert len(list(Clip.open(tmp_path / name).frames())) == 3
    monkeypatch.chdir(tmp_path)
    assert Clip.open(name).frame_count == 3


def test_real_clips() -> None:
    if not CLIPS.is_dir():
        pytest.skip(f"no real clips in {CLIPS}; set NED_CLIPS to a folder of them")
    for path in sorted(CLIPS.glob("*.mp4")):
        clip = Clip.open(path)
        frames = clip.frames()
        first = next(frames)
        assert first.rgb().shape == (clip.size[1], clip.size[0], 3)
        if clip.size[0] < 600:
            assert 1 + sum(1 for _ in frames) == clip.frame_count


class Rational:
    """As PyAV's own from 19 on: no Fraction, and false where nothing is known."""

    def __init__(self, numerator: int, denominator: int) -> None:
        self.numerator, self.denominator = numerator, denominator

    def __bool__(self) -> bool:
        return self.numerator != 0 and self.denominator != 0


def test_rational_numbers_of_any_pyav_are_fractions() -> None:
    for given in (Fraction(30000, 1001), Rational(30000, 1001)):
        found = exact(given)
        assert type(found) is Fraction and found == Fraction(30000, 1001)
    for unknown in (None, Fraction(0), Rational(0, 1), Rational(0, 0), Rational(1, 0)):
        assert exact(unknown) is None


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"rate": Fraction(30000, 1001)},
        {"times": [0, 3, 4, 9, 11, 12, 20, 21, 30, 31], "time_base": Fraction(1, 100)},
        {"rotation": 90},
    ],
)
def test_one_frame_is_the_one_of_that_number(tmp_path: Path, how: dict[str, Any]) -> None:
    """With B-frames, at variable rates, and turned."""
    clip = Clip.open(make_video(tmp_path / "a.mp4", len(how.get("times", range(40))), **how))
    frames = list(clip.frames())
    for index in (0, 1, 5, len(frames) - 1):
        found = clip.frame_at(index)
        assert (found.index, found.pts, found.time) == (
            index,
            frames[index].pts,
            frames[index].time,
        )
        for ours, theirs in zip(found.planes, frames[index].planes, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match=f"has {len(frames)}"):
        clip.frame_at(len(frames))
    with pytest.raises(InputError, match="counted from 0"):
        clip.frame_at(-1)


def test_one_frame_of_a_picture_and_of_avi(tmp_path: Path, still_image: Path) -> None:
    still = Clip.open(still_image, duration=0.2)
    assert still.frame_at(3).index == 3
    plain = make_video(tmp_path / "a.avi", 12)
    clip = Clip.open(plain)
    wanted = list(clip.frames())[7]
    assert clip.frame_at(7).pts == wanted.pts
    np.testing.assert_array_equal(clip.frame_at(7).planes[0], wanted.planes[0])
