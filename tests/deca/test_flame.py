"""FLAME: golden vectors, algebra, files of all versions, and everything that is no FLAME."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flame_files import (
    EMBEDDED,
    FlameFiles,
    flame_dictionary,
    flame_support,
    python2_pickle,
    tiny_head,
    write_flame_files,
)
from golden import Golden

torch = pytest.importorskip("torch")

from deca.flame import Flame, convert_flame, joint_pose, load_flame, rotations  # noqa: E402
from deca.flame_file import read_flame  # noqa: E402
from ned.core.errors import InputError, NedError, OutputError  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> FlameFiles:
    return write_flame_files(tmp_path_factory.mktemp("flame"))


@pytest.fixture(scope="module")
def flame(files: FlameFiles) -> Flame:
    return load_flame(files.flame, files.landmarks, files.mediapipe)


def codes(count: int, dtype: Any = torch.float32, seed: int = 1) -> tuple[Any, Any, Any]:
    """Random shape, expression, pose."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(count, 156, generator=generator, dtype=dtype)
    return draw[:, :100], draw[:, 100:150], 0.3 * draw[:, 150:]


def golden_flame(golden: Golden, file: str, folder: Path) -> Flame:
    """The made-up FLAME that the golden vectors were computed with."""
    synthetic = golden.module("synthetic_flame")
    if file == "deca_tiny.npz":
        synthetic.write_all(str(folder), golden.salt)
        return load_flame(folder / "generic_model.pkl", folder / "landmark_embedding.npy")
    lines = [line.split() for line in (flame_support() / "head_template.obj").open()]
    vertices = np.array([line[1:4] for line in lines if line and line[0] == "v"], float)
    faces = [[int(c.split("/")[0]) - 1 for c in line[1:4]] for line in lines if line[:1] == ["f"]]
    template = np.round(vertices - vertices.mean(0), 9)
    data = synthetic.flame_dict(template, np.array(faces), golden.salt)
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(data, protocol=2))
    return load_flame(folder / "generic_model.pkl", flame_support() / "landmark_embedding.npy")


def test_rotations_and_yaw_agree_with_the_golden_ones(golden: Golden, flame: Flame) -> None:
    turned = rotations(torch.tensor(golden["deca_nets.npz"]["rodrigues_in"]))
    golden.check("deca_nets.npz", "rodrigues_out", turned)
    yaw = np.rad2deg(golden["deca_nets.npz"]["euler_y"])
    whole = np.minimum(np.round(yaw), 39).astype(int)
    wanted = np.where(whole >= 0, whole, np.minimum(39 - whole, 78))
    np.testing.assert_array_equal(flame.contour_rows(turned), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("file", ["deca_tiny.npz", "deca_flame_topology.npz"])
def test_vertices_and_landmarks_agree_with_the_golden_ones(
    golden: Golden, tmp_path: Path, file: str, dtype: Any
) -> None:
    flame = golden_flame(golden, file, tmp_path).to(dtype)
    arrays = golden[file]
    shape, expression, pose = (
        torch.tensor(arrays[name]).to(dtype) for name in ("flame_shape", "flame_exp", "flame_pose")
    )
    mesh = flame(shape, expression, pose)
    golden.check(file, "flame_verts", mesh.vertices[: len(arrays["flame_verts"])])
    golden.check(file, "flame_landmarks2d", mesh.landmarks2d)
    golden.check(file, "flame_landmarks3d", mesh.landmarks3d)
    turns = rotations(joint_pose(pose).reshape(-1, 3)).reshape(-1, 5, 3, 3)
    rows = flame.contour_rows(turns[:, 0] @ turns[:, 1])
    table = read_table(flame)
    golden.check(file, "flame_dyn_faces", table[rows])
    names = (f"code_{name}" for name in ("shape", "exp", "pose"))
    mesh = flame(*(torch.tensor(arrays[name]).to(dtype) for name in names))
    golden.check(file, "p0_verts", mesh.vertices[:1])


def read_table(flame: Flame) -> Any:
    """(79, 17) face of every contour point, found again from its corners."""
    place = {tuple(face): k for k, face in enumerate(flame.faces.tolist())}
    corners = flame.get_buffer("contour_corners")
    return torch.tensor([[place[tuple(corner)] for corner in row] for row in corners.tolist()])


def test_the_still_head_is_the_template(flame: Flame) -> None:
    mesh = flame(torch.zeros(2, 100), torch.zeros(2, 50), torch.zeros(2, 6))
    torch.testing.assert_close(mesh.vertices[1], flame.template, atol=1e-7, rtol=0)
    assert mesh.landmarks2d.shape == mesh.landmarks3d.shape == (2, 68, 3)


def test_global_rotation_turns_the_head_rigidly(flame: Flame) -> None:
    shape, expression, pose = codes(3, torch.float64)
    double = copy.deepcopy(flame).double()
    still = pose.clone()
    still[:, :3] = 0
    before = double(shape, expression, still).vertices
    after = double(shape, expression, pose).vertices
    turn = rotations(pose[:, :3])
    back = (after - after.mean(1, keepdim=True)) @ turn
    # FLAME's guard against zero angles bends rotations by 1e-8.
    torch.testing.assert_close(back, before - before.mean(1, keepdim=True), atol=1e-7, rtol=0)


def test_six_numbers_of_pose_are_fifteen_with_neck_and_eyes_straight(flame: Flame) -> None:
    shape, expression, pose = codes(2)
    full = torch.zeros(2, 15)
    full[:, :3], full[:, 6:9] = pose[:, :3], pose[:, 3:]
    short, long = flame(shape, expression, pose), flame(shape, expression, full)
    torch.testing.assert_close(short.vertices, long.vertices)
    full[:, 9:] = 0.3  # eyes
    assert not torch.allclose(flame(shape, expression, full).vertices, short.vertices)


def test_fewer_codes_are_the_first_ones(flame: Flame) -> None:
    shape, expression, pose = codes(2)
    few = flame(shape[:, :10], expression[:, :5], pose).vertices
    shape[:, 10:], expression[:, 5:] = 0, 0
    torch.testing.assert_close(few, flame(shape, expression, pose).vertices, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="301 shape codes"):
        flame(torch.zeros(1, 301), torch.zeros(1, 50), torch.zeros(1, 6))
    with pytest.raises(ValueError, match="7 numbers"):
        flame(shape, expression, torch.zeros(2, 7))


def test_mediapipe_points_lie_on_the_surface(flame: Flame) -> None:
    vertices = flame(*codes(2)).vertices
    points = flame.mediapipe(vertices)
    assert flame.mediapipe_points.tolist() == list(EMBEDDED)
    corners = vertices[:, flame.get_buffer("mediapipe_corners")]
    assert (
        (points >= corners.min(2).values - 1e-6) & (points <= corners.max(2).values + 1e-6)
    ).all()


def test_gradients_reach_every_code(flame: Flame) -> None:
    given = [part.requires_grad_() for part in codes(2)]
    flame(*given).landmarks2d.square().sum().backward()
    for part in given:
        assert part.grad is not None and torch.isfinite(part.grad).all()
        assert part.grad.abs().sum() > 0


def test_the_outline_follows_the_yaw(flame: Flame) -> None:
    degrees = torch.tensor([0.0, 0.5, 1.5, 20.2, 60.0, -0.4, -1.0, -39.0, -39.6, -70.0])
    yaw = torch.zeros(len(degrees), 3)
    yaw[:, 1] = torch.deg2rad(degrees)
    assert flame.contour_rows(rotations(yaw)).tolist() == [0, 0, 2, 20, 39, 0, 40, 78, 78, 78]


def test_python2_pickles_with_chumpy_need_no_chumpy(
    files: FlameFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("chumpy", "chumpy.ch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    data = files.flame.read_bytes()
    assert b"chumpy.ch\nCh" in data and b"copy_reg" not in data
    (tmp_path / "model.pkl").write_bytes(data)
    model = read_flame(tmp_path / "model.pkl")
    np.testing.assert_allclose(model.template, files.template, atol=1e-7)
    assert model.identity.shape == (300, len(files.template), 3)
    assert model.expression.shape == (100, len(files.template), 3)


def test_a_model_is_converted_once(files: FlameFiles, tmp_path: Path) -> None:
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(files.flame.read_bytes())
    first = read_flame(path)
    beside = tmp_path / "generic_model.safetensors"
    made = beside.stat().st_mtime_ns
    np.testing.assert_array_equal(read_flame(path).identity, first.identity)
    assert beside.stat().st_mtime_ns == made
    np.testing.assert_array_equal(read_flame(beside).weights, first.weights)

    other = flame_dictionary(files.template * 1.1, files.faces)
    path.write_bytes(pickle.dumps(other, protocol=2))  # another source: converted again
    np.testing.assert_allclose(read_flame(path).template, files.template * 1.1, rtol=1e-6)
    assert beside.stat().st_mtime_ns != made

    beside.write_bytes(b"something else of the user's")
    np.testing.assert_allclose(read_flame(path).template, files.template * 1.1, rtol=1e-6)
    assert beside.read_bytes() == b"something else of the user's"
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


def test_conversion_keeps_the_numbers(files: FlameFiles, flame: Flame, tmp_path: Path) -> None:
    convert_flame(files.flame, tmp_path / "flame.safetensors")
    again = load_flame(tmp_path / "flame.safetensors", files.landmarks)
    torch.testing.assert_close(again(*codes(2)).vertices, flame(*codes(2)).vertices)
    with pytest.raises(OutputError, match=r"ending \.safetensors"):
        convert_flame(files.flame, tmp_path / "flame.npz")


@pytest.mark.parametrize(
    ("columns", "identity", "expression"), [(400, 300, 100), (350, 300, 50), (150, 100, 50)]
)
def test_other_numbers_of_columns(
    tmp_path: Path, columns: int, identity: int, expression: int
) -> None:
    vertices, faces, _, _ = tiny_head()
    data = flame_dictionary(vertices, faces)
    data["shapedirs"] = data["shapedirs"][:, :, :columns]
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(data))
    model = read_flame(tmp_path / "model.pkl")
    assert (len(model.identity), len(model.expression)) == (identity, expression)


def changed(**entries: Any) -> dict[str, Any]:
    vertices, faces, _, _ = tiny_head(12, 16)
    return {**flame_dictionary(vertices, faces), **entries}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([1, 2], "no FLAME model"),
        ({"v_template": np.zeros((3, 3))}, "misses f, shapedirs"),
        (changed(weights=np.zeros((178, 24))), "weights is .*24"),  # a body model
        (changed(J_regressor=np.zeros((24, 178))), "J_regressor is .*24"),
        (changed(posedirs=np.zeros((178, 3, 207))), "posedirs"),
        (changed(kintree_table=np.array([[0, 0, 0, 0, 0], [0, 1, 2, 3, 4]])), "joints hang"),
        (changed(shapedirs=np.zeros((178, 3, 10))), "10 basis columns"),
        (changed(shapedirs=np.zeros((178, 3))), "no FLAME model"),
        (changed(f=np.array([[0, 1, 500]])), "do not exist"),
        (changed(v_template=np.full((178, 3), np.nan)), "no numbers"),
        (changed(v_template="head"), "no FLAME model"),
        (changed(J_regressor=None), "no FLAME model"),
    ],
)
def test_other_models_are_refused_in_one_line(tmp_path: Path, data: Any, said: str) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(data, protocol=2))
    with pytest.raises(InputError, match=said) as caught:
        read_flame(path)
    assert "\n" not in str(caught.value) and "model.pkl" in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_files_are_refused_in_one_line(files: FlameFiles, tmp_path: Path) -> None:
    for source in (files.flame, files.landmarks, files.mediapipe):
        data = source.read_bytes()
        for cut in (0, 100, len(data) // 2, len(data) - 1):
            path = tmp_path / source.name
            path.write_bytes(data[:cut])
            given = {files.flame: files.flame, source: path}
            with pytest.raises(NedError) as caught:
                load_flame(
                    given.get(files.flame, files.flame),
                    given.get(files.landmarks, files.landmarks),
                    given.get(files.mediapipe, files.mediapipe),
                )
            assert "\n" not in str(caught.value) and source.name in str(caught.value)
    (tmp_path / "flame.safetensors").write_bytes(data[:100])
    with pytest.raises(InputError, match="convert the FLAME pickle again"):
        read_flame(tmp_path / "flame.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        read_flame(tmp_path / "nothing.pkl")


def test_converted_files_are_checked_too(files: FlameFiles, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    convert_flame(files.flame, tmp_path / "flame.safetensors")
    tensors = load_file(tmp_path / "flame.safetensors")
    tensors["weights"] = tensors["weights"][:-1]
    save_file(tensors, tmp_path / "forged.safetensors", {"format": "ned-flame-1"})
    with pytest.raises(InputError, match="no FLAME model"):
        read_flame(tmp_path / "forged.safetensors")
    save_file(tensors, tmp_path / "untagged.safetensors")
    with pytest.raises(InputError, match="no converted FLAME model"):
        read_flame(tmp_path / "untagged.safetensors")


def test_embeddings_of_another_mesh_are_refused(files: FlameFiles, tmp_path: Path) -> None:
    (tmp_path / "small.pkl").write_bytes(python2_pickle(changed()))
    with pytest.raises(InputError, match=r"landmark_embedding.npy' is made for another mesh"):
        load_flame(tmp_path / "small.pkl", files.landmarks)
    good = np.load(files.mediapipe)
    arrays = {**good, "lmk_face_idx": good["lmk_face_idx"] + 10**6}
    np.savez(tmp_path / "far.npz", **arrays)
    with pytest.raises(InputError, match=r"far.npz' is made for another mesh"):
        load_flame(files.flame, files.landmarks, tmp_path / "far.npz")
    np.savez(tmp_path / "points.npz", **{**good, "landmark_indices": np.array([468])})
    with pytest.raises(InputError, match="does not have"):
        load_flame(files.flame, files.landmarks, tmp_path / "points.npz")
    with pytest.raises(InputError, match="no landmark embedding"):
        load_flame(files.flame, files.flame)
    with pytest.raises(InputError, match="no MediaPipe embedding"):
        load_flame(files.flame, files.landmarks, files.landmarks)


def test_without_the_mediapipe_embedding_its_points_are_refused(files: FlameFiles) -> None:
    flame = load_flame(files.flame, files.landmarks)
    with pytest.raises(InputError, match=r"mediapipe_landmark_embedding\.npz"):
        flame.mediapipe(flame.template[None])
