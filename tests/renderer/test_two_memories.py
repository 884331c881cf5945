"""Memory: two remembered frames of different colours are told apart, and laid where they belong."""

from __future__ import annotations

import numpy as np
import pytest
from acted_faces import acted, units_from

pytest.importorskip("torch")

from deca.rig import Rig, load_rig
from renderer.hybrid.memory import ExpressionDescriptors, Memory
from renderer.warp.renderer import WarpRenderer

SIZE = 128
RED, BLUE = (200, 40, 40), (40, 40, 200)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def memory(rig: Rig) -> Memory:
    """A red frame with open mouth and calm brows, a blue one with shut mouth and raised brows."""
    units = units_from(rig, 2, {"jaw_open": np.array([0.9, 0]), "inner_brow_raise": [0, 0.9]})
    played = acted(units, scale=36.0, place=(64.0, 50.0), size=(SIZE, SIZE))
    pictures = np.empty((2, SIZE, SIZE, 3), np.uint8)
    pictures[0], pictures[1] = RED, BLUE
    found = ExpressionDescriptors.of(units, played.gaze, played.rotation, rig)
    return Memory(pictures, played.track.landmarks(), found)


def test_mouth_and_brows_are_recalled_from_their_own_frames(memory: Memory, rig: Rig) -> None:
    wanted = units_from(rig, 9, {"jaw_open": np.full(9, 0.8), "inner_brow_raise": np.full(9, 0.8)})
    played = acted(wanted, scale=36.0, place=(64.0, 50.0), size=(SIZE, SIZE))
    asked = ExpressionDescriptors.of(wanted, played.gaze, played.rotation, rig)
    for mouth, upper in memory.recall(asked):
        assert mouth == [(0, pytest.approx(1))]
        assert upper == [(1, pytest.approx(1))]
    points = played.track.landmarks()[4]
    picture = memory.picture(
        memory.recall(asked)[4], points, played.rotation[4], WarpRenderer()
    ).astype(int)
    nose, chin = points[195, 1], points[152, 1]
    assert (np.abs(picture[: int(nose) - 1, :, :3] - BLUE) <= 1).all()
    assert (np.abs(picture[int(points[2, 1]) + 2 : int(chin), :, :3] - RED) <= 1).all()
    seam = picture[round((nose + points[2, 1]) / 2), SIZE // 2, :3]
    np.testing.assert_allclose(seam, (np.array(RED) + BLUE) / 2, atol=30)


def test_shares_mix_their_own_colours(memory: Memory) -> None:
    mixed = [(0, 0.25), (1, 0.75)]
    points, turn = memory.landmarks[0], memory.descriptors.rotation[0]
    picture = memory.picture((mixed, mixed), points, turn, WarpRenderer()).astype(int)
    wanted = 0.25 * np.array(RED) + 0.75 * np.array(BLUE)
    assert (np.abs(picture[..., :3] - wanted) <= 1).all()


def test_one_takes_over_from_the_other_in_five_frames(memory: Memory, rig: Rig) -> None:
    opening = np.where(np.arange(20) < 10, 0.9, 0.0)
    wanted = units_from(rig, 20, {"jaw_open": opening})
    played = acted(wanted, scale=36.0, place=(64.0, 50.0), size=(SIZE, SIZE))
    asked = ExpressionDescriptors.of(wanted, played.gaze, played.rotation, rig)
    red = [dict(mouth).get(0, 0.0) for mouth, _ in memory.recall(asked)]
    assert red[:7] == [pytest.approx(1)] * 7 and red[13:] == [pytest.approx(0)] * 7
    assert (np.diff(red) <= 1e-9).all() and red[9] > 0.5 > red[10]
    assert red[8:12] == pytest.approx([0.9, 0.7, 0.3, 0.1])
