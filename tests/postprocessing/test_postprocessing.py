"""What goes along with a result: preview, result sheet, sidecar, provenance."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from acted_faces import acted
from made_up_films import make_video
from numpy.typing import NDArray

import ned
from deca.rig import load_rig
from ned.core.errors import OutputError
from ned.core.film.clip import Clip, Frame
from ned.core.film.video import EncoderSettings, VideoWriter
from ned.options import DirectOptions
from postprocessing.picture_file import label, write_picture
from postprocessing.preview import Preview
from postprocessing.provenance import provenance_tags
from postprocessing.record import write_sidecar
from postprocessing.result_sheet import ResultSheet


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def painted(frame: Frame, luma: int) -> Frame:
    """The frame as one grey."""
    y, u, v = frame.planes
    return frame.with_planes((np.full_like(y, luma), np.full_like(u, 128), np.full_like(v, 128)))


def read(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a picture file."""
    return cv2.imread(str(path))[..., ::-1]  # type: ignore[index,return-value]


# Pictures


def test_picture_round_trip(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    write_picture(tmp_path / "a.PNG", rgb)
    assert np.array_equal(read(tmp_path / "a.PNG"), rgb)
    flat = np.full((20, 30, 3), (200, 90, 30), np.uint8)
    write_picture(tmp_path / "b.jpg", flat)
    assert np.abs(read(tmp_path / "b.jpg").astype(int) - flat).max() < 6
    assert names(tmp_path) == ["a.PNG", "b.jpg"]


@pytest.mark.parametrize("name", ["a.gif", "a", "none/a.png"])
def test_pictures_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError) as caught:
        write_picture(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_label_stays_in_its_corner() -> None:
    rgb = np.full((60, 200, 3), 120, np.uint8)
    label(rgb, "result")
    assert rgb.max() > 200  # white words
    assert (rgb[30:] == 120).all()
    assert (rgb[:, 150:] == 120).all()
    tiny = np.full((8, 8, 3), 120, np.uint8)
    label(tiny, "a word that does not fit")
    assert tiny.shape == (8, 8, 3)


# Result sheet


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (8, 8), (20, 8)])
def test_result_sheet_has_sources_above_results(tmp_path: Path, count: int, columns: int) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mkv", count, (640, 360), codec="ffv1"))
    sheet = ResultSheet(count)
    assert len(sheet.wanted) == columns
    assert min(sheet.wanted) >= 0
    assert max(sheet.wanted) < count
    assert not {0, count - 1} & sheet.wanted or count <= 16
    for frame in clip.frames():
        sheet.add(painted(frame, 40), painted(frame, 200))
    sheet.save(tmp_path / "sheet.png")
    picture = read(tmp_path / "sheet.png")
    assert picture.shape == (2 * 180, columns * 320, 3)
    for column in range(columns):
        above, below = picture[60:180, column * 320 :][:, :320], picture[180:, column * 320 :]
        assert above.max() < 60
        assert below[:, :320].min() > 190
    assert picture[:30].max() > 150  # the times


def test_result_sheet_of_a_tall_clip(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2, (64, 160)))
    sheet = ResultSheet(2)
    for frame in clip.frames():
        sheet.add(frame, frame)
    sheet.save(tmp_path / "sheet.png")
    assert read(tmp_path / "sheet.png").shape == (640, 2 * 128, 3)


def test_empty_result_sheet_is_not_written(tmp_path: Path) -> None:
    ResultSheet(5).save(tmp_path / "sheet.png")
    assert names(tmp_path) == []


# Preview


@pytest.mark.parametrize(
    ("size", "pixel_format", "pane"),
    [
        ((640, 360), "yuv420p", (640, 360)),
        ((98, 62), "yuv422p", (98, 62)),
        ((1280, 720), "yuv420p10le", (960, 540)),
        ((2048, 100), "yuv444p", (960, 46)),
    ],
)
def test_preview_shows_both_and_the_curve(
    tmp_path: Path, size: tuple[int, int], pixel_format: str, pane: tuple[int, int]
) -> None:
    path = make_video(tmp_path / "a.mkv", 3, size, codec="ffv1", pixel_format=pixel_format)
    clip = Clip.open(path)
    weights = np.array([[0, 0.5], [0.5, 0.5], [1, 0.5]], np.float32)
    preview = Preview(clip, weights, ("happy", "sad"))
    width, height = preview.clip.size
    assert (width, height) == (2 * pane[0], pane[1] + 96)
    dark, light = (40, 200) if clip.bit_depth == 8 else (160, 800)
    middle = 1 << (clip.bit_depth - 1)
    for frame in clip.frames():
        pair = []
        for level in (dark, light):
            y, u, v = frame.planes
            grey = (np.full_like(y, level), np.full_like(u, middle), np.full_like(v, middle))
            pair.append(frame.with_planes(grey))
        shown = preview.frame(*pair)
        assert (shown.index, shown.pts, shown.time) == (frame.index, frame.pts, frame.time)
        luma, u, v = shown.planes
        assert luma.shape == (height, width)
        assert u.shape == v.shape == (height // 2, width // 2)
        assert luma.dtype == np.uint8
        left, right = luma[30 : pane[1], : pane[0] - 2], luma[30 : pane[1], pane[0] + 2 :]
        assert np.abs(left.astype(int) - 40).max() <= 3
        assert np.abs(right.astype(int) - 200).max() <= 3
        curve = shown.rgb()[pane[1] :]
        assert curve.std() > 5
        column = round(frame.index / 3 * (width - 1))
        assert curve[:, max(0, column - 1) : column + 1].mean() > 230  # where we are


def test_preview_can_be_written(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", 4, (96, 64), audio=["aac"], aspect=Fraction(4, 3))
    clip = Clip.open(path)
    preview = Preview(clip, np.zeros((4, 0), np.float32), ())
    with VideoWriter(tmp_path / "p.mp4", preview.clip, EncoderSettings()) as writer:
        for frame in clip.frames():
            writer.write(preview.frame(frame, frame))
    written = Clip.open(tmp_path / "p.mp4")
    assert (written.size, written.frame_count) == ((192, 160), 4)
    assert len(written.audio) == 1
    assert clip.sample_aspect_ratio == Fraction(4, 3)


def test_preview_of_one_frame_has_a_curve(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 1, (96, 64)))
    preview = Preview(clip, np.ones((1, 1), np.float32), ("happy",))
    frame = next(clip.frames())
    assert preview.frame(frame, frame).planes[0].shape == (160, 192)


# Provenance and sidecar


def test_provenance_says_what_was_done() -> None:
    tags = provenance_tags("happy:0.8")
    assert tags["ned_edit"] == "happy:0.8"
    assert tags["ned_version"] == ned.__version__
    assert "edited" in tags["comment"]
    assert "happy:0.8" in tags["comment"]
    assert ned.__version__ in tags["comment"]


def test_sidecar_records_everything(tmp_path: Path) -> None:
    source = make_video(tmp_path / "ünï.mp4", 10, (96, 64))
    clip = Clip.open(source)
    shots = np.array([0] * 4 + [1] * 6, np.int32)
    units = np.zeros((10, len(load_rig())), np.float32)
    performance = acted(units, shots=shots, absent=(0, 1))
    performance.track.interpolated[7] = True
    strength = np.array([0, 0, 1, 1, 1, 1, 1, 1, 0.5, 1], np.float32)
    options = DirectOptions(clip=source, output=tmp_path / "b.mp4", emotion=("happy", "sad:0.5"))
    path = tmp_path / "b.mp4.json"
    parameters = tmp_path / "b.safetensors"
    write_sidecar(path, options, clip, performance, strength, [(0, 1, "no face")], parameters)
    text = path.read_text("utf-8")
    record = json.loads(text)
    assert text.endswith("}\n")
    assert (record["tool"], record["version"]) == ("ned", ned.__version__)
    assert set(record["libraries"]) >= {"numpy", "mediapipe", "av"}
    settings = record["settings"]
    assert set(settings) == {field.name for field in dataclasses.fields(DirectOptions)}
    assert settings["emotion"] == ["happy", "sad:0.5"]
    assert settings["output"] == str(tmp_path / "b.mp4")
    assert settings["seed"] == 0
    size = source.stat().st_size
    assert record["clip"] == {
        "name": "ünï.mp4",
        "size": [96, 64],
        "frame_rate": "25",
        "bytes": size,
    }
    assert "ünï" in text  # as people write it
    assert record["frames"] == {"total": 10, "directed": 8, "interpolated": 1, "cuts": [4]}
    assert record["untouched"] == [
        {"first": 0, "last": 1, "from": 0.0, "to": 0.04, "why": "no face"}
    ]
    assert record["parameters"] == "b.safetensors"
    assert names(tmp_path) == ["b.mp4.json", "ünï.mp4"]
    write_sidecar(path, options, clip, performance, strength, [], None)
    assert json.loads(path.read_text("utf-8"))["parameters"] is None


def test_sidecar_that_cannot_be_written(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 2)
    options = DirectOptions(clip=source, emotion=("happy",))
    performance = acted(np.zeros((2, len(load_rig())), np.float32))
    with pytest.raises(OutputError):
        write_sidecar(
            *(tmp_path / "none" / "b.json", options, Clip.open(source), performance),
            *(np.ones(2, np.float32), [], None),
        )
    assert names(tmp_path) == ["a.mp4"]
