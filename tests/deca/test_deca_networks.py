"""DECA's networks, crops and lighting: golden vectors, algebra, and weights that do not fit."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden import Golden

from deca.crop import (
    Rounding,
    crop_image,
    crop_transform,
    image_from_crop,
    image_points_from_ndc,
    to_bytes,
)
from deca.detail import DetailDecoder, detail_codes, load_surface
from deca.encoder import COARSE, DETAIL, Encoder, split_codes
from deca.lighting import lamp_shading
from deca.normals import grid_normals, vertex_normals
from deca.reconstruction import Deca, FaceImage, project
from deca.sampling import sample_grid, warp
from deca.template import load_template
from ned.core.device import Precision, find_device
from ned.core.errors import AssetError, InputError

NETS, CROP, TINY = "deca_nets.npz", "deca_crop.npz", "deca_tiny.npz"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("name", "outputs"), [("E_flame", COARSE), ("E_detail", DETAIL)])
def test_golden_encoders(golden: Golden, name: str, outputs: int) -> None:
    network = Encoder(outputs).eval()
    keys = {key: tuple(shape) for key, (shape, _) in golden.json("keys_deca.json")[name].items()}
    assert {key: tuple(v.shape) for key, v in network.state_dict().items()} == keys
    golden.fill(network, f"{name}/")
    crops = torch.from_numpy(golden[NETS]["image_u8"][None].astype(np.float32) / 255)
    with torch.inference_mode():
        golden.check(NETS, f"{name}_features", network.encoder(crops))
        golden.check(NETS, f"{name}_out", network(crops))
        network.double()
        golden.check(NETS, f"{name}_features_f64", network.encoder(crops.double()))
        golden.check(NETS, f"{name}_out_f64", network(crops.double()))


def test_golden_detail_decoder(golden: Golden) -> None:
    network = DetailDecoder().eval()
    wanted = golden.json("keys_deca.json")["D_detail"]
    keys = {key: tuple(shape) for key, (shape, _) in wanted.items()}
    assert {key: tuple(v.shape) for key, v in network.state_dict().items()} == keys
    golden.fill(network, "D_detail/")
    given = golden[NETS]["D_detail_in"]
    pose = np.concatenate([np.ones((2, 3)), given[:, :3]], axis=1)
    codes = detail_codes(pose, given[:, 3:53], given[:, 53:])
    np.testing.assert_array_equal(codes.numpy(), given)
    with torch.inference_mode():
        result = network(codes)
        golden.check(NETS, "D_detail_out0", result[0])
        golden.check(NETS, "D_detail_out1_sub4", result[1, :, ::4, ::4])
        precise = network.double()(codes.double())
        golden.check(NETS, "D_detail_out1_sub4_f64", precise[1, :, ::4, ::4])


def test_golden_parts_of_the_code_and_projection(golden: Golden) -> None:
    codes = split_codes(torch.from_numpy(golden[NETS]["decompose_in"]))
    names = {"tex": "texture", "exp": "expression", "cam": "camera"}
    for name in ("shape", "tex", "exp", "pose", "cam", "light"):
        golden.check(NETS, f"decompose_{name}", getattr(codes, names.get(name, name)))
    with pytest.raises(ValueError, match="236"):
        split_codes(torch.zeros(1, 235))
    projected = project(golden[NETS]["orth_points"], golden[NETS]["orth_cam"])
    # the stored projection comes before y and z are turned
    golden.check(NETS, "orth_proj", projected * [1, -1, -1])


@pytest.mark.parametrize("which", ["0", "1"])
def test_golden_crop_and_the_way_back(golden: Golden, which: str) -> None:
    data = golden[CROP]
    transform = crop_transform(data[f"kpt{which}"])
    golden.check(CROP, f"tform{which}", transform)
    crop = crop_image(data[f"img{which}_u8"], transform)
    golden.check(CROP, f"crop{which}", crop if which == "0" else crop[:, ::4, ::4])
    back = data[f"back{which}_u8"]
    exact = warp(back / 255.0, transform, (256, 256))
    golden.check(CROP, f"back{which}_float_sub2", exact[::2, ::2])
    roundings: tuple[tuple[Rounding, str], ...] = (("down", "trunc"), ("nearest", "round"))
    for rounding, name in roundings:
        result = image_from_crop(back, transform, (256, 256), rounding)
        golden.check(CROP, f"back{which}_{name}_u8", result)
        assert (result != data[f"back{which}_{name}_u8"]).mean() < 0.002


def test_golden_bytes(golden: Golden) -> None:
    given = golden[CROP]["tensor2image_in"].transpose(1, 2, 0)
    golden.check(CROP, "tensor2image_out", to_bytes(given)[..., ::-1])


def test_a_crop_put_back_is_the_image_and_points_return() -> None:
    y, x = np.mgrid[0:256, 0:256]
    image = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    transform = crop_transform(np.array([[70.0, 90], [180, 200], [120, 130]]))
    crop = crop_image(image, transform).transpose(1, 2, 0)
    back = image_from_crop(crop, transform, (256, 256), "nearest")
    inside = (slice(90, 200), slice(70, 180))
    assert np.abs(back[inside].astype(int) - image[inside]).max() <= 2
    corner = np.array([[70.0, 90.0, 1.0]]) @ transform.T
    ndc = (corner[:, :2] - 112) / 112
    np.testing.assert_allclose(image_points_from_ndc(ndc, transform), [[70, 90]], atol=1e-9)


def test_bilinear_reading_is_exact_on_planes_and_zero_outside() -> None:
    y, x = np.mgrid[0:8, 0:10].astype(float)
    plane = (3 * x - 2 * y + 1)[..., None]
    moved = warp(plane, np.array([[0.5, 0.1, 1.3], [-0.1, 0.5, 1.7]]), (9, 6))[..., 0]
    row, column = np.mgrid[0:6, 0:9]
    at_x, at_y = 0.5 * column + 0.1 * row + 1.3, -0.1 * column + 0.5 * row + 1.7
    np.testing.assert_allclose(moved, 3 * at_x - 2 * at_y + 1, atol=1e-9)
    assert not warp(plane, np.array([[1, 0, 20], [0, 1, 0]]), (4, 4)).any()
    assert not warp(plane, np.full((2, 3), np.nan), (4, 4)).any()


def test_maps_are_read_as_torch_reads_them() -> None:
    random = np.random.default_rng(0)
    maps = random.normal(size=(2, 7, 5, 3)).astype(np.float32)
    grid = random.uniform(-1.3, 1.3, (2, 6, 6, 2)).astype(np.float32)
    covered = random.random((2, 6, 6)) < 0.8
    wanted = torch.nn.functional.grid_sample(
        torch.from_numpy(maps).permute(0, 3, 1, 2), torch.from_numpy(grid), align_corners=False
    )
    wanted = wanted.permute(0, 2, 3, 1).numpy() * covered[..., None]
    np.testing.assert_allclose(sample_grid(maps, grid, covered), wanted, atol=1e-5)


def test_lamps_light_what_faces_them_like_the_formula() -> None:
    normals = np.random.default_rng(1).normal(size=(3, 50, 3)).astype(np.float32)
    lamps = np.array([[-1, 1, 1], [1, 1, 1], [-1, -1, 1], [1, -1, 1], [0, 0, 1]], float)
    lamps /= np.linalg.norm(lamps, axis=1, keepdims=True)
    wanted = np.clip(normals @ lamps.T, 0, 1).mean(-1) * 1.7 * 180 / 255
    np.testing.assert_allclose(lamp_shading(normals), wanted, atol=1e-5)
    large = np.tile(normals, (1, 1000, 1))
    np.testing.assert_allclose(lamp_shading(large), np.tile(wanted, (1, 1000)), atol=1e-5)


def test_a_grid_has_the_normals_of_the_mesh_it_is(golden: Golden) -> None:
    columns, rows = (2, 252), (5, 249)
    y, x = np.mgrid[0:256, 0:256]
    waves = np.stack([x / 256, 0.1 * np.sin(x / 9) + 0.1 * np.cos(y / 7), y / 256], axis=-1)
    left, top = np.meshgrid(
        np.arange(columns[0], columns[1] + 1), np.arange(rows[0], rows[1] + 1), indexing="ij"
    )
    a = (top * 256 + left).ravel()  # top-left texel of each quad, columns outside rows
    quads = np.stack([np.stack([a, a + 256, a + 1], 1), np.stack([a + 1, a + 256, a + 257], 1)], 1)
    dense = quads.reshape(-1, 3)
    for file in (TINY, "deca_flame_topology.npz"):
        golden.check(file, "dense_faces_head", dense[:6])
    assert len(dense) == 122990  # as many as the published list has
    wanted = vertex_normals(waves.reshape(1, -1, 3), dense).reshape(1, 256, 256, 3)
    result = grid_normals(waves[None], columns, rows)
    np.testing.assert_allclose(result, wanted, atol=2e-4)
    assert not result[0, :5].any() and not result[0, :, 254:].any()
    with pytest.raises(ValueError, match="do not lie"):
        grid_normals(waves[None, :100], columns, rows)


@pytest.fixture(scope="module")
def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {"E_flame": Encoder(COARSE), "E_detail": Encoder(DETAIL), "D_detail": DetailDecoder()}


def _face(seed: int) -> FaceImage:
    image = np.random.default_rng(seed).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 4)
    transform = crop_transform(np.array([[20.0, 20], [60, 50]]))
    return FaceImage(image, transform, frame=10 + seed, present=seed != 1)


def _deca(networks: dict[str, torch.nn.Module], precision: Precision = "auto") -> Deca:
    coarse, detail, decoder = (copy.deepcopy(network) for network in networks.values())
    assert isinstance(coarse, Encoder) and isinstance(detail, Encoder)
    assert isinstance(decoder, DetailDecoder)
    return Deca(coarse, detail, decoder, find_device("cpu"), precision)


def test_weights_load_strictly_and_batches_do_not_matter(
    networks: dict[str, torch.nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "deca_model.tar"
    state = {name: network.state_dict() for name, network in networks.items()}
    torch.save({**state, "step": 12, "opt": {"lr": 0.1}}, path)
    deca = Deca.load(path, "cpu", "float32")
    for name, network in (("E_flame", deca.coarse), ("D_detail", deca.decoder)):
        for key, value in network.state_dict().items():
            assert torch.equal(value, state[name][key])
    assert not deca.coarse.training
    faces = [_face(k) for k in range(2)]
    together = deca.reconstruct(iter(faces), batch=2)
    alone = deca.reconstruct(faces[1:], batch=1)
    assert together.source == "deca" and together.detail is not None
    assert together.frames.tolist() == [10, 11]
    assert together.present.tolist() == [True, False]
    assert together.image_size.tolist() == [[80, 64]] * 2
    np.testing.assert_allclose(together.transforms[0], faces[0].crop_from_image)
    for name in ("shape", "expression", "pose", "camera", "light", "detail"):
        whole, parts = getattr(together, name), getattr(alone, name)
        np.testing.assert_allclose(whole[1:], parts, rtol=1e-3, atol=1e-4)
    # the codes are the encoder's own numbers, in their places
    crop = crop_image(faces[1].image, faces[1].crop_from_image)
    with torch.inference_mode():
        coarse = deca.coarse(torch.from_numpy(crop[None]))[0].numpy()
    np.testing.assert_allclose(together.shape[1], coarse[:100], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(together.camera[1], coarse[206:209], rtol=1e-3, atol=1e-4)
    displacement = deca.displacement(together)
    assert displacement.shape == (2, 256, 256) and np.abs(displacement).max() <= 0.01
    short = _deca(networks, "bfloat16").encode(crop[None])[0]
    assert 0 < np.abs(short - coarse).max() < 0.05 * np.abs(coarse).max()
    automatic = _deca(networks).encode(crop[None])[0][0]
    np.testing.assert_allclose(automatic, coarse, rtol=1e-3, atol=1e-4)  # as in float32


def test_wrong_and_damaged_weights_are_one_line(
    networks: dict[str, torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deca_model.tar"
    state = {name: network.state_dict() for name, network in networks.items()}
    cases: list[tuple[dict, type[Exception], str]] = [
        ({"generator": {}}, AssetError, "generator, but no E_flame"),
        ({**state, "D_detail": state["E_detail"]}, AssetError, "does not fit DetailDecoder"),
        ({**state, "E_detail": state["E_flame"]}, AssetError, r"\(236, 1024\), needs \(128, 1024"),
    ]
    missing = {k: v for k, v in state["E_flame"].items() if k != "layers.2.bias"}
    cases.append(({**state, "E_flame": missing}, AssetError, r"misses layers\.2\.bias"))
    for content, kind, message in cases:
        with monkeypatch.context() as patch:
            patch.setattr("deca.reconstruction.load_weights", lambda _, state=content: state)
            with pytest.raises(kind, match=message) as caught:
                Deca.load(path, "cpu")
        assert "\n" not in str(caught.value)
    torch.save({"E_flame": {"weight": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a complete checkpoint"):
        Deca.load(path, "cpu")
    with pytest.raises(InputError, match="is not there"):
        Deca.load(tmp_path / "none.tar", "cpu")
    with pytest.raises(InputError, match="no device"):
        Deca.load(path, "tpu")


def test_wrong_pictures_and_settings_are_one_line(networks: dict[str, torch.nn.Module]) -> None:
    deca = _deca(networks)
    with pytest.raises(InputError, match=r"\(1, 3, 256, 256\)"):
        deca.encode(np.zeros((1, 3, 256, 256), np.float32))
    with pytest.raises(InputError, match="no picture"):
        deca.reconstruct([])
    with pytest.raises(InputError, match="batch of 0"):
        deca.reconstruct([], batch=0)
    grey = FaceImage(np.zeros((64, 64), np.uint8), np.eye(3), 0)
    with pytest.raises(InputError, match="face image of shape"):
        deca.reconstruct([grey])
    with pytest.raises(InputError, match="no invertible"):
        crop_image(np.zeros((64, 64, 3), np.uint8), np.zeros((3, 3)))
    with pytest.raises(InputError, match="give no crop"):
        crop_transform(np.ones((68, 2)))
    with pytest.raises(InputError, match="precision"):
        _deca(networks, "float16")  # type: ignore[arg-type]
    for name, message in (("tpu", "no device"), ("cuda:99", "not in this machine")):
        with pytest.raises(InputError, match=message):
            find_device(name)


def test_wrong_template_files_are_one_line(tmp_path: Path) -> None:
    template = tmp_path / "head.obj"
    template.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(AssetError, match="texture coordinates"):
        load_template(template)
    template.write_text("vt 0 0\nvt 1 0\nf 1/1 2/2 3/3\n")
    with pytest.raises(AssetError, match="more than its 2 texture"):
        load_template(template)
    with pytest.raises(AssetError, match=r"none\.obj"):
        load_template(tmp_path / "none.obj")
    template.write_text("vt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    head = load_template(template)
    mask, fixed = tmp_path / "mask.png", tmp_path / "fixed.npy"
    cv2.imwrite(str(mask), np.zeros((128, 128, 3), np.uint8))
    np.save(fixed, np.zeros((4, 4)))
    with pytest.raises(AssetError, match="128 x 128"):
        load_surface(head, mask, fixed)
    cv2.imwrite(str(mask), np.full((256, 256, 3), 255, np.uint8))
    with pytest.raises(AssetError, match=r"\(4, 4\)"):
        load_surface(head, mask, fixed)
    fixed.write_bytes(b"no numbers")
    with pytest.raises(AssetError, match="no numpy file"):
        load_surface(head, mask, fixed)
    with pytest.raises(AssetError, match="no picture"):
        load_surface(head, tmp_path / "none.png", fixed)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_bytes_are_clipped_and_cut_off(kind: type) -> None:
    values = np.array([[-0.5, 0, 0.001, 0.5, 1, 1.7]], kind)
    assert to_bytes(values).tolist() == [[0, 0, 0, 127, 255, 255]]
