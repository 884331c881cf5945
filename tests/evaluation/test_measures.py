"""Measures of speech, calm, pixels and pose on signals whose answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import mouth_opening
from numpy.typing import NDArray

from ned.evaluation import background, identity, pose, realism, speech, temporal
from ned.evaluation.bootstrap import correlation
from ned.evaluation.landmarks import LIP_PAIRS, STEADY, signals, steadied
from ned.evaluation.metric import Score
from ned.evaluation.region import FaceRegion
from ned.evaluation.sound import Sound
from ned.evaluation.speech import closure_limit, ground_truth_scores, lag_of, lag_scores, lip_scores
from ned.evaluation.temporal import jitter_scores

METRICS = (
    *speech.METRICS,
    *pose.METRICS,
    *identity.METRICS,
    *background.METRICS,
    *realism.METRICS,
    *temporal.METRICS,
)


@pytest.fixture(scope="module")
def face() -> NDArray[np.float32]:
    """(60, 478, 2) pixels of a made-up face that talks: lips part, the rest stands still."""
    generator = np.random.default_rng(4)
    points = np.repeat(generator.uniform(100, 300, (1, 478, 2)), 60, axis=0)
    points[:, 33], points[:, 263] = (150, 150), (250, 150)
    opening = 20 * np.abs(np.sin(np.arange(60) * 0.37))
    opening[opening < 6] = 0
    for upper, lower in LIP_PAIRS:
        points[:, upper] = points[:, lower] = (200, 250)
        points[:, lower, 1] += opening
    points[:, 152, 1] += opening  # the chin goes along
    return points.astype(np.float32)


def value(scores: list[Score], name: str) -> float:
    return next(score.value for score in scores if score.metric == name)


def test_every_metric_says_what_it_is():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.group in {"speech", "pose", "identity", "background", "realism", "temporal"}
        assert metric.title and metric.definition.endswith(".") and metric.source
        low, high = metric.range
        assert low < high
        assert metric.perfect is None or low <= metric.perfect <= high


def test_aperture_is_in_eye_distances(face: NDArray[np.float32]):
    opening = signals(face)["aperture"]
    assert opening.max() == pytest.approx(0.2, abs=0.002)
    assert opening.min() == 0
    np.testing.assert_allclose(signals(3 * face)["aperture"], opening, rtol=1e-4)


def test_lips_of_the_source_itself_are_perfect(face: NDArray[np.float32]):
    scores, skips = lip_scores(face, face, 10)
    perfect = {metric.name: metric.perfect for metric in speech.METRICS}
    assert [skip.metrics for skip in skips] == [("speech.width_r",)]  # its corners stand still
    for score in scores:
        assert score.value == pytest.approx(perfect[score.metric], abs=1e-9)


def test_frozen_lips_are_found(face: NDArray[np.float32]):
    open_frame = int(signals(face)["aperture"].argmax())
    frozen = np.repeat(face[open_frame][None], len(face), axis=0)
    scores, _ = lip_scores(face, frozen, 10)
    assert value(scores, "speech.closure_recall") == 0
    assert value(scores, "speech.aperture_r") == 0
    assert value(scores, "speech.aperture_error") > 3


def test_an_extra_closure_costs_precision_and_a_lost_one_recall(face: NDArray[np.float32]):
    opening = signals(face)["aperture"]
    limit = closure_limit(opening)
    assert limit is not None
    changed = face.copy()
    wide, shut = int(opening.argmax()), int(np.flatnonzero(opening < limit)[0])
    for upper, lower in LIP_PAIRS:
        changed[wide, lower] = changed[wide, upper]
    scores, _ = lip_scores(face, changed, 10)
    assert value(scores, "speech.closure_precision") < 1
    assert value(scores, "speech.closure_recall") == 1
    changed[wide] = face[wide]
    for upper, lower in LIP_PAIRS:
        changed[shut, lower] = changed[shut, upper] + (0, 18)
    scores, _ = lip_scores(face, changed, 10)
    assert value(scores, "speech.closure_precision") == 1
    assert value(scores, "speech.closure_recall") < 1


def test_silent_lips_are_skipped_with_a_reason(face: NDArray[np.float32]):
    still = np.repeat(face[:1], 40, axis=0)
    scores, skips = lip_scores(still, still, 10)
    skipped = {name for skip in skips for name in skip.metrics}
    assert {"speech.aperture_r", "speech.jaw_r", "speech.closure_f1"} <= skipped
    assert not skipped & {score.metric for score in scores}
    assert all(skip.reason for skip in skips)


def test_correlation_intervals_hold_the_value():
    generator = np.random.default_rng(0)
    one = generator.normal(size=200).cumsum()
    pairs = np.stack([one, one + generator.normal(size=200)], axis=1)
    from ned.evaluation.estimate import estimate

    score = estimate("speech.aperture_r", pairs, correlation, 12)
    assert score.low < score.value < score.high
    assert score.count == 200


@pytest.mark.parametrize("frames", [-2, -1, 0, 1, 3])
def test_a_planted_shift_of_the_sound_is_found(frames: int):
    rate, times = 25.0, np.arange(75) / 25.0
    lips = mouth_opening(times) + 0.01
    delay = frames / rate
    sounds = [_sound(lambda t: mouth_opening(t)), _sound(lambda t: mouth_opening(t - delay))]
    scores, _ = lag_scores((lips, sounds[0]), (lips, sounds[1]), times, rate)
    assert value(scores, "speech.audio_lag") == pytest.approx(frames, abs=0.25)


@pytest.mark.parametrize("frames", [-1, 1])
def test_a_planted_shift_of_the_lips_is_found(frames: int):
    rate, times = 25.0, np.arange(75) / 25.0
    sound = _sound(mouth_opening)
    late = mouth_opening(times - frames / rate)
    scores, _ = lag_scores((mouth_opening(times), sound), (late, sound), times, rate)
    assert value(scores, "speech.audio_lag") == pytest.approx(-frames, abs=0.25)
    assert value(scores, "speech.lip_sound_lag") == pytest.approx(-frames, abs=1.0)


def test_no_sound_and_other_words_are_skipped_with_a_reason():
    times = np.arange(75) / 25.0
    lips, sound = mouth_opening(times), _sound(mouth_opening)
    scores, skips = lag_scores((lips, sound), (lips, None), times, 25.0)
    assert not scores and "the result has no sound" in skips[0].reason
    other = np.random.default_rng(1).normal(size=75)
    scores, skips = lag_scores((lips, sound), (other, sound), times, 25.0)
    assert "the lips move too differently" in skips[0].reason


def test_a_flat_curve_has_no_lag():
    times = np.arange(40) / 25.0
    lag, alike = lag_of(np.ones(40), lambda t: np.sin(t), times)
    assert lag == 0 and math.isnan(alike)


def test_the_sound_of_a_clip_is_as_loud_as_its_mouth_is_open(talking_clip: Path):
    sound = Sound.open(talking_clip)
    assert sound is not None
    times = np.arange(50) / 25.0
    pairs = np.stack([sound.envelope(times), mouth_opening(times)], axis=1)
    assert correlation(pairs[None])[0] > 0.7


def test_ground_truth_distances_forget_where_the_head_is(face: NDArray[np.float32]):
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    elsewhere = 1.7 * face @ turn + (40, -30)
    follows = np.ones(len(face) - 1, bool)
    for score in ground_truth_scores(elsewhere, face, follows, 10):
        assert score.value == pytest.approx(0, abs=0.02)
    wider = face.copy()
    wider[:, 14] += (0, 10)
    scores = ground_truth_scores(wider, face, follows, 10)
    assert value(scores, "speech.m_lmd") > value(scores, "speech.f_lmd") > 0
    assert value(scores, "speech.m_lvd") == pytest.approx(0, abs=1e-6)  # it stays wider


def test_steadied_points_have_the_eyes_level(face: NDArray[np.float32]):
    turned = steadied(face @ np.array([[0.8, 0.6], [-0.6, 0.8]]))
    np.testing.assert_allclose(turned[:, 33, 1], turned[:, 263, 1], atol=1e-6)
    np.testing.assert_allclose(turned[:, list(STEADY)].mean(1), 0, atol=1e-9)


def test_jitter_is_the_ratio_of_planted_noise(face: NDArray[np.float32]):
    generator = np.random.default_rng(2)
    noise = generator.normal(size=(60, 478, 2)).astype(np.float32)
    still = np.repeat(face[:1], 60, axis=0)
    shots = np.zeros(60, np.int32)
    scores = jitter_scores(still + noise, still + 2 * noise, shots, 10)
    assert value(scores, "temporal.jitter_all") == pytest.approx(2, rel=0.02)
    cut = still + noise
    cut[30:] += 50
    shots[30:] = 1
    scores = jitter_scores(cut, cut, shots, 10)
    assert value(scores, "temporal.jitter_all") == 1


def test_pose_finds_a_planted_turn_and_shift(face: NDArray[np.float32]):
    depth = np.random.default_rng(3).normal(0, 30, (1, 478, 1)).astype(np.float32)
    solid = np.concatenate([face, np.repeat(depth, 60, axis=0)], axis=2)
    angle = math.radians(5)
    turn = np.array(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    )
    scores = pose.pose_scores(solid, solid @ turn.T.astype(np.float32), 10)
    assert value(scores, "pose.rotation") == pytest.approx(5, abs=0.01)
    scores = pose.pose_scores(solid, solid + np.float32([3, 4, 0]), 10)
    assert value(scores, "pose.translation") == pytest.approx(5, abs=0.01)  # eyes are 100 apart
    assert value(scores, "pose.rotation") == pytest.approx(0, abs=0.05)


def test_outside_is_everything_without_a_face():
    points = np.full((2, 478, 2), np.nan, np.float32)
    points[1] = np.random.default_rng(5).uniform(30, 60, (478, 2))
    region = FaceRegion([points], (120, 90))
    assert region.outside(0).all() and region.box(0) is None
    assert not region.outside(1)[45, 45] and region.outside(1)[2, 2]
    rows, columns = region.box(1) or (slice(0), slice(0))
    assert rows.start <= 30 and rows.stop >= 60 and columns.stop - columns.start >= 30


def _sound(opening) -> Sound:
    """Three seconds of noise as loud as a mouth is open."""
    times = np.arange(48000) / 16000.0
    noise = np.random.default_rng(6).normal(size=48000)
    samples = 0.3 * noise * opening(times)
    return Sound(np.concatenate([[0.0], np.cumsum(samples**2)]), 0.0)
