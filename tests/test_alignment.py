"""Similarities, 68 landmarks, pupils and aligned images: algebra, golden vectors, footage."""

from __future__ import annotations

import numpy as np
import pytest

from ned.core import similarity


def _similarity(scale: float, angle: float, shift: tuple[float, float]) -> np.ndarray:
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def test_fitted_similarity_is_the_one_that_moved_the_points():
    generator = np.random.default_rng(1)
    points = generator.normal(size=(5, 20, 2)) * 50
    maps = np.stack([_similarity(0.5 + k, 0.9 * k - 2, (3.0 * k, -k)) for k in range(5)])
    moved = similarity.apply(maps, points)
    np.testing.assert_allclose(similarity.fit_similarity(points, moved), maps, atol=1e-9)
    np.testing.assert_allclose(similarity.scale_of(maps), [0.5 + k for k in range(5)])


def test_maps_compose_in_reading_order_and_undo_each_other():
    a_from_b = _similarity(2.0, 0.4, (5.0, -3.0))
    b_from_c = _similarity(0.7, -1.3, (-11.0, 8.0))
    points = np.random.default_rng(2).normal(size=(7, 2))
    joined = similarity.compose(a_from_b, b_from_c)
    one_by_one = similarity.apply(a_from_b, similarity.apply(b_from_c, points))
    np.testing.assert_allclose(similarity.apply(joined, points), one_by_one)
    nothing = similarity.compose(joined, similarity.invert(joined))
    np.testing.assert_allclose(nothing, similarity.IDENTITY, atol=1e-12)
    np.testing.assert_allclose(similarity.homogeneous(a_from_b)[2], [0, 0, 1])


def test_points_without_extent_have_no_similarity():
    target = np.random.default_rng(3).normal(size=(4, 2))
    assert np.isnan(similarity.fit_similarity(np.ones((4, 2)), target)).any()
    with pytest.raises(ValueError, match="no inverse"):
        similarity.invert(np.zeros((2, 3)))


def test_golden_similarities(golden):
    arrays = golden["alignment.npz"]
    fitted = similarity.fit_similarity(arrays["landmarks"], arrays["template68"])
    golden.check("alignment.npz", "umeyama", fitted)
    reflected = similarity.fit_similarity(arrays["landmarks_reflected"], arrays["template68"])
    golden.check("alignment.npz", "umeyama_reflected", reflected)
    assert np.linalg.det(reflected[:, :2]) > 0
