"""The rasteriser: against its slow twin, against golden images, and what it must leave out."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from golden import Golden
from slow_rasterizer import HEAD_TRIANGLES, egg, rasterize_slowly

from deca.rasterizer import interpolate, rasterize, rasterize_cuda
from ned.core.errors import AssetError


def _soup(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes that cross each other and the image's border."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-1.1, 1.1, (count, 1, 3))
    corners = centres + random.normal(0, 0.4, (count, 3, 3))
    corners[..., 2] = 10 + random.uniform(-1, 1, (count, 3))
    return corners.reshape(-1, 3).astype(np.float32), np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("size", [1, 37, 64])
def test_fast_and_slow_see_the_same(seed: int, size: int) -> None:
    vertices, faces = _soup(seed)
    fragments = rasterize(vertices[None], faces, size)
    face, weights, depth = rasterize_slowly(vertices, faces.astype(np.int32), size)
    same = fragments.face[0] == face
    assert same.mean() >= 0.999  # fused arithmetic may move an edge by a rounding
    np.testing.assert_allclose(fragments.barycentric[0][same], weights[same], atol=1e-4)
    np.testing.assert_allclose(fragments.depth[0][same], depth[same], atol=1e-4)


def test_fast_and_slow_agree_on_a_head_of_small_triangles() -> None:
    vertices, faces = egg(20, 24)
    fragments = rasterize(vertices[None], faces, 56)
    face, weights, _ = rasterize_slowly(vertices, faces, 56)
    assert (fragments.face[0] == face).mean() >= 0.999
    assert 0.3 < fragments.coverage.mean() < 0.6
    same = (fragments.face[0] == face) & (face >= 0)
    np.testing.assert_allclose(fragments.barycentric[0][same], weights[same], atol=1e-3)


def test_batches_and_bands_give_the_images_of_one_thread() -> None:
    meshes = np.stack([_soup(seed)[0] for seed in range(5)])
    faces = _soup(0)[1]
    attributes = np.random.default_rng(3).normal(size=(5, len(meshes[0]), 4))
    whole = rasterize(meshes, faces, 48, threads=1)
    spread = interpolate(whole, faces, attributes, threads=1)
    for threads in (2, 3):
        shared = rasterize(meshes, faces, 48, threads=threads)
        np.testing.assert_array_equal(shared.face, whole.face)
        np.testing.assert_array_equal(shared.barycentric, whole.barycentric)
        np.testing.assert_array_equal(
            interpolate(shared, faces, attributes, threads=threads), spread
        )
        single = rasterize(meshes[2:3], faces, 48, threads=threads)
        np.testing.assert_array_equal(single.face[0], whole.face[2])
        np.testing.assert_array_equal(single.depth[0], whole.depth[2])


def test_interpolated_positions_are_those_of_the_pixels() -> None:
    vertices, faces = egg(20, 24)
    fragments = rasterize(vertices[None], faces, 64)
    spread = interpolate(fragments, faces, vertices)[0]
    seen = fragments.coverage[0]
    centres = (2 * np.arange(64) + 1) / 64 - 1
    x, y = np.meshgrid(centres, centres)
    np.testing.assert_allclose(spread[seen][:, 0], x[seen], atol=1e-3)
    np.testing.assert_allclose(spread[seen][:, 1], y[seen], atol=1e-3)
    np.testing.assert_allclose(spread[seen][:, 2], fragments.depth[0][seen], rtol=1e-6)
    assert not spread[~seen].any()


def test_both_orientations_nearer_first_and_ties_to_the_lower_index() -> None:
    square = np.array([[-1, -1, 5], [1, -1, 5], [1, 1, 5], [-1, 1, 5]], np.float32)
    near = square - [0, 0, 2]
    vertices = np.concatenate([square, near]).astype(np.float32)
    far_first = np.array([[0, 1, 2], [4, 6, 5], [4, 5, 6]])
    fragments = rasterize(vertices[None], far_first, 8)
    seen = fragments.face[0][fragments.coverage[0]]
    assert set(seen) == {1}  # the nearer, of its two orientations the one listed first
    assert fragments.coverage.sum() == 8 * 7 / 2  # the diagonal's pixels lie on the edge: outside


@pytest.mark.parametrize(
    "corner",
    [(np.nan, 0, 5), (np.inf, 0, 5), (0, np.nan, 5), (0.5, 0.5, np.nan), (0.5, 0.5, -1)],
)
def test_triangles_that_are_no_triangles_are_left_out(corner: tuple[float, ...]) -> None:
    vertices = np.array([[-1, -1, 5], [1, -1, 5], corner], np.float32)
    fragments = rasterize(vertices[None], np.array([[0, 1, 2], [0, 0, 1]]), 8)
    assert not fragments.coverage.any()
    assert (fragments.depth == -1).all() and (fragments.barycentric == -1).all()


def test_faces_beyond_the_vertices_and_wrong_shapes_are_refused() -> None:
    vertices, faces = _soup(0)
    with pytest.raises(ValueError, match="faces name vertex"):
        rasterize(vertices[None], faces + 1, 8)
    with pytest.raises(ValueError, match="faces are"):
        rasterize(vertices[None], faces[:, :2], 8)
    with pytest.raises(ValueError, match="vertices are"):
        rasterize(vertices, faces, 8)
    fragments = rasterize(vertices[None], faces, 8)
    with pytest.raises(ValueError, match="faces name vertex"):
        interpolate(fragments, faces, vertices[:5])
    with pytest.raises(ValueError, match="2 images for 1"):
        interpolate(fragments, faces, np.stack([vertices, vertices]))


def test_no_image_is_an_empty_result() -> None:
    vertices, faces = _soup(0)
    fragments = rasterize(vertices[None][:0], faces, 8)
    assert len(fragments) == 0
    assert interpolate(fragments, faces, vertices).shape == (0, 8, 8, 3)


def test_a_missing_gpu_backend_is_named() -> None:
    try:
        import pytorch3d  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        vertices, faces = _soup(0)
        with pytest.raises(AssetError, match="PyTorch3D"):
            rasterize_cuda(vertices[None], faces, 8)
    else:
        pytest.skip("PyTorch3D is installed")


def test_the_gpu_backend_turns_axes_and_counts_triangles(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch3D itself is not here: its place is taken by the slow twin, in its conventions."""
    torch = pytest.importorskip("torch")

    def rasterize_meshes(meshes, image_size, blur_radius, faces_per_pixel, perspective_correct):  # type: ignore[no-untyped-def]
        vertices, faces = meshes
        assert (blur_radius, faces_per_pixel, perspective_correct) == (0, 1, False)
        found = []
        for k, (own, triangles) in enumerate(zip(vertices.numpy(), faces.numpy(), strict=True)):
            # rows run from y = 1 down and columns from x = 1 to the right
            face, weights, depth = rasterize_slowly(
                own * np.array([-1, -1, 1], np.float32), triangles, image_size
            )
            packed = np.where(face < 0, -1, face + k * len(triangles))
            found.append((packed[..., None], depth[..., None], weights[..., None, :]))
        return (*(torch.tensor(np.stack(part)) for part in zip(*found, strict=True)), None)

    rasterizing = types.ModuleType("pytorch3d.renderer.mesh.rasterize_meshes")
    rasterizing.rasterize_meshes = rasterize_meshes  # type: ignore[attr-defined]
    structures = types.ModuleType("pytorch3d.structures")
    structures.Meshes = lambda vertices, faces: (vertices, faces)  # type: ignore[attr-defined]
    for module in (rasterizing, structures):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("pytorch3d", "pytorch3d.renderer", "pytorch3d.renderer.mesh"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    vertices = np.stack([_soup(0)[0], _soup(1)[0]])
    faces = _soup(0)[1]
    wanted = rasterize(vertices, faces, 24)
    found = rasterize_cuda(vertices, faces, 24, "cpu")
    assert (found.face == wanted.face).mean() > 0.998
    same = found.face == wanted.face
    np.testing.assert_allclose(found.barycentric[same], wanted.barycentric[same], atol=1e-4)
    np.testing.assert_allclose(found.depth[same], wanted.depth[same], atol=1e-4)


def test_the_benchmark_head_has_as_many_triangles_as_flame() -> None:
    assert len(egg()[1]) == HEAD_TRIANGLES


def test_golden_raster_buffers(golden: Golden) -> None:
    file = "deca_tiny.npz"
    _, faces, _, _ = golden.module("synthetic_flame").tiny_head()
    vertices = golden[file]["p0_trans_verts"].copy()
    vertices[..., 2] -= 20  # stored after three shifts by 10, drawn after the first
    fragments = rasterize(vertices, faces, 224)
    golden.check(file, "p0_pix_to_face", fragments.face)
    golden.check(file, "p0_bary", fragments.barycentric)
    golden.check(file, "p0_zbuf", fragments.depth)
    golden.check(file, "p0_alpha", fragments.coverage[:, None])
