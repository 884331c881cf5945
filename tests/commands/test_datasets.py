"""Data sets: MEAD's selection and file, Aff-Wild2's rules, face images, by NED's own scripts."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import talking_frame, write_talking_clip
from flame_files import write_flame_files
from numpy.typing import NDArray
from places import ROOT

import ned.commands.datasets
from deca.flame_codes import FlameCodes
from manipulator.data.sequences import ExpressionSequence, read_sequences, write_sequences
from ned.commands.datasets import largest_boxes, mead_clips, read_labels, reconstruct_mead
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.files.jobs import read_manifest
from ned.core.film.image_files import read_image
from ned.options.datasets import MeadOptions

MEAD = (
    "front/neutral/level_1/001.mp4",
    "front/neutral/level_1/002.mp4",
    "front/happy/level_3/001.mp4",
    "front/happy/level_2/001.mp4",
    "front/contempt/level_3/001.mp4",
    "left_30/happy/level_3/001.mp4",
    "top/neutral/level_1/001.mp4",
    "front/sad/level_3/007.mp4",
)


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    write_flame_files(folder)
    return folder


@pytest.fixture
def root(portrait: NDArray[np.uint8], tmp_path: Path) -> Path:
    """A MEAD folder of one actor, whose clips are all the same five frames, one of them damaged."""
    clip = tmp_path / "clip.mp4"
    write_talking_clip(clip, portrait, 0.2, (240, 240))
    for name in MEAD:
        path = tmp_path / "MEAD_data" / "M003" / "video" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)
    (tmp_path / "MEAD_data/M003/video/front/sad/level_3/007.mp4").write_bytes(b"damaged")
    return tmp_path / "MEAD_data"


def script(name: str, assets: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"preprocessing/{name}", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "NED_ASSETS": str(assets)},
    )


def test_mead_selection(root: Path) -> None:
    found = mead_clips(root, "M003")
    assert [(clip.name, clip.emotion) for clip in found] == [
        ("front_happy_level_3_001", "happy"),
        ("front_neutral_level_1_001", "neutral"),
        ("front_neutral_level_1_002", "neutral"),
        ("front_sad_level_3_007", "sad"),
    ]
    with pytest.raises(InputError, match=r"unpack the actor's video\.tar"):
        mead_clips(root, "W029")


def test_mead_by_its_script(root: Path, assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--root", root, "--actors", "M003", "--reconstructor", "flame-fit")
    result = script("reconstruct_MEAD.py", assets, *words)
    assert result.returncode == 0, result.stderr
    assert "3 done, 1 failed" in result.stdout
    sequences = read_sequences(root / "M003_deca.pkl")
    assert [one.emotion for one in sequences] == ["happy", "neutral", "neutral"]
    assert all(one.values.shape == (5, 53) for one in sequences)
    codes = FlameCodes.of(
        Performance.load(root / "M003" / "DECA" / "front_happy_level_3_001.safetensors")
    )
    np.testing.assert_array_equal(sequences[0].values[:, :3], codes.pose[:, 3:])
    np.testing.assert_array_equal(sequences[0].values[:, 3:], codes.expression)
    with (root / "M003_deca.pkl").open("rb") as file:
        items = pickle.load(file)  # noqa: S301 - what NED does, on our own file
    assert isinstance(items, list) and isinstance(items[0], tuple)
    assert items[0][0].dtype == np.float32 and items[0][1] == "happy"

    manifest = read_manifest(root / "manifest.jsonl")
    failed = manifest["M003/front_sad_level_3_007"]
    assert failed.state == "failed" and "is not a video" in (failed.error or "")
    monkeypatch.setenv("NED_ASSETS", str(assets))
    monkeypatch.setitem(sys.modules, "ray", None)
    attempts: list[Path] = []
    original = ned.commands.datasets.reconstruct_video

    def count(video: Path, **arguments: object) -> None:
        attempts.append(video)
        original(video, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ned.commands.datasets, "reconstruct_video", count)
    lines = reconstruct_mead(MeadOptions(root, ("M003",), "flame-fit"))
    assert lines[0].endswith("1 failed, 3 unchanged") and len(attempts) == 1


def test_mead_files_come_back_and_foreign_ones_are_checked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = [
        ExpressionSequence(rng.normal(size=(count, 53)).astype(np.float32), emotion)
        for count, emotion in ((12, "happy"), (30, "neutral"))
    ]
    path = tmp_path / "M009_deca.pkl"
    write_sequences(path, written)
    for ours, theirs in zip(written, read_sequences(path), strict=True):
        np.testing.assert_array_equal(ours.values, theirs.values)
        assert ours.emotion == theirs.emotion
    for content, said in (
        ({}, "no list of clips"),
        ([np.zeros((4, 53))], "no pair"),
        ([(np.zeros((4, 50)), "happy")], r"clip 0 is \(4, 50\)"),
        ([(np.full((4, 53), np.nan), "happy")], "no numbers"),
        ([(np.zeros((4, 53)), 3)], "for an emotion"),
    ):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=said):
            read_sequences(path)


def test_aff_wild_by_its_script(portrait: NDArray[np.uint8], assets: Path, tmp_path: Path) -> None:
    videos, annotations, target = (tmp_path / name for name in ("videos", "labels", "faces"))
    for folder in (videos, annotations):
        folder.mkdir()
    with av.open(str(videos / "one.avi"), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "14"})
        video.width, video.height, video.pix_fmt = 240, 240, "yuv420p"
        for index in range(30):
            image = talking_frame(portrait, index / 25, (240, 240))
            if index >= 10:  # the face has gone
                image = np.full_like(image, 90)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    shutil.copy(videos / "one.avi", videos / "few.avi")
    shutil.copy(videos / "one.avi", videos / "none.avi")
    labels = [4] * 30
    labels[3] = labels[5] = -1
    heading = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\n"
    (annotations / "one.txt").write_text(heading + "\n".join(map(str, labels)) + "\n")
    (annotations / "few.txt").write_text(heading + "4\n4\n")
    words = ("--videos_path", videos, "--annotations_path", annotations, "--save_dir", target)
    result = script("detect_affwild2.py", assets, *words)
    assert result.returncode == 0, result.stderr
    assert "1 done, 2 skipped" in result.stdout
    names = sorted(path.name for path in (target / "images" / "one").iterdir())
    assert names == [f"{frame:06d}.png" for frame in (0, 1, 2, 4, 6, 7, 8, 9)]
    assert read_image(target / "images" / "one" / names[0]).shape == (256, 256, 3)
    assert not (target / "images" / "few").exists()
    manifest = read_manifest(target / "manifest.jsonl")
    assert manifest["few.avi"].error == "30 frames have only 2 labels"
    assert manifest["none.avi"].error == "there is no none.txt"

    words = ("--celeb", target, "--reconstructor", "flame-fit", "--pickles")
    result = script("reconstruct.py", assets, *words)
    assert result.returncode == 0, result.stderr
    codes = FlameCodes.of(Performance.load(target / "DECA" / "one.safetensors"))
    assert codes.frames.tolist() == [0, 1, 2, 4, 6, 7, 8, 9]
    pickles = sorted(path.name for path in (target / "DECA" / "one").iterdir())
    assert pickles == [f"{frame:06d}.pkl" for frame in codes.frames]


def test_the_largest_face_of_each_frame_counts() -> None:
    one = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [np.nan] * 4])
    other = np.array([[5, 5, 50, 50], [np.nan] * 4, [np.nan] * 4])
    found = largest_boxes([one, other])
    np.testing.assert_array_equal(found, [other[0], one[1], [np.nan] * 4])


def test_annotations_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("heading\n1\nhappy\n")
    with pytest.raises(InputError, match="no annotation"):
        read_labels(path)
    path.write_text("heading\n1\n-1\n0\n")
    assert read_labels(path).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("reconstruct.py", ("--celeb", "{}"), "has no folder 'images'"),
        ("reconstruct_MEAD.py", ("--root", "{}", "--actors", "M003"), "is not a folder"),
        (
            "detect_affwild2.py",
            ("--videos_path", "{}", "--annotations_path", "{}", "--save_dir", "{}"),
            "holds no videos",
        ),
    ],
)
def test_empty_folders_are_one_line(
    assets: Path, tmp_path: Path, name: str, words: tuple[str, ...], said: str
) -> None:
    result = script(name, assets, *(word.format(tmp_path) for word in words))
    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr and result.stderr.count("\n") == 1
