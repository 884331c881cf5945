"""Synthetic performances: labels, pairs, speech and repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from deca.rig import load_rig
from manipulator.data.measurement import Tracker, draw_errors, draw_visibility, measure
from manipulator.data.speech import Voice, closed, load_visemes, speak
from manipulator.data.synthetic import SyntheticSettings, make_performances
from manipulator.speech_lock import SpeechLock


@pytest.fixture(scope="module")
def rig():
    return load_rig()


@pytest.fixture(scope="module")
def performances(rig):
    return make_performances(32, rig, seed=5)


def test_takes_are_played_with_every_emotion(performances):
    settings = SyntheticSettings()
    first = performances[: len(settings.emotions)]
    assert tuple(p.emotion for p in first) == settings.emotions
    assert len({(p.take, p.actor, p.units.shape) for p in first}) == 1
    assert {p.take for p in performances} == {0, 1, 2, 3}


def test_measured_units_are_those_of_a_fit(performances, rig):
    for performance in performances:
        assert performance.units.dtype == np.float32
        assert performance.units.shape == (len(performance.intensity), len(rig))
        assert performance.units.min() >= 0 and np.isfinite(performance.units).all()
        assert 75 <= len(performance.units) <= 125


def test_the_same_seed_plays_the_same(performances, rig):
    again = make_performances(9, rig, seed=5)
    for one, other in zip(performances[:8], again, strict=False):
        np.testing.assert_allclose(one.units, other.units, atol=1e-4)  # batches differ
        np.testing.assert_array_equal(one.change, other.change)
    other = make_performances(8, rig, seed=6)
    assert other[0].units.shape != again[0].units.shape or not np.allclose(
        other[0].units, again[0].units
    )


def test_actors_of_other_numbers_are_other_people(rig):
    held_out = SyntheticSettings(actors=4, first_actor=1000)
    actors = {p.actor for p in make_performances(32, rig, 0, held_out)}
    assert actors <= set(range(1000, 1004)) and len(actors) > 1


def test_emotions_change_what_their_prototypes_name(performances, rig):
    def mean(emotion: str, unit: str) -> float:
        columns = list(rig.columns(unit))
        return float(
            np.mean([p.change[:, columns].mean() for p in performances if p.emotion == emotion])
        )

    assert mean("happy", "corner_pull") > 0.3 > mean("angry", "corner_pull")
    assert mean("angry", "brow_lower") > 0.4 > mean("happy", "brow_lower")
    assert mean("surprised", "upper_lid_raise") > 0.4
    for performance in performances:
        if performance.emotion == "neutral":
            assert not performance.change.any()
            # two products of other sizes: BLAS may round them otherwise
            np.testing.assert_allclose(performance.units, performance.neutral, atol=1e-4)


def test_lips_shut_and_do_not_pass_through_each_other(rig):
    opening = SpeechLock(rig).functionals[:-2].mean(0)
    units = np.abs(np.random.default_rng(0).normal(0, 0.4, (200, len(rig)))).astype(np.float32)
    shut = np.repeat(np.array([0, 1], np.float32), 100)
    gap = closed(units, shut, rig) @ opening
    assert gap.min() > -1e-5
    np.testing.assert_allclose(gap[100:], 0, atol=1e-5)
    assert gap[:100].max() > 0.05


def test_speech_moves_jaw_and_lips_together_and_closes(rig):
    generator = np.random.default_rng(3)
    speech = speak(500, Voice.of_somebody(rig, generator), rig, generator)
    opening = speech.units @ SpeechLock(rig).functionals[:-2].mean(0)
    jaw = speech.units[:, rig.index["jaw_open"]]
    assert np.corrcoef(opening, jaw)[0, 1] > 0.6
    shut = opening < 0.02
    assert 3 <= (np.diff(shut.astype(int)) == 1).sum() <= 80
    assert opening[speech.shut > 0.99].max() < 0.05
    assert not speech.units[:, rig.index["inner_brow_raise_left"]].any()
    assert set(load_visemes(rig)) == {"vowels", "consonants", "rest"}


def test_visibility_shows_a_share_of_an_emotion_and_mixes_it_up(rig):
    generator = np.random.default_rng(0)
    smile = np.zeros((1, len(rig)), np.float32)
    smile[0, list(rig.columns("corner_pull"))] = 1
    clear = draw_visibility(Tracker(0, 0, 0, 0), rig, generator).shown(smile)
    np.testing.assert_array_equal(clear, smile)
    for _ in range(5):
        visibility = draw_visibility(
            Tracker(0, 0, 0, 0, seen=0.3, uneven=0.2, mixing=0.5), rig, generator
        )
        shown = visibility.shown(smile)[0]
        assert 0.1 < shown[rig.index["corner_pull_left"]] < 0.8
        assert shown[list(rig.columns("nose_wrinkle"))].min() >= 0
        assert not shown[[name.startswith("jaw_") for name in rig.names]].any()
        assert shown.max() < 0.8 and np.count_nonzero(shown) > 2


def test_faint_clips_show_less_of_the_same_emotion(rig):
    sizes = {}
    for faint in (0.0, 1.0):
        made = make_performances(16, rig, 3, SyntheticSettings(faint=faint))
        sizes[faint] = [p.intensity.mean() for p in made if p.emotion != "neutral"]
    assert max(sizes[1.0]) < np.median(sizes[0.0])


def test_a_perfect_tracker_finds_the_expression(rig):
    truth = np.zeros((40, len(rig)), np.float32)
    truth[10:30, rig.index["corner_pull_left"]] = 1
    truth[10:30, rig.index["corner_pull_right"]] = 1
    generator = np.random.default_rng(0)
    perfect = draw_errors(40, Tracker(0, 0, 0, 0), rig, generator)
    found = measure([truth], [perfect], rig)[0]
    assert np.abs(rig.displacement(found - truth)).max() < 0.03
    absorbing = draw_errors(40, Tracker(0, 0, 0, 0.5), rig, generator)
    less = measure([np.ones_like(truth) * truth[20]], [absorbing], rig)[0]
    assert less[20, rig.index["corner_pull_left"]] == pytest.approx(0.5, abs=0.15)
