"""Directing: what the emotions do over time, what they leave alone, and that it can be repeated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from acted_faces import acted, bump, improvised, units_from
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from manipulator import activity, directing, dynamics
from manipulator.directing import direct_performance
from manipulator.director import Directed, Direction
from manipulator.directors import DIRECTORS, open_director
from manipulator.manipulator_settings import ManipulatorSettings
from manipulator.prototypes import find_prototype, load_prototypes
from manipulator.styles import ReferenceDirector, style_from
from ned.core.errors import InputError, NoFaceError
from ned.core.face.performance import Performance
from ned.core.script.timeline import Timeline

EMOTIONS = tuple(load_prototypes())
SHOWN = tuple(name for name in EMOTIONS if name != "neutral")


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def talker(rig: Rig) -> Performance:
    """Four seconds of syllables with a passing frown and a blink, by a face at rest."""
    count = 100
    syllables = 0.4 * np.sin(np.arange(count) * 0.6) ** 2
    return acted(
        units_from(
            rig,
            count,
            {
                "jaw_open": syllables,
                "lips_part_lower": syllables / 2,
                "brow_lower": bump(count, 70, 3, 0.6),
                "lid_close": bump(count, 40, 1.5, 1.0),
            },
        )
    )


def show(performance: Performance, emotion: str, weight: float = 1.0, **wishes: object) -> Directed:
    direction = Direction(Timeline.constant({emotion: weight}), **wishes)  # type: ignore[arg-type]
    return direct_performance(performance, direction, load_rig())


def level(rig: Rig, units: NDArray[np.float32], unit: str) -> float:
    """Mean activation of both sides of a unit."""
    return float(units[:, list(rig.columns(unit))].mean())


# Dynamics


def test_smooth_keeps_constants_and_totals() -> None:
    constant = np.full((30, 2), 0.7, np.float32)
    np.testing.assert_allclose(dynamics.smooth(constant, 4), constant, atol=1e-6)
    impulse = np.zeros((101, 1), np.float32)
    impulse[50] = 1
    soft = dynamics.smooth(impulse, 4)
    assert soft.sum() == pytest.approx(1, abs=1e-4)
    spread = np.sqrt((soft[:, 0] * (np.arange(101) - 50) ** 2).sum())
    assert spread == pytest.approx(4, rel=0.05)
    single = np.ones((1, 3), np.float32)
    assert np.array_equal(dynamics.smooth(single, 9), single)
    assert np.array_equal(dynamics.smooth(impulse, 0.0), impulse)


def test_sustained_removes_what_passes_and_keeps_what_lasts() -> None:
    blink = bump(100, 50, 2)[:, None].astype(np.float32)
    assert dynamics.sustained(blink, 17).max() < 0.05
    frames = np.arange(100)
    plateau = ((frames >= 20) & (frames < 80))[:, None].astype(np.float32)
    kept = dynamics.sustained(plateau, 17)
    np.testing.assert_allclose(kept[45:55], 1, atol=1e-3)
    assert kept[:5].max() < 0.05
    both = dynamics.sustained(np.maximum(blink * 2, 0.4).astype(np.float32), 17)
    np.testing.assert_allclose(both, 0.4, atol=0.03)
    constant = np.full((7, 3), 0.3, np.float32)
    np.testing.assert_allclose(dynamics.sustained(constant, 17), constant, atol=1e-6)


def test_lowest_is_a_running_minimum() -> None:
    values = np.array([[3, 1, 2, 5, 4, 6]], np.float32).T
    assert dynamics.lowest(values, 3)[:, 0].tolist() == [1, 1, 1, 2, 4, 4]
    assert np.array_equal(dynamics.lowest(values, 1), values)


@pytest.mark.parametrize("seed", range(5))
def test_wave_swells_and_ebbs(seed: int) -> None:
    times = np.arange(1000) / 50
    values = dynamics.wave(times, 0.5, 1.0, np.random.default_rng(seed))
    assert values.shape == (1000,)
    assert values.min() >= 0
    assert values.max() <= 1
    assert values[0] == pytest.approx(1)
    assert values.min() < 0.6
    assert np.abs(np.diff(values)).max() < 0.1  # no jump, at 50 frames per second
    again = dynamics.wave(times, 0.5, 1.0, np.random.default_rng(seed))
    assert np.array_equal(values, again)


@pytest.mark.parametrize("count", [1, 2])
def test_wave_of_almost_nothing(count: int) -> None:
    times = np.arange(count) / 25
    values = dynamics.wave(times, 0.5, 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(values, 1, atol=1e-6)


def test_wave_has_the_same_shape_at_any_frame_rate() -> None:
    fine = dynamics.wave(np.arange(600) / 60, 0.5, 1, np.random.default_rng(3))
    coarse = dynamics.wave(np.arange(200) / 20, 0.5, 1, np.random.default_rng(3))
    np.testing.assert_allclose(fine[::3], coarse, atol=1e-5)


def test_drift_is_slow_and_of_unit_variance() -> None:
    values = dynamics.drift(20000, 3, 12, np.random.default_rng(0))
    assert values.shape == (20000, 3)
    np.testing.assert_allclose(values.std(0), 1, atol=0.1)
    np.testing.assert_allclose(values.mean(0), 0, atol=0.1)
    assert np.diff(values, axis=0).std() < 0.1
    assert np.corrcoef(values[:, 0], values[:, 1])[0, 1] < 0.2


# What is asked for


@pytest.mark.parametrize("emotion", SHOWN)
def test_an_emotion_shows(emotion: str, talker: Performance, rig: Rig) -> None:
    """The strongest free units of the prototype rise in the middle of the take."""
    change = show(talker, emotion).change
    amounts = load_prototypes()[emotion].amounts(rig, 0)
    wanted = np.where(np.isin(rig.regions, ["brows", "mouth"]), amounts, 0)
    strongest = int(wanted.argmax())
    assert change[:, strongest].mean() > 0.3 * amounts[strongest]
    assert np.isfinite(change).all()
    assert change.dtype == np.float32


def test_emotions_differ(talker: Performance) -> None:
    changes = {name: show(talker, name).change for name in SHOWN}
    for name, change in changes.items():
        for other, another in changes.items():
            if name < other:
                assert np.abs(change - another).mean() > 0.01, (name, other)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_nothing_asked_nothing_changed(emotion: str, talker: Performance) -> None:
    assert not show(talker, emotion, 0.0).change.any()
    empty = direct_performance(talker, Direction(Timeline.parse("0:source", EMOTIONS)))
    assert not empty.change.any()
    assert empty.weights.shape == (100, 0)


def test_before_the_first_key_nothing_changes(talker: Performance) -> None:
    timeline = Timeline.parse("2:happy", EMOTIONS)
    change = direct_performance(talker, Direction(timeline)).change
    assert not change[talker.times <= 2].any()
    assert np.abs(change[talker.times > 2.6]).max() > 0.5


def test_weights_and_names_are_reported(talker: Performance) -> None:
    timeline = Timeline.parse("0:sad 2:happy:0.5+angry:0.25", EMOTIONS)
    directed = direct_performance(talker, Direction(timeline))
    assert directed.names == ("angry", "happy", "sad")
    np.testing.assert_allclose(directed.weights[0], [0, 0, 1])
    np.testing.assert_allclose(directed.weights[-1], [0.25, 0.5, 0])


@pytest.mark.parametrize("emotion", SHOWN)
def test_change_is_proportional(emotion: str, talker: Performance, rig: Rig) -> None:
    """Twice a small weight is twice the change; lids alone bend towards their bounds."""
    small, large = show(talker, emotion, 0.2).change, show(talker, emotion, 0.4).change
    lids = np.isin(rig.regions, ["eyes"])
    np.testing.assert_allclose(large[:, ~lids], 2 * small[:, ~lids], atol=1e-5)
    assert (np.abs(large[:, lids]) <= 2 * np.abs(small[:, lids]) + 1e-5).all()


def test_mixture_is_the_sum_of_its_parts(talker: Performance, rig: Rig) -> None:
    """Without what is random in time."""
    still = ManipulatorSettings(life=0)
    free = ~np.isin(rig.regions, ["eyes"])

    def change(timeline: str) -> NDArray[np.float32]:
        direction = Direction(Timeline.parse(timeline, EMOTIONS))
        return direct_performance(talker, direction, rig, settings=still).change[:, free].mean(0)

    both = change("0:happy:0.4+surprised:0.3")
    parts = change("0:happy:0.4") + change("0:surprised:0.3")
    assert np.corrcoef(both, parts)[0, 1] > 0.99
    np.testing.assert_allclose(both, parts, atol=0.05)


def test_neutral_takes_a_lasting_expression_away(rig: Rig) -> None:
    count = 80
    smile = {"corner_pull": np.full(count, 0.8), "brow_lower": np.full(count, 0.5)}
    syllables = {"jaw_open": 0.4 * np.sin(np.arange(count) * 0.6) ** 2}
    played = acted(units_from(rig, count, smile | syllables))
    directed = played.units + show(played, "neutral").change
    assert level(rig, directed, "corner_pull") < 0.4 * 0.8
    assert level(rig, directed, "brow_lower") < 0.1 * 0.5
    assert np.array_equal(
        directed[:, rig.index["jaw_open"]], played.units[:, rig.index["jaw_open"]]
    )
    rest = acted(units_from(rig, count, syllables))
    assert np.abs(show(rest, "neutral").change).max() < 1e-6


def test_happy_replaces_sadness(rig: Rig) -> None:
    count = 80
    sad = {"corner_depress": np.full(count, 0.9), "inner_brow_raise": np.full(count, 0.9)}
    played = acted(units_from(rig, count, sad))
    directed = played.units + show(played, "happy").change
    assert level(rig, directed, "corner_depress") < 0.4
    assert level(rig, directed, "corner_pull") > 0.5


# What is left alone


@pytest.mark.parametrize("region", ["brows", "eyes", "mouth"])
def test_regions_switched_off_stay(region: str, talker: Performance, rig: Rig) -> None:
    for emotion in SHOWN:
        others = tuple(name for name in ("brows", "eyes", "mouth") if name != region)
        inside = np.array(rig.regions) == region
        without = show(talker, emotion, regions=others).change
        assert np.abs(without[:, inside]).max() < 1e-4
        only = show(talker, emotion, regions=(region,)).change
        assert np.abs(only[:, ~inside]).max() < 1e-4
    assert show(talker, "sad", regions=(region,)).change.any()


@pytest.mark.parametrize("emotion", SHOWN)
def test_a_blink_stays_a_blink(emotion: str, talker: Performance, rig: Rig) -> None:
    directed = show(talker, emotion, 1.5).change
    lids = [c for unit in directing._LID_UNITS for c in rig.columns(unit)]
    assert not directed[40, lids].any()
    assert np.abs(directed[10, lids]).max() > 0.05  # while open they do follow
    moves = activity._lid_moves(rig)
    source, result = talker.units @ moves, (talker.units + directed) @ moves
    assert (result.argmin(0) == 40).all()
    # the lids part by less than a tenth of the eye's opening, by the pull of the brows
    assert np.abs(result[40] - source[40]).max() < 0.1 * 0.09


@pytest.mark.parametrize("emotion", SHOWN)
def test_what_lids_may_do_is_bounded(emotion: str, rig: Rig) -> None:
    """An emotion neither closes an eye nor shows more eyeball than there is."""
    played = improvised(rig, 5)
    change = show(played, emotion, 1.5).change
    moves = activity._lid_moves(rig)
    lids = [c for unit in directing._LID_UNITS for c in rig.columns(unit)]
    added = change[:, lids] @ moves[lids]
    openings = activity._eye_openings(played, moves)
    bounds = ManipulatorSettings().lid_bounds
    assert np.abs(added).max() > 0.005  # it does something
    # openings are measured over a few frames, so that lids do not tremble
    assert (np.abs(added) <= 1.2 * max(bounds) * openings + 1e-3).all()


def test_fast_speech_and_round_lips_take_the_mouth_back(rig: Rig) -> None:
    count = 60
    rounded = acted(units_from(rig, count, {"pucker": np.full(count, 0.8)}))
    rest = acted(np.zeros((count, len(rig)), np.float32))
    mouth = np.array(rig.regions) == "mouth"
    quiet, busy = show(rest, "happy").change, show(rounded, "happy").change
    assert np.abs(busy[:, mouth]).mean() < 0.8 * np.abs(quiet[:, mouth]).mean()
    brows = np.array(rig.regions) == "brows"
    np.testing.assert_allclose(busy[:, brows], quiet[:, brows], rtol=0.15)


def test_frames_without_a_face_do_not_change(rig: Rig) -> None:
    units = units_from(rig, 30, {"jaw_open": np.full(30, 0.3)})
    played = acted(units, absent=(0, 12, 13, 29))
    change = show(played, "angry").change
    assert not change[[0, 12, 13, 29]].any()
    assert np.abs(change[5:11]).max() > 0.3


# Chance


def test_the_same_seed_gives_the_same_take(talker: Performance) -> None:
    first, again = show(talker, "sad", seed=4), show(talker, "sad", seed=4)
    assert np.array_equal(first.change, again.change)
    other = show(talker, "sad", seed=5)
    assert np.abs(first.change - other.change).max() > 0.01


@pytest.mark.parametrize("emotion", SHOWN)
def test_variants_differ_and_start_again(emotion: str, talker: Performance) -> None:
    count = len(load_prototypes()[emotion].variants)
    takes = [show(talker, emotion, variant=k).change for k in range(count + 1)]
    for a in range(count):
        for b in range(a):
            assert np.abs(takes[a] - takes[b]).mean() > 0.01
    assert np.array_equal(takes[count], takes[0])


def test_directing_does_not_touch_what_it_is_given(talker: Performance) -> None:
    before = {f.name: getattr(talker, f.name) for f in dataclasses.fields(talker)}
    copies = {k: v.copy() for k, v in before.items() if isinstance(v, np.ndarray)}
    show(talker, "happy", 1.5)
    for name, copy in copies.items():
        assert np.array_equal(getattr(talker, name), copy), name


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("emotion", ["happy", "neutral"])
def test_very_short_performances(emotion: str, count: int, rig: Rig) -> None:
    played = acted(units_from(rig, count, {"jaw_open": np.full(count, 0.3)}))
    directed = show(played, emotion)
    assert directed.change.shape == (count, len(rig))
    assert np.isfinite(directed.change).all()
    if emotion == "happy":
        assert level(rig, directed.change, "corner_pull") > 0.3


def test_change_is_smooth_in_time(rig: Rig) -> None:
    """On a face at rest nothing jumps from one frame to the next."""
    rest = acted(np.zeros((100, len(rig)), np.float32))
    for emotion in SHOWN:
        change = show(rest, emotion).change
        assert np.abs(np.diff(change, axis=0)).max() < 0.08, emotion


def test_unknown_emotion_names_the_known() -> None:
    with pytest.raises(InputError, match="happy") as caught:
        find_prototype("joyful", load_prototypes())
    assert "joyful" in str(caught.value)


# Styles


def test_ones_own_style_changes_nothing(rig: Rig) -> None:
    for seed in range(3):
        played = improvised(rig, seed, count=100)
        style = style_from(played, rig)
        change = direct_performance(played, Direction(), rig, ReferenceDirector(style)).change
        assert np.abs(change).max() < 0.02


def test_ones_own_style_changes_nothing_though_the_face_was_away(rig: Rig) -> None:
    units = units_from(rig, 100, {"corner_pull": np.full(100, 0.8)})
    played = acted(units, absent=tuple(range(60, 100)))
    style = style_from(played, rig)
    change = direct_performance(played, Direction(), rig, ReferenceDirector(style)).change
    assert np.abs(change[5:40]).max() < 0.05


def test_a_smiling_reference_makes_the_actor_smile(talker: Performance, rig: Rig) -> None:
    count = 60
    curves = {
        "corner_pull": np.full(count, 1.0) + 0.1 * np.sin(np.arange(count) / 5),
        "jaw_open": np.full(count, 0.9),
        "jaw_drop": np.full(count, 0.4),
    }
    style = style_from(acted(units_from(rig, count, curves)), rig)
    directed = direct_performance(talker, Direction(), rig, ReferenceDirector(style))
    units = talker.units + directed.change
    assert level(rig, units, "corner_pull") > level(rig, talker.units, "corner_pull") + 0.5
    jaw = [name.startswith("jaw_") for name in rig.names]
    assert np.array_equal(units[:, jaw], talker.units[:, jaw])
    assert directed.weights.shape == (len(talker), 0)
    assert directed.names == ()


def test_a_style_is_nothing_but_emotion(rig: Rig) -> None:
    style = style_from(improvised(rig, 2), rig)
    assert not style.level[~rig.emotional].any()
    assert not style.spread[~rig.emotional].any()
    assert style.level[rig.emotional].max() > 0.1


def test_intensity_scales_a_style(talker: Performance, rig: Rig) -> None:
    style = style_from(acted(units_from(rig, 50, {"brow_lower": np.full(50, 0.8)})), rig)
    takes = [
        direct_performance(talker, Direction(intensity=share), rig, ReferenceDirector(style)).change
        for share in (0.0, 0.5, 1.0)
    ]
    assert not takes[0].any()
    brows = np.array(rig.regions) == "brows"
    np.testing.assert_allclose(2 * takes[1][:, brows], takes[2][:, brows], atol=1e-5)


def test_a_reference_with_gaps_is_read_where_the_face_is(rig: Rig) -> None:
    units = units_from(rig, 60, {"corner_pull": np.full(60, 0.8)})
    whole = style_from(acted(units.copy()), rig)
    holed = style_from(acted(units.copy(), absent=tuple(range(20, 45))), rig)
    np.testing.assert_allclose(holed.level, whole.level, atol=1e-3)
    np.testing.assert_allclose(holed.spread, whole.spread, atol=1e-3)
    with pytest.raises(NoFaceError, match="never shows a face"):
        style_from(acted(units, absent=tuple(range(60))), rig)


def test_a_still_reference(rig: Rig, talker: Performance) -> None:
    style = style_from(acted(units_from(rig, 1, {"corner_pull": np.array([0.9])})), rig)
    units = (
        talker.units + direct_performance(talker, Direction(), rig, ReferenceDirector(style)).change
    )
    assert level(rig, units, "corner_pull") > 0.4


def test_a_director_of_ones_own_is_a_class_and_a_line(
    talker: Performance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/extending.md shows it; words and regions have their say afterwards."""

    class Frown:
        def __init__(self, rig: Rig) -> None:
            self.columns = list(rig.columns("brow_lower"))

        def change(
            self, performance: Performance, direction: Direction, activity: object
        ) -> np.ndarray:
            change = np.zeros_like(performance.units)
            change[:, self.columns] = direction.intensity
            change[:, 0] = 5.0
            return change

    rig = load_rig()
    monkeypatch.setitem(DIRECTORS, "frown", lambda rig, reference, prototypes: Frown(rig))
    director = open_director("frown", rig)
    change = direct_performance(talker, Direction(intensity=0.5), rig, director).change
    brows = list(rig.columns("brow_lower"))
    np.testing.assert_allclose(change[talker.present][:, brows], 0.5, atol=1e-6)
    only_mouth = Direction(intensity=0.5, regions=("mouth",))
    assert not direct_performance(talker, only_mouth, rig, director).change[:, brows].any()
    with pytest.raises(InputError, match="director 'tarot' is unknown; known are procedural"):
        open_director("tarot", rig)
