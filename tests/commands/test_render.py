"""Rendering an experiment: from changed parameters to full frames, by command and by script."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_talking_clip
from flame_files import write_flame_files
from numpy.typing import NDArray
from places import ROOT
from renderer_files import write_actor

from deca.flame_pickles import export_codes, load_codes
from ned.commands.preprocess import preprocess
from ned.commands.render import render
from ned.core.errors import AssetError, InputError
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor
from ned.core.film.image_files import read_image, write_image
from ned.evaluation.reconstruction_error import ReconstructionError
from ned.options.preprocess import PreprocessOptions
from ned.options.render import RenderOptions
from renderer.experiment_conditioning import draw_inputs, face_model_of
from renderer.neural import checkpoints
from renderer.neural.dataset import Faces
from renderer.neural.networks import Discriminator, Generator, initialise

FRAMES = 5
KINDS = ("nmfcs_aligned", "shapes_aligned", "eye_landmarks_aligned")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def prepared(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of three and two frames, preprocessed in test mode; copy it."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "videos").mkdir()
    for name, seconds in (("a", 0.12), ("b", 0.08)):
        write_talking_clip(folder / "videos" / f"{name}.mp4", portrait, seconds, (240, 240))
    preprocess(PreprocessOptions(folder, "test"))
    return folder


@pytest.fixture
def actor(prepared: Path, tmp_path: Path) -> Actor:
    """A copy with an experiment 'open', in which the mouth is open."""
    shutil.copytree(prepared, tmp_path / "actor")
    actor = Actor(tmp_path / "actor")
    experiment = actor.experiment("open")
    experiment.performances_folder.mkdir(parents=True)
    for video in actor.videos:
        own = Performance.load(actor.performance_file(video))
        units = own.units.copy()
        units[:, own.unit_names.index("jaw_open")] += 0.6
        dataclasses.replace(own, directed=units).save(experiment.performance_file(video))
    return actor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of NED's layout with random weights."""
    made = tmp_path / "checkpoints"
    write_checkpoints(made)
    return made


def write_checkpoints(folder: Path, epoch: str = "20", width: int = 4) -> None:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    for name, network in (("G", Generator(width)), ("D", Discriminator(width))):
        initialise(network)
        torch.save(network.state_dict(), folder / f"{epoch}_net_{name}.pth")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_script_renders_and_blends_every_frame(actor: Actor, folder: Path) -> None:
    done = run("./postprocess.sh", actor.folder, "open", folder, "--gpu_ids", "-1")
    assert (done.returncode, done.stderr) == (0, "")
    experiment = actor.experiment("open")
    for kind in (*KINDS, "faces_aligned", "full_frames"):
        assert list(experiment.frames(kind)) == list(range(FRAMES)), kind
    face = read_image(experiment.frame_file("faces_aligned", 0))
    mask = read_image(actor.frame_file("masks_aligned", 0)) > 0
    assert face.shape == (256, 256, 3) and not face[~mask].any() and face[mask].std() > 0


def test_inputs_of_unchanged_parameters_are_those_of_the_source(actor: Actor) -> None:
    same = actor.experiment("same")
    shutil.copytree(actor.performances_folder, same.performances_folder)
    draw_inputs(actor, same)
    own, drawn = Faces.open(actor), Faces.open(actor, same)
    opened = actor.experiment("open")
    draw_inputs(actor, opened)
    changed = Faces.open(actor, opened)
    for frame in range(FRAMES):
        source, again = own.conditioning(frame), drawn.conditioning(frame)
        for rows in (slice(0, 3), slice(6, 10)):
            assert np.abs(source[rows].astype(int) - again[rows]).max() <= 1
        assert (source[3] != again[3]).mean() < 0.003  # pupils may be a pixel apart
        assert (np.abs(source.astype(int) - changed.conditioning(frame))[6] > 20).sum() > 100


def test_inputs_are_drawn_again_when_parameters_change(actor: Actor) -> None:
    experiment = actor.experiment("open")
    draw_inputs(actor, experiment)
    path = experiment.frame_file("nmfcs_aligned", 1)
    before, written = path.read_bytes(), path.stat().st_mtime_ns
    draw_inputs(actor, experiment)
    assert path.stat().st_mtime_ns == written
    video = actor.videos[0]
    shutil.copy(actor.performance_file(video), experiment.performance_file(video))
    draw_inputs(actor, experiment)
    assert path.read_bytes() != before


def test_a_killed_rendering_goes_on(actor: Actor, folder: Path) -> None:
    options = RenderOptions(actor.folder, "open", folder, gpu_ids="-1", precision="float32")
    render(options)
    experiment = actor.experiment("open")
    files = experiment.frames("faces_aligned")
    whole = {frame: read_image(path) for frame, path in files.items()}
    times = {frame: path.stat().st_mtime_ns for frame, path in files.items()}
    render(options)
    assert times == {frame: path.stat().st_mtime_ns for frame, path in files.items()}
    for frame in (2, 4):
        files[frame].unlink()
    (files[0].parent / ".000004.png.partial").write_bytes(b"half")
    render(options)
    again = {frame: path.stat().st_mtime_ns for frame, path in files.items()}
    assert {frame for frame in times if times[frame] != again[frame]} == {2, 3, 4}
    for frame, path in experiment.frames("faces_aligned").items():
        assert np.abs(read_image(path).astype(int) - whole[frame]).mean() < 1
    assert not list(files[0].parent.glob(".*"))
    write_checkpoints(folder, width=6)
    render(options)
    assert all(files[frame].stat().st_mtime_ns != again[frame] for frame in files)


def test_flame_codes_of_an_experiment_are_drawn(
    portrait: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from NED's .pkl files alone."""
    (tmp_path / "assets").mkdir()
    write_flame_files(tmp_path / "assets")
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "assets"))
    actor = Actor(tmp_path / "actor")
    (actor.folder / "videos").mkdir(parents=True)
    write_talking_clip(actor.folder / "videos" / "a.mp4", portrait, 0.12, (240, 240))
    preprocess(PreprocessOptions(actor.folder, "test", reconstructor="flame-fit"))
    codes = load_codes(actor)
    values = codes.manipulable
    values[:, 0] += 0.4
    experiment = actor.experiment("open")
    experiment.performances_folder.mkdir(parents=True)
    changed = codes.with_manipulated(values).performance()
    changed.save(experiment.performances_folder / "a.safetensors")
    export_codes(actor.folder, "open")
    (experiment.performances_folder / "a.safetensors").unlink()
    assert face_model_of(experiment) == face_model_of(actor) == "flame"
    draw_inputs(actor, experiment)
    changed, own = Faces.open(actor, experiment), Faces.open(actor)
    assert changed.frames == [0, 1, 2]
    apart = np.abs(changed.conditioning(1).astype(int) - own.conditioning(1))
    assert (apart[:3] > 20).any(0).sum() > 100  # the jaw hangs
    assert (apart[:3] > 20).any(0).mean() < 0.2


def test_own_frames_are_drawn_and_measured(tmp_path: Path) -> None:
    actor = write_actor(tmp_path / "actor", 8, 64, mouth=False)
    folder = tmp_path / "checkpoints"
    write_checkpoints(folder)
    record = {
        "actor": str(actor.folder.resolve()),
        "held_out": [5, 6, 7],
        "settings": {"size": 32},
        "face_model": None,
    }
    checkpoints.write_record(folder, record)
    words = ["--celeb", actor.folder, "--checkpoints_dir", folder, "--self", "--gpu_ids", "-1"]
    done = run(sys.executable, "renderer/test.py", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 held-out frames drawn by 20_net_G.pth" in done.stdout
    assert "dB around the mouth" in done.stdout and "flicker" in done.stdout
    drawn = actor.experiment("self").frames("faces_aligned")
    assert list(drawn) == [5, 6, 7] and read_image(drawn[6]).shape == (64, 64, 3)
    checkpoints.write_record(folder, {**record, "held_out": []})
    with pytest.raises(InputError, match="was trained on every frame"):
        render(RenderOptions(actor.folder, checkpoints_dir=folder, own=True))


def test_reconstruction_is_perfect_for_the_same_and_knows_where_it_is_not() -> None:
    random = np.random.default_rng(0)
    filmed = random.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[8:56, 8:56] = True
    mouth = np.array([32, 44])

    def scores(made: NDArray[np.uint8]) -> dict[str, float]:
        error = ReconstructionError()
        for one, other in zip(made, filmed, strict=True):
            error.add(one, other, mask, mouth)
        return error.scores()

    same = scores(filmed)
    assert same["psnr"] == same["mouth_psnr"] == np.inf and same["flicker"] == 0
    assert same["ssim"] == pytest.approx(1) and same["sharpness"] == pytest.approx(1)
    outside = filmed.copy()
    outside[:, :8] = 0
    assert scores(outside)["psnr"] == np.inf
    brow = filmed.copy()
    brow[:, 10:16, 10:50] = 255 - brow[:, 10:16, 10:50]
    assert scores(brow)["mouth_psnr"] == np.inf > scores(brow)["psnr"]
    off = np.clip(filmed, 10, 245) + np.array([-10, 10, -10], np.int16)[:, None, None, None]
    off = off.astype(np.uint8)
    assert scores(off)["flicker"] > 10 and 25 < scores(off)["psnr"] < 29
    soft = np.stack([np.full_like(one, 128) for one in filmed])
    assert scores(soft)["sharpness"] == 0


def test_renderers_of_another_face_or_layout_are_refused(actor: Actor, folder: Path) -> None:
    checkpoints.write_record(folder, {"face_model": "flame"})
    options = RenderOptions(actor.folder, "open", folder, gpu_ids="-1")
    with pytest.raises(InputError, match="was trained with the flame face"):
        render(options)
    (folder / "training.json").unlink()
    with pytest.raises(InputError, match="epoch 7 is not in"):
        render(dataclasses.replace(options, which_epoch="7"))
    with pytest.raises(InputError, match="nothing' does not exist"):
        render(dataclasses.replace(options, exp_name="nothing"))
    torch.save(Discriminator(4).state_dict(), folder / "20_net_G.pth")
    with pytest.raises(AssetError, match="is not a renderer's generator"):
        render(options)
    experiment = actor.experiment("open")
    assert not experiment.folder_of("faces_aligned").exists()
    actor.experiment("empty").folder.mkdir()
    with pytest.raises(InputError, match="holds no changed parameters"):
        render(dataclasses.replace(options, exp_name="empty"))


def test_pictures_of_other_tools_are_taken_as_they_are(actor: Actor, folder: Path) -> None:
    given = actor.experiment("given")
    for kind in KINDS:
        shutil.copytree(actor.folder_of(kind), given.folder_of(kind))
    path = given.frame_file("nmfcs_aligned", 0)
    write_image(path, np.zeros((256, 256, 3), np.uint8))
    before = path.read_bytes()
    lines = render(RenderOptions(actor.folder, "given", folder, gpu_ids="-1"))
    assert lines == [f"{given.folder_of('faces_aligned')}: {FRAMES} faces drawn by 20_net_G.pth"]
    assert path.read_bytes() == before
