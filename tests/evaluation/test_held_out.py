"""Frames made from each other: what is measured, and that the benchmark measures it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

# At the end: a benchmark may have the name of the room that it measures.
from benchmarks import reenactment as benchmark
from ned.commands.preprocess import preprocess
from ned.commands.render import render
from ned.commands.train_hybrid import train_hybrid
from ned.core.errors import InputError
from ned.core.files.actor import Actor
from ned.evaluation.gradient_similarity import gradient_deviation
from ned.evaluation.held_out import SIZE, HeldOut
from ned.options.preprocess import PreprocessOptions
from ned.options.render import RenderOptions
from ned.options.train_hybrid import TrainHybridOptions
from renderer.neural.actor_network import ActorNetwork

COUNT = 32  # frames


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def actor(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Actor:
    """The talking portrait, which moves to the right and turns, preprocessed."""
    folder = tmp_path_factory.mktemp("actor")
    (folder / "videos").mkdir()

    def change(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        import cv2

        turned = cv2.getRotationMatrix2D((120, 120), 0.25 * index, 1 + 0.002 * index)
        turned[0, 2] += 0.8 * index
        edge = cv2.BORDER_REFLECT
        return cv2.warpAffine(image, turned, (240, 240), borderMode=edge)  # type: ignore

    write_talking_clip(folder / "videos" / "a.mp4", portrait, COUNT / 25, (240, 240), change=change)
    preprocess(PreprocessOptions(folder, "test"))
    return Actor(folder)


@pytest.fixture(scope="module")
def hybrid(actor: Actor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hybrid renderer after one step."""
    folder = tmp_path_factory.mktemp("hybrid")
    train_hybrid(
        TrainHybridOptions(actor.videos, folder, steps=1, size=64, held_out=0.25, gpu_ids="-1")
    )
    return folder


def test_filmed_faces_come_near_and_still_ones_do_not(actor: Actor, tmp_path: Path) -> None:
    held_out = HeldOut.open(actor, None)
    assert held_out.number.tolist() == list(range(COUNT))
    assert held_out.footage.pictures.shape[1] == SIZE
    filmed = held_out.drawn(actor)
    assert filmed["psnr"] > 30 and filmed["gmsd"] < 0.05 and 0.8 < filmed["sharpness"] < 1.05
    still = actor.experiment(tmp_path.name)
    still.folder_of("faces_aligned").mkdir(parents=True)
    for frame in range(COUNT):
        shutil.copy(actor.frame_file("faces_aligned", 5), still.frame_file("faces_aligned", frame))
    frozen = held_out.drawn(still)
    assert frozen["mouth_psnr"] < filmed["mouth_psnr"] - 5 and frozen["gmsd"] > filmed["gmsd"]
    assert frozen["flicker"] > filmed["flicker"]


def test_frames_made_from_each_other(actor: Actor) -> None:
    held_out = HeldOut.open(actor, 0.5)
    assert held_out.number.tolist() == list(range(COUNT // 2, COUNT))
    scores = held_out.moved(seed=1)
    assert held_out.moved(seed=1) == pytest.approx(scores, rel=1e-5)
    assert held_out.moved(seed=2)["psnr"] != scores["psnr"]
    assert held_out.moved(seed=2)["flicker"] == pytest.approx(scores["flicker"], rel=1e-5)
    assert 20 < scores["psnr"] < 50 and 0.8 < scores["ssim"] < 1


def test_what_cannot_be_compared_is_refused(actor: Actor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 0 held-out frames that show a face; two or more"):
        HeldOut.open(actor, 0.01)
    shutil.copytree(actor.folder, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "DECA")
    with pytest.raises(InputError, match="is not preprocessed with the rig"):
        HeldOut.open(Actor(tmp_path / "bare"), 0.5)


def test_a_hybrid_s_own_frames_are_made_and_measured(actor: Actor, hybrid: Path) -> None:
    lines = render(RenderOptions(actor.folder, checkpoints_dir=hybrid, own=True, gpu_ids="-1"))
    assert lines[0] == f"{hybrid}: {COUNT // 4} held-out frames, each made of another one"
    assert lines[1].startswith("PSNR ") and "by the warp alone: PSNR" in lines[2]
    with pytest.raises(InputError, match="holds no renderer"):
        ActorNetwork.load(hybrid)


def test_deviation_of_gradients_is_the_published_one() -> None:
    """Half of the picture is the same, half has lost a slope of 8 grey levels per pixel."""
    slope, steady = 2 * 8 * 2, 170  # halved pictures have twice the slope; Prewitt spans two pixels
    first = np.minimum(np.arange(64), 32) * 8.0 * np.ones((64, 1))
    first, second = first.astype(np.float32), np.zeros((64, 64), np.float32)
    inside = np.zeros((64, 64), bool)
    inside[8:56, 8:56] = True
    inside[:, 28:36] = False
    similar = steady / (slope**2 + steady)
    assert gradient_deviation(first, second, inside) == pytest.approx((1 - similar) / 2, rel=1e-4)
    assert gradient_deviation(first, first) == 0
    assert np.isnan(gradient_deviation(first, second, np.zeros((64, 64), bool)))


def test_benchmark_measures_every_renderer_and_trains_once(
    actor: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clips = actor.videos[0].parent
    words = ["reenactment.py", "--clips", "a", "--clips-folder", clips, "--minutes", "0.001"]
    words += ["--width", "4", "--size", "32", "--threads", "1"]
    words += ["--folder", tmp_path / "work", "--json"]
    words += [tmp_path / "rows.json", "--renderers", "warp", "neural"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    benchmark.main()
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["renderer"], row["frames"]) for row in rows] == [("warp", 8), ("neural", 8)]
    assert all(np.isfinite(row["psnr"]) and row["gmsd"] > 0 for row in rows)
    assert rows[0]["psnr"] > rows[1]["psnr"] > 3 and rows[1]["minutes"] == 0.001
    shown = capsys.readouterr().out
    assert "| a | warp | " in shown and "| a | neural | " in shown
    networks = list((tmp_path / "work" / "a").glob("neural-*"))
    times = [path.stat().st_mtime_ns for path in networks[0].glob("*.pth")]
    benchmark.main()
    assert times == [path.stat().st_mtime_ns for path in networks[0].glob("*.pth")]
    assert [row["clip"] for row in json.loads((tmp_path / "rows.json").read_text())] == ["a", "a"]
