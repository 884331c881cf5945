"""Cuts: what is measured over time is not measured across cuts, gaps, or other films."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ned.evaluation.frame_pair import FACE_SIDE
from ned.evaluation.metric import Score
from ned.evaluation.temporal import Calm, jitter_scores


def value(scores: list[Score], name: str) -> float:
    (found,) = [score.value for score in scores if score.metric == name]
    return found


def smooth(seed: int) -> np.ndarray:
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (FACE_SIDE, FACE_SIDE)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 8)
    return ((blurred - blurred.min()) / np.ptp(blurred) * 200).astype(np.float32)


def looked_at(shots: list[int], lift: dict[int, float], absent: tuple[int, ...] = ()) -> Calm:
    """Still faces of one look per shot; the result is lighter by `lift` of its shot."""
    calm = Calm(np.array(shots, np.int32))
    for index, shot in enumerate(shots):
        faces: Any = None
        if index not in absent:
            source = smooth(shot)
            faces = (source, source + lift.get(shot, 0.0))
        calm.add(SimpleNamespace(index=index, faces=faces))  # type: ignore[arg-type]
    return calm


def test_an_edit_that_differs_between_shots_does_not_flicker() -> None:
    scores = looked_at([0] * 5 + [1] * 5, {0: 0.0, 1: 40.0}).scores(5)
    assert value(scores, "temporal.flicker") == 0
    assert value(scores, "temporal.warping_error") == pytest.approx(0, abs=1e-3)


def test_the_same_edit_within_one_shot_flickers() -> None:
    calm = Calm(np.zeros(10, np.int32))
    for index in range(10):
        source = smooth(0)
        pair = SimpleNamespace(index=index, faces=(source, source + 40.0 * (index >= 5)))
        calm.add(pair)  # type: ignore[arg-type]
    scores = calm.scores(5)
    # a step of 40 bends two of eight triples by 40: its root mean square is half of that
    assert value(scores, "temporal.flicker") == pytest.approx(20 / 255 * 100, rel=1e-3)
    assert value(scores, "temporal.warping_error") > 1


def test_frames_without_a_face_break_the_sequence() -> None:
    assert looked_at([0] * 5, {}, absent=(2,)).scores(5) == [] or not any(
        score.metric == "temporal.flicker" for score in looked_at([0] * 5, {}, (2,)).scores(5)
    )
    skipping = Calm(np.zeros(12, np.int32))
    for index in (0, 1, 5, 6, 10, 11):  # frames that were not looked at
        source = smooth(0)
        pair = SimpleNamespace(index=index, faces=(source, source + 5.0 * index))
        skipping.add(pair)  # type: ignore[arg-type]
    assert not any(score.metric == "temporal.flicker" for score in skipping.scores(5))


@pytest.mark.parametrize("shots", [[0] * 6 + [1] * 6, [0] * 5 + [1] + [2] * 6])
def test_jitter_is_not_taken_across_cuts(shots: list[int]) -> None:
    generator = np.random.default_rng(1)
    source = 100 * generator.random((1, 478, 2)) + generator.normal(size=(12, 478, 2))
    result = source.copy()
    result += 30 * np.array(shots)[:, None, None]  # another place in every shot
    scores = jitter_scores(source, result, np.array(shots, np.int32), 6)
    assert value(scores, "temporal.jitter_all") == pytest.approx(1, rel=1e-6)
    scores = jitter_scores(source, result, np.zeros(12, np.int32), 6)
    assert value(scores, "temporal.jitter_all") > 3


def test_jitter_is_not_taken_across_gaps() -> None:
    generator = np.random.default_rng(1)
    source = 100 * generator.random((1, 478, 2)) + generator.normal(size=(12, 478, 2))
    result = source.copy()
    result[7:] += 30
    result[6] = np.nan
    scores = jitter_scores(source, result, np.zeros(12, np.int32), 6)
    assert value(scores, "temporal.jitter_all") == pytest.approx(1, rel=1e-6)
