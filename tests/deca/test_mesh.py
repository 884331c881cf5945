"""The mesh: a symmetric, open, manifold surface that looks at the camera."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from ned.core.face import mesh as face
from ned.core.face.mesh import FaceMesh, load_mesh


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    return load_mesh()


def edges_of(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """(3 M, 2) edges, each with its smaller point first."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.sort(ends, axis=1)


def loop(*chains: tuple[int, ...]) -> set[tuple[int, int]]:
    """Edges along chains of points."""
    steps = [pair for chain in chains for pair in pairwise(chain)]
    return {(min(pair), max(pair)) for pair in steps}


def heights(points: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """z of each triangle's normal."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)[:, 2]


def test_mirror_is_an_involution_and_neutral_is_symmetric(mesh: FaceMesh) -> None:
    assert np.array_equal(mesh.mirror[mesh.mirror], np.arange(468))
    np.testing.assert_allclose(mesh.neutral[mesh.mirror], mesh.neutral * [-1, 1, 1], atol=1e-6)
    middle = np.flatnonzero(mesh.mirror == np.arange(468))
    assert {1, 2, 10, 13, 14, 152} <= set(middle.tolist())
    np.testing.assert_allclose(mesh.neutral[middle, 0], 0, atol=1e-6)


def test_mirror_exchanges_the_named_loops(mesh: FaceMesh) -> None:
    for right, left in (
        (face.RIGHT_UPPER_LID, face.LEFT_UPPER_LID),
        (face.RIGHT_LOWER_LID, face.LEFT_LOWER_LID),
    ):
        assert np.array_equal(mesh.mirror[list(right)], left)
    for line in (face.UPPER_INNER_LIP, face.LOWER_INNER_LIP, face.UPPER_OUTER_LIP):
        assert np.array_equal(mesh.mirror[list(line)], line[::-1])


def test_units_of_length_and_axes(mesh: FaceMesh) -> None:
    right, left = mesh.neutral[33], mesh.neutral[263]
    assert np.linalg.norm(left - right) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose((left + right) / 2, 0, atol=1e-5)
    assert left[0] > 0.4  # the subject's left is at the image's right
    assert mesh.neutral[10, 1] > 0 > mesh.neutral[152, 1]  # forehead above chin
    assert mesh.neutral[1, 2] > mesh.neutral[[234, 454], 2].max()  # the nose is nearest


def test_skin_is_a_manifold_with_four_holes(mesh: FaceMesh) -> None:
    assert mesh.triangles.shape == (852, 3)
    assert np.array_equal(np.unique(mesh.triangles), np.arange(468))
    edges, uses = np.unique(edges_of(mesh.triangles), axis=0, return_counts=True)
    assert set(uses) == {1, 2}
    border = {(int(a), int(b)) for a, b in edges[uses == 1]}
    oval = (*face.FACE_OVAL, face.FACE_OVAL[0])
    mouth = loop(face.UPPER_INNER_LIP, face.LOWER_INNER_LIP)
    right = loop(face.RIGHT_UPPER_LID, face.RIGHT_LOWER_LID)
    left = loop(face.LEFT_UPPER_LID, face.LEFT_LOWER_LID)
    assert border == loop(oval) | mouth | right | left


def test_all_skin_faces_the_camera(mesh: FaceMesh) -> None:
    assert heights(mesh.neutral, mesh.triangles).min() > 0
    flipped = mesh.triangles[:, ::-1]
    assert heights(mesh.neutral, flipped).max() < 0


def test_mouth_triangles_close_the_mouth(mesh: FaceMesh) -> None:
    triangles = mesh.mouth_triangles
    assert triangles.shape == (18, 3)
    assert len(set(np.sign(heights(mesh.neutral, triangles)))) == 1  # none is turned over
    edges, uses = np.unique(edges_of(triangles), axis=0, return_counts=True)
    border = {(int(a), int(b)) for a, b in edges[uses == 1]}
    assert border == loop(face.UPPER_INNER_LIP, face.LOWER_INNER_LIP)
    together = edges_of(np.concatenate([mesh.triangles, triangles]))
    assert np.unique(together, axis=0, return_counts=True)[1].max() == 2


def test_geodesic_is_a_metric_that_knows_the_holes(mesh: FaceMesh) -> None:
    distance = mesh.geodesic
    assert distance.shape == (468, 468)
    assert np.isfinite(distance).all()
    np.testing.assert_allclose(distance, distance.T, atol=1e-6)
    assert not distance.diagonal().any()
    straight = np.linalg.norm(mesh.neutral[:, None] - mesh.neutral[None], axis=2)
    assert (distance >= straight - 1e-5).all()
    around = distance[mesh.mirror][:, mesh.mirror]
    np.testing.assert_allclose(distance, around, atol=0.04)  # triangulation is nearly symmetric


@pytest.mark.parametrize(
    ("above", "below", "corners"),
    [(13, 14, (78, 308)), (159, 145, (33, 133)), (386, 374, (263, 362))],
    ids=["mouth", "right eye", "left eye"],
)
def test_the_way_between_lips_and_lids_goes_round_the_corner(
    mesh: FaceMesh, above: int, below: int, corners: tuple[int, int]
) -> None:
    distance = mesh.geodesic
    round_the_corner = min(distance[above, c] + distance[c, below] for c in corners)
    assert distance[above, below] == pytest.approx(round_the_corner, abs=1e-5)
    across = float(np.linalg.norm(mesh.neutral[above] - mesh.neutral[below]))
    assert distance[above, below] > 2 * across
