"""FlameCodes: shapes, saving, and what a manipulator sees of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up_codes import random_codes

from deca.flame_codes import FlameCodes, joined
from ned.core.errors import InputError
from ned.core.face.performance import Performance


@pytest.mark.parametrize("detail", [True, False])
def test_saved_codes_come_back_bit_by_bit(tmp_path: Path, detail: bool) -> None:
    codes = random_codes(5, detail=detail)
    codes.performance().save(tmp_path / "codes.safetensors")
    again = FlameCodes.of(Performance.load(tmp_path / "codes.safetensors"))
    for field in dataclasses.fields(FlameCodes):
        ours, theirs = getattr(codes, field.name), getattr(again, field.name)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs
    assert [path.name for path in tmp_path.iterdir()] == ["codes.safetensors"]


def test_manipulable_is_jaw_opening_and_expression() -> None:
    codes = random_codes(4)
    np.testing.assert_array_equal(codes.manipulable[:, 0], codes.pose[:, 3])
    np.testing.assert_array_equal(codes.manipulable[:, 1:], codes.expression)
    same = codes.with_manipulated(codes.manipulable)
    np.testing.assert_array_equal(same.pose, codes.pose)
    changed = codes.with_manipulated(codes.manipulable + 1)
    np.testing.assert_allclose(changed.pose[:, 3], codes.pose[:, 3] + 1)
    np.testing.assert_array_equal(np.delete(changed.pose, 3, 1), np.delete(codes.pose, 3, 1))


def test_clips_join_and_part_again() -> None:
    first, second = random_codes(3), random_codes(4, seed=1, first=3, detail=False)
    both = joined([first, second])
    assert both.frames.tolist() == list(range(7))
    assert both.detail is None
    np.testing.assert_array_equal(both[3:].shape, second.shape)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="pose is"):
        dataclasses.replace(random_codes(3), pose=np.zeros((3, 5)))


@pytest.mark.parametrize("content", [b"", b"something else entirely", b"\x00" * 64])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "codes.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a performance file"):
        Performance.load(path)
    with pytest.raises(InputError, match="does not exist"):
        Performance.load(tmp_path / "nothing.safetensors")
