"""Face masks: erosion, pieces, the mesh's mask, FSGAN's network; algebra first."""

from __future__ import annotations

import numpy as np
import pytest

from ned.core.errors import AssetError, InputError
from ned.core.face.mesh import load_mesh
from preprocessing import segmentation
from preprocessing.erosion import erosion_kernel, largest_piece, soft_erosion

torch = pytest.importorskip("torch")


def _disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(x, y) <= radius


def test_erosion_of_everything_leaves_the_middle():
    soft, hard = soft_erosion(np.ones((40, 40), bool), 9, 0.999)
    assert hard[4:-4, 4:-4].all()
    assert not hard[0].any()
    assert soft.max() == 1
    nothing, none = soft_erosion(np.zeros((40, 40), bool), 9, 0.6)
    assert not nothing.any()
    assert not none.any()


def test_erosion_shrinks_more_with_a_higher_threshold():
    disc = _disc(101, 30)
    areas = [soft_erosion(disc, 21, threshold)[1].sum() for threshold in (0.5, 0.6, 0.8)]
    assert disc.sum() * 1.03 > areas[0] > areas[1] > areas[2] > 0
    soft, hard = soft_erosion(disc, 21, 0.6)
    assert (soft[hard] == 1).all()
    assert (np.diff(soft[50, :30]) > -1e-6).all()


def test_erosion_is_the_sum_it_says():
    mask = np.random.default_rng(6).random((24, 31)) > 0.4
    kernel, padded = erosion_kernel(7), np.pad(mask, 3)
    plain = [[(padded[y : y + 7, x : x + 7] * kernel).sum() for x in range(31)] for y in range(24)]
    assert (soft_erosion(mask, 7, 0.55)[1] == (np.array(plain) >= 0.55)).mean() > 0.998


def test_largest_piece_counts_corners_as_touching():
    mask = np.zeros((20, 20), bool)
    mask[2:5, 2:5] = mask[5:7, 5:7] = mask[12:15, 12:16] = True
    piece = largest_piece(mask)
    assert piece[:8, :8].sum() == 13
    assert piece.sum() == 13
    assert not largest_piece(np.zeros((5, 5), bool)).any()


def test_golden_erosion(golden):
    arrays = golden["segmentation.npz"]
    for size in (17, 21):
        golden.check("segmentation.npz", f"kernel{size}", erosion_kernel(size))
    for index in range(4):
        size, threshold = arrays[f"erode{index}_ks_thr"]
        soft, hard = soft_erosion(arrays[f"erode{index}_mask"], int(size), threshold)
        golden.check("segmentation.npz", f"erode{index}_hard", hard)
        golden.check("segmentation.npz", f"erode{index}_largest_cc", largest_piece(hard))
        if (hard == arrays[f"erode{index}_hard"]).all():
            golden.check("segmentation.npz", f"erode{index}_soft", soft)


def test_golden_network(golden):
    from preprocessing.segmentation_network import SegmentationNetwork

    arrays = golden["segmentation.npz"]
    images = torch.from_numpy(arrays["image_u8"].astype(np.float32) / 255)
    network = SegmentationNetwork()
    wanted = golden.json("keys_segmentation.json")["UNet"]
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == {
        key: list(shape) for key, (shape, _) in wanted.items()
    }
    golden.fill(network, "UNet/")
    with torch.inference_mode():
        logits = network(images)
        golden.check("segmentation.npz", "logits_trainmode", logits[:1])
        second = logits[1:, :, ::2, ::2]
        golden.check("segmentation.npz", "logits_trainmode_second_image", second)
        golden.check("segmentation.npz", "class_trainmode", logits[:1].argmax(1))
        kept = SegmentationNetwork("running")
        golden.fill(kept, "UNet/")
        golden.check("segmentation.npz", "logits_evalmode", kept(images[:1])[:, :, ::2, ::2])
        exact = network.double()(images[:1].double())
        golden.check("segmentation.npz", "logits_trainmode_f64", exact)


def test_every_crop_of_a_batch_is_masked_by_itself(tmp_path):
    from preprocessing.segmentation_network import SegmentationNetwork

    torch.manual_seed(7)
    weights = tmp_path / "weights.pth"
    torch.save({"state_dict": SegmentationNetwork().state_dict()}, weights)
    segmenter = segmentation.FaceSegmenter(weights)
    crops = np.random.default_rng(7).integers(0, 255, (2, 32, 48, 3)).astype(np.uint8)
    together = segmenter.classes(crops)
    for crop, classes in zip(crops, together, strict=True):
        assert (segmenter.classes(crop[None])[0] == classes).mean() > 0.998
    assert segmenter.masks(crops).shape == (2, 32, 48)
    with pytest.raises(InputError, match="multiples of 16"):
        segmenter.classes(crops[:, :30])


def test_wrong_weights_are_refused(tmp_path):
    torch.save({"state_dict": {"final.weight": torch.zeros(3, 64, 1, 1)}}, tmp_path / "some.pth")
    with pytest.raises(AssetError, match=r"some\.pth"):
        segmentation.FaceSegmenter(tmp_path / "some.pth")


def test_missing_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NED_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match="ned assets add"):
        segmentation.FaceSegmenter()


def _frontal(turn: float = 0.0) -> np.ndarray:
    """The neutral mesh in a crop of 256 pixels, turned about the vertical axis in radians."""
    neutral = load_mesh().neutral
    across = neutral[:, 0] * np.cos(turn) + neutral[:, 2] * np.sin(turn)
    return np.stack([127.5 + 84 * across, 110 - 84 * neutral[:, 1]], axis=1)


def test_mesh_mask_covers_the_mesh_and_some_forehead():
    points = _frontal()
    mask = segmentation.mesh_mask(points)
    x, y = np.rint(points).astype(int).T
    assert mask[y, x].mean() > 0.99
    top = points[10]
    assert mask[round(top[1]) - 4, round(top[0])]
    assert not mask[round(top[1]) - 12, round(top[0])]
    rows = np.flatnonzero(mask.any(1))
    assert rows[-1] == pytest.approx(points[:, 1].max(), abs=1.5)
    assert largest_piece(mask).sum() == mask.sum()
    turned = segmentation.mesh_mask(_frontal(0.9))
    x, y = np.rint(_frontal(0.9)).astype(int).T
    assert turned[y, x].mean() > 0.98


def test_mesh_mask_without_a_mesh_is_empty_and_outside_is_cut():
    assert not segmentation.mesh_mask(np.full((478, 2), np.nan)).any()
    mask = segmentation.mesh_mask(_frontal() + np.array([100, 0]), size=(256, 200))
    assert mask.shape == (200, 256)
    assert mask[:, -1].any()
    assert not mask[:, 0].any()


def test_empty_masks_repeat_the_one_before():
    full, empty = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    held = [mask.all() for mask in segmentation.hold_masks([empty, full, empty, empty])]
    assert held == [False, True, True, True]
