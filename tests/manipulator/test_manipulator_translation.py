"""Translation of sequences: golden vectors, overlap-add, intensity, timing, precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden import Golden
from golden_networks import filled
from torch import Tensor

from manipulator.checkpoints import Manipulator
from manipulator.networks import NED, RIG, Networks
from manipulator.translation import (
    TranslationSettings,
    Wishes,
    geometric_median,
    overlap_add,
    reference_style,
    shared_wishes,
    styles_of_latent,
    timed_wishes,
    translate,
    translate_values,
    window_styles,
    window_weights,
    windows_of,
)
from manipulator.unrolled_generator import UnrolledGenerator
from ned.core.script.emotions import NED_LABELS

FILE = "manipulator_sequence.npz"
LABELLED = [
    ("src37", ["happy"]),
    ("src37", ["happy", "angry"]),
    ("src37", ["surprised", "sad", "neutral"]),
    ("src10", ["happy"]),
    ("src11", ["happy", "angry"]),
    ("src19", ["fear", "disgusted"]),
    ("src20", ["fear", "disgusted"]),
]
SHORT = TranslationSettings(precision="bfloat16")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rig_networks() -> Networks:
    """Small networks whose generator changes its input."""
    networks = Networks(RIG).initialise(1).eval()
    with torch.no_grad():
        last: Any = networks.generator.seq2[-1]
        last.weight.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    return networks


def sequence(golden: Golden, name: str, dtype: torch.dtype) -> Tensor:
    pose, expression = golden[FILE][f"{name}_pose"], golden[FILE][f"{name}_exp"]
    return torch.from_numpy(np.concatenate([pose[:, 3:4], expression], 1)).to(dtype)


@pytest.mark.parametrize(("source", "emotions"), LABELLED)
@pytest.mark.parametrize(("dtype", "suffix"), [(torch.float32, ""), (torch.float64, "_f64")])
def test_labels_give_the_golden_sequences(
    golden: Golden, source: str, emotions: list[str], dtype: torch.dtype, suffix: str
) -> None:
    networks, values = filled(golden, dtype), sequence(golden, source, dtype)
    latent = torch.from_numpy(golden[FILE]["z"]).to(dtype)
    styles = styles_of_latent(networks, latent)[[NED_LABELS.index(name) for name in emotions]]
    result = translate(values, shared_wishes(styles, len(values)), networks)
    golden.check(FILE, f"label_{'_'.join(emotions)}_{source}{suffix}", result)


def test_references_give_the_golden_sequences(golden: Golden) -> None:
    networks, precise = (filled(golden, dtype) for dtype in (torch.float32, torch.float64))
    clips = {name: sequence(golden, name, torch.float32) for name in ("ref23", "ref14", "src37")}
    styles = {}
    for name in ("ref23", "ref14"):
        golden.check(FILE, f"{name}_window_styles", window_styles(networks, clips[name]))
        exact = window_styles(precise, sequence(golden, name, torch.float64))
        golden.check(FILE, f"{name}_window_styles_f64", exact)
        styles[name] = reference_style(networks, [clips[name]])
        golden.check(FILE, f"{name}_style_geometric_median", styles[name])
    for names in (["ref23"], ["ref23", "ref14"]):
        wanted = shared_wishes(torch.stack([styles[name] for name in names]), 37)
        result = translate(clips["src37"], wanted, networks)
        golden.check(FILE, f"ref_{'_'.join(names)}_src37", result)


def test_the_geometric_median_and_the_weights_are_golden(golden: Golden) -> None:
    golden.check(FILE, "gm_result", geometric_median(golden[FILE]["gm_points"]))
    same = geometric_median(golden[FILE]["gm_points_identical"])
    golden.check(FILE, "gm_result_identical", same)
    golden.check(FILE, "gaussian_kernel_10", window_weights(10))


def test_the_geometric_median_leaves_a_point_that_it_starts_on() -> None:
    points = np.array([[0.0, 0], [1, 0], [-1, 0], [0, 3], [0, 3], [0, -6]])  # their mean is one
    found = geometric_median(points)
    distances = [np.linalg.norm(points - place, axis=1).sum() for place in (found, found + 0.01)]
    assert distances[0] < distances[1] and distances[0] <= np.linalg.norm(points, axis=1).sum()


@pytest.mark.parametrize("frames", [10, 11, 19, 40])
@pytest.mark.parametrize("edges", ["ned", "averaged"])
def test_putting_untouched_windows_together_gives_the_sequence(frames: int, edges: Any) -> None:
    values = torch.randn(frames, 5, dtype=torch.float64)
    torch.testing.assert_close(overlap_add(windows_of(values), edges), values)


def test_averaged_edges_differ_from_neds_at_the_ends_only() -> None:
    windows = torch.randn(21, 10, 3)
    ned, averaged = overlap_add(windows, "ned"), overlap_add(windows, "averaged")
    torch.testing.assert_close(ned[9:-9], averaged[9:-9])
    assert (ned[1:9] != averaged[1:9]).all() and (ned[-9:-1] != averaged[-9:-1]).all()


@pytest.mark.parametrize("frames", [1, 4, 9, 10, 33])
def test_intensity_zero_returns_the_input_exactly(rig_networks: Networks, frames: int) -> None:
    values = torch.randn(frames, RIG.values)
    styles = torch.randn(2, RIG.style)
    still = translate(values, shared_wishes(styles, frames, intensity=(0, 0)), rig_networks)
    assert torch.equal(still, values)
    raw = np.random.default_rng(0).normal(size=(frames, RIG.values)).astype(np.float32)
    manipulator = manipulator_of(rig_networks)
    nothing = timed_wishes(styles, np.zeros((frames, 2)))
    assert np.array_equal(translate_values(raw, nothing, manipulator), raw)


def test_intensity_grows_from_the_input_to_the_style(rig_networks: Networks) -> None:
    values, styles = torch.randn(40, RIG.values), torch.randn(1, RIG.style)

    def at(intensity: float) -> Tensor:
        wishes = shared_wishes(styles, 40, intensity=(intensity,))
        return translate(values, wishes, rig_networks)

    whole = at(1)
    apart = [float((at(share) - whole).norm()) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert apart == sorted(apart, reverse=True) and apart[-1] == 0
    torch.testing.assert_close(at(0.9999), at(1), atol=1e-2, rtol=0)
    torch.testing.assert_close(at(0.0001), values, atol=1e-2, rtol=0)


@pytest.mark.parametrize("frames", [1, 3, 9])
def test_clips_shorter_than_a_window_are_translated(rig_networks: Networks, frames: int) -> None:
    values = torch.randn(frames, RIG.values)
    result = translate(values, shared_wishes(torch.randn(3, RIG.style), frames), rig_networks)
    assert result.shape == values.shape and not torch.equal(result, values)
    held = torch.cat([values, values[-1:].expand(10 - frames, -1)])
    assert torch.isfinite(result).all() and len(held) == 10


def test_styles_follow_a_timeline(rig_networks: Networks) -> None:
    """The first style alone before a cut, the second alone after it, as if each ruled the clip."""
    values, styles = torch.randn(60, RIG.values), torch.randn(2, RIG.style)
    weights = np.zeros((60, 2))
    weights[:30, 0] = weights[30:, 1] = 1
    smooth = TranslationSettings(edges="averaged")
    mixed = translate(values, timed_wishes(styles, weights), rig_networks, smooth)
    for style, part in ((styles[:1], slice(0, 21)), (styles[1:], slice(39, 60))):
        alone = translate(values, shared_wishes(style, 60), rig_networks, smooth)
        torch.testing.assert_close(mixed[part], alone[part], atol=1e-5, rtol=1e-4)


def test_frames_before_the_first_wish_stay_exactly(rig_networks: Networks) -> None:
    values, styles = torch.randn(60, RIG.values), torch.randn(1, RIG.style)
    weights = np.zeros((60, 1))
    weights[30:] = 0.8
    result = translate(values, timed_wishes(styles, weights), rig_networks)
    assert torch.equal(result[:21], values[:21])
    assert (result[40:] != values[40:]).any(1).all()


def test_mixtures_lie_between_their_styles() -> None:
    styles = torch.tensor([[0.0, 2], [4, 0]])
    wishes = timed_wishes(styles, np.full((12, 2), (0.6, 0.2)))
    np.testing.assert_allclose(wishes.styles, np.tile((1.0, 1.5), (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(wishes.intensity, 0.8, rtol=1e-6)


@pytest.mark.parametrize("settings", [NED, RIG])
@pytest.mark.parametrize("changing", [False, True])
def test_bfloat16_says_the_same(settings: Any, changing: bool) -> None:
    networks = Networks(settings).initialise(2).eval()
    with torch.no_grad():
        last: Any = networks.generator.seq2[-1]
        last.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    values = torch.randn(60, networks.settings.values)
    styles = torch.randn(51 if changing else 2, 16)
    wishes = Wishes(styles, np.ones(51, np.float32)) if changing else shared_wishes(styles, 60)
    whole = translate(values, wishes, networks)
    short = translate(values, wishes, networks, SHORT)
    scale = float(whole.std())
    assert float((short - whole).abs().max()) < 0.1 * scale
    assert float((short - whole).norm() / whole.norm()) < 0.02
    assert not torch.equal(short, whole)


def test_absent_frames_come_back_unchanged(rig_networks: Networks) -> None:
    raw = np.random.default_rng(0).normal(size=(30, RIG.values)).astype(np.float32)
    present = np.ones(30, bool)
    present[12:17] = False
    wishes = shared_wishes(torch.randn(1, RIG.style), 30)
    manipulator = manipulator_of(rig_networks)
    result = translate_values(raw, wishes, manipulator, present=present)
    assert np.array_equal(result[~present], raw[~present])
    assert (result[present] != raw[present]).any(1).all()
    spoiled = raw.copy()
    spoiled[~present] = 1e6  # what stands in them has no influence
    again = translate_values(spoiled, wishes, manipulator, present=present)
    assert np.array_equal(again[present], result[present])


def test_translation_does_not_depend_on_units(rig_networks: Networks) -> None:
    """Values of another scale, with the normalisation that goes with it, change alike."""
    raw = np.random.default_rng(0).normal(size=(30, RIG.values)).astype(np.float32)
    wishes = shared_wishes(torch.randn(1, RIG.style), 30)
    plain = translate_values(raw, wishes, manipulator_of(rig_networks))
    scaled = manipulator_of(rig_networks)
    scaled.mean, scaled.spread = scaled.mean + 3, scaled.spread * 4
    again = translate_values(raw * 4 + 3, wishes, scaled)
    np.testing.assert_allclose(again, plain * 4 + 3, rtol=1e-3, atol=1e-3)


def manipulator_of(networks: Networks) -> Manipulator:
    count = networks.settings.values
    return Manipulator(
        networks, "rig", mean=np.zeros(count, np.float32), spread=np.ones(count, np.float32)
    )


def test_the_generator_really_sees_the_style() -> None:
    """So that equal results above do not come from a generator that ignores its wishes."""
    networks = Networks(RIG).initialise(1)
    with torch.no_grad():
        last: Any = networks.generator.seq2[-1]
        last.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    values, styles = torch.randn(20, RIG.values), torch.randn(2, RIG.style)
    both = translate(values, shared_wishes(styles, 20), networks)
    one, other = (translate(values, shared_wishes(style[None], 20), networks) for style in styles)
    torch.testing.assert_close(both[:9], one[:9], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both[-9:], other[-9:], rtol=1e-4, atol=1e-5)
    assert float((one - other).abs().mean()) > 0.01 * float(one.std())


@pytest.mark.parametrize("changing", [False, True])
def test_the_unrolled_generator_does_what_the_generator_does(changing: bool) -> None:
    networks = Networks(NED).initialise(2).eval()
    styles = torch.randn(21, 16) if changing else torch.randn(1, 16).expand(21, -1)
    values = torch.randn(30, NED.values)
    windows = windows_of(values)
    unrolled = UnrolledGenerator(networks.generator, torch.float32)
    made = unrolled(windows, styles) if changing else unrolled.over(values, styles[0], 10)
    with torch.inference_mode():
        torch.testing.assert_close(made, networks.generator(windows, styles), rtol=1e-4, atol=1e-5)
