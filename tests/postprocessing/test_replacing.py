"""Replacing: only files that this program made are overwritten without being asked."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from acted_faces import acted
from made_up_films import make_video, pattern

from deca.rig import load_rig
from ned.core.errors import OutputError
from ned.core.film.clip import Clip
from ned.core.film.video import VideoWriter
from ned.options import DirectOptions
from postprocessing.images2video import images2video
from postprocessing.picture_file import write_picture
from postprocessing.provenance import provenance_tags
from postprocessing.record import write_sidecar
from postprocessing.replacing import check_replaceable


def ours(path: Path, tags: dict[str, str] | None = None) -> Path:
    """A film that the writer made of another."""
    clip = Clip.open(make_video(path.with_name("source.mp4"), 3))
    with VideoWriter(path, clip, metadata=tags) as writer:
        for frame in clip.frames():
            writer.write(frame)
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.png", "a.json", "a.safetensors", "a.csv"])
def test_foreign_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b'{"tool": "another"}')
    with pytest.raises(OutputError, match="--overwrite") as caught:
        check_replaceable(path, False)
    assert "\n" not in str(caught.value)
    check_replaceable(path, True)
    check_replaceable(None, False)
    check_replaceable(tmp_path / f"new{name}", False)


def test_foreign_films_and_pictures_are_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", 2, metadata={"comment": "holiday"})
    cv2.imwrite(str(tmp_path / "a.png"), pattern(0, 32, 32))
    for name in ("a.mp4", "a.png"):
        with pytest.raises(OutputError, match="not made by this program"):
            check_replaceable(tmp_path / name, False)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
def test_films_with_our_tags_are_ours(tmp_path: Path, suffix: str) -> None:
    check_replaceable(ours(tmp_path / f"a{suffix}", provenance_tags("happy")), False)


def test_films_with_our_record_are_ours_until_they_change(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.mp4")
    record = tmp_path / "a.mp4.json"
    with pytest.raises(OutputError):
        check_replaceable(path, False)
    options = DirectOptions(clip=tmp_path / "source.mp4", emotion=("happy",))
    performance = acted(np.zeros((3, len(load_rig())), np.float32))
    strength = np.ones(3, np.float32)
    write_sidecar(record, options, Clip.open(options.clip), performance, strength, [], None, path)
    check_replaceable(path, False)
    check_replaceable(record, False)
    path.write_bytes(path.read_bytes() + b"another")
    with pytest.raises(OutputError):
        check_replaceable(path, False)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_our_sheets_and_performances_are_ours(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / f"a{suffix}", pattern(0, 32, 32))
    check_replaceable(tmp_path / f"a{suffix}", False)
    acted(np.zeros((3, len(load_rig())), np.float32)).save(tmp_path / "a.safetensors")
    check_replaceable(tmp_path / "a.safetensors", False)


def test_a_record_of_a_name_that_is_no_text(tmp_path: Path) -> None:
    source = tmp_path / b"bad\xff.mp4".decode("utf-8", "surrogateescape")
    make_video(tmp_path / "a.mp4", 3).rename(source)
    options = DirectOptions(clip=source, emotion=("happy",))
    performance = acted(np.zeros((3, len(load_rig())), np.float32))
    record, strength = tmp_path / "r.json", np.ones(3, np.float32)
    write_sidecar(record, options, Clip.open(source), performance, strength, [], None)
    assert json.loads(record.read_text("utf-8"))["clip"]["name"] == source.name


def test_images2video_asks_before_it_overwrites(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index:06d}.png"), pattern(index, 64, 48))
    make_video(tmp_path / "film.mp4", 2)
    before = (tmp_path / "film.mp4").read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        images2video(folder, tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").read_bytes() == before
    images2video(folder, tmp_path / "film.mp4", overwrite=True)
    images2video(folder, tmp_path / "film.mp4")  # now it is ours
