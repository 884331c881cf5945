"""FLAME heads with DECA's wrinkles, drawn: golden pictures, edited codes and eyes."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from flame_files import flame_support, write_flame_files
from golden import Golden

from deca.crop import to_bytes
from deca.detail import DetailDecoder, DetailSurface, load_surface
from deca.encoder import COARSE, DETAIL, Encoder
from deca.flame import load_flame
from deca.flame_codes import FlameCodes
from deca.flame_pictures import condition_heads, draw_heads
from deca.reconstruction import Deca, HeadDecoder
from deca.template import load_template
from ned.core.errors import AssetError
from preprocessing.eye_sketch import aligned_eye_landmarks, edited_eye_landmarks

TINY, FULL, INPUTS = "deca_tiny.npz", "deca_flame_topology.npz", "create_inputs_tiny.npz"


pytestmark = pytest.mark.usefixtures("one_thread")


def _decoder(golden: Golden, folder: Path) -> HeadDecoder:
    flame = load_flame(folder / "generic_model.pkl", folder / "landmark_embedding.npy")
    template = load_template(folder / "head_template.obj")
    mask, fixed = folder / "uv_face_eye_mask.png", folder / "fixed_displacement_256.npy"
    wrinkles = DetailDecoder()
    golden.fill(wrinkles, "D_detail/")
    with torch.device("meta"):  # not used here
        coarse, detail = Encoder(COARSE), Encoder(DETAIL)
    for unused in (coarse, detail):
        unused.to_empty(device="cpu")
    deca = Deca(coarse, detail, wrinkles, torch.device("cpu"), "float32")
    return HeadDecoder(flame, load_surface(template, mask, fixed), deca)


@pytest.fixture(scope="module")
def tiny(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> HeadDecoder:
    folder = tmp_path_factory.mktemp("tiny")
    golden.module("synthetic_flame").write_all(str(folder), golden.salt)
    return _decoder(golden, folder)


@pytest.fixture(scope="module")
def full(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> HeadDecoder:
    """The real topology with bases from formulas."""
    folder, support = tmp_path_factory.mktemp("full"), flame_support()
    for path in support.iterdir():
        (folder / path.name).symlink_to(path.resolve())
    lines = (folder / "head_template.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
    faces = load_template(folder / "head_template.obj").faces
    data = golden.module("synthetic_flame").flame_dict(
        np.round(vertices - vertices.mean(0), 9), faces, golden.salt
    )
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(data, protocol=2))
    return _decoder(golden, folder)


def _codes(data: Any, prefix: str = "code_", **others: Any) -> FlameCodes:
    names = {"expression": "exp", "camera": "cam", "texture": "tex"}
    own = ("shape", "expression", "pose", "camera", "texture", "light", "detail")
    count = len(data[f"{prefix}shape"])
    given = {name: data[prefix + names.get(name, name)] for name in own}
    given |= {
        "transforms": np.tile(np.eye(3), (count, 1, 1)),
        "image_size": np.full((count, 2), 224),
        "present": np.ones(count, bool),
        "frames": np.arange(count),
    }
    return FlameCodes(source="deca", **{**given, **others})


def _check_pictures(golden: Golden, file: str, decoder: HeadDecoder, stride: int) -> None:
    """Compare everything the file holds of three decoded heads."""
    codes = _codes(golden[file])
    geometry = decoder.decode(codes)
    pictures = draw_heads(decoder, geometry)
    assert pictures.detailed is not None and pictures.grid is not None
    assert geometry.displacement is not None and geometry.detail_normals is not None
    golden.check(file, "nmfc_vertex_colors", decoder.colours[::stride])
    checked = 0
    for i in range(3):
        places = np.concatenate([geometry.landmarks3d[i], geometry.visible[i][:, None]], axis=1)
        grey = np.repeat(to_bytes(pictures.detailed[i])[..., None], 3, axis=2)
        values = {
            "verts": geometry.vertices[i],
            "normals": geometry.normals[i][::stride],
            "trans_verts": (geometry.projected[i] + [0, 0, 30])[::stride],
            "landmarks2d": geometry.landmarks2d[i],
            "landmarks3d": places,
            "pix_to_face": pictures.fragments.face[i],
            "bary": pictures.fragments.barycentric[i],
            "zbuf": pictures.fragments.depth[i],
            "alpha": pictures.fragments.coverage[i],
            "grid": pictures.grid[i],
            "nmfc": np.moveaxis(pictures.nmfc[i], -1, 0),
            "nmfc_u8_bgr": to_bytes(pictures.nmfc[i])[..., ::-1],
            "shape": np.repeat(pictures.shape[i][None], 3, axis=0),
            "shape_detail": np.repeat(pictures.detailed[i][None], 3, axis=0),
            "shape_detail_u8_bgr": grey,
            "displacement_map": geometry.displacement[i],
            "uv_detail_normals": np.moveaxis(geometry.detail_normals[i], -1, 0),
        }
        for name, value in values.items():
            if f"p{i}_{name}" in golden.manifest[file]["arrays"]:
                golden.check(file, f"p{i}_{name}", value)
                checked += 1
    assert checked >= 30


def test_golden_pictures_of_a_tiny_head(golden: Golden, tiny: HeadDecoder) -> None:
    assert tiny.surface is not None
    golden.check(TINY, "uv_face_eye_mask_sub4", tiny.surface.mask[::4, ::4])
    _check_pictures(golden, TINY, tiny, 1)


def test_golden_pictures_of_the_real_topology(golden: Golden, full: HeadDecoder) -> None:
    assert full.surface is not None
    golden.check(FULL, "uv_face_eye_mask_sub4", full.surface.mask[::4, ::4])
    _check_pictures(golden, FULL, full, 10)


def test_golden_conditioning_of_edited_codes(golden: Golden, tiny: HeadDecoder) -> None:
    data = golden[INPUTS]
    source = _codes(data, "src_", transforms=data["src_tform"], image_size=np.full((3, 2), 256))
    edited = source.with_manipulated(
        np.concatenate([data["exp_jaw"][:, None], data["exp_exp"]], axis=1)
    )
    drawn, lids = condition_heads(tiny, edited, "nearest")
    for kind in ("nmfc", "shape"):
        pictures = np.stack([getattr(one, kind) for one in drawn])[..., ::-1]
        golden.check(INPUTS, f"{kind}s_bgr", pictures)
        aligned = [
            cv2.warpAffine(picture, transform, (256, 256), flags=cv2.INTER_LANCZOS4)
            for picture, transform in zip(pictures, data["align_transforms"], strict=True)
        ]
        golden.check(INPUTS, f"{kind}s_aligned_bgr", np.stack(aligned))
    eyes = edited_eye_landmarks(lids, data["src_eye_landmarks"])
    golden.check(INPUTS, "eye_landmarks", eyes)
    moved = [
        aligned_eye_landmarks(e, t) for e, t in zip(eyes, data["align_transforms"], strict=True)
    ]
    golden.check(INPUTS, "eye_landmarks_aligned", np.stack(moved))


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> HeadDecoder:
    """A made-up head without any file of others, wrinkles included."""
    files = write_flame_files(tmp_path_factory.mktemp("made_up"))
    template = load_template(files.head_template)
    surface = load_surface(template, files.uv_mask, files.displacement)
    return HeadDecoder(load_flame(files.flame, files.landmarks), surface)


def _still(count: int = 2, **others: Any) -> FlameCodes:
    zeros = {"shape": 100, "expression": 50, "pose": 6}
    given: dict[str, Any] = {name: np.zeros((count, size)) for name, size in zeros.items()}
    given |= {"camera": np.tile([7.0, 0, 0], (count, 1))}
    given |= {"transforms": np.tile(np.diag([0.5, 0.5, 1]), (count, 1, 1))}
    given |= {"image_size": np.tile([448, 400], (count, 1)), "present": np.ones(count, bool)}
    return FlameCodes(source="flame-fit", frames=np.arange(count), **{**given, **others})


def test_heads_without_detail_are_drawn_smooth(made_up: HeadDecoder) -> None:
    codes = _still()
    drawn, lids = condition_heads(made_up, codes, "down")
    geometry = made_up.decode(codes)
    assert geometry.displacement is None and geometry.detail_normals is None
    assert drawn[0].nmfc.shape == drawn[0].shape.shape == (400, 448, 3)
    pictures = draw_heads(made_up, geometry)
    assert pictures.detailed is None and pictures.grid is not None
    # drawn at 224 pixels, put into images twice as large, where the lids are too
    skin = drawn[0].nmfc.any(-1)
    assert skin.sum() == pytest.approx(4 * pictures.front[0].sum(), rel=0.06)
    assert skin[tuple(np.rint(lids[0]).astype(int).T[::-1])].all()
    # a mouth that opens moves the skin's colours down, at the brow hardly anything
    pose = codes.pose.copy()
    pose[1, 3] = 0.3
    opened = draw_heads(made_up, made_up.decode(dataclasses.replace(codes, pose=pose)))
    changed = np.abs(opened.nmfc[1] - opened.nmfc[0]).max(-1)
    assert changed[150:180, 90:134].mean() > 0.01
    assert (changed[:90] > 0.05).mean() < 0.01


def test_colours_are_places_of_the_template_and_the_back_is_left_out(
    made_up: HeadDecoder,
) -> None:
    template = made_up.flame.template.numpy()
    assert made_up.colours.min() == 0 and made_up.colours.max() == 1
    pose = np.zeros((3, 6))
    pose[1, 1], pose[2, 1] = 0.8, np.pi
    codes = _still(3, pose=pose)
    pictures = draw_heads(made_up, made_up.decode(codes))
    # straight ahead, colour x grows to the right and y upward
    row, column = np.nonzero(pictures.front[0])
    low, high = template.min(0), template.max(0)
    x = ((2 * column + 1) / 224 - 1) / 7
    np.testing.assert_allclose(
        pictures.nmfc[0, row, column, 0], (x - low[0]) / (high - low)[0], atol=2e-3
    )
    y = -((2 * row + 1) / 224 - 1) / 7
    np.testing.assert_allclose(
        pictures.nmfc[0, row, column, 1], (y - low[1]) / (high - low)[1], atol=2e-3
    )
    assert not pictures.nmfc[~pictures.front].any()
    front = [pictures.nmfc[k][pictures.front[k]][:, 2].mean() for k in range(3)]
    assert front[0] > front[1] > front[2]  # turned around, the far half is what is seen


def test_files_that_do_not_belong_together_are_one_line(
    made_up: HeadDecoder, tmp_path: Path
) -> None:
    template = tmp_path / "head.obj"
    template.write_text("vt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    blank = np.zeros((256, 256), np.float32)
    surface = DetailSurface(load_template(template), blank, blank)
    with pytest.raises(AssetError, match="1 triangles, FLAME 1152"):
        HeadDecoder(made_up.flame, surface)


def test_batches_of_heads_are_the_heads_alone(made_up: HeadDecoder) -> None:
    codes = _still(19, expression=np.random.default_rng(2).normal(size=(19, 50)))
    together, lids = condition_heads(made_up, codes, "down")
    assert len(together) == len(lids) == 19
    for k in (0, 8, 18):
        alone, own = condition_heads(made_up, codes[k : k + 1], "down")
        np.testing.assert_array_equal(together[k].nmfc, alone[0].nmfc)
        np.testing.assert_allclose(lids[k], own[0], atol=1e-4)
    assert condition_heads(made_up, codes[:0], "down")[0] == []
