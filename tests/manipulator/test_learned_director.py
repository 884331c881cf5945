"""The learned director: pairs that it learns from, and what it may and may not change."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from acted_faces import acted, units_from

from deca.rig import Rig, load_rig
from manipulator.directing import direct_performance
from manipulator.director import Direction
from manipulator.speech_lock import SpeechLock
from ned.commands.direct import direct
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.script.timeline_file import load_timeline
from ned.options import DirectOptions

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from manipulator.checkpoints import Manipulator, load_manipulator, save_manipulator  # noqa: E402
from manipulator.data.synthetic import make_performances  # noqa: E402
from manipulator.learned import LearnedDirector, densest, strengthened  # noqa: E402
from manipulator.networks import RIG, Networks, for_values  # noqa: E402
from manipulator.paired import (  # noqa: E402
    PairedSettings,
    Pairs,
    clip_styles,
    energy_distance,
    paired_batches,
)
from manipulator.train_rig import HELD_OUT, held_out, main, measure_pairs, train_rig  # noqa: E402


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def wild(rig: Rig) -> LearnedDirector:
    """Networks that were never trained and change everything."""
    torch.manual_seed(0)
    emotions = ("neutral", "happy", "sad")
    networks = Networks(dataclasses.replace(for_values(RIG, len(rig), emotions), residual=False))
    spread = np.full(len(rig), 2, np.float32)
    networks.initialise(3).eval().requires_grad_(False)
    return LearnedDirector(
        Manipulator(networks, "rig", rig.names, np.zeros(len(rig), np.float32), spread)
    )


def talker(rig: Rig, count: int = 60, frame_rate: float = 25.0) -> Performance:
    syllables = 0.4 * np.sin(np.arange(count) * 0.6 * 25 / frame_rate) ** 2
    performance = acted(
        units_from(rig, count, {"jaw_open": syllables, "lips_part_lower": syllables / 2})
    )
    performance.track.times[:] = np.arange(count) / frame_rate
    return performance


def directed(performance: Performance, director: LearnedDirector, emotions: str, **wishes):
    timeline = load_timeline(emotions, ("neutral", "happy", "sad", "angry", "fear"))
    return direct_performance(performance, Direction(timeline, **wishes), load_rig(), director)


def test_pairs_keep_the_words_and_exchange_the_emotion(rig: Rig) -> None:
    performances = make_performances(24, rig, 1)
    emotions = tuple(p.emotion for p in performances[:8])
    mean, spread = np.zeros(len(rig), np.float32), np.ones(len(rig), np.float32)
    pairs = Pairs.of(performances[:20], emotions, mean, spread, rig.mirror)
    assert len(pairs.lengths) == 2  # the third take lacks emotions
    happy = emotions.index("happy")
    for take in range(2):
        source = performances[8 * take + happy]
        length = int(pairs.lengths[take])
        np.testing.assert_array_equal(pairs.values[take, happy, :length], source.units)
        np.testing.assert_array_equal(pairs.change[take, happy, :length], source.change)
    batch = next(paired_batches(pairs, 10, 64, torch.Generator().manual_seed(0)))
    jaw = SpeechLock(rig).jaw
    difference = (batch.wanted - batch.real)[..., jaw].abs().mean()
    assert difference < 0.1 * (batch.wanted - batch.real).abs().mean()
    assert batch.references.shape == (64, 5, 10, len(rig))


def test_training_learns_and_repeats(rig: Rig) -> None:
    performances = make_performances(32, rig, 2)
    settings = PairedSettings(8, 4, batch=8, short=False)
    first, losses = train_rig(performances[:16], rig, settings, 0)
    again, same = train_rig(performances[:16], rig, settings, 0)
    assert losses == same
    for name, value in first.networks.state_dict().items():
        torch.testing.assert_close(value, again.networks.state_dict()[name])
    longer = PairedSettings(60, 4, batch=16, rate=4e-3, short=False)
    found = measure_pairs(train_rig(performances, rig, longer, 0)[0], performances, rig, longer)
    assert found["shape"] < 0.9 * found["unchanged"]


def test_held_out_actors_are_never_trained_on(rig: Rig) -> None:
    shown = make_performances(32, rig, 0)
    assert {p.actor for p in shown}.isdisjoint({p.actor for p in held_out(rig, 2, 0)})
    assert max(p.actor for p in shown) < HELD_OUT


def test_energy_distance_is_zero_for_equal_and_large_for_other_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 400, 3, generator=generator)
    assert energy_distance(one, two).abs() < 0.05
    assert energy_distance(one, two + 2) > 1
    assert energy_distance(one, 3 * two) > 0.3


def test_strong_takes_alone_make_label_styles(rig: Rig, wild: LearnedDirector) -> None:
    performances = make_performances(24, rig, 1)
    emotions = ("neutral", "happy", "sad")
    mean, spread = np.zeros(len(rig), np.float32), np.ones(len(rig), np.float32)
    pairs = Pairs.of(performances, emotions, mean, spread, rig.mirror)
    networks = wild.manipulator.networks
    assert [len(s) for s in clip_styles(networks, pairs)] == [3, 3, 3]
    assert [len(s) for s in clip_styles(networks, pairs, strong=9.0)] == [3, 1, 1]


@pytest.mark.parametrize("frame_rate", [25.0, 29.97, 50.0])
def test_the_speech_lock_holds_whatever_networks_say(
    rig: Rig, wild: LearnedDirector, frame_rate: float
) -> None:
    performance = talker(rig, 60, frame_rate)
    change = directed(performance, wild, "0:happy").change
    lock = SpeechLock(rig)
    assert np.abs(change).max() > 0.1
    assert np.abs(change[:, lock.jaw]).max() == 0
    assert np.abs(change @ lock.functionals.T).max() < 1e-5
    assert np.isfinite(change).all()
    brows = directed(performance, wild, "0:happy", regions=("brows",)).change
    assert np.abs(brows[:, np.array(rig.regions) != "brows"]).max() < 1e-6 < np.abs(brows).max()


def test_weight_zero_changes_nothing(rig: Rig, wild: LearnedDirector) -> None:
    performance = talker(rig)
    assert not directed(performance, wild, "0:happy:0").change.any()
    late = directed(performance, wild, "1.6:sad").change
    assert not late[:40].any() and late[50:].any()
    half = np.abs(directed(performance, wild, "0:happy:0.1", speech_lock=0.0).change).mean()
    assert 0 < half < np.abs(directed(performance, wild, "0:happy", speech_lock=0.0).change).mean()


def test_mixtures_add_up(rig: Rig, wild: LearnedDirector) -> None:
    performance, styles = talker(rig), wild.styles(["happy", "sad"])
    both = np.tile(np.array([0.7, 0.4], np.float32), (60, 1))
    mixed = wild.towards(performance, styles, both)
    happy = wild.towards(performance, styles[:1], both[:, :1])
    sad = wild.towards(performance, styles[1:], both[:, 1:])
    np.testing.assert_allclose(mixed, happy + sad, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11])
def test_short_clips_work(rig: Rig, wild: LearnedDirector, count: int) -> None:
    change = directed(talker(rig, count), wild, "0:sad").change
    assert change.shape == (count, len(rig)) and np.isfinite(change).all()


def test_frames_without_a_face_stay(rig: Rig, wild: LearnedDirector) -> None:
    performance = talker(rig)
    performance.track.confidence[20:30] = 0
    performance.units[20:30] = 0
    change = directed(performance, wild, "0:happy").change
    assert not change[20:30].any() and change[:20].any(1).all() and change[30:].any(1).all()


def test_seeds_and_variants_are_other_takes(rig: Rig, wild: LearnedDirector) -> None:
    plain = wild.styles(["happy"])
    torch.testing.assert_close(plain, wild.styles(["happy"]))
    others = [wild.styles(["happy"], seed=1), wild.styles(["happy"], variant=1)]
    assert all((other - plain).abs().max() > 1e-3 for other in others)
    assert (others[0] - others[1]).abs().max() > 1e-3


def test_a_reference_is_its_own_style(rig: Rig, wild: LearnedDirector) -> None:
    performance = talker(rig)
    own = LearnedDirector(wild.manipulator, wild.style_of(performance))
    change = direct_performance(performance, Direction(), rig, own).change
    assert np.abs(change).max() < 1e-5  # in its own style nothing changes
    other = dataclasses.replace(performance, units=performance.units[::-1] + np.float32(0.3))
    exaggerated = dataclasses.replace(own, reference=wild.style_of(other), exaggeration=1.0)
    once = direct_performance(performance, Direction(speech_lock=0), rig, exaggerated)
    exaggerated = dataclasses.replace(exaggerated, exaggeration=2.0)
    twice = direct_performance(performance, Direction(speech_lock=0), rig, exaggerated)
    assert np.abs(twice.change).mean() > 1.3 * np.abs(once.change).mean()
    own = LearnedDirector(wild.manipulator, wild.style_of(other))
    assert np.abs(direct_performance(performance, Direction(), rig, own).change).max() > 1e-3


def test_a_reference_shows_most_where_words_hide_least(rig: Rig, wild: LearnedDirector) -> None:
    loud, quiet = talker(rig, 90), talker(rig, 90)
    loud.units[30:50, list(rig.columns("corner_pull"))] = 1.5
    far = [(wild.shown_by(each) - wild.style_of(each)).norm() for each in (loud, quiet)]
    assert far[0] > 2 * far[1]
    nameless = dataclasses.replace(wild.manipulator.settings, emotions=("a", "b", "c"))
    other = LearnedDirector(dataclasses.replace(wild.manipulator, networks=Networks(nameless)))
    torch.testing.assert_close(other.shown_by(quiet), other.style_of(quiet))


def test_labels_are_moved_away_from_neutral_by_the_gain(rig: Rig) -> None:
    shipped = LearnedDirector.load(rig).manipulator
    gain, neutral = shipped.record["gain"], shipped.settings.emotions.index("neutral")
    styles = torch.randn(len(shipped.settings.emotions), 16, generator=torch.Generator())
    moved = strengthened(styles, shipped)
    assert gain > 1
    torch.testing.assert_close(moved[neutral], styles[neutral])
    torch.testing.assert_close(moved - moved[neutral], gain * (styles - styles[neutral]))
    plain = dataclasses.replace(shipped, record={})
    torch.testing.assert_close(strengthened(styles, plain), styles)


def test_only_clear_and_faint_references_are_exaggerated(rig: Rig) -> None:
    shipped = LearnedDirector.load(rig)
    neutral, happy, sad = shipped.styles(["neutral", "happy", "sad"])
    assert shipped.exaggeration_of(neutral + 0.1 * (happy - neutral)) == pytest.approx(4)
    assert shipped.exaggeration_of(neutral + 2 * (sad - neutral)) == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    unlike = torch.randn(len(neutral), generator=generator)
    for label in shipped.styles(
        [name for name in shipped.manipulator.settings.emotions if name != "neutral"]
    ):
        way = (label - neutral) / (label - neutral).norm()
        unlike -= (unlike @ way) * way
    assert shipped.exaggeration_of(neutral + 0.1 * unlike) == pytest.approx(1, abs=0.2)


def test_a_plain_label_does_not_fall_between_two_ways_to_show_it() -> None:
    generator = torch.Generator().manual_seed(0)
    around = 0.1 * torch.randn(200, 4, generator=generator)
    around[:120, 0] += 3
    around[120:, 0] -= 3
    assert densest(around)[0] == pytest.approx(3, abs=0.1)


def test_unknown_emotions_and_foreign_networks_are_told(
    rig: Rig, wild: LearnedDirector, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"does not know 'angry', only neutral, happy, sad"):
        directed(talker(rig), wild, "0:angry")
    path = tmp_path / "other.safetensors"
    save_manipulator(dataclasses.replace(wild.manipulator, unit_names=("a",) * 52), path)
    with pytest.raises(InputError, match="another face model or rig"):
        LearnedDirector.load(rig, path)


def test_training_door_writes_what_can_be_loaded(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "rig.safetensors"
    main(["--output", str(path), "--takes", "3", "--iterations", "2", "--seed", "4"])
    manipulator = load_manipulator(path)
    assert manipulator.record["seed"] == 4 and "train_rig" in manipulator.record["command"]
    assert manipulator.record["held_out"]["unchanged"] > 0
    np.testing.assert_array_equal(manipulator.spread, manipulator.spread[rig.mirror])


def test_shipped_networks_show_the_emotions(rig: Rig) -> None:
    director = LearnedDirector.load(rig)
    assert director.manipulator.path is not None
    assert director.manipulator.path.stat().st_size <= 6_000_000
    performance = talker(rig, 50)

    def mean(emotion: str, unit: str) -> float:
        change = directed(performance, director, f"0:{emotion}").change
        return float(change[:, list(rig.columns(unit))].mean())

    assert mean("happy", "corner_pull") > 0.3 > mean("angry", "corner_pull")
    assert mean("angry", "brow_lower") > 0.5 > mean("happy", "brow_lower")
    assert mean("sad", "inner_brow_raise") > 0.5
    assert abs(mean("neutral", "corner_pull")) < 0.1


def test_direct_with_the_learned_director(talking_clip: Path, tmp_path: Path) -> None:
    options = DirectOptions(
        talking_clip, tmp_path / "sad.mp4", emotion=("sad",), director="learned"
    )
    done = direct(options)
    lock = SpeechLock(load_rig())
    assert done.performance.directed is not None
    change = done.performance.directed - done.performance.units
    assert done.output.is_file() and np.abs(change).max() > 0.2
    assert np.abs(change @ lock.functionals.T).max() < 1e-5
    sidecar = json.loads((tmp_path / "sad.mp4.json").read_text(encoding="utf-8"))
    assert sidecar["settings"]["director"] == "learned"
    assert DirectOptions(talking_clip, emotion=("happy",)).director == "procedural"
