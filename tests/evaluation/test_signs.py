"""Signs, sides and units of metrics whose best is zero, where the value is known beforehand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ned.evaluation.background import Background
from ned.evaluation.classifier import Affect
from ned.evaluation.emotion import affect_scores, target_scores
from ned.evaluation.frame_pair import FACE_SIDE
from ned.evaluation.lip_sync import Sync, lip_sync_scores
from ned.evaluation.metric import Score
from ned.evaluation.pose import pose_scores
from ned.evaluation.realism import Realism
from ned.evaluation.result import Labels
from ned.evaluation.temporal import Calm, jitter_scores

Picture = NDArray[np.float32]


def value(scores: list[Score], metric: str) -> float:
    return next(score.value for score in scores if score.metric == metric)


def frame(source: Picture, result: Picture, index: int = 0) -> Any:
    """What a frame pair shows, all of it face."""
    size = (FACE_SIDE, FACE_SIDE)
    faces = tuple(
        cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (source, result)
    )
    colours = tuple(np.repeat(i[..., None], 3, 2).astype(np.uint8) for i in (source, result))
    everything = (slice(None), slice(None))
    return SimpleNamespace(
        index=index, lumas=(source, result), faces=faces, face=everything, colours=colours
    )


@pytest.fixture
def picture() -> Picture:
    noise = np.random.default_rng(0).normal(0, 1, (FACE_SIDE, FACE_SIDE)).astype(np.float32)
    return 128 + 200 * cv2.GaussianBlur(noise, (0, 0), 3)


# Picture


@pytest.mark.parametrize(("contrast", "octaves"), [(0.5, -1.0), (1.0, 0.0), (2.0, 1.0)])
def test_sharpness_is_in_octaves_and_below_zero_for_a_softer_result(
    picture: Picture, contrast: float, octaves: float
) -> None:
    look = Realism()
    look.add(frame(picture, 128 + contrast * (picture - 128)), False)
    assert value(look.scores(1, 1), "realism.sharpness") == pytest.approx(octaves, abs=1e-4)


@pytest.mark.parametrize("levels", [1.0, -1.0, 2.0])
def test_differences_of_known_levels(picture: Picture, levels: float) -> None:
    region = SimpleNamespace(outside=lambda index: np.ones(picture.shape, bool))
    outside, look = Background(region), Realism()  # type: ignore[arg-type]
    pair = frame(picture, picture + np.float32(levels))
    outside.add(pair, False)
    look.add(pair, False)
    wanted = 20 * np.log10(255 / abs(levels))
    assert value(outside.scores(1, 1), "background.psnr") == pytest.approx(wanted, abs=1e-3)
    assert value(outside.scores(1, 1), "background.difference") == pytest.approx(abs(levels), 1e-3)
    assert value(look.scores(1, 1), "realism.psnr") == pytest.approx(wanted, abs=1e-3)


def test_flicker_is_the_second_difference_in_percent(picture: Picture) -> None:
    calm = Calm(np.zeros(9, np.int32))
    for index in range(9):
        calm.add(frame(picture, picture + np.float32(2.55 * (index % 2)), index))
    scores = calm.scores(1)
    # one per cent up and down: the second difference is two
    assert value(scores, "temporal.flicker") == pytest.approx(2.0, rel=1e-3)
    assert value(scores, "temporal.warping_error") == pytest.approx(1.0, abs=0.15)


def test_a_calmer_result_has_a_warping_error_below_zero(picture: Picture) -> None:
    calm = Calm(np.zeros(9, np.int32))
    for index in range(9):
        calm.add(frame(picture + np.float32(2.55 * (index % 2)), picture, index))
    assert value(calm.scores(1), "temporal.warping_error") < -0.8


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_jitter_is_the_result_s_over_the_source_s(factor: float) -> None:
    generator = np.random.default_rng(1)
    still = np.repeat(generator.uniform(0, 200, (1, 478, 2)), 30, axis=0)
    noise = generator.normal(0, 1, still.shape)
    scores = jitter_scores(still + noise, still + factor * noise, np.zeros(30, np.int32), 5)
    assert value(scores, "temporal.jitter_all") == pytest.approx(factor, rel=1e-6)


# Head


def test_a_grown_and_moved_head_is_told_in_its_unit() -> None:
    generator = np.random.default_rng(2)
    points = np.repeat(generator.normal(0, 60, (1, 478, 3)), 8, axis=0)
    same = pose_scores(points, points, 1)
    assert all(score.value == pytest.approx(0, abs=1e-5) for score in same)
    middle = points.mean(1, keepdims=True)
    grown = pose_scores(points, middle + 1.1 * (points - middle), 1)
    shrunk = pose_scores(points, middle + (points - middle) / 1.1, 1)
    for scores in (grown, shrunk):  # of either sign
        assert 8.5 < value(scores, "pose.scale") < 10.6
        assert value(scores, "pose.rotation") == pytest.approx(0, abs=1e-3)


# Emotion


def table(*rows: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_a_change_is_the_result_less_the_source() -> None:
    before, after = table((0.2, 0.8), (0.4, 0.6)), table((0.9, 0.1), (0.7, 0.3))
    labels = Labels("a", ("happy", "sad"), before, after)
    assert value(target_scores([labels], "happy")[0], "emotion.change") == pytest.approx(0.5)
    assert value(target_scores([labels], "sad")[0], "emotion.change") == pytest.approx(-0.5)
    unpaired, _ = target_scores([labels], "happy", paired=False)
    assert value(unpaired, "emotion.change") == pytest.approx(0.5)


def test_valence_and_arousal_rise_where_the_result_has_more() -> None:
    none = np.zeros((2, 2), np.float32)

    def affect(valence: float, arousal: float) -> Affect:
        return Affect(none, np.full(2, valence, np.float32), np.full(2, arousal, np.float32))

    scores, _ = affect_scores("a", affect(-0.5, 0.5), affect(0.25, 0.25), affect(1.0, 0.0))
    assert value(scores, "emotion.valence_change") == pytest.approx(0.75)
    assert value(scores, "emotion.arousal_change") == pytest.approx(-0.25)
    assert value(scores, "emotion.valence_delta") == pytest.approx(0.5)
    assert value(scores, "emotion.arousal_delta") == pytest.approx(0.5)


# Lips


def sync(best: int, least: float) -> Sync:
    """Distances of 10 everywhere but at one shift."""
    distances = np.full((40, 31), 10.0, np.float32)
    distances[:, best] = least
    return Sync(distances)


def test_lip_sync_changes_are_the_result_less_the_source() -> None:
    scores, _ = lip_sync_scores(sync(13, 7.0), sync(15, 6.0))
    assert value(scores, "speech.lse_d") == 7
    assert value(scores, "speech.lse_d_change") == 1  # worse, and lower is better
    assert value(scores, "speech.lse_c") == 3
    assert value(scores, "speech.lse_c_change") == -1  # worse, and higher is better
    assert value(scores, "speech.sync_offset") == 2  # the smallest with sound two pictures earlier
