"""The benchmarks themselves: their footage, their tables, and one result measured on the way."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

# At the end: a benchmark may have the name of the room that it measures.
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import footage
import quality
import table

from evaluation.region import FaceRegion


def row(clip: str, emotion: str, value: float) -> dict[str, object]:
    """What quality.py knows of a result, every measure the same."""
    names = [*quality.SCORES, "gain", "source", "meant", "meant_closures", "closed"]
    names += ["aperture_moves", "jaw_moves", "face"]
    fixed = {"clip": clip, "emotion": emotion, "exact": True, "seen": 3, "lost": 0}
    return dict.fromkeys(names, value) | fixed


def test_quality_scores_directed_clips_with_the_evaluation_room(
    portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    clip = tmp_path / "talking.mp4"
    write_talking_clip(clip, portrait, seconds=0.56, size=(240, 240))
    job = quality.ClipJob(clip, tmp_path, None, ("happy",), 0, "ultrafast", 1.0)
    plain, happy = quality.measure_clip(job)
    assert (plain["emotion"], happy["emotion"]) == (quality.UNEDITED, "happy")
    for found in (plain, happy):
        assert found["seen"] == 14 and found["lost"] == 0 and found["exact"] is True
        assert found["outside"] > 35 and found["aperture"] > 0.9
        assert "gain" not in found  # nobody judged
    assert plain["aperture"] > happy["aperture"] and plain["meant"] == pytest.approx(1)
    assert 0.99 < happy["meant"] < 1
    (tmp_path / "talking_happy.mp4").unlink()
    assert quality.measure_clip(job) == [plain, happy]  # known, not made again
    assert not (tmp_path / "talking_happy.mp4").exists()
    text = quality.report({"machine": "a machine", "rows": [plain, happy]})
    assert "| talking | happy | 14 | 0 |" in text


def test_planes_may_differ_inside_the_face_only() -> None:
    points = np.random.default_rng(0).uniform(100, 140, (1, 478, 2)).astype(np.float32)
    region = FaceRegion([points], (240, 240))
    planes = tuple(np.zeros(shape, np.uint8) for shape in ((240, 240), (120, 120), (120, 120)))
    source = SimpleNamespace(index=0, planes=planes)
    edited = SimpleNamespace(index=0, planes=tuple(plane.copy() for plane in planes))
    edited.planes[0][120, 120] = 1
    edited.planes[1][60, 60] = 1
    assert quality.same_outside(region, source, edited)
    edited.planes[2][2, 2] = 1
    assert not quality.same_outside(region, source, edited)


def test_small_faces_count_in_the_targets() -> None:
    rows = [row("talk_512", "happy", 1.0), row("four_faces", "happy", 0.5)]
    rows += [row("portrait_sad_512", "happy", 0.0), row("four_faces", quality.UNEDITED, 0.0)]
    found = {name: value for name, value, _, _ in quality.targets(rows)}
    assert found["aperture, mean of the talking clips"] == pytest.approx(0.75)
    assert found["aperture, least of the talking clips"] == pytest.approx(0.5)
    assert found["jitter, mean"] == pytest.approx(0.5)
    assert found["judges' gain of happy, mean of the clips"] == pytest.approx(0.5)
    assert np.isnan(found["judges' gain of sad, mean of the clips"])


def test_repeated_footage_is_as_long_as_asked(tmp_path: Path) -> None:
    import av

    source, target = tmp_path / "source.mp4", tmp_path / "target.mp4"
    footage.write_portrait_clip(source, seconds=0.6, size=(160, 120))
    footage.write_length(source, target, seconds=2.0)
    with av.open(str(target)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    assert 45 <= len(times) <= 50
    assert all(later > sooner for sooner, later in pairwise(times))


def test_tables_show_what_is_missing_as_a_dash() -> None:
    text = table.markdown(["name", "value"], [["a", 0.5], ["b", float("nan")]])
    assert text.splitlines() == ["| name | value |", "|---|---:|", "| a | 0.5 |", "| b | - |"]
