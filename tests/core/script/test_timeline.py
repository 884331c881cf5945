"""Timelines: the algebra of the curves, the three notations, and where errors point."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ned.core.errors import InputError
from ned.core.script.notation import INTENSITY_LIMIT, format_mixture, format_number, parse_mixture
from ned.core.script.timeline import EASE_SECONDS, Key, Timeline
from ned.core.script.timeline_file import load_timeline, parse_take

EMOTIONS = ("happy", "sad", "angry", "surprised", "fear", "disgusted", "contempt", "neutral")
TIMES = np.linspace(0, 12, 1201)


def random_timeline(seed: int) -> Timeline:
    """Up to six keys with any mixtures, gaps and eases, some of them closer than they ease."""
    random = np.random.default_rng(seed)
    time, keys = 0.0, []
    for _ in range(random.integers(1, 7)):
        time += float(random.uniform(0.01, 2.0)) if keys or random.random() < 0.5 else 0.0
        names = random.choice(EMOTIONS, size=random.integers(0, 4), replace=False)
        mixture = {str(name): float(random.uniform(0, INTENSITY_LIMIT)) for name in names}
        ease = float(random.choice([0.0, EASE_SECONDS, random.uniform(0.05, 3.0)]))
        keys.append(Key(time, mixture, ease))
    return Timeline(tuple(keys))


seeds = pytest.mark.parametrize("seed", range(25))


@seeds
def test_round_trip_through_text(seed: int) -> None:
    timeline = random_timeline(seed)
    assert Timeline.parse(str(timeline), EMOTIONS) == timeline


@seeds
def test_round_trip_through_a_take(seed: int) -> None:
    timeline = random_timeline(seed)
    assert parse_take(json.dumps(timeline.to_dict(), indent=1), EMOTIONS) == timeline


@seeds
def test_weights_stay_in_range_and_have_no_jumps(seed: int) -> None:
    timeline = random_timeline(seed)
    weights = timeline.weights(TIMES, EMOTIONS)
    assert weights.shape == (len(TIMES), len(EMOTIONS)) and weights.dtype == np.float32
    assert weights.min() >= 0 and weights.max() <= INTENSITY_LIMIT
    eases = [key.ease for key in timeline.keys]
    if all(eases):
        # A minimum-jerk curve is nowhere faster than 15/8 of its mean speed.
        speed = sum(1.875 * INTENSITY_LIMIT / ease for ease in eases)
        steepest = np.abs(np.diff(weights, axis=0)).max()
        assert steepest <= speed * (TIMES[1] - TIMES[0]) + 1e-6


@seeds
def test_weights_are_those_of_the_last_key_once_it_has_arrived(seed: int) -> None:
    timeline = random_timeline(seed)
    last = timeline.keys[-1]
    arrived = timeline.weights([last.time + last.ease + 1e-6, 1e6], EMOTIONS)
    expected = [last.mixture.get(name, 0.0) for name in EMOTIONS]
    np.testing.assert_array_equal(arrived, np.float32([expected, expected]))


@seeds
def test_shares_of_the_keys_add_up_to_one(seed: int) -> None:
    timeline = random_timeline(seed)
    names = [f"key {index}" for index in range(len(timeline.keys))]
    marked = Timeline(
        tuple(Key(k.time, {n: 1.0}, k.ease) for k, n in zip(timeline.keys, names, strict=True))
    )
    total = marked.weights(TIMES, names).sum(axis=1)
    first = timeline.keys[0]
    start = first.time + first.ease if first.time else 0.0
    np.testing.assert_allclose(total[start + 1e-9 <= TIMES], 1, atol=1e-6)
    assert (total[first.time > TIMES] == 0).all()
    assert (np.diff(total) >= -1e-6).all()


@seeds
def test_scaling_multiplies_weights(seed: int) -> None:
    timeline = random_timeline(seed)
    for intensity in (0.0, 0.3, 1.0):
        scaled = timeline.scaled(intensity).weights(TIMES, EMOTIONS)
        expected = intensity * timeline.weights(TIMES, EMOTIONS)
        np.testing.assert_allclose(scaled, expected, atol=1e-6)
    assert timeline.scaled(1.0) == timeline
    assert timeline.scaled(0.0).is_null
    assert timeline.scaled(INTENSITY_LIMIT).weights(TIMES, EMOTIONS).max() <= INTENSITY_LIMIT


@seeds
def test_weights_do_not_depend_on_the_order_of_names_or_frames(seed: int) -> None:
    timeline = random_timeline(seed)
    weights = timeline.weights(TIMES, EMOTIONS)
    np.testing.assert_array_equal(timeline.weights(TIMES, EMOTIONS[::-1]), weights[:, ::-1])
    np.testing.assert_array_equal(timeline.weights(TIMES[::-1], EMOTIONS), weights[::-1])
    np.testing.assert_array_equal(timeline.weights(TIMES[100:200], EMOTIONS), weights[100:200])


def test_easing_rises_steadily_and_is_symmetric() -> None:
    key = Key(1.0, {"happy": 1.0}, ease=2.0)
    progress = key.progress(np.linspace(0, 4, 401))
    assert (np.diff(progress) >= 0).all()
    assert (progress[:101] == 0).all() and (progress[300:] == 1).all()
    np.testing.assert_allclose(progress[100:301] + progress[300:99:-1], 1, atol=1e-12)


def test_before_a_late_first_key_nothing_is_asked_for() -> None:
    weights = Timeline.parse("2:happy", EMOTIONS).weights([0, 1.999, 2.25, 2.5], EMOTIONS)[:, 0]
    np.testing.assert_array_equal(weights, np.float32([0, 0, 0.5, 1]))


def test_a_first_key_at_zero_holds_from_the_first_frame() -> None:
    timeline = Timeline.constant({"happy": 0.8})
    assert (timeline.weights(TIMES, ["happy"]) == np.float32(0.8)).all()
    assert timeline == Timeline.parse("0:happy:0.8", EMOTIONS)
    assert timeline == Timeline.split(["happy:0.8"], 0.0, EMOTIONS)


def test_an_ease_of_zero_is_a_cut() -> None:
    timeline = Timeline.parse("ease=0 0:happy 1:sad", EMOTIONS)
    weights = timeline.weights([0, 0.999, 1], ["happy", "sad"])
    np.testing.assert_array_equal(weights, [[1, 0], [1, 0], [0, 1]])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_split_gives_equal_shares(count: int) -> None:
    timeline = Timeline.split(EMOTIONS[:count], 6.0, EMOTIONS, ease=0)
    times = (np.arange(6000) + 0.5) / 1000
    weights = timeline.weights(times, EMOTIONS[:count])
    np.testing.assert_allclose(weights.sum(axis=0), 6000 / count, atol=1)
    assert (weights.sum(axis=1) == 1).all()


def test_split_shortens_eases_to_the_shares() -> None:
    timeline = Timeline.split(["happy", "sad", "angry"], 0.6, EMOTIONS)
    assert [key.ease for key in timeline.keys] == pytest.approx([0.2] * 3)
    with pytest.raises(InputError, match="cannot be split"):
        Timeline.split(["happy", "sad"], 0.0, EMOTIONS)


@pytest.mark.parametrize(
    ("text", "mixture"),
    [
        ("happy", {"happy": 1.0}),
        ("Happy:0.8", {"happy": 0.8}),
        ("happy:.6+surprised:0.4", {"happy": 0.6, "surprised": 0.4}),
        ("happy + sad : 0.25", {"happy": 1.0, "sad": 0.25}),
        ("happy:1.5", {"happy": 1.5}),
        ("happy:0", {"happy": 0.0}),
        ("source", {}),
    ],
)
def test_mixtures(text: str, mixture: dict[str, float]) -> None:
    assert parse_mixture(text, EMOTIONS) == mixture
    assert parse_mixture(format_mixture(mixture), EMOTIONS) == mixture


def test_null_means_no_weight_at_all() -> None:
    assert Timeline.parse("0:source 2:happy:0", EMOTIONS).is_null
    assert not Timeline.parse("0:neutral", EMOTIONS).is_null  # neutral calms the source


@pytest.mark.parametrize(
    "number", [0, 1, 0.1, 1 / 3, 1e-7, 12345678.9, 1e22, float(np.float32(0.3))]
)
def test_numbers_are_written_without_loss(number: float) -> None:
    assert float(format_number(number)) == number
    assert "+" not in format_number(number)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "no key"),
        ("   ", 1, "no key"),
        ("happy", 1, "not a key"),
        ("0:", 1, "not a key"),
        ("0:hapy", 3, "unknown emotion 'hapy', known are happy, sad"),
        ("0:happy 1.5:happy:0.8+hapy", 23, "unknown emotion"),
        ("0:happy+", 9, "the name of an emotion is missing"),
        ("0:happy+happy", 9, "happy is given twice"),
        ("0:happy:2", 9, "from 0 to 1.5"),
        ("0:happy:-1", 9, "from 0 to 1.5"),
        ("0:happy:nan", 9, "not a number"),
        ("0:happy:1_0", 9, "not a number"),
        ("x:happy", 1, "not a number"),
        ("inf:happy", 1, "not a number"),
        ("-1:happy", 1, "0 or more"),
        ("1e999:happy", 1, "0 or more"),
        ("0:happy 2:sad 2:angry", 15, "does not come after 2"),
        ("0:happy 2:sad 1:angry", 15, "does not come after 2"),
        ("0:happy 1:30:sad", 9, "minutes"),
        ("ease=x 0:happy", 6, "not a number"),
        ("ease=-1 0:happy", 6, "0 or more"),
        ("0:happy\n1:\x1b[31m", 11, "unknown emotion"),
    ],
)
def test_inline_errors_name_the_column(text: str, column: int, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        Timeline.parse(text, EMOTIONS)
    assert str(caught.value).startswith(f"timeline, column {column}: ")
    assert str(caught.value).isprintable()


GOOD_TAKE = """\
ease: 0.4
keys:
  - {at: 0, emotion: neutral}
  - at: 1.5
    emotion: "happy:0.8+surprised:0.2"
    ease: 0.3
  - {at: 4, emotion: angry}
"""


def test_a_take_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "take.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD_TAKE.encode())
    text = "ease=0.4 0:neutral ease=0.3 1.5:happy:0.8+surprised:0.2 ease=0.4 4:angry"
    assert load_timeline(str(path), EMOTIONS) == Timeline.parse(text, EMOTIONS)
    assert load_timeline(text, EMOTIONS) == Timeline.parse(text, EMOTIONS)


@pytest.mark.parametrize(
    ("before", "after", "line", "column", "message"),
    [
        ("neutral", "natural", 3, 22, "unknown emotion 'natural', known are happy"),
        ("surprised", "surprize", 5, 25, "did you mean surprised"),
        ("happy:0.8", "happy:1.8", 5, 21, "from 0 to 1.5"),
        ("happy:0.8", "happy:x", 5, 21, "not a number"),
        ("at: 0", "at: soon", 3, 10, "not a number"),
        ("at: 0", "at: -1", 3, 10, "0 or more"),
        ("at: 0", "at: .nan", 3, 10, "not a number"),
        ("at: 0", "at: [0]", 3, 10, "single value"),
        ("at: 4", "at: 1.5", 7, 5, "does not come after 1.5"),
        ("at: 4", "at: 1", 7, 5, "does not come after 1.5"),
        ("at: 4, ", "", 7, 5, "at is missing"),
        ("at: 4, ", "at: 4, at: 5, ", 7, 13, "at is given twice"),
        ("    ease: 0.3", "    eese: 0.3", 6, 5, "unknown field 'eese', a key has at, emotion"),
        ("ease: 0.4", "ease: -0.4", 1, 7, "0 or more"),
        ("ease: 0.4", "title: x", 1, 1, "unknown field 'title', the file has keys, ease"),
        ("{at: 0, emotion: neutral}", "neutral", 3, 5, "must be a mapping"),
        ("{at: 0, emotion: neutral}", "{at: 0, emotion: neutral", 4, 7, "not YAML"),
        ("{at: 0, emotion: neutral}", "*other", 3, 5, "not YAML"),
        ("neutral", "neu\x01tral", 3, 25, "cannot stand here"),
        (GOOD_TAKE, "", 1, 1, "empty"),
        (GOOD_TAKE, "keys: []", 1, 7, "empty"),
        (GOOD_TAKE, "keys: 3", 1, 7, "must be a list"),
        (GOOD_TAKE, "keys: &a [*a]", 1, 11, "aliases (*name) are not read"),
        (GOOD_TAKE, "keys: !!python/object/apply:os.getcwd []", 1, 7, "empty"),
    ],
)
def test_take_errors_name_line_and_column(
    before: str, after: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse_take(GOOD_TAKE.replace(before, after), EMOTIONS, "take.yaml")
    assert str(caught.value).startswith(f"take.yaml, line {line}, column {column}: ")
    assert str(caught.value).isprintable()


def test_take_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_timeline(str(tmp_path / "missing.yaml"), EMOTIONS)
    latin = tmp_path / "latin.yml"
    latin.write_bytes(b"keys: \xe9")
    with pytest.raises(InputError, match="not UTF-8"):
        load_timeline(str(latin), EMOTIONS)
    with pytest.raises(InputError, match="nested too deeply"):
        parse_take("[" * 20000, EMOTIONS)


def test_timelines_made_in_code_are_checked_too() -> None:
    with pytest.raises(InputError, match="at least one key"):
        Timeline(())
    with pytest.raises(InputError, match="does not come after"):
        Timeline((Key(1, {}), Key(1, {})))
    with pytest.raises(InputError, match=r"from 0 to 1\.5"):
        Key(0, {"happy": 9})
    with pytest.raises(InputError, match="unknown emotion"):
        Timeline.constant({"happy": 1}).weights([0], ["sad"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:happy,", "column 8: a comma stands here; join emotions by + and part keys by spaces"),
        ("0:sad 1:happy,sad", "column 14: a comma stands here"),
        ("0:happy+", "column 9: the name of an emotion is missing here"),
        ("0:+happy", "column 3: the name of an emotion is missing here"),
        ("nan:happy", "column 1: time is 'nan', which is not a number"),
        ("-1:happy", "column 1: time is -1, give 0 or more seconds"),
    ],
)
def test_slips_of_the_pen_are_named_with_their_place(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        Timeline.parse(text, ("happy", "sad"))
    assert said in str(caught.value)


@pytest.mark.parametrize("time", [float("nan"), -0.1, float("inf")])
def test_times_are_finite_and_not_negative(time: float) -> None:
    with pytest.raises(InputError, match="give 0 or more seconds"):
        Key(time, {"happy": 1.0})


def test_keys_after_the_end_are_told() -> None:
    timeline = Timeline.parse("0:happy 1.9:sad 2:happy:0.5 3:sad", ("happy", "sad"))
    lines = timeline.check_end(2.0)
    assert [line.split(" starts")[0] for line in lines] == [
        "timeline: key 3 (2:happy:0.5)",
        "timeline: key 4 (3:sad)",
    ]
    assert not timeline.check_end(3.1)
    with pytest.raises(InputError, match=r"key 1 \(5:happy\) starts after the end of the clip"):
        Timeline.parse("5:happy", ("happy",)).check_end(2.0)


@pytest.mark.parametrize(
    ("share", "progress"),
    [
        *((0.0, 0.0), (0.25, 0.103515625), (0.5, 0.5), (0.75, 0.896484375), (1.0, 1.0)),
        *((-0.1, 0.0), (1.1, 1.0)),
    ],
)
def test_the_way_into_a_key_is_a_minimum_jerk_from_its_time_on(
    share: float, progress: float
) -> None:
    key = Key(2.0, {"happy": 1.0}, 0.8)
    found = key.progress(np.array([2.0 + 0.8 * share]))
    assert found[0] == pytest.approx(progress, abs=1e-9)


def test_a_cut_is_at_its_time_and_the_first_key_from_the_start() -> None:
    cut = Key(2.0, {}, 0.0)
    np.testing.assert_array_equal(cut.progress(np.array([1.999, 2.0, 2.001])), [0, 1, 1])
    first = Key(0.0, {}, 0.8)
    np.testing.assert_array_equal(first.progress(np.array([0.0, 0.1])), [1, 1])


def test_weights_go_from_one_key_to_the_next() -> None:
    timeline = Timeline((Key(0.0, {"sad": 0.8}), Key(1.0, {"happy": 0.4}, 1.0)))
    weights = timeline.weights([0.5, 1.25, 1.5, 2.0], ("happy", "sad"))
    share = np.array([0.0, 0.103515625, 0.5, 1.0])
    np.testing.assert_allclose(weights, np.stack([0.4 * share, 0.8 * (1 - share)], 1), atol=1e-7)
