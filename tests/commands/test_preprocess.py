"""The staged road's first half: folders per mode, what is redone and what is not, bad input."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import talking_frame, write_talking_clip
from numpy.typing import NDArray
from places import ROOT

import ned.core.files.records
import preprocessing.landmarks68
import preprocessing.track
from deca.flame_pickles import export_codes
from ned.cli import main
from ned.commands.preprocess import kinds_of, preprocess
from ned.core.errors import AssetError, InputError, NoFaceError, OutputError
from ned.core.face import similarity
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.files import partial
from ned.core.files.actor import Actor
from ned.core.files.frame_files import read_numbers
from ned.core.film.clip import Clip
from ned.core.film.image_files import read_image, read_mask
from ned.options.preprocess import PreprocessOptions
from preprocessing.boxes import cut

SIZE = (240, 240)
TEST_KINDS = {
    *("images", "eye_landmarks", "eye_landmarks_aligned", "align_transforms", "masks"),
    *("masks_aligned", "faces_aligned", "nmfcs_aligned", "shapes_aligned"),
}


@pytest.fixture(scope="session")
def short_clip(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of the talking portrait at 240 x 240."""
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    write_talking_clip(path, portrait, 0.48, SIZE)
    return path


@pytest.fixture(scope="session")
def prepared(short_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An actor preprocessed in test mode with everything kept; copy it, do not change it."""
    folder = folder_of(tmp_path_factory.mktemp("prepared"), short_clip)
    preprocess(PreprocessOptions(folder, "test", keep_all=True))
    return folder


def folder_of(folder: Path, *videos: Path) -> Path:
    (folder / "videos").mkdir(parents=True)
    for video in videos:
        shutil.copy(video, folder / "videos" / video.name)
    return folder


def files_of(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Content, time stamp and inode of every file that is a result."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(".ned/") and path.suffix != ".mp4":
            state = path.stat()
            found[name] = (path.read_bytes(), state.st_mtime_ns, state.st_ino)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {name: data for name, (data, _, _) in files_of(folder).items()}


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = ["./preprocess.sh", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_folders_of_each_mode(short_clip: Path, tmp_path: Path) -> None:
    made: dict[str, set[str]] = {}
    for mode, flags in (("test", ()), ("train", ("--split", "5")), ("reference", ())):
        folder = folder_of(tmp_path / mode, short_clip)
        result = run(folder, mode, *flags)
        assert (result.returncode, result.stderr) == (0, "")
        assert f"ready for {mode}: " in result.stdout
        made[mode] = {path.name for path in folder.iterdir()} - {".ned", "videos"}
        assert (folder / "DECA" / "short.safetensors").is_file()
        assert (folder / "videos" / "short.txt").is_file() == (mode == "test")
    assert made["reference"] == {"images", "DECA"}
    assert made["test"] == made["train"] == TEST_KINDS | {"DECA"}

    train = Actor.open(tmp_path / "train")
    assert train.split == 5
    for kind in TEST_KINDS:
        assert list(train.frames(kind)) == list(range(10))  # two of twelve are too few
        names = sorted(path.name for path in train.folder_of(kind).iterdir())
        assert names == ["000000", "000001"]
    test = Actor.open(tmp_path / "test")
    for kind in TEST_KINDS:
        assert list(test.frames(kind)) == list(range(12))
    assert len(read_numbers(test.frame_file("eye_landmarks", 3), 2)) == 14
    assert len(read_numbers(train.frame_file("eye_landmarks", 3), 2)) == 34


def test_keep_all_adds_what_can_be_made_again(prepared: Path) -> None:
    folders = {path.name for path in prepared.iterdir()} - {".ned", "videos", "DECA"}
    assert folders == TEST_KINDS | {"full_frames", "faces", "nmfcs", "shapes"}
    assert "full_frames" not in kinds_of("train", keep_all=True)


def test_files_fit_each_other(prepared: Path) -> None:
    actor = Actor.open(prepared)
    frames = list(Clip.open(actor.videos[0]).frames())
    boxes = np.loadtxt(actor.boxes_file(actor.videos[0]), skiprows=1).astype(int)
    head = actor.boxes_file(actor.videos[0]).read_text().split("\n")[0]
    assert head.endswith("short.mp4 25 fps 12 frames") and len(boxes) == 12
    for frame in (0, 7, 11):

        def picture(kind: str, number: int = frame) -> NDArray[np.int16]:
            return read_image(actor.frame_file(kind, number)).astype(np.int16)

        whole = frames[frame].rgb()
        np.testing.assert_array_equal(picture("full_frames"), whole)
        np.testing.assert_array_equal(picture("images"), cut(whole, boxes[frame]))
        mask = read_mask(actor.frame_file("masks", frame))
        assert 0.1 < mask.mean() < 0.6
        np.testing.assert_array_equal(picture("faces"), picture("images") * mask[..., None])
        aligned = read_mask(actor.frame_file("masks_aligned", frame))
        assert not picture("faces_aligned")[~aligned].any()
        transform = read_numbers(actor.frame_file("align_transforms", frame), 3, 2)
        eyes = read_numbers(actor.frame_file("eye_landmarks", frame), 2, 14)
        moved = read_numbers(actor.frame_file("eye_landmarks_aligned", frame), 2, 14)
        np.testing.assert_allclose(moved, similarity.apply(transform, eyes), atol=1e-9)
        np.testing.assert_array_equal(eyes, np.trunc(eyes))

        import cv2

        for kind in ("nmfcs", "shapes"):  # drawn anew in place, so nearly the warped ones
            drawn = picture(kind)
            assert drawn[mask].mean() > 40 and not drawn[0, 0].any()
            warped = cv2.warpAffine(drawn, transform, (256, 256))
            inside = cv2.erode(aligned.astype(np.uint8), np.ones((9, 9))) > 0
            apart = np.abs(warped - picture(f"{kind}_aligned"))[inside]
            assert np.median(apart) <= 2 and apart.mean() < 6
    performance = Performance.load(actor.performance_file(actor.videos[0]))
    assert len(performance) == 12


def test_a_second_run_does_nothing(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "actor"
    shutil.copytree(prepared, folder)
    before = files_of(folder)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("work is done again")

    monkeypatch.setattr(preprocessing.track, "track_faces", forbidden)
    monkeypatch.setattr(Clip, "frames", forbidden)
    video = folder / "videos" / "short.mp4"
    os.utime(video, (1, 1))  # touched, not changed
    lines = preprocess(PreprocessOptions(folder, "test", keep_all=True))
    assert "is up to date" in lines[0]
    assert files_of(folder) == before


def test_missing_files_alone_are_made_again(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "actor"
    shutil.copytree(prepared, folder)
    before = files_of(folder)
    lost = ("images/000004.png", "nmfcs_aligned/000009.png", "eye_landmarks/000000.txt")
    for name in lost:
        (folder / name).unlink()
    (folder / "images" / ".000004.png.partial").write_bytes(b"half a picture")
    preprocess(PreprocessOptions(folder, "test", keep_all=True))
    after = files_of(folder)
    assert {name: data[0] for name, data in after.items()} == (
        {name: data[0] for name, data in before.items()}
    )
    assert {name for name in after if after[name] != before[name]} == set(lost)


def test_a_killed_run_goes_on(talking_clip: Path, tmp_path: Path) -> None:
    whole = folder_of(tmp_path / "whole", talking_clip)
    preprocess(PreprocessOptions(whole, "test"))
    killed = folder_of(tmp_path / "killed", talking_clip)
    command = ["./preprocess.sh", str(killed), "test"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while len(list((killed / "images").glob("0*.png"))) < 20:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
    left = files_of(killed)
    finished = {name: state for name, state in left.items() if ".partial" not in name}
    assert 20 <= len(finished) < len(contents(whole))

    preprocess(PreprocessOptions(killed, "test"))
    after = files_of(killed)
    assert {name: after[name] for name in finished} == finished
    expected, found = contents(whole), {name: state[0] for name, state in after.items()}
    heads = [files.pop("videos/talking.txt") for files in (expected, found)]
    for files in (expected, found):
        del files["DECA/talking.safetensors"]  # its header has no fixed order
    assert found == expected
    ours, theirs = (Performance.load(f / "DECA" / "talking.safetensors") for f in (killed, whole))
    np.testing.assert_array_equal(ours.units, theirs.units)
    assert heads[0].split(b"\n")[1:] == heads[1].split(b"\n")[1:]


def test_a_full_disk_is_one_line_and_nothing_is_lost(
    short_clip: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "actor", short_clip)
    original, count = partial.write_all, 0

    def fill(file: int, data: bytes) -> None:
        nonlocal count
        count += data.startswith(b"\x89PNG")
        if count > 20:
            original(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        original(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(partial, "write_all", fill)
        with pytest.raises(OutputError, match="No space left on device"):
            preprocess(PreprocessOptions(folder, "test"))
    assert not list(folder.rglob("*.partial"))
    before = files_of(folder)
    pictures = [name for name in before if name.endswith(".png")]
    assert 12 <= len(pictures) <= 20
    preprocess(PreprocessOptions(folder, "test"))
    after = files_of(folder)
    assert {name: after[name] for name in before} == before
    complete = contents(prepared)
    assert all(state[0] == complete[n] for n, state in after.items() if n.endswith(".png"))


def test_other_options_replace_what_they_change(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "actor"
    shutil.copytree(prepared, folder)
    before = files_of(folder)
    preprocess(PreprocessOptions(folder, "train", split=6))
    actor = Actor.open(folder)
    assert actor.split == 6
    for kind in TEST_KINDS:
        assert list(actor.frames(kind)) == list(range(12))
        assert not list(actor.folder_of(kind).glob("*.*"))  # no flat file is left
    assert actor.frame_file("images", 7).read_bytes() == before["images/000007.png"][0]


def test_new_videos_are_added_and_old_ones_stay(
    prepared: Path, short_clip: Path, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = tmp_path / "actor"
    shutil.copytree(prepared, folder)
    before = files_of(folder)
    write_talking_clip(folder / "videos" / "zoo.mp4", portrait, 0.24, (300, 260))  # another size
    lines = preprocess(PreprocessOptions(folder, "test", keep_all=True))
    assert "18 frames of 2 videos" in lines[0]
    after = files_of(folder)
    assert {name: after[name] for name in before} == before
    actor = Actor.open(folder)
    assert list(actor.frames("nmfcs_aligned")) == list(range(18))
    assert read_image(actor.frame_file("full_frames", 17)).shape == (260, 300, 3)
    assert read_image(actor.frame_file("images", 17)).shape == (256, 256, 3)

    (folder / "videos" / "short.mp4").rename(tmp_path / "short.mp4")
    preprocess(PreprocessOptions(folder, "test", keep_all=True))
    assert list(actor.frames("images")) == list(range(6))
    assert actor.frame_file("images", 0).read_bytes() == after["images/000012.png"][0]
    assert not list(folder.rglob("short*"))


def test_changed_footage_is_prepared_anew(
    prepared: Path, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = tmp_path / "actor"
    shutil.copytree(prepared, folder)
    before = contents(folder)
    write_talking_clip(folder / "videos" / "short.mp4", np.fliplr(portrait), 0.32, SIZE)
    preprocess(PreprocessOptions(folder, "test", keep_all=True))
    after = contents(folder)
    assert sorted(Actor.open(folder).frames("images")) == list(range(8))
    assert all(after[name] != before[name] for name in after if name.startswith("images/"))


def test_frames_without_a_face_hold_the_one_before(
    portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "actor")
    path = folder / "videos" / "gap.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "14"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        for index in range(48):
            image = talking_frame(portrait, index / 25, SIZE)
            if 10 <= index < 38:  # longer than what is interpolated
                image = np.full_like(image, 90)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    lines = preprocess(PreprocessOptions(folder, "test"))
    assert "without a face (the frame before is held)" in lines[0]
    actor = Actor.open(folder)
    absent = np.flatnonzero(~Track.load(actor.state_file(path, "track.safetensors")).present)
    assert len(absent) > 10
    held, before = int(absent[5]), int(absent[0]) - 1
    for kind in ("masks", "nmfcs_aligned", "eye_landmarks", "align_transforms"):
        assert list(actor.frames(kind)) == list(range(48))
        same = actor.frame_file(kind, before).read_bytes()
        assert actor.frame_file(kind, held).read_bytes() == same


def test_files_of_others_are_not_touched(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "actor"
    shutil.copytree(prepared, folder, ignore=shutil.ignore_patterns(".ned"))
    before = files_of(folder)
    with pytest.raises(InputError, match="did not write; move the folder away"):
        preprocess(PreprocessOptions(folder, "test"))
    assert files_of(folder) == before


def test_two_runs_do_not_fight(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "actor"
    shutil.copytree(prepared, folder)
    with ned.core.files.records.locked(Actor(folder).lock_file, folder):
        result = run(folder, "test")
    assert result.returncode == 1
    assert "is being worked on by another process" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tset",), "the second argument is 'tset', give train, test or reference"),
        (("test", "--reconstructor", "deca"), "deca_model.tar is missing"),
        (("train",), "12 frames, fewer than one sequence of 50"),
        (("test", "--actor", "3"), "--actor 3: 'short.mp4' shows 1 actor, give 0 to 0"),
        (("train", "--split", "1"), "--split is 1, give 3 frames or more"),
    ],
)
def test_bad_words_are_one_line(
    short_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "no assets"))
    folder = folder_of(tmp_path / "actor", short_clip)
    result = run(folder, *words)
    assert (result.returncode, result.stdout) == (1, "")
    assert said in result.stderr and result.stderr.count("\n") == 1
    assert {path.name for path in folder.iterdir()} <= {"videos", ".ned"}


def test_bad_footage(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "actor")
    with pytest.raises(InputError, match="holds no video"):
        preprocess(PreprocessOptions(folder, "test"))
    path = folder / "videos" / "grey.mp4"
    path.write_bytes(b"not a video at all")
    with pytest.raises(InputError, match=r"grey\.mp4' is not a video"):
        preprocess(PreprocessOptions(folder, "test"))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for _ in range(6):
            image = np.full((64, 64, 3), 90, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    with pytest.raises(NoFaceError, match=r"grey\.mp4.*no face was found"):
        preprocess(PreprocessOptions(folder, "test"))
    with pytest.raises(InputError, match="the mode is 'tset'"):
        PreprocessOptions(folder, "tset")


def test_damage_in_the_middle_costs_a_few_frames_only(
    talking_clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(talking_clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    folder = folder_of(tmp_path / "actor")
    (folder / "videos" / "hurt.mp4").write_bytes(data)
    preprocess(PreprocessOptions(folder, "reference"))
    assert "damaged" in caplog.text
    frames = list(Actor.open(folder).frames("images"))
    assert frames == list(range(len(frames))) and len(frames) > 30


class MadeUpDetector:
    """Finds the same landmarks in every picture, but none in two of the crops."""

    points = np.random.default_rng(0).uniform(60, 190, (68, 2)).astype(np.float32)

    def __init__(self, device: str) -> None:
        self.looks = 0

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        self.looks += 1
        return None if self.looks in (1, 7) else self.points  # of the first and the third crop


def test_landmarks_of_a_detector(
    short_clip: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preprocessing.landmarks68, "FanLandmarks", MadeUpDetector)
    folder = folder_of(tmp_path / "actor", short_clip)
    options = PreprocessOptions(folder, "test", landmarks="face-alignment")
    preprocess(options)
    actor, usual = Actor.open(folder), Actor.open(prepared)

    def numbers(whose: Actor, frame: int) -> NDArray[np.float64]:
        return read_numbers(whose.frame_file("eye_landmarks", frame), 2, 14)

    np.testing.assert_array_equal(numbers(actor, 0), numbers(usual, 0))  # the mesh steps in
    for frame in (1, 2, 11):
        expected = np.trunc(MadeUpDetector.points[36:48])
        np.testing.assert_array_equal(numbers(actor, frame)[:12], expected)
    np.testing.assert_array_equal(numbers(actor, 2), numbers(actor, 1))  # held
    images = [whose.frame_file("images", 5).read_bytes() for whose in (actor, usual)]
    assert images[0] == images[1]
    assert "up to date" in preprocess(options)[0]
    preprocess(PreprocessOptions(folder, "test"))
    np.testing.assert_array_equal(numbers(actor, 5), numbers(usual, 5))


def test_a_missing_detector_is_one_line(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    folder = folder_of(tmp_path / "actor", short_clip)
    with pytest.raises(AssetError, match=r"pip install 'ned\[landmarks68\]'"):
        preprocess(PreprocessOptions(folder, "test", landmarks="face-alignment"))
    assert {path.name for path in folder.iterdir()} == {"videos", ".ned"}


def test_the_rig_is_not_exported_as_flame(prepared: Path) -> None:
    with pytest.raises(InputError, match="holds units of the rig, not FLAME codes"):
        export_codes(prepared)


def test_an_interrupted_run_tells_how_to_go_on(
    short_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocessing.track, "track_faces", interrupt)
    folder = folder_of(tmp_path / "actor", short_clip)
    assert main(["preprocess", str(folder), "test"]) == 130
    assert capsys.readouterr().err == "ned: interrupted, run it again to go on\n"
    assert not list(folder.rglob("*.partial"))
