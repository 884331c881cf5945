"""Frames made from each other: what is measured, and that the benchmark measures it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_talking_clip
from numpy.typing import NDArray

# At the end: a benchmark may have the name of the room that it measures.
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import reenactment as benchmark

from evaluation.gradient_similarity import gradient_deviation
from ned.core.actor import Actor
from ned.core.clip import Clip, Frame
from ned.core.errors import InputError
from ned.core.performance import Performance
from ned.options.preprocess import PreprocessOptions
from ned.preprocess import preprocess
from ned.reenactment import APART, moved_by, reenact, sources
from renderer.warp import WarpRenderer

COUNT = 16  # frames


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Several threads wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def actor(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Actor:
    """The talking portrait, which moves to the right and turns, preprocessed."""
    folder = tmp_path_factory.mktemp("actor")
    (folder / "videos").mkdir()

    def change(image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        import cv2

        turned = cv2.getRotationMatrix2D((120, 120), 0.5 * index, 1 + 0.004 * index)
        turned[0, 2] += 1.5 * index
        edge = cv2.BORDER_REFLECT
        return cv2.warpAffine(image, turned, (240, 240), borderMode=edge)  # type: ignore

    write_talking_clip(folder / "videos" / "a.mp4", portrait, COUNT / 25, (240, 240), change=change)
    preprocess(PreprocessOptions(folder, "test"))
    return Actor(folder)


def test_sources_lie_apart_where_they_can() -> None:
    times = np.arange(40) / 25
    chosen = sources(times, np.random.default_rng(0))
    assert all(abs(times[k] - times[chosen[k]]) >= APART for k in range(40))
    assert len(set(chosen)) > 15 and chosen == sources(times, np.random.default_rng(0))
    assert sources(times[:5], np.random.default_rng(0)) == [4, 4, 0, 0, 0]


def test_a_perfect_move_has_no_errors_and_none_at_all_has_many(actor: Actor) -> None:
    frames = list(range(COUNT))
    filmed = [
        dataclasses.replace(f, planes=tuple(p.copy() for p in f.planes), picture=None)  # type: ignore
        for f in Clip.open(actor.videos[0]).frames()
    ]

    def perfect(frame: Frame, performance: Performance, source: int, target: int) -> Frame:
        assert frame.index == source
        return filmed[target]

    def none(frame: Frame, performance: Performance, source: int, target: int) -> Frame:
        return frame

    right = reenact(actor, frames, perfect)
    assert right["psnr"] > 60 and right["gmsd"] < 1e-3 and right["flicker"] < 0.1
    whole = reenact(actor, frames, moved_by(lambda planes, *_: planes))
    warp = reenact(actor, frames, moved_by(WarpRenderer().render))
    still = reenact(actor, frames, none)
    assert still["psnr"] + 3 < whole["psnr"] < warp["psnr"] < right["psnr"]
    assert still["flicker"] > whole["flicker"] > warp["flicker"]
    assert still["gmsd"] > whole["gmsd"] > warp["gmsd"]
    assert warp["mouth_psnr"] > whole["mouth_psnr"] + 1
    again = reenact(actor, frames, moved_by(WarpRenderer().render))
    assert again == pytest.approx(warp, rel=1e-5)
    with pytest.raises(InputError, match="1 frames to make from each other; two or more"):
        reenact(actor, [3], none)


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
    assert [(row["renderer"], row["frames"]) for row in rows] == [("warp", 4), ("neural", 4)]
    assert all(np.isfinite(row["psnr"]) and row["gmsd"] > 0 for row in rows)
    assert rows[0]["psnr"] > rows[1]["psnr"] > 3 and rows[1]["minutes"] == 0.001
    shown = capsys.readouterr().out
    assert "| a | warp | " in shown and "| a | neural | " in shown
    networks = list((tmp_path / "work" / "a").glob("neural-*"))
    times = [path.stat().st_mtime_ns for path in networks[0].glob("*.pth")]
    benchmark.main()
    assert times == [path.stat().st_mtime_ns for path in networks[0].glob("*.pth")]
    assert [row["clip"] for row in json.loads((tmp_path / "rows.json").read_text())] == ["a", "a"]
