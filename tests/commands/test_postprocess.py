"""The staged road's second half: rendered faces back into full frames."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray
from places import ROOT

from ned.commands.direct import direct
from ned.commands.manipulate import manipulate
from ned.commands.postprocess import postprocess
from ned.commands.preprocess import preprocess
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor
from ned.core.film.clip import Clip
from ned.core.film.image_files import read_image, read_mask, write_image
from ned.options import DirectOptions
from ned.options.manipulate import ManipulateOptions
from ned.options.postprocess import PostprocessOptions
from ned.options.preprocess import PreprocessOptions

FRAMES = 8


@pytest.fixture(scope="session")
def actor_folder(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of five and three frames, preprocessed in test mode; copy it."""
    folder = tmp_path_factory.mktemp("actor")
    (folder / "videos").mkdir()
    write_talking_clip(folder / "videos" / "a.mp4", portrait, 0.2, (320, 240))
    write_talking_clip(folder / "videos" / "b.mp4", portrait, 0.12, (240, 300))
    preprocess(PreprocessOptions(folder, "test"))
    return folder


@pytest.fixture
def rendered(actor_folder: Path, tmp_path: Path) -> Actor:
    """The actor with an experiment 'same' whose renderer gave back the source's own faces."""
    shutil.copytree(actor_folder, tmp_path / "actor")
    actor = Actor(tmp_path / "actor")
    faces = actor.experiment("same").folder_of("faces_aligned")
    shutil.copytree(actor.folder_of("faces_aligned"), faces)
    return actor


def originals(actor: Actor) -> list[NDArray[np.uint8]]:
    return [frame.rgb() for video in actor.videos for frame in Clip.open(video).frames()]


def test_the_sources_own_faces_give_the_source(rendered: Actor) -> None:
    lines = postprocess(PostprocessOptions(rendered.folder, "same", skip_render=True))
    assert len(lines) == 2 and "a.mp4: 5 frames, 5 with a rendered face" in lines[0]
    results = rendered.experiment("same").frames("full_frames")
    assert list(results) == list(range(FRAMES))
    for whole, path in zip(originals(rendered), results.values(), strict=True):
        apart = np.abs(read_image(path).astype(int) - whole)
        assert apart.mean() < 0.5 and np.percentile(apart, 99) < 8
    assert {path.name for path in rendered.experiment("same").folder.iterdir()} == (
        {"faces_aligned", "full_frames", "a.mp4", "b.mp4", ".ned"}
    )


@pytest.mark.parametrize("place", ["frame", "crop", "box"])
def test_painted_faces_change_the_face_alone(rendered: Actor, place: str) -> None:
    experiment = rendered.experiment("same")
    for path in experiment.frames("faces_aligned").values():
        face = read_image(path)
        green = np.where(face.any(2, keepdims=True), np.array([0, 200, 0], np.uint8), face)
        write_image(path, green)
    options = PostprocessOptions(
        rendered.folder,
        "same",
        skip_render=True,
        blend_at=place,
        keep_all=True,  # type: ignore
    )
    postprocess(options)
    boxes = np.loadtxt(rendered.boxes_file(rendered.videos[0]), skiprows=1).astype(int)
    whole = originals(rendered)[2]
    result = read_image(experiment.frame_file("full_frames", 2))
    x1, y1, x2, y2 = boxes[2]
    outside = np.ones(whole.shape[:2], bool)
    outside[y1:y2, x1:x2] = False
    np.testing.assert_array_equal(result[outside], whole[outside])
    mask = read_mask(rendered.frame_file("masks", 2))
    inner = cv2.erode(mask.astype(np.uint8), np.ones((61, 61))) > 0
    inner = cv2.resize(inner.astype(np.uint8), (x2 - x1, y2 - y1)) > 0
    red, green, _ = np.median(result[y1:y2, x1:x2][inner], axis=0)
    assert green > 150 and red < 60
    face = read_image(experiment.frame_file("faces", 2))
    assert not face[~mask].any()
    assert read_image(experiment.frame_file("images", 2)).shape == (256, 256, 3)


def test_frames_without_a_rendered_face_stay_as_filmed(rendered: Actor) -> None:
    experiment = rendered.experiment("same")
    for frame in (0, 1):  # the first two, as some renderers leave them out
        experiment.frame_file("faces_aligned", frame).unlink()
    postprocess(PostprocessOptions(rendered.folder, "same", skip_render=True))
    whole = originals(rendered)
    assert list(experiment.frames("full_frames")) == list(range(FRAMES))
    for frame in (0, 1):
        result = read_image(experiment.frame_file("full_frames", frame))
        np.testing.assert_array_equal(result, whole[frame])


def test_only_what_is_missing_or_changed_is_made(rendered: Actor) -> None:
    experiment = rendered.experiment("same")
    options = PostprocessOptions(rendered.folder, "same", skip_render=True)
    postprocess(options)
    files = experiment.frames("full_frames")
    before = {frame: path.stat().st_mtime_ns for frame, path in files.items()}
    files[3].unlink()
    postprocess(options)
    after = {frame: path.stat().st_mtime_ns for frame, path in files.items()}
    assert {frame for frame in after if after[frame] != before[frame]} == {3}
    write_image(experiment.frame_file("faces_aligned", 6), np.zeros((256, 256, 3), np.uint8))
    postprocess(options)
    last = {frame: path.stat().st_mtime_ns for frame, path in files.items()}
    assert {frame for frame in after if after[frame] != last[frame]} == {5, 6, 7}


def test_script_blends_what_is_rendered_and_says_what_is_missing(
    rendered: Actor, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").mkdir()
    words = ["./postprocess.sh", str(rendered.folder), "same", str(tmp_path / "checkpoints")]
    refused = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "holds no renderer" in refused.stderr and refused.stderr.count("\n") == 1
    words.append("--skip-render")
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(rendered.experiment("same").frames("full_frames")) == FRAMES


def test_bad_folders_are_one_line(rendered: Actor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; make the experiment first"):
        postprocess(PostprocessOptions(rendered.folder, "other", skip_render=True))
    with pytest.raises(InputError, match="is not a folder"):
        postprocess(PostprocessOptions(rendered.folder, "same", tmp_path / "nothing"))
    with pytest.raises(InputError, match="holds no renderer"):
        postprocess(PostprocessOptions(rendered.folder, "same", tmp_path))
    rendered.frame_file("masks", 2).unlink()
    with pytest.raises(InputError, match="masks' has nothing for frame 2"):
        postprocess(PostprocessOptions(rendered.folder, "same", skip_render=True))
    rendered.boxes_file(rendered.videos[0]).unlink()
    with pytest.raises(InputError, match=r"a\.txt' holds no crop boxes"):
        postprocess(PostprocessOptions(rendered.folder, "same", skip_render=True))
    assert not rendered.experiment("same").folder_of("full_frames").exists()


def test_a_damaged_face_stops_with_one_line(rendered: Actor) -> None:
    experiment = rendered.experiment("same")
    experiment.frame_file("faces_aligned", 4).write_bytes(b"\x89PNG\r\n damaged")
    with pytest.raises(InputError, match=r"000004\.png"):
        postprocess(PostprocessOptions(rendered.folder, "same", skip_render=True))
    assert not list(experiment.folder.rglob("*.partial"))


def films_of(folder: Path) -> list[NDArray[np.uint8]]:
    return [plane for frame in Clip.open(folder).frames() for plane in frame.planes]


def test_the_staged_road_gives_what_direct_gives(
    portrait: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any training, to the last bit; two videos, one with frames that show no face."""
    monkeypatch.chdir(tmp_path)  # no ./checkpoints, no ./manipulator_checkpoints
    folder = tmp_path / "actor"
    (folder / "videos").mkdir(parents=True)

    def gap(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        return np.zeros_like(image) if 4 <= index < 12 else image

    write_talking_clip(folder / "videos" / "a.mkv", portrait, 0.8, (320, 240), change=gap)
    write_talking_clip(folder / "videos" / "b.mkv", portrait, 0.4, (240, 300))
    preprocess(PreprocessOptions(folder, "test"))
    emotions = ("happy:0.8", "sad")
    manipulate(ManipulateOptions(folder, trg_emotions=emotions, exp_name="take"))
    lines = postprocess(PostprocessOptions(folder, "take", codec="ffv1"))
    assert any("no face" in line for line in lines)
    for name in ("a", "b"):
        source = folder / "videos" / f"{name}.mkv"
        output = tmp_path / f"{name}.mkv"
        direct(DirectOptions(source, output, emotion=emotions, codec="ffv1"))
        staged = films_of(folder / "take" / f"{name}.mkv")
        for ours, theirs in zip(staged, films_of(output), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        filmed = films_of(source)
        apart = [np.abs(a.astype(int) - b).max() for a, b in zip(staged, filmed, strict=True)]
        assert max(apart) > 20  # something was directed at all
    assert postprocess(PostprocessOptions(folder, "take", codec="ffv1")) == lines


def test_the_staged_road_takes_on_the_style_of_a_reference(
    actor_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(actor_folder, tmp_path / "actor")
    actor, other = Actor(tmp_path / "actor"), tmp_path / "actor"
    manipulate(ManipulateOptions(actor.folder, ref_dirs=(other,), exp_name="as_itself"))
    for path in actor.experiment("as_itself").performances_folder.iterdir():
        performance = Performance.load(path)
        assert performance.directed is not None and performance.directed.shape[1] == 52
    with pytest.raises(InputError, match="2 --ref_dirs given"):
        manipulate(ManipulateOptions(actor.folder, ref_dirs=(other, other), exp_name="two"))
    with pytest.raises(InputError, match="--director is 'tarot', give one of auto, procedural"):
        manipulate(ManipulateOptions(actor.folder, trg_emotions=("sad",), director="tarot"))
    with pytest.raises(InputError, match="--renderer is 'oil', give one of warp, hybrid"):
        postprocess(PostprocessOptions(actor.folder, "as_itself", renderer="oil"))
    with pytest.raises(InputError, match="--renderer hybrid needs the folder"):
        postprocess(PostprocessOptions(actor.folder, "as_itself", renderer="hybrid"))
