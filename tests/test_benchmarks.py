"""The measures of the benchmarks themselves: on signals whose answer is known."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import footage
import quality
import table


def test_closures_counts_the_same_frames_and_wants_a_speaking_mouth() -> None:
    source = np.tile([0.01, 0.2, 0.2, 0.2, 0.2], 4)
    f1, closed = quality.closures(source, source)
    assert (f1, closed) == (1.0, 4)
    half = source.copy()
    half[:10] = 0.2
    assert quality.closures(source, half)[0] == pytest.approx(2 / 3)
    assert np.isnan(quality.closures(0.1 * source, source)[0])


def test_correlation_is_silent_where_nothing_moves() -> None:
    moving = np.linspace(0, 1, 20)
    assert quality.correlation(moving, 2 * moving + 1) == pytest.approx(1)
    assert np.isnan(quality.correlation(np.full(20, 0.3), moving))


def test_unrest_ignores_steady_motion_and_cuts() -> None:
    points = np.zeros((8, 478, 2))
    points[:, 263, 0] = 10.0
    points += np.arange(8)[:, None, None]  # at constant speed
    shots, usable = np.zeros(8, int), np.ones(8, bool)
    assert quality.unrest(points, points, shots, usable) == pytest.approx(0)
    points[4:] += 50  # a jump, which is a cut
    assert quality.unrest(points, points, shots, usable) > 1
    shots[4:] = 1
    assert quality.unrest(points, points, shots, usable) == pytest.approx(0)


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
