"""Similarity: maps between images are found, joined and undone, and never mirror a face."""

from __future__ import annotations

import numpy as np
import pytest

from ned.core.face import similarity as maps


def points(count: int = 9) -> np.ndarray:
    return np.random.default_rng(1).uniform(-50, 50, (count, 2))


def turn(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    angle = np.radians(degrees)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


@pytest.mark.parametrize(("scale", "degrees"), [(1, 0), (0.3, 20), (2.5, -135), (1.2, 180)])
def test_a_planted_map_is_found(scale: float, degrees: float) -> None:
    wanted = turn(scale, degrees, 7.5, -3.25)
    found = maps.fit_similarity(points(), maps.apply(wanted, points()))
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert maps.scale_of(found) == pytest.approx(scale)


def test_a_mirrored_face_is_turned_not_mirrored() -> None:
    mirrored = points() * [-1, 1] + [10, 20]
    found = maps.fit_similarity(points(), mirrored)
    linear = found[:, :2]
    assert np.linalg.det(linear) > 0
    np.testing.assert_allclose(linear @ linear.T, np.eye(2) * maps.scale_of(found) ** 2, atol=1e-9)
    # no other rotation with its own best scale comes nearer
    error = np.square(maps.apply(found, points()) - mirrored).sum()
    for degrees in range(0, 360, 5):
        for scale in (0.0, *np.linspace(0.05, 1.5, 30)):
            other = turn(scale, degrees, 0, 0)
            shift = mirrored.mean(0) - maps.apply(other, points()).mean(0)
            moved = maps.apply(other, points()) + shift
            assert np.square(moved - mirrored).sum() >= error - 1e-9


def test_many_at_once_are_as_each_alone_and_one_place_has_none() -> None:
    sources = np.stack([points(), 3 * points() + 1, np.ones((9, 2)), np.full((9, 2), np.nan)])
    found = maps.fit_similarity(sources, points())
    for source, one in zip(sources[:2], found[:2], strict=True):
        np.testing.assert_allclose(one, maps.fit_similarity(source, points()), atol=1e-12)
        np.testing.assert_allclose(maps.apply(one, source), points(), atol=1e-9)
    assert np.isnan(found[2:]).all()


def test_maps_are_joined_in_the_order_of_their_names_and_undone() -> None:
    a_from_b, b_from_c = turn(2, 30, 5, 6), turn(0.5, -80, -1, 4)
    a_from_c = maps.compose(a_from_b, b_from_c)
    wanted = maps.apply(a_from_b, maps.apply(b_from_c, points()))
    np.testing.assert_allclose(maps.apply(a_from_c, points()), wanted, atol=1e-9)
    back = maps.apply(maps.invert(a_from_c), wanted)
    np.testing.assert_allclose(back, points(), atol=1e-9)
    with pytest.raises(ValueError, match="no inverse"):
        maps.invert(np.zeros((2, 3)))
