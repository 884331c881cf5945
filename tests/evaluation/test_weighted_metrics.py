"""LPIPS, SyncNet, FID and FVD with synthetic weights: loading, shapes, identity, algebra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_weights import LPIPS_FILES, Means, write_lpips

from ned.core.errors import AssetError
from ned.evaluation import frechet, lip_sync, perceptual
from ned.evaluation.frechet import frechet_distance, frechet_scores, load_features, stretches
from ned.evaluation.lip_sync import (
    LipSync,
    Sync,
    aligned,
    crop,
    lip_sync_scores,
    load_lip_sync,
    steps,
    sync_distances,
    windows,
)
from ned.evaluation.metric import Metric
from ned.evaluation.mfcc import mfcc
from ned.evaluation.perceptual import load_perceptual, perceptual_scores


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path))
    return tmp_path


@pytest.fixture
def lpips_files(folder: Path) -> Path:
    """Random weights under the keys and shapes of the published files."""
    write_lpips(folder)
    return folder


def pictures(count: int, side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def test_lpips_of_equal_pictures_is_zero_and_grows_with_the_difference(lpips_files: Path) -> None:
    network = load_perceptual()
    clean = pictures(18)
    noise = np.random.default_rng(1).normal(0, 1, clean.shape)
    noisy = [np.clip(clean + amount * noise, 0, 255).astype(np.uint8) for amount in (5, 25, 80)]
    assert (network.distances(clean, clean) == 0).all()
    means = [network.distances(clean, other).mean() for other in noisy]
    assert 0 < means[0] < means[1] < means[2]
    swapped = network.distances(noisy[1], clean)
    np.testing.assert_allclose(swapped, network.distances(clean, noisy[1]), rtol=1e-4)
    assert network.distances(clean[:0], clean[:0]).shape == (0,)
    (score,) = perceptual_scores(swapped)
    assert score.value == pytest.approx(float(swapped.mean())) and score.count == 18


def test_lpips_follows_its_definition(lpips_files: Path) -> None:
    linear, backbone = (torch.load(lpips_files / name) for name in LPIPS_FILES)
    first, second = pictures(1, 70), pictures(1, 70, seed=3)

    def activations(picture: np.ndarray) -> list[np.ndarray]:
        shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
        levels = (picture[0] / 127.5 - 1 - shift) / scale
        values = torch.from_numpy(levels.astype(np.float32)).permute(2, 0, 1)[None]
        found = []
        for key, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
            if key in (3, 6):
                values = torch.nn.functional.max_pool2d(values, 3, 2)
            kernel = backbone[f"features.{key}.weight"]
            values = torch.relu(torch.nn.functional.conv2d(values, kernel, None, stride, padding))
            found.append(values[0].numpy())
        return found

    total = 0.0
    for index, pair in enumerate(zip(activations(first), activations(second), strict=True)):
        one, other = (a / np.maximum(np.linalg.norm(a, axis=0), 1e-10) for a in pair)
        weight = linear[f"lin{index}.model.1.weight"].numpy()[0]
        total += float((weight * (one - other) ** 2).sum(0).mean())
    assert load_perceptual().distances(first, second)[0] == pytest.approx(total, rel=1e-4)


def test_lpips_refuses_pictures_that_do_not_compare(lpips_files: Path) -> None:
    network = load_perceptual()
    with pytest.raises(ValueError, match="do not compare"):
        network.distances(pictures(2), pictures(3))
    with pytest.raises(ValueError, match="31 are needed"):
        network.distances(pictures(1, 30), pictures(1, 30))


@pytest.mark.parametrize("load", [load_perceptual, load_lip_sync, lambda: load_features("fid")])
def test_missing_weights_are_one_line(folder: Path, load) -> None:
    with pytest.raises(AssetError, match=r"is missing .*ned assets (fetch|add)") as caught:
        load()
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_are_named(lpips_files: Path) -> None:
    path = lpips_files / LPIPS_FILES[1]
    state = torch.load(path)
    torch.save({k: v for k, v in state.items() if k != "features.3.bias"}, path)
    with pytest.raises(AssetError, match=r"misses features.3.bias"):
        load_perceptual()
    torch.save({**state, "features.10.weight": torch.zeros(2)}, path)
    with pytest.raises(AssetError, match=r"features.10.weight \(2,\), needs"):
        load_perceptual()
    torch.save({**state, "features.13.weight": torch.zeros(2)}, path)
    with pytest.raises(AssetError, match=r"has unknown features.13.weight"):
        load_perceptual()


@pytest.fixture(scope="module")
def syncnet(tmp_path_factory: pytest.TempPathFactory) -> LipSync:
    """SyncNet loaded from a file of random weights, written as old versions of torch did."""
    from ned.evaluation.syncnet import SyncNet

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("syncnet")
    state = SyncNet().state_dict()
    state = {key: value for key, value in state.items() if "num_batches_tracked" not in key}
    torch.save(state, place / "syncnet_v2.model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NED_ASSETS", str(place))
        return load_lip_sync()


def test_syncnet_has_the_size_of_the_published_weights() -> None:
    from ned.evaluation import syncnet as module

    values = sum(v.numel() for k, v in module.SyncNet().state_dict().items() if "tracked" not in k)
    # the published file has 54,573,114 bytes; some 130 of each of 88 tensors are no values
    assert 0 < 54_573_114 - 4 * values < 15_000
    sizes = (module.WINDOW, module.SOUND_WINDOW, module.SIDE)
    assert sizes == (lip_sync._WINDOW, lip_sync._SOUND_WINDOW, lip_sync._SIDE)


def test_windows_of_pictures_do_not_depend_on_how_they_are_cut(syncnet: LipSync) -> None:
    faces = pictures(14, 224)
    together = syncnet.embed_faces(list(faces))
    assert together.shape == (10, 1024)
    alone = syncnet.embed_faces(list(faces[7:12]))
    np.testing.assert_allclose(alone[0], together[7], rtol=1e-4, atol=1e-5)
    assert len(syncnet.embed_faces(list(faces[:4]))) == 0


class Lips(LipSync):
    """A network for which a window of faces is its five mean levels."""

    def __init__(self) -> None:
        self.chunks: list[int] = []

    def embed_faces(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        self.chunks.append(len(pictures))
        means = np.array([picture.mean() for picture in pictures], np.float32)
        return np.lib.stride_tricks.sliding_window_view(means, 5)

    def embed_sounds(self, samples: np.ndarray) -> np.ndarray:
        means = samples[: len(samples) // 640 * 640].reshape(-1, 640).mean(1)
        return np.lib.stride_tricks.sliding_window_view(means.astype(np.float32), 5)[:-1]


@pytest.mark.parametrize(("rate", "lag"), [(25, 0), (50, 3), (12.5, 0)])
def test_frames_pass_by_at_any_rate_and_meet_their_sound(rate: float, lag: int) -> None:
    levels = np.random.default_rng(0).integers(0, 256, 80).astype(np.uint8)
    if rate < 25:
        levels = np.repeat(levels[::2], 2)
    points = np.zeros((round(80 * rate / 25), 478, 2))
    points[:], points[:, 1] = (20, 20), (40, 40)
    points[7] = np.nan
    lips = Lips()
    sequence = lips.begin(np.arange(len(points)) / rate + 5, points)
    for index in range(len(points)):
        level = levels[int(index * 25 / rate)]
        sequence.add(index, np.full((90, 90, 3), level, np.uint8))
    sound = aligned(np.repeat(levels, 640).astype(np.float64), -lag / 25)
    sync = sequence.sync(sound)
    assert sync is not None
    assert max(lips.chunks) == 12
    assert (sync.offset, round(sync.distance, 3)) == (lag, 0) if not lag else sync.offset == lag
    assert len(sync.distances) == min(len(levels) - 5 - (rate < 25), len(sound) // 640 - 5)


def test_clips_that_hardly_show_the_face_are_not_measured() -> None:
    points = np.ones((100, 478, 2))
    points[70:] = np.nan
    sequence = Lips().begin(np.arange(100) / 25, points)
    for index in range(100):
        sequence.add(index, np.zeros((9, 9, 3), np.uint8))
    assert sequence.sync(np.zeros(64000)) is None
    assert Lips().begin(np.zeros(0), np.zeros((0, 478, 2))).sync(np.zeros(64000)) is None


def test_pictures_reach_syncnet_as_bgr_levels(
    syncnet: LipSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def embed(given: object) -> object:
        seen.append(given)
        return torch.zeros(1, 1024)

    monkeypatch.setattr(syncnet._network, "embed_faces", embed)
    red = np.zeros((5, 224, 224, 3), np.uint8)
    red[..., 0] = 200
    syncnet.embed_faces(list(red))
    assert seen[0].shape == (1, 3, 5, 224, 224)
    assert [float(seen[0][0, k].mean()) for k in range(3)] == [0, 0, 200]


def test_windows_of_sound_begin_with_pictures(syncnet: LipSync) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 640 * 12)
    embedded = syncnet.embed_sounds(samples)
    assert embedded.shape == (7, 1024)
    later = syncnet.embed_sounds(samples[3 * 640 :])
    np.testing.assert_allclose(later[1:], embedded[4:], rtol=1e-3, atol=1e-3)
    assert len(syncnet.embed_sounds(samples[: 640 * 5])) == 0


def test_short_clips_are_not_measured(syncnet: LipSync) -> None:
    points = np.zeros((6, 478, 2))
    points[:, 1] = 100
    sequence = syncnet.begin(np.arange(6) / 25, points)
    for index, picture in enumerate(pictures(6, 120)):
        sequence.add(index, picture)
    assert sequence.sync(np.zeros(640 * 6)) is None
    scores, skips = lip_sync_scores(None, None)
    assert scores == [] and len(skips[0].metrics) == 5 and "1.4 s" in skips[0].reason


def slow_distances(faces: np.ndarray, sounds: np.ndarray) -> np.ndarray:
    table = np.zeros((len(faces), 31))
    for row, face in enumerate(faces):
        for column in range(31):
            at = row + column - 15
            sound = sounds[at] if 0 <= at < len(sounds) else np.zeros_like(face)
            table[row, column] = math.sqrt(((face - sound + 1e-6) ** 2).sum())
    return table


@pytest.mark.parametrize("shift", [-4, 0, 9])
def test_planted_shift_is_found(shift: int) -> None:
    generator = np.random.default_rng(abs(shift))
    sounds = generator.normal(0, 1, (120, 16)).astype(np.float32)
    faces = np.roll(sounds, shift, axis=0) + generator.normal(0, 0.1, sounds.shape)
    distances = sync_distances(faces, sounds)
    np.testing.assert_allclose(distances, slow_distances(faces, sounds), rtol=1e-5)
    sync = Sync(distances)
    assert sync.offset == shift
    assert sync.distance == pytest.approx(distances.mean(0).min())
    assert sync.confidence == pytest.approx(np.median(distances.mean(0)) - sync.distance, rel=1e-5)
    scores, skips = lip_sync_scores(sync, sync)
    found = {score.metric: score for score in scores}
    assert skips == []
    assert found["speech.lse_d_change"].value == found["speech.lse_c_change"].value == 0
    assert found["speech.lse_d"].low <= found["speech.lse_d"].value <= found["speech.lse_d"].high
    assert found["speech.sync_offset"].value == shift


def test_wrong_lips_are_further_and_less_certain() -> None:
    generator = np.random.default_rng(5)
    sounds = generator.normal(0, 1, (200, 16))
    right = Sync(sync_distances(sounds + 0.1 * generator.normal(0, 1, sounds.shape), sounds))
    wrong = Sync(sync_distances(generator.normal(0, 1, sounds.shape), sounds))
    scores, _ = lip_sync_scores(wrong, right)
    found = {score.metric: score.value for score in scores}
    assert found["speech.lse_d_change"] > 1 and found["speech.lse_c_change"] < -1
    assert lip_sync_scores(right, None)[1][0].metrics[0] == "speech.lse_d_change"


def test_mfcc_of_known_sounds() -> None:
    time = np.arange(16000) / 16000
    tone = 0.1 * np.sin(2 * np.pi * 1000 * time)
    quiet, loud = mfcc(tone), mfcc(3 * tone)
    assert quiet.shape == (1 + math.ceil((16000 - 400) / 160), 13)
    inside = slice(2, -3)
    np.testing.assert_allclose(
        (loud - quiet)[inside, 0], math.log(9), atol=1e-3, err_msg="energy of 3 times the sound"
    )
    np.testing.assert_allclose((loud - quiet)[inside, 1:], 0, atol=1e-2)
    # Without the lifter, the cosine transform of all bands gives back the loudest one: 1 kHz is
    # 1000 mel of 2840, in the 9th of 26 bands.
    cepstrum = mfcc(tone, 26)[50] / (1 + 11 * np.sin(np.pi * np.arange(26) / 22))
    from scipy.fft import idct

    cepstrum[[0, 22]] = 0  # replaced by the energy; lost to the lifter's zero
    assert np.argmax(idct(cepstrum, norm="ortho")) in (8, 9)
    assert mfcc(np.zeros(10)).shape == (1, 13) and np.isfinite(mfcc(np.zeros(0))).all()


def test_frames_shown_at_25_per_second() -> None:
    assert steps(np.arange(6) / 25 + 3).tolist() == [0, 1, 2, 3, 4, 5]
    assert steps(np.arange(7) / 50).tolist() == [0, 2, 4, 6]
    assert steps(np.arange(4) / 12.5).tolist() == [0, 0, 1, 1, 2, 2, 3]
    ntsc = steps(np.arange(300) * 1001 / 30000)
    assert len(ntsc) == 250 and ntsc[-1] == 298 and (np.diff(ntsc) >= 1).all()
    assert steps(np.array([0.0])).tolist() == [0]


def test_face_windows_bridge_gaps_and_ignore_jumps() -> None:
    points = np.zeros((40, 478, 2), np.float32)
    points[:], points[:, 1] = (100, 50), (180, 150)
    points[10:14] = np.nan
    points[25] += 500
    np.testing.assert_allclose(windows(points), np.tile([140.0, 100.0, 50.0], (40, 1)))
    with pytest.raises(ValueError, match="no frame"):
        windows(points * np.nan)


def test_crop_shows_more_below_and_grey_outside() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[50:190, 70:210] = 255  # y - half to y + 1.8 half, x -+ 1.4 half
    assert (crop(image, np.array([140, 100, 50])) == 255).all()
    outside = crop(image, np.array([0, 0, 50]))
    assert (outside[:70, :] == 110).all() and (outside[100:, 140:] != 110).any()
    assert (crop(image, np.array([-900.0, 5000.0, 50.0])) == 110).all()


def test_sound_is_aligned_with_the_first_picture() -> None:
    samples = np.arange(1, 16001, dtype=np.float32)
    assert aligned(samples, 0.5)[:8000].sum() == 0 and aligned(samples, 0.5)[8000] == 1
    assert aligned(samples, -0.25)[0] == 4001
    assert len(aligned(samples, 0.0)) == 16000


def by_matrix_root(first: np.ndarray, second: np.ndarray) -> float:
    """The textbook formula with scipy's matrix square root."""
    from scipy.linalg import sqrtm

    covariances = [np.cov(each, rowvar=False) for each in (first, second)]
    root = np.real(np.asarray(sqrtm(covariances[0] @ covariances[1])))
    apart = ((first.mean(0) - second.mean(0)) ** 2).sum()
    return float(apart + sum(np.trace(c) for c in covariances) - 2 * np.trace(root))


def test_frechet_distance_is_that_of_the_textbook() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(0, 1, (400, 12)) @ generator.normal(0, 1, (12, 12))
    second = generator.normal(0.5, 2, (300, 12))
    expected = by_matrix_root(first, second)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_known_gaussians() -> None:
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    spread = signs * math.sqrt(7 / 8)  # covariance 1
    assert frechet_distance(spread, spread + np.array([3, 4, 0])) == pytest.approx(25)
    assert frechet_distance(spread, spread * [1, 1, 3]) == pytest.approx(4)


@pytest.mark.parametrize("count", [5, 40, 200])
def test_frechet_distance_of_equal_and_of_few_features(count: int) -> None:
    features = np.random.default_rng(count).normal(5, 3, (count, 64)).astype(np.float32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-8)
    moved = frechet_distance(features, features + 1)
    assert moved == pytest.approx(64, rel=1e-6)


def test_features_that_do_not_compare() -> None:
    for first, second in (((5, 3), (5, 4)), ((1, 3), (5, 3)), ((5,), (5,))):
        with pytest.raises(ValueError, match="do not compare"):
            frechet_distance(np.zeros(first), np.zeros(second))
    with pytest.raises(ValueError, match="finite"):
        frechet_distance(np.full((3, 3), np.nan), np.zeros((3, 3)))
    scores, skips = frechet_scores("fvd", np.zeros((3, 4)), np.zeros((30, 4)))
    assert (
        scores == [] and skips[0].metrics == ("realism.fvd",) and "3 stretches" in skips[0].reason
    )


class ClipMeans(torch.nn.Module):
    """Mean level of every channel and moment, with the call of the published I3D."""

    def forward(
        self,
        clips: torch.Tensor,
        rescale: bool = False,
        resize: bool = False,
        return_features: bool = False,
    ) -> torch.Tensor:
        if not (rescale and resize and return_features):
            raise RuntimeError("called differently")
        return clips.mean([3, 4]).flatten(1)


def test_feature_networks_are_loaded_and_fed(folder: Path) -> None:
    torch.jit.script(Means()).save(str(folder / "inception-2015-12-05.pt"))
    torch.jit.script(ClipMeans()).save(str(folder / "i3d_torchscript.pt"))
    faces = pictures(36, 8)
    found = load_features("fid").features(faces)
    np.testing.assert_allclose(found[:, :3], faces.mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(found[:, 3:], faces.max((1, 2)))
    scores, skips = frechet_scores("fid", found, found)
    assert skips == [] and scores[0].count == 36
    assert scores[0].value == pytest.approx(0, abs=1e-6)
    clips = list(stretches(faces))
    assert len(clips) == 2
    moments = load_features("fvd").features(clips)
    expected = clips[1].mean((1, 2)).T.ravel()  # channel after channel
    np.testing.assert_allclose(moments[1], expected, rtol=1e-5)
    assert load_features("fid").features([]).shape == (0, 0)


def test_unusable_feature_networks(folder: Path) -> None:
    path = folder / "inception-2015-12-05.pt"
    path.write_bytes(b"no network")
    with pytest.raises(AssetError, match="is not a TorchScript network"):
        load_features("fid")
    torch.jit.script(ClipMeans()).save(str(path))
    with pytest.raises(AssetError, match="does not give features") as caught:
        load_features("fid").features(pictures(1, 8))
    assert "\n" not in str(caught.value)


ALL = (*perceptual.METRICS, *lip_sync.METRICS, *frechet.METRICS)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_metrics_are_documented(metric: Metric) -> None:
    assert metric.group in ("realism", "speech")
    assert metric.definition.endswith(".") and metric.source
    assert metric.perfect is None or metric.range[0] <= metric.perfect <= metric.range[1]


@pytest.mark.parametrize("start", [float("nan"), float("inf"), -1e12, 3601.0])
def test_damaged_times_of_sound_leave_none(start: float) -> None:
    assert len(aligned(np.ones(8), start)) == 0
